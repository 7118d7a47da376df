//! Reads a record line by line, and believes nothing: whatever is not as documented is an error with its line.

mod header;
mod line;
mod plan;

use std::io::{self, BufRead, Read as _};
use std::mem;

use meter::Window;
use serde_json::Value;

use super::FORMAT;
use super::count::Object;
use super::form::{Lens, LineForm, VersionForm};
use super::header::{Compared, Header};
use super::lines::{Counted, Line, Mark, Why};
use super::moment::Moment;
use crate::view::Arms;

/// More bytes than a line has.
const LONGEST_LINE: u64 = 16 << 20;
/// More lines than a record has. With the largest counts in each the sums still fit.
const MOST_LINES: u64 = 10_000_000;

/// Why a record cannot be read, or not any further.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A line is not as documented.
    #[error("line {line}: {what}")]
    Wrong {
        /// Counted from 1.
        line: u64,
        /// What is wrong, and what is legal.
        what: String,
    },
    /// The last line was not written to its end.
    #[error(
        "the record is cut short: line {line} was not written to its end; what is above it was judged. To judge the \
         record without this error, delete that line"
    )]
    CutShort {
        /// Counted from 1.
        line: u64,
    },
    /// The bytes cannot be had.
    #[error("the record cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// What was counted in a window.
#[derive(Debug, Default)]
pub struct Filled {
    /// The versions that are compared.
    pub arms: Arms<Window>,
    /// Whom the canary is compared with, where that is not all of stable.
    pub baseline: Window,
    /// Those on the canary whom the gates that compare leave out.
    pub matched: Window,
}

/// Reads a record.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    bytes: Vec<u8>,
    /// The number of the line read last, counted from 1.
    line: u64,
    header: Header,
    last: Option<Moment>,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the first line.
    ///
    /// # Errors
    /// Where it is not the first line of a record that this Tidegate reads.
    pub fn begin(mut input: R) -> Result<Self, Unreadable> {
        let (mut bytes, mut line) = (Vec::new(), 0);
        const BEGINS: &str = "a record begins with {\"tidegate_record\": 1, ...}";
        match next_line(&mut input, &mut bytes, &mut line) {
            Ok(true) => {}
            Ok(false) => return Err(wrong(1, format!("nothing is written here; {BEGINS}"))),
            // Nothing is above it that could have been judged.
            Err(Unreadable::CutShort { line }) => {
                return Err(wrong(
                    line,
                    format!("this is no whole JSON: no record, or one that was cut short; {BEGINS}"),
                ));
            }
            Err(other) => return Err(other),
        }
        let header = first(&bytes)?;
        Ok(Self { input, bytes, line, header, last: None, ended: false })
    }

    /// Reads lines that are behind others of the record with this first line. Numbers of lines are counted from where
    /// `input` begins.
    pub(super) const fn behind(header: Header, input: R) -> Self {
        Self { input, bytes: Vec::new(), line: 0, header, last: None, ended: false }
    }

    /// The first line, from a reader that is no longer needed.
    pub(super) fn into_header(self) -> Header {
        self.header
    }

    /// The first line.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// What is not read yet.
    pub(super) const fn input(&self) -> &R {
        &self.input
    }

    /// The number of the line read last, counted from 1.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// An error about the line read last.
    #[must_use]
    pub fn wrong(&self, what: impl Into<String>) -> Unreadable {
        wrong(self.line, what)
    }

    /// Reads a further line; none at the end.
    ///
    /// # Errors
    /// Where it is not as documented, or not written to its end.
    pub fn read(&mut self) -> Result<Option<Line>, Unreadable> {
        if !next_line(&mut self.input, &mut self.bytes, &mut self.line)? {
            return Ok(None);
        }
        let Object(form): Object<LineForm> = parsed(&self.bytes, self.line)?;
        let line = line::proven(&self.header, form).map_err(|what| self.wrong(what))?;
        // A rollout whose end did not reach the journal before a crash goes on.
        let goes_on = matches!(&line, Line::Checkpoint(checkpoint) if checkpoint.why == Why::Restart);
        if mem::replace(&mut self.ended, false) && !goes_on {
            return Err(self.wrong("a line after the one that says `end`; nothing but a restart may follow that"));
        }
        self.follow(&line)?;
        Ok(Some(line))
    }

    /// Writes what a window's line counted over these windows. Tells whether the canary is compared with the baseline,
    /// or else with all of stable.
    ///
    /// # Errors
    /// Where its counts do not add up.
    pub fn fill(&self, counted: &Counted, Filled { arms, baseline, matched }: &mut Filled) -> Result<bool, Unreadable> {
        let header = &self.header;
        let lens = Lens { bounds: &header.bounds, totals: header.totals, paths: &header.paths };
        let nothing = VersionForm::default();
        let of = |name: &str| counted.versions.iter().find(|(other, _)| other == name).map(|(_, form)| &form.0);
        let fill = |name: &str, form: Option<&VersionForm>, window: &mut Window| {
            let filled = form.unwrap_or(&nothing).fill(lens, window);
            filled.map_err(|what| self.wrong(format!("{name}: {what}")))
        };
        fill(&header.stable, of(&header.stable), &mut arms.stable)?;
        fill(&header.canary, of(&header.canary), &mut arms.canary)?;
        fill("matched", counted.matched.as_ref().map(|form| &form.0), matched)?;
        match &header.compared {
            Compared::Slice => fill("slice", counted.slice.as_ref().map(|form| &form.0), baseline)?,
            Compared::Version(name) => fill(name, of(name), baseline)?,
            Compared::Stable => {}
        }
        Ok(header.compared != Compared::Stable && !counted.compared_with_stable)
    }

    /// Time does not go back, unless it is said.
    fn follow(&mut self, line: &Line) -> Result<(), Unreadable> {
        let at = match line {
            Line::Counted(counted) => counted.at,
            Line::Marked(at, Mark::ClockSetBack) => return self.set_clock(*at),
            Line::Marked(at, _) => *at,
            Line::Checkpoint(checkpoint) => return self.set_clock(checkpoint.at),
            Line::Gap(_) => return Ok(()),
            Line::End(at, _) => {
                self.ended = true;
                *at
            }
        };
        if let Some(last) = self.last.filter(|last| *last > at) {
            return Err(self.wrong(format!(
                "time goes back from {last} to {at}; where a clock was set back, write {{\"t\": {at}, \"mark\": \
                 \"clock_set_back\"}} first"
            )));
        }
        self.set_clock(at)
    }

    #[expect(clippy::unnecessary_wraps, reason = "reads as the last step of what may fail")]
    fn set_clock(&mut self, at: Moment) -> Result<(), Unreadable> {
        self.last = Some(at);
        Ok(())
    }
}

fn wrong(line: u64, what: impl Into<String>) -> Unreadable {
    Unreadable::Wrong { line, what: what.into() }
}

/// Reads the bytes of a line, without what ends it. False at the end.
fn next_line(input: &mut impl BufRead, bytes: &mut Vec<u8>, line: &mut u64) -> Result<bool, Unreadable> {
    bytes.clear();
    let read = input.by_ref().take(LONGEST_LINE).read_until(b'\n', bytes)?;
    if read == 0 {
        return Ok(false);
    }
    *line += 1;
    if *line > MOST_LINES {
        return Err(wrong(*line, format!("a record has at most {MOST_LINES} lines")));
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    } else if read as u64 == LONGEST_LINE {
        return Err(wrong(*line, format!("the line is longer than {LONGEST_LINE} bytes")));
    } else if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_err() {
        // The last line of a file may lack its end of line, and then it is whole JSON all the same.
        return Err(Unreadable::CutShort { line: *line });
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(wrong(*line, "the line is empty; each line is one JSON object"));
    }
    Ok(true)
}

fn parsed<T: serde::de::DeserializeOwned>(bytes: &[u8], line: u64) -> Result<T, Unreadable> {
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        // Its own line number is always 1.
        let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
        let column = error.column();
        match error.classify() {
            serde_json::error::Category::Data => wrong(line, format!("column {column}: {what}")),
            serde_json::error::Category::Io
            | serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof => {
                wrong(line, format!("column {column}: this is no JSON ({what}); each line is one JSON object"))
            }
        }
    })
}

fn first(bytes: &[u8]) -> Result<Header, Unreadable> {
    #[derive(serde::Deserialize)]
    struct Version {
        tidegate_record: Option<Value>,
    }
    let Object(version): Object<Version> = parsed(bytes, 1)?;
    match version.tidegate_record {
        None => {
            let legal = "this is no record: its first line has no `tidegate_record` (docs/records.md)";
            return Err(wrong(1, legal));
        }
        Some(version) if version.as_u64() == Some(FORMAT) => {}
        Some(other) => {
            let what = format!("the record is of version {other}; this Tidegate reads version {FORMAT}");
            return Err(wrong(1, what));
        }
    }
    header::proven(parsed::<Object<_>>(bytes, 1)?.0).map_err(|what| wrong(1, what))
}
