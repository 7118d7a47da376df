//! h2load, as it comes from its distribution, while the weight changes.

use std::process::Command;

use crate::authority::Authority;
use crate::edge::{address, head, listener};
use crate::patience::until_true;
use crate::process::Process;
use crate::shop::{Place, origin, shop};

const REQUESTS: u64 = 20_000;

/// Sends requests over 8 connections with 16 streams each, and waits for each of three changes of the weight to have
/// had traffic.
fn loses_nothing(scheme: &str, place_of_listener: usize, spoken: &str) {
    let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
    let ca = Authority::new(&place);
    ca.write("shop", &["shop.test"]);
    let head = head(&place, &[listener(&[ca.certificate("shop")], "")]);
    place.write(&(head + &shop("v1", &[("v1", &[v1.address()]), ("v2", &[v2.address()])], "{}")));
    let server = place.serve();
    let mut command = Command::new("h2load");
    command.args(["-n", &REQUESTS.to_string(), "-c", "8", "-m", "16"]);
    command.arg(format!("{scheme}://{}/", address(&server, place_of_listener)));
    let mut load = Process::start(command);

    let answered = || v1.arrivals().requests + v2.arrivals().requests;
    let mut changes = 0;
    while load.is_running() {
        let before = answered();
        // 0 %, 50 % and 100 %, again and again.
        assert_eq!(server.admin.set_weight("shop", "v2", changes % 3 * 5_000).status, 200);
        until_true("requests at this weight", || answered() > before + 100 || !load.is_running());
        changes += 1;
    }
    let end = load.end();

    let all =
        format!("{REQUESTS} total, {REQUESTS} started, {REQUESTS} done, {REQUESTS} succeeded, 0 failed, 0 errored");
    for told in [&all, &format!("status codes: {REQUESTS} 2xx"), &format!("Application protocol: {spoken}")] {
        assert!(end.code == Some(0) && end.out.contains(told), "{told} is missing: {end:?}");
    }
    assert!(changes >= 4, "the weight changed only {changes} times");
    assert_eq!(answered(), REQUESTS);
    assert!(v1.arrivals().requests > 0 && v2.arrivals().requests > 0);
    server.stop();
}

#[test]
fn h2load_over_tls_loses_no_request_while_the_weight_changes() {
    loses_nothing("https", 1, "h2");
}

#[test]
fn h2load_without_tls_loses_no_request_while_the_weight_changes() {
    loses_nothing("http", 0, "h2c");
}
