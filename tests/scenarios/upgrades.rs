//! A new executable takes over from the old one, or fails to, and nobody notices.

mod clients;
mod failing;
mod health;
mod left_behind;
mod listening;
mod telling;
mod under_load;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use loadtest::Origin;
use serde_json::Value;

use crate::patience::until;
use crate::process::{Process, Signal, send};
use crate::shop::{Place, Server, configuration, origin};

/// A `shop` whose executable is a file of its own, which can be replaced.
pub(crate) struct Upgradable {
    pub(crate) server: Server,
    pub(crate) v1: Origin,
    _v2: Origin,
    pub(crate) place: Place,
}

impl Upgradable {
    pub(crate) fn open(plan: &str, more: &str) -> Self {
        let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
        place.write(&format!("{more}\n{}", configuration(&place, &v1, &v2, plan)));
        fs::copy(env!("CARGO_BIN_EXE_tidegate"), executable(&place)).unwrap();
        let mut command = Command::new(executable(&place));
        command.arg("run").arg("-c").arg(place.file());
        for variable in ["TIDEGATE_ADMIN", "TIDEGATE_TOKEN", "TIDEGATE_LOG"] {
            command.env_remove(variable);
        }
        Self { server: Server::of(Process::start(command)), v1, _v2: v2, place }
    }

    /// Puts a script in place of the executable. `$REAL` in it is the executable.
    pub(crate) fn replace_by(&self, script: &str) {
        let path = executable(&self.place);
        let real = env!("CARGO_BIN_EXE_tidegate");
        fs::write(path.with_extension("new"), format!("#!/bin/sh\nREAL='{real}'\n{script}\n")).unwrap();
        self.put_new();
    }

    /// Puts these bytes in place of the executable.
    pub(crate) fn replace_by_bytes(&self, bytes: &[u8]) {
        fs::write(executable(&self.place).with_extension("new"), bytes).unwrap();
        self.put_new();
    }

    /// The executable in place of the executable, as a new file.
    pub(crate) fn replace_by_itself(&self) {
        fs::copy(env!("CARGO_BIN_EXE_tidegate"), executable(&self.place).with_extension("new")).unwrap();
        self.put_new();
    }

    fn put_new(&self) {
        let new = executable(&self.place).with_extension("new");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, executable(&self.place)).unwrap();
    }

    /// What the process that serves tells of itself.
    pub(crate) fn process(&self) -> Value {
        process(&self.server)
    }

    /// The process that serves is asked to let a new one take over; the number of the new one, once it serves.
    pub(crate) fn upgrade(&self) -> u32 {
        upgrade(&self.server)
    }
}

fn executable(place: &Place) -> PathBuf {
    place.file().with_file_name("tidegate")
}

/// What the process that serves tells of itself.
pub(crate) fn process(server: &Server) -> Value {
    until("the control API to answer", || {
        let answer = server.admin.ask(ureq::http::Method::GET, "/api/v1/process", &[], "")?;
        (answer.status == 200).then_some(answer.body)
    })
}

/// The number of the process that serves.
pub(crate) fn pid(server: &Server) -> u32 {
    u32::try_from(process(server)["pid"].as_u64().unwrap()).unwrap()
}

/// The process that serves is asked to let a new one take over; the number of the new one, once it serves.
pub(crate) fn upgrade(server: &Server) -> u32 {
    let old = pid(server);
    // A disk that hangs for seconds, as one does that all tests write to, puts an upgrade off.
    let put_off = || server.process.errors().matches("the disk of the state directory does not answer").count();
    let mut asked = put_off();
    send(Signal::Usr2, old);
    until("a new process to serve", || {
        let new = pid(server);
        if new == old && put_off() > asked {
            asked = put_off();
            send(Signal::Usr2, old);
        }
        Some(new).filter(|new| *new != old)
    })
}
