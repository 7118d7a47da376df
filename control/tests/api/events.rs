//! Event streams.

use std::net::TcpListener;

use serde_json::json;

use crate::world::{World, event};
use crate::{SHOP, eventually};

#[test]
fn events_are_streamed_and_resume_after_the_last_id() {
    let world = World::new();
    ["one", "two", "three"].iter().for_each(|text| world.handle.events.append(event(Some("shop"), text)));
    let mut events = world.events("/api/v1/events", "last-event-id: 1\r\n").unwrap();
    let seen = events.next().unwrap();
    assert_eq!((seen.id, seen.kind.as_str(), &seen.data["text"]), (Some(2), "weight", &json!("two")));
    assert_eq!(events.next().unwrap().id, Some(3));
    world.handle.events.append(event(None, "live"));
    assert_eq!(events.next().unwrap().data["text"], "live");
}

#[test]
fn the_events_of_a_service_are_its_own_alone() {
    let world = World::new();
    let mut events = world.events(&format!("{SHOP}/events"), "").unwrap();
    world.handle.events.append(event(Some("mail"), "not ours"));
    world.handle.events.append(event(Some("shop"), "ours"));
    assert_eq!(events.next().unwrap().data["text"], "ours");
}

#[test]
fn a_last_event_id_that_is_none_is_400() {
    let Err(answer) = World::new().events("/api/v1/events", "last-event-id: x\r\n") else { panic!("it is streamed") };
    answer.problem(400);
}

#[test]
fn a_reader_that_reads_nothing_for_long_is_told_how_much_it_lost() {
    let world = World::new();
    let mut events = world.events("/api/v1/events", "").unwrap();
    // Far more than sockets and the log hold.
    let long = "x".repeat(16 * 1024);
    (0..3_000).for_each(|_| world.handle.events.append(event(None, &long)));
    let (mut seen, mut lost) = (0, 0);
    while seen + lost < 3_000 {
        let next = events.next().unwrap();
        match next.kind.as_str() {
            "lost" => lost += next.data["lost"].as_u64().unwrap(),
            _ => seen += 1,
        }
    }
    assert!(lost > 0);
    assert_eq!(seen + lost, 3_000);
}

#[test]
fn readers_of_events_are_bounded_and_a_seat_that_falls_free_is_given_again() {
    let world = World::new();
    let mut open: Vec<_> = (0..64).map(|_| world.events("/api/v1/events", "").unwrap()).collect();
    let Err(answer) = world.events("/api/v1/events", "") else { panic!("there is a 65th seat") };
    assert!(answer.detail(503).contains("64 event streams"));
    assert_eq!(world.post(&format!("{SHOP}/rollout/pause"), "").status, 200);
    open.pop();
    eventually("a seat falls free", || world.events("/api/v1/events", "").ok());
}

#[test]
fn a_stop_ends_event_streams_and_frees_the_address() {
    let mut world = World::new();
    let mut events = world.events("/api/v1/events", "").unwrap();
    world.stop();
    assert_eq!(events.next(), None);
    TcpListener::bind(world.address).unwrap();
}
