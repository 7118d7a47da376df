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
        &expect![[""]],
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
        &expect![[""]],
    );
    check(&plan("      steps: [{ match: { x-beta: '1' } }]\n"), &expect![[""]]);
}

#[test]
fn who_is_judged_is_compared_with_somebody() {
    let steps = "      steps: [{ match: { a: '1' } }, { match: { x-beta: '1' }, judged: true }, { weight: 1% }]\n";
    check(&plan(&format!("      baseline: equal\n{steps}")), &expect![[""]]);
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
    expect![[""]].assert_eq(&warnings(&plan(steps)));
}
