//! What stays in processes that handed over: it follows what is decided after them, and people see it.

use serde_json::Value;

use super::{pid, process, upgrade};
use crate::page::PageOrigin;
use crate::patience::until_true;
use crate::process::{Signal, runs, send};
use crate::shop::{Place, Server, shop};
use crate::websocket::Chat;

/// A `shop` of WebSockets, whose processes may drain for long.
struct Chats {
    server: Server,
    _origins: [PageOrigin; 2],
    place: Place,
}

impl Chats {
    fn open(plan: &str) -> Self {
        let (origins, place) = (["v1", "v2"].map(PageOrigin::start), Place::new());
        let versions = [("v1", &[origins[0].address()][..]), ("v2", &[origins[1].address()][..])];
        place.write(&format!("drain: {{ deadline: 10m }}\n{}{}", place.head(), shop("v1", &versions, plan)));
        Self { server: place.serve(), _origins: origins, place }
    }

    /// A WebSocket at this version. Half of all come there.
    fn chat_at(&self, version: &str) -> Chat {
        (0..100)
            .find_map(|_| {
                let mut chat = Chat::open(self.server.address);
                (chat.say("who") == format!("{version}: who")).then_some(chat)
            })
            .expect("one of a hundred comes there")
    }

    /// Waits until the process that serves tells this of those before it.
    fn until_told(&self, what: &str, holds: impl Fn(&[Value]) -> bool) {
        until_true(what, || process(&self.server)["predecessors"].as_array().is_some_and(|told| holds(told)));
    }

    fn counted(&self, metric: &str, version: &str) -> u64 {
        self.server.admin.counted(metric, &[("service", "shop"), ("version", version)])
    }
}

/// How many WebSockets an old process has at a version.
fn there(old: &Value, version: &str) -> u64 {
    old["requests"]["shop"][version]["long_lived"].as_u64().unwrap_or(0)
}

const PLAN: &str = "{ drain: 1s, steps: [{ weight: 50%, hold: 1h }] }";

#[test]
fn a_websocket_that_stayed_on_a_canary_is_closed_once_the_new_process_has_taken_the_canary_back() {
    let mut chats = Chats::open(PLAN);
    assert_eq!(chats.server.admin.start("shop", "v2").status, 201);
    let (mut on_stable, mut on_canary) = (chats.chat_at("v1"), chats.chat_at("v2"));
    let old = pid(&chats.server);

    upgrade(&chats.server);

    chats.until_told("the old process to be shown", |told| {
        told.len() == 1 && told[0]["pid"] == old && there(&told[0], "v1") == 1 && there(&told[0], "v2") == 1
    });
    let left = process(&chats.server)["predecessors"][0]["left_s"].as_f64().unwrap();
    assert!((500.0..=601.0).contains(&left), "{left}");
    let status = chats.server.tidegate(&["status"]).out;
    let line = format!("process {old} still has 2 connections, 1 of shop v1, 1 of shop v2; it ends in ");
    assert!(status.contains(&line), "{status}");
    assert_eq!(chats.counted("tidegate_draining_requests", "v2"), 1);
    until_true("it to be counted as if it were here", || chats.counted("tidegate_long_lived", "v2") == 1);
    assert_eq!(on_canary.say("two"), "v2: two");

    assert_eq!(chats.server.admin.act("shop", "abort").status, 200);

    assert_eq!(on_canary.closed(), Some(1001));
    assert_eq!(on_stable.say("two"), "v1: two");
    until_true("the close to be counted", || chats.counted("tidegate_long_lived_ended_total", "v2") == 1);
    chats.until_told("what is left to be shown", |told| told.len() == 1 && there(&told[0], "v2") == 0);
    drop(on_stable);
    assert_eq!(chats.server.process.leaves(), Some(0));
    chats.until_told("the old process to be forgotten", <[Value]>::is_empty);
    send(Signal::Term, pid(&chats.server));
}

#[test]
fn who_decides_is_followed_by_all_that_were_before_whichever_of_them_ends_first() {
    let mut chats = Chats::open(PLAN);
    assert_eq!(chats.server.admin.start("shop", "v2").status, 201);
    let (mut on_stable, on_canary) = (chats.chat_at("v1"), chats.chat_at("v2"));
    let first = pid(&chats.server);
    let second = upgrade(&chats.server);
    // Whoever comes now comes to the second: the first drains.
    chats.until_told("the first to be shown", |told| told.len() == 1);
    let (later_on_stable, later_on_canary) = (chats.chat_at("v1"), chats.chat_at("v2"));
    // The third has nothing to keep it, and ends when the fourth serves.
    let third = upgrade(&chats.server);
    let fourth = upgrade(&chats.server);
    until_true("the third to end", || !runs(third));
    chats.until_told("the others to be shown", |told| {
        let mut pids: Vec<_> = told.iter().map(|old| old["pid"].as_u64().unwrap()).collect();
        pids.sort_unstable();
        let mut expected = [first, second].map(u64::from);
        expected.sort_unstable();
        pids == expected && told.iter().all(|old| there(old, "v2") == 1)
    });

    assert_eq!(chats.server.admin.act("shop", "abort").status, 200);

    assert_eq!((on_canary.closed(), later_on_canary.closed()), (Some(1001), Some(1001)));
    drop(later_on_stable);
    until_true("the second to end", || !runs(second));
    chats.until_told("the first to be left", |told| told.len() == 1 && told[0]["pid"] == first);
    // Nobody decides any more: what is left goes on.
    send(Signal::Kill, fourth);
    until_true("the fourth to be gone", || !runs(fourth));
    assert_eq!(on_stable.say("two"), "v1: two");
    drop(on_stable);
    assert_eq!(chats.server.process.leaves(), Some(0));
}

#[test]
fn what_stayed_on_a_version_that_the_new_process_does_not_have_is_closed_when_its_time_is_over() {
    let chats = Chats::open("{ drain: 1s }");
    let weigh = |weight| assert_eq!(chats.server.admin.set_weight("shop", "v2", weight).status, 200);
    weigh(10_000);
    let on_v2 = chats.chat_at("v2");
    weigh(0);
    let old = pid(&chats.server);
    let file = std::fs::read_to_string(chats.place.file()).unwrap();
    let without: Vec<_> = file.lines().filter(|line| !line.trim_start().starts_with("v2:")).collect();
    chats.place.write(&without.join("\n"));

    let new = upgrade(&chats.server);

    assert_eq!(on_v2.closed(), Some(1001));
    until_true("the old process to end", || !runs(old));
    send(Signal::Term, new);
}

#[test]
fn an_old_process_that_is_killed_is_forgotten_and_harms_nobody() {
    let chats = Chats::open(PLAN);
    assert_eq!(chats.server.admin.start("shop", "v2").status, 201);
    let on_canary = chats.chat_at("v2");
    let old = pid(&chats.server);
    let new = upgrade(&chats.server);
    chats.until_told("the old process to be shown", |told| told.len() == 1);

    send(Signal::Kill, old);

    chats.until_told("it to be forgotten", <[Value]>::is_empty);
    drop(on_canary);
    assert_eq!(chats.server.admin.act("shop", "abort").status, 200);
    let _ = chats.server.answers(20);
    assert_eq!(chats.counted("tidegate_long_lived", "v2"), 0);
    send(Signal::Term, new);
}
