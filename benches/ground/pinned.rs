//! A program under test on a core of its own, beside what loads it.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::bail;

/// A proxy under test; ended when dropped.
pub(crate) struct Proxy(pub(crate) Child);

impl Proxy {
    /// User and system time so far (proc(5), `/proc/PID/stat`, fields 14 and 15).
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<u64>().ok());
        let (Some(user), Some(system)) = (ticks(11), ticks(12)) else { bail!("/proc/PID/stat reads: {stat}") };
        // Linux counts in hundredths of a second, whatever the kernel's own clock does.
        Ok(Duration::from_millis((user + system) * 10))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) trait Turn {
    /// Starts a proxy.
    fn turn(&mut self) -> anyhow::Result<Proxy>;
}

impl Turn for Command {
    fn turn(&mut self) -> anyhow::Result<Proxy> {
        Ok(Proxy(self.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }
}

/// A program that sees one core only, so that it has as many threads as it should.
pub(crate) fn on_core(core: u32, program: &Path) -> Command {
    if !can_pin() {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}

fn can_pin() -> bool {
    Command::new("taskset").args(["-c", "0,1", "true"]).status().is_ok_and(|status| status.success())
}

/// Keeps this process, which is origin and load, off the proxy's core.
pub(crate) fn leave_first_core() {
    let process = std::process::id().to_string();
    let moved = Command::new("taskset").args(["-a", "-c", "-p", "1", &process]).stdout(Stdio::null()).status();
    if !moved.is_ok_and(|status| status.success()) {
        say("not pinned: `taskset` is missing, or the machine has one core; the figures are rough");
    }
}

/// An address on loopback that nobody listens on.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Says a line to whoever reads.
pub(crate) fn say(line: &str) {
    // Nobody is left to tell where standard output is closed.
    let _ = writeln!(std::io::stdout(), "{line}");
}
