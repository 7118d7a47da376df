//! How many requests may be under way at once, and where the others go, under 500 requests a second.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use control::view::VersionView;
use loadtest::{Latency, Length, Load, LoadReport, Origin, failures};

use crate::patience::{LONG, until, until_true};
use crate::shop::{Place, Server, origin};

/// A shop whose stable v1 and whose v2 have these endpoints and keys.
fn serve(v1: (&[&Origin], &str), v2: (&[&Origin], &str), weight: &str) -> (Server, Place) {
    let version = |name: &str, (origins, keys): (&[&Origin], &str)| {
        let addresses: Vec<_> = origins.iter().map(|origin| format!("'{}'", origin.address())).collect();
        format!("      {name}: {{ endpoints: [{}], {keys} }}\n", addresses.join(", "))
    };
    let place = Place::new();
    let (head, v1, v2) = (place.head(), version("v1", v1), version("v2", v2));
    place.write(&format!(
        "{head}  shop:\n    stable: v1\n    canary: v2\n    weight: {weight}\n    versions:\n{v1}{v2}"
    ));
    (place.serve(), place)
}

/// What users get for some seconds, and the most requests that were at one of these origins at once.
fn users(server: &Server, watched: &[&Origin]) -> (LoadReport, u64) {
    let length = Length::Lasts(Duration::from_secs(4));
    let load = Load { length, ..server.load(500.0) }.start().unwrap();
    let mut most = 0;
    until_true("the end of the load", || {
        most = watched.iter().map(|origin| origin.arrivals().in_progress).fold(most, u64::max);
        load.is_over()
    });
    (load.wait(), most)
}

/// What is told of a version once it is told all. Figures come a moment after what they are of.
fn told(server: &Server, name: &str, is_all: impl Fn(&VersionView) -> bool) -> VersionView {
    until("the figures", || {
        let versions = server.admin.service("shop").versions;
        versions.into_iter().find(|it| it.name == name && it.in_flight == 0 && is_all(it))
    })
}

fn slow(origin: &Origin) {
    origin.dial().set_latency(Latency::fixed(Duration::from_millis(100)));
}

#[test]
fn what_a_canary_has_no_room_for_is_served_by_stable_and_judged_for_neither() {
    let (v1, v2) = (origin("v1"), origin("v2"));
    slow(&v2);
    let (server, _place) = serve((&[&v1], ""), (&[&v2], "limits: { requests: 5 }"), "50%");
    let (report, most) = users(&server, &[&v2]);
    assert_eq!((failures(&report), report.not_sent), (0, 0), "{report}");
    assert!((4..=5).contains(&most), "{most} at once");
    let canary = told(&server, "v2", |it| it.requests == report.by_version["v2"].responses);
    // 250 a second are drawn there, and 50 have room.
    assert!(canary.overflows * 2 > report.sent / 2, "{canary:?}");
    assert_eq!((canary.failed, canary.saved), (0, 0), "{canary:?}");
    let counted = server.admin.counted("tidegate_overflows_total", &[("service", "shop"), ("version", "v2")]);
    assert_eq!(counted, canary.overflows);
    server.stop();
}

#[test]
fn what_stable_has_no_room_for_is_answered_with_503_and_when_to_come_back() {
    let v1 = origin("v1");
    let v2 = origin("v2");
    slow(&v1);
    let (server, _place) = serve((&[&v1], "limits: { requests: 10 }"), (&[&v2], ""), "0%");
    let (report, most) = users(&server, &[&v1]);
    assert!((9..=10).contains(&most), "{most} at once");
    assert_eq!(failures(&report), report.server_errors, "{report}");
    let refused = report.by_status[&503];
    // 100 a second have room.
    assert!(refused == report.server_errors && refused * 10 > report.sent * 6, "{report}");
    let stable = told(&server, "v1", |it| it.overflows >= refused);
    assert_eq!((stable.overflows, stable.failed), (refused, 0), "nobody's failure: {stable:?}");

    // Whoever comes while it is full is told so.
    v1.dial().set_latency(Latency::fixed(LONG));
    let mut held: Vec<_> = (0..10).map(|_| asked(&server)).collect();
    until_true("ten at once", || v1.arrivals().in_progress == 10);
    let mut answer = String::new();
    asked(&server).read_to_string(&mut answer).unwrap();
    let answer = answer.to_lowercase();
    assert!(answer.starts_with("http/1.1 503 ") && answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    held.clear();
    server.stop();
}

/// A connection on which something was asked.
fn asked(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").unwrap();
    stream
}

#[test]
fn no_endpoint_gets_more_at_once_than_each_may_have() {
    let (a, b, v2) = (origin("a"), origin("b"), origin("v2"));
    slow(&a);
    slow(&b);
    let (server, _place) = serve((&[&a, &b], "limits: { requests_per_endpoint: 4 }"), (&[&v2], ""), "0%");
    let (report, most) = users(&server, &[&a, &b]);
    assert!((3..=4).contains(&most), "{most} at once");
    assert_eq!(failures(&report), report.by_status[&503], "{report}");
    let (a, b) = (report.by_version["a"].responses, report.by_version["b"].responses);
    assert!(a.abs_diff(b) * 4 < a + b, "{report}");
    server.stop();
}
