mod addresses;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use config::{Configuration, PathPrefix};
use meter::{Attempt, Class, Outcome, Tally, Window};
use proptest::prelude::*;

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn percent(percent: u16) -> Weight {
    Weight::from_basis_points(percent * 100).unwrap()
}

pub(crate) fn prefix(text: &str) -> PathPrefix {
    PathPrefix::new(text).unwrap()
}

fn configuration(text: &str) -> (Configuration, Addresses) {
    let configuration = config::parse(text, "test.yaml").unwrap().configuration;
    let endpoints = configuration.services.iter().flat_map(|s| &s.versions).flat_map(|v| v.endpoints.clone());
    let addresses = endpoints.map(|e| (e.clone(), at(&[&format!("{e}")]))).collect();
    (configuration, addresses)
}

fn at(addresses: &[&str]) -> Arc<[SocketAddr]> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

const TWO: &str = "services: { shop: { stable: v1, versions: { v1: { endpoints: ['127.0.0.1:1'] }, v2: { endpoints: ['127.0.0.1:2'] } } } }";
const THREE: &str = "services: { shop: { stable: v1, versions: { v1: { endpoints: ['127.0.0.1:1'] }, v2: { endpoints: ['127.0.0.1:2'] }, v0: { endpoints: ['127.0.0.1:3'] } } } }";

fn publisher(text: &str) -> Publisher {
    let mut publisher = Publisher::new(1);
    let (configuration, addresses) = configuration(text);
    publisher.install(&configuration, &addresses, |_| None, Instant::now());
    publisher
}

fn shop(publisher: &Publisher) -> Arc<Service> {
    Arc::clone(publisher.shared().load().service(&name("shop")).unwrap())
}

fn share_of_v2(service: &Service) -> usize {
    (0..1_000).filter(|_| service.draw(None).version.name.as_str() == "v2").count()
}

/// Steers to v1 as stable and v2 as canary, with a baseline and paths.
fn steer(publisher: &mut Publisher, canary: Weight, baseline: Option<(&str, Weight)>, paths: &[&str]) {
    let (v1, v2) = (name("v1"), name("v2"));
    let baseline = baseline.map(|(text, weight)| (name(text), weight));
    let paths: Vec<_> = paths.iter().map(|text| prefix(text)).collect();
    let wanted = Wanted {
        stable: &v1,
        canary: Some((&v2, canary)),
        baseline: baseline.as_ref().map(|(name, weight)| (name, *weight)),
        matched: None,
        mirror: None,
        paths: &paths,
        generation: 1,
    };
    publisher.steer(&name("shop"), &wanted);
}

/// A split without baseline and paths.
fn plain<'a>(stable: &'a Name, canary: Option<(&'a Name, Weight)>, generation: u64) -> Wanted<'a> {
    Wanted { stable, canary, baseline: None, matched: None, mirror: None, paths: &[], generation }
}

fn outcome(paths: u16) -> Outcome {
    Outcome {
        attempt: Attempt::First,
        class: Class::Success,
        judged: true,
        endpoint: None,
        group: 0,
        keyed: true,
        paths,
        latency_us: None,
        total_us: None,
    }
}

fn taken(version: &Version) -> Tally {
    let mut window = Window::default();
    version.meter.take(&mut window);
    window
}

#[test]
fn without_a_canary_everything_goes_to_stable() {
    let publisher = publisher(TWO);
    assert_eq!(share_of_v2(&shop(&publisher)), 0);
    assert!(shop(&publisher).is_in_use(&name("v1")));
    assert!(!shop(&publisher).is_in_use(&name("v2")));
}

#[test]
fn a_split_takes_effect_for_the_next_request_and_an_old_snapshot_keeps_its_own() {
    let mut publisher = publisher(TWO);
    let old = shop(&publisher);
    let (v1, v2) = (name("v1"), name("v2"));
    publisher.steer(&name("shop"), &plain(&v1, Some((&v2, Weight::FULL)), 7));
    let new = shop(&publisher);
    assert_eq!((share_of_v2(&old), share_of_v2(&new)), (0, 1_000));
    assert_eq!(new.split.generation, 7);
    assert!(!new.is_in_use(&v1) && new.is_in_use(&v2));
    publisher.steer(&name("shop"), &plain(&v1, Some((&v2, Weight::ZERO)), 8));
    assert_eq!(share_of_v2(&shop(&publisher)), 0);
    assert!(!shop(&publisher).is_in_use(&v2));
}

#[test]
fn meters_and_endpoints_outlive_a_reload_and_a_changed_address_is_a_new_endpoint() {
    let mut publisher = publisher(TWO);
    let before = shop(&publisher);
    let (configuration, mut addresses) = configuration(TWO);
    let second = config::Endpoint::Tcp { host: "127.0.0.1".into(), port: 2, tls: false };
    addresses.insert(second, at(&["127.0.0.1:3"]));
    publisher.install(&configuration, &addresses, |_| None, Instant::now());
    let after = shop(&publisher);
    assert!(Arc::ptr_eq(&before.versions[1].meter, &after.versions[1].meter));
    assert!(Arc::ptr_eq(&before.versions[0].endpoints[0], &after.versions[0].endpoints[0]));
    assert!(!Arc::ptr_eq(&before.versions[1].endpoints[0], &after.versions[1].endpoints[0]));
}

#[test]
fn an_endpoint_that_is_new_among_others_begins_slowly_and_where_all_are_new_none_does() {
    let of = |ports: &[u16]| {
        let list: Vec<_> = ports.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
        format!("services: {{ shop: {{ stable: v1, versions: {{ v1: {{ endpoints: [{}] }} }} }} }}", list.join(", "))
    };
    let mut publisher = publisher(&of(&[1, 2]));
    let mut shares = |ports: &[u16]| {
        let ((configuration, addresses), now) = (configuration(&of(ports)), Instant::now());
        publisher.install(&configuration, &addresses, |_| None, now);
        let shop = shop(&publisher);
        shop.stable().endpoints.iter().map(|endpoint| endpoint.standing(now).share).collect::<Vec<_>>()
    };
    assert_eq!(shares(&[1, 2]), [1.0, 1.0]);
    assert_eq!(shares(&[3, 1]), [0.1, 1.0]);
    assert_eq!(shares(&[4, 5]), [1.0, 1.0]);
}

#[test]
fn a_split_that_names_no_version_leaves_the_stable_in_place() {
    let mut publisher = publisher(TWO);
    let nobody = name("v9");
    publisher.steer(&name("shop"), &plain(&nobody, Some((&nobody, percent(50))), 2));
    assert_eq!(share_of_v2(&shop(&publisher)), 0);
    publisher.steer(&nobody, &plain(&nobody, None, 3));
    assert_eq!(shop(&publisher).stable().name, name("v1"));
}

/// What so many keys draw: which of them the canary, the slice and a named baseline.
fn draws(service: &Service, keys: u32) -> [HashSet<u32>; 3] {
    let mut sets: [HashSet<u32>; 3] = Default::default();
    for key in 0..keys {
        let draw = service.draw(Some(&key.to_le_bytes()));
        let place = match (draw.version.name.as_str(), draw.slice) {
            ("v2", None) => 0,
            ("v1", Some(_)) => 1,
            ("v0", None) => 2,
            ("v1", None) => continue,
            other => panic!("{other:?}"),
        };
        sets[place].insert(key);
    }
    sets
}

#[test]
fn a_slice_is_as_large_as_the_canary_and_shares_no_user_with_it() {
    let mut publisher = publisher(TWO);
    steer(&mut publisher, percent(10), Some(("v1", percent(10))), &[]);
    let [canary, slice, _] = draws(&shop(&publisher), 100_000);
    // Ten thousand expected in each, with a standard deviation of 95.
    assert!((9_500..=10_500).contains(&canary.len()), "{}", canary.len());
    assert!((9_500..=10_500).contains(&slice.len()), "{}", slice.len());
    assert!(canary.is_disjoint(&slice));
    assert_eq!(shop(&publisher).shares().collect::<Vec<_>>(), [9_000, 1_000]);
}

#[test]
fn a_named_baseline_has_its_traffic_instead_of_stable() {
    let mut publisher = publisher(THREE);
    steer(&mut publisher, percent(10), Some(("v0", percent(10))), &[]);
    let service = shop(&publisher);
    let [canary, slice, baseline] = draws(&service, 100_000);
    assert!((9_500..=10_500).contains(&baseline.len()), "{}", baseline.len());
    assert!(canary.is_disjoint(&baseline) && slice.is_empty() && service.slice.is_none());
    assert_eq!(service.shares().collect::<Vec<_>>(), [8_000, 1_000, 1_000]);
    assert!(["v0", "v1", "v2"].iter().all(|version| service.is_in_use(&name(version))));
}

#[test]
fn while_the_canary_has_no_weight_nothing_is_drawn_to_a_baseline() {
    let mut publisher = publisher(THREE);
    for baseline in ["v1", "v0"] {
        steer(&mut publisher, Weight::ZERO, Some((baseline, percent(10))), &[]);
        let service = shop(&publisher);
        assert!(draws(&service, 1_000).iter().all(HashSet::is_empty));
        assert_eq!(service.shares().collect::<Vec<_>>(), [10_000, 0, 0]);
        assert!(!service.is_in_use(&name("v0")));
    }
}

#[test]
fn a_baseline_has_at_most_what_the_canary_leaves_and_a_canary_is_none() {
    let mut publisher = publisher(THREE);
    steer(&mut publisher, percent(80), Some(("v0", percent(80))), &[]);
    assert_eq!(shop(&publisher).shares().collect::<Vec<_>>(), [0, 8_000, 2_000]);
    assert!(!shop(&publisher).is_in_use(&name("v1")));
    for nobody in ["v2", "v9"] {
        steer(&mut publisher, percent(10), Some((nobody, percent(10))), &[]);
        assert_eq!(shop(&publisher).split.baseline, None, "{nobody}");
    }
}

proptest! {
    #[test]
    fn a_growing_weight_only_adds_users_to_the_canary_and_to_its_baseline(
        low in 0u16..=5_000,
        high in 0u16..=5_000,
        named in any::<bool>(),
    ) {
        let baseline = if named { "v0" } else { "v1" };
        let [low, high] = [low.min(high), low.max(high)].map(|basis_points| {
            let mut publisher = publisher(THREE);
            let weight = Weight::from_basis_points(basis_points).unwrap();
            steer(&mut publisher, weight, Some((baseline, weight)), &[]);
            let service = shop(&publisher);
            prop_assert_eq!(service.shares().sum::<u16>(), 10_000);
            Ok(draws(&service, 500))
        });
        let (low, high) = (low?, high?);
        for (fewer, more) in low.iter().zip(&high) {
            prop_assert!(fewer.is_subset(more));
        }
        prop_assert!(high[0].is_disjoint(&high[1]) && high[0].is_disjoint(&high[2]));
    }

    #[test]
    fn whatever_split_is_asked_for_the_shares_are_all_of_the_traffic(
        canary in 0u16..=10_000,
        baseline in 0u16..=10_000,
        of in prop::sample::select(vec!["v0", "v1", "v2", "v9"]),
    ) {
        let mut publisher = publisher(THREE);
        let weight = |basis_points| Weight::from_basis_points(basis_points).unwrap();
        steer(&mut publisher, weight(canary), Some((of, weight(baseline))), &[]);
        prop_assert_eq!(shop(&publisher).shares().sum::<u16>(), 10_000);
    }
}

#[test]
fn a_slice_keeps_its_meter_while_its_version_is_stable() {
    let mut publisher = publisher(TWO);
    assert!(shop(&publisher).slice.is_none());
    steer(&mut publisher, percent(10), Some(("v1", percent(10))), &[]);
    let meter = Arc::clone(&shop(&publisher).slice.as_ref().unwrap().meter);
    steer(&mut publisher, percent(0), None, &["/a"]);
    let (configuration, addresses) = configuration(TWO);
    publisher.install(&configuration, &addresses, |_| None, Instant::now());
    steer(&mut publisher, percent(50), Some(("v1", percent(50))), &[]);
    assert!(Arc::ptr_eq(&meter, &shop(&publisher).slice.as_ref().unwrap().meter));
    let (v1, v2) = (name("v1"), name("v2"));
    publisher.steer(&name("shop"), &plain(&v2, Some((&v1, percent(10))), 3));
    assert!(shop(&publisher).slice.is_none());
}

#[test]
fn a_request_that_drew_by_a_snapshot_from_before_a_comparison_is_not_judged_in_it() {
    let mut publisher = publisher(TWO);
    steer(&mut publisher, percent(10), Some(("v1", percent(10))), &[]);
    let before = shop(&publisher);
    let slice = before.slice.as_ref().unwrap();
    slice.meter.record_under(0, slice.exposure, &outcome(0));
    publisher.begin_exposure(&name("shop"), &name("v1"));
    // It draws only now, as a request does that was held up between the two.
    let stable = before.stable();
    stable.meter.record_under(0, stable.exposure, &outcome(0));
    slice.meter.record_under(0, slice.exposure, &outcome(0));
    let mut window = Window::default();
    slice.meter.take(&mut window);
    assert_eq!((taken(stable).requests(), window.requests()), (0, 0));
    let after = shop(&publisher);
    after.stable().meter.record_under(0, after.stable().exposure, &outcome(0));
    assert_eq!(taken(stable).requests(), 1);
    // The other version's comparison did not begin.
    before.versions[1].meter.record_under(0, before.versions[1].exposure, &outcome(0));
    assert_eq!(taken(&before.versions[1]).requests(), 1);
}

#[test]
fn a_list_of_paths_that_stays_counts_on_over_reloads_and_steers() {
    let mut publisher = publisher(TWO);
    steer(&mut publisher, percent(10), None, &["/a"]);
    let before = shop(&publisher);
    let (v1, v2) = (name("v1"), name("v2"));
    let paths = [prefix("/a")];
    let wanted = || Wanted { paths: &paths, ..plain(&v1, Some((&v2, percent(20))), 2) };
    publisher.steer(&name("shop"), &wanted());
    let (configuration, addresses) = configuration(TWO);
    publisher.install(&configuration, &addresses, |_| Some(wanted()), Instant::now());
    assert_eq!(before.stable().exposure, shop(&publisher).stable().exposure);
    publisher.steer(&name("shop"), &plain(&v1, None, 3));
    let version = before.stable();
    version.meter.record_under(0, version.exposure, &outcome(1));
    let window = taken(version);
    assert_eq!((window.requests(), window.paths.len()), (1, 0));
}

#[test]
fn no_path_of_an_old_list_is_judged_in_a_new_one() {
    // Every request is on /a, which is the first of one list and not in the other, whose first is /b. They draw,
    // record and are held up as they like while the lists change.
    let mut publisher = publisher(TWO);
    let shared = publisher.shared();
    let stop = AtomicBool::new(false);
    let requests = || {
        while !stop.load(Ordering::Relaxed) {
            let routing = shared.load_full();
            let service = routing.service(&name("shop")).unwrap();
            let draw = service.draw(None);
            thread::yield_now();
            let paths = service.split.paths.mask("/a/7");
            draw.version.meter.record_under(0, draw.version.exposure, &outcome(paths));
        }
    };
    let (mut on_a, mut wrongly_on_b) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(requests);
        scope.spawn(requests);
        let until = Instant::now() + Duration::from_secs(20);
        let mut turns = 0;
        while (turns < 300 || on_a == 0) && Instant::now() < until {
            turns += 1;
            for (list, has_a) in [(["/a"], true), (["/b"], false)] {
                // As control does it: a split, then a comparison of both versions, whose first window is discarded.
                steer(&mut publisher, percent(50), None, &list);
                publisher.begin_exposure(&name("shop"), &name("v1"));
                publisher.begin_exposure(&name("shop"), &name("v2"));
                let service = shop(&publisher);
                service.versions.iter().for_each(|version| drop(taken(version)));
                thread::yield_now();
                for version in &service.versions {
                    let first = taken(version).paths.first().map_or(0, meter::PathTally::requests);
                    *if has_a { &mut on_a } else { &mut wrongly_on_b } += first;
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(on_a > 0, "no request was counted on its path at all");
    assert_eq!(wrongly_on_b, 0, "requests were charged to a path that they were not on");
}
