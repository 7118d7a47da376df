//! Which endpoint is chosen by what it costs, by a key, and under limits.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use meter::Class;
use proptest::prelude::*;

use super::*;

fn balancer(balance: Balance, limits: InFlightLimits, endpoints: &[Arc<Endpoint>], now: Instant) -> Balancer {
    let written = endpoints.iter().map(|endpoint| endpoint.written.clone()).collect();
    let version = config::Version::plain(config::Name::new("v1").unwrap(), written);
    Balancer::new(&config::Version { balance, limits, ..version }, endpoints, None, now)
}

fn limits(requests: Option<u32>, per_endpoint: Option<u32>) -> InFlightLimits {
    InFlightLimits { requests, per_endpoint }
}

fn whoever(now: Instant) -> Ask<'static> {
    Ask { key: None, avoid: None, repeats: false, now }
}

fn by_key(number: u64, now: Instant) -> Ask<'static> {
    Ask { key: Some(mixed(number, 1)), ..whoever(now) }
}

fn place(picked: &InFlight) -> usize {
    usize::from(picked.endpoint().place)
}

/// It has answered one request, after so long.
fn answered(endpoint: &Arc<Endpoint>, millis: u64, now: Instant) {
    enter(endpoint, false, now).answered(millis * 1_000, false, now);
}

/// How many of so many requests each endpoint gets, one after another.
fn turns(balancer: &Balancer, endpoints: &[Arc<Endpoint>], ask: &Ask<'_>, requests: usize) -> Vec<usize> {
    let mut turns = vec![0; endpoints.len()];
    (0..requests).for_each(|_| turns[place(&balancer.pick(endpoints, ask).unwrap())] += 1);
    turns
}

#[test]
fn of_two_idle_endpoints_the_one_that_answers_faster_is_picked_until_it_has_much_more_to_do() {
    let (endpoints, now) = endpoints(2);
    answered(&endpoints[0], 40, now);
    answered(&endpoints[1], 10, now);
    let picks: Vec<InFlight> = (0..3).map(|_| pick(&endpoints, None, now).unwrap()).collect();
    assert_eq!(picks.iter().map(place).collect::<Vec<_>>(), [1, 1, 1]);
    let _fourth = enter(&endpoints[1], false, now);
    let _fifth = enter(&endpoints[1], false, now);
    assert_eq!(place(&pick(&endpoints, None, now).unwrap()), 0, "six times 10 ms is more than 40");
}

/// As after a restart of the other: clients come back at once, and all of them to the one that is up.
#[test]
fn tunnels_that_may_be_idle_for_hours_drive_nobody_away_from_their_endpoint() {
    let (endpoints, now) = endpoints(2);
    endpoints.iter().for_each(|endpoint| answered(endpoint, 10, now));
    let hash = Balance::Hash(HashKey::Path);
    for balance in [Balance::PeakEwma, Balance::LeastRequests, hash] {
        let balancer = balancer(balance.clone(), limits(None, Some(100)), &endpoints, now);
        let ask = |number| if balancer.key().is_some() { by_key(number, now) } else { whoever(now) };
        let mut tunnels = Vec::new();
        for number in 0.. {
            if tunnels.len() == 60 {
                break;
            }
            let mut tunnel = balancer.pick(&endpoints, &ask(number)).unwrap();
            if place(&tunnel) == 0 {
                tunnel.lasts();
                tunnel.lasts();
                tunnels.push(tunnel);
            }
        }
        assert_eq!((endpoints[0].in_flight(), endpoints[0].load()), (60, 0), "counted for limits");
        let mut turns = [0; 2];
        (0..200).for_each(|number| turns[place(&balancer.pick(&endpoints, &ask(number)).unwrap())] += 1);
        assert!(turns.iter().all(|of| *of > 50), "{balance:?}: {turns:?}");
        drop(tunnels);
        assert_eq!((endpoints[0].in_flight(), endpoints[0].load(), balancer.load.without_lasting()), (0, 0, 0));
    }
}

#[test]
fn endpoints_that_are_about_as_fast_have_about_as_much() {
    let (endpoints, now) = endpoints(3);
    [20, 22, 24].iter().zip(&endpoints).for_each(|(millis, endpoint)| answered(endpoint, *millis, now));
    let balancer = balancer(Balance::PeakEwma, limits(None, None), &endpoints, now);
    let turns = turns(&balancer, &endpoints, &whoever(now), 3_000);
    assert!(turns.iter().all(|turns| (800..1_200).contains(turns)), "{turns:?}");
}

#[test]
fn an_endpoint_that_is_new_gets_its_part_at_once() {
    let (endpoints, now) = endpoints(3);
    endpoints.iter().take(2).for_each(|endpoint| answered(endpoint, 2, now));
    let balancer = balancer(Balance::PeakEwma, limits(None, None), &endpoints, now);
    let turns = turns(&balancer, &endpoints, &whoever(now), 3_000);
    assert!((800..1_200).contains(&turns[2]), "{turns:?}");
}

#[test]
fn one_that_was_down_is_not_held_to_what_it_was_like_before() {
    let (endpoints, now) = endpoints(2);
    answered(&endpoints[0], 2, now);
    answered(&endpoints[1], 60_000, now);
    let later = now + Duration::from_secs(1);
    take_down(&endpoints[1], now);
    endpoints[1].connected(later);
    // Its slow start is over, and its old latency would still be some 20 s.
    let later = later + Duration::from_secs(10);
    let balancer = balancer(Balance::PeakEwma, limits(None, None), &endpoints, now);
    let turns = turns(&balancer, &endpoints, &whoever(later), 400);
    assert!(turns[1] > 100, "{turns:?}");
}

#[test]
fn least_requests_goes_by_requests_in_flight_alone() {
    let (endpoints, now) = endpoints(2);
    answered(&endpoints[0], 5_000, now);
    answered(&endpoints[1], 1, now);
    let balancer = balancer(Balance::LeastRequests, limits(None, None), &endpoints, now);
    let _busy = enter(&endpoints[1], false, now);
    assert_eq!(turns(&balancer, &endpoints, &whoever(now), 20), [20, 0]);
}

#[test]
fn of_a_hundred_endpoints_those_that_are_well_share_evenly_and_the_others_get_nothing() {
    let (endpoints, now) = endpoints(100);
    endpoints.iter().take(40).for_each(|endpoint| take_down(endpoint, now));
    let balancer = balancer(Balance::PeakEwma, limits(None, None), &endpoints, now);
    let turns = turns(&balancer, &endpoints, &whoever(now), 60_000);
    assert_eq!(turns[..40].iter().sum::<usize>(), 0);
    assert!(turns[40..].iter().all(|turns| (800..1_200).contains(turns)), "{turns:?}");
}

#[test]
fn of_a_hundred_endpoints_one_that_comes_back_begins_with_a_tenth_of_its_share() {
    let (endpoints, now) = endpoints(100);
    take_down(&endpoints[7], now);
    endpoints[7].connected(now);
    let balancer = balancer(Balance::PeakEwma, limits(None, None), &endpoints, now);
    let turns = turns(&balancer, &endpoints, &whoever(now), 100_000);
    assert!((50..200).contains(&turns[7]), "{} of about 100", turns[7]);
}

#[test]
fn an_endpoint_at_its_limit_is_passed_over_and_a_version_without_any_other_is_full() {
    for count in [3, 20] {
        let (endpoints, now) = endpoints(count);
        let balancer = balancer(Balance::PeakEwma, limits(None, Some(2)), &endpoints, now);
        let held: Vec<_> = (0..count * 2).map(|_| balancer.pick(&endpoints, &whoever(now)).unwrap()).collect();
        assert!(endpoints.iter().all(|endpoint| endpoint.in_flight() == 2));
        assert_eq!(balancer.pick(&endpoints, &whoever(now)).unwrap_err(), Unavailable::Full);
        assert_eq!(balancer.pick_any(&endpoints, &whoever(now)).unwrap_err(), Unavailable::Full);
        drop(held);
        assert_eq!(balancer.load.without_lasting(), 0);
        assert!(balancer.pick(&endpoints, &whoever(now)).is_ok());
    }
}

#[test]
fn a_version_at_its_limit_is_full_and_one_whose_endpoints_are_down_is_down() {
    let (endpoints, now) = endpoints(2);
    let balancer = balancer(Balance::PeakEwma, limits(Some(1), None), &endpoints, now);
    let held = balancer.pick(&endpoints, &whoever(now)).unwrap();
    assert_eq!(balancer.pick(&endpoints, &whoever(now)).unwrap_err(), Unavailable::Full);
    assert_eq!(balancer.pick_any(&endpoints, &whoever(now)).unwrap_err(), Unavailable::Full);
    drop(held);
    endpoints.iter().for_each(|endpoint| take_down(endpoint, now));
    assert_eq!(balancer.pick(&endpoints, &whoever(now)).unwrap_err(), Unavailable::Down);
    assert!(balancer.pick_any(&endpoints, &whoever(now)).is_ok(), "what found nobody gave its room back");
}

#[test]
fn no_limit_is_passed_however_many_ask_at_once() {
    let (endpoints, now) = endpoints(4);
    let balancer = balancer(Balance::LeastRequests, limits(Some(10), Some(3)), &endpoints, now);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let held: Vec<_> = (0..5).filter_map(|_| balancer.pick(&endpoints, &whoever(now)).ok()).collect();
                    assert!(endpoints.iter().all(|endpoint| endpoint.in_flight() <= 3));
                    assert!(balancer.load.without_lasting() <= 10 + 4, "ten, and whoever is looking");
                    drop(held);
                }
            });
        }
    });
    assert_eq!(
        (balancer.load.without_lasting(), endpoints.iter().map(|endpoint| endpoint.in_flight()).sum::<u64>()),
        (0, 0)
    );
}

#[test]
fn the_same_key_goes_to_the_same_endpoint_and_comes_back_to_it_when_it_is_well_again() {
    let (endpoints, now) = endpoints(12);
    let balancer = balancer(Balance::Hash(HashKey::Path), limits(None, None), &endpoints, now);
    let homes =
        |now| (0..600).map(|key| place(&balancer.pick(&endpoints, &by_key(key, now)).unwrap())).collect::<Vec<_>>();
    let before = homes(now);
    assert_eq!(homes(now), before);
    take_down(&endpoints[5], now);
    let without = homes(now);
    let mut new_homes = HashMap::new();
    for (was, is) in before.iter().zip(&without) {
        if *was == 5 {
            *new_homes.entry(*is).or_insert(0) += 1;
        } else {
            assert_eq!(is, was, "the key of another endpoint moved");
        }
    }
    assert!(new_homes.len() > 5 && !new_homes.contains_key(&5), "what it had is spread: {new_homes:?}");
    endpoints[5].connected(now);
    assert_eq!(homes(now + Duration::from_secs(10)), before);
    let partly = homes(now + Duration::from_secs(5));
    let back = |homes: &[usize]| homes.iter().filter(|home| **home == 5).count();
    assert!(back(&partly) > 0 && back(&partly) < back(&before), "some first, as its share grows");
}

#[test]
fn what_one_user_has_under_way_at_once_stays_together() {
    let (endpoints, now) = endpoints(3);
    let balancer = balancer(Balance::Hash(HashKey::Path), limits(None, None), &endpoints, now);
    for key in 0..20 {
        let page: Vec<_> = (0..32).map(|_| balancer.pick(&endpoints, &by_key(key, now)).unwrap()).collect();
        assert!(page.iter().all(|request| place(request) == place(&page[0])), "user {key}");
        assert_ne!(place(&balancer.pick(&endpoints, &by_key(key, now)).unwrap()), place(&page[0]), "and no more");
    }
}

#[test]
fn one_that_turns_everything_away_at_once_gets_its_part_and_no_more() {
    for balance in [Balance::PeakEwma, Balance::LeastRequests] {
        let (endpoints, now) = endpoints(2);
        let balancer = balancer(balance.clone(), limits(None, None), &endpoints, now);
        // It serves as slowly as the other until its files are gone.
        let mut now = now;
        let (mut under_way, mut turns) = (std::collections::VecDeque::new(), [0; 2]);
        for request in 0..4_000_u64 {
            now += Duration::from_millis(2);
            while under_way.front().is_some_and(|(until, _)| *until <= now) {
                if let Some((_, at)) = under_way.pop_front() {
                    let at: InFlight = at;
                    at.heard(30_000, 200, now);
                }
            }
            let at = balancer.pick(&endpoints, &whoever(now)).unwrap();
            if request >= 1_000 && at.endpoint().place == 0 {
                at.heard(300, 404, now);
                turns[0] += usize::from(request >= 2_000);
            } else {
                turns[usize::from(at.endpoint().place)] += usize::from(request >= 2_000);
                under_way.push_back((now + Duration::from_millis(30), at));
            }
        }
        assert!((800..1_200).contains(&turns[0]), "{balance:?}: {turns:?}");
    }
}

#[test]
fn in_a_panic_nobody_who_was_ejected_is_spared() {
    let (endpoints, now) = endpoints(4);
    take_down(&endpoints[3], now);
    let ejected = |endpoint: &Arc<Endpoint>| (0..5).for_each(|_| enter(endpoint, false, now).ended(Class::Reset, now));
    endpoints[1..3].iter().for_each(ejected);
    assert!(is_panicking(&endpoints, now));
    let balancer = balancer(Balance::PeakEwma, limits(None, None), &endpoints, now);
    let turns = turns(&balancer, &endpoints, &whoever(now), 3_000);
    assert!(turns[..3].iter().all(|turns| (800..1_200).contains(turns)), "{turns:?}");
}

#[test]
fn a_request_without_the_key_goes_to_whoever_is_least_busy() {
    let (endpoints, now) = endpoints(2);
    let balancer = balancer(Balance::Hash(HashKey::Path), limits(None, None), &endpoints, now);
    let _busy = enter(&endpoints[0], false, now);
    assert_eq!(turns(&balancer, &endpoints, &whoever(now), 20), [0, 20]);
}

#[test]
fn a_version_whose_endpoints_fail_is_used_as_a_whole_however_many_they_are() {
    let (endpoints, now) = endpoints(40);
    let ejected = |endpoint: &Arc<Endpoint>| (0..5).for_each(|_| enter(endpoint, false, now).ended(Class::Reset, now));
    endpoints.iter().take(20).for_each(ejected);
    endpoints.iter().skip(20).take(10).for_each(|endpoint| take_down(endpoint, now));
    assert!(is_panicking(&endpoints, now), "10 of 40 are well");
    let balancer = balancer(Balance::PeakEwma, limits(None, None), &endpoints, now);
    let turns = turns(&balancer, &endpoints, &whoever(now), 6_000);
    assert!(turns[..20].iter().all(|turns| *turns > 0), "{turns:?}");
    assert_eq!(turns[20..30].iter().sum::<usize>(), 0, "nobody waits for who cannot be connected to");
}

#[test]
fn no_key_tries_an_endpoint_that_is_down_while_another_is_up() {
    let (endpoints, now) = endpoints(5);
    let balancer = balancer(Balance::Hash(HashKey::Path), limits(None, None), &endpoints, now);
    endpoints[1..4].iter().for_each(|endpoint| take_down(endpoint, now));
    endpoints[4].connected(now);
    let later = now + Duration::from_mins(1);
    let picked =
        |number, repeats| place(&balancer.pick(&endpoints, &Ask { repeats, ..by_key(number, later) }).unwrap());
    assert!((0..200).all(|number| [0, 4].contains(&picked(number, false))));
    assert!((0..200).all(|number| picked(number, true) == 4), "in vain somewhere, they go where connections are made");
    [0, 4].iter().for_each(|place| take_down(&endpoints[*place], later));
    assert!((1..4).contains(&picked(1, false)), "one of those that are due");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However the keys are spread, a single one included, and whoever is down.
    #[test]
    fn no_endpoint_has_more_than_a_quarter_more_than_the_average_and_a_few(
        count in 1_u16..30,
        keys in 1_u64..50,
        requests in 1_u64..900,
        down in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let (endpoints, now) = endpoints(count);
        down.iter().for_each(|index| take_down(index.get(&endpoints), now));
        let live = endpoints.iter().filter(|endpoint| endpoint.is_up()).count() as u64;
        prop_assume!(live > 0);
        let balancer = balancer(Balance::Hash(HashKey::Path), limits(None, None), &endpoints, now);
        let mut held = Vec::new();
        for request in 1..=requests {
            held.push(balancer.pick(&endpoints, &by_key(request % keys, now)).unwrap());
            let most = endpoints.iter().map(|endpoint| endpoint.in_flight()).max().unwrap();
            let bound = (request * 5).div_ceil(live * 4).max(32);
            prop_assert!(most <= bound, "{most} of {request} requests, at most {bound} at each of {live}");
        }
    }

    /// Whatever is down, at its limit, or asked for.
    #[test]
    fn whoever_is_picked_may_be_tried_and_nobody_is_left_out_who_may(
        states in prop::collection::vec((any::<bool>(), 0_u32..3), 1..20),
        key in prop::option::of(any::<u64>()),
        avoid in prop::option::of(any::<prop::sample::Index>()),
        repeats in any::<bool>(),
    ) {
        let (endpoints, now) = endpoints(states.len() as u16);
        let mut held = Vec::new();
        for ((is_down, busy), endpoint) in states.iter().zip(&endpoints) {
            if *is_down {
                take_down(endpoint, now);
            }
            held.extend((0..*busy).map(|_| enter(endpoint, false, now)));
        }
        let avoid = avoid.map(|index| index.index(endpoints.len()));
        let may = |place: usize| !states[place].0 && states[place].1 < 2 && avoid != Some(place);
        let balance = if key.is_some() { Balance::Hash(HashKey::Path) } else { Balance::PeakEwma };
        let balancer = balancer(balance, limits(None, Some(2)), &endpoints, now);
        let ask = Ask { key, avoid: avoid.map(|place| &*endpoints[place]), repeats, now };
        match balancer.pick(&endpoints, &ask) {
            Ok(picked) => prop_assert!(may(place(&picked)), "{}", place(&picked)),
            Err(_) => prop_assert!(!(0..states.len()).any(may), "somebody would have had room"),
        }
    }
}
