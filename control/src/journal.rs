//! The journal: what must outlive the process, on disk before it is acted on.
//!
//! A file of lines, appended to and synced in groups. Each record holds the whole state of one service, so replay is
//! "the last record of a service wins". After any error the file is not trusted again: records are refused until a
//! fresh file, written from the live state, has taken its place. What is written where is behind [`Storage`], so that
//! simulations can crash it at any moment.

mod files;
pub(crate) mod plan;
mod record;
mod replay;

use std::io;

use jiff::Timestamp;

pub use self::files::Files;
pub(crate) use self::files::is_at;
#[expect(unused_imports, reason = "the record of a rollout writes its plan in this form too")]
pub(crate) use self::plan::PlanForm;
pub use self::record::Record;
pub use self::replay::Replayed;
use self::replay::{Ending, replay};

/// How many changes may have been lost with a process that did not end in good order: steps back and reloads come
/// into force before they are on disk.
const GENERATION_LEAP: u64 = 1_000;

/// What is told where a journal is missing that must have been there.
const NO_JOURNAL: &str = "there is no journal, but other files of an earlier process lie where it ought to be: what was promoted, \
                          rolled back or set by hand is not known, and what the file says is in force. If nobody moved the \
                          journal away, look at stable and weight";

/// Where the journal and the evidence are kept.
pub trait Storage: Send {
    /// The journal's bytes; none where there is no journal yet.
    fn load(&mut self) -> io::Result<Option<Vec<u8>>>;

    /// Appends to the journal. After an error any part of the bytes may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns when everything appended is on disk.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the journal off after `length` bytes.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// Puts a fresh journal in the place of the old one, whole or not at all, and on disk on return. After an error
    /// either may be there.
    fn rewrite(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Keeps a copy of the journal for whoever looks into what happened to it, and names it.
    fn set_aside(&mut self, bytes: &[u8]) -> io::Result<String>;

    /// The evidence's bytes; empty where there is none.
    fn load_evidence(&mut self) -> io::Result<Vec<u8>>;

    /// Replaces the evidence; on disk on return only where `synced`.
    fn write_evidence(&mut self, bytes: &[u8], synced: bool) -> io::Result<()>;

    /// What is known of stable traffic; empty where nothing was written.
    fn load_background(&mut self) -> io::Result<Vec<u8>>;

    /// Replaces it; on disk on return only where `synced`.
    fn write_background(&mut self, bytes: &[u8], synced: bool) -> io::Result<()>;
}

/// What the journal is asked.
#[derive(Debug, Clone)]
pub enum Request {
    /// Write a record.
    Append(Box<Record>),
    /// Put a fresh journal of these records in the place of the old one.
    Rewrite(Vec<Record>),
    /// Replace the evidence, when there is time.
    Evidence {
        /// The evidence.
        bytes: Vec<u8>,
        /// When it was so.
        at: Timestamp,
    },
    /// Replace what is known of stable traffic, when there is time.
    Background(Vec<u8>),
    /// Write this evidence, sync everything and end.
    Close {
        /// The evidence.
        evidence: Vec<u8>,
        /// What is known of stable traffic.
        background: Vec<u8>,
        /// Whether the journal then holds everything that is in force.
        complete: bool,
    },
}

/// What the journal answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Every record up to this one is on disk.
    Journalled {
        /// The last record's number.
        through: u64,
        /// How long the journal is now, in bytes.
        size: u64,
    },
    /// These records are not, or not surely, on disk. Nothing is taken until a rewrite succeeded.
    Failed {
        /// The last record's number.
        through: u64,
        /// Why, in words.
        problem: String,
    },
    /// A fresh journal took the place of the old one.
    Rewritten {
        /// How long the journal is now, in bytes.
        size: u64,
    },
    /// It could not be written.
    NotRewritten {
        /// Why, in words.
        problem: String,
    },
    /// The evidence is in its file.
    EvidenceSaved {
        /// As in the request.
        at: Timestamp,
    },
    /// The evidence is not: its file is as it was.
    EvidenceNotSaved {
        /// Why, in words.
        problem: String,
    },
    /// What is known of stable traffic is in its file.
    BackgroundSaved,
    /// It is not: its file is as it was.
    BackgroundNotSaved {
        /// Why, in words.
        problem: String,
    },
    /// Everything that could be written is on disk, and the journal has ended.
    Closed,
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its bytes cannot be read.
    #[error("the journal cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is something else.
    #[error("the journal cannot be used: {what}; move it away to begin without it")]
    Foreign {
        /// In words.
        what: String,
    },
}

/// A journal that was opened and replayed.
#[derive(Debug)]
pub struct Journal<S> {
    storage: S,
    size: u64,
    /// Why the file may not be appended to; cleared by a rewrite that succeeds.
    distrusted: Option<String>,
    /// A damaged journal that is still to be kept aside before anything replaces it.
    damaged: Option<Vec<u8>>,
    /// Where it was kept.
    kept_aside: Option<String>,
    /// How long it is without the lines that say that an earlier process ended in good order.
    begins_at: Option<u64>,
}

impl<S: Storage> Journal<S> {
    /// Reads what is there and repairs what a crash left. A journal that can be read but not written opens, and says
    /// so in [`Replayed::problem`].
    pub fn open(mut storage: S) -> Result<(Self, Replayed), OpenError> {
        let found = storage.load()?;
        let is_new = found.is_none();
        let bytes = found.unwrap_or_default();
        let (mut replayed, ending) = replay(&bytes);
        let size = bytes.len() as u64;
        let mut journal = Self { storage, size, distrusted: None, damaged: None, kept_aside: None, begins_at: None };
        let repaired = match ending {
            Ending::Foreign { what } => return Err(OpenError::Foreign { what }),
            // What was read may be in the system's memory alone: nothing is built on it before it is on disk.
            Ending::Whole if replayed.ended_well && !bytes.is_empty() => {
                let mut rest = bytes.as_slice();
                while let Some(before) = rest.strip_suffix(record::end().as_slice()) {
                    rest = before;
                }
                journal.begins_at = Some(rest.len() as u64);
                journal.storage.sync()
            }
            Ending::Whole => journal.take_over(&mut replayed),
            Ending::Torn { torn } => {
                replayed.warnings.push(format!(
                    "the journal's last record was not written to its end ({torn} bytes); it was cut off"
                ));
                journal.take_over(&mut replayed)
            }
            Ending::Lost if is_new => {
                // Evidence that cannot be read is told of where it is.
                if journal.storage.load_evidence().is_ok_and(|evidence| !evidence.is_empty()) {
                    replayed.warnings.push(NO_JOURNAL.to_owned());
                }
                journal.take_over(&mut replayed)
            }
            Ending::Lost => {
                let length = bytes.len();
                journal.damaged = Some(bytes);
                (replayed.lost, replayed.ended_well) = (true, false);
                let repaired = journal.take_over(&mut replayed);
                replayed.warnings.push(format!(
                    "the journal holds nothing that can be read ({length} bytes), as after a loss of power: what was promoted, \
                     rolled back or set by hand is not known. Each service begins with all its traffic on the stable that the \
                     file names; {}. Look at stable and weight, and begin what was under way anew",
                    journal.where_it_is_kept()
                ));
                repaired
            }
            Ending::Corrupt { first, lines } => {
                journal.damaged = Some(bytes);
                let repaired = journal.take_over(&mut replayed);
                journal.tell_of_damage(first, lines, &mut replayed);
                repaired
            }
        };
        replayed.size = journal.size;
        if let Err(error) = repaired {
            journal.distrusted = Some(in_words(&error));
            replayed.problem.clone_from(&journal.distrusted);
        }
        Ok((journal, replayed))
    }

    /// From here on this process uses it: that an earlier one ended in good order is true no more. Not part of
    /// [`open`](Self::open): who opens it and then cannot start has lost nothing.
    pub fn begin(&mut self) {
        let Some(length) = self.begins_at.take().filter(|length| *length < self.size) else { return };
        if self.distrusted.is_some() {
            return;
        }
        match self.storage.truncate(length).and_then(|()| self.storage.sync()) {
            Ok(()) => self.size = length,
            Err(error) => {
                let problem = self.distrust(&error);
                tracing::warn!(problem, "the journal cannot be begun");
            }
        }
    }

    /// After a process that did not end in good order. Its last changes may be lost, and people may have seen the
    /// generations that they had: a leap keeps those from coming back with another meaning. It is on disk before
    /// anything is built on it, so that the next crash leaps on from there.
    fn take_over(&mut self, replayed: &mut Replayed) -> io::Result<()> {
        for record in replayed.records.values_mut() {
            record.state.generation += GENERATION_LEAP;
        }
        self.replace(replayed.records.values())
    }

    fn tell_of_damage(&self, first: usize, lines: usize, replayed: &mut Replayed) {
        let reason = if lines == 1 {
            format!(
                "line {first} of the journal is damaged; every other record was read; a change in that line is lost"
            )
        } else {
            format!(
                "line {first} of the journal is damaged, the first of {lines} that are; every other record was read; \
                 changes in those lines are lost"
            )
        };
        let kept = self.where_it_is_kept();
        replayed.warnings.push(format!("{reason}; running rollouts are paused; {kept}"));
        replayed.corrupt = Some(reason);
    }

    fn where_it_is_kept(&self) -> String {
        match &self.kept_aside {
            Some(name) => format!("the damaged journal is kept beside it as {name}"),
            None => "the damaged journal is left as it is until a copy of it can be kept beside it".to_owned(),
        }
    }

    fn replace<'a>(&mut self, records: impl IntoIterator<Item = &'a Record>) -> io::Result<()> {
        if let Some(damaged) = &self.damaged {
            let name = self.storage.set_aside(damaged)?;
            tracing::warn!(name, "damaged journal kept aside");
            self.kept_aside = Some(name);
            self.damaged = None;
        }
        let mut bytes = record::header();
        records.into_iter().for_each(|record| bytes.extend(record::encode(record)));
        self.storage.rewrite(&bytes)?;
        self.size = bytes.len() as u64;
        self.distrusted = None;
        Ok(())
    }

    /// Does what is asked, in order: one write and one sync for records that follow each other. Evidence is written
    /// once, the latest. Nothing after a [`Request::Close`] is done.
    pub fn commit(&mut self, requests: Vec<Request>) -> Vec<Answer> {
        let mut answers = Vec::new();
        let mut group: Vec<Record> = Vec::new();
        let (mut evidence, mut background) = (None, None);
        for request in requests {
            match request {
                Request::Append(record) => group.push(*record),
                Request::Evidence { bytes, at } => evidence = Some((bytes, at)),
                Request::Background(bytes) => background = Some(bytes),
                Request::Rewrite(records) => {
                    answers.extend(self.append(&group));
                    group.clear();
                    answers.push(self.rewrite(&records));
                }
                Request::Close { evidence, background, complete } => {
                    answers.extend(self.append(&group));
                    self.close(&evidence, &background, complete);
                    answers.push(Answer::Closed);
                    return answers;
                }
            }
        }
        answers.extend(self.append(&group));
        // Lost evidence costs a second of it, or a rollout's tests begun anew; the next second tries again.
        answers.extend(evidence.map(|(bytes, at)| match self.storage.write_evidence(&bytes, false) {
            Ok(()) => Answer::EvidenceSaved { at },
            Err(error) => Answer::EvidenceNotSaved { problem: in_words(&error) },
        }));
        answers.extend(background.map(|bytes| match self.storage.write_background(&bytes, false) {
            Ok(()) => Answer::BackgroundSaved,
            Err(error) => Answer::BackgroundNotSaved { problem: in_words(&error) },
        }));
        answers
    }

    fn append(&mut self, group: &[Record]) -> Option<Answer> {
        let through = group.last()?.seq;
        if let Some(problem) = self.distrusted.clone() {
            return Some(Answer::Failed { through, problem });
        }
        let bytes: Vec<u8> = group.iter().flat_map(record::encode).collect();
        let written = self.storage.append(&bytes).and_then(|()| self.storage.sync());
        if let Err(error) = written {
            // What was refused should not be found by a replay. If the disk refuses this too, the rewrite that
            // follows sees to it.
            let _ = self.storage.truncate(self.size);
            return Some(Answer::Failed { through, problem: self.distrust(&error) });
        }
        self.size += bytes.len() as u64;
        Some(Answer::Journalled { through, size: self.size })
    }

    fn rewrite(&mut self, records: &[Record]) -> Answer {
        match self.replace(records) {
            Ok(()) => Answer::Rewritten { size: self.size },
            Err(error) => Answer::NotRewritten { problem: self.distrust(&error) },
        }
    }

    fn distrust(&mut self, error: &io::Error) -> String {
        let problem = in_words(error);
        self.distrusted = Some(problem.clone());
        problem
    }

    fn close(&mut self, evidence: &[u8], background: &[u8], complete: bool) {
        if complete && self.distrusted.is_none() {
            let ended = self.storage.append(&record::end()).and_then(|()| self.storage.sync());
            if let Err(error) = ended {
                tracing::warn!(%error, "the journal could not be ended in good order");
            }
        }
        if let Err(error) = self.storage.write_evidence(evidence, true) {
            tracing::warn!(%error, "evidence not saved");
        }
        if let Err(error) = self.storage.write_background(background, true) {
            tracing::warn!(%error, "what is known of stable traffic not saved");
        }
    }

    /// The evidence that an earlier process saved; empty where there is none.
    pub fn load_evidence(&mut self) -> io::Result<Vec<u8>> {
        self.storage.load_evidence()
    }

    /// What an earlier process knew of stable traffic; empty where nothing was saved.
    pub fn load_background(&mut self) -> io::Result<Vec<u8>> {
        self.storage.load_background()
    }

    /// Gives the storage back, as a crash would leave it.
    pub fn into_storage(self) -> S {
        self.storage
    }
}

/// An error of the disk as an operator understands it, with what to do.
fn in_words(error: &io::Error) -> String {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let kind = error.kind();
    if matches!(kind, StorageFull | QuotaExceeded) {
        format!("no space is left in the state directory ({error}); free some")
    } else if kind == ReadOnlyFilesystem {
        format!("the state directory is read-only ({error}); mount it writable")
    } else if kind == PermissionDenied {
        format!("permission to write the state directory is missing ({error}); grant it")
    } else {
        format!("writing to the state directory failed ({error})")
    }
}

#[cfg(test)]
mod tests;
