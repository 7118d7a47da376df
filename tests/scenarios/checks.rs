//! Endpoints that answer their health checks with anything but what they should: each is unhealthy, and it is said why.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use control::plane::EndpointHealth;
use loadtest::Origin;

use crate::patience::{until, until_true};
use crate::shop::{Place, Server, origin};

/// An endpoint that sends this once it is asked, and then this for as long as anybody takes it.
fn hostile(first: &'static [u8], then: Option<&'static [u8]>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the process of the test.
    drop(thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            drop(thread::spawn(move || talk(stream, first, then)));
        }
    }));
    address
}

fn talk(mut stream: TcpStream, first: &[u8], then: Option<&[u8]>) -> Option<()> {
    let mut asked = [0; 4096];
    stream.read(&mut asked).ok().filter(|read| *read > 0)?;
    stream.write_all(first).ok()?;
    let then = then?.repeat(1024);
    if then.is_empty() {
        // Neither says any more nor closes.
        while !matches!(stream.read(&mut asked), Ok(0) | Err(_)) {}
    }
    while stream.write_all(&then).is_ok() {}
    Some(())
}

/// Stable has one good endpoint and this one, and asks them with this check.
fn serve(good: &Origin, bad: SocketAddr, check: &str, protocol: &str) -> (Server, Place) {
    let place = Place::new();
    let (head, good) = (place.head(), good.address());
    let check = format!("{check}, interval: 200ms, timeout: 200ms, unhealthy: 2");
    place.write(&format!(
        "{head}  shop: {{ versions: {{ v1: {{ endpoints: ['{good}', '{bad}'], {protocol} health: {{ {check} }} }} }} }}\n"
    ));
    (place.serve(), place)
}

/// Why the second endpoint of v1 is unhealthy, once it is.
fn reason(server: &Server) -> String {
    let second = || server.admin.service("shop").versions.remove(0).endpoints.remove(1);
    let ill = until("unhealthy", || Some(second()).filter(|it| it.state == EndpointHealth::Unhealthy));
    let status = server.tidegate(&["status", "shop"]).out;
    let reason = ill.reason.unwrap();
    assert!(status.contains(&reason), "{reason}: {status}");
    reason
}

#[test]
fn whatever_is_wrong_with_an_answer_to_a_health_check_is_told_in_plain_words() {
    let good = origin("a");
    for (first, then, told) in [
        (&b"\x16\x03\x01 this is not HTTP\r\n\r\n"[..], None, "what it speaks is not HTTP/1.1"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", Some(&b""[..]), "what it speaks is not HTTP/1.1"),
        (b"\0\0\x12\x04\0\0\0\0\0", None, "what it speaks is not HTTP/1.1"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", None, "302, a redirect"),
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", None, "it answered 503 (200 to 299 pass)"),
        (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n", None, "it changed the protocol (101)"),
        (b"HTTP/1.1 99999 What\r\n\r\n", None, "the head of its answer is broken"),
        (b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n", None, "the head of its answer is broken"),
        (b"HTTP/1.1 200 OK\r\n", None, "it closed the connection within the head of its answer"),
        (b"", None, "it closed the connection without an answer"),
        (b"", Some(b""), "no answer within 200ms"),
        (b"HTTP/1.1 200 OK\r\n", Some(b"a: bcdefghijklmnop\r\n"), "64 KiB"),
        (b"", Some(b"HTTP/1.1 100 Continue\r\n\r\n"), "more than 16 interim answers"),
    ] {
        let (server, _place) = serve(&good, hostile(first, then), "path: /healthz", "");
        let reason = reason(&server);
        assert!(reason.starts_with("its health check fails: ") && reason.contains(told), "{told}: {reason}");
        // Users are served by the other.
        assert_eq!(server.answers(50)("a"), 50);
        server.stop();
    }
}

#[test]
fn a_body_without_an_end_is_not_read() {
    let good = origin("a");
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let (server, _place) = serve(&good, hostile(head, Some(b"4\r\nbody\r\n")), "path: /healthz", "");
    let checked = || server.admin.service("shop").versions.remove(0).health_checks.unwrap();
    let after = |passed: u64| until_true("checks", || checked().passed >= passed);
    after(10);
    let before = resident(&server);
    after(60);
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more after 50 checks");
    assert_eq!(checked().failed, 0);
    server.stop();
}

#[test]
fn an_endpoint_that_speaks_http1_where_http2_is_asked_is_told_so() {
    let good = origin("a");
    let other = hostile(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", None);
    for check in ["path: /healthz", "grpc: ''"] {
        let (server, _place) = serve(&good, other, check, "protocol: h2c,");
        let reason = reason(&server);
        assert!(reason.contains("HTTP/2"), "{check}: {reason}");
        server.stop();
    }
}

/// Memory that the process has, in bytes.
fn resident(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
