use super::*;

fn address(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn addresses(last: &[u8]) -> Arc<[IpAddr]> {
    last.iter().map(|last| address(*last)).collect()
}

fn answer(last: &[u8], ttl: u64) -> Result<Answer, NoAnswer> {
    Ok(Answer { addresses: addresses(last), ttl: Some(Duration::from_secs(ttl)), lacks: None })
}

fn failure(reason: &str) -> Result<Answer, NoAnswer> {
    Err(NoAnswer { result: Outcome::Late, reason: reason.into() })
}

/// A book of one name `shop`, and a clock that is turned by hand.
struct World {
    book: Book,
    dns: Dns,
    now: Now,
}

impl World {
    /// A moment ago `shop` resolved to these.
    fn new(last: &[u8], ttl: u64) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a moment to begin at")]
        let now = Now { at: Instant::now(), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000) };
        let mut world = Self { book: Book::new(7), dns: Dns::default(), now };
        let fresh = Learned { came_of_it: answer(last, ttl), now };
        assert_eq!(world.follow(last, Some(fresh)), []);
        world
    }

    fn follow(&mut self, last: &[u8], fresh: Option<Learned>) -> Vec<(Arc<str>, News)> {
        let mut fresh: HashMap<Arc<str>, Learned> = fresh.into_iter().map(|fresh| ("shop".into(), fresh)).collect();
        let in_use = HashMap::from([("shop".into(), addresses(last))]);
        self.book.follow(in_use, &mut fresh, &self.dns, self.now, || 1.0)
    }

    fn pass(&mut self, seconds: f64) {
        let length = Duration::from_secs_f64(seconds);
        self.now = Now { at: self.now.at + length, wall: self.now.wall + length };
    }

    /// Passes the time until `shop` is due, which is how many seconds from now.
    fn until_due(&mut self) -> f64 {
        let due = self.book.next_due().unwrap();
        let wait = due.saturating_duration_since(self.now.at).as_secs_f64();
        assert_eq!(self.book.take_due(due - Duration::from_nanos(1)), None, "not before its time");
        assert_eq!(self.book.take_due(due).as_deref(), Some("shop"));
        assert_eq!(self.book.take_due(due + Duration::from_secs(3600)), None, "not while it is asked for");
        self.pass(wait);
        wait
    }

    /// What came of asking, with the chance in the middle.
    fn learn(&mut self, came_of_it: Result<Answer, NoAnswer>) -> Vec<News> {
        self.book.learned(&"shop".into(), came_of_it, &self.dns, self.now, 0.5)
    }

    fn state(&self) -> NameState {
        self.book.states()["shop"].clone()
    }

    fn near(&mut self, seconds: f64) {
        let wait = self.until_due();
        assert!((wait - seconds).abs() < 1e-6, "due after {wait} s, not {seconds} s");
    }
}

#[test]
fn a_name_is_asked_for_again_when_its_answer_is_over_and_never_sooner_or_later_than_is_allowed() {
    let mut world = World::new(&[1], 30);
    world.near(30.0);
    world.learn(answer(&[1], 60));
    world.near(60.0);
    world.learn(answer(&[1], 0));
    world.near(1.0);
    world.learn(answer(&[1], 86_400));
    world.near(300.0);
    world.learn(Ok(Answer { addresses: addresses(&[1]), ttl: None, lacks: None }));
    world.near(300.0);
}

#[test]
fn names_that_were_learned_together_are_not_asked_for_together() {
    let mut world = World::new(&[1], 30);
    let names: Vec<Arc<str>> = (0..100).map(|number| format!("name{number}").into()).collect();
    let learned = Learned { came_of_it: answer(&[1], 30), now: world.now };
    let mut fresh = names.iter().map(|name| (Arc::clone(name), learned.clone())).collect();
    let in_use = names.iter().map(|name| (Arc::clone(name), addresses(&[1]))).collect();
    let mut number = 0;
    let chance = || {
        number += 1;
        f64::from(number) / 100.0
    };
    world.book.follow(in_use, &mut fresh, &world.dns, world.now, chance);
    let due_within = |world: &World, seconds| {
        let until = world.now.at + Duration::from_secs(seconds);
        world.book.due.iter().filter(|(due, _)| *due <= until).count()
    };
    assert_eq!([10, 20, 30].map(|seconds| due_within(&world, seconds)), [33, 66, 100]);
    // And later they come apart.
    let waits: Vec<_> = [0.0, 0.5, 1.0].map(|chance| spread(Duration::from_secs(10), chance).as_secs()).into();
    assert_eq!(waits, [9, 10, 11]);
}

#[test]
fn what_fails_keeps_the_last_addresses_is_asked_for_ever_more_seldom_and_told_once() {
    let mut world = World::new(&[1, 2], 30);
    world.near(30.0);
    let began = world.now.wall;
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    assert_eq!(world.learn(failure("a")), [News::Failing("a".into(), Some(last))]);
    for wait in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
        assert_eq!(world.state().addresses, addresses(&[1, 2]));
        world.near(wait);
        assert_eq!(world.learn(failure("b")), []);
    }
    let state = world.state();
    assert_eq!(state.answered, Some(last));
    assert_eq!(state.failing, Some(NameFailing { reason: "b".into(), since: began }));
    assert!(world.book.take_moved().is_empty());
    world.near(30.0);
    assert_eq!(world.learn(answer(&[1, 2], 30)), [News::Resolves(began)]);
    assert_eq!((world.state().failing, world.state().answered), (None, Some(world.now.wall)));
    world.near(30.0);
    world.learn(failure("c"));
    world.near(1.0);
    let counts: HashMap<_, _> = world.book.counts().into_iter().collect();
    assert_eq!((counts["answered"], counts["timeout"], counts["no_such_name"]), (1, 9, 0));
}

#[test]
fn a_change_is_handed_out_once_and_again_where_a_reload_has_brought_back_what_was_before() {
    let mut world = World::new(&[1], 30);
    world.until_due();
    assert_eq!(world.learn(answer(&[2, 3], 30)), [News::Moved(addresses(&[2, 3]))]);
    assert_eq!(world.book.take_moved(), HashMap::from([("shop".into(), addresses(&[2, 3]))]));
    assert!(world.book.take_moved().is_empty());
    // A reload had asked before the name moved.
    world.follow(&[1], None);
    assert_eq!(world.book.take_moved(), HashMap::from([("shop".into(), addresses(&[2, 3]))]));
    assert!(world.book.take_moved().is_empty());
}

#[test]
fn a_name_that_is_new_and_failed_lives_on_its_kept_addresses_and_says_so() {
    let mut world = World::new(&[1], 30);
    let fresh = Learned { came_of_it: failure("dead"), now: world.now };
    let in_use = HashMap::from([("kept".into(), addresses(&[9]))]);
    let mut fresh = HashMap::from([("kept".into(), fresh)]);
    let news = world.book.follow(in_use, &mut fresh, &world.dns, world.now, || 0.5);
    assert_eq!(news, [("kept".into(), News::Failing("dead".into(), None))]);
    let state = world.book.states()["kept"].clone();
    assert_eq!((state.addresses, state.answered, state.failing.is_some()), (addresses(&[9]), None, true));
    assert!(!world.book.states().contains_key("shop"), "no longer in use");
    assert_eq!(world.learn(answer(&[4], 30)), [], "an answer that comes too late");
}

#[test]
fn of_very_many_addresses_some_are_used_and_the_same_ones_while_they_are_there() {
    let mut world = World::new(&[1], 30);
    world.until_due();
    let many: Vec<u8> = (1..=200).collect();
    world.learn(answer(&many, 30));
    let before = world.state().addresses;
    assert_eq!(before.len(), MOST_ADDRESSES);
    assert!(before.is_sorted() && before.iter().any(|used| *used > address(64)), "not the first alone: {before:?}");
    world.until_due();
    // One that was not used leaves, and the order is another.
    let unused = *many.iter().find(|last| !before.contains(&address(**last))).unwrap();
    let fewer: Vec<u8> = many.iter().copied().filter(|last| *last != unused).rev().collect();
    assert_eq!(world.learn(answer(&fewer, 30)), []);
    assert_eq!(world.state().addresses, before);
}

#[test]
fn after_a_change_of_the_system_every_name_is_due_at_once() {
    let mut world = World::new(&[1], 300);
    world.book.ask_all(world.now.at);
    world.near(0.0);
    // One that is being asked for is not asked for twice.
    world.book.ask_all(world.now.at);
    assert_eq!(world.book.next_due(), None);
    world.learn(answer(&[1], 30));
    world.near(30.0);
}
