//! Measures how fast a bad canary is taken back, against the real executable: the figures of the README.
//!
//! ```text
//! cargo build --release && cargo run --release --example figures
//! ```
//!
//! Each run is a rollout of its own at 1 000 requests a second with the canary at 5 % and 0.1 % background errors on
//! both versions. A measurement, not a test: the times are those of the machine it runs on.

mod lane;
mod served;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Parser;

use crate::lane::{Lane, WhollyBad};
use crate::served::Served;

/// How fast a bad canary is taken back, measured against the real executable
#[derive(Debug, Parser)]
struct Arguments {
    /// The executable; built for release, or the figures say nothing
    #[arg(default_value = "target/release/tidegate")]
    executable: PathBuf,
    /// How many rollouts each figure comes from
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// How many seconds of good traffic come before the canary that turns bad slowly
    #[arg(long, default_value_t = 60)]
    good: u64,
    /// How many services are measured at once where a run takes long; each has 1 000 requests a second of its own
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3))]
    lanes: u32,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let Arguments { runs, lanes, .. } = arguments;
    say(&format!("{} runs each; in all this takes about {} min", runs, expected_minutes(&arguments)));

    let wholly = measure(&arguments, 1, |lane| lane.turn_wholly_bad())?;
    let early = measure(&arguments, 1, |lane| lane.bad_from_the_first_request())?;
    let good = Duration::from_secs(arguments.good);
    let late = measure(&arguments, lanes.min(runs), |lane| lane.bad_after(good))?;

    let span = wholly.iter().map(|run| run.span.as_secs_f64()).collect();
    let requests = wholly.iter().map(|WhollyBad { requests, .. }| *requests as f64).collect();
    let seconds = |times: Vec<Duration>| times.iter().map(Duration::as_secs_f64).collect();
    say("");
    say(&format!("{:<62} {:>9} {:>9} {:>9}", format!("{runs} runs each"), "median", "worst", "goal"));
    row("turns wholly bad: first bad answer to last request to it", span, 0.3, &milliseconds);
    row("turns wholly bad: requests to it after the first bad answer", requests, 20.0, &|it| format!("{it:.0}"));
    row("0.1 % to 5 %, bad from its first request: taken back after", seconds(early), 4.0, &in_seconds);
    let label = format!("0.1 % to 5 %, after {} s of good traffic: taken back after", arguments.good);
    row(&label, seconds(late), 6.0, &in_seconds);
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    say("");
    say(&format!("measured with: cargo run --release --example figures -- {command}"));
    Ok(())
}

fn expected_minutes(arguments: &Arguments) -> u64 {
    let Arguments { runs, good, lanes, .. } = arguments;
    let runs = u64::from(*runs);
    (runs * 5 + runs * 4 + runs.div_ceil(u64::from(*lanes)) * (good + 6)).div_ceil(60)
}

/// Measures on so many services at once until there are enough runs.
fn measure<T: Send>(
    arguments: &Arguments,
    lanes: u32,
    run: impl Fn(&mut Lane) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    let served = Served::start(&arguments.executable, lanes)
        .with_context(|| format!("cannot serve with {}", arguments.executable.display()))?;
    let (left, figures) = (AtomicU32::new(arguments.runs), Mutex::new(Vec::new()));
    let one_lane = |number| -> anyhow::Result<()> {
        let mut lane = Lane::open(&served, number)?;
        while left.try_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok() {
            let figure = run(&mut lane)?;
            figures.lock().map_err(|_| anyhow!("another lane panicked"))?.push(figure);
        }
        lane.close()
    };
    let one_lane = &one_lane;
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|number| scope.spawn(move || one_lane(number))).collect();
        lanes.into_iter().try_for_each(|lane| lane.join().map_err(|_| anyhow!("a lane panicked"))?)
    })?;
    figures.into_inner().map_err(|_| anyhow!("a lane panicked"))
}

fn row(label: &str, mut figures: Vec<f64>, goal: f64, written: &dyn Fn(f64) -> String) {
    figures.sort_by(f64::total_cmp);
    let (lower, upper) = ((figures.len().max(1) - 1) / 2, figures.len() / 2);
    let median = (figures[lower] + figures[upper]) / 2.0;
    let worst = figures.last().copied().unwrap_or_default();
    let met = if median <= goal { "" } else { "  missed" };
    say(&format!("{label:<62} {:>9} {:>9} {:>9}{met}", written(median), written(worst), written(goal)));
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.0} ms", seconds * 1_000.0)
}

fn in_seconds(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn say(line: &str) {
    println!("{line}");
}
