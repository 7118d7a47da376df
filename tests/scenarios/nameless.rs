//! Names that do not resolve at the start: what can serve serves, and what cannot says so.

use control::view::Phase;
use loadtest::{Nameserver, Origin, Reply, failures};

use crate::patience::until_true;
use crate::process::{Signal, runs};
use crate::shop::{Place, Server, origin};

/// A file whose service `shop` is at `v1`, whose v2 has this endpoint, and whose service `other` is at `elsewhere`.
struct Site {
    dns: Nameserver,
    v1: Origin,
    place: Place,
}

impl Site {
    fn new() -> Self {
        let (dns, v1, place) = (Nameserver::start().unwrap(), origin("v1"), Place::new());
        Self { dns, v1, place }
    }

    fn write(&self, v1: &str, v2: &str) {
        let (dns, head) = (self.dns.address(), self.place.head());
        self.place.write(&format!(
            "dns: {{ servers: ['{dns}'], at_least: 100ms, timeout: 200ms }}\n{head}  shop:\n    stable: v1\n    versions:\n      \
             v1: {{ endpoints: ['{v1}'] }}\n      v2: {{ endpoints: ['{v2}'] }}\n    plan: {{ warmup: 0s, min_requests: 10, \
             steps: [{{ weight: 50%, hold: 1s }}] }}\n  other:\n    path: /other\n    versions: {{ v1: {{ endpoints: \
             ['elsewhere.internal:80'] }} }}\n"
        ));
    }

    /// Serves with an idle v2 that never resolved.
    fn open() -> (Self, Server) {
        let site = Self::new();
        site.write(&site.v1.address().to_string(), &site.v2());
        let server = site.place.serve();
        (site, server)
    }

    /// Where v2 will be, at a name.
    fn v2(&self) -> String {
        format!("v2.internal:{}", self.v1.address().port())
    }
}

#[test]
fn names_that_never_resolved_take_their_own_endpoints_away_and_no_others() {
    let (site, server) = Site::open();
    let answered = server.answers(50);
    assert_eq!(answered("v1"), 50);
    let other = server.load(100.0);
    let other = loadtest::Load { path: "/other".to_owned(), length: loadtest::Length::Count(5), ..other };
    let report = other.start().unwrap().wait();
    assert_eq!((report.answered, report.server_errors), (5, 5), "{report}");
    until_true("the log", || server.process.errors().contains("nothing is sent there until it does"));
    for (service, name) in [("shop", "v2.internal"), ("other", "elsewhere.internal")] {
        let said = format!("the name {name} does not resolve since ");
        let status = server.tidegate(&["status", service]).out;
        assert!(status.contains(&said) && status.contains("nothing is sent there until it does"), "{status}");
    }

    // A rollout of it waits, and begins once the name resolves.
    let started = server.admin.start("shop", "v2");
    let reason = started.body["reason"].as_str().unwrap();
    assert!(reason.starts_with("waiting for v2 to be well: it has no endpoint (the name v2.internal"), "{reason}");
    assert_eq!(started.body["weight"], 0);
    site.dns.say("v2.internal", Reply::Addresses(vec![site.v1.address().ip()], 300));
    server.admin.until("shop", "first users", |rollout| rollout.weight == 5_000);
    let load = server.load(200.0).start().unwrap();
    server.admin.until_phase("shop", Phase::Promoted);
    assert_eq!(failures(&load.stop()), 0);
    server.stop();
}

#[test]
fn a_reload_refuses_a_new_name_that_does_not_resolve_where_a_version_has_users() {
    let (site, server) = Site::open();
    site.write("typo.internal:80", &site.v2());
    let refused = server.tidegate(&["reload"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let said = format!(
        "endpoint typo.internal:80: no address found for this name ({}: there is no such name)",
        site.dns.address()
    );
    assert!(format!("{refused:?}").contains(&said), "{refused:?}");
    assert_eq!(server.answers(20)("v1"), 20);

    site.write(&site.v1.address().to_string(), "typo.internal:80");
    let taken = server.tidegate(&["reload"]);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    assert!(format!("{taken:?}").contains(&format!("shop: v2: {said}; nothing is sent there")), "{taken:?}");

    // A version that has users by hand is no other.
    let set = server.admin.set_weight("shop", "v2", 100);
    assert_eq!(set.status, 200, "{set:?}");
    site.write(&site.v1.address().to_string(), "other-typo.internal:80");
    assert_eq!(server.tidegate(&["reload"]).code, Some(1));
    assert_eq!(server.answers(100)("v1"), 100, "stable stands in");
    server.stop();
}

#[test]
fn an_upgrade_is_refused_that_would_leave_users_without_an_address() {
    let site = Site::new();
    site.dns.say("elsewhere.internal", Reply::Addresses(vec![site.v1.address().ip()], 300));
    site.write(&site.v1.address().to_string(), &site.v2());
    let mut server = site.place.serve();
    site.write("typo.internal:80", &site.v2());
    server.process.signal(Signal::Usr2);
    server.process.has_said("not upgraded, this process serves on");
    let said = server.process.errors();
    assert!(said.contains("endpoint typo.internal:80: no address found for this name"), "{said}");
    assert!(!said.contains("v2.internal:80: no address"), "it has no users: {said}");
    assert!(runs(server.process.id()));
    assert_eq!(server.answers(20)("v1"), 20);

    // By hand it has users, whatever the file says.
    assert_eq!(server.admin.set_weight("shop", "v2", 100).status, 200);
    site.write(&site.v1.address().to_string(), &site.v2());
    server.process.signal(Signal::Usr2);
    let why = format!("shop: v2: endpoint {}: no address found for this name", site.v2());
    server.process.said("why", |line| (line.contains("not upgraded") && line.contains(&why)).then_some(()));
    assert_eq!(server.answers(20)("v1"), 20, "stable stands in");
    server.stop();
}
