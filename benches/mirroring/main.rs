//! What copies of requests cost the users whose requests are copied: their latency, with copies and without, in turns.
//!
//! ```text
//! cargo bench --bench mirroring [-- --rounds 7 --seconds 4]
//! ```
//!
//! Every request of the users is copied to a canary that has none: a dead one, one that answers after a second, one that
//! never answers, and one whose answers come at 10 MB/s and never end. Open loop, Poisson, so that a pause of the proxy
//! is felt by all whom it meets. The proxy is on one core, users and origins on the other. Quantiles are those of all
//! rounds together; what the machine does beside them is in both.

#![expect(clippy::disallowed_methods, reason = "a measurement: it waits for real processes and real origins")]

#[path = "../ground/pinned.rs"]
mod pinned;

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use hdrhistogram::Histogram;
use loadtest::{Behaviour, Latency, Length, Load, Origin, OriginOptions, Rate, Setting, Spacing, failures};

use crate::pinned::{Proxy, Turn, free_address, leave_first_core, on_core, say};

/// Users' latency while their requests are copied, beside their latency without copies
#[derive(Debug, Parser)]
struct Arguments {
    /// How often the two take turns
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each turn is
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Requests a second
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
    /// How long the users' own version takes for each request, in milliseconds
    #[arg(long, default_value_t = 5)]
    latency: u64,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    leave_first_core();
    let origin = |name: &str, setting| {
        let options = OriginOptions { setting, ..OriginOptions::default() };
        runtime.block_on(Origin::start(name, options))
    };
    let fixed = |millis| Latency::fixed(Duration::from_millis(millis));
    let users = origin("v1", Setting { latency: fixed(arguments.latency), ..Setting::default() })?;
    let canary = |setting| origin("v2", setting);
    let dead = canary(Setting { behaviour: Behaviour::Refuse, ..Setting::default() })?;
    runtime.block_on(dead.settled());
    let slow = canary(Setting { latency: fixed(1_000), ..Setting::default() })?;
    let hangs = canary(Setting { behaviour: Behaviour::Hang, ..Setting::default() })?;
    let floods = canary(Setting { behaviour: Behaviour::Flood, ..Setting::default() })?;
    say(&format!(
        "{:<22} {:>10} {:>10} {:>7} {:>10} {:>10} {:>7} {:>7} {:>10}",
        "canary", "p50", "copied", "ratio", "p99", "copied", "ratio", "CPU", "memory"
    ));
    let canaries = [
        ("dead", dead.address()),
        ("answers after 1 s", slow.address()),
        ("never answers", hangs.address()),
        ("10 MB/s without end", floods.address()),
    ];
    for (what, canary) in canaries {
        compare(&arguments, what, users.address(), canary)?;
    }
    say("(goal: p99 at most 1.05 times)");
    Ok(())
}

/// What was seen of some turns.
struct Seen {
    latency: Histogram<u64>,
    cpu: Duration,
    requests: u64,
}

fn compare(arguments: &Arguments, what: &str, v1: SocketAddr, v2: SocketAddr) -> anyhow::Result<()> {
    let place = tempfile::tempdir()?;
    let (listen, admin, file) = (free_address()?, free_address()?, place.path().join("site.yaml"));
    fs::write(
        &file,
        format!(
            "listeners: [{{ address: \"{listen}\" }}]\nadmin: {{ address: \"{admin}\" }}\nstate: {}\nservices:\n  shop:\n    \
             stable: v1\n    versions: {{ v1: {{ endpoints: [\"{v1}\"] }}, v2: {{ endpoints: [\"{v2}\"] }} }}\n    \
             plan: {{ steps: [{{ mirror: 100%, hold: 1h }}, {{ weight: 1%, hold: 1h }}], gates: [{{ errors: {{}} }}] }}\n",
            place.path().join("state").display()
        ),
    )?;
    let tidegate = Path::new(env!("CARGO_BIN_EXE_tidegate"));
    let proxy = on_core(0, tidegate).args(["run", "-c"]).arg(&file).turn()?;
    answers(admin)?;
    let operate = |words: &[&str]| -> anyhow::Result<()> {
        let done = Command::new(tidegate).args(words).args(["--admin", &format!("http://{admin}")]).output()?;
        ensure!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    };
    let nobody =
        || -> anyhow::Result<Seen> { Ok(Seen { latency: Histogram::new(3)?, cpu: Duration::ZERO, requests: 0 }) };
    // What is opened and grown once belongs to neither.
    turn(arguments, listen, &proxy, 0, &mut nobody()?)?;
    let (mut without, mut with) = (nobody()?, nobody()?);
    let before = peak(proxy.0.id())?;
    for round in 0..arguments.rounds {
        // Each goes first in half of the rounds.
        for copied in [round % 2 == 0, round % 2 != 0] {
            let seed = u64::from(round) + 1;
            if copied {
                operate(&["rollout", "start", "shop", "--canary", "v2"])?;
                turn(arguments, listen, &proxy, seed, &mut with)?;
                operate(&["rollout", "abort", "shop", "--reason", "its turn is over"])?;
            } else {
                turn(arguments, listen, &proxy, seed, &mut without)?;
            }
        }
    }
    let grown = peak(proxy.0.id())?.saturating_sub(before) as f64 / 1_048_576.0;
    let millis = |seen: &Seen, quantile| seen.latency.value_at_quantile(quantile) as f64 / 1_000.0;
    let ratio = |quantile| millis(&with, quantile) / millis(&without, quantile);
    let cpu = |seen: &Seen| seen.cpu.as_secs_f64() / seen.requests as f64;
    say(&format!(
        "{what:<22} {:>7.2} ms {:>7.2} ms {:>7.3} {:>7.2} ms {:>7.2} ms {:>7.3} {:>7.2} {grown:>+6.1} MiB",
        millis(&without, 0.5),
        millis(&with, 0.5),
        ratio(0.5),
        millis(&without, 0.99),
        millis(&with, 0.99),
        ratio(0.99),
        cpu(&with) / cpu(&without),
    ));
    Ok(())
}

/// Users come for the length of a turn; none of them may see a failure.
fn turn(arguments: &Arguments, target: SocketAddr, proxy: &Proxy, seed: u64, seen: &mut Seen) -> anyhow::Result<()> {
    let length = Length::Lasts(Duration::from_secs(arguments.seconds));
    let rate = Rate::per_second(arguments.rate)?;
    let before = proxy.cpu()?;
    let load = Load { rate, seed, length, spacing: Spacing::Poisson, ..Load::new(target) };
    let report = load.start()?.wait();
    seen.cpu += proxy.cpu()? - before;
    seen.requests += report.sent;
    ensure!(failures(&report) == 0 && report.not_sent == 0, "users saw failures:\n{report}");
    seen.latency.add(&report.latency).context("latencies of two turns")
}

/// The most memory that a process ever had, in bytes (proc(5), `VmHWM` of `/proc/PID/status`).
fn peak(process: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()).and_then(|text| text.parse::<u64>().ok());
    kibibytes.map(|kibibytes| kibibytes * 1024).context("/proc/PID/status has no VmHWM")
}

/// Waits until something listens there.
fn answers(address: SocketAddr) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        ensure!(Instant::now() < until, "nothing listens on {address}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
