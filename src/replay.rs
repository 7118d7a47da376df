//! `tidegate replay`: judges the record of a rollout again.

mod course;
mod lines;
mod printable;
mod telling;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use anyhow::{anyhow, bail};
use config::Plan;
use control::record::{Reader, Replay, Unreadable};

pub use self::course::Course;
use self::lines::Lines;
use self::printable::printable;
use self::telling::Telling;
use crate::cli;
use crate::exit::Exit;

/// Prints what the gates say of a record. What was judged before a line that cannot be read is printed.
///
/// # Errors
/// In plain words: where the record or the gates cannot be read, where the record has not what the gates need, no windows
/// at all or nothing that any gate could judge, or where `out` cannot be written.
pub fn replay(arguments: &cli::Replay, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let gates = match &arguments.gates {
        None => None,
        Some(path) => match config::read_plan_file(path) {
            Ok(read) => {
                for warning in &read.warnings {
                    // Standard output is for what programs read.
                    let _ = writeln!(io::stderr(), "warning: {warning}");
                }
                Some(read.plan)
            }
            Err(problems) => bail!("{problems}"),
        },
    };
    let name = named(&arguments.record);
    if arguments.record == Path::new("-") {
        judge(io::stdin().lock(), &name, gates, arguments.json, out)
    } else {
        let file = File::open(&arguments.record).map_err(|error| anyhow!("{name}: {}", config::unreadable(&error)))?;
        judge(BufReader::new(file), &name, gates, arguments.json, out)
    }
}

fn named(record: &Path) -> String {
    if record == Path::new("-") { "standard input".to_owned() } else { record.display().to_string() }
}

/// Judges a record, whose name is for errors, and prints what comes of it.
///
/// # Errors
/// As [`replay`].
pub fn judge(
    record: impl BufRead,
    name: &str,
    gates: Option<Plan>,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let told = |error: &dyn std::fmt::Display| anyhow!("{name}: {}", printable(&shortened(error.to_string())));
    let mut reader = Reader::begin(record).map_err(|error| told(&error))?;
    let replay = Replay::begin(reader.header(), gates).map_err(|impossible| told(&impossible))?;
    let mut course = Course::new(replay);
    let mut lines = Lines::default();
    let mut telling = Telling::new(reader.header().clone());
    if !json {
        telling.begin(&course, out)?;
    }
    // How far the record was judged, where it was not judged to its end.
    let (mut judged, mut broken) = (reader.line(), None);
    loop {
        let line = match next(&mut reader, &mut course) {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(error) => {
                broken = Some(error);
                break;
            }
        };
        if json {
            lines.after(reader.line(), &line, &course, out)?;
        } else {
            telling.after(&line, &course, out)?;
        }
        course.go_on();
        judged = reader.line();
    }
    if json {
        lines.end(&course, broken.is_none(), out)?;
    } else {
        telling.end(&course, broken.is_some().then_some(judged), out)?;
    }
    out.flush()?;
    match broken {
        Some(error) => Err(told(&error)),
        None if course.replay().tallied().windows == 0 => Err(told(&"nothing was judged: the record has no windows")),
        None if !course.has_judged() => Err(told(
            &"nothing was judged: no gate ever had what it compares, which is 20 requests at the least and one of each version",
        )),
        None if course.first_harm().is_some() => Ok(Exit::RolledBack),
        None => Ok(Exit::Done),
    }
}

/// The text, cut where it is long: what is wrong in a record may be megabytes of it.
fn shortened(mut text: String) -> String {
    const LONGEST: usize = 1_000;
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

fn next<R: BufRead>(reader: &mut Reader<R>, course: &mut Course) -> Result<Option<control::record::Line>, Unreadable> {
    let Some(line) = reader.read()? else { return Ok(None) };
    course.judge(reader, &line)?;
    Ok(Some(line))
}

#[cfg(test)]
mod tests;
