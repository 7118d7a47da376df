//! Plans that ask for more than time: proof, signals, dry runs, baselines, paths.

use std::time::Duration;

use control::view::{Phase, Role, Verdict};
use loadtest::{Fraction, Latency, Load, failures};

use crate::patience::until_true;
use crate::shop::{Place, Shop, origin, shop};

/// Gates whose margins are wide, so that a proof takes seconds.
const WIDE: &str = "gates: [{ errors: { tolerance: 1%, margin: 10% } }]";

#[test]
fn an_early_step_ends_with_its_proof_long_before_its_hold() {
    let plan = format!("{{ advance: proof, warmup: 0s, steps: [{{ weight: 50%, hold: 30m, early: true }}], {WIDE} }}");
    let shop = Shop::open(&plan);
    let load = shop.server.load(500.0).start().unwrap();
    shop.release_v2();
    let promoted = shop.admin().until_phase("shop", Phase::Promoted);
    assert_eq!(promoted.reason.as_deref(), Some("every gate passed before its hold was over"));
    let errors = promoted.gates.iter().find(|gate| gate.name == "errors").unwrap();
    assert!(errors.counts.is_some_and(|counts| counts.requests.canary >= 50), "{errors:?}");
    let report = load.stop();
    assert_eq!(failures(&report), 0, "{report}");
}

#[test]
fn without_proof_it_waits_and_says_for_which_gate() {
    // No canary proves within seconds that it fails not a hundredth of a percent more.
    let gates = "gates: [{ errors: { tolerance: 0%, margin: 0.01% } }]";
    let shop = Shop::open(&format!("{{ advance: proof, steps: [{{ weight: 50%, hold: 1s }}], {gates} }}"));
    let load = shop.server.load(400.0).start().unwrap();
    shop.release_v2();
    let waiting = |reason: &str| reason == "waiting for proof: errors";
    let rollout =
        shop.admin().until("shop", "the wait for proof", |rollout| rollout.reason.as_deref().is_some_and(waiting));
    assert_eq!((rollout.phase, rollout.step), (Phase::Progressing, 1));
    let errors = rollout.gates.iter().find(|gate| gate.name == "errors").unwrap();
    assert!(errors.verdict == Verdict::Inconclusive && errors.proof < Some(1.0), "{errors:?}");
    let status = shop.server.tidegate(&["status", "shop"]);
    assert!(status.out.contains("waiting for proof: errors") && status.out.contains("to pass"), "{status:?}");
    drop(load.stop());
}

#[test]
fn a_signal_pauses_and_asks_and_a_resume_judges_anew() {
    let gates = "gates: [{ errors: { tolerance: 1% } }, { name: slow, role: signal, latency: { tolerance: 5% } }]";
    let shop = Shop::open(&format!("{{ warmup: 0s, steps: [{{ weight: 50%, hold: 10m }}], {gates} }}"));
    let slow = |milliseconds| Latency::fixed(Duration::from_millis(milliseconds));
    shop.v1.dial().set_latency(slow(5));
    shop.v2.dial().set_latency(slow(60));
    let load = shop.server.load(400.0).start().unwrap();
    shop.release_v2();
    let paused = shop.admin().until_phase("shop", Phase::Paused);
    assert_eq!(paused.weight, 5_000, "it moves nothing");
    let reason = paused.reason.unwrap();
    assert!(reason.starts_with("slow: ") && reason.ends_with("judge it anew, or abort"), "{reason}");
    let gate = paused.gates.iter().find(|gate| gate.name == "slow").unwrap();
    assert_eq!((gate.role, gate.verdict), (Role::Signal, Verdict::Fail));

    shop.v2.dial().set_latency(slow(5));
    assert_eq!(shop.admin().act("shop", "resume").status, 200);
    let journal = std::fs::read_to_string(shop.place.state().join("journal")).unwrap();
    assert!(journal.contains("its alpha is spent again"), "{journal}");
    let judged_again = shop.admin().until("shop", "good traffic after it", |rollout| {
        rollout.phase == Phase::Progressing && rollout.step_elapsed_s >= 2.0
    });
    let gate = judged_again.gates.iter().find(|gate| gate.name == "slow").unwrap();
    assert_ne!(gate.verdict, Verdict::Fail);
    let report = load.stop();
    assert_eq!(failures(&report), 0, "{report}");
}

#[test]
fn a_dry_run_counts_what_it_would_have_done_and_asks_at_its_end() {
    let shop = Shop::open("{ dry_run: true, warmup: 0s, steps: [{ weight: 20%, hold: 4s }] }");
    shop.v2.dial().set_errors(Fraction::new(0.5).unwrap());
    let load = shop.server.load(400.0).start().unwrap();
    shop.release_v2();
    let counted = shop.admin().until("shop", "a count", |rollout| {
        assert!(!rollout.phase.has_ended(), "{rollout:?}");
        rollout.would_have_rolled_back > 0
    });
    assert_eq!((counted.phase, counted.weight, counted.dry_run), (Phase::Progressing, 2_000, true));
    let shop = shop.kill_and_restart();
    assert!(shop.admin().rollout("shop").would_have_rolled_back >= counted.would_have_rolled_back, "it is journalled");
    drop(load.stop());
    let load = shop.server.load(400.0).start().unwrap();
    let over = shop.admin().until_phase("shop", Phase::Paused);
    let reason = over.reason.unwrap();
    assert!(reason.starts_with("the dry run is over: it would have rolled back"), "{reason}");
    let status = shop.server.tidegate(&["status", "shop"]);
    assert!(status.out.contains("dry run: would have rolled back"), "{status:?}");
    drop(load.stop());
}

#[test]
fn with_an_equal_baseline_the_canary_is_compared_with_as_much_of_stable() {
    let shop = Shop::open("{ baseline: equal, steps: [{ weight: 10%, hold: 10m }] }");
    let load = shop.server.load(1_000.0).start().unwrap();
    shop.release_v2();
    let rollout = shop.admin().until("shop", "many judged requests", |rollout| rollout.requests.canary >= 400);
    let ratio = rollout.requests.stable as f64 / rollout.requests.canary as f64;
    assert!((0.6..1.6).contains(&ratio), "{:?}", rollout.requests);
    assert_eq!(rollout.baseline.as_deref(), Some("equal"));
    let weights: Vec<u16> = shop.admin().service("shop").versions.iter().map(|version| version.weight).collect();
    assert_eq!(weights, [9_000, 1_000], "the slice is stable's traffic");
    assert!(rollout.gates.iter().all(|gate| gate.name != "traffic" || gate.verdict != Verdict::Fail), "{rollout:?}");

    shop.v2.dial().set_errors(Fraction::new(0.3).unwrap());
    shop.admin().until_phase("shop", Phase::RolledBack);
    drop(load.stop());
}

/// The canary is a Tidegate of its own, so that one path of it leads to a broken origin and every other to a good one.
#[test]
fn a_gate_of_one_path_catches_one_broken_route() {
    let (v1, good, broken) = (origin("v1"), origin("v2"), origin("v2"));
    broken.dial().set_errors(Fraction::ONE);
    let (inner, outer) = (Place::new(), Place::new());
    let service = |name: &str, path: &str, origin: &loadtest::Origin| {
        let version = format!("v: {{ endpoints: ['{}'] }}", origin.address());
        format!("  {name}: {{ path: {path}, stable: v, versions: {{ {version} }} }}\n")
    };
    inner.write(&(inner.head() + &service("rest", "/", &good) + &service("checkout", "/checkout", &broken)));
    let canary = inner.serve();
    let plan = "{ steps: [{ weight: 50%, hold: 10m }], gates: [{ errors: { tolerance: 20%, margin: 40% } }, \
                { name: checkout, path: /checkout, errors: { tolerance: 20%, margin: 40% } }] }";
    outer.write(&(outer.head() + &shop("v1", &[("v1", &[v1.address()]), ("v2", &[canary.address])], plan)));
    let server = outer.serve();
    let elsewhere = server.load(800.0).start().unwrap();
    let at_checkout = Load { path: "/checkout/now?x".to_owned(), ..server.load(60.0) }.start().unwrap();
    until_true("traffic", || elsewhere.live().answered >= 100 && at_checkout.live().answered >= 10);
    assert_eq!(server.admin.start("shop", "v2").status, 201);

    let rollout = server.admin.until_phase("shop", Phase::RolledBack);
    let reason = rollout.reason.unwrap();
    assert!(reason.starts_with("checkout: "), "{reason}");
    let gate = rollout.gates.iter().find(|gate| gate.name == "checkout").unwrap();
    assert_eq!((gate.path.as_deref(), gate.verdict), (Some("/checkout"), Verdict::Fail));
    let counts = gate.counts.unwrap();
    assert!(counts.requests.canary < rollout.requests.canary, "{counts:?} of {:?}", rollout.requests);
    assert_eq!(counts.events.canary, counts.requests.canary, "all of them failed");
    drop((elsewhere.stop(), at_checkout.stop()));
}

#[test]
fn a_process_that_is_killed_leaves_its_evidence_and_what_was_known_of_stable() {
    // Bursts are measured between groups of stable's traffic: its endpoints.
    let (first, second, v2, place) = (origin("v1"), origin("v1"), origin("v2"), Place::new());
    for origin in [&first, &second, &v2] {
        origin.dial().set_errors(Fraction::new(0.2).unwrap());
    }
    let versions = [("v1", &[first.address(), second.address()][..]), ("v2", &[v2.address()][..])];
    place.write(&(place.head() + &shop("v1", &versions, "{ steps: [{ weight: 50%, hold: 10m }] }")));
    let server = place.serve();
    let load = server.load(500.0).start().unwrap();
    until_true("traffic", || load.live().answered >= 100);
    assert_eq!(server.admin.start("shop", "v2").status, 201);
    let saved = server.admin.until("shop", "the dispersion", |rollout| rollout.dispersion.is_some());
    let later = saved.requests.stable + 1_000;
    server.admin.until("shop", "two seconds more", |rollout| rollout.requests.stable >= later);
    drop(load.stop());

    server.process.kill();
    let server = place.serve();
    // Nothing was served since: all of this is from before.
    let found = server.admin.rollout("shop");
    assert!(found.requests.stable >= saved.requests.stable, "{:?} then {:?}", saved.requests, found.requests);
    assert!(found.dispersion.is_some(), "{found:?}");
    assert_eq!(server.admin.service("shop").warnings, Vec::<String>::new());
    server.stop();
}
