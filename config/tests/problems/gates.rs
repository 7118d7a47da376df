//! Gates.

use expect_test::expect;

use crate::plans::plan;
use crate::{check, warnings};

#[test]
fn gates_judge_one_thing_each_under_one_name() {
    check(
        &plan(
            "      gates:
        - errors: {}
        - errors: { tolerance: 0.1% }
        - { name: breaker, errors: { limit: 5% } }
        - { name: traffic, errors: { limit: 5% } }
        - { name: baseline, errors: { limit: 5% } }
        - { name: my gate, errors: { limit: 5% } }
        - { errors: {}, latency: { limit: 1s } }
        - { name: nothing }
        - errors
        - errors:
        - errors: { tolerance: 0.1%, limit: 5% }
        - { errors: {}, role: gardrail }
        - { errors: { name: mine } }
",
        ),
        &expect![[r#"
            t.yaml:10:11: services.shop.plan.gates[1]: a gate at t.yaml:9:11 is named `errors` already; write another `name:` here
            t.yaml:11:19: services.shop.plan.gates[2].name: `breaker` is reserved for the circuit breaker that is always on; legal is any other name, like `my-breaker`
            t.yaml:12:19: services.shop.plan.gates[3].name: `traffic` is reserved for the check of the traffic that is always on; legal is any other name, like `my-traffic`
            t.yaml:13:19: services.shop.plan.gates[4].name: `baseline` is reserved for the check of the baseline; legal is any other name, like `my-baseline`
            t.yaml:14:19: services.shop.plan.gates[5].name: `my gate` cannot name a gate; legal is 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit
            t.yaml:15:34: services.shop.plan.gates[6].latency: `errors` stands in the same gate; write two gates
            t.yaml:16:11: services.shop.plan.gates[7]: judges nothing; legal is { errors: {} }, { errors: { tolerance: 0.1% } }, { errors: { limit: 5% } }, { latency: {} }, { latency: { limit: 300ms } } or { mirror: { status: 1% } }
            t.yaml:17:11: services.shop.plan.gates[8]: `errors` is no gate; legal is { errors: {} }, { errors: { tolerance: 0.1% } }, { errors: { limit: 5% } }, { latency: {} }, { latency: { limit: 300ms } } or { mirror: { status: 1% } }
            t.yaml:18:11: services.shop.plan.gates[9].errors: nothing is written here; legal is a mapping, like { errors: {} }, { errors: { tolerance: 0.1% } }, { errors: { limit: 5% } }, { latency: {} }, { latency: { limit: 300ms } } or { mirror: { status: 1% } }
            t.yaml:19:45: services.shop.plan.gates[10].errors.limit: `tolerance` stands in the same gate; write two gates: { errors: { tolerance: 0.1% } } and { errors: { limit: 5% } }
            t.yaml:20:31: services.shop.plan.gates[11].role: `gardrail` is no role; legal is `guardrail` and `signal`; did you mean `guardrail`?
            t.yaml:21:11: services.shop.plan.gates[12]: a gate at t.yaml:9:11 is named `errors` already; write another `name:` here
            t.yaml:21:23: services.shop.plan.gates[12].errors.name: `name` is no key of an `errors` gate; write it beside, in the mapping around this one"#]],
    );
}

#[test]
fn limits_and_tolerances_are_checked() {
    check(
        &plan(
            "      gates:
        - errors: { limit: 0% }
        - errors: { limit: 100% }
        - errors: { limit: 5 }
        - errors: { tolerance: 0.1 }
        - errors: { tolerance: {} }
        - errors: { tolerance: { ratio: 0.5 } }
        - errors: { tolerance: { ratio: 10% } }
        - errors: { tolerance: { ratio: NaN, points: 101% } }
        - latency: { limit: 300 }
        - latency: { limit: 61s }
        - latency: { limit: 1s, quantile: 99 }
        - latency: { limit: 1s, quantile: p100 }
",
        ),
        &expect![[r#"
            t.yaml:9:28: services.shop.plan.gates[0].errors.limit: `0%` cannot be a limit; legal is above 0% and below 100%
            t.yaml:10:28: services.shop.plan.gates[1].errors.limit: `100%` cannot be a limit; legal is above 0% and below 100%
            t.yaml:11:28: services.shop.plan.gates[2].errors.limit: `5` has no %; a percentage is written like 0.1%; did you mean `5%`?
            t.yaml:12:32: services.shop.plan.gates[3].errors.tolerance: `0.1` has no %; a percentage is written like 0.1%; did you mean `10%` or `0.1%`?
            t.yaml:13:21: services.shop.plan.gates[4].errors.tolerance: tolerates nothing in particular; legal is 0.1%, { ratio: 1.5 } or { ratio: 1.5, points: 0.1% }
            t.yaml:14:41: services.shop.plan.gates[5].errors.tolerance.ratio: `0.5` is no ratio; legal is 1 to 1000, like 1.5 (half again of stable's errors)
            t.yaml:15:41: services.shop.plan.gates[6].errors.tolerance.ratio: `10%` is no ratio; legal is 1 to 1000, like 1.5 (half again of stable's errors); points are written as `points:`
            t.yaml:16:41: services.shop.plan.gates[7].errors.tolerance.ratio: `NaN` is no ratio; legal is 1 to 1000, like 1.5 (half again of stable's errors)
            t.yaml:16:54: services.shop.plan.gates[7].errors.tolerance.points: `101%` is out of range; legal is 0% to 100%
            t.yaml:17:29: services.shop.plan.gates[8].latency.limit: `300` has no unit; legal is 1ms to 60s, like 300ms; did you mean `300ms`?
            t.yaml:18:29: services.shop.plan.gates[9].latency.limit: `61s` cannot be a limit; legal is 1ms to 60s
            t.yaml:19:43: services.shop.plan.gates[10].latency.quantile: `99` is not a quantile; legal is p1 to p99.99, like p99
            t.yaml:20:43: services.shop.plan.gates[11].latency.quantile: `p100` is not a quantile; legal is p1 to p99.99, like p99"#]],
    );
}

#[test]
fn a_gate_on_what_is_not_measured_says_what_is() {
    check(
        &plan(
            "      gates:
        - cpu: { limit: 5 }
        - latncy: { limit: 1s }
        - traffic: {}
        - { routes: [/checkout], errors: {} }
        - { limit: 5% }
        - { errors: { path: /checkout, routes: [/checkout], quantile: p99, of: total } }
        - { latency: { path: /checkout, role: signal, limt: 1s } }
        - { name: traffic, errors: {} }
",
        ),
        &expect![[r#"
            t.yaml:9:11: services.shop.plan.gates[0].cpu: `cpu` is no key of a gate; legal keys are `errors`, `latency`, `mirror`, `name`, `role` and `path`, and what is judged is `errors`, `latency` or `mirror`
            t.yaml:10:11: services.shop.plan.gates[1].latncy: `latncy` is no key of a gate; legal keys are `errors`, `latency`, `mirror`, `name`, `role` and `path`, and what is judged is `errors`, `latency` or `mirror`; did you mean `latency`?
            t.yaml:11:11: services.shop.plan.gates[2].traffic: `traffic` is no key of a gate; the check of the traffic is always on, and has no keys; leave it out
            t.yaml:12:13: services.shop.plan.gates[3].routes: `routes` is no key of a gate; write a gate for each path, like { errors: {}, path: /checkout }
            t.yaml:13:13: services.shop.plan.gates[4].limit: `limit` is no key of a gate; write it into what is judged, like errors: { limit: 5% }
            t.yaml:14:11: services.shop.plan.gates[5]: a gate at t.yaml:12:11 is named `errors` already; write another `name:` here
            t.yaml:14:23: services.shop.plan.gates[5].errors.path: `path` is no key of an `errors` gate; write it beside, in the mapping around this one
            t.yaml:14:40: services.shop.plan.gates[5].errors.routes: `routes` is no key of an `errors` gate; write `path` beside, in the mapping around this one
            t.yaml:14:61: services.shop.plan.gates[5].errors.quantile: `quantile` is no key of an `errors` gate; errors have none; leave it out
            t.yaml:14:76: services.shop.plan.gates[5].errors.of: `of` is no key of an `errors` gate; errors have no beginning and end; leave it out
            t.yaml:15:24: services.shop.plan.gates[6].latency.path: `path` is no key of a `latency` gate; write it beside, in the mapping around this one
            t.yaml:15:41: services.shop.plan.gates[6].latency.role: `role` is no key of a `latency` gate; write it beside, in the mapping around this one
            t.yaml:15:55: services.shop.plan.gates[6].latency.limt: `limt` is no key of a `latency` gate; legal keys are `tolerance`, `margin`, `limit`, `quantile` and `of`; did you mean `limit`?
            t.yaml:16:19: services.shop.plan.gates[7].name: `traffic` is reserved for the check of the traffic that is always on; legal is any other name, like `my-traffic`"#]],
    );
}

#[test]
fn margins_are_more_than_tolerances() {
    check(
        &plan(
            "      gates:
        - errors: { tolerance: 0.1%, margin: 0.1% }
        - errors: { margin: 0.05% }
        - errors: { margin: { ratio: 1.1 } }
        - errors: { tolerance: { ratio: 1.5, points: 0.02% }, margin: { ratio: 2, points: 0.01% } }
        - errors: { tolerance: { ratio: 1.5, points: 0.02% }, margin: { ratio: 1.5, points: 0.02% } }
        - errors: { tolerance: { ratio: 1.5, points: 0.02% }, margin: { ratio: 1.4, points: 1% } }
        - errors: { tolerance: 100% }
        - errors: { margin: {} }
        - errors: { margin: { ratio: 10001 } }
        - errors: { margin: { part: 2 } }
        - latency: { tolerance: 10%, margin: 10% }
        - latency: { margin: 4.9% }
        - latency: { tolerance: 1001% }
        - latency: { tolerance: 1000%, margin: 10001% }
        - latency: { tolerance: { ratio: 1.1 } }
        - latency: { tolerance: 10 }
",
        ),
        &expect![[r#"
            t.yaml:9:46: services.shop.plan.gates[0].errors.margin: 0.1% is not more than the tolerance, 0.1%; legal is above 0.1%
            t.yaml:10:29: services.shop.plan.gates[1].errors.margin: a ratio of 1.1 and 0.05% is not more than the tolerance, a ratio of 1.1 and 0.05%; legal is above 0.05%
            t.yaml:11:29: services.shop.plan.gates[2].errors.margin: a ratio of 1.1 and 0.05% is not more than the tolerance, a ratio of 1.1 and 0.05%; legal is a ratio above 1.1
            t.yaml:12:71: services.shop.plan.gates[3].errors.margin: a ratio of 2 and 0.01% is not more than the tolerance, a ratio of 1.5 and 0.02%; legal is a ratio of 1.5 or more and 0.02% or more, one of them more
            t.yaml:13:71: services.shop.plan.gates[4].errors.margin: a ratio of 1.5 and 0.02% is not more than the tolerance, a ratio of 1.5 and 0.02%; legal is a ratio of 1.5 or more and 0.02% or more, one of them more
            t.yaml:14:71: services.shop.plan.gates[5].errors.margin: a ratio of 1.4 and 1% is not more than the tolerance, a ratio of 1.5 and 0.02%; legal is a ratio of 1.5 or more and 0.02% or more, one of them more
            t.yaml:15:32: services.shop.plan.gates[6].errors.tolerance: `100%` tolerates everything; legal is 0% or more, below 100%
            t.yaml:16:21: services.shop.plan.gates[7].errors.margin: rules nothing in particular out; legal is 0.3%, { ratio: 2 } or { ratio: 2, points: 0.3% }
            t.yaml:17:38: services.shop.plan.gates[8].errors.margin.ratio: `10001` is no ratio; legal is 1 to 10000, like 1.5 (half again of stable's errors)
            t.yaml:18:31: services.shop.plan.gates[9].errors.margin.part: `part` is no key of a margin; legal keys are `ratio` and `points`
            t.yaml:19:46: services.shop.plan.gates[10].latency.margin: 10% is not more than the tolerance, 10%; legal is above 10%, up to 10000%
            t.yaml:20:30: services.shop.plan.gates[11].latency.margin: 4.9% is not more than the tolerance, 5%; legal is above 5%, up to 10000%
            t.yaml:21:33: services.shop.plan.gates[12].latency.tolerance: `1001%` is out of range; legal is 0% to 1000%
            t.yaml:22:48: services.shop.plan.gates[13].latency.margin: `10001%` is out of range; legal is 0% to 10000%
            t.yaml:23:33: services.shop.plan.gates[14].latency.tolerance: a mapping is written here; legal is a percentage of stable's latency, like 10%
            t.yaml:24:33: services.shop.plan.gates[15].latency.tolerance: `10` has no %; a percentage is written like 10%; did you mean `10%`?"#]],
    );
}

#[test]
fn a_limit_is_its_own_margin_and_a_gate_of_its_own() {
    check(
        &plan(
            "      gates:
        - errors: { limit: 5%, margin: 6% }
        - latency: { limit: 1s, margin: 10% }
        - latency: { limit: 1s, tolerance: 10% }
",
        ),
        &expect![[r#"
            t.yaml:9:40: services.shop.plan.gates[0].errors.margin: `limit` stands in the same gate, and is its own margin: the gate passes below it; leave `margin` out
            t.yaml:10:41: services.shop.plan.gates[1].latency.margin: `limit` stands in the same gate, and is its own margin: the gate passes below it; leave `margin` out
            t.yaml:11:29: services.shop.plan.gates[2].latency.limit: `tolerance` stands in the same gate; write two gates: { latency: { tolerance: 10% } } and { latency: { limit: 300ms } }"#]],
    );
}

#[test]
fn quantiles_and_ends_of_latency_are_checked() {
    check(
        &plan(
            "      gates:
        - latency: { quantile: p9.99 }
        - latency: { quantile: p99.95 }
        - latency: { quantile: p100 }
        - latency: { quantile: 0.99 }
        - latency: { of: headers }
        - latency: { of: totl, quantile: p50 }
",
        ),
        &expect![[r#"
            t.yaml:9:32: services.shop.plan.gates[0].latency.quantile: `p9.99` cannot be compared with stable; legal is p10 to p99.9 (p1 to p99.99 beside a `limit`)
            t.yaml:10:32: services.shop.plan.gates[1].latency.quantile: `p99.95` cannot be compared with stable; legal is p10 to p99.9 (p1 to p99.99 beside a `limit`)
            t.yaml:11:32: services.shop.plan.gates[2].latency.quantile: `p100` is not a quantile; legal is p10 to p99.9 (p1 to p99.99 beside a `limit`), like p99
            t.yaml:12:32: services.shop.plan.gates[3].latency.quantile: `0.99` is not a quantile; legal is p10 to p99.9 (p1 to p99.99 beside a `limit`), like p99
            t.yaml:13:26: services.shop.plan.gates[4].latency.of: `headers` is no end of a latency; legal is `head` and `total`
            t.yaml:14:26: services.shop.plan.gates[5].latency.of: `totl` is no end of a latency; legal is `head` and `total`; did you mean `total`?"#]],
    );
}

#[test]
fn the_path_of_a_gate_is_one_of_a_few_and_names_the_gate() {
    check(
        &plan(
            "      gates:
        - { errors: {}, path: / }
        - { errors: {}, path: checkout }
        - { errors: {}, path: /a/b }
        - { errors: {}, path: /a-b }
        - { errors: {}, path: '/a%20b' }
        - { latency: {}, path: [/a] }
",
        ),
        &expect![[r#"
            t.yaml:9:31: services.shop.plan.gates[0].path: `/` is every path; leave `path` out to judge every request
            t.yaml:10:31: services.shop.plan.gates[1].path: `checkout` does not begin with /; legal is a path of whole segments that begins with /, like /checkout; did you mean `/checkout`?
            t.yaml:12:11: services.shop.plan.gates[3]: a gate at t.yaml:11:11 is named `errors-a-b` already; write another `name:` here
            t.yaml:13:11: services.shop.plan.gates[4]: would be named `errors-a%20b` after its path, which cannot name a gate; write a `name:`, legal is 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit
            t.yaml:14:32: services.shop.plan.gates[5].path: a list is written here; legal is a path, like /checkout"#]],
    );
    let many: String = (0..18).map(|i| format!("        - {{ errors: {{}}, path: /{} }}\n", i % 17)).collect();
    check(
        &plan(&format!("      gates:\n{many}")),
        &expect![[r#"
        t.yaml:25:31: services.shop.plan.gates[16].path: is one path too many; the gates of a plan judge at most 16 different ones
        t.yaml:26:11: services.shop.plan.gates[17]: a gate at t.yaml:9:11 is named `errors-0` already; write another `name:` here"#]],
    );
}

#[test]
fn a_path_that_the_service_of_a_gate_never_sees_is_warned_of() {
    let text = r#"
services:
  shop:
    path: /shop
    versions: { v1: { endpoints: ["a:1"] } }
    plan:
      gates:
        - { errors: {}, path: /shop/cart }
        - { errors: {}, path: /cart }
        - { errors: {}, path: /shop }
        - { errors: {}, path: /shopping }
        - { errors: {}, path: /shop/pay/now }
        - { errors: {}, path: /shop/payment }
  pay: { path: /shop/pay, versions: { v1: { endpoints: ["b:1"] } } }
  deep: { path: /shelf/books, versions: { v1: { endpoints: ["d:1"] } } }
  hosted: { hosts: [a.example], path: /shop/payment, versions: { v1: { endpoints: ["c:1"] } } }
plans:
  one: { gates: [{ errors: {}, path: /cart }, { errors: {}, path: /shop/x }] }
  other: { baseline: v2, gates: [{ errors: {}, path: /s }] }
  third: { baseline: v1, gates: [{ errors: {}, path: /shelf }] }
"#;
    expect![[r#"
        t.yaml:9:31: services.shop.plan.gates[1].path: no request of this service begins with /cart, so nothing advances for want of data; legal is a path below /shop; did you mean `/shop/cart`?
        t.yaml:10:31: services.shop.plan.gates[2].path: every request of this service has the path /shop; leave `path` out
        t.yaml:11:31: services.shop.plan.gates[3].path: no request of this service begins with /shopping, so nothing advances for want of data; legal is a path below /shop; did you mean `/shop/shopping`?
        t.yaml:12:31: services.shop.plan.gates[4].path: requests for /shop/pay/now lead to service `pay`, so nothing advances for want of data; leave the gate out, or write it into the plan of `pay`
        t.yaml:18:38: plans.one.gates[0].path: no request of any service begins with /cart, so under this plan nothing advances for want of data
        t.yaml:19:22: plans.other.baseline: no service has a version `v2`, so no rollout can start under this plan
        t.yaml:19:54: plans.other.gates[0].path: no request of any service begins with /s, so under this plan nothing advances for want of data"#]].assert_eq(&warnings(text));
}
