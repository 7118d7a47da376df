//! What keeps a process from starting: each says what is wrong and where, and leaves nothing behind.

use std::fs;
use std::net::TcpListener;

use crate::process::{End, Process, tidegate};
use crate::shop::{Place, Shop, configuration, origin, shop};

const PLAN: &str = "{ steps: [{ weight: 5%, hold: 10m }] }";

/// Runs a command that is to fail, and returns what it said.
fn refused(command: std::process::Command) -> String {
    let end = Process::start(command).end();
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(end.err.contains("tidegate: "), "it does not say who speaks: {end:?}");
    assert!(!end.err.contains("panicked"), "{end:?}");
    end.err
}

/// A place whose configuration is good.
fn good_place() -> Place {
    let place = Place::new();
    place.write(&(place.head() + &shop("v1", &[("v1", &["127.0.0.1:9".parse().unwrap()])], PLAN)));
    place
}

#[test]
fn a_second_process_on_the_same_state_directory_is_refused() {
    let shop = Shop::open(PLAN);

    let said = refused(shop.place.command());

    let state = shop.place.state();
    let first = shop.server.process.id().to_string();
    for told in ["in use by another tidegate", state.to_str().unwrap(), &first, "another 'state'"] {
        assert!(said.contains(told), "{told} is missing: {said}");
    }
    assert_eq!(shop.server.answers(20)("v1"), 20);
    assert_eq!(shop.admin().status_of("/readyz"), Some(200));
}

#[test]
fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for key in ["listeners: [{ address: ", "admin: { address: "] {
        let place = good_place();
        let text = fs::read_to_string(place.file()).unwrap();
        place.write(&text.replace(&format!("{key}'127.0.0.1:0'"), &format!("{key}'{address}'")));

        let said = refused(place.command());

        assert!(said.contains(&address.to_string()), "{key}: {said}");
        assert!(said.contains("in use"), "{key}: {said}");
    }
}

#[test]
fn a_file_in_place_of_the_state_directory_is_refused() {
    let place = good_place();
    fs::write(place.state(), "not a directory").unwrap();

    let said = refused(place.command());

    assert!(said.contains(place.state().to_str().unwrap()) && said.contains("state directory"), "{said}");
    assert_eq!(fs::read_to_string(place.state()).unwrap(), "not a directory");
}

#[test]
fn a_journal_that_cannot_be_read_is_refused_and_left_as_it_is() {
    let place = good_place();
    let journal = place.state().join("journal");
    fs::create_dir_all(&journal).unwrap();
    let said = refused(place.command());
    assert!(said.contains("the journal cannot be read") && said.contains(place.state().to_str().unwrap()), "{said}");

    fs::remove_dir(&journal).unwrap();
    fs::write(&journal, "something else altogether\n").unwrap();
    let said = refused(place.command());
    assert!(said.contains("the journal cannot be used") && said.contains("move it away"), "{said}");
    assert_eq!(fs::read_to_string(&journal).unwrap(), "something else altogether\n");
}

#[test]
fn every_problem_of_a_bad_configuration_is_told_with_its_place() {
    let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
    let good = configuration(&place, &v1, &v2, "{ steps: [{ weight: 500%, hold: 10m }] }");
    place.write(&good.replace("stable: v1", "stable: v9\n    canray: v2"));

    let said = refused(place.command());

    let places: Vec<_> = said.lines().filter(|line| line.contains("shop.yaml:")).collect();
    assert_eq!(places.len(), 3, "{said}");
    for (place, told) in [("6:13", "`v9`"), ("7:5", "canray"), ("11:", "500%")] {
        let found = places.iter().any(|line| line.contains(&format!("shop.yaml:{place}")) && line.contains(told));
        assert!(found, "{place} and {told}: {said}");
    }
    assert!(!place.state().exists(), "a bad configuration left a state directory behind");

    // `check` says the same.
    let mut check = tidegate();
    check.arg("check").arg("-c").arg(place.file());
    let End { code, out, .. } = Process::start(check).end();
    assert_eq!(code, Some(1), "{out}");
    assert!(places.iter().all(|line| out.contains(line.trim_start_matches("tidegate: "))), "{out}\n{said}");
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let place = Place::new();
    let said = refused(place.command());
    assert!(said.contains(place.file().to_str().unwrap()), "{said}");
}

#[test]
fn an_admin_address_that_others_reach_needs_a_token() {
    let place = good_place();
    let text = fs::read_to_string(place.file()).unwrap();
    place.write(&text.replace("admin: { address: '127.0.0.1:0' }", "admin: { address: '0.0.0.0:0' }"));

    let said = refused(place.command());

    assert!(said.contains("0.0.0.0:0") && said.contains("TIDEGATE_TOKEN"), "{said}");
}

#[test]
fn a_command_line_that_is_wrong_ends_with_2() {
    let wrong: [&[&str]; 6] = [
        &[],
        &["frobnicate"],
        &["run"],
        &["run", "-c", "a.yaml", "--stable", "127.0.0.1:1"],
        &["weight", "shop", "110%"],
        &["--admin", "ftp://x", "status"],
    ];
    for arguments in wrong {
        let mut command = tidegate();
        command.args(arguments);
        let end = Process::start(command).end();
        assert_eq!(end.code, Some(2), "{arguments:?}: {end:?}");
        assert!(!end.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_command_that_reaches_nobody_says_so_and_ends_with_1() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = tidegate();
    command.args(["--admin", &format!("http://{nobody}"), "status"]);

    let said = refused(command);

    assert!(said.contains(&nobody.to_string()) && said.contains("is the server running"), "{said}");
}
