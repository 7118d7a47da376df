//! One of the three endpoints of stable is ill, under 500 requests a second: no request fails, those that come 5 s later
//! take no longer than those of a service beside it where nothing is ill, and it comes back slowly.

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
/// How long latencies are measured then, and how often at most: a machine that stands still for a moment may do so in one
/// service's requests alone.
const WINDOW: Duration = Duration::from_secs(2);
const WINDOWS: u32 = 5;

/// A shop whose v1 has three endpoints, and a service beside it that has three others.
struct Site {
    server: Server,
    origins: [Origin; 3],
    _beside: [Origin; 3],
    _place: Place,
}

/// What users had in the 5 s after one of them fell ill.
struct Seen {
    during: LoadReport,
}

impl Site {
    fn open() -> Self {
        let [origins, beside] = [["a", "b", "c"], ["d", "e", "f"]].map(|names| names.map(origin));
        origins.iter().chain(&beside).for_each(|origin| origin.dial().set(well()));
        let place = Place::new();
        let version = |of: &[Origin; 3]| {
            let addresses = of.each_ref().map(|origin| format!("'{}'", origin.address())).join(", ");
            format!("{{ v1: {{ endpoints: [{addresses}], slow_start: 2s, ejection: {{ first: 8s }} }} }}")
        };
        let (head, shop, other) = (place.head(), version(&origins), version(&beside));
        place.write(&format!(
            "{head}  shop: {{ versions: {shop} }}\n  beside: {{ path: /beside, versions: {other} }}\n"
        ));
        Self { server: place.serve(), origins, _beside: beside, _place: place }
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

    /// What users of the shop get for so long, and those of the service beside it at the same time.
    fn both(&self, length: Duration) -> (LoadReport, LoadReport) {
        let load =
            Load { length: Length::Lasts(length), grace: LONG, path: "/beside".to_owned(), ..self.server.load(200.0) };
        let beside = load.start().unwrap();
        (whole(self.users(length)), whole(beside.wait()))
    }

    /// It falls ill so: nobody gets an error, and 5 s later all is as in a service where nothing is ill, and as `is_so` says.
    fn falls_ill(&self, setting: Setting, is_so: impl Fn(&LoadReport) -> bool) -> Seen {
        drop(self.both(Duration::from_secs(2)));
        self.set(setting);
        let (during, _) = self.both(SOON);
        let windows = (0..WINDOWS).map(|_| self.both(WINDOW));
        let is_usual = |report: &LoadReport, beside: &LoadReport| {
            report.latency_at(0.99) <= beside.latency_at(0.99).mul_f64(1.5) + USUAL
        };
        let mut spoilt = String::new();
        for (after, beside) in windows {
            if is_usual(&after, &beside) && is_so(&after) {
                return Seen { during };
            }
            spoilt.push_str(&format!("{after}\nbeside:\n{beside}\n"));
        }
        panic!("it never was as usual again:\n{spoilt}meanwhile:\n{during}");
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
    // Less than a third of what each of the others has; its part was the same.
    let is_left_alone = |report: &LoadReport| {
        let of = |name| report.by_version.get(name).map_or(0, |version| version.responses);
        of("c") * 6 < of("a") + of("b")
    };
    site.falls_ill(Setting { latency: Latency::fixed(USUAL * 10), ..well() }, is_left_alone);
    site.server.stop();
}
