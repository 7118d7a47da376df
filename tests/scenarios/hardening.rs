//! What a thousand clients that are slow in one way or another make the executable keep.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use loadtest::{RawAnswer, RawOrigin};

use crate::patience::{LONG, until, until_true};
use crate::shop::{Place, Server, Shop, now, shop};

const CLIENTS: usize = 1_000;

/// Resident memory of a process, in KiB.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Resident memory once it no longer grows: for twenty looks in a row.
fn settled(process: u32) -> u64 {
    let (mut most, mut looks) = (0, 0);
    until("memory to settle", || {
        let now = resident(process);
        (most, looks) = if now > most { (now, 0) } else { (most, looks + 1) };
        (looks >= 20).then_some(most)
    })
}

fn get(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A thousand clients send this and no more; `shows` says when the executable has it all. What each of them costs is
/// below `most_kib`, and when they leave the next client is served.
#[expect(clippy::print_stderr, reason = "the figures are for docs/hardening.md")]
fn a_thousand(what: &str, most_kib: f64, server: &Server, bytes: &[u8], shows: impl Fn() -> bool) {
    // The test holds as many connections as the executable.
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let process = server.process.id();
    for _ in 0..20 {
        assert!(get(server.address).starts_with("HTTP/1.1 200"));
    }
    let before = settled(process);
    let connect = |_| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    let clients: Vec<_> = (0..CLIENTS).map(connect).collect();
    until_true(what, &shows);
    let each = settled(process).saturating_sub(before) as f64 / CLIENTS as f64;
    eprintln!("{what}: {each:.1} KiB a connection");
    assert!(each < most_kib, "{what}: {each:.1} KiB a connection");
    assert!(shows(), "{what}: they were given up before they were measured");
    drop(clients);
    assert!(get(server.address).starts_with("HTTP/1.1 200"), "{what}: the next client is served");
}

/// Sockets that a process holds.
fn sockets(process: u32) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let is_socket = |entry: &fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    descriptors.filter_map(Result::ok).filter(is_socket).count()
}

#[test]
fn a_thousand_silent_clients_cost_little_memory() {
    let shop = Shop::open("{ steps: [{ weight: 5%, hold: 10m }] }");
    let process = shop.server.process.id();
    a_thousand("silent clients", 48.0, &shop.server, b"", || sockets(process) > CLIENTS);
}

#[test]
fn a_thousand_clients_that_keep_their_connections_cost_little_memory() {
    let shop = Shop::open("{ steps: [{ weight: 5%, hold: 10m }] }");
    let answered = || shop.v1.arrivals().requests >= CLIENTS as u64 + 20;
    a_thousand("kept connections", 128.0, &shop.server, b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n", answered);
}

#[test]
fn a_thousand_slow_heads_cost_little_memory() {
    let shop = Shop::open("{ steps: [{ weight: 5%, hold: 10m }] }");
    let head = format!("GET / HTTP/1.1\r\nhost: shop\r\nx: {}", "y".repeat(8_000));
    let process = shop.server.process.id();
    a_thousand("slow heads", 96.0, &shop.server, head.as_bytes(), || sockets(process) > CLIENTS);
}

#[test]
fn a_thousand_slow_bodies_cost_little_memory() {
    let shop = Shop::open("{ steps: [{ weight: 5%, hold: 10m }] }");
    let head = "POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 1000000\r\n\r\n";
    let body = format!("{head}{}", "x".repeat(20_000));
    let arrived = || shop.v1.arrivals().requests >= CLIENTS as u64 + 20;
    a_thousand("slow bodies", 256.0, &shop.server, body.as_bytes(), arrived);
}

#[test]
fn a_thousand_slow_readers_cost_little_memory() {
    // More than the buffers of the system take of it.
    let large = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{}", "x".repeat(1_000_000));
    let v1 = now(RawOrigin::start(vec![RawAnswer::new(large)])).unwrap();
    let place = Place::new();
    place.write(&(place.head() + &shop("v1", &[("v1", &[v1.address()])], "{ gates: [] }")));
    let server = place.serve();
    let arrived = || v1.connections().iter().map(|connection| connection.requests).sum::<usize>() >= CLIENTS + 20;
    // pingora reads a response in pieces of 64 KiB, of which nine are under way and one is being filled.
    a_thousand("slow readers", 800.0, &server, b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n", arrived);
}
