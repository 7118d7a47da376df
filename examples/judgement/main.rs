//! Simulates rollouts and judges them: the operating table and the images of docs/statistics.md.
//!
//! ```text
//! cargo run --release --example judgement -- --write-docs
//! ```
//!
//! The judge is the real one, fed with counts tick by tick as the data path counts them. Other tools' rules judge the
//! same traffic. What is simulated is the traffic: counts are drawn for whole ticks. The same seed gives the same
//! figures on every machine, however many threads work.

mod alike;
mod bound;
mod chance;
mod chapter;
mod crew;
mod dead;
mod failing;
mod gates;
mod lasting;
mod plot;
mod proof;
mod request;
mod rival;
mod service;
mod swaying;
mod table;
mod timing;
mod watch;
mod worse;

use clap::{Parser, ValueEnum};

use crate::crew::Crew;
use crate::table::{Goal, Table};
use crate::worse::Point;

/// Simulates rollouts and prints the operating table of the judgement
#[derive(Debug, Parser)]
struct Arguments {
    /// From which all chance follows
    #[arg(long, default_value_t = 20_261_122)]
    seed: u64,
    /// A smoke run of seconds: every part works, no figure means anything
    #[arg(long, conflicts_with = "write_docs")]
    quick: bool,
    /// Which part of the usual number of rollouts
    #[arg(long, default_value_t = 1.0, value_parser = effort)]
    effort: f64,
    /// Only this part
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Write the tables into docs/statistics.md, and the images beside it
    #[arg(long)]
    write_docs: bool,
    /// How many threads simulate
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..))]
    threads: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Canaries as good as stable: false rollbacks
    Null,
    /// Canaries that fail more, and dead ones
    Errors,
    /// Canaries that fail and do not stop, after a bad hour of stable; and good ones among bursts of all lengths
    Lasting,
    /// Canaries that are slower
    Latency,
    /// Canaries that are to pass
    Proof,
    /// The images
    Plots,
}

/// What a run found out.
#[derive(Default)]
struct Report {
    parts: Vec<(&'static str, String)>,
    goals: Vec<Goal>,
    points: Vec<Point>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let crew = Crew::new(arguments.seed, arguments.effort, arguments.quick, usize::from(arguments.threads));
    let report = simulate(&crew, arguments.only)?;
    let folder = if arguments.write_docs { chapter::images() } else { std::env::temp_dir().join("tidegate-judgement") };
    if matches!(arguments.only, None | Some(Part::Plots)) {
        plot::evidence(arguments.seed, &folder)?;
    }
    if !report.points.is_empty() {
        plot::delays(&report.points, &folder)?;
    }
    if arguments.write_docs {
        chapter::write(&report.parts)?;
    }
    crew.say(&format!("seed {}; images in {}", arguments.seed, folder.display()));
    crew.end();
    Ok(())
}

fn effort(text: &str) -> Result<f64, String> {
    let legal = "a number above 0 and at most 100";
    let effort: f64 = text.parse().map_err(|_| legal.to_owned())?;
    (effort > 0.0 && effort <= 100.0).then_some(effort).ok_or_else(|| legal.to_owned())
}

/// Simulates what is asked for, and says each table as soon as it is there.
fn simulate(crew: &Crew, only: Option<Part>) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let asked = |part| only.is_none_or(|only| only == part);
    let Report { parts, goals, points } = &mut report;
    let mut add = |part: &'static str, table: Table| {
        crew.say(&format!("{table}"));
        parts.push((part, table.to_string()));
    };
    if asked(Part::Null) {
        add("alike-errors", alike::of_errors(crew, goals)?);
        add("alike-latency", alike::of_latency(crew, goals)?);
    }
    if asked(Part::Errors) || asked(Part::Plots) {
        add("worse-errors", worse::in_errors(crew, goals, points)?);
    }
    if asked(Part::Errors) {
        add("late-errors", worse::late_errors(crew)?);
        add("dead", dead::canaries(crew, goals)?);
    }
    if asked(Part::Lasting) {
        add("lasting", lasting::after_a_bad_hour(crew, goals)?);
        add("lasting-alike", lasting::alike(crew, goals)?);
    }
    if asked(Part::Latency) || asked(Part::Plots) {
        add("worse-latency", worse::in_latency(crew, goals, points)?);
    }
    if asked(Part::Proof) {
        add("proof", proof::of_health(crew, goals)?);
        add("margin", proof::of_harm(crew)?);
    }
    let goals = table::goals(goals);
    crew.say(&format!("{goals}"));
    if only.is_none() {
        parts.push(("goals", goals.to_string()));
    }
    Ok(report)
}
