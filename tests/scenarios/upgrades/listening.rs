//! What is listened on before an upgrade and after it.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use super::{Upgradable, pid, upgrade};
use crate::patience::{until, until_true};
use crate::process::{Signal, runs, send, tidegate};

const PLAN: &str = "{ steps: [{ weight: 20%, hold: 1h }] }";

#[test]
fn sockets_of_files_are_kept_left_and_opened_as_the_file_says_and_removed_by_whoever_has_them_last() {
    let mut shop = Upgradable::open(PLAN, "");
    let good = fs::read_to_string(shop.place.file()).unwrap();
    let socket = |name: &str| shop.place.file().with_file_name(name);
    let (kept, left, new) = (socket("kept.sock"), socket("left.sock"), socket("new.sock"));
    let with = |sockets: [&std::path::PathBuf; 2]| {
        let listeners = sockets.map(|path| format!("{{ address: 'unix:{}' }}", path.display())).join(", ");
        good.replace("listeners: [", &format!("listeners: [{listeners}, "))
    };
    shop.place.write(&with([&kept, &left]));
    // The first upgrade opens them.
    let first = shop.upgrade();
    assert_eq!(shop.server.process.leaves(), Some(0));
    assert!(UnixStream::connect(&kept).is_ok() && UnixStream::connect(&left).is_ok());
    let inode = fs::metadata(&kept).unwrap().ino();

    shop.place.write(&with([&new, &kept]));
    let second = shop.upgrade();

    until_true("the first to end", || !runs(first));
    assert!(UnixStream::connect(&new).is_ok() && !left.exists());
    assert_eq!(fs::metadata(&kept).unwrap().ino(), inode, "the file of the socket was replaced");
    assert!(UnixStream::connect(&kept).is_ok());
    assert!(TcpStream::connect(shop.server.address).is_ok());
    send(Signal::Term, second);
    until_true("the second to end", || !runs(second));
    assert!(!kept.exists() && !new.exists());
}

#[test]
fn the_state_directory_is_never_free_and_tells_who_has_it() {
    let mut shop = Upgradable::open(PLAN, "");
    let other = || {
        let mut command = tidegate();
        let state = shop.place.state();
        command.args(["run", "--stable", "127.0.0.1:9", "--listen", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"]);
        command.arg("--state").arg(state);
        crate::process::Process::start(command).end()
    };
    assert!(other().err.contains("in use by another tidegate"));
    let new = shop.upgrade();
    assert!(other().err.contains(&format!("in use by another tidegate (process {new})")));
    assert_eq!(shop.server.process.leaves(), Some(0));
    assert!(other().err.contains("in use by another tidegate"));
    // It is free once the new one is gone, and not before.
    send(Signal::Kill, new);
    until("another to have it", || {
        let server = shop.place.serve();
        let has_it = pid(&server) == server.process.id();
        server.stop();
        has_it.then_some(())
    });
}

#[test]
fn people_who_follow_a_rollout_do_not_notice_an_upgrade() {
    let mut shop = Upgradable::open("{ steps: [{ weight: 20%, hold: 1h }] }", "");
    let following = shop.server.command(&["rollout", "start", "shop", "--canary", "v2", "--wait"]);
    following.has_printed("v2 at 20%");

    upgrade(&shop.server);
    upgrade(&shop.server);
    let answer = shop.server.admin.act("shop", "promote");

    assert_eq!(answer.status, 200, "{answer:?}");
    let end = following.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    assert_eq!(shop.server.process.leaves(), Some(0));
    assert_eq!(shop.server.process.started().len(), 2);
}
