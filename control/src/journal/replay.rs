//! Reads a journal back: the last record of each service wins.

use std::collections::BTreeMap;

use config::Name;

use super::record::{Line, Record, VERSION};

/// What a journal says.
#[derive(Debug, Default)]
pub struct Replayed {
    /// The last record of each service.
    pub records: BTreeMap<Name, Record>,
    /// The highest number of a record.
    pub last_seq: u64,
    /// How long it is, in bytes.
    pub size: u64,
    /// Whether the journal was ended in good order, so that nothing can have been lost. True of an empty one.
    pub ended_well: bool,
    /// Why the rollouts that it holds are to be paused: something before the end was unreadable.
    pub corrupt: Option<String>,
    /// What an operator should know.
    pub warnings: Vec<String>,
    /// Why the journal cannot be written, where it cannot.
    pub problem: Option<String>,
}

/// How the bytes of a journal end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With a whole line.
    Whole,
    /// With a line that was not written to its end: what a crash leaves.
    Torn {
        /// Bytes of it.
        torn: usize,
    },
    /// Good records follow a bad one: no crash does that.
    Corrupt {
        /// The bad line's number, counted from 1.
        line: usize,
    },
    /// The file is of another version of the format, or no journal at all.
    Foreign {
        /// In words.
        what: String,
    },
}

/// The good prefix of a journal, and how it ends.
pub(super) fn replay(bytes: &[u8]) -> (Replayed, Ending) {
    let mut replayed = Replayed { ended_well: true, ..Replayed::default() };
    let mut good = 0;
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let decoded = line.strip_suffix(b"\n").and_then(Line::decode);
        match decoded {
            Some(Line::Header { version }) if number == 0 && version != VERSION => {
                let what = format!("it is a journal of format {version}, and this program reads format {VERSION}");
                return (replayed, Ending::Foreign { what });
            }
            Some(Line::Header { .. }) if number == 0 => {}
            Some(Line::Ended) if number > 0 => replayed.ended_well = true,
            Some(Line::Record(record)) if number > 0 => {
                replayed.ended_well = false;
                replayed.last_seq = replayed.last_seq.max(record.seq);
                replayed.records.insert(record.service.clone(), *record);
            }
            Some(_) | None => {
                replayed.ended_well = false;
                return (replayed, ending(bytes, good, line.len(), number + 1));
            }
        }
        good += line.len();
    }
    (replayed, Ending::Whole)
}

/// A bad line is a torn tail unless a good one follows: only the end of a file is lost in a crash.
fn ending(bytes: &[u8], good: usize, length: usize, line: usize) -> Ending {
    let rest = bytes.get(good + length..).unwrap_or_default();
    let goes_on = rest.split(|byte| *byte == b'\n').any(|line| Line::decode(line).is_some());
    match (goes_on, good) {
        (true, _) => Ending::Corrupt { line },
        // Not even a first line, and more than one that was cut short: this was never a journal.
        (false, 0) if bytes.contains(&b'\n') => Ending::Foreign { what: "it is no journal of tidegate".to_owned() },
        (false, _) => Ending::Torn { torn: bytes.len() - good },
    }
}
