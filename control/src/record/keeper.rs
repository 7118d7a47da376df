//! The thread that writes records. The control loop never waits for it.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::file::RecordFile;
use super::lines::Why;
use super::slot::{Beginning, Content, Message, Shared, Slot, Woken};
use super::total::{self, Freed};
use super::write;
use crate::judge::Judge;

/// The folder of all records in a state directory.
pub(super) const FOLDER: &str = "records";
/// How often it writes.
const EVERY: Duration = Duration::from_secs(1);

/// All records together are looked at once in so many rounds: about once a minute.
const ROUNDS_TO_TOTAL: u32 = 60;

/// Writes what waits in the slots.
#[derive(Debug)]
pub(super) struct Keeper {
    folder: PathBuf,
    shared: Arc<Shared>,
    records: Vec<Kept>,
    /// Rounds since all records together were looked at.
    rounds: u32,
    /// So many bytes they may be.
    pub(super) most: u64,
}

/// One record that is being written.
#[derive(Debug)]
struct Kept {
    slot: Arc<Slot>,
    file: RecordFile,
    /// Why the disk did not take what was tried last.
    refused: Option<io::Error>,
}

impl Keeper {
    pub(super) fn new(state_directory: &Path, shared: Arc<Shared>) -> Self {
        Self { folder: state_directory.join(FOLDER), shared, records: Vec::new(), rounds: 0, most: total::MOST }
    }

    /// Writes until nothing more comes.
    pub(super) fn run(mut self) {
        loop {
            let woken = self.shared.wait((!self.records.is_empty()).then_some(EVERY));
            let closed = woken.closed;
            self.write(woken);
            if closed {
                return self.shared.finish();
            }
        }
    }

    /// Writes what waits now.
    pub(super) fn write(&mut self, woken: Woken) {
        // Not while rollouts of an earlier process still come back: their records are not known as running yet.
        self.rounds += u32::from(woken.begun.is_empty());
        for slot in woken.begun {
            let file = RecordFile::new(&self.folder, &slot.service, &slot.rollout);
            self.records.push(Kept { slot, file, refused: None });
        }
        self.write_all();
        if self.rounds >= ROUNDS_TO_TOTAL {
            self.rounds = 0;
            self.bound_all();
        }
    }

    /// Old records make room where all of them together take too much.
    fn bound_all(&self) {
        let running: HashSet<PathBuf> = self.records.iter().map(|kept| kept.file.path().to_owned()).collect();
        match total::prune_all(&self.folder, &running, self.most) {
            Ok(Freed { files: 0, .. }) => {}
            Ok(Freed { files, bytes }) => {
                tracing::info!(files, bytes, "the oldest records of ended rollouts were deleted to make room");
            }
            Err(error) => tracing::warn!(%error, "old records of rollouts cannot be deleted to make room"),
        }
    }

    fn write_all(&mut self) {
        let refused = |kept: &&Kept| kept.refused.is_some();
        let before = self.records.iter().filter(refused).count();
        let ongoing: Vec<bool> = self.records.iter_mut().map(Kept::write).collect();
        // Said once for all records: a full disk refuses each of them.
        match self.records.iter().find(refused) {
            Some(Kept { slot, file, refused: Some(error) }) if before == 0 => {
                let (service, path) = (slot.service.as_str(), file.path().display().to_string());
                tracing::warn!(
                    service, path, %error,
                    "the record of a rollout cannot be written; the rollout goes on, and windows are missing in its \
                     record until the disk takes them again"
                );
            }
            None if before > 0 => tracing::info!("records of rollouts are written again"),
            Some(_) | None => {}
        }
        let mut ongoing = ongoing.into_iter();
        self.records.retain(|_| ongoing.next().unwrap_or(false));
    }
}

impl Kept {
    /// Writes what waits, and says whether more may come.
    fn write(&mut self) -> bool {
        let Self { slot, file, refused } = self;
        // Nobody else has it: its service is gone.
        let mut goes_on = Arc::strong_count(slot) > 1;
        for message in slot.take() {
            // What came after a refusal within the same epoch is dropped with it.
            if slot.has_failed(message.epoch) {
                slot.fail(&message);
                continue;
            }
            goes_on &= !matches!(message.content, Content::End);
            *refused = write_down(slot, file, &message).err();
            if refused.is_some() {
                slot.fail(&message);
            }
            if let Content::Lines { bytes, .. } = message.content {
                slot.keep_room(bytes);
            }
        }
        goes_on
    }
}

fn write_down(slot: &Slot, file: &mut RecordFile, message: &Message) -> io::Result<()> {
    match &message.content {
        Content::Begin(beginning) => begin(slot, file, beginning),
        Content::Lines { bytes, .. } => file.append(bytes),
        Content::Checkpoint { at, judge } => {
            let mut bytes = Vec::new();
            write::checkpoint(&mut bytes, *at, Why::Routine, &state_of(judge)?);
            file.append(&bytes)
        }
        Content::End => Ok(()),
    }
}

fn begin(slot: &Slot, file: &mut RecordFile, beginning: &Beginning) -> io::Result<()> {
    let Beginning { header, at, why, lost, judge } = beginning;
    let (mut bytes, state) = (Vec::new(), state_of(judge)?);
    if !file.open_again()? {
        header.write(&mut bytes, &state);
        return file.create(&bytes);
    }
    // Dropped by this side since, and by the other.
    let lost_here = slot.take_lost();
    if lost_here + lost > 0 {
        write::gap(&mut bytes, lost_here + lost);
    }
    write::checkpoint(&mut bytes, *at, *why, &state);
    file.append(&bytes).inspect_err(|_| slot.give_back(lost_here))
}

fn state_of(judge: &Judge) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(judge)?)
}
