//! Steps that give the canary whoever matches.

use expect_test::expect;

use crate::plans::plan;
use crate::{check, warnings};

#[test]
fn a_match_is_headers_with_values_a_cookie_or_nobody() {
    check(
        &plan(
            "      steps:
        - { match: x-beta }
        - { match: {} }
        - { match: [x-beta] }
        - { match: { Host: a, 'x y': b, x-a: '' }, hold: 10 }
        - { match: { cookie: beta, x-b: ~ } }
        - { match: { cookie: '=1' } }
        - { match: { cookie: beta= } }
        - { match: { cookie: 'a=1; b=2' } }
        - { match: { cookie: a=1, Cookie: b=1 } }
        - { match: { x-a: '1', X-A: '2' } }
        - { match: Nobody }
        - { match: ~ }
        - { weight: 1% }
",
        ),
        &expect![[r#"
            t.yaml:9:20: services.shop.plan.steps[0].match: `x-beta` is written here; legal is a mapping from each header's name to its value, like { x-beta: "1" }, where `"*"` is any value and { cookie: beta=1 } one cookie; or `nobody`
            t.yaml:10:20: services.shop.plan.steps[1].match: no header is written here; legal is a mapping from each header's name to its value, like { x-beta: "1" }, where `"*"` is any value and { cookie: beta=1 } one cookie; or `nobody`
            t.yaml:11:20: services.shop.plan.steps[2].match: a list is written here; legal is a mapping from each header's name to its value, like { x-beta: "1" }, where `"*"` is any value and { cookie: beta=1 } one cookie; or `nobody`
            t.yaml:12:22: services.shop.plan.steps[3].match.Host: `Host` cannot choose who goes to the canary: it leads to the service, by `hosts`
            t.yaml:12:31: services.shop.plan.steps[3].match.x y: `x y` cannot name a header; legal is letters, digits, - and _
            t.yaml:12:46: services.shop.plan.steps[3].match.x-a: `` can be no header's value, which has neither control characters nor spaces at its ends and is ASCII; legal is a value, like blue, or "*" for any
            t.yaml:12:58: services.shop.plan.steps[3].hold: `10` has no unit; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m; did you mean `10s`?
            t.yaml:13:30: services.shop.plan.steps[4].match.cookie: `beta` is no cookie; legal is NAME=VALUE, like beta=1, or NAME=* for any value
            t.yaml:13:36: services.shop.plan.steps[4].match.x-b: nothing is written here; legal is a value, like blue, or "*" for any
            t.yaml:14:30: services.shop.plan.steps[5].match.cookie: `=1` is no cookie; legal is NAME=VALUE, like beta=1, or NAME=* for any value
            t.yaml:15:30: services.shop.plan.steps[6].match.cookie: `beta=` is no cookie; legal is NAME=VALUE, like beta=1, or NAME=* for any value
            t.yaml:16:30: services.shop.plan.steps[7].match.cookie: `a=1; b=2` is no cookie; legal is NAME=VALUE, like beta=1, or NAME=* for any value
            t.yaml:17:35: services.shop.plan.steps[8].match.Cookie: `cookie` is written twice; keep one, the other is at t.yaml:17:22
            t.yaml:18:32: services.shop.plan.steps[9].match.X-A: `x-a` is written twice; keep one, the other is at t.yaml:18:22
            t.yaml:19:20: services.shop.plan.steps[10].match: `Nobody` is written here; legal is a mapping from each header's name to its value, like { x-beta: "1" }, where `"*"` is any value and { cookie: beta=1 } one cookie; or `nobody`; did you mean `nobody`?
            t.yaml:20:13: services.shop.plan.steps[11].match: nothing is written here; legal is a mapping from each header's name to its value, like { x-beta: "1" }, where `"*"` is any value and { cookie: beta=1 } one cookie; or `nobody`"#]],
    );
}

#[test]
fn a_match_is_a_step_of_its_own_and_ends_by_its_hold_alone() {
    check(
        &plan(
            "      steps:
        - { match: { x-beta: '1' }, weight: 5% }
        - { match: { x-beta: '1' }, approval: true }
        - { match: { x-beta: '1' }, early: true, deadline: 1h, on_deadline: promote }
        - { match: { x-beta: '1' }, judged: maybe }
        - { match: nobody, judged: true }
        - { weight: 1%, judged: true }
        - { headers: { x-beta: '1' } }
",
        ),
        &expect![[r#"
            t.yaml:9:20: services.shop.plan.steps[0].match: a step is a weight, a match, a mirror or an approval; write two steps, each { weight: 5%, hold: 10m }, { match: { x-beta: "1" }, hold: 10m }, { mirror: 10%, hold: 5m } or { approval: true }
            t.yaml:10:47: services.shop.plan.steps[1].approval: a step is a weight, a match, a mirror or an approval; write two steps, each { weight: 5%, hold: 10m }, { match: { x-beta: "1" }, hold: 10m }, { mirror: 10%, hold: 5m } or { approval: true }
            t.yaml:11:11: services.shop.plan.steps[2]: a match ends by its `hold` alone, without proof; leave `early`, `deadline` and `on_deadline` out
            t.yaml:12:45: services.shop.plan.steps[3].judged: `maybe` is no truth value; legal is `true` and `false`
            t.yaml:13:36: services.shop.plan.steps[4].judged: nobody matches, so there is nobody to judge; leave it out
            t.yaml:14:33: services.shop.plan.steps[5].judged: is for a match, and those who draw the canary are always judged; leave it out
            t.yaml:15:13: services.shop.plan.steps[6].headers: `headers` is no key of a step; write who goes to the canary as match: { x-beta: "1" }"#]],
    );
    check(
        &plan("      steps: [{ match: { x-beta: '1' } }]\n"),
        &expect![
            "t.yaml:8:14: services.shop.plan.steps: no step gives the canary a weight; write at least one, like { weight: 5%, hold: 10m }, or leave `steps` out for 1%, 5%, 25% and 50%"
        ],
    );
}

#[test]
fn who_is_judged_is_compared_with_somebody() {
    let steps = "      steps: [{ match: { a: '1' } }, { match: { x-beta: '1' }, judged: true }, { weight: 1% }]\n";
    check(
        &plan(&format!("      baseline: equal\n{steps}")),
        &expect![
            "t.yaml:9:14: services.shop.plan.steps: step 2 judges who matches before the canary has a weight, and until then this plan's baseline has no traffic to compare with; write `baseline: stable`, write a weight before it, or leave `judged` out"
        ],
    );
    assert_eq!(warnings(&plan(steps)), "");
    let later = "      baseline: equal\n      steps: [{ weight: 1% }, { match: { x-beta: '1' }, judged: true }]\n";
    assert_eq!(warnings(&plan(later)), "");
}

#[test]
fn what_does_nothing_in_a_match_is_warned_of() {
    let steps = "      steps:
        - { match: nobody }
        - { match: { x-beta: 'a*' } }
        - { match: nobody, hold: 1m }
        - { weight: 1% }
        - { match: nobody }
";
    expect![[r#"
        t.yaml:9:20: services.shop.plan.steps[0].match: nobody matches before this step either; leave it out
        t.yaml:10:30: services.shop.plan.steps[1].match.x-beta: `a*` is compared as it stands: only "*" alone means any value
        t.yaml:13:20: services.shop.plan.steps[4].match: nobody matches before this step either; leave it out"#]].assert_eq(&warnings(&plan(steps)));
}
