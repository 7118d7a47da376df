//! Plans, steps and gates.

use expect_test::expect;

use crate::{check, shop};

/// The same with a plan, which begins in line 8.
fn plan(plan: &str) -> String {
    shop(&format!("    plan:\n{plan}"))
}

#[test]
fn the_figures_of_a_plan_are_checked() {
    check(
        &plan("      alpha: 0%\n      min_requests: 0\n      advance: tim\n      steps: []\n"),
        &expect![[r#"
        t.yaml:8:14: services.shop.plan.alpha: `0%` is out of range; legal is 0.0001% to 50%
        t.yaml:9:21: services.shop.plan.min_requests: `0` is no number of requests; legal is 1 to 1000000000
        t.yaml:10:16: services.shop.plan.advance: `tim` is no way to advance; legal is `time`; did you mean `time`?
        t.yaml:11:14: services.shop.plan.steps: no step gives the canary a weight; write at least one, like { weight: 5%, hold: 10m }, or leave `steps` out for 1%, 5%, 25% and 50%"#]],
    );
    check(
        &plan("      alpha: 0.01\n      min_requests: many\n      steps:\n      gates:\n"),
        &expect![[r#"
        t.yaml:8:14: services.shop.plan.alpha: `0.01` has no %; a percentage is written like 1%; did you mean `0.01%`?
        t.yaml:9:21: services.shop.plan.min_requests: `many` is no number of requests; legal is 1 to 1000000000
        t.yaml:10:7: services.shop.plan.steps: nothing is written here; legal is a list of steps, like [{ weight: 5%, hold: 10m }, { approval: true }]
        t.yaml:11:7: services.shop.plan.gates: nothing is written here; legal is a list of gates, each { errors: {} }, { errors: { tolerance: 0.1% } }, { errors: { limit: 5% } } or { latency: { limit: 300ms } }"#]],
    );
    check(
        &shop("    plan: careful"),
        &expect![
            "t.yaml:7:11: services.shop.plan: `careful` is written here; legal is a mapping with `alpha`, `min_requests`, `advance`, `steps` and `gates`"
        ],
    );
}

#[test]
fn steps_are_weights_that_never_fall_or_approvals() {
    check(
        &plan(
            "      steps:
        - { weight: 10%, hold: 10 }
        - { weight: 5% }
        - { weight: 0% }
        - { weight: 20%, approval: true }
        - { approval: false }
        - { approval: true, hold: 5m }
        - { hold: 5m }
        - 50%
        - { weight: 101%, hold: 2 weeks }
        - { weight: 100% }
",
        ),
        &expect![[r#"
            t.yaml:9:32: services.shop.plan.steps[0].hold: `10` has no unit; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m; did you mean `10s`?
            t.yaml:10:21: services.shop.plan.steps[1].weight: 5% is below the 10% of an earlier step at t.yaml:9:21; legal is 10% or more (weights never fall)
            t.yaml:11:21: services.shop.plan.steps[2].weight: `0%` gives the canary nothing; legal is above 0% and below 100%
            t.yaml:12:36: services.shop.plan.steps[3].approval: a step is either a weight or an approval; write two steps, each { weight: 5%, hold: 10m } or { approval: true }
            t.yaml:13:23: services.shop.plan.steps[4].approval: `false` is written here; legal is `true`, or leave the step out
            t.yaml:14:11: services.shop.plan.steps[5]: an approval waits for a person, however long; leave `hold` out
            t.yaml:15:11: services.shop.plan.steps[6]: is no step; legal is { weight: 5%, hold: 10m } or { approval: true }
            t.yaml:16:11: services.shop.plan.steps[7]: `50%` is written here; legal is a mapping with `weight`, `hold` and `approval`
            t.yaml:17:21: services.shop.plan.steps[8].weight: `101%` is more than everything; legal is 0% to 100% in steps of 0.01%
            t.yaml:17:33: services.shop.plan.steps[8].hold: `2 weeks` is not a time; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m
            t.yaml:18:21: services.shop.plan.steps[9].weight: `100%` leaves no stable traffic to compare with; legal is above 0% and below 100% (after its last step the canary is promoted by itself)"#]],
    );
    check(
        &plan("      steps: [{ approval: true }]"),
        &expect![
            "t.yaml:8:14: services.shop.plan.steps: no step gives the canary a weight; write at least one, like { weight: 5%, hold: 10m }, or leave `steps` out for 1%, 5%, 25% and 50%"
        ],
    );
}

#[test]
fn gates_judge_one_thing_each_under_one_name() {
    check(
        &plan(
            "      gates:
        - errors: {}
        - errors: { tolerance: 0.1% }
        - { name: breaker, errors: { limit: 5% } }
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
            t.yaml:11:19: services.shop.plan.gates[2].name: `breaker` is reserved for the circuit breaker that is always on; choose another name
            t.yaml:12:19: services.shop.plan.gates[3].name: `my gate` cannot name a gate; legal is 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit
            t.yaml:13:34: services.shop.plan.gates[4].latency: `errors` stands in the same gate; write two gates
            t.yaml:14:11: services.shop.plan.gates[5]: judges nothing; legal is { errors: {} }, { errors: { tolerance: 0.1% } }, { errors: { limit: 5% } } or { latency: { limit: 300ms } }
            t.yaml:15:11: services.shop.plan.gates[6]: `errors` is no gate; legal is { errors: {} }, { errors: { tolerance: 0.1% } }, { errors: { limit: 5% } } or { latency: { limit: 300ms } }
            t.yaml:16:11: services.shop.plan.gates[7].errors: nothing is written here; legal is a mapping, like { errors: {} }, { errors: { tolerance: 0.1% } }, { errors: { limit: 5% } } or { latency: { limit: 300ms } }
            t.yaml:17:45: services.shop.plan.gates[8].errors.limit: `tolerance` stands in the same gate; write two gates: { errors: { tolerance: 0.1% } } and { errors: { limit: 5% } }
            t.yaml:18:31: services.shop.plan.gates[9].role: `gardrail` is no role; legal is `guardrail`; did you mean `guardrail`?
            t.yaml:19:11: services.shop.plan.gates[10]: a gate at t.yaml:9:11 is named `errors` already; write another `name:` here
            t.yaml:19:23: services.shop.plan.gates[10].errors.name: `name` is no key of an `errors` gate; write it beside, in the mapping around this one"#]],
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
            t.yaml:12:32: services.shop.plan.gates[3].errors.tolerance: `0.1` has no %; a percentage is written like 0.1%; did you mean `0.1%`?
            t.yaml:13:21: services.shop.plan.gates[4].errors.tolerance: tolerates nothing in particular; legal is 0.1%, { ratio: 1.5 } or { ratio: 1.5, points: 0.1% }
            t.yaml:14:41: services.shop.plan.gates[5].errors.tolerance.ratio: `0.5` is no ratio; legal is 1 to 1000, like 1.5 (half again of stable's errors)
            t.yaml:15:41: services.shop.plan.gates[6].errors.tolerance.ratio: `10%` is no ratio; legal is 1 to 1000, like 1.5 (half again of stable's errors); points are written as `points:`
            t.yaml:16:41: services.shop.plan.gates[7].errors.tolerance.ratio: `NaN` is no ratio; legal is 1 to 1000, like 1.5 (half again of stable's errors)
            t.yaml:16:54: services.shop.plan.gates[7].errors.tolerance.points: `101%` is out of range; legal is 0% to 100%
            t.yaml:17:29: services.shop.plan.gates[8].latency.limit: `300` has no unit; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m; did you mean `300s`?
            t.yaml:18:29: services.shop.plan.gates[9].latency.limit: `61s` cannot be a limit; legal is 1ms to 60s
            t.yaml:19:43: services.shop.plan.gates[10].latency.quantile: `99` is not a quantile; legal is p1 to p99.99, like p99
            t.yaml:20:43: services.shop.plan.gates[11].latency.quantile: `p100` is not a quantile; legal is p1 to p99.99, like p99"#]],
    );
}
