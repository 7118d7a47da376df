//! Endpoints that are left alone: also by the process that takes over, and by the one that is started after it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use control::plane::EndpointHealth;
use control::view::EndpointView;
use jiff::{SignedDuration, Timestamp};

use super::{pid, upgrade};
use crate::patience::{until, until_true};
use crate::process::{Signal, runs, send};
use crate::shop::{Place, Server, origin};

/// An endpoint that fails its health checks and answers users, whom it counts.
struct Ill {
    address: SocketAddr,
    users: Arc<AtomicU64>,
}

impl Ill {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, users) = (listener.local_addr().unwrap(), Arc::default());
        let counted = Arc::clone(&users);
        // Ends with the process of the test.
        drop(thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                drop(thread::spawn(move || answer(stream, &counted)));
            }
        }));
        Self { address, users }
    }

    fn users(&self) -> u64 {
        self.users.load(Ordering::Acquire)
    }
}

fn answer(mut stream: TcpStream, users: &AtomicU64) -> Option<()> {
    let mut asked = [0; 4096];
    let read = stream.read(&mut asked).ok().filter(|read| *read > 0)?;
    let is_check = asked[..read].starts_with(b"GET /healthz ");
    if !is_check {
        users.fetch_add(1, Ordering::AcqRel);
    }
    let status = if is_check { "503 Ill" } else { "200 OK" };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()
}

/// How the second endpoint of `shop` does.
fn second(server: &Server) -> EndpointView {
    server.admin.service("shop").versions.remove(0).endpoints.remove(1)
}

/// Since when it does as it does.
fn moment(endpoint: &EndpointView) -> Timestamp {
    endpoint.since.as_ref().unwrap().parse().unwrap()
}

#[test]
fn an_endpoint_that_checks_took_away_gets_no_request_after_an_upgrade_a_restart_and_a_kill() {
    let (good, ill, place) = (origin("a"), Ill::start(), Place::new());
    let endpoints = format!("endpoints: ['{}', '{}']", good.address(), ill.address);
    // One that is new is first asked within five seconds.
    let check = "health: { path: /healthz, interval: 5s, unhealthy: 1 }";
    place.write(&format!("{}  shop: {{ versions: {{ v1: {{ {endpoints}, {check} }} }} }}\n", place.head()));
    let server = place.serve();
    let is_ill = |server: &Server| second(server).state == EndpointHealth::Unhealthy;
    until_true("the endpoint to be unhealthy", || is_ill(&server));
    let since = moment(&second(&server));
    let begun = ill.users();
    let nobody_comes = |server: &Server, when: &str| {
        let _ = server.answers(200);
        assert_eq!(ill.users(), begun, "{when}");
        let second = second(server);
        assert_eq!(second.state, EndpointHealth::Unhealthy, "{when}");
        // Told by the wall clock each time, so not to the last digit.
        let moved = moment(&second).duration_since(since).abs();
        assert!(moved < SignedDuration::from_secs(2), "{when}: {moved:?}");
    };
    nobody_comes(&server, "before");

    let (old, new) = (pid(&server), upgrade(&server));
    nobody_comes(&server, "after an upgrade");
    until_true("the old process to end", || !runs(old));

    send(Signal::Term, new);
    until_true("the new process to end", || !runs(new));
    let server = place.serve();
    nobody_comes(&server, "after a restart");

    server.process.kill();
    let server = place.serve();
    nobody_comes(&server, "after a kill");

    // What is damaged is nothing, and no reason not to start.
    server.stop();
    fs::write(place.state().join("health.json"), "\0\0\0").unwrap();
    let mut server = place.serve();
    server.process.has_said("what was known of endpoints cannot be read");
    until("it to be learnt anew", || is_ill(&server).then_some(()));
    server.stop();
}
