//! Clients that cost too much.

use std::io::{BufReader, ErrorKind, Read, Write};
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
fn connections_are_bounded_and_one_that_waits_gets_its_turn() {
    let world = World::new();
    let mut held: Vec<_> = (0..256).map(|_| BufReader::new(world.connect())).collect();
    let ask = |held: &mut Vec<BufReader<TcpStream>>, place: usize| {
        held[place].get_mut().write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        Answer::read(&mut held[place]).status
    };
    // An answer on each proves that all of them are accepted.
    (0..256).for_each(|place| assert_eq!(ask(&mut held, place), 200));
    let mut waiting = world.connect();
    waiting.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    (0..50).for_each(|place| assert_eq!(ask(&mut held, place), 200));
    waiting.set_nonblocking(true).unwrap();
    assert_eq!(waiting.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    waiting.set_nonblocking(false).unwrap();
    held.pop();
    assert_eq!(Answer::read(&mut BufReader::new(waiting)).status, 200);
}
