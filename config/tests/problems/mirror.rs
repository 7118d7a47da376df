//! Copies of requests, and how long connections that last may stay.

use expect_test::expect;

use crate::plans::plan;
use crate::{check, shop, warnings};

#[test]
fn the_rules_for_copies_are_checked() {
    check(
        &shop(
            "    mirror: { methods: [get, CONNECT, GET, GET], body: 2MiB, in_flight: 0, timeout: 0s, share: 10%, status: 1% }",
        ),
        &expect![[r#"
            t.yaml:7:25: services.shop.mirror.methods[0]: `get` is no method; legal is a method in upper case, like GET or POST; did you mean `GET`?
            t.yaml:7:30: services.shop.mirror.methods[1]: `CONNECT` makes a tunnel, which cannot be copied; leave it out
            t.yaml:7:44: services.shop.mirror.methods[3]: `GET` is written twice; keep one, the other is at t.yaml:7:39
            t.yaml:7:56: services.shop.mirror.body: `2MiB` is out of range; legal is 1B to 1MiB: as much is kept for each copy
            t.yaml:7:73: services.shop.mirror.in_flight: `0` is out of range; legal is 1 to 1000
            t.yaml:7:85: services.shop.mirror.timeout: `0s` is out of range; legal is 1ms to 1m
            t.yaml:7:89: services.shop.mirror.share: `share` is no key of the rules for copies; write it into a step of the plan, like { mirror: 10%, hold: 5m }
            t.yaml:7:101: services.shop.mirror.status: `status` is no key of the rules for copies; write it into a gate of the plan, like { mirror: { status: 1% } }"#]],
    );
    check(
        &shop("    mirror: { methods: [], body: 64, in_flight: 1001, timeout: 61s }"),
        &expect![[r#"
        t.yaml:7:24: services.shop.mirror.methods: no method is written here; write at least one, or leave `methods` out for `GET`, `HEAD` and `OPTIONS`
        t.yaml:7:34: services.shop.mirror.body: `64` has no unit; legal is a whole number with B, KiB, MiB, GiB or TiB, like 8KiB or 10MiB; did you mean `64B`?
        t.yaml:7:49: services.shop.mirror.in_flight: `1001` is out of range; legal is 1 to 1000
        t.yaml:7:64: services.shop.mirror.timeout: `61s` is out of range; legal is 1ms to 1m"#]],
    );
    check(
        &shop("    mirror: 10%"),
        &expect![
            "t.yaml:7:13: services.shop.mirror: `10%` is written here; legal is a mapping with `methods`, `body`, `in_flight` and `timeout`"
        ],
    );
}

#[test]
fn what_is_done_twice_is_warned_of_and_so_are_rules_that_nothing_uses() {
    let copied =
        "    plan: { steps: [{ mirror: 10% }, { weight: 1% }], gates: [{ errors: {} }, { mirror: { errors: 1% } }] }";
    expect![[r#"
        t.yaml:7:30: services.shop.mirror.methods[1]: `POST` is no safe method: what such a request changes is changed a second time by its copy, unless the canary has data of its own
        t.yaml:7:43: services.shop.mirror.methods[3]: `PURGE` is no safe method: what such a request changes is changed a second time by its copy, unless the canary has data of its own"#]]
        .assert_eq(&warnings(&shop(&format!("    mirror: {{ methods: [GET, POST, TRACE, PURGE] }}\n{copied}"))));
    expect!["t.yaml:7:13: services.shop.mirror: says which requests may be copied, and no step of the plan copies any; write a step like { mirror: 10%, hold: 5m } into `plan`, before the first weight"].assert_eq(&warnings(&shop("    mirror: { timeout: 1s }")));
    let named = format!("plans: {{ careful: {{}} }}\n{}", shop("    mirror: { timeout: 1s }"));
    assert_eq!(warnings(&named), "", "a rollout may name another plan");
}

#[test]
fn a_mirror_is_a_step_of_its_own_before_the_first_weight() {
    check(
        &plan(
            "      steps:
        - { mirror: 0% }
        - { mirror: 101% }
        - { mirror: { share: 10% } }
        - { mirror: 10%, weight: 1% }
        - { mirror: 10%, match: { x-beta: '1' } }
        - { mirror: 10%, early: true, deadline: 1h, judged: true }
        - { mirror: 10%, hold: 10 }
        - { weight: 5% }
        - { mirror: 10% }
",
        ),
        &expect![[r#"
            t.yaml:9:21: services.shop.plan.steps[0].mirror: `0%` copies nothing; legal is above 0%, up to 100%
            t.yaml:10:21: services.shop.plan.steps[1].mirror: `101%` is more than everything; legal is 0% to 100% in steps of 0.01%
            t.yaml:11:21: services.shop.plan.steps[2].mirror: a mapping is written here; legal is a share of stable's requests, like 10%
            t.yaml:12:21: services.shop.plan.steps[3].mirror: a step is a weight, a match, a mirror or an approval; write two steps, each { weight: 5%, hold: 10m }, { match: { x-beta: "1" }, hold: 10m }, { mirror: 10%, hold: 5m } or { approval: true }
            t.yaml:13:21: services.shop.plan.steps[4].mirror: a step is a weight, a match, a mirror or an approval; write two steps, each { weight: 5%, hold: 10m }, { match: { x-beta: "1" }, hold: 10m }, { mirror: 10%, hold: 5m } or { approval: true }
            t.yaml:14:11: services.shop.plan.steps[5]: a mirror ends by its `hold`, and by the proof that `advance` wants; leave `early`, `deadline` and `judged` out
            t.yaml:15:32: services.shop.plan.steps[6].hold: `10` has no unit; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m; did you mean `10s`?
            t.yaml:17:21: services.shop.plan.steps[8].mirror: the canary has 5% since the step at t.yaml:16:21, and copies are for one without users; write the mirror before the first weight"#]],
    );
    check(
        &plan("      steps: [{ mirror: 10% }]\n"),
        &expect![
            "t.yaml:8:14: services.shop.plan.steps: no step gives the canary a weight; write at least one, like { weight: 5%, hold: 10m }, or leave `steps` out for 1%, 5%, 25% and 50%"
        ],
    );
}

#[test]
fn a_gate_on_copies_is_limits_and_judges_no_path() {
    check(
        &plan(
            "      steps: [{ mirror: 10% }, { weight: 1% }]
      gates:
        - mirror: 1%
        - mirror: {}
        - mirror:
        - mirror: { status: 0%, body: 100%, errors: 5 }
        - mirror: { latency: 1%, tolerance: 1%, limit: 1%, name: x }
        - { mirror: { status: 1% }, path: /checkout }
        - { mirror: { status: 1% }, errors: {} }
",
        ),
        &expect![[r#"
            t.yaml:10:19: services.shop.plan.gates[0].mirror: `1%` is written here; legal is { errors: 1%, status: 1%, body: 5% } or some of these
            t.yaml:11:11: services.shop.plan.gates[1].mirror: judges nothing; legal is { errors: 1%, status: 1%, body: 5% } or some of these
            t.yaml:12:11: services.shop.plan.gates[2].mirror: nothing is written here; legal is { errors: 1%, status: 1%, body: 5% } or some of these
            t.yaml:13:29: services.shop.plan.gates[3].mirror.status: `0%` cannot be a limit; legal is above 0% and below 100%
            t.yaml:13:39: services.shop.plan.gates[3].mirror.body: `100%` cannot be a limit; legal is above 0% and below 100%
            t.yaml:13:53: services.shop.plan.gates[3].mirror.errors: `5` has no %; a percentage is written like 0.1%; did you mean `5%`?
            t.yaml:14:21: services.shop.plan.gates[4].mirror.latency: `latency` is no key of a `mirror` gate; legal keys are `errors`, `status` and `body`
            t.yaml:14:34: services.shop.plan.gates[4].mirror.tolerance: `tolerance` is no key of a `mirror` gate; a copy is compared with the answer that stable gave to the same request; write the share of copies that may differ, like mirror: { status: 1% }
            t.yaml:14:49: services.shop.plan.gates[4].mirror.limit: `limit` is no key of a `mirror` gate; write the limit itself, like mirror: { status: 1% }
            t.yaml:14:60: services.shop.plan.gates[4].mirror.name: `name` is no key of a `mirror` gate; write it beside, in the mapping around this one
            t.yaml:15:43: services.shop.plan.gates[5].path: copies are not counted by path; leave `path` out
            t.yaml:16:21: services.shop.plan.gates[6].mirror: `errors` stands in the same gate; write two gates"#]],
    );
    check(
        &plan(
            "      steps: [{ mirror: 10% }, { weight: 1% }]
      gates:
        - mirror: { status: 1% }
        - { errors: {}, name: mirror-status }
        - { errors: {}, name: mirror }
        - mirror: { body: 1% }
",
        ),
        &expect![[r#"
            t.yaml:11:11: services.shop.plan.gates[1]: a gate at t.yaml:10:11 is named `mirror-status` already; write another `name:` here
            t.yaml:12:11: services.shop.plan.gates[2]: a gate at t.yaml:10:11 is named `mirror` already; write another `name:` here
            t.yaml:13:11: services.shop.plan.gates[3]: a gate at t.yaml:10:11 is named `mirror` already; write another `name:` here"#]],
    );
}

#[test]
fn a_proof_needs_a_gate_that_can_give_it_once_the_canary_has_users() {
    check(
        &plan(
            "      advance: proof\n      steps: [{ mirror: 10% }, { weight: 1% }]\n      gates: [{ mirror: { status: 1% } }]\n",
        ),
        &expect![
            "t.yaml:10:14: services.shop.plan.gates: no gate is written here that could prove anything of a canary with users, and `advance: proof` waits for proof; write a gate, or leave `advance: proof` out"
        ],
    );
}

#[test]
fn copies_that_nobody_looks_at_and_gates_without_copies_are_warned_of() {
    let told = |text: &str| warnings(&plan(text));
    expect!["t.yaml:8:14: services.shop.plan.steps: no gate looks at the copies of step 1, so it ends by its hold whatever the canary answers; write a gate like { mirror: { errors: 1%, status: 1% } }"].assert_eq(&told("      steps: [{ mirror: 10% }, { weight: 1% }]\n"));
    expect!["t.yaml:8:14: services.shop.plan.gates: the gate `mirror` judges copies of requests, and no step sends any; write a step like { mirror: 10%, hold: 5m } before the first weight, or leave the gate out"].assert_eq(&told("      gates: [{ errors: {} }, { mirror: { status: 1% } }]\n"));
    expect!["t.yaml:9:14: services.shop.plan.gates: every gate judges copies alone: once the canary has users nothing but the circuit breaker takes it back; write a gate like { errors: {} } beside them"].assert_eq(&told(
        "      steps: [{ mirror: 10% }, { weight: 1% }]\n      gates: [{ mirror: { status: 1% } }]\n",
    ));
    let both =
        "      steps: [{ mirror: 10% }, { weight: 1% }]\n      gates: [{ errors: {} }, { mirror: { status: 1% } }]\n";
    assert_eq!(told(both), "");
}

#[test]
fn how_long_connections_that_last_may_stay_is_a_time_or_never() {
    check(
        &plan("      drain: 25h\n"),
        &expect!["t.yaml:8:14: services.shop.plan.drain: `25h` is longer than a day; legal is 0s to 24h, or `never`"],
    );
    check(
        &plan("      drain: off\n"),
        &expect![
            "t.yaml:8:14: services.shop.plan.drain: `off` is not a time; legal is `never`, or whole numbers with units, like 500ms, 10s, 5m, 1h30m"
        ],
    );
    check(
        &plan("      drain: 10\n"),
        &expect![
            "t.yaml:8:14: services.shop.plan.drain: `10` has no unit; legal is `never`, or whole numbers with units, like 500ms, 10s, 5m, 1h30m; did you mean `10s`?"
        ],
    );
    check(
        &plan("      drain:\n"),
        &expect![
            "t.yaml:8:7: services.shop.plan.drain: nothing is written here; legal is a time, like 10m, or `never`"
        ],
    );
    check(
        &shop("    drain: 10m"),
        &expect![
            "t.yaml:7:5: services.shop.drain: `drain` is no key of a service; write it into the plan, like plan: { drain: 10m }"
        ],
    );
}
