//! What a bad canary does is charged to it to the last request, and no user sees it.

use std::time::Duration;

use control::view::{Phase, RolloutView, VersionView};
use loadtest::{Behaviour, Fraction, Load, LoadReport, failures};

use crate::patience::{LONG, until, until_true};
use crate::shop::{Place, Shop, configuration, origin};

/// A canary with 5 % of 500 requests a second turned bad, and was taken back.
struct Taken {
    rollout: RolloutView,
    report: LoadReport,
    /// The canary as the proxy sees it, once nothing is under way there.
    v2: VersionView,
    /// Attempts on it that failed, as the proxy counts them.
    attempts: u64,
    /// Requests that met what was wrong, as the canary counts them.
    bad: u64,
    /// From its first bad answer to its last request.
    exposed: Duration,
}

fn taken_back(turn_bad: impl Fn(&Shop)) -> Taken {
    let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
    let written = configuration(&place, &v1, &v2, "{ steps: [{ weight: 5%, hold: 10m }] }");
    place.write(&format!("{written}    timeouts: {{ first_byte: 1s }}\n"));
    let shop = Shop { server: place.serve(), v1, v2, place };
    let load = Load { grace: LONG, ..shop.server.load(500.0) }.start().unwrap();
    shop.release_v2();
    shop.admin().until("shop", "good traffic on v2", |rollout| rollout.requests.canary >= 20);

    shop.v2.begin_incident();
    turn_bad(&shop);

    let rollout = shop.admin().until_phase("shop", Phase::RolledBack);
    let report = load.stop();
    assert_eq!((rollout.weight, report.not_sent), (0, 0), "{report}");
    // Figures are told a moment after what they are of.
    let counted =
        |metric: &str, class| shop.admin().counted(metric, &[("service", "shop"), ("version", "v2"), ("class", class)]);
    let (v2, attempts) = until("the books of v2 to be closed", || {
        let v2 = shop.admin().service("shop").versions.into_iter().find(|version| version.name == "v2")?;
        let failed = ["5xx", "connect_error", "timeout", "reset", "protocol_error"];
        let attempts: u64 = failed.map(|class| counted("tidegate_attempts_total", class)).iter().sum();
        let forgiven =
            counted("tidegate_attempts_total", "reset").saturating_sub(counted("tidegate_requests_total", "reset"));
        let is_over = v2.in_flight == 0 && shop.v2.arrivals().in_progress == 0;
        (is_over && attempts >= shop.v2.arrivals().bad && v2.failed + forgiven == attempts).then_some((v2, attempts))
    });
    let seen = shop.v2.arrivals();
    let exposed = seen.incident.map_or(Duration::ZERO, |incident| incident.span());
    Taken { rollout, report, v2, attempts, bad: seen.bad, exposed }
}

/// Users saw nothing, and everything that the canary did is in its books.
fn nobody_noticed(taken: &Taken) {
    let Taken { rollout, report, v2, attempts, bad, .. } = taken;
    assert_eq!(failures(report), 0, "{report}");
    assert!(*bad > 0 && rollout.failed.canary > 0, "{rollout:?}");
    assert_eq!((attempts, v2.saved), (bad, v2.failed), "{v2:?}");
}

#[test]
fn of_a_canary_that_answers_5xx_to_everything_users_see_nothing() {
    let taken = taken_back(|shop| shop.v2.dial().set_errors(Fraction::ONE));
    nobody_noticed(&taken);
    assert_eq!(taken.v2.failed, taken.bad);
}

#[test]
fn of_a_canary_that_resets_its_connections_users_see_nothing() {
    let taken = taken_back(|shop| shop.v2.dial().set_behaviour(Behaviour::Reset));
    nobody_noticed(&taken);
    // A kept connection that is reset at once is forgiven, and the next attempt judged in its place.
    assert!((taken.bad.div_ceil(2)..=taken.bad).contains(&taken.v2.failed), "{:?}", taken.v2);
}

#[test]
fn of_a_canary_that_sends_broken_heads_users_see_nothing() {
    let taken = taken_back(|shop| shop.v2.dial().set_behaviour(Behaviour::Garbage));
    nobody_noticed(&taken);
    assert_eq!(taken.v2.failed, taken.bad);
}

/// Its users wait as long as the service waits for a first byte, and stable's answer comes then.
#[test]
fn of_a_canary_that_hangs_users_see_a_wait_and_no_error() {
    let taken = taken_back(|shop| shop.v2.dial().set_behaviour(Behaviour::Hang));
    nobody_noticed(&taken);
    assert_eq!(taken.v2.failed, taken.bad);
    let longest = Duration::from_micros(taken.report.latency.max());
    assert!(longest >= Duration::from_secs(1) && longest < Duration::from_secs(5), "{}", taken.report);
}

/// What a user has seen the beginning of cannot be answered anew: as few as can be see it, and all of them are counted.
#[test]
fn a_canary_that_cuts_its_replies_after_they_began_is_seen_by_the_gates_at_once() {
    let taken = taken_back(|shop| shop.v2.dial().set_behaviour(Behaviour::Cut));
    let Taken { report, v2, attempts, bad, exposed, .. } = &taken;
    assert!(*bad > 0 && *exposed < Duration::from_secs(5), "{bad} in {exposed:?}");
    assert_eq!((attempts, v2.failed, v2.saved), (bad, *bad, 0), "{v2:?}");
    assert_eq!((report.failed, failures(report)), (*bad, *bad), "{report}");
}

/// POST is sent once, whatever becomes of it; but where nothing was sent, it goes elsewhere.
#[test]
fn of_a_canary_that_cannot_be_reached_those_who_post_see_nothing_either() {
    let shop = Shop::open("{ steps: [{ weight: 5%, hold: 10m }] }");
    let method = ureq::http::Method::POST;
    let load = Load { method, body: "a=b".into(), ..shop.server.load(500.0) }.start().unwrap();
    shop.release_v2();
    shop.admin().until("shop", "good traffic on v2", |rollout| rollout.requests.canary >= 20);

    shop.v2.dial().set_behaviour(Behaviour::Leave);

    let rollout = shop.admin().until_phase("shop", Phase::RolledBack);
    let more = load.live().answered + 500;
    until_true("traffic after it", || load.live().answered > more);
    let report = load.stop();
    assert_eq!(failures(&report), 0, "{report}");
    assert!(rollout.failed.canary > 0, "{rollout:?}");
}
