//! All endpoints of a service are restarted, one after another, under 500 requests a second: no request fails, and nobody
//! had to write anything for it.

use std::time::Duration;

use control::plane::EndpointHealth;
use loadtest::{Behaviour, Latency, Setting, failures};

use crate::patience::until_true;
use crate::shop::{Place, now, origin};

/// Each of three endpoints ends so, is away for a while, and comes back; then the next.
fn rolls(end: Behaviour) {
    let origins = ["a", "b", "c"].map(origin);
    let latency = Latency::fixed(Duration::from_millis(5));
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

/// Hundreds are under way at each when it is killed: far more than the budget for retries has.
#[test]
fn endpoints_of_a_slow_service_that_are_killed_one_after_another_fail_no_request() {
    let origins = ["a", "b", "c"].map(origin);
    let setting = Setting { latency: Latency::fixed(Duration::from_secs(1)), ..Setting::default() };
    origins.iter().for_each(|origin| origin.dial().set(setting));
    let place = Place::new();
    let addresses = origins.each_ref().map(|origin| format!("'{}'", origin.address())).join(", ");
    place.write(&format!("{}  shop: {{ versions: {{ v1: {{ endpoints: [{addresses}] }} }} }}\n", place.head()));
    let server = place.serve();
    let load = server.load(500.0).start().unwrap();
    let mut lost = 0;
    for (number, origin) in origins.iter().enumerate() {
        until_true("requests at the next one", || origin.arrivals().in_progress > 100);
        lost += origin.arrivals().in_progress;
        origin.dial().set_behaviour(Behaviour::Refuse);
        now(origin.settled());
        let state = || server.admin.service("shop").versions[0].endpoints[number].state;
        until_true("it to be left alone", || state() != EndpointHealth::Well);
        origin.dial().set(setting);
        now(origin.settled());
        until_true("it to be reached again", || state() != EndpointHealth::Down);
    }
    let report = load.stop();
    assert_eq!((failures(&report), report.not_sent), (0, 0), "{lost} were lost: {report}");
    assert!(lost > 300, "{lost}");
    server.stop();
}
