//! Endpoints that answer their health checks with anything but what they should: each is unhealthy, and it is said why.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use control::plane::EndpointHealth;
use loadtest::{Length, Load, Origin, failures};

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

/// A service for each of these: its stable has one good endpoint and this bad one, and asks them with this check.
fn serve(good: &Origin, bad: &[(SocketAddr, &str)]) -> (Server, Place) {
    let place = Place::new();
    let (mut text, good) = (place.head(), good.address());
    for (number, (bad, keys)) in bad.iter().enumerate() {
        text.push_str(&format!(
            "  s{number}: {{ path: /{number}, versions: {{ v1: {{ endpoints: ['{good}', '{bad}'], {keys} }} }} }}\n"
        ));
    }
    place.write(&text);
    (place.serve(), place)
}

/// A check of this kind that comes often.
fn asks(question: &str) -> String {
    format!("health: {{ {question}, interval: 200ms, timeout: 200ms, unhealthy: 2 }}")
}

/// Why the second endpoint of a service is unhealthy, once it is.
fn reason(server: &Server, number: usize) -> String {
    let name = format!("s{number}");
    let second = || server.admin.service(&name).versions.remove(0).endpoints.remove(1);
    let ill = until("unhealthy", || Some(second()).filter(|it| it.state == EndpointHealth::Unhealthy));
    ill.reason.unwrap()
}

#[test]
fn whatever_is_wrong_with_an_answer_to_a_health_check_is_told_in_plain_words() {
    let good = origin("a");
    let cases = [
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
    ];
    let check = asks("path: /healthz");
    let bad: Vec<_> = cases.iter().map(|(first, then, _)| (hostile(first, *then), check.as_str())).collect();
    let (server, _place) = serve(&good, &bad);
    let reasons: Vec<_> = (0..cases.len()).map(|number| reason(&server, number)).collect();
    let status = server.tidegate(&["status"]).out;
    for ((.., told), reason) in cases.iter().zip(&reasons) {
        assert!(reason.starts_with("its health check fails: ") && reason.contains(told), "{told}: {reason}");
        assert!(status.contains(reason), "{reason}: {status}");
    }
    // Users are served by the other.
    let length = Length::Count(200);
    let load = Load { length, path: "/3".to_owned(), ..server.load(500.0) };
    let report = load.start().unwrap().wait();
    assert_eq!((report.answered, failures(&report)), (200, 0), "{report}");
    server.stop();
}

#[test]
fn a_body_without_an_end_is_not_read() {
    let good = origin("a");
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let (server, _place) = serve(&good, &[(hostile(head, Some(b"4\r\nbody\r\n")), &asks("path: /healthz"))]);
    let checked = || server.admin.service("s0").versions.remove(0).health_checks.unwrap();
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
    let keys = ["path: /healthz", "grpc: ''"].map(|question| format!("protocol: h2c, {}", asks(question)));
    let (server, _place) = serve(&good, &keys.each_ref().map(|keys| (other, keys.as_str())));
    for number in 0..keys.len() {
        let reason = reason(&server, number);
        assert!(reason.contains("HTTP/2"), "{reason}");
    }
    server.stop();
}

/// Memory that the process has, in bytes.
fn resident(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
