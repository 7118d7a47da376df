//! Half an hour of everything going wrong: memory, descriptors and workers stay, and no user is failed without an excuse.
//!
//! ```text
//! cargo bench --bench soak [-- --minutes 30 --seed 1 --rate 500 --tell]
//! ```
//!
//! The real executable serves two versions while endpoints are killed, leave, hang, reset, cut, talk nonsense and turn slow;
//! while the configuration is reloaded, weights are set by hand, rollouts end well and badly, and DNS says something else or
//! nothing. In the first half of the time the executable is replaced again and again (SIGUSR2): what is flat is judged of the
//! last process. Its users are patient, post, leave early, speak HTTP/2, listen to events, read slowly and hold WebSockets.
//! Of stable one endpoint is ill at a time; of a canary, all are.
//!
//! A line a minute, and a verdict at the end. The seed draws what goes wrong and in which order; what comes of it depends
//! on the machine, too.

#![expect(clippy::disallowed_methods, reason = "a measurement: it reads the clock and waits for real processes")]

mod crowd;
mod faults;
mod site;
mod verdict;
mod vitals;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;

use self::crowd::{Crowd, Found};
use self::faults::{Done, Faults};
use self::site::Site;
use self::verdict::Seen;
use self::vitals::Vitals;

/// How often the process is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// After so long without users nothing is kept open for them: unused connections to endpoints live for 50 s.
const EMPTY: Duration = Duration::from_secs(90);
/// Before the first fault: the budget for retries is a part of the requests of the last ten seconds.
const CALM: Duration = Duration::from_secs(10);

/// Mixed faults for half an hour, and whether the process bears them
#[derive(Debug, Parser)]
struct Arguments {
    /// How long
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// What draws the faults; by default another one each time, which is printed
    #[arg(long)]
    seed: Option<u64>,
    /// Requests a second of the users over HTTP/1.1; all others together are as many as two fifths of them
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
    /// Tells each fault as it is done
    #[arg(long)]
    tell: bool,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..100_000));
    say(&format!("seed {seed}, {} minutes, {} requests a second", arguments.minutes, arguments.rate));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut site = Site::open(&runtime)?;
    let before = vitals::look(site.id())?;
    let crowd = Crowd::open(site.address, arguments.rate, seed, &runtime)?;
    let (mut seen, done) = run(&arguments, seed, &mut site, &crowd)?;
    let found = crowd.close();
    runtime.shutdown_background();
    seen.before_and_after = Some((before.clone(), emptied(site.id(), &before)?));
    (seen.draining, seen.cuts) = (site.draining(), site.cuts());
    say("");
    tell_found(&found, &done);
    for (kind, count) in site.errors() {
        say(&format!("  {count} x {kind}"));
    }
    let mut is_well = true;
    for finding in seen.verdict(&found, &done) {
        is_well &= finding.holds;
        say(&format!("{}  {}", if finding.holds { "holds " } else { "BROKEN" }, finding.words));
    }
    say(if is_well { "all of it holds" } else { "not all of it holds" });
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Lets things go wrong for as long as was asked, and looks at the process meanwhile.
fn run(arguments: &Arguments, seed: u64, site: &mut Site, crowd: &Crowd) -> anyhow::Result<(Seen, Done)> {
    let length = Duration::from_secs(arguments.minutes * 60);
    let begin = Instant::now();
    let (ends, ended) = mpsc::channel::<()>();
    let serves = site.serves();
    let looking = thread::spawn(move || {
        let mut seen = Seen::default();
        // Until the other end is dropped.
        while let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK) {
            // One that has just been taken over from may be gone.
            if let Ok(vitals) = vitals::look(serves.load(Ordering::Acquire)) {
                seen.looks.push((begin.elapsed(), vitals));
            }
        }
        seen
    });
    let tells: fn(&str) = if arguments.tell { |what| say(&format!("        {what}")) } else { |_| {} };
    let mut faults = Faults::new(seed, tells);
    say(&format!(
        "{:>6} {:>9} {:>7} {:>9} {:>7} {:>6} {:>7} {:>7} {:>9}",
        "minute", "requests", "failed", "excusable", "MB", "files", "threads", "faults", "rollouts"
    ));
    thread::sleep(CALM);
    let (mut minute, mut next) = (1, Duration::from_secs(60));
    while begin.elapsed() < length {
        faults.next(site, begin.elapsed() < length / 2)?;
        if arguments.tell {
            say(&format!("        failed so far {:?}", crowd.found().reasons));
        }
        ensure!(site.is_running(), "the executable has ended; its log ends:\n{}", site.log());
        while begin.elapsed() >= next {
            tell_minute(minute, &crowd.found(), &faults.done, &vitals::look(site.id())?);
            (minute, next) = (minute + 1, next + Duration::from_secs(60));
        }
    }
    drop(ends);
    let seen = looking.join().ok().context("nobody looked at the process")?;
    Ok((seen, faults.done))
}

/// The process once everybody has gone, and connections to endpoints have been closed for want of use.
fn emptied(process: u32, before: &Vitals) -> anyhow::Result<Vitals> {
    let until = Instant::now() + EMPTY;
    loop {
        let vitals = vitals::look(process)?;
        if verdict::is_empty(before, &vitals) || Instant::now() >= until {
            return Ok(vitals);
        }
        thread::sleep(LOOK);
    }
}

fn tell_minute(minute: u64, found: &Found, done: &Done, vitals: &Vitals) {
    let rollouts = format!("{}+{}", done.promoted, done.rolled_back);
    say(&format!(
        "{minute:>6} {:>9} {:>7} {:>9} {:>7.1} {:>6} {:>7} {:>7} {rollouts:>9}",
        found.requests,
        found.failed,
        done.excusable,
        vitals.resident as f64 * 1e-6,
        vitals.descriptors,
        vitals.threads.len(),
        done.faults
    ));
    if !found.reasons.is_empty() {
        say(&format!("       so far {:?}", found.reasons));
    }
}

fn tell_found(found: &Found, done: &Done) {
    let Done { faults, reloads, weights, upgrades, names, promoted, rolled_back, .. } = done;
    say(&format!(
        "{faults} faults, {upgrades} upgrades, {reloads} reloads, {names} answers of DNS, {weights} weights by hand, {promoted} \
         rollouts promoted and {rolled_back} rolled back"
    ));
    say(&format!(
        "beside: {} posts, {} of them failed; {} clients left early; {} streams of events, {} cut; {} slow readers, {} cut",
        found.posts, found.posts_failed, found.left, found.streams, found.streams_cut, found.readers, found.readers_cut
    ));
    if !found.reasons.is_empty() {
        say(&format!("failed: {:?}", found.reasons));
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever reads may be gone; the run goes on.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
