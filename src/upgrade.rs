//! Upgrading the executable without its clients noticing: `USR2`.
//!
//! The old process starts the executable anew, hands over its listening sockets and the lock of the state directory,
//! and drains. The two talk over a socket in a directory that is theirs alone, in this order:
//!
//! 1. The new one says hello and is given the listening sockets. It reads its configuration, resolves names, reads
//!    certificates, opens what it was not given, and says that it is ready.
//! 2. The old one stops its control API and its control loop, which saves the evidence and ends the journal. Its data
//!    plane goes on with the split in force. It hands over the state directory.
//! 3. The new one replays the journal, serves, and says so.
//! 4. The old one accepts no more, drains and ends. Until then the two stay in touch: the new one tells what it decides,
//!    the old one steers what is left there by it and tells what that is (docs/decisions/0050).
//!
//! Whatever fails before the third step is done, and whoever hangs, changes nothing: the old one kills the new one (its
//! own child), starts its control loop again and serves on (docs/decisions/0029).

mod course;
mod elders;
mod executable;
mod following;
mod meeting;
mod predecessor;
mod successor;
mod wire;

use std::fs;
use std::time::Instant;

pub(crate) use self::elders::Elders;
pub use self::executable::Executable;
pub(crate) use self::following::{Following, Own};
pub(crate) use self::predecessor::{News, Offer, Taken, Upgrade};
pub use self::successor::Heir;

/// Names the directory where the old process waits for the new one.
const VARIABLE: &str = "TIDEGATE_UPGRADE";

/// Of this form is what they say to each other.
const PROTOCOL: u32 = 1;

/// Why an upgrade makes no sense where this process runs, in a sentence; none where it does.
pub(crate) fn why_not() -> Option<String> {
    if std::process::id() == 1 {
        return Some(
            "this is process 1 of a container, which ends with it: start a container of the new image and stop this one"
                .to_owned(),
        );
    }
    // Known programs that begin a container's one process and end the container with it.
    const BEGINNERS: [&str; 5] = ["tini", "docker-init", "dumb-init", "catatonit", "pause"];
    let first = fs::read_to_string("/proc/1/comm").unwrap_or_default();
    let is_child_of_first = rustix::process::getppid().is_some_and(|parent| parent.as_raw_nonzero().get() == 1);
    let beginner = BEGINNERS.into_iter().find(|beginner| is_child_of_first && *beginner == first.trim())?;
    Some(format!(
        "{beginner} ends this container when this process ends: start a container of the new image and stop this one"
    ))
}

#[expect(clippy::disallowed_methods, reason = "the executable is a shell: processes are waited for in real time")]
fn now() -> Instant {
    Instant::now()
}
