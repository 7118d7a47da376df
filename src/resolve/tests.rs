use std::fs;
use std::net::Ipv4Addr;

use control::plane::NameState;
use loadtest::{Nameserver, Reply};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;

mod unknown;

/// Longer than anything here takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(20);

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

fn v6(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Names resolved by a server that says what it is told, on a system of our own.
struct World {
    server: Nameserver,
    names: Names,
    directory: TempDir,
    more: &'static str,
}

impl World {
    fn new() -> Self {
        Self::with("", "", "")
    }

    /// With these further keys under `dns`, and these files of the system.
    fn with(more: &'static str, hosts: &str, resolv_conf: &str) -> Self {
        let (directory, server) = (tempfile::tempdir().unwrap(), Nameserver::start().unwrap());
        let files = Files { hosts: directory.path().join("hosts"), resolv_conf: directory.path().join("resolv.conf") };
        fs::write(&files.hosts, hosts).unwrap();
        fs::write(&files.resolv_conf, resolv_conf).unwrap();
        let names = Names::with(files, directory.path()).unwrap();
        Self { server, names, directory, more }
    }

    /// Another process on the same state directory.
    fn again(self) -> Self {
        let names = Names::with(self.names.files.clone(), self.directory.path()).unwrap();
        Self { names, ..self }
    }

    fn configuration(&self, endpoints: &str) -> Configuration {
        let (server, more) = (self.server.address(), self.more);
        let text = format!(
            "dns: {{ servers: ['{server}'], at_least: 100ms, timeout: 500ms{more} }}\n\
             services: {{ shop: {{ versions: {{ v1: {{ endpoints: [{endpoints}] }} }} }} }}"
        );
        config::parse(&text, "shop.yaml").unwrap().configuration
    }

    fn resolve(&self, endpoints: &str) -> Result<Resolved, Vec<String>> {
        self.names.resolve(self.configuration(endpoints), |_, _| true)
    }

    /// What one endpoint resolves to, or the problem.
    fn one(&self, endpoint: &str) -> Result<Vec<String>, String> {
        let resolved = self.resolve(&format!("'{endpoint}'")).map_err(|problems| problems.join("\n"))?;
        let addresses = resolved.addresses.values().next().unwrap();
        Ok(addresses.iter().map(ToString::to_string).collect())
    }

    /// Takes endpoints into use; what changes arrives here.
    fn install(&self, endpoints: &str) -> mpsc::Receiver<Command> {
        let resolved = self.resolve(endpoints).unwrap();
        let (commands, changes) = mpsc::channel();
        self.names.follow(&resolved);
        self.names.publish(commands);
        changes
    }

    fn state(&self, name: &str) -> NameState {
        self.names.states().known[name].clone()
    }

    fn until(&self, what: &str, is: impl Fn(&NameState) -> bool, name: &str) -> NameState {
        let began = now().at;
        loop {
            let state = self.state(name);
            if is(&state) {
                return state;
            }
            assert!(began.elapsed() < LONG, "waited for {what} in vain: {state:?}");
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// The next change, in the order of its endpoints; whoever sent it is told that it is in use.
fn next(changes: &mpsc::Receiver<Command>) -> Vec<(String, Vec<String>)> {
    let Command::Readdress { changed, reply } = changes.recv_timeout(LONG).unwrap() else { panic!("another command") };
    answer(reply);
    let shown = |(endpoint, addresses): (Endpoint, Arc<[SocketAddr]>)| {
        (endpoint.to_string(), addresses.iter().map(ToString::to_string).collect())
    };
    let mut changed: Vec<_> = changed.into_iter().map(shown).collect();
    changed.sort();
    changed
}

fn answer(reply: oneshot::Sender<()>) {
    reply.send(()).unwrap();
}

#[test]
fn a_configuration_that_is_refused_moves_nothing_that_is_in_use() {
    let (world, other) = (World::new(), Nameserver::start().unwrap());
    world.server.say("shop", Reply::Addresses(vec![v4(1)], 300));
    other.say("shop", Reply::Addresses(vec![v4(2)], 300));
    let changes = world.install("'shop:80'");
    let elsewhere = |endpoints: &str| {
        let mut configuration = world.configuration(endpoints);
        configuration.dns.servers = vec![other.address()];
        world.names.resolve(configuration, |_, _| true)
    };
    elsewhere("'shop:80', 'nowhere:80'").unwrap_err();
    // Nor does one that nobody takes.
    let resolved = elsewhere("'shop:80'").unwrap();
    assert_eq!(other.asked("shop"), 2);
    assert_eq!(world.state("shop").addresses[..], [v4(1)]);
    assert!(changes.try_recv().is_err());
    world.names.follow(&resolved);
    assert_eq!(world.state("shop").addresses[..], [v4(2)]);
}

#[test]
fn who_has_handed_the_state_directory_over_asks_for_nothing_and_writes_nothing_until_it_serves_again() {
    let world = World::new();
    world.server.say("shop", Reply::Addresses(vec![v4(1)], 0));
    let changes = world.install("'shop:80'");
    let kept = world.directory.path().join("names.json");
    let began = now().at;
    while !kept.exists() {
        assert!(began.elapsed() < LONG);
        thread::park_timeout(Duration::from_millis(5));
    }
    world.names.rest();
    fs::write(&kept, "another's").unwrap();
    world.server.say("silent", Reply::Silence);
    // Who waits in vain for an answer waits for many times as long as answers hold; after the first time, what was under
    // way is over.
    world.one("silent:80").unwrap_err();
    let asked = world.server.asked("shop");
    world.server.say("shop", Reply::Addresses(vec![v4(2)], 0));
    world.one("silent:80").unwrap_err();
    assert_eq!((world.server.asked("shop"), fs::read_to_string(&kept).unwrap()), (asked, "another's".to_owned()));
    assert!(changes.try_recv().is_err());
    let (commands, changes) = mpsc::channel();
    world.names.publish(commands);
    assert_eq!(next(&changes), [("shop:80".to_owned(), vec!["10.0.0.2:80".to_owned()])]);
}

#[test]
fn an_answer_that_is_one_long_row_of_aliases_is_not_walked_to_its_end() {
    let world = World::new();
    let row = |length: u32| Reply::Chain((0..length).map(|place| format!("alias{place}")).collect(), vec![v4(1)], 30);
    world.server.say("long", row(16));
    world.server.say("evil", row(17));
    assert_eq!(world.one("long:80").unwrap(), ["10.0.0.1:80"]);
    let problem = world.one("evil:80").unwrap_err();
    assert!(problem.contains("more than 16 aliases in a row"), "{problem}");
}

#[test]
fn all_addresses_of_a_name_are_used_in_order_and_each_once() {
    let world = World::new();
    let reply = vec![v4(3), v4(1), v4(2), v4(1), v6("fd00::1")];
    world.server.say("shop.internal", Reply::Addresses(reply, 30));
    assert_eq!(world.one("Shop.internal:80").unwrap(), ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
    world.server.say("six.internal", Reply::Addresses(vec![v6("fd00::2"), v6("fd00::1")], 30));
    assert_eq!(world.one("six.internal:80").unwrap(), ["[fd00::1]:80", "[fd00::2]:80"]);
    // An address is itself, and nobody is asked for it.
    assert_eq!(world.one("10.0.0.9:80").unwrap(), ["10.0.0.9:80"]);
}

#[test]
fn of_a_name_with_both_kinds_of_addresses_those_are_used_that_are_preferred() {
    let world = World::with(", prefer: ipv6", "127.0.0.1 localhost both\n::1 localhost both\n", "");
    world.server.say("shop", Reply::Addresses(vec![v4(1), v6("fd00::1")], 30));
    world.server.say("four", Reply::Addresses(vec![v4(1)], 30));
    assert_eq!(world.one("shop:80").unwrap(), ["[fd00::1]:80"]);
    assert_eq!(world.one("four:80").unwrap(), ["10.0.0.1:80"]);
    assert_eq!(world.one("both:80").unwrap(), ["[::1]:80"]);
}

#[test]
fn what_the_system_knows_goes_first_and_localhost_is_always_here() {
    let world = World::with("", "10.0.0.7 shop.internal\n10.0.0.8 shop.internal\n", "");
    world.server.say("shop.internal", Reply::Addresses(vec![v4(1)], 30));
    world.server.say("localhost", Reply::Addresses(vec![v4(1)], 30));
    assert_eq!(world.one("shop.internal:80").unwrap(), ["10.0.0.7:80", "10.0.0.8:80"]);
    assert_eq!(world.one("localhost:80").unwrap(), ["127.0.0.1:80"]);
    assert_eq!(world.one("shop.localhost:80").unwrap(), ["127.0.0.1:80"]);
    assert_eq!((world.server.asked("shop.internal"), world.server.asked("localhost")), (0, 0));
}

#[test]
fn aliases_are_followed_whoever_tells_of_them_and_circles_are_not() {
    let world = World::new();
    world.server.say("one", Reply::Chain(vec!["two".into()], vec![v4(1)], 30));
    world.server.say("alias", Reply::Alias("another".into(), 30));
    world.server.say("another", Reply::Alias("one".into(), 30));
    world.server.say("round", Reply::Alias("about".into(), 30));
    world.server.say("about", Reply::Alias("round".into(), 30));
    assert_eq!(world.one("one:80").unwrap(), ["10.0.0.1:80"]);
    assert_eq!(world.one("alias:80").unwrap(), ["10.0.0.1:80"]);
    let problem = world.one("round:80").unwrap_err();
    assert!(problem.contains("more than 8 aliases in a row"), "{problem}");
    assert_eq!(world.server.asked("round") + world.server.asked("about"), 8, "nobody goes round for longer");
}

#[test]
fn an_answer_that_does_not_fit_is_asked_for_by_tcp() {
    let world = World::new();
    let many: Vec<IpAddr> = (1..=200).map(v4).collect();
    world.server.say("shop", Reply::Truncated(many, 30));
    assert_eq!(world.one("shop:80").unwrap().len(), book::MOST_ADDRESSES);
    assert_eq!(world.server.asked_by_tcp(), 1);
}

#[test]
fn a_name_that_never_resolved_is_a_problem_that_says_who_said_what() {
    let world = World::new();
    let server = world.server.address();
    let problem = |reply| {
        world.server.say("shop", reply);
        world.one("https://shop:80").unwrap_err()
    };
    let no = |what: &str| format!("endpoint https://shop:80: no address found for this name ({server}: {what})");
    assert_eq!(problem(Reply::NoSuchName), no("there is no such name"));
    assert_eq!(problem(Reply::Addresses(Vec::new(), 30)), no("it has no address that can be used"));
    let unusable = [[0, 0, 0, 0], [224, 0, 0, 1], [255, 255, 255, 255]].map(IpAddr::from);
    assert_eq!(problem(Reply::Addresses(unusable.into(), 30)), no("it has no address that can be used"));
    assert_eq!(problem(Reply::Code(2)), no("it answered Server Failure"));
    assert_eq!(problem(Reply::Code(5)), no("it answered Query Refused"));
    assert_eq!(problem(Reply::Silence), no("no answer within 500ms"));
    for nonsense in [vec![0x81, 0x80, 0, 1, 0, 9], vec![0xff; 600], vec![0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0]] {
        let problem = problem(Reply::Nonsense(nonsense));
        assert!(problem.starts_with(&no("what it answered cannot be used: ")[..60]), "{problem}");
    }
    // A question without the bit that makes it an answer is none.
    assert_eq!(problem(Reply::Nonsense(vec![0x01, 0, 0, 1, 0, 0])), no("no answer within 500ms"));
}

#[test]
fn a_server_that_says_nothing_is_followed_by_the_next_and_not_waited_for_again() {
    let world = World::new();
    let silent = Nameserver::start().unwrap();
    for name in ["one", "two"] {
        silent.say(name, Reply::Silence);
        world.server.say(name, Reply::Addresses(vec![v4(1)], 30));
    }
    let mut configuration = world.configuration("'one:80'");
    configuration.dns.servers.insert(0, silent.address());
    let asker = Arc::new(Asker::new(configuration.dns, System::default()));
    let ask = |name: &'static str| {
        let asker = Arc::clone(&asker);
        let (told, answer) = mpsc::channel();
        world.names.runtime.spawn(async move { told.send(asker.resolve(name).await) });
        answer.recv_timeout(LONG).unwrap()
    };
    assert!(ask("one").is_ok() && ask("two").is_ok());
    assert!(silent.asked("one") >= 1 && silent.asked("two") == 0);
}

#[test]
fn a_name_is_asked_for_again_as_soon_as_one_of_its_aliases_may_be_another() {
    let world = World::new();
    world.server.say("shop", Reply::Addresses(vec![v4(1)], 300));
    world.server.say("short", Reply::Alias("shop".into(), 5));
    let asker = Asker::new(world.configuration("'short:80'").dns, System::default());
    let answer = world.names.runtime.block_on(asker.resolve("short")).unwrap();
    assert_eq!((&*answer.addresses, answer.ttl), (&[v4(1)][..], Some(Duration::from_secs(5))));
}

#[test]
fn addresses_that_have_changed_are_kept_in_place_of_the_first() {
    let world = World::new();
    world.server.say("shop", Reply::Addresses(vec![v4(1)], 0));
    let changes = world.install("'shop:80'");
    world.server.say("shop", Reply::Addresses(vec![v4(2)], 0));
    assert_eq!(next(&changes), [("shop:80".to_owned(), vec!["10.0.0.2:80".to_owned()])]);
    let began = now().at;
    while kept::read(world.directory.path()).get("shop").is_none_or(|kept| kept[..] != [v4(2)]) {
        assert!(began.elapsed() < LONG, "{:?}", kept::read(world.directory.path()));
        thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn a_name_with_few_dots_is_searched_for_and_a_server_that_fails_makes_it_no_other() {
    let world = World::with("", "", "search a.internal b.internal\noptions ndots:2\n");
    world.server.say("shop.b.internal", Reply::Addresses(vec![v4(2)], 30));
    world.server.say("shop", Reply::Addresses(vec![v4(1)], 30));
    assert_eq!(world.one("shop:80").unwrap(), ["10.0.0.2:80"]);
    world.server.say("shop.a.internal", Reply::Code(2));
    let problem = world.one("shop:80").unwrap_err();
    assert!(problem.contains("it answered Server Failure"), "{problem}");
    world.server.say("www.shop.internal", Reply::Addresses(vec![v4(3)], 30));
    assert_eq!(world.one("www.shop.internal:80").unwrap(), ["10.0.0.3:80"]);
}

#[test]
fn a_changed_answer_is_sent_for_every_endpoint_of_the_name_and_a_failure_changes_nothing() {
    let world = World::new();
    world.server.say("shop", Reply::Addresses(vec![v4(1)], 0));
    let changes = world.install("'shop:80', 'shop:81', '10.0.0.9:80'");
    world.server.say("shop", Reply::Addresses(vec![v4(2), v4(1)], 0));
    let both = |port: u16| vec![format!("10.0.0.1:{port}"), format!("10.0.0.2:{port}")];
    assert_eq!(next(&changes), [("shop:80".to_owned(), both(80)), ("shop:81".to_owned(), both(81))]);
    for reply in [Reply::NoSuchName, Reply::Addresses(Vec::new(), 0), Reply::Code(2), Reply::Nonsense(vec![0x80; 99])] {
        world.server.say("shop", reply);
        let failing = world.until("a failure", |state| state.failing.is_some(), "shop");
        assert_eq!(*failing.addresses, [v4(1), v4(2)]);
        world.server.say("shop", Reply::Addresses(vec![v4(1), v4(2)], 0));
        world.until("its end", |state| state.failing.is_none(), "shop");
    }
    assert!(changes.try_recv().is_err(), "nothing changed");
    let counts: HashMap<_, _> = world.names.states().resolutions.into_iter().collect();
    assert!(["answered", "no_such_name", "empty", "failed"].iter().all(|result| counts[result] > 0), "{counts:?}");
}

#[test]
fn a_change_that_comes_while_another_is_being_taken_over_waits_for_it() {
    let world = World::new();
    world.server.say("shop", Reply::Addresses(vec![v4(1)], 0));
    let changes = world.install("'shop:80'");
    world.server.say("shop", Reply::Addresses(vec![v4(2)], 0));
    let Command::Readdress { reply, .. } = changes.recv_timeout(LONG).unwrap() else { panic!("another command") };
    world.server.say("shop", Reply::Addresses(vec![v4(3)], 0));
    world.until("another answer", |state| *state.addresses == [v4(3)], "shop");
    let asked = world.server.asked("shop");
    world.until("further rounds", |_| world.server.asked("shop") > asked + 3, "shop");
    assert!(changes.try_recv().is_err(), "one at a time");
    answer(reply);
    assert_eq!(next(&changes), [("shop:80".to_owned(), vec!["10.0.0.3:80".to_owned()])]);
}

#[test]
fn changed_hosts_are_seen_without_any_reload() {
    let world = World::with("", "10.0.0.1 shop\n", "");
    let changes = world.install("'shop:80'");
    fs::write(&world.names.files.hosts, "10.0.0.22 shop\n").unwrap();
    assert_eq!(next(&changes), [("shop:80".to_owned(), vec!["10.0.0.22:80".to_owned()])]);
}

#[test]
fn a_process_that_starts_while_dns_is_down_goes_on_with_the_last_addresses() {
    let world = World::new();
    world.server.say("shop", Reply::Addresses(vec![v4(1), v4(2)], 30));
    let _changes = world.install("'shop:80'");
    let kept = || kept::read(world.directory.path());
    let began = now().at;
    while kept().is_empty() {
        assert!(began.elapsed() < LONG, "nothing was kept");
        thread::park_timeout(Duration::from_millis(5));
    }
    let world = world.again();
    world.server.say("shop", Reply::Silence);
    let resolved = world.resolve("'shop:80'").unwrap();
    assert_eq!(resolved.addresses.values().next().unwrap().len(), 2);
    world.names.follow(&resolved);
    let state = world.state("shop");
    assert_eq!((state.answered, &*state.addresses), (None, &[v4(1), v4(2)][..]));
    // What was never known is still a problem.
    let problems = world.resolve("'shop:80', 'other:80'").unwrap_err();
    assert!(problems.len() == 1 && problems[0].starts_with("endpoint other:80: "), "{problems:?}");
    // And when DNS is back, so is the name.
    let (commands, changes) = mpsc::channel();
    world.names.publish(commands);
    world.server.say("shop", Reply::Addresses(vec![v4(3)], 30));
    assert_eq!(next(&changes), [("shop:80".to_owned(), vec!["10.0.0.3:80".to_owned()])]);
}

#[test]
fn a_reload_tells_of_names_that_do_not_resolve_and_keeps_their_addresses() {
    let world = World::new();
    world.server.say("shop", Reply::Addresses(vec![v4(1)], 30));
    let _changes = world.install("'shop:80'");
    world.server.say("shop", Reply::NoSuchName);
    let Resolved { addresses, notes, .. } = world.resolve("'shop:80'").unwrap();
    assert_eq!(addresses.values().next().unwrap().to_vec(), ["10.0.0.1:80".parse().unwrap()]);
    let server = world.server.address();
    assert_eq!(
        notes,
        [format!("the name shop does not resolve ({server}: there is no such name); its last addresses stay in use")]
    );
}

#[test]
fn very_many_names_are_resolved_a_few_at_a_time() {
    let world = World::new();
    let names: Vec<String> = (0..2_000).map(|number| format!("name{number}.internal")).collect();
    for name in &names {
        world.server.say(name, Reply::Addresses(vec![v4(1)], 300));
    }
    let endpoints = names.iter().map(|name| format!("'{name}:80'")).collect::<Vec<_>>().join(", ");
    let resolved = world.resolve(&endpoints).unwrap();
    assert_eq!(resolved.addresses.len(), names.len());
    assert!(names.iter().all(|name| world.server.asked(name) >= 1));
}

/// Asks for names by a row of servers, as one process does.
struct Row<'a> {
    world: &'a World,
    asker: Arc<Asker>,
}

impl<'a> Row<'a> {
    /// Of these servers, which have this long for an answer.
    fn of(world: &'a World, servers: &[&Nameserver], patience: Duration) -> Self {
        let mut dns = world.configuration("'shop:80'").dns;
        dns.servers = servers.iter().map(|server| server.address()).collect();
        dns.timeout = patience;
        Self { world, asker: Arc::new(Asker::new(dns, System::default())) }
    }

    fn ask(&self, name: &'static str) -> Result<Answer, NoAnswer> {
        let (asker, (told, answer)) = (Arc::clone(&self.asker), mpsc::channel());
        self.world.names.runtime.spawn(async move { told.send(asker.resolve(name).await) });
        answer.recv_timeout(LONG).unwrap()
    }
}

#[test]
fn the_first_server_is_asked_again_soon_after_one_lost_question() {
    let (world, second) = (World::new(), Nameserver::start().unwrap());
    let first = &world.server;
    let row = Row::of(&world, &[first, &second], Duration::from_millis(200));
    second.say("shop", Reply::Addresses(vec![v4(2)], 30));
    first.say("shop", Reply::Silence);
    assert_eq!(row.ask("shop").unwrap().addresses[..], [v4(2)]);
    first.say("shop", Reply::Addresses(vec![v4(1)], 30));
    let began = now().at;
    while row.ask("shop").unwrap().addresses[..] != [v4(1)] {
        assert!(began.elapsed() < LONG);
        thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn what_another_server_does_not_know_is_no_answer_while_the_first_is_only_slow() {
    let (world, second) = (World::new(), Nameserver::start().unwrap());
    let first = &world.server;
    let row = Row::of(&world, &[first, &second], Duration::from_millis(200));
    first.say("shop", Reply::Addresses(vec![v4(1)], 30));
    assert!(row.ask("shop").is_ok());
    // The second knows no name at all.
    first.say("shop", Reply::Silence);
    let no_answer = row.ask("shop").unwrap_err();
    assert_eq!(no_answer.result, asking::Outcome::Late, "{no_answer:?}");
    assert!(no_answer.reason.contains("no answer within 200ms"), "{no_answer:?}");
    // It rests, and is asked all the same where the other does not know the name.
    first.say("shop", Reply::Addresses(vec![v4(3)], 30));
    assert_eq!(row.ask("shop").unwrap().addresses[..], [v4(3)]);
}

#[test]
fn where_the_first_server_never_answered_the_next_one_says_what_there_is_not() {
    let (world, dead) = (World::new(), Nameserver::start().unwrap());
    dead.say("shop", Reply::Silence);
    let row = Row::of(&world, &[&dead, &world.server], Duration::from_millis(200));
    let no_answer = row.ask("shop").unwrap_err();
    assert_eq!(no_answer.result, asking::Outcome::NoSuchName, "{no_answer:?}");
    assert!(no_answer.reason.starts_with(&world.server.address().to_string()), "{no_answer:?}");
}

#[test]
fn answers_that_the_disk_refused_are_kept_as_soon_as_it_takes_them() {
    let world = World::new();
    world.server.say("shop", Reply::Addresses(vec![v4(1)], 300));
    // Nothing can be put in its place.
    let kept = world.directory.path().join("names.json");
    fs::create_dir_all(kept.join("in the way")).unwrap();
    let _changes = world.install("'shop:80'");
    let until = |what: &str, is: &dyn Fn() -> bool| {
        let began = now().at;
        while !is() {
            assert!(began.elapsed() < LONG, "waited for {what} in vain");
            thread::park_timeout(Duration::from_millis(5));
        }
    };
    until("a refusal", &|| world.names.known.state.lock().is_refused);
    fs::remove_dir_all(&kept).unwrap();
    until("what is kept", &|| kept::read(world.directory.path()).contains_key("shop"));
}
