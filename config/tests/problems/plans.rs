//! Plans and steps.

use expect_test::expect;

use crate::{check, shop, warnings};

/// The same with a plan, which begins in line 8.
pub(crate) fn plan(plan: &str) -> String {
    shop(&format!("    plan:\n{plan}"))
}

#[test]
fn a_plan_that_is_over_before_any_latency_is_compared_is_warned_of() {
    let told = |text: &str| warnings(&plan(text));
    expect!["t.yaml:8:14: services.shop.plan.steps: the gate `latency` compares no latency: the canary warms up for 30s (`warmup`), and by then all steps are over, which last for 30s together; write longer holds or a shorter `warmup`, or leave the gate out"].assert_eq(&told("      steps: [{ weight: 5%, hold: 20s }, { weight: 50%, hold: 10s }]\n"));
    for enough in [
        "      steps: [{ weight: 5%, hold: 20s }, { weight: 50%, hold: 11s }]\n",
        "      warmup: 29s\n      steps: [{ weight: 5%, hold: 20s }, { weight: 50%, hold: 10s }]\n",
        "      steps: [{ weight: 5%, hold: 20s }, { approval: true }, { weight: 50%, hold: 10s }]\n",
        "      advance: proof\n      steps: [{ weight: 5%, hold: 20s }]\n",
        "      gates: [{ errors: {} }]\n      steps: [{ weight: 5%, hold: 20s }]\n",
    ] {
        assert_eq!(told(enough), "", "{enough}");
    }
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
            t.yaml:8:14: services.shop.plan.alpha: `0.01` has no %; a percentage is written like 1%; did you mean `1%` or `0.01%`?
            t.yaml:9:21: services.shop.plan.min_requests: `many` is no number of requests; legal is 1 to 1000000000
            t.yaml:10:7: services.shop.plan.steps: nothing is written here; legal is a list of steps, like [{ weight: 5%, hold: 10m }, { approval: true }]
            t.yaml:11:7: services.shop.plan.gates: nothing is written here; legal is a list of gates, each { errors: {} }, { errors: { tolerance: 0.1% } }, { errors: { limit: 5% } }, { latency: {} }, { latency: { limit: 300ms } } or { mirror: { status: 1% } }"#]],
    );
    check(
        &shop("    plan: careful"),
        &expect![
            "t.yaml:7:11: services.shop.plan: `careful` is written here; legal is a mapping with `alpha`, `beta`, `min_requests`, `warmup`, `advance`, `early`, `deadline`, `on_deadline`, `baseline`, `dry_run`, `drain`, `steps` and `gates`"
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
            t.yaml:12:36: services.shop.plan.steps[3].approval: a step is a weight, a match, a mirror or an approval; write two steps, each { weight: 5%, hold: 10m }, { match: { x-beta: "1" }, hold: 10m }, { mirror: 10%, hold: 5m } or { approval: true }
            t.yaml:13:23: services.shop.plan.steps[4].approval: `false` is written here; legal is `true`, or leave the step out
            t.yaml:14:11: services.shop.plan.steps[5]: an approval waits for a person, however long; leave `hold` out
            t.yaml:15:11: services.shop.plan.steps[6]: is no step; legal is { weight: 5%, hold: 10m }, { match: { x-beta: "1" }, hold: 10m }, { mirror: 10%, hold: 5m } or { approval: true }
            t.yaml:16:11: services.shop.plan.steps[7]: `50%` is written here; legal is a mapping with `weight`, `hold`, `early`, `deadline`, `on_deadline`, `match`, `judged`, `mirror` and `approval`
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
fn a_plan_that_is_perhaps_not_meant_is_warned_of() {
    expect!["t.yaml:8:16: services.shop.plan.dry_run: a dry run waits for no proof, so `advance: proof` does nothing: its steps end by time"].assert_eq(&warnings(&plan("      dry_run: true\n      advance: proof\n")));
    expect!["t.yaml:8:16: services.shop.plan.dry_run: a dry run waits for no proof, so `early: true` does nothing: its steps end by time"].assert_eq(&warnings(&plan("      dry_run: true\n      early: true\n")));
    expect!["t.yaml:8:14: services.shop.plan.gates: every gate is a signal: nothing but the circuit breaker takes a bad canary back; give one the role `guardrail`"].assert_eq(&warnings(&plan("      gates: [{ errors: {}, role: signal }]\n")));
    assert_eq!(warnings(&plan("      dry_run: true\n      gates: []\n")).lines().count(), 1);
}

#[test]
fn a_plan_has_at_most_64_gates_and_64_steps() {
    let of = |gates: usize, steps: usize| {
        let gates: Vec<String> = (0..gates).map(|number| format!("{{ name: g{number}, errors: {{}} }}")).collect();
        let steps = vec!["{ weight: 1% }"; steps];
        plan(&format!("      gates: [{}]\n      steps: [{}]\n", gates.join(", "), steps.join(", ")))
    };
    assert_eq!(warnings(&of(64, 64)), "");
    check(
        &of(65, 1),
        &expect![
            "t.yaml:8:1733: services.shop.plan.gates[64]: is one gate too many; a plan has at most 64, and this one 65"
        ],
    );
    check(
        &of(1, 70),
        &expect![
            "t.yaml:9:1039: services.shop.plan.steps[64]: is one step too many; a plan has at most 64, and this one 70"
        ],
    );
}

#[test]
fn a_deadline_that_leaves_no_time_for_proof_is_warned_of() {
    let of = |text: &str| warnings(&plan(&format!("      {text}\n")));
    let short = "steps: [{ weight: 1%, hold: 5s, deadline: 30s }, { weight: 2%, hold: 5s, deadline: 15s }]";
    expect![[r#"
        t.yaml:9:49: services.shop.plan.steps[0].deadline: the step at 1% cannot be proven before its deadline of 30s: nothing is proven in its first 30s (`warmup`); write a deadline that leaves time for the proof
        t.yaml:9:90: services.shop.plan.steps[1].deadline: the step at 2% cannot be proven before its deadline of 15s: nothing is proven in its first 15s; write a deadline that leaves time for the proof"#]].assert_eq(&of(&format!("advance: proof\n      {short}")));
    // Nothing waits for proof.
    assert_eq!(of(&format!("warmup: 9s\n      {short}")), "");
    expect!["t.yaml:9:62: services.shop.plan.steps[0].deadline: the step at 1% cannot be proven before its deadline of 15s: nothing is proven in its first 15s; write a deadline that leaves time for the proof"].assert_eq(&of(
        "warmup: 2s\n      steps: [{ weight: 1%, hold: 5s, early: true, deadline: 15s }, { weight: 2%, hold: 5s, deadline: 5s }]",
    ));
    // Noted once, at the plan's deadline.
    expect!["t.yaml:9:17: services.shop.plan.deadline: the step at 1% cannot be proven before its deadline of 10s: nothing is proven in its first 30s (`warmup`); write a deadline that leaves time for the proof"].assert_eq(&of(
        "advance: proof\n      deadline: 10s\n      steps: [{ weight: 1%, hold: 5s }, { weight: 2%, hold: 5s }]",
    ));
    // A service that waits longer for its first bytes proves nothing before.
    let waits = plan("      advance: proof\n      steps: [{ weight: 1%, hold: 5s, deadline: 2m }]\n");
    let waits = format!("timeouts: {{ first_byte: 10m }}\n{waits}");
    assert!(
        warnings(&waits).contains("nothing is proven in its first 10m (`timeouts.first_byte`)"),
        "{}",
        warnings(&waits)
    );
    // As soon as there is any time for it.
    assert_eq!(
        of(
            "advance: proof\n      steps: [{ weight: 1%, hold: 5s, deadline: 31s }, { weight: 2%, hold: 5s, deadline: 16s }]"
        ),
        ""
    );
}

#[test]
fn a_deadline_of_a_dry_run_is_warned_of() {
    let of = |text: &str| warnings(&plan(&format!("      dry_run: true\n      {text}\n")));
    expect!["t.yaml:9:17: services.shop.plan.deadline: a dry run has no deadlines: its steps end by time; this one does nothing"].assert_eq(&of("deadline: 1h"));
    expect![[r#"
        t.yaml:9:39: services.shop.plan.steps[0].deadline: a dry run has no deadlines: its steps end by time; this one does nothing
        t.yaml:9:69: services.shop.plan.steps[1].deadline: a dry run has no deadlines: its steps end by time; this one does nothing"#]].assert_eq(&of("steps: [{ weight: 1%, deadline: 1h }, { weight: 2%, deadline: 10s, hold: 1s }]"));
}

#[test]
fn a_baseline_that_leaves_no_version_for_the_canary_is_warned_of() {
    expect!["t.yaml:8:17: services.shop.plan.baseline: `v2` is the only version beside the stable, so there is none that a rollout could try; write a version for the canary"].assert_eq(&warnings(&plan("      baseline: v2\n")));
}
