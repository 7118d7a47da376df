//! One of the three endpoints of stable is ill, under 500 requests a second: no request fails, those that come 5 s later
//! take no longer than before, and it comes back slowly.

use std::time::Duration;

use control::plane::EndpointHealth;
use control::view::EndpointView;
use loadtest::{Behaviour, Latency, Length, Load, LoadReport, Origin, Setting, failures};

use crate::patience::{LONG, until, until_true};
use crate::shop::{Place, Server, origin};

/// How long an answer takes while all is well.
const USUAL: Duration = Duration::from_millis(5);
/// After so long everything is to be as it was.
const SOON: Duration = Duration::from_secs(5);
/// How long latencies are measured.
const WINDOW: Duration = Duration::from_secs(3);

/// A shop whose v1 has three endpoints.
struct Site {
    server: Server,
    origins: [Origin; 3],
    _place: Place,
}

/// What users had before one of them fell ill, in the 5 s after it, and then.
struct Seen {
    before: LoadReport,
    during: LoadReport,
    after: LoadReport,
}

impl Site {
    fn open() -> Self {
        let origins = ["a", "b", "c"].map(origin);
        origins.iter().for_each(|origin| origin.dial().set(well()));
        let place = Place::new();
        let addresses = origins.each_ref().map(|origin| format!("'{}'", origin.address())).join(", ");
        let head = place.head();
        place.write(&format!(
            "{head}  shop: {{ versions: {{ v1: {{ endpoints: [{addresses}], slow_start: 2s, ejection: {{ first: 2s }} }} }} }}\n"
        ));
        Self { server: place.serve(), origins, _place: place }
    }

    /// The third endpoint, which falls ill.
    fn third(&self) -> EndpointView {
        self.server.admin.service("shop").versions.remove(0).endpoints.remove(2)
    }

    fn set(&self, setting: Setting) {
        self.origins[2].dial().set(setting);
    }

    /// What users get for so long.
    fn users(&self, length: Duration) -> LoadReport {
        let length = Length::Lasts(length);
        // Longer than the 15 s that a service waits for a first byte: who is kept waiting is waited for.
        Load { length, grace: LONG, ..self.server.load(500.0) }.start().unwrap().wait()
    }

    fn falls_ill(&self, setting: Setting) -> Seen {
        drop(self.users(Duration::from_secs(1)));
        let before = self.users(WINDOW);
        self.set(setting);
        let during = self.users(SOON);
        Seen { before, during, after: self.users(WINDOW) }
    }

    /// The third gets well, is used again little by little, and has its part in the end.
    fn comes_back_slowly(&self) {
        let load = self.server.load(500.0).start().unwrap();
        self.set(well());
        let back = until("its return", || Some(self.third()).filter(|third| third.state == EndpointHealth::Well));
        assert!(back.share < 1.0, "{back:?}");
        until_true("its full share", || self.third().share >= 1.0);
        let (before, answered) = (self.origins[2].arrivals().requests, load.live().answered);
        until_true("traffic", || load.live().answered >= answered + 600);
        let part = self.origins[2].arrivals().requests - before;
        assert!(part >= 120, "{part} of 600 requests");
        let report = load.stop();
        assert_eq!(failures(&report), 0, "{report}");
    }
}

fn well() -> Setting {
    Setting { latency: Latency::fixed(USUAL), ..Setting::default() }
}

fn that(behaviour: Behaviour) -> Setting {
    Setting { behaviour, ..well() }
}

/// Nobody got an error, and everything is as it was.
fn nobody_was_hurt(Seen { before, during, after }: &Seen) {
    for report in [before, during, after] {
        assert_eq!((failures(report), report.not_sent), (0, 0), "{report}");
    }
    let (was, is) = (before.latency_at(0.99), after.latency_at(0.99));
    assert!(is <= was * 2 + Duration::from_millis(15), "p99 was {was:?} and is {is:?}:\n{after}");
}

#[test]
fn one_that_is_killed_costs_no_request_and_comes_back_slowly() {
    let site = Site::open();
    nobody_was_hurt(&site.falls_ill(that(Behaviour::Refuse)));
    assert_eq!(site.third().state, EndpointHealth::Down);
    site.comes_back_slowly();
    site.server.stop();
}

#[test]
fn one_that_leaves_and_then_refuses_costs_no_request_and_comes_back_slowly() {
    let site = Site::open();
    nobody_was_hurt(&site.falls_ill(that(Behaviour::Leave)));
    site.comes_back_slowly();
    site.server.stop();
}

#[test]
fn one_that_hangs_costs_no_request_and_no_long_wait_and_comes_back_slowly() {
    let site = Site::open();
    let seen = site.falls_ill(that(Behaviour::Hang));
    nobody_was_hurt(&seen);
    // Well before the 15 s that a service waits for a first byte.
    let longest = Duration::from_micros(seen.during.latency.max().max(seen.after.latency.max()));
    assert!(longest < Duration::from_secs(8), "{}", seen.during);
    let ill = site.third();
    assert_eq!(ill.state, EndpointHealth::Ejected, "{ill:?}");
    assert_eq!(ill.reason.as_deref(), Some("it hangs: requests get no answer there"), "{ill:?}");
    site.comes_back_slowly();
    site.server.stop();
}

/// Nobody has to be told: what takes so long is hardly asked any more.
#[test]
fn one_that_turns_ten_times_slower_gets_hardly_any_requests() {
    let site = Site::open();
    let seen = site.falls_ill(Setting { latency: Latency::fixed(USUAL * 10), ..well() });
    nobody_was_hurt(&seen);
    let part = seen.after.by_version.get("c").map_or(0, |version| version.responses);
    assert!(part * 50 < seen.after.answered, "{}", seen.after);
    site.server.stop();
}
