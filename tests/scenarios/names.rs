//! Endpoints by name: the answer changes, the server dies, and users see nothing of it.

use std::net::{IpAddr, SocketAddr};

use control::view::{NameView, Phase};
use loadtest::{Fraction, Load, Nameserver, Origin, OriginOptions, Reply, failures};

use crate::patience::{until, until_true};
use crate::shop::{Place, Server, origin_with};

/// Origins on one port of several addresses of this machine, and who says which of them the name leads to.
struct Site {
    server: Server,
    dns: Nameserver,
    origins: Vec<Origin>,
    place: Place,
}

const NAME: &str = "shop.internal";

impl Site {
    /// A service whose v1 is a name with these of four addresses, asked for ten times a second.
    fn open(first: &[usize]) -> Self {
        let (dns, origins, place) = (Nameserver::start().unwrap(), origins(), Place::new());
        dns.say(NAME, Reply::Addresses(addresses(&origins, first), 0));
        place.write(&configuration(&place, &dns, &origins, ""));
        Self { server: place.serve(), dns, origins, place }
    }

    fn say(&self, of: &[usize]) {
        self.dns.say(NAME, Reply::Addresses(addresses(&self.origins, of), 0));
    }

    fn load(&self) -> loadtest::RunningLoad {
        let load: Load = self.server.load(500.0);
        load.start().unwrap()
    }

    fn arrived(&self, of: usize) -> u64 {
        self.origins[of].arrivals().requests
    }

    fn name(&self) -> NameView {
        self.server.admin.service("shop").versions[0].names[0].clone()
    }

    /// Waits until requests go to these and to no others.
    fn until_traffic_is_at(&self, of: &[usize]) {
        let counts = || -> Vec<u64> { (0..self.origins.len()).map(|of| self.arrived(of)).collect() };
        until(&format!("traffic at {of:?} alone"), || {
            let before = counts();
            until_true("some traffic", || counts().iter().sum::<u64>() > before.iter().sum::<u64>() + 100);
            let after = counts();
            let goes_there = |place: usize| after[place] > before[place];
            (0..self.origins.len()).all(|place| goes_there(place) == of.contains(&place)).then_some(())
        });
    }
}

fn configuration(place: &Place, dns: &Nameserver, origins: &[Origin], more: &str) -> String {
    let (server, port) = (dns.address(), origins[0].address().port());
    format!(
        "dns: {{ servers: ['{server}'], at_least: 100ms, timeout: 200ms }}\n{head}  shop:\n    versions:\n      \
         v1: {{ endpoints: ['{NAME}:{port}'] }}\n{more}",
        head = place.head(),
    )
}

/// Four origins that differ in their address alone.
fn origins() -> Vec<Origin> {
    let at = |last: u8, port: u16| OriginOptions {
        address: SocketAddr::from(([127, 0, 0, last], port)),
        ..OriginOptions::default()
    };
    let first = origin_with("2", at(2, 0));
    let port = first.address().port();
    let others = (3..=5).map(|last| origin_with(&last.to_string(), at(last, port)));
    std::iter::once(first).chain(others).collect()
}

fn addresses(origins: &[Origin], of: &[usize]) -> Vec<IpAddr> {
    of.iter().map(|of| origins[*of].address().ip()).collect()
}

#[test]
fn a_name_with_three_addresses_gets_traffic_on_all_of_them() {
    let site = Site::open(&[0, 1, 2]);
    let load = site.load();
    site.until_traffic_is_at(&[0, 1, 2]);
    let shown: Vec<String> =
        site.server.admin.service("shop").versions[0].endpoints.iter().filter_map(|it| it.resolved.clone()).collect();
    let own: Vec<String> = site.origins[..3].iter().map(|origin| origin.address().to_string()).collect();
    assert_eq!(shown, own);
    assert_eq!(site.name().addresses.len(), 3);
    let metrics = site.server.admin.text("/metrics");
    assert!(metrics.contains(",state=\"well\"} 3\n") && !metrics.contains("127.0.0.3"), "{metrics}");
    assert_eq!(failures(&load.stop()), 0);
    site.server.stop();
}

/// The rolling deploy of a service behind a name: each answer leaves one out and brings another in.
#[test]
fn an_answer_that_changes_under_load_costs_no_request_and_moves_no_split() {
    let site = Site::open(&[0, 1]);
    let load = site.load();
    for of in [&[0, 1][..], &[1, 2], &[2, 3], &[3], &[0, 1, 2, 3], &[0]] {
        site.say(of);
        site.until_traffic_is_at(of);
    }
    let report = load.stop();
    assert_eq!((failures(&report), report.server_errors), (0, 0), "{report}");
    assert_eq!(site.server.admin.service("shop").generation, 1, "no split was touched");
    until_true("the log", || site.server.process.errors().contains("name has other addresses"));
    site.server.stop();
}

#[test]
fn a_dns_server_that_dies_or_talks_nonsense_changes_nothing_for_users_and_is_told_once() {
    let site = Site::open(&[0, 1]);
    let load = site.load();
    site.until_traffic_is_at(&[0, 1]);
    for reply in [Reply::NoSuchName, Reply::Addresses(Vec::new(), 0), Reply::Code(2), Reply::Nonsense(vec![0x81; 40])] {
        site.dns.say(NAME, reply);
        until_true("a failure", || site.name().problem.is_some());
        site.until_traffic_is_at(&[0, 1]);
        site.say(&[0, 1]);
        until_true("its end", || site.name().problem.is_none());
    }
    let port = site.dns.address().port();
    let Site { server, dns, origins, place } = site;
    drop(dns);
    until_true("its death", || server.admin.service("shop").versions[0].names[0].problem.is_some());
    let asked = || {
        let text = server.admin.text("/metrics");
        let line =
            text.lines().find_map(|line| line.strip_prefix("tidegate_dns_resolutions_total{result=\"failed\"} "));
        line.and_then(|count| count.parse::<u64>().ok()).unwrap_or_default()
    };
    let before = asked();
    until_true("further questions", || asked() > before + 2);
    let status = server.tidegate(&["status", "shop"]).out;
    assert!(status.contains("does not resolve") && status.contains("nothing listens there"), "{status}");
    // What serves now is found again after a restart, too.
    let server = {
        let report = load.stop();
        assert_eq!((failures(&report), report.server_errors), (0, 0), "{report}");
        let said = server.process.errors();
        assert_eq!(said.matches("name does not resolve").count(), 5, "{said}");
        server.process.kill();
        place.serve()
    };
    let answered = server.answers(200);
    assert_eq!(answered("2") + answered("3"), 200);
    // And the server that comes back is asked again.
    let dns = Nameserver::at(port).unwrap();
    dns.say(NAME, Reply::Addresses(addresses(&origins, &[3]), 0));
    let site = Site { server, dns, origins, place };
    let load = site.load();
    site.until_traffic_is_at(&[3]);
    assert_eq!(failures(&load.stop()), 0);
    site.server.stop();
}

/// A name that gives some of many addresses, others each time.
#[test]
fn an_address_that_was_ejected_and_comes_back_with_a_later_answer_is_ejected_still() {
    let site = Site::open(&[0, 1]);
    let text = std::fs::read_to_string(site.place.file()).unwrap();
    site.place.write(&text.replace("v1: { ", "v1: { ejection: { first: 5m }, "));
    assert_eq!(site.server.tidegate(&["reload"]).code, Some(0));
    site.origins[1].dial().set_errors(Fraction::new(1.0).unwrap());
    let load = site.load();
    site.until_traffic_is_at(&[0]);
    for _ in 0..3 {
        site.say(&[0, 2]);
        site.until_traffic_is_at(&[0, 2]);
        let before = site.arrived(1);
        site.say(&[0, 1]);
        site.until_traffic_is_at(&[0]);
        assert_eq!(site.arrived(1), before, "no user pays for it again");
    }
    let report = load.stop();
    // What it cost until it was ejected.
    assert!(report.server_errors < 50, "{report}");
    site.server.stop();
}

/// New instances of a canary come and go while it is judged: the rollout goes on to its end.
#[test]
fn a_canary_behind_a_name_is_rolled_out_while_its_addresses_change() {
    let (dns, origins, place) = (Nameserver::start().unwrap(), origins(), Place::new());
    dns.say(NAME, Reply::Addresses(addresses(&origins, &[0]), 0));
    dns.say("canary.internal", Reply::Addresses(addresses(&origins, &[1]), 0));
    let port = origins[0].address().port();
    let more = format!(
        "      v2: {{ endpoints: ['canary.internal:{port}'] }}\n    stable: v1\n    plan: {{ warmup: 0s, min_requests: 10, \
         steps: [{{ weight: 20%, hold: 2s }}, {{ weight: 50%, hold: 2s }}] }}\n"
    );
    place.write(&configuration(&place, &dns, &origins, &more));
    let site = Site { server: place.serve(), dns, origins, place };
    let load = site.load();
    assert_eq!(site.server.admin.start("shop", "v2").status, 201);
    for of in [&[1, 2][..], &[2, 3], &[3]] {
        site.dns.say("canary.internal", Reply::Addresses(addresses(&site.origins, of), 0));
        let new = *of.last().unwrap();
        let before = site.arrived(new);
        until_true("traffic at a new address", || site.arrived(new) > before + 5);
    }
    site.server.admin.until_phase("shop", Phase::Promoted);
    let report = load.stop();
    assert_eq!((failures(&report), report.server_errors), (0, 0), "{report}");
    site.server.stop();
}
