//! The thread that writes records. The control loop never waits for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::file::RecordFile;
use super::lines::Why;
use super::slot::{Beginning, Content, Message, Shared, Slot, Woken};
use super::write;
use crate::judge::Judge;

/// How often it writes.
const EVERY: Duration = Duration::from_secs(1);

/// Writes what waits in the slots.
#[derive(Debug)]
pub(super) struct Keeper {
    folder: PathBuf,
    shared: Arc<Shared>,
    records: Vec<(Arc<Slot>, RecordFile)>,
    /// Whether the last thing that was tried went wrong: it is said once.
    refused: bool,
}

impl Keeper {
    pub(super) fn new(state_directory: &Path, shared: Arc<Shared>) -> Self {
        Self { folder: state_directory.join("records"), shared, records: Vec::new(), refused: false }
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
        for slot in woken.begun {
            let file = RecordFile::new(&self.folder, &slot.service, &slot.rollout);
            self.records.push((slot, file));
        }
        self.write_all();
    }

    fn write_all(&mut self) {
        let Self { records, refused, .. } = self;
        records.retain_mut(|(slot, file)| {
            let mut goes_on = true;
            for message in slot.take() {
                // What came after a refusal within the same epoch is dropped with it.
                if slot.has_failed(message.epoch) {
                    slot.fail(&message);
                    continue;
                }
                goes_on &= !matches!(message.content, Content::End);
                match write_down(slot, file, &message) {
                    Ok(()) if std::mem::take(refused) => tracing::info!("records of rollouts are written again"),
                    Ok(()) => {}
                    Err(error) => {
                        slot.fail(&message);
                        if !std::mem::replace(refused, true) {
                            let (service, path) = (slot.service.as_str(), file.path().display().to_string());
                            tracing::warn!(
                                service, path, %error,
                                "the record of a rollout cannot be written; the rollout goes on, and windows are missing \
                                 in its record until the disk takes them again"
                            );
                        }
                    }
                }
            }
            goes_on
        });
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
