//! Endpoints that are written with a name: as many as it has addresses, and others when it has others.

use super::*;
use crate::endpoint::State;

const NAMED: &str = "services: { shop: { stable: v1, versions: { v1: { endpoints: ['shop:80', '127.0.0.1:1', 'shop:81'] }, \
    v2: { endpoints: ['127.0.0.1:2'], balance: { hash: path } } } }, other: { path: /o, versions: { v1: { endpoints: ['127.0.0.1:3'] } } } }";

/// The endpoints of `shop:80` have these addresses, those of `shop:81` the same with another port.
fn named(last: &[u8]) -> Addresses {
    let at = |port: u16| -> Arc<[SocketAddr]> { last.iter().map(|last| ([10, 0, 0, *last], port).into()).collect() };
    [80, 81].map(|port| (config::Endpoint::Tcp { host: "shop".into(), port, tls: false }, at(port))).into()
}

fn publisher_with(last: &[u8]) -> Publisher {
    let configuration = config::parse(NAMED, "test.yaml").unwrap().configuration;
    let written = configuration.services.iter().flat_map(|s| &s.versions).flat_map(|v| &v.endpoints);
    let mut addresses: Addresses =
        written.filter(|e| e.name().is_none()).map(|e| (e.clone(), at(&[&e.to_string()]))).collect();
    addresses.extend(named(last));
    let mut publisher = Publisher::new(1);
    publisher.install(&configuration, &addresses, |_| None, Instant::now());
    publisher
}

/// Address and place of each endpoint of v1.
fn endpoints(publisher: &Publisher) -> Vec<(String, u16)> {
    shop(publisher).versions[0].endpoints.iter().map(|e| (e.address.to_string(), e.place)).collect()
}

fn shown(all: &[(&str, u16)]) -> Vec<(String, u16)> {
    all.iter().map(|(address, place)| ((*address).to_owned(), *place)).collect()
}

#[test]
fn every_address_of_a_name_is_an_endpoint_and_knows_the_name() {
    let publisher = publisher_with(&[1, 2]);
    let all = [("10.0.0.1:80", 0), ("10.0.0.2:80", 1), ("127.0.0.1:1", 2), ("10.0.0.1:81", 3), ("10.0.0.2:81", 4)];
    assert_eq!(endpoints(&publisher), shown(&all));
    let names: Vec<_> = shop(&publisher).versions[0].endpoints.iter().map(|e| e.written.to_string()).collect();
    assert_eq!(names, ["shop:80", "shop:80", "127.0.0.1:1", "shop:81", "shop:81"]);
}

#[test]
fn who_stays_is_the_same_endpoint_at_the_same_place_and_who_comes_takes_a_free_one() {
    let mut publisher = publisher_with(&[2, 3]);
    let before = shop(&publisher);
    publisher.readdress(&named(&[1, 3, 4]), Instant::now());
    let all = [
        ("10.0.0.1:80", 0),
        ("10.0.0.3:80", 1),
        ("10.0.0.4:80", 3),
        ("127.0.0.1:1", 2),
        ("10.0.0.1:81", 5),
        ("10.0.0.3:81", 4),
        ("10.0.0.4:81", 6),
    ];
    assert_eq!(endpoints(&publisher), shown(&all));
    let after = shop(&publisher);
    let (old, new) = (&before.versions[0].endpoints, &after.versions[0].endpoints);
    assert!(Arc::ptr_eq(&old[1], &new[1]) && Arc::ptr_eq(&old[2], &new[3]) && Arc::ptr_eq(&old[4], &new[5]));
    assert!(Arc::ptr_eq(&before.versions[1], &after.versions[1]), "the other version is the same");
    assert!(Arc::ptr_eq(&before.versions[0].meter, &after.versions[0].meter));
    // A request that is where nobody goes any more ends there.
    let mut ask = Ask { key: None, avoid: None, repeats: false, now: Instant::now() };
    let gone = before.versions[0].pick(&ask).unwrap().shared();
    ask.avoid = Some(&gone);
    for _ in 0..200 {
        let picked = after.versions[0].pick(&ask).unwrap();
        assert!(new.iter().any(|e| e.address == picked.endpoint().address), "{:?}", picked.endpoint().address);
    }
    assert_eq!(old.iter().chain(new).map(|e| e.in_flight()).sum::<u64>(), 0);
}

#[test]
fn new_addresses_never_touch_a_split_and_old_ones_come_back_as_they_were() {
    let mut publisher = publisher_with(&[1]);
    steer(&mut publisher, percent(50), Some(("v1", percent(10))), &["/a"]);
    let before = shop(&publisher);
    publisher.readdress(&named(&[2]), Instant::now());
    let after = shop(&publisher);
    assert_eq!(after.split, before.split);
    assert!(after.slice.is_some() && (300..700).contains(&share_of_v2(&after)));
    assert_eq!(after.versions[0].exposure, before.versions[0].exposure);
    publisher.readdress(&named(&[1]), Instant::now());
    assert!(Arc::ptr_eq(&shop(&publisher).versions[0].endpoints[0], &before.versions[0].endpoints[0]));
}

/// The endpoint of `shop:80` at this address of v1.
fn endpoint(publisher: &Publisher, last: u8) -> Option<Arc<Endpoint>> {
    let address = format!("10.0.0.{last}:80");
    shop(publisher).versions[0].endpoints.iter().find(|e| e.address.to_string() == address).map(Arc::clone)
}

/// It cannot be connected to.
fn goes_down(endpoint: &Endpoint, now: Instant) {
    (0..3).for_each(|_| endpoint.failed_ahead(now));
    assert_eq!(endpoint.standing(now).state, State::Down);
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_is_known_of_an_address_that_leaves_its_names_answer_is_known_when_it_comes_back() {
    let mut publisher = publisher_with(&[1, 2]);
    let began = Instant::now();
    let at = |seconds| began + SECOND * seconds;
    let ill = endpoint(&publisher, 1).unwrap();
    goes_down(&ill, at(0));
    // Each answer has one of those that are well, and one that was not in the last.
    for round in 1..=5_u32 {
        let (other, now) = (10 + u8::try_from(round).unwrap(), at(round * 20));
        publisher.readdress(&named(&[2, other]), now);
        assert!(endpoint(&publisher, 1).is_none());
        publisher.readdress(&named(&[1, 2]), now + SECOND);
        let back = endpoint(&publisher, 1).unwrap();
        assert_eq!((back.identity(), back.standing(now + SECOND).state), (ill.identity(), State::Down), "{round}");
        assert_eq!(back.place, ill.place, "nobody took its place");
    }
    ill.connected(at(200));
    // Its place is another's meanwhile.
    publisher.readdress(&named(&[2, 3]), at(210));
    publisher.readdress(&named(&[3, 2, 1]), at(211));
    let places = |last| endpoint(&publisher, last).unwrap().place;
    assert_eq!(places(3), ill.place);
    assert!(places(1) != places(3) && places(1) != places(2));
}

#[test]
fn who_was_away_for_a_moment_begins_at_once_who_was_longer_slowly_and_who_was_long_anew() {
    let mut publisher = publisher_with(&[1, 2]);
    let began = Instant::now();
    let first = endpoint(&publisher, 1).unwrap().identity();
    let mut away_for = |from: u32, seconds: u32| {
        let (left, back) = (began + SECOND * from, began + SECOND * (from + seconds));
        publisher.readdress(&named(&[2]), left);
        publisher.readdress(&named(&[1, 2]), back);
        let endpoint = endpoint(&publisher, 1).unwrap();
        (endpoint.identity() == first, endpoint.standing(back).share)
    };
    assert_eq!(away_for(100, 59), (true, 1.0));
    assert_eq!(away_for(200, 60), (true, 0.1));
    assert_eq!(away_for(300, 600), (false, 0.1));
}

#[test]
fn so_many_that_are_away_are_known_and_none_that_is_written_no_more() {
    let mut publisher = publisher_with(&[1]);
    let now = Instant::now();
    let first = endpoint(&publisher, 1).unwrap();
    goes_down(&first, now);
    for round in 0..300_u32 {
        publisher.readdress(&named(&[u8::try_from(2 + round % 250).unwrap()]), now + SECOND * round);
    }
    let version = Arc::clone(&shop(&publisher).versions[0]);
    // Of each address there is one endpoint on port 80, and one on 81.
    assert_eq!(version.away.still(now + SECOND * 300).count(), 256);
    publisher.readdress(&named(&[1]), now + SECOND * 300);
    assert_ne!(endpoint(&publisher, 1).unwrap().identity(), first.identity(), "others left after it");

    let ill = endpoint(&publisher, 1).unwrap();
    goes_down(&ill, now);
    publisher.readdress(&named(&[9]), now);
    for (written, is_known) in [("'shop:80', '127.0.0.1:1', 'shop:81'", true), ("'127.0.0.1:1', 'shop:81'", false)] {
        let text = NAMED.replace("'shop:80', '127.0.0.1:1', 'shop:81'", written);
        let configuration = config::parse(&text, "test.yaml").unwrap().configuration;
        let mut addresses = named(&[9]);
        addresses.extend(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"].map(|one| {
            let address: SocketAddr = one.parse().unwrap();
            let host = address.ip().to_string();
            let written = config::Endpoint::Tcp { host, port: address.port(), tls: false };
            (written, Arc::from([address]))
        }));
        publisher.install(&configuration, &addresses, |_| None, now + SECOND);
        let version = Arc::clone(&shop(&publisher).versions[0]);
        let known = version.away.still(now + SECOND).any(|(endpoint, _)| endpoint.identity() == ill.identity());
        assert_eq!(known, is_known, "{written}");
    }
}

#[test]
fn what_was_known_before_the_process_is_known_of_whoever_has_the_same_names_and_address() {
    let first = publisher_with(&[1, 2]);
    let now = Instant::now();
    [1, 2].iter().for_each(|last| goes_down(&endpoint(&first, *last).unwrap(), now));
    let remembered = first.shared().load().remembered(now);
    let told: Vec<_> = remembered.iter().map(|it| (it.written.as_str(), it.address.as_str())).collect();
    assert_eq!(told, [("shop:80", "10.0.0.1:80"), ("shop:80", "10.0.0.2:80")]);

    let (configuration, addresses) = (config::parse(NAMED, "test.yaml").unwrap().configuration, named(&[1, 3]));
    let begun = |change: &dyn Fn(&mut Remembered)| {
        let mut remembered = remembered.clone();
        remembered.iter_mut().for_each(change);
        let mut publisher = Publisher::new(1);
        publisher.remember(remembered);
        publisher.install(&configuration, &addresses, |_| None, now);
        publisher
    };
    let state = |publisher: &Publisher, last| endpoint(publisher, last).unwrap().standing(now).state;
    let mut next = begun(&|_| {});
    assert_eq!((state(&next, 1), state(&next, 3)), (State::Down, State::Well));
    assert_eq!(next.shared().load().remembered(now).len(), 2, "whoever does not have its address yet is known still");
    next.readdress(&named(&[2, 3]), now);
    assert_eq!(state(&next, 2), State::Down);
    let others: [&dyn Fn(&mut Remembered); 5] = [
        &|it| it.service = "other".into(),
        &|it| it.version = "v2".into(),
        &|it| it.written = "shop:81".into(),
        &|it| it.address = "10.0.0.1:81".into(),
        &|it| it.address = "nonsense".into(),
    ];
    for (place, other) in others.into_iter().enumerate() {
        assert_eq!(state(&begun(other), 1), State::Well, "{place}");
    }
}

#[test]
fn what_changes_nothing_publishes_nothing() {
    let mut publisher = publisher_with(&[1, 2]);
    let before = publisher.shared().load_full();
    publisher.readdress(&named(&[1, 2]), Instant::now());
    let nobody = config::Endpoint::Tcp { host: "nobody".into(), port: 80, tls: false };
    publisher.readdress(&Addresses::from([(nobody, at(&["10.0.0.9:80"]))]), Instant::now());
    assert!(Arc::ptr_eq(&before, &publisher.shared().load_full()));
    publisher.readdress(&named(&[1, 3]), Instant::now());
    let after = publisher.shared().load_full();
    let other = |routing: &Routing| Arc::clone(routing.service(&name("other")).unwrap());
    assert!(!Arc::ptr_eq(&before, &after) && Arc::ptr_eq(&other(&before), &other(&after)));
}
