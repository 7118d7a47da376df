//! What `status` prints.

use std::collections::BTreeMap;

use control::process::{PredecessorView, ProcessView, VersionLeft};
use expect_test::expect;

use super::*;

#[test]
fn status_is_a_table_with_the_rollout_and_what_to_know() {
    let (ended, out) = World::new().run("status");
    assert_eq!(ended.unwrap(), Exit::Done);
    expect![[r#"
        shop  (generation 42)
          VERSION  ROLE    WEIGHT  REQ/S  ERRORS     P50     P99  HEALTHY  IN FLIGHT
          v1       stable     95%  950.0   0.12%  2.4 ms  108 ms      2/2          3
          v2       canary      5%   50.0       -       -       -      0/2          3
          v3       -           0%    0.0       -       -       -      0/2          3
          127.0.0.1:9002 of v1 begins slowly, with 55 % of its share, since 2026-11-22T01:20:00Z
          too few endpoints are well: the unhealthy and ejected ones of v2 are used, too
          127.0.0.1:9001 of v2 ejected: requests in a row failed, since 2026-11-22T01:20:00Z, next try 2026-11-22T01:20:10Z
          127.0.0.1:9002 of v2 ejected: requests in a row failed, since 2026-11-22T01:20:00Z, next try 2026-11-22T01:20:10Z
          127.0.0.1:9001 of v3 ejected: requests in a row failed, since 2026-11-22T01:20:00Z, next try 2026-11-22T01:20:10Z
          127.0.0.1:9002 of v3 ejected: requests in a row failed, since 2026-11-22T01:20:00Z, next try 2026-11-22T01:20:10Z
          rollout of v2 (plan default): progressing, step 2 of 4, canary 5%, held 31 s of 2 min
            judged: 28411 requests on stable (31 failed), 1502 on v2 (2 failed)
            errors   [#-------------------]   6% to fail     - to pass  inconclusive  v2 fails 0.13 % of requests, v1 0.11 %: no harm seen yet
            latency  [--------------------]   0% to fail     - to pass  no-data       no requests in the last 30 s
            dispersion: unmeasured
          differs from the file: stable is v1, the file says v0
          warning: no [31m gates
    "#]]
    .assert_eq(&out);
}

#[test]
fn status_of_one_service_says_what_is_judged_how_and_how_long_it_will_take() {
    let estimate = |step, weight, fail_s, pass_s| StepEstimate { step, weight, mirror: None, fail_s, pass_s };
    let mut rollout = rollout(Phase::Progressing);
    rollout.dry_run = true;
    rollout.would_have_rolled_back = 2;
    rollout.baseline = Some("v3".into());
    rollout.dispersion = Some(Dispersion { errors: 1.0, latency: 3.24 });
    rollout.estimates = vec![
        estimate(2, 500, Some(41.7), Some(125.0)),
        estimate(4, 5_000, Some(4.1), None),
        estimate(4, 1, None, None),
    ];
    rollout.gates[0].proof = Some(0.345);
    rollout.gates[1].role = Role::Signal;
    rollout.gates[1].path = Some("/checkout".into());
    let world = World::new();
    world.show(rollout.clone(), Vec::new());
    let (ended, out) = world.run("status shop");
    assert_eq!(ended.unwrap(), Exit::Done);
    expect![[r#"
        shop  (generation 42)
          VERSION  ROLE      WEIGHT  REQ/S  ERRORS     P50     P99  HEALTHY  IN FLIGHT
          v1       stable       95%  950.0   0.12%  2.4 ms  108 ms      2/2          3
          v2       canary        5%   50.0       -       -       -      0/2          3
          v3       baseline      0%    0.0       -       -       -      0/2          3
          127.0.0.1:9002 of v1 begins slowly, with 55 % of its share, since 2026-11-22T01:20:00Z
          too few endpoints are well: the unhealthy and ejected ones of v2 are used, too
          127.0.0.1:9001 of v2 ejected: requests in a row failed, since 2026-11-22T01:20:00Z, next try 2026-11-22T01:20:10Z
          127.0.0.1:9002 of v2 ejected: requests in a row failed, since 2026-11-22T01:20:00Z, next try 2026-11-22T01:20:10Z
          127.0.0.1:9001 of v3 ejected: requests in a row failed, since 2026-11-22T01:20:00Z, next try 2026-11-22T01:20:10Z
          127.0.0.1:9002 of v3 ejected: requests in a row failed, since 2026-11-22T01:20:00Z, next try 2026-11-22T01:20:10Z
          rollout of v2 (plan default): progressing, step 2 of 4, canary 5%, held 31 s of 2 min
            dry run: would have rolled back 2 times
            judged: 28411 requests on the baseline v3 (31 failed), 1502 on v2 (2 failed)
            errors                      [#-------------------]   6% to fail   34% to pass  inconclusive  v2 fails 0.13 % of requests, v1 0.11 %: no harm seen yet
            latency /checkout (signal)  [--------------------]   0% to fail     - to pass  no-data       no requests in the last 30 s
            dispersion: errors 1.0, latency 3.2 (1 is independent requests)
            at this traffic, step 2 (5%): harm of the margin's size shows in about 40 s, a healthy canary passes in about 2 min
            at this traffic, step 4 (50%): harm of the margin's size shows in about 5 s, no canary would pass
          differs from the file: stable is v1, the file says v0
          warning: no [31m gates
    "#]].assert_eq(&out);
    let (_, brief) = world.run("status");
    assert_eq!(brief.matches("at this traffic").count(), 1, "only the present step");

    rollout.baseline = Some("equal".into());
    rollout.would_have_rolled_back = 0;
    world.show(rollout, Vec::new());
    let (_, out) = world.run("rollout status shop");
    assert!(out.contains("dry run: would not have rolled back\n"), "{out}");
    assert!(out.contains("requests on an equal slice of stable ("), "{out}");
}

#[test]
fn status_says_who_goes_to_the_canary_whatever_its_weight_and_how_they_fare() {
    let world = World::new();
    let mut rollout = rollout(Phase::Progressing);
    let line = |rollout: &RolloutView| {
        world.show(rollout.clone(), Vec::new());
        let (_, out) = world.run("status");
        out.lines().filter(|line| line.contains("match")).map(|line| line.trim().to_owned()).collect::<String>()
    };
    assert_eq!(line(&rollout), "");
    let headers = [("x-beta", "1"), ("cookie", "team=\x1b*")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    rollout.matching = Some(MatchView { headers: headers.into(), judged: false });
    rollout.matched = Matched { requests: 132, failed: 2 };
    expect!["match: whoever has cookie: team= *, x-beta: 1 goes to v2: 132 requests (2 failed), judged by limits and the breaker alone"].assert_eq(&line(&rollout));
    rollout.matching.iter_mut().for_each(|matching| matching.judged = true);
    expect!["match: whoever has cookie: team= *, x-beta: 1 goes to v2: judged as all others are"]
        .assert_eq(&line(&rollout));
    rollout.matching = None;
    expect!["matched: 132 requests (2 failed), judged by limits and the breaker alone"].assert_eq(&line(&rollout));
}

#[test]
fn status_of_one_service_says_what_a_rollout_would_take() {
    let world = World::new();
    let mut ended = rollout(Phase::RolledBack);
    ended.gates.clear();
    world.show_service(ServiceView {
        estimates: vec![StepEstimate { step: 1, weight: 100, mirror: None, fail_s: Some(200.0), pass_s: Some(900.0) }],
        ..service(ended)
    });
    let (_, out) = world.run("status shop");
    let said = "  a rollout at this traffic, step by step:\n    step 1 (1%): harm of the margin's size shows in about 3 min, \
                a healthy canary passes in about 15 min\n";
    assert!(out.contains(said), "{out}");
    assert!(!world.run("status").1.contains("at this traffic"), "only where it is asked for");
}

#[test]
fn status_of_one_service_says_where_its_names_lead_and_which_do_not_resolve() {
    let world = World::new();
    let mut service = service(rollout(Phase::Progressing));
    let name = |name: &str, count: u8, problem: Option<&str>| NameView {
        name: name.into(),
        addresses: (1..=count).map(|last| format!("10.0.0.{last}")).collect(),
        answered_at: None,
        problem: problem.map(Into::into),
        failing_since: problem.map(|_| "2026-11-22T01:20:00Z".into()),
    };
    service.versions[0].names = vec![name("shop.internal", 2, None), name("many.internal", 10, Some("late\x1b"))];
    service.versions[0].endpoints[1].address = "shop.internal:80".into();
    service.versions[0].endpoints[1].resolved = Some("10.0.0.2:80".into());
    world.show_service(service);
    let (_, out) = world.run("status shop");
    let lines: Vec<_> = out.lines().filter(|line| line.contains("internal")).map(str::trim).collect();
    expect![[r#"
        shop.internal:80 (10.0.0.2:80) of v1 begins slowly, with 55 % of its share, since 2026-11-22T01:20:00Z
        shop.internal of v1: 10.0.0.1, 10.0.0.2
        many.internal of v1: 10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5, 10.0.0.6, 10.0.0.7, 10.0.0.8 and 2 more (does not resolve: late , since 2026-11-22T01:20:00Z)"#]].assert_eq(&lines.join("\n"));
    let (_, brief) = world.run("status");
    assert_eq!(brief.matches("internal").count(), 1, "only what is the matter");
}

#[test]
fn status_as_json_is_what_the_api_says() {
    let world = World::new();
    let all: Value = serde_json::from_str(&world.run("status --json").1).unwrap();
    assert_eq!(all[0]["versions"][0]["weight"], 9_500);
    let one: ServiceView = serde_json::from_str(&world.run("status shop --json").1).unwrap();
    assert_eq!(one, service(rollout(Phase::Progressing)));
}

#[test]
fn status_says_what_became_of_copies_and_who_is_still_there() {
    let mut rollout = rollout(Phase::Progressing);
    rollout.weight = 0;
    rollout.mirror = Some(1_000);
    rollout.copies = Some(Copies { ended: 1_210, compared: 1_200, failed: 10, status: 37, body: 5 });
    rollout.estimates =
        vec![StepEstimate { step: 2, weight: 0, mirror: Some(1_000), fail_s: Some(41.7), pass_s: None }];
    let mut service = service(rollout);
    service.versions.truncate(2);
    service.versions.iter_mut().for_each(|version| version.endpoints.truncate(1));
    let answer = |status, failure: Option<&str>| MirrorAnswer {
        status,
        body: None,
        headers: Vec::new(),
        failure: failure.map(str::to_owned),
    };
    let sample = |part: &str, path: &str, canary| MirrorSampleView {
        at: "2026-11-22T01:20:00Z".into(),
        differs_in: part.into(),
        method: "GET".into(),
        path: path.into(),
        stable: answer(Some(200), None),
        canary,
    };
    service.versions[1].mirror = Some(MirrorView {
        sent: 1_300,
        compared: 1_200,
        failed: 10,
        status: 37,
        body: 5,
        not_copied: NotCopied { full: 2, method: 400, ..NotCopied::default() },
        samples: vec![
            sample("status", "/cart", answer(Some(404), None)),
            sample("errors", "/pay\u{1b}[31m", answer(None, Some("no answer within 5 s"))),
        ],
        ..MirrorView::default()
    });
    service.versions[0].long_lived = 12;
    service.versions[0].leaving =
        Some(LeavingView { since: "2026-11-22T01:20:00Z".into(), asked: false, asked_in_s: Some(240.0) });
    let world = World::new();
    world.show_service(service.clone());
    let (_, out) = world.run("status");
    expect![[r#"
        shop  (generation 42)
          VERSION  ROLE    WEIGHT  REQ/S  ERRORS     P50     P99  HEALTHY  IN FLIGHT
          v1       stable     95%  950.0   0.12%  2.4 ms  108 ms      1/1          3
          v2       canary      5%   50.0       -       -       -      0/1          3
          too few endpoints are well: v2 has one, and it is tried all the same
          127.0.0.1:9001 of v2 ejected: requests in a row failed, since 2026-11-22T01:20:00Z, next try 2026-11-22T01:20:10Z
          v1: 12 long-lived connections, asked to end in 4 min
          copies to v2: 1300 sent, 1200 compared with stable's answer: 37 with another status, 5 with another body; 10 failed that stable did not
            not copied: 2: as many were under way as may be, 400: their method is not copied
            GET /cart: stable answered 200, the copy 404 (differs in: status)
            GET /pay [31m: stable answered 200, the copy nothing (no answer within 5 s) (differs in: errors)
          rollout of v2 (plan default): progressing, step 2 of 4, canary 0%, held 31 s of 2 min
            judged: 28411 requests on stable (31 failed), 1502 on v2 (2 failed)
            mirror: v2 gets copies of 10% of stable's requests: 1200 of 1210 compared, 37 with another status, 5 with another body, 10 failed that stable did not
            errors   [#-------------------]   6% to fail     - to pass  inconclusive  v2 fails 0.13 % of requests, v1 0.11 %: no harm seen yet
            latency  [--------------------]   0% to fail     - to pass  no-data       no requests in the last 30 s
            dispersion: unmeasured
            at this traffic, step 2 (copies of 10%): twice as many differences as are allowed show in about 40 s, no canary would pass
          differs from the file: stable is v1, the file says v0
          warning: no [31m gates
    "#]].assert_eq(&out);

    let mut told = |asked, asked_in_s| {
        service.versions[0].leaving = Some(LeavingView { since: "2026-11-22T01:20:00Z".into(), asked, asked_in_s });
        world.show_service(service.clone());
        world.run("status").1.lines().find(|line| line.contains("long-lived")).map(|line| line.trim().to_owned())
    };
    assert_eq!(told(true, None).as_deref(), Some("v1: 12 long-lived connections, asked to end"));
    assert_eq!(told(false, None).as_deref(), Some("v1: 12 long-lived connections, which may stay"));
}

#[test]
fn each_process_that_still_drains_has_a_line_with_what_it_has_and_when_it_ends() {
    let left = |in_flight, long_lived| VersionLeft { in_flight, long_lived };
    let old = |pid, connections, requests: BTreeMap<_, _>| PredecessorView {
        pid,
        connections,
        in_flight: 0,
        requests: [("shop".to_owned(), requests)].into(),
        left_s: 521.4,
    };
    let many = (0..12).map(|number| (format!("v{number:02}"), left(1, 0))).collect();
    let predecessors = vec![
        old(
            4711,
            3,
            [("v1".to_owned(), left(1, 1)), ("v2".to_owned(), left(2, 0)), ("v3".to_owned(), left(0, 0))].into(),
        ),
        old(4712, 1, BTreeMap::new()),
        old(4713, 12, many),
    ];
    let mut out = Vec::new();
    let process = ProcessView { predecessors, ..ProcessView::default() };
    super::super::status::process(&process, &mut Screen::new(&mut out)).unwrap();
    expect![[r#"
        before the upgrade: process 4711 still has 3 connections, 2 of shop v2, 1 of shop v1; it ends in 8 min 41 s at the latest
        before the upgrade: process 4712 still has 1 connection; it ends in 8 min 41 s at the latest
        before the upgrade: process 4713 still has 12 connections, 1 of shop v00, 1 of shop v01, 1 of shop v02, 1 of shop v03, 1 of shop v04, 1 of shop v05, 1 of shop v06, 1 of shop v07, 1 of shop v08, 1 of shop v09, 2 more versions; it ends in 8 min 41 s at the latest
    "#]]
    .assert_eq(&String::from_utf8(out).unwrap());
}
