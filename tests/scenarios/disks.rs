//! A disk that takes nothing more: traffic flows, no step goes forward, every step back works.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use control::view::Phase;
use loadtest::{Fraction, failures};

use crate::patience::until_true;
use crate::process::tidegate_after;
use crate::shop::{Place, Server, configuration, origin};

const PLAN: &str = "{ warmup: 0s, steps: [{ weight: 20%, hold: 3s }, { weight: 50%, hold: 1s }] }";

/// A small file system of its own where this user may mount one.
#[derive(Debug)]
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mounted_on(directory: &Path) -> Option<Self> {
        fs::create_dir_all(directory).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k,mode=700", "tidegate-test"])
            .arg(directory)
            .output()
            .is_ok_and(|done| done.status.success());
        mounted.then(|| Self(directory.to_owned()))
    }
}

impl SmallDisk {
    fn remount(&self, how: &str) {
        let remounted = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0).output().unwrap();
        assert!(remounted.status.success(), "{}", String::from_utf8_lossy(&remounted.stderr));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is about to end may still have files open there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// What takes the space away, and gives it back.
#[derive(Debug)]
enum Space {
    /// A small disk, and a file that fills it.
    Disk(SmallDisk),
    /// A limit on the size of the files that the process may write: for users who may not mount.
    Limit(u32),
}

impl Space {
    fn take(&self) {
        match self {
            Self::Disk(disk) => {
                let mut filler = File::options().create(true).append(true).open(disk.0.join("filler")).unwrap();
                let full = filler.write_all(&[0; 1 << 20]).unwrap_err();
                assert_eq!(full.kind(), ErrorKind::StorageFull);
            }
            Self::Limit(process) => limit_files(*process, "16:unlimited"),
        }
    }

    fn give_back(&self) {
        match self {
            Self::Disk(disk) => fs::remove_file(disk.0.join("filler")).unwrap(),
            Self::Limit(process) => limit_files(*process, "unlimited:unlimited"),
        }
    }
}

fn limit_files(process: u32, bytes: &str) {
    let limited = Command::new("prlimit").args([&format!("--pid={process}"), &format!("--fsize={bytes}")]).output();
    let limited = limited.expect("this test needs to mount a tmpfs, or prlimit (util-linux)");
    assert!(limited.status.success(), "{}", String::from_utf8_lossy(&limited.stderr));
}

/// A server on space that can be taken away.
fn serve(place: &Place) -> (Server, Space) {
    let disk = SmallDisk::mounted_on(&place.state());
    // Who writes beyond a limit gets a signal, unless it is ignored, and then an error.
    let mut command = tidegate_after("trap '' XFSZ");
    command.arg("run").arg("-c").arg(place.file());
    let server = Server::start(command);
    let space = match disk {
        Some(disk) => Space::Disk(disk),
        None => Space::Limit(server.process.id()),
    };
    (server, space)
}

/// The present warnings about the journal.
fn journal_warnings(server: &Server) -> Vec<String> {
    let warnings = server.admin.service("shop").warnings;
    warnings.into_iter().filter(|warning| warning.contains("journal cannot be written")).collect()
}

/// Takes the space away and raises a weight of another service until that is refused: the last block of a full disk
/// may still have room, and the process itself gives blocks back now and then.
fn fill(server: &Server, space: &Space) {
    let refused = (1..=500).find_map(|weight| {
        space.take();
        let answer = server.admin.set_weight("other", "v2", weight);
        (answer.status != 200).then_some(answer)
    });
    space.take();
    let refused = refused.expect("500 steps forward went to a disk that is full");
    assert_eq!((refused.status, refused.kind.as_str()), (503, "application/problem+json"), "{refused:?}");
    assert!(refused.detail().contains("the step was not taken: the journal cannot be written"), "{refused:?}");
}

#[test]
fn on_a_full_disk_traffic_flows_and_a_bad_canary_is_taken_back_and_with_space_steps_go_forward_again() {
    let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
    let other = format!(
        "  other:\n    path: /other\n    stable: v1\n    versions: {{ v1: {{ endpoints: ['{0}'] }}, v2: {{ endpoints: ['{0}'] }} }}\n",
        v1.address()
    );
    place.write(&(configuration(&place, &v1, &v2, PLAN) + &other));
    let (server, space) = serve(&place);
    let load = server.load(400.0).start().unwrap();
    assert_eq!(server.admin.start("shop", "v2").status, 201);

    // When the disk is full.
    fill(&server, &space);

    // Then no step goes forward, and status says why.
    let refused = server.admin.act("shop", "skip");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.detail().contains("no step forward is taken") && refused.detail().contains("abort"), "{refused:?}");
    let held = server.admin.until("shop", "the hold to be over", |rollout| rollout.step_elapsed_s >= 4.0);
    assert_eq!((held.phase, held.step, held.weight), (Phase::Progressing, 1, 2_000), "{held:?}");
    let reason = held.reason.unwrap();
    assert!(reason.contains("waiting for the journal"), "{reason}");
    assert_eq!(journal_warnings(&server).len(), 1);
    let status = server.tidegate(&["status", "shop"]);
    assert!(status.out.contains("the journal cannot be written"), "{status:?}");
    let start = server.admin.start("other", "v2");
    assert_eq!(start.status, 503, "{start:?}");
    assert_eq!(server.admin.act("shop", "promote").status, 503);
    // A lower weight is no step forward.
    assert_eq!(server.admin.set_weight("other", "v2", 0).status, 200);
    let report = load.stop();
    assert_eq!((failures(&report), report.not_sent), (0, 0), "{report}");

    // And a bad canary is taken back all the same.
    v2.dial().set_errors(Fraction::ONE);
    let load = server.load(400.0).start().unwrap();
    let ended = server.admin.until_phase("shop", Phase::RolledBack);
    assert_eq!(ended.weight, 0, "{ended:?}");
    assert!(!journal_warnings(&server).is_empty());
    drop(load.stop());
    let before = v2.arrivals().requests;
    assert_eq!(server.answers(200)("v1"), 200);
    assert_eq!(v2.arrivals().requests, before);

    // When there is space again, the journal is written anew and steps go forward.
    space.give_back();
    until_true("the journal to be written again", || journal_warnings(&server).is_empty());
    v2.dial().set_errors(Fraction::ZERO);
    let load = server.load(400.0).start().unwrap();
    assert_eq!(server.admin.start("shop", "v2").status, 201);
    server.admin.until("shop", "the second step", |rollout| rollout.id != ended.id && rollout.step == 2);
    drop(load.stop());

    // And what happened meanwhile is in it.
    server.process.kill();
    let server = place.serve();
    let rollout = server.admin.rollout("shop");
    assert_eq!((rollout.phase, rollout.step), (Phase::Progressing, 2), "{rollout:?}");
    let history = server.admin.get("/api/v1/services/shop/history");
    assert_eq!((&history.body[0]["id"], &history.body[0]["phase"]), (&ended.id.into(), &"rolled-back".into()));
}

#[test]
fn a_state_directory_that_cannot_be_written_is_served_as_it_was_journalled_and_says_so() {
    let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
    place.write(&configuration(&place, &v1, &v2, PLAN));
    let disk = SmallDisk::mounted_on(&place.state());
    let server = place.serve();
    assert_eq!(server.admin.set_weight("shop", "v2", 3_000).status, 200);
    server.stop();

    // When nothing can be written there any more.
    let command = match &disk {
        Some(disk) => {
            disk.remount("ro");
            place.command()
        }
        None => {
            let mut command = tidegate_after("trap '' XFSZ; ulimit -f 0");
            command.arg("run").arg("-c").arg(place.file());
            command
        }
    };
    let server = Server::start(command);

    // Then the weight is what it was, and only lower ones are taken.
    assert_eq!(server.admin.service("shop").weight, 3_000);
    assert_eq!(server.admin.status_of("/readyz"), Some(200));
    let answers = server.answers(400);
    assert!(answers("v1") > 0 && answers("v2") > 0);
    assert_eq!(server.admin.set_weight("shop", "v2", 4_000).status, 503);
    until_true("the problem to be told", || !journal_warnings(&server).is_empty());
    assert_eq!(server.admin.service("shop").weight, 3_000);
    assert_eq!(server.admin.set_weight("shop", "v2", 0).status, 200);
    assert_eq!(server.answers(100)("v1"), 100);
    server.process.kill();
    if let Some(disk) = disk {
        disk.remount("rw");
    }
}
