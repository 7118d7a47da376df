//! What waits to be written: the control loop adds at each tick, the keeper takes once a second.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::header::Header;
use super::lines::Why;
use super::moment::Moment;
use crate::judge::Judge;

/// So many bytes may wait over all records. What comes beyond is dropped and counted.
const MOST_QUEUED: usize = 24 << 20;
/// From here on the keeper does not wait for the second to be over. A round opens and closes the file of every record
/// that has lines, so many small rounds would cost more than the lines.
const MUCH_QUEUED: usize = 8 << 20;
/// So many bytes of room are kept for the lines of a record that come next.
const MOST_ROOM: usize = 64 << 10;
/// What a judge counts as while it waits.
const JUDGE_BYTES: usize = 64 << 10;

/// What the control loop and the keeper share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    queued: AtomicUsize,
    state: Mutex<State>,
    woken: Condvar,
    finished: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Slots that the keeper does not know yet.
    begun: Vec<Arc<Slot>>,
    hurried: bool,
    closed: bool,
    finished: bool,
}

/// What the keeper is to do now.
#[derive(Debug)]
pub(super) struct Woken {
    pub(super) begun: Vec<Arc<Slot>>,
    /// Nothing more will come.
    pub(super) closed: bool,
}

/// The record of one rollout, between the control loop and the keeper.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) service: String,
    pub(super) rollout: String,
    shared: Arc<Shared>,
    pending: Mutex<Vec<Message>>,
    /// Everything sent in this epoch, or before, is not written: the disk refused a part of it. Epochs count from 1.
    failed: AtomicU64,
    /// Windows that were dropped by the keeper and are not yet in a gap.
    lost: AtomicU64,
    /// What lines were in that are written: room for the next, so that they need not move as they grow, and memory does
    /// not go from one thread to the other all the time.
    spare: Mutex<Vec<u8>>,
}

/// Something to write.
#[derive(Debug)]
pub(super) struct Message {
    /// Grows where the record begins anew after an outage.
    pub(super) epoch: u64,
    pub(super) content: Content,
}

/// What is to be written.
#[derive(Debug)]
pub(super) enum Content {
    /// A record's first line; a checkpoint where the record is there already.
    Begin(Box<Beginning>),
    /// Whole lines, with so many windows among them.
    Lines { bytes: Vec<u8>, windows: u64 },
    /// A checkpoint.
    Checkpoint { at: Moment, judge: Box<Judge> },
    /// Nothing more.
    End,
}

/// Where a record begins, or goes on after something is missing.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) header: Arc<Header>,
    pub(super) at: Moment,
    pub(super) why: Why,
    /// So many windows are missing before it.
    pub(super) lost: u64,
    pub(super) judge: Judge,
}

impl Content {
    fn bytes(&self) -> usize {
        match self {
            Self::Begin(_) | Self::Checkpoint { .. } => JUDGE_BYTES,
            Self::Lines { bytes, .. } => bytes.len(),
            Self::End => 0,
        }
    }

    fn windows(&self) -> u64 {
        match self {
            Self::Begin(beginning) => beginning.lost,
            Self::Lines { windows, .. } => *windows,
            Self::Checkpoint { .. } | Self::End => 0,
        }
    }
}

impl Shared {
    /// A slot for a rollout's record.
    pub(super) fn begin(self: &Arc<Self>, service: &str, rollout: &str) -> Arc<Slot> {
        let slot = Arc::new(Slot {
            service: service.to_owned(),
            rollout: rollout.to_owned(),
            shared: Arc::clone(self),
            pending: Mutex::default(),
            failed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            spare: Mutex::default(),
        });
        self.state.lock().begun.push(Arc::clone(&slot));
        self.woken.notify_one();
        slot
    }

    /// Waits for something to write: for as long as `patience`, or for ever.
    pub(super) fn wait(&self, patience: Option<Duration>) -> Woken {
        let mut state = self.state.lock();
        let idle = |state: &mut State| state.begun.is_empty() && !state.closed && !state.hurried;
        match patience {
            Some(patience) => _ = self.woken.wait_while_for(&mut state, idle, patience),
            None => self.woken.wait_while(&mut state, idle),
        }
        state.hurried = false;
        Woken { begun: mem::take(&mut state.begun), closed: state.closed }
    }

    /// Nothing more will come. Waits until everything is written, or for as long as `patience`; says whether it is.
    pub(super) fn close(&self, patience: Duration) -> bool {
        let mut state = self.state.lock();
        state.closed = true;
        self.woken.notify_one();
        _ = self.finished.wait_while_for(&mut state, |state| !state.finished, patience);
        state.finished
    }

    /// The keeper has written everything and ends.
    pub(super) fn finish(&self) {
        self.state.lock().finished = true;
        self.finished.notify_all();
    }

    /// How many bytes wait, over all records.
    pub(super) fn waiting(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        let before = self.queued.fetch_add(bytes, Ordering::Relaxed);
        if before < MUCH_QUEUED && before + bytes >= MUCH_QUEUED {
            self.state.lock().hurried = true;
            self.woken.notify_one();
        }
    }
}

impl Slot {
    /// Whether there is room for more.
    pub(super) fn has_room(&self) -> bool {
        self.shared.waiting() < MOST_QUEUED
    }

    /// Whether what is sent in this epoch is dropped.
    pub(super) fn has_failed(&self, epoch: u64) -> bool {
        self.failed.load(Ordering::Acquire) >= epoch
    }

    /// Adds lines, which `write` appends, with so many windows among them.
    pub(super) fn lines(&self, epoch: u64, windows: u64, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let mut pending = self.pending.lock();
        let written = match pending.last_mut() {
            Some(Message { epoch: of, content: Content::Lines { bytes, windows: before } }) if *of == epoch => {
                let length = bytes.len();
                write(bytes);
                *before += windows;
                bytes.len() - length
            }
            Some(_) | None => {
                let mut bytes = mem::take(&mut *self.spare.lock());
                write(&mut bytes);
                let length = bytes.len();
                pending.push(Message { epoch, content: Content::Lines { bytes, windows } });
                length
            }
        };
        drop(pending);
        self.shared.add(written);
        written
    }

    /// Adds something else than lines.
    pub(super) fn send(&self, epoch: u64, content: Content) {
        let bytes = content.bytes();
        self.pending.lock().push(Message { epoch, content });
        self.shared.add(bytes);
    }

    /// Everything that waits, without what is dropped since the disk refused.
    pub(super) fn take(&self) -> Vec<Message> {
        let mut messages = mem::take(&mut *self.pending.lock());
        let bytes = messages.iter().map(|message| message.content.bytes()).sum();
        self.shared.queued.fetch_sub(bytes, Ordering::Relaxed);
        let dropped = messages.extract_if(.., |message| self.has_failed(message.epoch));
        let lost = dropped.map(|message| message.content.windows()).sum();
        self.lost.fetch_add(lost, Ordering::Relaxed);
        messages
    }

    /// What lines were in that are written may be used for others.
    pub(super) fn keep_room(&self, mut bytes: Vec<u8>) {
        if bytes.capacity() <= MOST_ROOM {
            bytes.clear();
            *self.spare.lock() = bytes;
        }
    }

    /// The disk refused a message: whatever is sent in its epoch is dropped.
    pub(super) fn fail(&self, message: &Message) {
        self.lost.fetch_add(message.content.windows(), Ordering::Relaxed);
        self.failed.fetch_max(message.epoch, Ordering::Release);
    }

    /// How many windows were dropped since the last time.
    pub(super) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    /// Those windows are in no gap after all.
    pub(super) fn give_back(&self, lost: u64) {
        self.lost.fetch_add(lost, Ordering::Relaxed);
    }
}
