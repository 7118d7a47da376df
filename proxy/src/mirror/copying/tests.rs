use super::*;
use std::time::Duration;

use meter::MirrorCounts;

use crate::mirror::outbox;
use crate::mirror::sending::Deliveries;
use crate::mirror::tests::service;
use crate::passes::Instance;
use crate::told::Told;

/// A service all of whose requests are copied, and who would send the copies.
struct World {
    service: Arc<Service>,
    outbox: Outbox,
    deliveries: Deliveries,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut config::MirrorRules)) -> Self {
        let mut service = Service::clone(&service(""));
        let mut written = config::Service::clone(&service.written);
        change(&mut written.mirror);
        service.written = Arc::new(written);
        let (outbox, deliveries) = outbox();
        Self { service: Arc::new(service), outbox, deliveries, now: Instant::now() }
    }

    fn begin(&self, share: Weight, head: &RequestHeader, exchange: Exchange, has_body: bool) -> Mirroring {
        let original = Original { head, connection: None, socket: None, trace: None, instance: None };
        Mirroring::begin(share, &self.service, exchange, has_body, original, &self.outbox, self.now)
    }

    fn get(&self) -> Mirroring {
        self.begin(Weight::FULL, &head("GET", &[]), Exchange::Response, false)
    }

    fn post(&self) -> Mirroring {
        self.begin(Weight::FULL, &head("POST", &[]), Exchange::Response, true)
    }

    fn counts(&self) -> MirrorCounts {
        self.service.versions[1].mirror.counts()
    }

    fn unsent(&self, why: Unsent) -> u64 {
        self.counts().unsent(why)
    }

    /// The copy that was handed over, if one was.
    fn handed_over(&mut self) -> Option<Delivery> {
        self.deliveries.try_recv().ok()
    }
}

fn head(method: &str, fields: &[(&'static str, &'static str)]) -> RequestHeader {
    let mut head = RequestHeader::build(method, b"/cart", None).unwrap();
    for (name, value) in [("host", "shop")].iter().chain(fields) {
        head.append_header(*name, *value).unwrap();
    }
    head
}

fn answer(status: u16, fields: &[(&'static str, &'static str)]) -> ResponseHeader {
    let mut head = ResponseHeader::build(status, None).unwrap();
    for (name, value) in fields {
        head.append_header(*name, *value).unwrap();
    }
    head
}

fn all(rules: &mut config::MirrorRules) {
    rules.methods.push("POST".into());
}

fn canarys(body: &[u8]) -> End {
    let mut print = Print::new();
    print.take(body);
    End::Answered(Answer { status: 200, grpc: None, fields: HeaderMap::new(), body: print.printed() })
}

#[test]
fn a_request_without_a_body_is_handed_over_when_it_sets_out_and_once() {
    let mut world = World::new();
    let mut mirroring = world.get();
    assert!(world.handed_over().is_none());
    mirroring.sets_out();
    mirroring.takes(None, true, world.now);
    mirroring.begin_again();
    mirroring.sets_out();
    let copy = world.handed_over().unwrap();
    assert_eq!((copy.head.method.as_str(), copy.body.len()), ("GET", 0));
    assert!(world.handed_over().is_none());
    assert_eq!(world.counts(), MirrorCounts { sent: 1, ..MirrorCounts::default() });
}

#[test]
fn the_share_is_that_of_the_requests_which_are_copied() {
    fastrand::seed(7);
    let world = World::with(|rules| rules.in_flight = u32::MAX);
    let tenth = Weight::from_basis_points(1_000).unwrap();
    let copied = |share| {
        let begun = (0..10_000).map(|_| world.begin(share, &head("GET", &[]), Exchange::Response, false));
        begun.filter(|mirroring| mirroring.0.is_some()).count()
    };
    // A thousand expected, with a standard deviation of 30.
    assert!((850..=1_150).contains(&copied(tenth)), "a tenth");
    assert_eq!((copied(Weight::ZERO), copied(Weight::FULL)), (0, 10_000));
}

#[test]
fn what_cannot_be_copied_is_counted_with_its_reason() {
    let world = World::new();
    let begun =
        |head: &RequestHeader, exchange, has_body| world.begin(Weight::FULL, head, exchange, has_body).0.is_some();
    for method in ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "get"] {
        assert!(!begun(&head(method, &[]), Exchange::Response, false), "{method}");
    }
    assert_eq!(world.unsent(Unsent::Method), 6);
    assert!(
        !begun(&head("GET", &[]), Exchange::Tunnel(0), false) && !begun(&head("GET", &[]), Exchange::Events, false)
    );
    assert_eq!(world.unsent(Unsent::Streamed), 2);
    assert!(begun(&head("GET", &[("content-length", "65536")]), Exchange::Response, true));
    assert!(!begun(&head("GET", &[("content-length", "65537")]), Exchange::Response, true));
    assert_eq!(world.unsent(Unsent::TooLarge), 1);
    for name in ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"] {
        assert!(!begun(&head("GET", &[(name, "\"of-stable\"")]), Exchange::Response, false), "{name}");
    }
    assert_eq!(world.unsent(Unsent::Conditional), 5);
    for method in ["GET", "HEAD", "OPTIONS"] {
        assert!(begun(&head(method, &[]), Exchange::Response, false), "{method}");
    }
}

#[test]
fn a_copy_is_not_copied_again_and_a_client_cannot_make_its_request_pass_for_one() {
    let mut service = Service::clone(&World::new().service);
    service.rules = Arc::new(config::Rules { trusted: vec!["10.0.0.0/8".parse().unwrap()], ..Default::default() });
    let world = World { service: Arc::new(service), ..World::new() };
    let (here, elsewhere) = (Instance::new(), Instance::new());
    let passed = |by: &Instance| {
        let (mut head, mut told) = (head("GET", &[("tidegate-mirror", "1")]), Told::nothing());
        by.to_origin(&mut told, &head.headers);
        crate::fields::change(&mut head, |head| told.set(&mut head.headers));
        head
    };
    for (head, socket, is_copied) in [
        (head("GET", &[("tidegate-mirror", "1")]), [203, 0, 113, 7], true),
        (head("GET", &[("tidegate-mirror", "1")]), [10, 0, 0, 1], false),
        (passed(&elsewhere), [203, 0, 113, 7], true),
        // It is its own canary, and trusts nobody.
        (passed(&here), [203, 0, 113, 7], false),
    ] {
        let socket = Some(socket.into());
        let original = Original { head: &head, connection: None, socket, trace: None, instance: Some(&here) };
        let (service, outbox) = (&world.service, &world.outbox);
        let begun = Mirroring::begin(Weight::FULL, service, Exchange::Response, false, original, outbox, world.now);
        assert_eq!(begun.0.is_some(), is_copied, "{socket:?}: {:?}", head.headers);
    }
    assert_eq!(world.counts(), MirrorCounts::default());
}

#[test]
fn a_body_goes_with_its_request_once_it_is_whole() {
    let mut world = World::with(all);
    let mut mirroring = world.post();
    mirroring.sets_out();
    mirroring.takes(Some(&Bytes::from_static(b"one ")), false, world.now);
    assert!(world.handed_over().is_none());
    mirroring.takes(Some(&Bytes::from_static(b"two")), true, world.now);
    let copy = world.handed_over().unwrap();
    assert_eq!(copy.body.concat(), b"one two");
    assert_eq!(copy.head.headers[header::CONTENT_LENGTH], "7");
}

/// Its end may be seen after stable has answered, which would be too late.
#[test]
fn a_body_whose_length_was_told_is_whole_with_that_many_bytes() {
    let mut world = World::with(all);
    let told = head("POST", &[("content-length", "4")]);
    let mut mirroring = world.begin(Weight::FULL, &told, Exchange::Response, true);
    mirroring.takes(Some(&Bytes::from_static(b"abc")), false, world.now);
    assert!(world.handed_over().is_none());
    mirroring.takes(Some(&Bytes::from_static(b"d")), false, world.now);
    assert_eq!(world.handed_over().unwrap().body.concat(), b"abcd");
    mirroring.takes(None, true, world.now);
    assert!(world.handed_over().is_none(), "once");
}

#[test]
fn an_attempt_that_is_made_again_brings_the_body_again() {
    let mut world = World::with(all);
    let mut mirroring = world.post();
    mirroring.takes(Some(&Bytes::from_static(b"one ")), false, world.now);
    mirroring.begin_again();
    mirroring.takes(Some(&Bytes::from_static(b"one ")), false, world.now);
    mirroring.takes(Some(&Bytes::from_static(b"two")), false, world.now);
    mirroring.takes(None, true, world.now);
    assert_eq!(world.handed_over().unwrap().body.concat(), b"one two");
}

#[test]
fn a_body_that_grows_too_long_or_goes_on_for_too_long_is_let_go() {
    let mut world = World::with(all);
    let half = Bytes::from(vec![1; 40_000]);
    let mut mirroring = world.post();
    mirroring.takes(Some(&half), false, world.now);
    mirroring.takes(Some(&half), false, world.now);
    mirroring.takes(None, true, world.now);
    assert_eq!((world.unsent(Unsent::TooLarge), world.unsent(Unsent::Streamed)), (1, 0));
    let mut mirroring = world.post();
    mirroring.takes(Some(&half), false, world.now);
    mirroring.takes(None, true, world.now + Duration::from_secs(6));
    assert_eq!((world.unsent(Unsent::TooLarge), world.unsent(Unsent::Streamed)), (1, 1));
    // Stable answered before all of it had come.
    let mut mirroring = world.post();
    mirroring.takes(Some(&half), false, world.now);
    mirroring.end(Class::Success);
    assert_eq!(world.unsent(Unsent::Streamed), 2);
    assert!(world.handed_over().is_none());
}

#[test]
fn so_many_copies_are_under_way_as_may_be_and_the_others_are_dropped_and_counted() {
    let mut world = World::with(|rules| rules.in_flight = 2);
    let mut begun = [world.get(), world.get(), world.get()];
    begun.iter_mut().for_each(Mirroring::sets_out);
    assert_eq!((world.counts().sent, world.unsent(Unsent::Full)), (2, 1));
    // Now it is known before anything is copied.
    assert!(world.get().0.is_none());
    assert_eq!(world.unsent(Unsent::Full), 2);
    drop(world.handed_over());
    world.get().sets_out();
    assert_eq!((world.counts().sent, world.unsent(Unsent::Full)), (3, 2));
}

#[test]
fn a_copy_that_nobody_takes_is_dropped_and_counted() {
    let world = World::with(|rules| rules.in_flight = u32::MAX);
    for _ in 0..1_030 {
        world.get().sets_out();
    }
    assert_eq!((world.counts().sent, world.unsent(Unsent::Full)), (1_024, 6));
    assert_eq!(world.service.versions[1].mirror.under_way(), 1_024);
}

#[test]
fn stables_answer_is_that_of_its_last_attempt() {
    let mut world = World::new();
    let mut mirroring = world.get();
    mirroring.sets_out();
    mirroring.head(&answer(200, &[]));
    mirroring.hears(Some(&Bytes::from_static(b"half")));
    mirroring.begin_again();
    mirroring.head(&answer(200, &[]));
    mirroring.hears(Some(&Bytes::from_static(b"who")));
    mirroring.hears(Some(&Bytes::from_static(b"le")));
    mirroring.end(Class::Success);
    world.handed_over().unwrap().half.end(canarys(b"whole"));
    let counts = world.counts();
    assert_eq!((counts.compared, counts.body), (1, 0));
}

#[test]
fn an_answer_that_the_client_did_not_wait_for_or_that_never_ends_is_not_compared() {
    let mut world = World::new();
    for (class, fields) in
        [(Class::ClientAbort, &[][..]), (Class::Local, &[]), (Class::Success, &[("content-type", "text/event-stream")])]
    {
        let mut mirroring = world.get();
        mirroring.sets_out();
        mirroring.head(&answer(200, fields));
        mirroring.end(class);
        world.handed_over().unwrap().half.end(canarys(b"other"));
    }
    assert_eq!((world.counts().sent, world.counts().ended), (3, 0));
}

#[test]
fn a_stable_that_fails_is_not_what_the_canary_is_measured_by() {
    let mut world = World::new();
    let mut mirroring = world.get();
    mirroring.sets_out();
    mirroring.head(&answer(503, &[]));
    mirroring.end(Class::ServerError);
    world.handed_over().unwrap().half.end(canarys(b"fine"));
    let counts = world.counts();
    assert_eq!((counts.ended, counts.compared, counts.status, counts.failed), (1, 0, 0, 0));
}
