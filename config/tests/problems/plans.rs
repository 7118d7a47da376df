//! Plans, steps and gates.

use expect_test::expect;

use crate::{check, shop, warnings};

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
            t.yaml:10:16: services.shop.plan.advance: `tim` is no way to advance; legal is `time` and `proof`; did you mean `time`?
            t.yaml:11:14: services.shop.plan.steps: no step gives the canary a weight; write at least one, like { weight: 5%, hold: 10m }, or leave `steps` out for 1%, 5%, 25% and 50%"#]],
    );
    check(
        &plan("      alpha: 0.01\n      min_requests: many\n      steps:\n      gates:\n"),
        &expect![[r#"
            t.yaml:8:14: services.shop.plan.alpha: `0.01` has no %; a percentage is written like 1%; did you mean `0.01%`?
            t.yaml:9:21: services.shop.plan.min_requests: `many` is no number of requests; legal is 1 to 1000000000
            t.yaml:10:7: services.shop.plan.steps: nothing is written here; legal is a list of steps, like [{ weight: 5%, hold: 10m }, { approval: true }]
            t.yaml:11:7: services.shop.plan.gates: nothing is written here; legal is a list of gates, each { errors: {} }, { errors: { tolerance: 0.1% } }, { errors: { limit: 5% } }, { latency: {} } or { latency: { limit: 300ms } }"#]],
    );
    check(
        &shop("    plan: careful"),
        &expect![
            "t.yaml:7:11: services.shop.plan: `careful` is written here; legal is a mapping with `alpha`, `beta`, `min_requests`, `warmup`, `advance`, `early`, `deadline`, `on_deadline`, `baseline`, `dry_run`, `steps` and `gates`"
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
            t.yaml:16:11: services.shop.plan.steps[7]: `50%` is written here; legal is a mapping with `weight`, `hold`, `early`, `deadline`, `on_deadline` and `approval`
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
            t.yaml:14:11: services.shop.plan.gates[5]: judges nothing; legal is { errors: {} }, { errors: { tolerance: 0.1% } }, { errors: { limit: 5% } }, { latency: {} } or { latency: { limit: 300ms } }
            t.yaml:15:11: services.shop.plan.gates[6]: `errors` is no gate; legal is { errors: {} }, { errors: { tolerance: 0.1% } }, { errors: { limit: 5% } }, { latency: {} } or { latency: { limit: 300ms } }
            t.yaml:16:11: services.shop.plan.gates[7].errors: nothing is written here; legal is a mapping, like { errors: {} }, { errors: { tolerance: 0.1% } }, { errors: { limit: 5% } }, { latency: {} } or { latency: { limit: 300ms } }
            t.yaml:17:45: services.shop.plan.gates[8].errors.limit: `tolerance` stands in the same gate; write two gates: { errors: { tolerance: 0.1% } } and { errors: { limit: 5% } }
            t.yaml:18:31: services.shop.plan.gates[9].role: `gardrail` is no role; legal is `guardrail` and `signal`; did you mean `guardrail`?
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

#[test]
fn the_figures_of_the_judgement_are_checked() {
    check(
        &plan(
            "      alpha: 100%
      beta: 0%
      warmup: 61m
      advance: prof
      early: yes
      deadline: 0s
      on_deadline: rollback
      baseline: { version: v2 }
      dry_run: 1
",
        ),
        &expect![[r#"
            t.yaml:8:14: services.shop.plan.alpha: `100%` is out of range; legal is 0.0001% to 50%
            t.yaml:9:13: services.shop.plan.beta: `0%` is out of range; legal is 0.0001% to 50%
            t.yaml:10:15: services.shop.plan.warmup: `61m` is longer than an hour; legal is 0s to 1h
            t.yaml:11:16: services.shop.plan.advance: `prof` is no way to advance; legal is `time` and `proof`; did you mean `proof`?
            t.yaml:12:14: services.shop.plan.early: `yes` is no truth value; legal is `true` and `false`
            t.yaml:13:17: services.shop.plan.deadline: `0s` is over at once; legal is above 0s, and at least the hold
            t.yaml:14:20: services.shop.plan.on_deadline: `rollback` cannot be done at a deadline; legal is `hold`, `promote` and `roll-back`; did you mean `roll-back`?
            t.yaml:15:17: services.shop.plan.baseline: a mapping is written here; legal is `stable`, `equal` or the name of another version
            t.yaml:16:16: services.shop.plan.dry_run: `1` is no truth value; legal is `true` and `false`"#]],
    );
    check(
        &plan("      beta: 100%\n      warmup: 30\n      baseline: my version\n      early:\n"),
        &expect![[r#"
        t.yaml:8:13: services.shop.plan.beta: `100%` is out of range; legal is 0.0001% to 50%
        t.yaml:9:15: services.shop.plan.warmup: `30` has no unit; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m; did you mean `30s`?
        t.yaml:10:17: services.shop.plan.baseline: `my version` names no version; legal is `stable`, `equal` or the name of another version
        t.yaml:11:7: services.shop.plan.early: nothing is written here; legal is `true` and `false`"#]],
    );
}

#[test]
fn what_belongs_elsewhere_in_a_plan_is_told_where() {
    check(
        &shop(
            "    baseline: equal\n    gates: []\n    steps: []\n    plan:\n      margin: 1%\n      tolerance: 1%\n      steps: [{ weight: 1%, advance: proof }]",
        ),
        &expect![[r#"
            t.yaml:7:5: services.shop.baseline: `baseline` is no key of a service; write it into the plan, like plan: { baseline: equal }
            t.yaml:8:5: services.shop.gates: `gates` is no key of a service; write it into the plan, like plan: { gates: [{ errors: {} }] }
            t.yaml:9:5: services.shop.steps: `steps` is no key of a service; write it into the plan, like plan: { steps: [{ weight: 5%, hold: 10m }] }
            t.yaml:11:7: services.shop.plan.margin: `margin` is no key of a plan; write it into a gate, like errors: { margin: 0.3% }
            t.yaml:12:7: services.shop.plan.tolerance: `tolerance` is no key of a plan; write it into a gate, like errors: { tolerance: 0.1% }
            t.yaml:13:29: services.shop.plan.steps[0].advance: `advance` is no key of a step; write it into the plan, for all its steps"#]],
    );
}

#[test]
fn a_deadline_is_not_shorter_than_the_hold_of_its_step() {
    check(
        &plan(
            "      steps:
        - { weight: 1%, hold: 10m, deadline: 9m59s500ms }
        - { weight: 2%, deadline: 4m }
        - { weight: 3%, deadline: 0s }
        - { weight: 4%, deadline: 60 }
",
        ),
        &expect![[r#"
            t.yaml:9:46: services.shop.plan.steps[0].deadline: 9m59s500ms is shorter than this step's hold of 10m; legal is 10m or more
            t.yaml:10:35: services.shop.plan.steps[1].deadline: 4m is shorter than this step's hold of 5m; legal is 5m or more
            t.yaml:11:35: services.shop.plan.steps[2].deadline: `0s` is over at once; legal is above 0s, and at least the hold
            t.yaml:12:35: services.shop.plan.steps[3].deadline: `60` has no unit; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m; did you mean `60s`?"#]],
    );
    check(
        &plan(
            "      deadline: 1h\n      steps: [{ weight: 1%, hold: 2h, deadline: 3h }, { weight: 2%, hold: 1h30m }]\n",
        ),
        &expect![
            "t.yaml:8:17: services.shop.plan.deadline: 1h is shorter than the longest hold of a step without a deadline of its own, 1h30m; legal is 1h30m or more"
        ],
    );
    check(
        &plan("      deadline: 9m\n"),
        &expect![
            "t.yaml:8:17: services.shop.plan.deadline: 9m is shorter than the longest hold of a step without a deadline of its own, 10m; legal is 10m or more"
        ],
    );
}

#[test]
fn nothing_is_said_of_a_deadline_that_does_not_exist() {
    check(
        &plan("      on_deadline: promote\n"),
        &expect![
            "t.yaml:8:20: services.shop.plan.on_deadline: says what happens at a deadline, and there is none; write one beside it, like `deadline: 1h`, or leave it out"
        ],
    );
    check(
        &plan("      steps: [{ weight: 1%, on_deadline: roll-back }, { weight: 2%, deadline: 1h }]\n"),
        &expect![
            "t.yaml:8:42: services.shop.plan.steps[0].on_deadline: says what happens at a deadline, and there is none; write one beside it, like `deadline: 1h`, or leave it out"
        ],
    );
    check(
        &plan("      steps: [{ weight: 1% }, { approval: true, early: true, deadline: 1h, on_deadline: hold }]\n"),
        &expect![
            "t.yaml:8:31: services.shop.plan.steps[1]: an approval waits for a person, however long; leave `early`, `deadline` and `on_deadline` out"
        ],
    );
}

#[test]
fn a_baseline_is_a_version_that_the_canary_can_be_compared_with() {
    let three = |plan: &str, more: &str| {
        format!(
            "services:\n  shop:\n    stable: v1\n{more}    versions: {{ v1: {{ endpoints: ['a:1'] }}, v2: {{ endpoints: \
             ['b:1'] }}, v1-again: {{ endpoints: ['c:1'] }} }}\n    plan: {{ baseline: {plan} }}\n"
        )
    };
    check(
        &three("v1", ""),
        &expect![
            "t.yaml:5:23: services.shop.plan.baseline: `v1` is the stable version (`stable` is all of its traffic, `equal` a slice as large as the canary's); legal is `stable`, `equal`, `v2` and `v1-again`"
        ],
    );
    check(
        &three("v2", "    weight: 1%\n    canary: v2\n"),
        &expect![
            "t.yaml:7:23: services.shop.plan.baseline: `v2` is the canary, which cannot be compared with itself; legal is `stable`, `equal` and `v1-again`"
        ],
    );
    check(
        &three("v1-agian", ""),
        &expect![
            "t.yaml:5:23: services.shop.plan.baseline: `v1-agian` is no version of this service; legal is `stable`, `equal`, `v2` and `v1-again`; did you mean `v1-again`?"
        ],
    );
    check(
        &three("equals", ""),
        &expect![
            "t.yaml:5:23: services.shop.plan.baseline: `equals` is no version of this service; legal is `stable`, `equal`, `v2` and `v1-again`; did you mean `equal`?"
        ],
    );
}

#[test]
fn nothing_waits_for_a_proof_that_cannot_come() {
    check(
        &plan("      advance: proof\n      gates: []\n"),
        &expect![
            "t.yaml:9:14: services.shop.plan.gates: no gate is written here that could prove anything, and `advance: proof` waits for proof; write a gate, or leave `advance: proof` out"
        ],
    );
    check(
        &plan("      steps: [{ weight: 1%, early: true }]\n      gates: []\n"),
        &expect![
            "t.yaml:9:14: services.shop.plan.gates: no gate is written here that could prove anything, and `early: true` waits for proof; write a gate, or leave `early: true` out"
        ],
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
            t.yaml:9:11: services.shop.plan.gates[0].cpu: `cpu` is no key of a gate; legal keys are `errors`, `latency`, `name`, `role` and `path`, and what is judged is `errors` or `latency`
            t.yaml:10:11: services.shop.plan.gates[1].latncy: `latncy` is no key of a gate; legal keys are `errors`, `latency`, `name`, `role` and `path`, and what is judged is `errors` or `latency`; did you mean `latency`?
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
            t.yaml:16:19: services.shop.plan.gates[7].name: `traffic` is reserved for the check of the traffic that is always on; choose another name"#]],
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
            t.yaml:9:46: services.shop.plan.gates[0].errors.margin: is not more than the tolerance, 0.1%; legal is above 0.1%
            t.yaml:10:29: services.shop.plan.gates[1].errors.margin: is not more than the tolerance, a ratio of 1.1 and 0.05%; legal is above 0.05%
            t.yaml:11:29: services.shop.plan.gates[2].errors.margin: is not more than the tolerance, a ratio of 1.1 and 0.05%; legal is a ratio above 1.1
            t.yaml:12:71: services.shop.plan.gates[3].errors.margin: is not more than the tolerance, a ratio of 1.5 and 0.02%; legal is a ratio of 1.5 or more and 0.02% or more, one of them more
            t.yaml:13:71: services.shop.plan.gates[4].errors.margin: is not more than the tolerance, a ratio of 1.5 and 0.02%; legal is a ratio of 1.5 or more and 0.02% or more, one of them more
            t.yaml:14:32: services.shop.plan.gates[5].errors.tolerance: `100%` tolerates everything; legal is 0% or more, below 100%
            t.yaml:15:21: services.shop.plan.gates[6].errors.margin: rules nothing in particular out; legal is 0.3%, { ratio: 2 } or { ratio: 2, points: 0.3% }
            t.yaml:16:38: services.shop.plan.gates[7].errors.margin.ratio: `10001` is no ratio; legal is 1 to 10000, like 1.5 (half again of stable's errors)
            t.yaml:17:31: services.shop.plan.gates[8].errors.margin.part: `part` is no key of a margin; legal keys are `ratio` and `points`
            t.yaml:18:46: services.shop.plan.gates[9].latency.margin: 10% is not more than the tolerance, 10%; legal is above 10%, up to 10000%
            t.yaml:19:30: services.shop.plan.gates[10].latency.margin: 4.9% is not more than the tolerance, 5%; legal is above 5%, up to 10000%
            t.yaml:20:33: services.shop.plan.gates[11].latency.tolerance: `1001%` is out of range; legal is 0% to 1000%
            t.yaml:21:48: services.shop.plan.gates[12].latency.margin: `10001%` is out of range; legal is 0% to 10000%
            t.yaml:22:33: services.shop.plan.gates[13].latency.tolerance: a mapping is written here; legal is a percentage of stable's latency, like 10%
            t.yaml:23:33: services.shop.plan.gates[14].latency.tolerance: `10` has no %; a percentage is written like 10%; did you mean `10%`?"#]],
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
            t.yaml:11:32: services.shop.plan.gates[2].latency.quantile: `p100` is not a quantile; legal is p1 to p99.99, like p99
            t.yaml:12:32: services.shop.plan.gates[3].latency.quantile: `0.99` is not a quantile; legal is p1 to p99.99, like p99
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
fn a_plan_that_is_perhaps_not_meant_is_warned_of() {
    expect!["t.yaml:8:16: services.shop.plan.dry_run: a dry run waits for no proof, so `advance: proof` does nothing: its steps end by time"].assert_eq(&warnings(&plan("      dry_run: true\n      advance: proof\n")));
    expect!["t.yaml:8:16: services.shop.plan.dry_run: a dry run waits for no proof, so `early: true` does nothing: its steps end by time"].assert_eq(&warnings(&plan("      dry_run: true\n      early: true\n")));
    expect!["t.yaml:8:14: services.shop.plan.gates: every gate is a signal: nothing but the circuit breaker takes a bad canary back; give one the role `guardrail`"].assert_eq(&warnings(&plan("      gates: [{ errors: {}, role: signal }]\n")));
    assert_eq!(warnings(&plan("      dry_run: true\n      gates: []\n")).lines().count(), 1);
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
  hosted: { hosts: [a.example], path: /shop/payment, versions: { v1: { endpoints: ["c:1"] } } }
plans:
  one: { gates: [{ errors: {}, path: /cart }, { errors: {}, path: /shop/x }] }
  other: { baseline: v2, gates: [{ errors: {}, path: /s }] }
  third: { baseline: v1 }
"#;
    expect![[r#"
        t.yaml:9:31: services.shop.plan.gates[1].path: no request of this service begins with /cart, so nothing advances for want of data; legal is a path below /shop; did you mean `/shop/cart`?
        t.yaml:10:31: services.shop.plan.gates[2].path: every request of this service has the path /shop; leave `path` out
        t.yaml:11:31: services.shop.plan.gates[3].path: no request of this service begins with /shopping, so nothing advances for want of data; legal is a path below /shop; did you mean `/shop/shopping`?
        t.yaml:12:31: services.shop.plan.gates[4].path: requests for /shop/pay/now lead to service `pay`, so nothing advances for want of data; leave the gate out, or write it into the plan of `pay`
        t.yaml:17:38: plans.one.gates[0].path: no request of any service begins with /cart, so under this plan nothing advances for want of data
        t.yaml:18:22: plans.other.baseline: no service has a version `v2`, so no rollout can start under this plan
        t.yaml:18:54: plans.other.gates[0].path: no request of any service begins with /s, so under this plan nothing advances for want of data"#]].assert_eq(&warnings(text));
}
