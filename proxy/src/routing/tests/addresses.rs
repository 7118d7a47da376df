//! Endpoints that are written with a name: as many as it has addresses, and others when it has others.

use super::*;

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
    let mut ask = Ask { key: None, avoid: None, now: Instant::now() };
    let gone = before.versions[0].pick(&ask).unwrap().shared();
    ask.avoid = Some(&gone);
    for _ in 0..200 {
        let picked = after.versions[0].pick(&ask).unwrap();
        assert!(new.iter().any(|e| e.address == picked.endpoint().address), "{:?}", picked.endpoint().address);
    }
    assert_eq!(old.iter().chain(new).map(|e| e.in_flight()).sum::<u64>(), 0);
}

#[test]
fn new_addresses_never_touch_a_split_and_old_ones_come_back_as_new_endpoints() {
    let mut publisher = publisher_with(&[1]);
    steer(&mut publisher, percent(50), Some(("v1", percent(10))), &["/a"]);
    let before = shop(&publisher);
    publisher.readdress(&named(&[2]), Instant::now());
    let after = shop(&publisher);
    assert_eq!(after.split, before.split);
    assert!(after.slice.is_some() && (300..700).contains(&share_of_v2(&after)));
    assert_eq!(after.versions[0].exposure, before.versions[0].exposure);
    publisher.readdress(&named(&[1]), Instant::now());
    assert!(!Arc::ptr_eq(&shop(&publisher).versions[0].endpoints[0], &before.versions[0].endpoints[0]));
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
