//! The control loop's end of one record: a line for each tick, never waiting for the disk.

use std::sync::Arc;

use jiff::Timestamp;

use super::header::Header;
use super::lines::{Mark, Why};
use super::moment::Moment;
use super::slot::{Beginning, Content, Slot};
use super::tail::Place;
use super::write::{self, Counts, Frame, Names};
use crate::judge::{Copies, Draws, Judge, Tick};
use crate::view::{Arms, Phase};

/// So many bytes of lines lie between two checkpoints.
const CHECKPOINT_EVERY: usize = 1 << 20;
/// After so many ticks without a record it is tried to go on with it.
const RETRY_TICKS: u32 = 50;
/// So many ticks without anything are one line at most.
const MOST_QUIET: u32 = 1_000;

/// Writes down what the tests of one rollout are given. Does nothing where nothing is recorded.
#[derive(Debug, Default)]
pub struct Recorder(Option<Open>);

#[derive(Debug)]
struct Open {
    slot: Arc<Slot>,
    header: Arc<Header>,
    names: Names,
    epoch: u64,
    last: Moment,
    endpoints: Option<Arms<u32>>,
    /// Ticks without anything that are not written yet.
    quiet: Option<Quiet>,
    since_checkpoint: usize,
    /// Behind the last line of a window or a mark; none before there was one.
    place: Option<Place>,
    outage: Option<Outage>,
}

#[derive(Debug, Clone, Copy)]
struct Quiet {
    frame: Frame,
    compared: bool,
}

/// Nothing is written for the time being.
#[derive(Debug, Clone, Copy, Default)]
struct Outage {
    lost: u64,
    ticks: u32,
}

impl Recorder {
    /// Goes on with, or begins, the record behind this slot. `judge` is what the tests begin with.
    /// `missing`: so many windows before that are not in the record.
    pub(super) fn begin(slot: Arc<Slot>, header: Header, at: Timestamp, why: Why, judge: &Judge, missing: u64) -> Self {
        let (names, header, last) = (Names::of(&header), Arc::new(header), Moment::of(at));
        let mut open = Open {
            slot,
            header,
            names,
            epoch: 0,
            last,
            endpoints: None,
            quiet: None,
            since_checkpoint: 0,
            place: None,
            outage: None,
        };
        open.begin(last, why, missing, judge);
        Self(Some(open))
    }

    /// Writes down a tick, after `judge` has folded it in.
    pub fn tick(&mut self, at: Timestamp, generation: u64, weight: u16, tick: &Tick<'_>, judge: &Judge) {
        let Some(open) = &mut self.0 else { return };
        let at = Moment::of(at);
        if open.is_out(at, 1, judge) {
            return;
        }
        open.follow(at);
        let counts = Counts {
            stable: tick.stable,
            canary: tick.canary,
            baseline: (!std::ptr::eq(tick.stable, tick.baseline)).then_some(tick.baseline),
            matched: tick.matched,
        };
        let frame = Frame {
            at,
            generation: Some(generation),
            weight: Some(weight),
            times: 1,
            span: None,
            draws: tick.draws,
            copies: tick.copies,
            endpoints: (open.endpoints != Some(tick.endpoints)).then_some(tick.endpoints),
        };
        open.endpoints = Some(tick.endpoints);
        open.add(frame, &counts);
        if open.outage.is_none() && open.since_checkpoint >= CHECKPOINT_EVERY {
            open.checkpoint(at, judge);
        }
    }

    /// Writes down something that `judge` was told beside counts.
    pub fn mark(&mut self, at: Timestamp, mark: Mark, judge: &Judge) {
        let Some(open) = &mut self.0 else { return };
        let at = Moment::of(at);
        if open.is_out(at, 0, judge) {
            return;
        }
        open.follow(at);
        open.end_quiet();
        open.write(at, 0, |out, _, _| write::mark(out, at, mark));
    }

    /// Where the record is now: what it gets from here on is what the tests are given from here on. None where nothing
    /// is recorded.
    pub(crate) fn place(&self) -> Option<Place> {
        let open = self.0.as_ref()?;
        if open.outage.is_some() || open.slot.has_failed(open.epoch) {
            return None;
        }
        let quiet = open.quiet.map_or(0, |quiet| quiet.frame.times);
        Some(Place { quiet, ..open.place? })
    }

    /// The rollout is over; `judge` is as it ended.
    pub fn end(self, at: Timestamp, outcome: Option<Phase>, judge: &Judge) {
        let Some(mut open) = self.0 else { return };
        let at = Moment::of(at);
        if open.notice_failure() {
            let lost = open.outage.take().map_or(0, |outage| outage.lost);
            open.begin(at, Why::Gap, lost, judge);
        }
        open.follow(at);
        open.end_quiet();
        open.write(at, 0, |out, _, _| write::end(out, at, outcome));
        open.slot.send(open.epoch, Content::End);
    }
}

impl Open {
    fn begin(&mut self, at: Moment, why: Why, lost: u64, judge: &Judge) {
        self.epoch += 1;
        self.last = at;
        self.endpoints = None;
        self.quiet = None;
        self.since_checkpoint = 0;
        self.place = None;
        let beginning = Beginning { header: Arc::clone(&self.header), at, why, lost, judge: judge.clone() };
        self.slot.send(self.epoch, Content::Begin(Box::new(beginning)));
    }

    fn checkpoint(&mut self, at: Moment, judge: &Judge) {
        self.end_quiet();
        self.since_checkpoint = 0;
        // Whoever begins to read here finds them at the next window.
        self.endpoints = None;
        self.slot.send(self.epoch, Content::Checkpoint { at, judge: Box::new(judge.clone()) });
    }

    fn notice_failure(&mut self) -> bool {
        if self.outage.is_none() && self.slot.has_failed(self.epoch) {
            let lost = self.quiet.take().map_or(0, |quiet| u64::from(quiet.frame.times));
            self.outage = Some(Outage { lost, ticks: 0 });
        }
        self.outage.is_some()
    }

    /// Whether nothing is written now; after a while it is tried again, with the state of `judge`.
    fn is_out(&mut self, at: Moment, windows: u64, judge: &Judge) -> bool {
        if !self.notice_failure() {
            return false;
        }
        let Some(outage) = &mut self.outage else { return false };
        outage.lost += windows;
        outage.ticks = outage.ticks.saturating_add(1);
        if outage.ticks >= RETRY_TICKS && self.slot.has_room() {
            let lost = outage.lost;
            self.outage = None;
            self.begin(at, Why::Gap, lost, judge);
        }
        true
    }

    /// A clock that was set back is said, so that a reader need not wonder.
    fn follow(&mut self, at: Moment) {
        if at < self.last {
            self.end_quiet();
            self.write(at, 0, |out, _, _| write::mark(out, at, Mark::ClockSetBack));
        }
        self.last = at;
    }

    /// Ticks without anything in one second are one line.
    fn add(&mut self, frame: Frame, counts: &Counts<'_>) {
        let compared = counts.baseline.is_some();
        let copied = frame.copies.is_some_and(|copies| copies != Copies::default());
        let nothing =
            counts.are_nothing() && !copied && frame.draws.is_none_or(|Draws { all, canary, .. }| all + canary == 0);
        if let Some(quiet) = &mut self.quiet {
            let before = &mut quiet.frame;
            let goes_on = nothing
                && compared == quiet.compared
                && before.at.second() == frame.at.second()
                && (before.generation, before.weight, before.draws) == (frame.generation, frame.weight, frame.draws)
                && before.copies == frame.copies
                && frame.endpoints.is_none()
                && before.times < MOST_QUIET;
            if goes_on {
                before.at = frame.at;
                before.times += 1;
                return;
            }
            self.end_quiet();
        }
        if nothing {
            self.quiet = Some(Quiet { frame, compared });
        } else {
            self.write(frame.at, 1, |out, header, names| {
                write::window(out, names, &header.compared, &frame, counts);
            });
        }
    }

    fn end_quiet(&mut self) {
        if let Some(Quiet { frame, compared }) = self.quiet.take() {
            let nothing = meter::Window::default();
            let counts =
                Counts { stable: &nothing, canary: &nothing, baseline: compared.then_some(&nothing), matched: None };
            let windows = u64::from(frame.times);
            self.write(frame.at, windows, |out, header, names| {
                write::window(out, names, &header.compared, &frame, &counts);
            });
        }
    }

    fn write(&mut self, at: Moment, windows: u64, write: impl FnOnce(&mut Vec<u8>, &Header, &Names)) {
        if self.outage.is_none() && !self.slot.has_room() {
            self.outage = Some(Outage::default());
        }
        if let Some(outage) = &mut self.outage {
            outage.lost += windows;
            return;
        }
        self.place = Some(Place::after(self.place, at));
        let Self { header, names, .. } = self;
        self.since_checkpoint += self.slot.lines(self.epoch, windows, |out| write(out, header, names));
    }
}
