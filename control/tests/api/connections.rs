//! Clients that cost too much.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::SHOP;
use crate::world::{Answer, World};

#[test]
fn clients_that_never_finish_their_request_hold_up_nobody() {
    let world = World::new();
    let slow: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = world.connect();
            stream.write_all(b"GET /livez HTTP/1.1\r\nhost: loc").unwrap();
            stream
        })
        .collect();
    assert_eq!(world.get(SHOP).status, 200);
    drop(slow);
}

#[test]
fn a_request_head_that_never_ends_is_cut_off() {
    let world = World::new();
    let mut stream = world.connect();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: loc").unwrap();
    let mut rest = Vec::new();
    // Ends by the server's deadline, or fails by ours.
    stream.read_to_end(&mut rest).unwrap();
}

#[test]
fn connections_are_bounded_and_who_comes_takes_the_place_of_who_has_been_idle_longest() {
    let world = World::new();
    let mut held: Vec<_> = (0..256).map(|_| BufReader::new(world.connect())).collect();
    let ask = |held: &mut BufReader<TcpStream>| {
        held.get_mut().write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        Answer::read(held).status
    };
    // An answer on each proves that all of them are accepted.
    held.iter_mut().for_each(|held| assert_eq!(ask(held), 200));
    assert_eq!(world.get("/livez").status, 200);
    assert_eq!(held[0].read(&mut [0]).unwrap(), 0, "the first one made room");
    held[1..].iter_mut().for_each(|held| assert_eq!(ask(held), 200));
}

#[test]
fn clients_that_are_silent_keep_nobody_out_and_streams_of_events_stay() {
    let world = World::new();
    let mut events = BufReader::new(world.connect());
    events.get_mut().write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut line = String::new();
    while !line.ends_with(": open\n") {
        assert!(events.read_line(&mut line).unwrap() > 0, "{line}");
    }
    let silent: Vec<_> = (0..600).map(|_| world.connect()).collect();
    (0..5).for_each(|_| assert_eq!(world.get("/livez").status, 200));
    drop(silent);
    events.get_mut().set_nonblocking(true).unwrap();
    // What was ended would be at its end, or reset.
    let left =
        std::iter::from_fn(|| Some(events.read(&mut [0; 256]))).find(|read| !matches!(read, Ok(count) if *count > 0));
    assert_eq!(left.unwrap().unwrap_err().kind(), ErrorKind::WouldBlock);
}
