//! Upgrades that come to nothing: the old process serves on, judges on, and says why.

use std::fs;

use loadtest::{Latency, failures};

use super::Upgradable;
use crate::patience::{LONG, found_within, until, until_true};
use crate::process::{Signal, runs, send};

const PLAN: &str = "{ steps: [{ weight: 20%, hold: 1h }] }";

/// An upgrade of a running rollout is tried and fails: nobody notices, the tests go on where they were, and the reason
/// is told in the log and by the API.
fn nobody_notices(shop: &mut Upgradable, why: &[&str], meanwhile: impl FnOnce(&mut Upgradable)) {
    let load = shop.server.load(500.0).start().unwrap();
    shop.server.admin.start("shop", "v2");
    let before = shop.server.admin.until("shop", "evidence", |rollout| rollout.requests.canary >= 50);
    let old = shop.server.process.id();

    shop.server.process.signal(Signal::Usr2);
    meanwhile(shop);
    // One that hangs has its time.
    let told = found_within(3 * LONG, || {
        let told = shop.server.process.errors();
        told.lines().find(|line| line.contains("not upgraded, this process serves on")).map(ToOwned::to_owned)
    });

    let told = told.expect("the old process says that it serves on");
    assert!(why.iter().all(|why| told.contains(why)), "{why:?}: {told}");
    let judged = before.requests.stable + before.requests.canary;
    let after = shop
        .server
        .admin
        .until("shop", "more evidence", |rollout| rollout.requests.stable + rollout.requests.canary > judged + 500);
    assert_eq!((&after.id, after.weight), (&before.id, before.weight));
    let process = shop.process();
    assert_eq!((process["pid"].as_u64(), process["phase"].as_str()), (Some(old.into()), Some("serving")), "{process}");
    let failed = process["last_upgrade"]["failed"].as_str().unwrap();
    assert!(why.iter().all(|why| failed.contains(why)), "{process}");
    let report = load.stop();
    assert_eq!((failures(&report), report.not_sent), (0, 0), "{report}");
    assert!(after.requests.stable + after.requests.canary <= report.sent);
    for started in shop.server.process.started() {
        assert!(!runs(started), "the new process was left behind");
    }
    assert!(!shop.place.state().join("upgrade").exists());
}

/// What failed can be tried again, and works.
fn then_works(mut shop: Upgradable) {
    shop.replace_by_itself();
    let new = shop.upgrade();
    assert_eq!(shop.process()["last_upgrade"]["failed"], serde_json::Value::Null);
    assert_eq!(shop.server.process.leaves(), Some(0));
    send(Signal::Term, new);
    until_true("the new process to end", || !runs(new));
}

#[test]
fn an_executable_that_is_broken_missing_or_no_program_changes_nothing() {
    let mut shop = Upgradable::open(PLAN, "");
    shop.replace_by_bytes(b"\x7fELF and no more");
    nobody_notices(&mut shop, &["tidegate cannot be started"], |_| {});
    shop.replace_by_bytes(b"half of a downl");
    shop.server.process.signal(Signal::Usr2);
    shop.server.process.has_said("is no program");
    fs::remove_file(super::executable(&shop.place)).unwrap();
    shop.server.process.signal(Signal::Usr2);
    shop.server.process.has_said("No such file or directory");
    then_works(shop);
}

#[test]
fn a_new_process_that_refuses_the_configuration_or_ends_says_why() {
    let mut shop = Upgradable::open(PLAN, "");
    let good = fs::read_to_string(shop.place.file()).unwrap();
    shop.place.write(&good.replace("stable: v1", "stable: v7"));
    nobody_notices(&mut shop, &["the new process refused", "shop.yaml", "v7"], |_| {});
    shop.place.write(&good);
    shop.replace_by("exit 7");
    shop.server.process.signal(Signal::Usr2);
    shop.server.process.has_said("the new process ended with exit code 7 before it took over");
    // An address that somebody has.
    shop.replace_by_itself();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    shop.place.write(&good.replace("listeners: [", &format!("listeners: [{{ address: '{address}' }}, ")));
    shop.server.process.signal(Signal::Usr2);
    shop.server.process.has_said(&format!("the new process refused: cannot listen on {address}"));
    shop.place.write(&good);
    then_works(shop);
}

#[test]
fn an_address_that_overlaps_with_one_that_is_served_is_refused_and_nobody_is_told_to_stop_what_serves() {
    let mut shop = Upgradable::open(PLAN, "");
    let good = fs::read_to_string(shop.place.file()).unwrap();
    let widened = |port: u16| good.replace("listeners: [", &format!("listeners: [{{ address: '0.0.0.0:{port}' }}, "));
    let (served, admin) = (shop.server.address, shop.server.admin.address);
    for theirs in [served, admin] {
        shop.place.write(&widened(theirs.port()));
        shop.server.process.signal(Signal::Usr2);
        let (port, told) = (theirs.port(), "the process that is to be replaced listens on");
        shop.server
            .process
            .has_said(&format!("the new process refused: cannot listen on 0.0.0.0:{port}: {told} {theirs}"));
    }
    shop.place.write(&good);
    then_works(shop);
}

#[test]
fn a_file_with_another_state_directory_or_without_a_version_of_the_rollout_changes_nothing() {
    let mut shop = Upgradable::open(PLAN, "");
    let good = fs::read_to_string(shop.place.file()).unwrap();
    shop.place.write(&good.replace("/state'", "/elsewhere'"));
    nobody_notices(&mut shop, &["the new process refused", "elsewhere", "would be forgotten"], |_| {});
    assert!(!shop.place.state().with_file_name("elsewhere").exists());

    let without: Vec<_> = good.lines().filter(|line| !line.trim_start().starts_with("v2:")).collect();
    shop.place.write(&without.join("\n"));
    shop.server.process.signal(Signal::Usr2);
    shop.server.process.has_said("the new process refused: shop: version v2 is part of a running rollout");
    assert_eq!(shop.server.admin.rollout("shop").weight, 2_000);
    shop.place.write(&good);
    then_works(shop);
}

#[test]
fn a_new_process_that_hangs_is_ended_and_a_second_upgrade_meanwhile_is_refused() {
    let mut shop = Upgradable::open(PLAN, "");
    shop.replace_by("exec sleep 1000");
    nobody_notices(&mut shop, &["was not ready within 30 s"], |shop| {
        shop.server.process.has_said("the new process is started");
        let process = shop.process();
        assert_eq!(process["phase"], "upgrading", "{process}");
        shop.server.process.signal(Signal::Usr2);
        shop.server.process.has_said("not upgraded again: an upgrade is under way");
        // A reload waits for its end.
        shop.server.process.signal(Signal::Hup);
        shop.server.process.has_said("reload: waits for the upgrade");
    });
    shop.server.process.has_said("configuration reloaded");
    then_works(shop);
}

#[test]
fn a_new_process_that_is_killed_while_it_starts_changes_nothing() {
    let mut shop = Upgradable::open(PLAN, "");
    shop.replace_by("exec sleep 1000");
    nobody_notices(&mut shop, &["was killed by signal 9"], |shop| {
        shop.server.process.has_said("the new process is started");
        send(Signal::Kill, shop.server.process.started()[0]);
    });
    then_works(shop);
}

#[test]
fn of_a_new_process_that_is_killed_once_it_has_the_state_directory_the_old_one_takes_it_back() {
    let mut shop = Upgradable::open(PLAN, "");
    // The first byte that it writes to a file is in the state directory, and the system ends it for that.
    shop.replace_by("ulimit -c 0; ulimit -f 0; exec \"$REAL\" \"$@\"");
    nobody_notices(&mut shop, &["was killed by signal 25"], |_| {});
    shop.server.process.has_said("control loop stops");
    shop.server.process.has_said("the control loop goes on");
    let holder = fs::read_to_string(shop.place.state().join("lock")).unwrap();
    assert_eq!(holder, shop.server.process.id().to_string());
    then_works(shop);
}

#[test]
fn a_process_that_drains_or_is_told_to_end_while_it_upgrades_starts_no_other() {
    let mut shop = Upgradable::open(PLAN, "drain: { grace: 10s }");
    shop.replace_by("exec sleep 1000");
    shop.server.process.signal(Signal::Usr2);
    shop.server.process.has_said("the new process is started");
    let new = shop.server.process.started()[0];

    shop.server.process.signal(Signal::Term);

    shop.server.process.has_said("upgrade: given up, since this process is told to end");
    assert!(!runs(new), "the new process was left behind");
    shop.server.process.signal(Signal::Usr2);
    shop.server.process.has_said("not upgraded: this process drains and ends");
    assert_eq!(shop.process()["phase"], "draining");
    assert_eq!(shop.server.process.end().code, Some(0));
}

#[test]
fn an_old_process_that_drains_after_an_upgrade_starts_no_other_and_is_ended_by_its_second_term() {
    let mut shop = Upgradable::open(PLAN, "");
    shop.v1.dial().set_latency(Latency::fixed(LONG));
    let load = loadtest::Load { length: loadtest::Length::Count(1), ..shop.server.load(10.0) }.start().unwrap();
    until_true("a request in flight", || shop.v1.arrivals().in_progress == 1);
    let new = shop.upgrade();
    shop.server.process.has_said("upgraded: the new process serves; this one drains and ends");

    shop.server.process.signal(Signal::Usr2);
    shop.server.process.has_said("not upgraded: this process drains and ends");
    // A supervisor that tells all processes of a service to end tells this one for the first time.
    shop.server.process.signal(Signal::Term);
    shop.server.process.has_said("this process drains already");
    assert!(shop.server.process.is_running());
    shop.server.process.signal(Signal::Term);

    assert_eq!(shop.server.process.leaves(), Some(3));
    assert_eq!(failures(&load.stop()), 1);
    send(Signal::Term, new);
    until_true("the new process to end", || !runs(new));
}

#[test]
fn when_the_old_process_is_killed_before_the_new_one_has_the_state_the_new_one_ends() {
    let mut shop = Upgradable::open(PLAN, "");
    // Held back until the old one is gone.
    shop.replace_by("kill -STOP $$; exec \"$REAL\" \"$@\"");
    shop.server.process.signal(Signal::Usr2);
    shop.server.process.has_said("the new process is started");
    let new = shop.server.process.started()[0];
    until("the new process to stand still", || {
        let stat = fs::read_to_string(format!("/proc/{new}/stat")).ok()?;
        stat.contains(") T ").then_some(())
    });
    send(Signal::Kill, shop.server.process.id());
    assert_eq!(shop.server.process.leaves(), None);

    send(Signal::Cont, new);

    until_true("the new process to end", || !runs(new));
    shop.server.process.has_said("an old process waits in");
}
