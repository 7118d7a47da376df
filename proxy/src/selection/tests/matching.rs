//! Those whom a plan's step gives to the canary whatever its weight.

use super::*;

/// Steers `shop` to v2 at this weight in per cent, and gives it whoever matches.
fn matching(publisher: &mut Publisher, percent: u16, matched: &str) {
    let plan = format!("plan: {{ steps: [{{ match: {matched} }}, {{ weight: 1% }}] }}");
    let plan = configuration(&plan).services.remove(0).plan;
    let Some(config::Step::Match { who, .. }) = plan.steps.into_iter().next() else { panic!("{matched}") };
    steer(publisher, Some(percent), who);
}

fn steer(publisher: &mut Publisher, percent: Option<u16>, who: Option<config::Match>) {
    let (stable, canary) = (Name::new("v1").unwrap(), Name::new("v2").unwrap());
    let weight = percent.map(|percent| Weight::from_basis_points(percent * 100).unwrap());
    let (canary, who) = (weight.map(|weight| (&canary, weight)), who.map(Arc::new));
    let wanted = Wanted {
        stable: &stable,
        canary,
        baseline: None,
        matched: who.as_ref(),
        mirror: None,
        paths: &[],
        generation: 2,
    };
    publisher.steer(&Name::new("shop").unwrap(), &wanted);
}

/// The service where v2 has no weight and gets whoever matches.
fn shop_matching(more: &str, matched: &str) -> Arc<Service> {
    let mut publisher = publisher(more);
    matching(&mut publisher, 0, matched);
    shop(&publisher)
}

/// The version that a request from elsewhere is given, and why.
fn chosen(service: &Service, headers: &[(&'static str, &str)]) -> (String, Reason) {
    let selection = select(service, &request(headers), Some(ELSEWHERE), false);
    (selection.draw.version.name.to_string(), selection.reason)
}

fn is_matched(service: &Service, headers: &[(&'static str, &str)]) -> bool {
    match chosen(service, headers) {
        (version, Reason::Matched) if version == "v2" => true,
        (version, Reason::Weight) if version == "v1" => false,
        other => panic!("{headers:?} are given {other:?}"),
    }
}

#[test]
fn whoever_has_all_the_headers_goes_to_the_canary_at_weight_0_and_nobody_else_does() {
    let service = shop_matching("path: /", "{ x-beta: '1', x-team: '*' }");
    assert!(is_matched(&service, &[("x-beta", "1"), ("x-team", "blue"), ("x-other", "2")]));
    assert!(is_matched(&service, &[("X-BETA", "1"), ("x-team", "")]));
    assert!(
        is_matched(&service, &[("x-beta", "1"), ("x-team", "blue"), ("x-team", "green")]),
        "any value, of any line"
    );
    for headers in [
        &[][..],
        &[("x-beta", "1")],
        &[("x-team", "blue")],
        &[("x-beta", "01"), ("x-team", "blue")],
        &[("x-beta", "1 "), ("x-team", "blue")],
        &[("x-beta", "1,1"), ("x-team", "blue")],
        &[("x-beta", "1"), ("x-beta", "1"), ("x-team", "blue")],
        &[("x-beta", "0"), ("x-beta", "1"), ("x-team", "blue")],
        &[("cookie", "x-beta=1; x-team=blue")],
    ] {
        assert!(!is_matched(&service, headers), "{headers:?}");
    }
}

#[test]
fn a_cookie_is_matched_among_whichever_others() {
    let exactly = shop_matching("path: /", "{ cookie: beta=1, x-beta: '1' }");
    let sent = |cookie| [("cookie", cookie), ("x-beta", "1")];
    assert!(is_matched(&exactly, &sent("beta=1")) && is_matched(&exactly, &sent("a=b; beta=1;c=d")));
    for cookie in ["", "beta", "beta=", "beta=2", "beta=11", "Beta=1", "xbeta=1", "a=beta=1"] {
        assert!(!is_matched(&exactly, &sent(cookie)), "{cookie}");
    }
    assert!(!is_matched(&exactly, &[("cookie", "beta=1")]), "without the header");
    let any = shop_matching("path: /", "{ cookie: 'beta=*' }");
    assert!(is_matched(&any, &[("cookie", "a=b; beta=whatever")]) && is_matched(&any, &[("cookie", "beta=")]));
    assert!(!is_matched(&any, &[("cookie", "a=b")]));
}

#[test]
fn what_is_forced_goes_before_a_match_and_a_match_before_the_ticket() {
    let service = shop_matching(&format!("{BOTH}, weight: 0%, affinity: {{ header: x-user }}"), "{ x-beta: '1' }");
    let ask = |from, headers: &[(&'static str, &str)]| {
        let selection = select(&service, &request(headers), Some(from), false);
        (selection.draw.version.name.to_string(), selection.reason.into())
    };
    let given = |version: &str, decision: Decision| (version.to_owned(), decision);
    let never = [("x-version", "never"), ("x-beta", "1"), ("x-user", "7")];
    assert_eq!(ask(HERE, &never), given("v1", Decision::Forced));
    assert_eq!(ask(HERE, &[("cookie", "version=v3"), ("x-beta", "1")]), given("v3", Decision::Forced));
    assert_eq!(ask(ELSEWHERE, &never), given("v2", Decision::Match), "who may not force may match");
    assert_eq!(ask(HERE, &never[1..]), given("v2", Decision::Match));
    assert_eq!(ask(HERE, &[("x-beta", "2"), ("x-user", "7")]), given("v1", Decision::Affinity));
    assert_eq!(ask(HERE, &[]), given("v1", Decision::Weight));
}

#[test]
fn those_who_do_not_match_follow_the_weight() {
    let mut publisher = publisher("path: /");
    for (percent, version) in [(0, "v1"), (100, "v2")] {
        matching(&mut publisher, percent, "{ x-beta: '1' }");
        let service = shop(&publisher);
        assert_eq!(chosen(&service, &[]), (version.to_owned(), Reason::Weight));
        assert_eq!(chosen(&service, &[("x-beta", "1")]), ("v2".to_owned(), Reason::Matched));
    }
}

#[test]
fn who_matched_keeps_nothing_and_is_drawn_again_as_soon_as_the_match_is_over() {
    let mut publisher = publisher("affinity: { cookie: tidegate, issue: true }");
    matching(&mut publisher, 0, "{ x-beta: '1' }");
    let selection = |publisher: &Publisher| {
        let service = shop(publisher);
        let selection = select(&service, &request(&[("x-beta", "1")]), Some(HERE), false);
        (selection.draw.version.name.to_string(), selection.reason, selection.issued.is_some())
    };
    assert_eq!(selection(&publisher), ("v2".to_owned(), Reason::Matched, false));
    steer(&mut publisher, Some(0), None);
    assert_eq!(selection(&publisher), ("v1".to_owned(), Reason::Affinity, true));
}

#[test]
fn where_there_is_no_canary_nobody_matches() {
    let mut publisher = publisher("path: /");
    matching(&mut publisher, 0, "{ x-beta: '1' }");
    let who = shop(&publisher).split.matched.as_deref().cloned();
    assert!(who.is_some());
    steer(&mut publisher, None, who);
    assert_eq!(chosen(&shop(&publisher), &[("x-beta", "1")]), ("v1".to_owned(), Reason::Weight));
    assert_eq!(shop(&publisher).split.matched, None);
}

#[test]
fn a_match_is_judged_apart_or_by_every_gate_and_is_never_a_draw() {
    let mut publisher = publisher("path: /");
    let beta = request(&[("x-beta", "1")]);
    matching(&mut publisher, 10, "{ x-beta: '1' }");
    let service = shop(&publisher);
    let selection = select(&service, &beta, Some(HERE), false);
    assert_eq!((selection.judged, selection.draw.at_random), (Judged::Apart, false));
    assert_eq!(selection.draw.slice.map(|slice| slice.of.as_str()), Some("v2"));

    let plan = "plan: { steps: [{ match: { x-beta: '1' }, judged: true }, { weight: 1% }] }";
    let plan = configuration(plan).services.remove(0).plan;
    let Some(config::Step::Match { who, .. }) = plan.steps.into_iter().next() else { panic!() };
    steer(&mut publisher, Some(10), who);
    let service = shop(&publisher);
    let selection = select(&service, &beta, Some(HERE), false);
    assert_eq!((selection.judged, selection.draw.at_random), (Judged::Fully, false));
    assert!(selection.draw.slice.is_none(), "counted once");
}
