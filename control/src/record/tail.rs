//! What a record has behind the state that was saved last.
//!
//! The states of many rollouts are too much to be saved each second, and the windows are in their records each second
//! anyway. So a state is saved with its place in the record, and a process that follows one which was killed feeds it
//! the windows from there on: its tests are then, to the last bit, where they were when the record was written last.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::header::Header;
use super::lines::{Line, Why};
use super::moment::Moment;
use super::read::{Reader, Unreadable};
use super::replay::{Impossible, Replay};
use crate::judge::Judge;

/// So much of a record's end is looked through, a little at first. A place further from it is not found.
const FIRST_LOOK: u64 = 256 << 10;
const LAST_LOOK: u64 = 4 << 20;
/// A window is so long, in milliseconds.
const WINDOW_MS: u64 = 100;

/// Where a record was when the state of its tests was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The moment of the last window or mark that was written, in milliseconds of Unix time.
    pub(super) t: i64,
    /// How many lines of windows and marks of that moment were written.
    pub(super) lines: u32,
    /// So many ticks without anything belong to the state, and to a line that was not written yet.
    #[serde(default)]
    pub(super) quiet: u32,
}

impl Place {
    /// One more line of this moment.
    pub(super) fn after(before: Option<Self>, at: Moment) -> Self {
        let t = at.milliseconds();
        let lines = before.filter(|before| before.t == t).map_or(0, |before| before.lines);
        Self { t, lines: lines.saturating_add(1), quiet: 0 }
    }
}

/// Tests that have caught up with their record.
#[derive(Debug)]
pub(crate) struct CaughtUp {
    pub(crate) judge: Judge,
    /// When the last window was that they were given; none where there was nothing behind their place.
    pub(crate) at: Option<Moment>,
    /// How many windows they were given.
    pub(crate) windows: u64,
    /// How many windows they had when they were saved that the record has not: both are written once a second, and a crash
    /// came between.
    pub(crate) ahead: u64,
    /// Why the rest of the record was not taken, where something was wrong with it.
    pub(crate) stopped: Option<Unreadable>,
}

/// Why tests cannot catch up at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTail {
    /// The record cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Its windows are not such as the tests need.
    #[error(transparent)]
    Impossible(#[from] Impossible),
    /// It was deleted and begun anew meanwhile, or the clock was set back, or windows are missing.
    #[error("the record has no such place as the tests were saved at")]
    NoSuchPlace,
}

impl From<io::Error> for NoTail {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(Unreadable::Io(error))
    }
}

/// Feeds the tests what their record has behind the place that they were saved at.
pub(super) fn caught_up(path: &Path, place: Place, judge: Judge) -> Result<CaughtUp, NoTail> {
    let mut file = File::open(path)?;
    let header = Reader::begin(BufReader::new(&file))?.into_header();
    match behind(&mut file, place)? {
        Behind::Lines(tail) => follow(header, &tail, place, judge),
        // What is not there is of no use, and they need none of it.
        Behind::End(t) => {
            let ahead = u64::try_from(place.t.saturating_sub(t)).unwrap_or_default().div_ceil(WINDOW_MS).max(1);
            Ok(CaughtUp { judge, at: None, windows: 0, ahead, stopped: None })
        }
        Behind::Unknown => Err(NoTail::NoSuchPlace),
    }
}

/// What a record has behind a place.
#[derive(Debug, PartialEq, Eq)]
enum Behind {
    /// These whole lines.
    Lines(Vec<u8>),
    /// It ended before that place, at this moment.
    End(i64),
    Unknown,
}

fn follow(header: Header, tail: &[u8], place: Place, judge: Judge) -> Result<CaughtUp, NoTail> {
    let mut replay = Replay::going_on(&header, judge)?;
    let mut reader = Reader::behind(header, tail);
    let (mut at, mut quiet) = (None, place.quiet);
    let stopped = loop {
        let mut line = match reader.read() {
            Ok(Some(line)) => line,
            Ok(None) => break None,
            Err(unreadable) => break Some(unreadable),
        };
        // A state from behind missing windows, or of the process after, is as exact as those before it were. One that is
        // written as a matter of routine is the one that these tests have.
        if matches!(&line, Line::Checkpoint(checkpoint) if checkpoint.why == Why::Routine) {
            continue;
        }
        if let Line::Counted(counted) = &mut line
            && quiet > 0
        {
            let Some(left) = counted.times.checked_sub(quiet) else { return Err(NoTail::NoSuchPlace) };
            counted.times = left;
        }
        quiet = 0;
        if let Err(unreadable) = replay.judge_line(&reader, &line) {
            break Some(unreadable);
        }
        at = line.at().or(at);
    };
    let windows = replay.tallied().windows;
    Ok(CaughtUp { judge: replay.into_judge(), at, windows, ahead: 0, stopped })
}

fn behind(file: &mut File, place: Place) -> io::Result<Behind> {
    let length = file.metadata()?.len();
    let mut look = FIRST_LOOK;
    loop {
        let begin = length.saturating_sub(look);
        file.seek(SeekFrom::Start(begin))?;
        let mut bytes = Vec::new();
        file.take(length - begin).read_to_end(&mut bytes)?;
        // What a crash left of a last line is none.
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        // So is what this look has of its first.
        let first = if begin == 0 { 0 } else { bytes.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1) };
        match find(&bytes[first..], place, begin == 0) {
            Found::At(end) => return Ok(Behind::Lines(bytes.split_off(first + end))),
            Found::Ahead(t) => return Ok(Behind::End(t)),
            Found::Nowhere => return Ok(Behind::Unknown),
            Found::Before if begin == 0 || look >= LAST_LOOK => return Ok(Behind::Unknown),
            Found::Before => look *= 4,
        }
    }
}

/// Where a place is in some lines.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// The lines behind it begin here.
    At(usize),
    /// Before these lines.
    Before,
    /// Behind all of them, the last of which is of this moment.
    Ahead(i64),
    Nowhere,
}

/// Looks for a place from the end of lines on. `whole`: nothing is before them.
fn find(bytes: &[u8], place: Place, whole: bool) -> Found {
    // Where the lines of its moment end, the last first.
    let mut ends = Vec::new();
    let mut end = bytes.len();
    let (mut complete, mut is_behind) = (whole, false);
    while end > 0 {
        let begin = bytes[..end - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |before| before + 1);
        let line = &bytes[begin..end];
        let of_line = milliseconds_of(line);
        let is_last = ends.is_empty() && !is_behind;
        is_behind |= matches!(of_line, Some((_, Kind::Other)));
        match of_line {
            Some((_, Kind::ClockSetBack)) => return Found::Nowhere,
            Some((t, Kind::Other)) if t == place.t => ends.push(end),
            // The last line of all: none is of the place's moment, or behind it.
            Some((t, Kind::Other)) if t < place.t && is_last => return Found::Ahead(t),
            Some((t, Kind::Other)) if t < place.t => {
                complete = true;
                break;
            }
            Some((_, Kind::Other | Kind::Checkpoint)) | None => {}
        }
        end = begin;
    }
    let nth = usize::try_from(place.lines).unwrap_or(usize::MAX);
    match ends.len().checked_sub(nth).and_then(|later| ends.get(later)) {
        _ if !complete => Found::Before,
        Some(end) if nth > 0 => Found::At(*end),
        Some(_) | None => Found::Nowhere,
    }
}

/// What a line is, as far as its place matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Checkpoint,
    ClockSetBack,
    Other,
}

/// When a line was, in milliseconds of Unix time, as this program writes it; none for a gap and the first line.
fn milliseconds_of(line: &[u8]) -> Option<(i64, Kind)> {
    let behind = line.strip_prefix(b"{\"t\":")?;
    let comma = behind.iter().position(|byte| *byte == b',')?;
    let (seconds, milliseconds) = std::str::from_utf8(&behind[..comma]).ok()?.split_once('.')?;
    if milliseconds.len() != 3 {
        return None;
    }
    let t = seconds.parse::<i64>().ok()?.checked_mul(1_000)?.checked_add(milliseconds.parse().ok()?)?;
    let rest = &behind[comma..];
    let kind = if rest.starts_with(b",\"why\":") {
        Kind::Checkpoint
    } else if rest.starts_with(b",\"mark\":\"clock_set_back\"") {
        Kind::ClockSetBack
    } else {
        Kind::Other
    };
    Some((t, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(t: i64, lines: u32) -> Place {
        Place { t, lines, quiet: 0 }
    }

    const LINES: &str = "{\"tidegate_record\":1}\n{\"t\":1.000,\"mark\":\"new_step\"}\n{\"t\":1.000,\"weight\":5}\n\
                         {\"t\":1.000,\"why\":\"routine\",\"checkpoint\":{}}\n{\"t\":1.100,\"weight\":5}\n{\"gap\":3}\n";

    fn rest(lines: &str, at: Place, whole: bool) -> Option<&str> {
        match find(lines.as_bytes(), at, whole) {
            Found::At(end) => Some(&lines[end..]),
            Found::Before | Found::Ahead(_) | Found::Nowhere => None,
        }
    }

    #[test]
    fn a_place_is_behind_as_many_lines_of_its_moment_as_it_says() {
        let lines = |from: usize| LINES.split_inclusive('\n').skip(from).collect::<String>();
        let rest = |t, nth| rest(LINES, place(t, nth), true).map(ToOwned::to_owned);
        assert_eq!(rest(1_000, 1), Some(lines(2)));
        assert_eq!(rest(1_000, 2), Some(lines(3)), "the checkpoint is no line of it");
        assert_eq!(rest(1_100, 1), Some(lines(5)));
        assert_eq!((rest(1_000, 3), rest(1_000, 0), rest(1_050, 1), rest(900, 1)), (None, None, None, None));
    }

    #[test]
    fn a_place_that_may_begin_before_the_lines_is_looked_for_there() {
        let later = LINES.split_once('\n').unwrap().1;
        assert_eq!(find(later.as_bytes(), place(1_000, 1), false), Found::Before);
        assert_eq!(find(later.as_bytes(), place(900, 1), false), Found::Before);
        assert_eq!(rest(later, place(1_100, 1), false), Some("{\"gap\":3}\n"), "what is earlier is there, too");
    }

    #[test]
    fn a_place_that_is_far_from_the_records_end_is_found() {
        let later = "{\"t\":2.000,\"weight\":5}\n".repeat(40_000);
        assert!(later.len() as u64 > 2 * FIRST_LOOK);
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, format!("{LINES}{later}").as_bytes()).unwrap();
        let Behind::Lines(tail) = behind(&mut file, place(1_100, 1)).unwrap() else { panic!("it is there") };
        assert_eq!(tail.len(), "{\"gap\":3}\n".len() + later.len());
        assert_eq!(behind(&mut file, place(2_300, 1)).unwrap(), Behind::End(2_000));
    }

    #[test]
    fn where_the_clock_was_set_back_no_moment_says_where_it_is() {
        let lines = format!("{LINES}{{\"t\":0.500,\"mark\":\"clock_set_back\"}}\n{{\"t\":1.000,\"weight\":5}}\n");
        assert_eq!(find(lines.as_bytes(), place(1_000, 1), true), Found::Nowhere);
    }
}
