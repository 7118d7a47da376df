//! Reads a journal back: the last record of each service wins.

use std::collections::BTreeMap;

use config::Name;

use super::record::{Line, Record, Unread, VERSION};

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
    /// There was a journal, and nothing in it can be read: what was in force is not known.
    pub lost: bool,
    /// What an operator should know.
    pub warnings: Vec<String>,
    /// Why the journal cannot be written, where it cannot.
    pub problem: Option<String>,
}

/// What the bytes of a journal are, as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Every line is good.
    Whole,
    /// The end was not written whole, as a crash leaves it.
    Torn {
        /// How many bytes that is.
        torn: usize,
    },
    /// Good lines follow a bad one: no crash does that.
    Corrupt {
        /// The first bad line's number, counted from 1.
        first: usize,
        /// How many lines are bad.
        lines: usize,
    },
    /// Not even the first line is there, and nothing follows: it is written whole, and on disk before the file has its
    /// name, so no crash of ours does that.
    Lost,
    /// The file is of another version of the program, or no journal at all.
    Foreign {
        /// In words.
        what: String,
    },
}

/// What is known of the bad lines so far.
#[derive(Debug, Default)]
struct Damage {
    first: Option<usize>,
    lines: usize,
    /// Whether a good line follows one of them.
    inside: bool,
    /// The bytes up to the end of the last good line.
    good: usize,
}

impl Damage {
    fn bad(&mut self, line: usize) {
        self.first.get_or_insert(line);
        self.lines += 1;
    }

    fn good(&mut self, end: usize) {
        self.good = end;
        self.inside |= self.first.is_some();
    }

    /// Bad lines are a torn tail unless a good one follows: only the end of a file is lost in a crash.
    fn ending(&self, bytes: &[u8]) -> Ending {
        match self.first {
            None if bytes.is_empty() => Ending::Lost,
            None => Ending::Whole,
            Some(first) if self.inside => Ending::Corrupt { first, lines: self.lines },
            // Not even a first line, and more than one that was cut short: this was never a journal.
            Some(_) if self.good == 0 && bytes.contains(&b'\n') => {
                Ending::Foreign { what: "it is no journal of tidegate".to_owned() }
            }
            Some(_) if self.good == 0 => Ending::Lost,
            Some(_) => Ending::Torn { torn: bytes.len() - self.good },
        }
    }
}

/// What a journal says, and what state it is in. Each record is a whole state, so bad lines are passed over: what a
/// later one says is true without them.
pub(super) fn replay(bytes: &[u8]) -> (Replayed, Ending) {
    let mut replayed = Replayed { ended_well: true, ..Replayed::default() };
    let mut damage = Damage::default();
    let mut end = 0;
    for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        end += line.len();
        let content = line.strip_suffix(b"\n");
        match Line::decode(content.unwrap_or(line)) {
            Err(Unread::NotUnderstood) => {
                let what = format!(
                    "line {number} was written by another version of tidegate, and only that one can go on from it"
                );
                return (replayed, Ending::Foreign { what });
            }
            Ok(Line::Header { version }) if version != VERSION => {
                let what = format!("it is a journal of format {version}, and this program reads format {VERSION}");
                return (replayed, Ending::Foreign { what });
            }
            Err(Unread::Damaged) => damage.bad(number),
            // Not acknowledged to anyone before its end was on disk.
            Ok(_) if content.is_none() => damage.bad(number),
            Ok(Line::Header { .. }) if number == 1 => damage.good(end),
            Ok(Line::Header { .. }) => {
                damage.bad(number);
                damage.good(end);
            }
            Ok(line) => {
                if number == 1 {
                    // The first line, which says what this is, is gone.
                    damage.bad(number);
                }
                damage.good(end);
                take(&mut replayed, line);
            }
        }
    }
    replayed.ended_well &= damage.first.is_none();
    (replayed, damage.ending(bytes))
}

fn take(replayed: &mut Replayed, line: Line) {
    match line {
        Line::Header { .. } => {}
        Line::Ended => replayed.ended_well = true,
        Line::Record(record) => {
            replayed.ended_well = false;
            replayed.last_seq = replayed.last_seq.max(record.seq);
            replayed.records.insert(record.service.clone(), *record);
        }
    }
}
