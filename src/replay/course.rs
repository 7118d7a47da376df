//! A replay with what came of it so far.

use std::io::BufRead;

use control::judge::{Harm, Judgement};
use control::record::{Line, Mark, Moment, Reader, Replay, Unreadable};
use control::view::{GateView, Verdict};

/// In a dry run harm is counted at most once in so many seconds, as a rollout does.
const COUNTED_EACH: f64 = 60.0;

/// A moment of the record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reached {
    /// By the wall clock of the record.
    pub at: Moment,
    /// Seconds since the record's first moment. A clock that was set back takes none away.
    pub after: f64,
    /// Whether the evidence was exact there (docs/records.md).
    pub exact: bool,
}

/// Harm that a dry run has counted.
#[derive(Debug)]
struct DryHarm {
    /// In seconds since the record's first moment.
    after: f64,
    /// It is established still, and shown.
    stands: bool,
    /// A step has begun since.
    is_of_step_before: bool,
}

/// A record that is being judged.
#[derive(Debug)]
pub struct Course {
    replay: Replay,
    judgement: Judgement,
    gates: Vec<GateView>,
    now: Option<Reached>,
    first_harm: Option<(Reached, Harm)>,
    /// What first asked a person to look: a signal, the check of the traffic, or a limit that both versions break.
    first_pause: Option<(Reached, String)>,
    /// What a dry run under other gates counted last.
    dry_harm: Option<DryHarm>,
    /// How often harm was established: more than once in a dry run alone.
    harms: u64,
    harmed: bool,
    judged: bool,
}

impl Course {
    /// Before the first line.
    #[must_use]
    pub fn new(replay: Replay) -> Self {
        let (judgement, gates) = (replay.judge().judgement(), replay.judge().gates());
        let harmed = judgement.harm.is_some();
        let judged = gates.is_empty();
        Self {
            replay,
            judgement,
            gates,
            now: None,
            first_harm: None,
            first_pause: None,
            dry_harm: None,
            harms: 0,
            harmed,
            judged,
        }
    }

    /// Judges a line that was just read.
    ///
    /// # Errors
    /// As [`Replay::judge_line`].
    pub fn judge<R: BufRead>(&mut self, reader: &Reader<R>, line: &Line) -> Result<(), Unreadable> {
        self.replay.judge_line(reader, line)?;
        self.reach(line);
        self.judgement = self.replay.judge().judgement();
        self.gates = self.replay.judge().gates();
        let harmed = self.judgement.harm.is_some();
        self.judged |= harmed || self.gates.iter().any(|gate| gate.verdict != Verdict::NoData);
        if harmed && self.counts() {
            self.harms += 1;
            if let (None, Some(now), Some(harm)) = (&self.first_harm, self.now, &self.judgement.harm) {
                self.first_harm = Some((now, harm.clone()));
            }
        }
        self.harmed = harmed;
        if let (None, Some(now), Some(why)) = (&self.first_pause, self.now, self.pauses()) {
            self.first_pause = Some((now, why));
        }
        Ok(())
    }

    /// Why a rollout would be paused now.
    fn pauses(&self) -> Option<String> {
        let Judgement { signal, traffic, hold, .. } = &self.judgement;
        let signalled = signal.as_ref().map(|harm| format!("{}: {}", harm.gate, harm.explain));
        signalled.or_else(|| traffic.as_ref().map(|why| format!("traffic: {why}"))).or_else(|| hold.clone())
    }

    /// The moment of this line is reached.
    fn reach(&mut self, line: &Line) {
        if let Some(at) = line.at() {
            // Moments are whole milliseconds, and their differences are shown.
            let passed = |from: Moment| ((at.seconds() - from.seconds()) * 1e3).round() / 1e3;
            let after = self.now.map_or(0.0, |now| ((now.after + passed(now.at).max(0.0)) * 1e3).round() / 1e3);
            self.now = Some(Reached { at, after, exact: self.replay.is_exact() });
        }
        if let (Line::Marked(_, Mark::NewStep), Some(harm)) = (line, &mut self.dry_harm) {
            harm.is_of_step_before = true;
        }
    }

    /// Whether harm that is established now is counted: when it comes, and in a dry run at most once in so long.
    fn counts(&mut self) -> bool {
        if !self.begins_anew() {
            return !self.harmed;
        }
        let after = self.seconds();
        let counts = self.dry_harm.as_ref().is_none_or(|harm| !harm.stands && after - harm.after >= COUNTED_EACH);
        if counts {
            self.dry_harm = Some(DryHarm { after, stands: true, is_of_step_before: false });
        }
        counts
    }

    /// After what came of a line was told. In a dry run harm stands until it could be counted again, or a step has begun
    /// since; then its tests begin anew.
    pub fn go_on(&mut self) {
        let after = self.seconds();
        if self.begins_anew()
            && let Some(harm) = &mut self.dry_harm
            && harm.stands
            && (after - harm.after >= COUNTED_EACH || harm.is_of_step_before)
        {
            harm.stands = false;
            self.replay.begin_anew();
            self.harmed = false;
        }
    }

    /// Whether the tests begin anew after harm, and when is found here. Under the record's own gates the record says it.
    fn begins_anew(&self) -> bool {
        self.replay.plan().dry_run && !self.replay.has_same_gates()
    }

    /// The replay.
    #[must_use]
    pub const fn replay(&self) -> &Replay {
        &self.replay
    }

    /// What the tests say after the last line.
    #[must_use]
    pub const fn judgement(&self) -> &Judgement {
        &self.judgement
    }

    /// The gates after the last line.
    #[must_use]
    pub fn gates(&self) -> &[GateView] {
        &self.gates
    }

    /// The gates as one: fail, no-data, inconclusive, pass, whichever comes first.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.judgement.harm.is_some() {
            Verdict::Fail
        } else if !self.judgement.has_data {
            Verdict::NoData
        } else if self.judgement.proven {
            Verdict::Pass
        } else {
            Verdict::Inconclusive
        }
    }

    /// Seconds from the record's first moment to its last.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.now.map_or(0.0, |now| now.after)
    }

    /// When harm was first established, and which.
    #[must_use]
    pub const fn first_harm(&self) -> Option<&(Reached, Harm)> {
        self.first_harm.as_ref()
    }

    /// When a person would first have been asked, and why.
    #[must_use]
    pub const fn first_pause(&self) -> Option<&(Reached, String)> {
        self.first_pause.as_ref()
    }

    /// Whether any gate had something to judge, or there are none that could.
    #[must_use]
    pub const fn has_judged(&self) -> bool {
        self.judged
    }

    /// How often harm was established: more than once in a dry run alone.
    #[must_use]
    pub const fn harms(&self) -> u64 {
        self.harms
    }
}
