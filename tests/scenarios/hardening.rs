//! What a thousand clients that are slow in one way or another make the executable keep.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use loadtest::{RawAnswer, RawOrigin};

use crate::authority::Authority;
use crate::edge::{address, head, listener};
use crate::patience::{LONG, until, until_true};
use crate::shop::{Place, Server, Shop, now, origin, shop};

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
#[expect(clippy::print_stderr, reason = "the figure is for docs/performance.md")]
fn a_thousand_at(
    address: SocketAddr,
    what: &str,
    most_kib: f64,
    server: &Server,
    bytes: &[u8],
    shows: impl Fn() -> bool,
) {
    // The test holds as many connections as the executable.
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let process = server.process.id();
    for _ in 0..20 {
        assert!(get(server.address).starts_with("HTTP/1.1 200"));
    }
    let before = settled(process);
    let connect = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
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

/// The same at the first listener.
fn a_thousand(what: &str, most_kib: f64, server: &Server, bytes: &[u8], shows: impl Fn() -> bool) {
    a_thousand_at(server.address, what, most_kib, server, bytes, shows);
}

/// A client of HTTP/2 that gives as large windows as there are, and then says this.
pub(crate) fn http2(frames: &[(u8, u8, u32, &[u8])]) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let most = [0x7f, 0xff, 0xff, 0xff];
    // SETTINGS_INITIAL_WINDOW_SIZE, and a WINDOW_UPDATE of the connection.
    let begin = [frame(4, 0, 0, &[&[0, 4][..], &most].concat()), frame(8, 0, 0, &[0x7f, 0xff, 0, 0])].concat();
    let said = frames.iter().flat_map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, payload));
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &begin[..]].concat().into_iter().chain(said).collect()
}

/// A head as RFC 7541 writes it: `GET` or `POST` over `http` for `/` of `shop`.
pub(crate) fn head_of_http2(method: u8) -> Vec<u8> {
    [&[method, 0x86, 0x84, 0x41, 4][..], b"shop"].concat()
}

pub(crate) const GET: u8 = 0x82;
const POST: u8 = 0x83;

/// Sockets that a process holds.
fn sockets(process: u32) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let is_socket = |entry: &fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    descriptors.filter_map(Result::ok).filter(is_socket).count()
}

#[test]
fn a_thousand_slow_heads_cost_little_memory() {
    let shop = Shop::open("{ steps: [{ weight: 5%, hold: 10m }] }");
    let head = format!("GET / HTTP/1.1\r\nhost: shop\r\nx: {}", "y".repeat(8_000));
    let process = shop.server.process.id();
    a_thousand("slow heads", 96.0, &shop.server, head.as_bytes(), || sockets(process) > CLIENTS);
}

#[test]
fn a_thousand_slow_heads_of_http2_cost_little_memory() {
    let shop = Shop::open("{ steps: [{ weight: 5%, hold: 10m }] }");
    // A field that is 8 KB long: a literal that is not remembered.
    let large = [&head_of_http2(GET)[..], &[0, 1, b'x', 0x7f, 0xc1, 0x3d], &[b'y'; 8_000]].concat();
    let bytes = http2(&[(1, 1, 1, &large)]);
    let process = shop.server.process.id();
    a_thousand("slow heads of HTTP/2", 96.0, &shop.server, &bytes, || sockets(process) > CLIENTS);
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
fn a_thousand_slow_bodies_of_http2_cost_little_memory() {
    let shop = Shop::open("{ steps: [{ weight: 5%, hold: 10m }] }");
    let piece = [b'x'; 10_000];
    let bytes = http2(&[(1, 4, 1, &head_of_http2(POST)), (0, 0, 1, &piece), (0, 0, 1, &piece)]);
    let arrived = || shop.v1.arrivals().requests >= CLIENTS as u64 + 20;
    a_thousand("slow bodies of HTTP/2", 256.0, &shop.server, &bytes, arrived);
}

/// A thousand clients that take nothing of a response say this.
fn a_thousand_slow_readers(what: &str, bytes: &[u8]) {
    // More than the buffers of the system take of it.
    let large = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{}", "x".repeat(1_000_000));
    let v1 = now(RawOrigin::start(vec![RawAnswer::new(large)])).unwrap();
    let place = Place::new();
    place.write(&(place.head() + &shop("v1", &[("v1", &[v1.address()])], "{ gates: [] }")));
    let server = place.serve();
    let arrived = || v1.connections().iter().map(|connection| connection.requests).sum::<usize>() >= CLIENTS + 20;
    // pingora reads a response in pieces of 64 KiB, of which nine are under way and one is being filled.
    a_thousand(what, 800.0, &server, bytes, arrived);
}

#[test]
fn a_thousand_slow_readers_cost_little_memory() {
    a_thousand_slow_readers("slow readers", b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n");
}

#[test]
fn a_thousand_slow_readers_of_http2_cost_little_memory() {
    a_thousand_slow_readers("slow readers of HTTP/2", &http2(&[(1, 5, 1, &head_of_http2(GET))]));
}

#[test]
fn a_thousand_handshakes_that_stall_cost_little_memory() {
    let place = Place::new();
    let ca = Authority::new(&place);
    ca.write("shop", &["shop.test"]);
    let v1 = origin("v1");
    let listeners = [listener(&[ca.certificate("shop")], "")];
    let services = shop("v1", &[("v1", &[v1.address()])], "{}");
    place.write(&format!("timeouts: {{ handshake: 5m }}\n{}{services}", head(&place, &listeners)));
    let server = place.serve();
    // The most of a greeting that says it is 508 bytes long, in a record of 512.
    let greeting = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 400]].concat();
    let process = server.process.id();
    let held = || sockets(process) > CLIENTS;
    a_thousand_at(address(&server, 1), "stalled handshakes", 64.0, &server, &greeting, held);
}
