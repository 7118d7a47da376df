//! Where the rollouts of a process are recorded.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;

use super::file::RecordFile;
use super::header::Header;
use super::keeper::{FOLDER, Keeper};
use super::lines::Why;
use super::recorder::Recorder;
use super::slot::Shared;
use super::tail::{self, CaughtUp, NoTail, Place};
use crate::judge::Judge;
use crate::rollout::Rollout;

/// How long an orderly end waits for the disk.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where the rollouts of this process are recorded. By default they are not.
#[derive(Debug, Default)]
pub struct Recording(Option<Running>);

#[derive(Debug)]
struct Running {
    folder: PathBuf,
    shared: Arc<Shared>,
    keeper: JoinHandle<()>,
}

impl Recording {
    /// Records into the folder `records` of a state directory, on a thread of its own. The folder is created with the
    /// first record.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(state_directory: &Path) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let keeper = Keeper::new(state_directory, Arc::clone(&shared));
        let keeper = thread::Builder::new().name("tidegate-records".to_owned()).spawn(move || keeper.run())?;
        Ok(Self(Some(Running { folder: state_directory.join(FOLDER), shared, keeper })))
    }

    /// The record of a rollout whose tests begin with `judge`. Where there is a record of it already, it goes on with
    /// that state, behind a gap of so many `missing` windows.
    pub(crate) fn record(
        &self,
        service: &str,
        rollout: &Rollout,
        at: Timestamp,
        judge: &Judge,
        missing: u64,
    ) -> Recorder {
        let Some(Running { shared, .. }) = &self.0 else { return Recorder::default() };
        let slot = shared.begin(service, &rollout.id);
        Recorder::begin(slot, Header::of(service, rollout), at, Why::Restart, judge, missing)
    }

    /// Feeds tests, which were saved when their record was at this place, what the record has behind it. None where
    /// nothing is recorded.
    pub(crate) fn caught_up(
        &self,
        service: &str,
        rollout: &str,
        place: Place,
        judge: Judge,
    ) -> Option<Result<CaughtUp, NoTail>> {
        let Running { folder, .. } = self.0.as_ref()?;
        Some(tail::caught_up(RecordFile::new(folder, service, rollout).path(), place, judge))
    }

    /// When the record of a rollout was written last, by whichever process: at most a second before that process stopped
    /// recording. None where there is none.
    pub(crate) fn written_at(&self, service: &str, rollout: &str) -> Option<Timestamp> {
        let Running { folder, .. } = self.0.as_ref()?;
        let written = fs::metadata(RecordFile::new(folder, service, rollout).path()).and_then(|file| file.modified());
        Timestamp::try_from(written.ok()?).ok()
    }

    /// How many bytes wait for the disk, over all records.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        self.0.as_ref().map_or(0, |running| running.shared.waiting())
    }

    /// Writes everything that was handed over, and ends. A disk that hangs is not waited for: what it did not take is
    /// lost to the record.
    pub fn close(&mut self) {
        let Some(Running { shared, keeper, .. }) = self.0.take() else { return };
        if !shared.close(PATIENCE) {
            tracing::warn!("the records of rollouts were not written in time; their last lines are lost");
        } else if keeper.join().is_err() {
            tracing::error!("the thread of the records panicked");
        }
    }
}
