//! All endpoints of a service are restarted, one after another, under 500 requests a second: no request fails.

use loadtest::{Behaviour, Latency, Setting, failures};

use crate::patience::until_true;
use crate::shop::{Place, now, origin};

/// Each of three endpoints ends so, is away for a while, and comes back; then the next.
fn rolls(end: Behaviour) {
    let origins = ["a", "b", "c"].map(origin);
    let latency = Latency::fixed(std::time::Duration::from_millis(5));
    origins.iter().for_each(|origin| origin.dial().set_latency(latency));
    let place = Place::new();
    let addresses = origins.each_ref().map(|origin| format!("'{}'", origin.address())).join(", ");
    let head = place.head();
    // Everything else is as it is where nobody wrote anything: the budget for retries, too.
    place.write(&format!("{head}  shop: {{ versions: {{ v1: {{ endpoints: [{addresses}] }} }} }}\n"));
    let server = place.serve();
    let load = server.load(500.0).start().unwrap();
    let more = |requests: u64| {
        let answered = load.live().answered;
        // Where the machine is behind, a request would live through more restarts than it has attempts.
        until_true("traffic", || {
            let live = load.live();
            live.answered >= answered + requests && live.in_flight < 50
        });
    };
    more(200);
    // Twice, so that each is away while another has just come back.
    for origin in origins.iter().chain(&origins) {
        origin.dial().set_behaviour(end);
        now(origin.settled());
        more(300);
        origin.dial().set(Setting { latency, ..Setting::default() });
        now(origin.settled());
        more(100);
    }
    let report = load.stop();
    assert_eq!((failures(&report), report.not_sent), (0, 0), "{end:?}: {report}");
    server.stop();
}

#[test]
fn endpoints_that_leave_one_after_another_and_come_back_fail_no_request() {
    rolls(Behaviour::Leave);
}

#[test]
fn endpoints_that_are_killed_one_after_another_and_come_back_fail_no_request() {
    rolls(Behaviour::Refuse);
}
