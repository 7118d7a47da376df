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
/// How long latencies are measured before it.
const BEFORE: Duration = Duration::from_secs(3);
/// How long they are measured after it, and how often at most. Whatever else this machine does may spoil a window.
const WINDOW: Duration = Duration::from_secs(1);
const WINDOWS: u32 = 10;

/// A shop whose v1 has three endpoints.
struct Site {
    server: Server,
    origins: [Origin; 3],
    _place: Place,
}

/// What users had in the 5 s after one of them fell ill.
struct Seen {
    during: LoadReport,
}

impl Site {
    fn open() -> Self {
        let origins = ["a", "b", "c"].map(origin);
        origins.iter().for_each(|origin| origin.dial().set(well()));
        let place = Place::new();
        let addresses = origins.each_ref().map(|origin| format!("'{}'", origin.address())).join(", ");
        let head = place.head();
        place.write(&format!(
            "{head}  shop: {{ versions: {{ v1: {{ endpoints: [{addresses}], slow_start: 2s, ejection: {{ first: 8s }} }} }} }}\n"
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

    /// It falls ill so: nobody gets an error, and 5 s later everything is as it was, and as `is_so` says.
    fn falls_ill(&self, setting: Setting, is_so: impl Fn(&LoadReport) -> bool) -> Seen {
        drop(self.users(Duration::from_secs(1)));
        let before = whole(self.users(BEFORE));
        self.set(setting);
        let during = whole(self.users(SOON));
        let most = before.latency_at(0.99) * 2 + Duration::from_millis(10);
        let windows = (0..WINDOWS).map(|_| whole(self.users(WINDOW)));
        let after = windows.into_iter().find(|report| report.latency_at(0.99) <= most && is_so(report));
        let after = after.unwrap_or_else(|| panic!("it never was as before:\n{before}\n{during}"));
        drop(after);
        Seen { during }
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
        whole(load.stop());
    }
}

fn well() -> Setting {
    Setting { latency: Latency::fixed(USUAL), ..Setting::default() }
}

fn that(behaviour: Behaviour) -> Setting {
    Setting { behaviour, ..well() }
}

/// Nobody got an error.
fn whole(report: LoadReport) -> LoadReport {
    assert_eq!((failures(&report), report.not_sent), (0, 0), "{report}");
    report
}

#[test]
fn one_that_is_killed_costs_no_request_and_comes_back_slowly() {
    let site = Site::open();
    site.falls_ill(that(Behaviour::Refuse), |_| true);
    assert_eq!(site.third().state, EndpointHealth::Down);
    site.comes_back_slowly();
    site.server.stop();
}

#[test]
fn one_that_leaves_and_then_refuses_costs_no_request_and_comes_back_slowly() {
    let site = Site::open();
    site.falls_ill(that(Behaviour::Leave), |_| true);
    site.comes_back_slowly();
    site.server.stop();
}

#[test]
fn one_that_hangs_costs_no_request_and_no_long_wait_and_comes_back_slowly() {
    let site = Site::open();
    let seen = site.falls_ill(that(Behaviour::Hang), |_| true);
    // Well before the 15 s that a service waits for a first byte.
    let longest = Duration::from_micros(seen.during.latency.max());
    assert!(longest < Duration::from_secs(14), "{}", seen.during);
    let load = site.server.load(500.0).start().unwrap();
    let ill = until("its ejection", || Some(site.third()).filter(|third| third.state == EndpointHealth::Ejected));
    drop(whole(load.stop()));
    assert_eq!(ill.reason.as_deref(), Some("it hangs: requests get no answer there"), "{ill:?}");
    site.comes_back_slowly();
    site.server.stop();
}

/// Nobody has to be told: what takes so long is hardly asked any more.
#[test]
fn one_that_turns_ten_times_slower_gets_hardly_any_requests() {
    let site = Site::open();
    // Its part of the traffic was a third.
    let is_left_alone =
        |report: &LoadReport| report.by_version.get("c").map_or(0, |version| version.responses) * 10 < report.answered;
    site.falls_ill(Setting { latency: Latency::fixed(USUAL * 10), ..well() }, is_left_alone);
    site.server.stop();
}
