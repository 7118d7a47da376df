//! Names that never resolved, and names of which a server knows one kind of addresses alone.

use super::*;

impl World {
    /// A configuration whose v1 has `shop`, and whose idle v2 has this endpoint.
    fn with_idle(&self, v2: &str) -> Configuration {
        let (server, more) = (self.server.address(), self.more);
        let text = format!(
            "dns: {{ servers: ['{server}'], at_least: 100ms, timeout: 500ms{more} }}\n\
             services: {{ shop: {{ stable: v1, versions: {{ v1: {{ endpoints: ['shop:80'] }}, \
             v2: {{ endpoints: ['{v2}'] }} }} }} }}"
        );
        config::parse(&text, "shop.yaml").unwrap().configuration
    }
}

/// Only versions of this name must have addresses.
fn only(version: &'static str) -> impl Fn(&Service, &Version) -> bool {
    move |_, written| written.name.as_str() == version
}

fn nobody(_: &Service, _: &Version) -> bool {
    false
}

#[test]
fn a_name_that_never_resolved_takes_its_own_endpoints_away_and_is_asked_for_again() {
    let world = World::new();
    world.server.say("shop", Reply::Addresses(vec![v4(1)], 300));
    let resolved = world.names.resolve(world.with_idle("idle:81"), nobody).unwrap();
    let of = |endpoint: &str| {
        let found = resolved.addresses.iter().find(|(written, _)| written.to_string() == endpoint);
        found.map(|(_, found)| found.len())
    };
    assert_eq!((of("shop:80"), of("idle:81")), (Some(1), Some(0)));
    let server = world.server.address();
    let said = format!(
        "shop: v2: endpoint idle:81: no address found for this name ({server}: there is no such name); nothing is sent \
         there until it resolves"
    );
    assert_eq!(resolved.notes, [said]);

    let (commands, changes) = mpsc::channel();
    world.names.follow(&resolved);
    world.names.publish(commands);
    let state = world.until("a failure", |state| state.failing.is_some(), "idle");
    assert!(state.addresses.is_empty() && state.answered.is_none(), "{state:?}");
    world.server.say("idle", Reply::Addresses(vec![v4(7)], 300));
    assert_eq!(next(&changes), [("idle:81".to_owned(), vec!["10.0.0.7:81".to_owned()])]);
    world.until("its end", |state| state.failing.is_none() && state.answered.is_some(), "idle");
}

#[test]
fn a_reload_refuses_a_new_name_of_a_version_that_has_users_and_tells_of_any_other() {
    let world = World::new();
    world.server.say("shop", Reply::Addresses(vec![v4(1)], 300));
    let resolved = world.names.resolve(world.with_idle("idle:81"), nobody).unwrap();
    world.names.follow(&resolved);
    // A slip of the pen, beside users and without them.
    let problems = world.names.resolve(world.with_idle("typo:81"), only("v2")).unwrap_err();
    assert!(problems.len() == 1 && problems[0].starts_with("endpoint typo:81: no address found"), "{problems:?}");
    let taken = world.names.resolve(world.with_idle("typo:81"), only("v1")).unwrap();
    assert!(taken.notes.len() == 1 && taken.notes[0].contains("nothing is sent there"), "{:?}", taken.notes);
    // That it does not resolve is no news.
    let taken = world.names.resolve(world.with_idle("idle:81"), only("v2")).unwrap();
    assert!(taken.notes[0].starts_with("shop: v2: endpoint idle:81: "), "{:?}", taken.notes);
}

#[test]
fn what_was_never_known_is_not_kept_for_the_next_start() {
    let world = World::new();
    world.server.say("shop", Reply::Addresses(vec![v4(1)], 300));
    let resolved = world.names.resolve(world.with_idle("idle:81"), nobody).unwrap();
    world.names.follow(&resolved);
    let (commands, _changes) = mpsc::channel();
    world.names.publish(commands);
    let began = now().at;
    let kept = || kept::read(world.directory.path());
    while kept().is_empty() {
        assert!(began.elapsed() < LONG, "nothing was kept");
        thread::park_timeout(Duration::from_millis(5));
    }
    assert_eq!(kept().keys().map(|name| &**name).collect::<Vec<_>>(), ["shop"]);
}

/// The server says this for IPv4, and knows one address of IPv6.
fn six_alone(four: Reply) -> Reply {
    Reply::Either(Box::new(four), Box::new(Reply::Addresses(vec![v6("fd00::1")], 300)))
}

#[test]
fn a_server_that_fails_for_one_kind_of_addresses_hides_nothing_of_the_other() {
    let world = World::new();
    for four in [Reply::Code(2), Reply::Code(5), Reply::Nonsense(vec![0x81; 40])] {
        world.server.say("shop", six_alone(four.clone()));
        assert_eq!(world.one("shop:80").as_deref(), Ok(&["[fd00::1]:80".to_owned()][..]), "{four:?}");
    }
    // It is soon asked for again: where the server says more, that is used.
    let changes = world.install("'shop:80'");
    world.server.say("shop", Reply::Addresses(vec![v4(1), v6("fd00::1")], 300));
    assert_eq!(next(&changes), [("shop:80".to_owned(), vec!["10.0.0.1:80".to_owned()])]);
    // Where neither is known, the first failure is told.
    world.server.say("other", Reply::Either(Box::new(Reply::Code(2)), Box::new(Reply::NoSuchName)));
    let problem = world.one("other:80").unwrap_err();
    assert!(problem.contains("it answered Server Failure"), "{problem}");
}

#[test]
fn addresses_of_the_first_kind_stay_while_a_server_fails_for_it() {
    let world = World::new();
    world.server.say("shop", Reply::Addresses(vec![v4(1), v6("fd00::1")], 0));
    let changes = world.install("'shop:80'");
    world.server.say("shop", six_alone(Reply::Code(2)));
    let state = world.until("a failure", |state| state.failing.is_some(), "shop");
    assert_eq!(state.addresses[..], [v4(1)]);
    assert_eq!(world.one("shop:80").unwrap(), ["10.0.0.1:80"], "nor does a reload change it");
    assert!(changes.try_recv().is_err());
    world.server.say("shop", Reply::Addresses(vec![v4(1), v6("fd00::1")], 0));
    world.until("its end", |state| state.failing.is_none(), "shop");
}
