use std::time::{Duration, Instant};

use config::{Ejection, Fraction, HealthCheck, HealthQuestion};
use meter::Class;

use super::State;
use crate::endpoint::picking::pick;
use crate::endpoint::{self, Address, Care, Contact, Endpoint, InFlight, is_panicking};
use std::sync::Arc;

/// The endpoints of a version, and a clock that stands still.
struct World {
    endpoints: Vec<Arc<Endpoint>>,
    now: Instant,
}

fn check() -> HealthCheck {
    HealthCheck::of(HealthQuestion::Connect)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

impl World {
    fn of(count: u16) -> Self {
        Self::with(count, Some(Ejection::default()))
    }

    fn with(count: u16, ejection: Option<Ejection>) -> Self {
        let care = Care { ejection, health: Some(check()), ..Care::usual(usize::from(count)) };
        let (care, now) = (Arc::new(care), Instant::now());
        let endpoint = |place| {
            let written = config::Endpoint::Tcp { host: "127.0.0.1".into(), port: 1 + place, tls: false };
            let address = Address::Tcp(([127, 0, 0, 1], 1 + place).into());
            Arc::new(Endpoint::new(written, address, place, &Contact::plain(), &care, now))
        };
        Self { endpoints: (0..count).map(endpoint).collect(), now }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// A request that goes to this endpoint, whatever is known of it.
    fn request(&self, place: usize) -> InFlight {
        endpoint::picking::enter(&self.endpoints[place], false, self.now)
    }

    fn answer(&self, place: usize, class: Class, times: usize) {
        (0..times).for_each(|_| self.request(place).ended(class, self.now));
    }

    fn state(&self, place: usize) -> State {
        self.endpoints[place].standing(self.now).state
    }

    fn check(&self, place: usize, passes: bool) {
        if passes {
            self.endpoints[place].passed_check(&check(), self.now);
        } else {
            self.endpoints[place].failed_check(&check(), "it answered 503", self.now);
        }
    }

    /// How many of a thousand choices fall on each endpoint.
    fn thousand(&self) -> Vec<usize> {
        let mut chosen = vec![0; self.endpoints.len()];
        for _ in 0..1_000 {
            chosen[usize::from(pick(&self.endpoints, None, self.now).unwrap().endpoint().place)] += 1;
        }
        chosen
    }
}

#[test]
fn an_endpoint_whose_requests_fail_in_a_row_is_ejected_for_a_while() {
    for class in [Class::ServerError, Class::GrpcError, Class::Timeout, Class::Reset, Class::ProtocolError] {
        let mut world = World::of(3);
        world.answer(1, class, 4);
        assert_eq!(world.state(1), State::Well, "{class:?}");
        world.answer(1, class, 1);
        assert_eq!(world.state(1), State::Ejected, "{class:?}");
        assert_eq!(world.thousand()[1], 0, "{class:?}");
        assert_eq!(world.endpoints[1].care.counts().ejections, 1);
        let standing = world.endpoints[1].standing(world.now);
        assert_eq!(standing.next_try, standing.since.map(|since| since + seconds(10)));
        world.pass(seconds(11));
        assert_eq!(world.state(1), State::Well, "{class:?}");
    }
}

#[test]
fn one_good_answer_begins_the_row_anew_and_a_client_that_leaves_does_not() {
    let world = World::of(3);
    world.answer(1, Class::ServerError, 4);
    world.answer(1, Class::ClientError, 1);
    world.answer(1, Class::ServerError, 4);
    assert_eq!(world.state(1), State::Well);
    world.answer(1, Class::ClientAbort, 10);
    world.answer(1, Class::Local, 10);
    assert_eq!(world.state(1), State::Well);
    world.answer(1, Class::ServerError, 1);
    assert_eq!(world.state(1), State::Ejected);
}

#[test]
fn each_ejection_in_a_row_is_twice_as_long_up_to_five_minutes() {
    let mut world = World::of(3);
    for length in [10, 20, 40, 80, 160, 300, 300] {
        world.answer(0, Class::ServerError, 5);
        world.pass(seconds(length) - Duration::from_millis(1));
        assert_eq!(world.state(0), State::Ejected, "{length} s");
        world.pass(Duration::from_millis(1));
        assert_eq!(world.state(0), State::Well, "{length} s");
    }
    world.pass(seconds(300));
    world.answer(0, Class::ServerError, 5);
    world.pass(seconds(10));
    assert_eq!(world.state(0), State::Well, "after five good minutes it begins anew");
}

#[test]
fn requests_that_began_before_an_ejection_was_over_do_not_bring_on_the_next() {
    let mut world = World::of(3);
    let waiting: Vec<_> = (0..100).map(|_| world.request(0)).collect();
    waiting[..5].iter().for_each(|request| request.ended(Class::Timeout, world.now));
    world.pass(seconds(12));
    waiting[5..].iter().for_each(|request| request.ended(Class::Timeout, world.now));
    assert_eq!(world.state(0), State::Well);
    assert_eq!(world.endpoints[0].care.counts().ejections, 1);
}

#[test]
fn no_more_are_ejected_than_the_rule_lets_be_and_never_the_only_one() {
    for (count, most, wanted) in [(1, 100, 0), (2, 50, 1), (3, 50, 1), (4, 50, 2), (10, 10, 1), (10, 9, 0), (3, 100, 3)]
    {
        let most = Fraction::new(f64::from(most) / 100.0).unwrap();
        let world = World::with(count, Some(Ejection { most, ..Ejection::default() }));
        (0..usize::from(count)).for_each(|place| world.answer(place, Class::ServerError, 50));
        let ejected = (0..usize::from(count)).filter(|place| world.state(*place) == State::Ejected).count();
        assert_eq!(ejected, wanted, "{most} of {count}");
    }
}

#[test]
fn one_that_comes_back_makes_room_for_another() {
    let mut world = World::of(3);
    world.answer(0, Class::ServerError, 5);
    world.answer(1, Class::ServerError, 5);
    assert_eq!((world.state(0), world.state(1)), (State::Ejected, State::Well));
    world.pass(seconds(10));
    world.answer(1, Class::ServerError, 5);
    assert_eq!((world.state(0), world.state(1)), (State::Well, State::Ejected));
}

/// A request waits in vain at each of these moments, in seconds after an answer that took 1 ms.
fn waits(world: &mut World, place: usize, waits: &[u64]) -> Vec<bool> {
    let endpoint = Arc::clone(&world.endpoints[place]);
    world.request(place).heard(1_000, 200, world.now);
    world.pass(seconds(1));
    let since = world.now;
    waits.iter().map(|wait| endpoint.waits_in_vain(since, seconds(15), &[], since + seconds(*wait))).collect()
}

#[test]
fn an_endpoint_that_lets_two_requests_wait_far_longer_than_usual_and_answers_nobody_hangs() {
    let mut world = World::of(3);
    assert_eq!(waits(&mut world, 1, &[2, 3]), [false, true]);
    assert_eq!(world.state(1), State::Well, "it may be one request that takes long");
    let since = world.now;
    assert_eq!(waits(&mut world, 1, &[4]), [true]);
    assert_eq!(world.state(1), State::Well, "it has answered somebody in between");
    assert!(
        world.endpoints[1].waits_in_vain(world.now, seconds(1), &[], world.now + seconds(1)),
        "who waits for no more"
    );
    let standing = world.endpoints[1].standing(world.now + seconds(1));
    assert_eq!(
        (standing.state, standing.reason.unwrap().as_str()),
        (State::Ejected, "it hangs: requests get no answer there")
    );
    let (before, after) = (since - seconds(5), world.now);
    let hangs = |since| world.endpoints[1].has_hung_since(since, world.now + seconds(2));
    assert_eq!((hangs(before), hangs(after)), (false, true), "who was answered meanwhile may wait");
    // In the end it is well, and it takes two again.
    world.pass(seconds(20));
    let since = world.now;
    world.pass(seconds(15));
    assert!(world.endpoints[1].waits_in_vain(since, seconds(15), &[], world.now));
    assert_eq!(world.state(1), State::Well, "what led to the ejection is over with it");
    assert_eq!((world.state(1), waits(&mut world, 1, &[5]), world.state(1)), (State::Well, vec![true], State::Well));
}

#[test]
fn one_that_never_answered_hangs_by_what_is_usual_at_others_and_is_ejected_like_one_that_fails() {
    let (stable, canary) = (World::of(2), World::of(2));
    let endpoint = &canary.endpoints[0];
    let waits = |wait| endpoint.waits_in_vain(canary.now, seconds(15), &stable.endpoints, canary.now + seconds(wait));
    assert!(!waits(10), "nobody knows how long an answer takes");
    stable.request(0).heard(1_000, 200, stable.now);
    stable.request(1).heard(200_000, 200, stable.now);
    assert!(!waits(2) && !waits(3), "the slower of the others may take 200 ms");
    assert!(waits(4));
    assert!(!endpoint.hangs_from_its_start(canary.now), "it may be one request that takes long");
    assert!(waits(4) && endpoint.hangs_from_its_start(canary.now));
    assert!(waits(4) && waits(4));
    assert_eq!(canary.state(0), State::Well, "it may be cold");
    assert!(waits(4));
    assert_eq!(canary.endpoints[0].standing(canary.now + seconds(5)).state, State::Ejected);
}

#[test]
fn one_that_never_answered_and_is_the_only_one_hangs_until_it_answers() {
    let (stable, mut canary) = (World::of(1), World::of(1));
    stable.request(0).heard(1_000, 200, stable.now);
    let endpoint = Arc::clone(&canary.endpoints[0]);
    let since = canary.now;
    canary.pass(seconds(4));
    (0..20).for_each(|_| assert!(endpoint.waits_in_vain(since, seconds(15), &stable.endpoints, canary.now)));
    assert_eq!((canary.state(0), endpoint.hangs_from_its_start(since)), (State::Well, true));
    canary.request(0).heard(10, 500, canary.now);
    assert!(!endpoint.hangs_from_its_start(since), "it answers, if badly");
}

#[test]
fn a_time_that_is_over_counts_towards_an_ejection_and_makes_nobody_slow_who_can_be_ejected() {
    let mut world = World::of(3);
    (0..3).for_each(|place| world.request(place).heard(1_000, 200, world.now));
    world.pass(seconds(1));
    let waited = |world: &World, place, class| world.request(place).waited_in_vain(15_000_000, class, world.now);
    waited(&world, 0, Class::Timeout);
    assert!(world.thousand()[0] > 200);
    // Nobody else sees that clients have had enough.
    waited(&world, 0, Class::ClientAbort);
    assert!(world.thousand()[0] < 20);
    // As many as may be are ejected: an average of its own is all that keeps requests away.
    world.answer(1, Class::ServerError, 5);
    waited(&world, 2, Class::Timeout);
    let chosen = world.thousand();
    assert!(chosen[1] == 0 && chosen[0].abs_diff(chosen[2]) < 200, "{chosen:?}");
}

#[test]
fn without_the_rule_and_where_as_many_as_may_be_are_ejected_nobody_hangs() {
    let mut world = World::with(3, None);
    assert_eq!((waits(&mut world, 0, &[5, 5, 5]), world.state(0)), (vec![true; 3], State::Well));
    let mut world = World::of(2);
    assert_eq!((waits(&mut world, 0, &[5, 5]), waits(&mut world, 1, &[5, 5])), (vec![true; 2], vec![true; 2]));
    world.pass(seconds(5));
    assert_eq!((world.state(0), world.state(1)), (State::Ejected, State::Well));
    let later = world.now + seconds(1);
    assert!(!world.endpoints[1].has_hung_since(world.now - seconds(4), later), "who is there stays there");
}

#[test]
fn an_endpoint_that_cannot_be_connected_to_is_down_and_not_ejected() {
    let mut world = World::of(3);
    for _ in 0..20 {
        world.pass(seconds(40));
        let request = world.request(0);
        request.failed_to_connect(world.now);
        request.ended(Class::ConnectError, world.now);
    }
    assert_eq!(world.state(0), State::Down);
    world.endpoints[0].connected(world.now);
    assert_eq!(world.state(0), State::Well);
}

#[test]
fn without_the_rule_nobody_is_ejected() {
    let world = World::with(3, None);
    world.answer(0, Class::ServerError, 100);
    assert_eq!(world.state(0), State::Well);
}

#[test]
fn an_outlier_is_ejected_and_says_why() {
    let world = World::of(5);
    for place in 0..5 {
        world.answer(place, Class::Success, 150);
    }
    for _ in 0..50 {
        world.answer(3, Class::ServerError, 1);
        world.answer(3, Class::Success, 1);
    }
    endpoint::eject_outliers(&world.endpoints, world.now);
    let states: Vec<_> = (0..5).map(|place| world.state(place)).collect();
    assert_eq!(states, [State::Well, State::Well, State::Well, State::Ejected, State::Well]);
    assert!(world.endpoints[3].standing(world.now).reason.unwrap().contains("more often"));
}

#[test]
fn who_comes_after_an_endpoint_fell_ill_is_not_let_down_by_it_however_often_it_falls_ill_in_ten_seconds() {
    let mut world = World::of(3);
    let fall = |world: &World| {
        world.endpoints[0].connected(world.now);
        (0..3).for_each(|_| world.request(0).failed_to_connect(world.now));
        assert_eq!(world.state(0), State::Down);
    };
    let lets_down = |world: &World, came| world.endpoints[0].lets_down(&world.endpoints, came, world.now);
    let came = world.now;
    fall(&world);
    assert!(lets_down(&world, came));
    world.pass(seconds(4));
    let later = world.now;
    world.pass(seconds(1));
    fall(&world);
    assert!(lets_down(&world, came) && !lets_down(&world, later));
    world.pass(seconds(6));
    fall(&world);
    assert!(lets_down(&world, later), "more than ten seconds after the first time");
}

#[test]
fn an_outlier_that_is_ejected_already_is_not_ejected_for_longer() {
    let mut world = World::of(5);
    (0..5).for_each(|place| world.answer(place, Class::Success, 150));
    world.answer(3, Class::ServerError, 100);
    assert_eq!(world.state(3), State::Ejected);
    world.pass(seconds(9));
    endpoint::eject_outliers(&world.endpoints, world.now);
    assert_eq!(world.endpoints[3].care.counts().ejections, 1);
    world.pass(seconds(1));
    assert_eq!(world.state(3), State::Well);
}

#[test]
fn checks_that_fail_in_a_row_make_an_endpoint_unhealthy_and_checks_that_pass_well_again() {
    let mut world = World::of(3);
    assert_eq!(world.state(2), State::Well, "it begins well");
    for passes in [false, false, true, false, false] {
        world.check(2, passes);
        assert_eq!(world.state(2), State::Well);
    }
    world.check(2, false);
    let standing = world.endpoints[2].standing(world.now);
    assert_eq!((standing.state, standing.since), (State::Unhealthy, Some(world.now)));
    assert_eq!(standing.reason.unwrap(), "its health check fails: it answered 503");
    assert_eq!(world.thousand()[2], 0);
    world.pass(seconds(5));
    for passes in [true, false, true] {
        world.check(2, passes);
        assert_eq!(world.state(2), State::Unhealthy);
    }
    world.check(2, true);
    assert_eq!(world.state(2), State::Well);
    let counts = world.endpoints[2].care.counts();
    assert_eq!((counts.checks_passed, counts.checks_failed), (4, 6));
}

#[test]
fn what_checks_came_to_is_kept_over_a_reload_while_the_question_is_the_same() {
    let world = World::of(2);
    (0..3).for_each(|_| world.check(0, false));
    let before = &world.endpoints[0];
    let same = Arc::new(Care { slow_start: seconds(1), ..Care::clone(&before.care) });
    let kept = before.under(1, &Contact::plain(), &same);
    assert_eq!(kept.standing(world.now).state, State::Unhealthy, "at another place, with another slow start");
    let asked = HealthCheck { healthy: 9, ..check() };
    let other = Arc::new(Care { health: Some(asked), ..Care::clone(&before.care) });
    assert_eq!(before.under(0, &Contact::plain(), &other).standing(world.now).state, State::Well);
}

#[test]
fn a_rule_that_is_taken_away_brings_back_who_is_ejected() {
    let world = World::of(2);
    world.answer(0, Class::ServerError, 5);
    let without = Arc::new(Care { ejection: None, ..Care::clone(&world.endpoints[0].care) });
    let after = world.endpoints[0].under(0, &Contact::plain(), &without);
    assert_eq!(after.standing(world.now).state, State::Well);
}

#[test]
fn whoever_comes_back_has_a_tenth_of_its_share_at_first_and_all_of_it_in_the_end() {
    let down = |world: &World| {
        (0..3).for_each(|_| world.request(0).failed_to_connect(world.now));
        world.endpoints[0].connected(world.now);
    };
    let unhealthy = |world: &World| {
        (0..3).for_each(|_| world.check(0, false));
        (0..2).for_each(|_| world.check(0, true));
    };
    let ejected = |world: &World| world.answer(0, Class::ServerError, 5);
    for (bring_back, away) in [(&down as &dyn Fn(&World), 0), (&unhealthy, 0), (&ejected, 10)] {
        let mut world = World::of(3);
        bring_back(&world);
        world.pass(seconds(away));
        let share = |world: &World| world.endpoints[0].standing(world.now).share;
        assert!((share(&world) - 0.1).abs() < 1e-9);
        let at_first = world.thousand()[0];
        assert!((1..120).contains(&at_first), "{at_first}");
        world.pass(seconds(5));
        assert!((share(&world) - 0.55).abs() < 1e-9);
        world.pass(seconds(5));
        assert!((share(&world) - 1.0).abs() < 1e-9);
        assert!(world.thousand()[0] > 200);
    }
}

#[test]
fn one_that_comes_back_takes_everything_where_there_is_no_other() {
    let world = World::of(1);
    (0..3).for_each(|_| world.request(0).failed_to_connect(world.now));
    world.endpoints[0].connected(world.now);
    assert_eq!(world.thousand(), [1_000]);
}

#[test]
fn a_check_that_passes_brings_back_an_endpoint_that_is_down() {
    let world = World::of(2);
    (0..3).for_each(|_| world.request(0).failed_to_connect(world.now));
    assert_eq!(world.state(0), State::Down);
    world.check(0, true);
    assert_eq!(world.state(0), State::Well);
}

#[test]
fn where_fewer_than_half_are_well_all_are_used_but_those_that_are_down() {
    let world = World::of(4);
    (0..3).for_each(|_| world.check(0, false));
    (0..3).for_each(|_| world.check(1, false));
    assert!(!is_panicking(&world.endpoints, world.now), "two of four");
    assert_eq!(world.thousand()[..2], [0, 0]);
    (0..3).for_each(|_| world.request(2).failed_to_connect(world.now));
    assert!(is_panicking(&world.endpoints, world.now));
    let chosen = world.thousand();
    assert!(chosen[0] > 100 && chosen[1] > 100 && chosen[3] > 100, "{chosen:?}");
    assert_eq!(chosen[2], 0);
}
