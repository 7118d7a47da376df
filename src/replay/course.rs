//! A replay with what came of it so far.

use std::io::BufRead;

use control::judge::{Harm, Judgement};
use control::record::{Line, Moment, Reader, Replay, Unreadable};
use control::view::{GateView, Verdict};

/// A record that is being judged.
#[derive(Debug)]
pub struct Course {
    replay: Replay,
    judgement: Judgement,
    gates: Vec<GateView>,
    began: Option<Moment>,
    at: Option<Moment>,
    first_harm: Option<(Moment, Harm)>,
    /// How often harm was established: more than once in a dry run alone.
    harms: u64,
    harmed: bool,
}

impl Course {
    /// Before the first line.
    #[must_use]
    pub fn new(replay: Replay) -> Self {
        let (judgement, gates) = (replay.judge().judgement(), replay.judge().gates());
        let harmed = judgement.harm.is_some();
        Self { replay, judgement, gates, began: None, at: None, first_harm: None, harms: 0, harmed }
    }

    /// Judges a line that was just read.
    ///
    /// # Errors
    /// As [`Replay::judge_line`].
    pub fn judge<R: BufRead>(&mut self, reader: &Reader<R>, line: &Line) -> Result<(), Unreadable> {
        self.replay.judge_line(reader, line)?;
        self.at = line.at().or(self.at);
        self.began = self.began.or(self.at);
        self.judgement = self.replay.judge().judgement();
        self.gates = self.replay.judge().gates();
        let harmed = self.judgement.harm.is_some();
        if harmed && !self.harmed {
            self.harms += 1;
            if let (None, Some(at), Some(harm)) = (&self.first_harm, self.at, &self.judgement.harm) {
                self.first_harm = Some((at, harm.clone()));
            }
        }
        self.harmed = harmed;
        Ok(())
    }

    /// After what came of a line was told: a dry run begins anew where harm was established.
    pub fn go_on(&mut self) {
        if self.harmed && self.replay.plan().dry_run && !self.replay.has_same_gates() {
            self.replay.begin_anew();
            self.harmed = false;
        }
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

    /// Seconds from the record's first moment to this one.
    #[must_use]
    pub fn since_began(&self, at: Moment) -> f64 {
        self.began.map_or(0.0, |began| at.seconds() - began.seconds())
    }

    /// Seconds from the record's first moment to its last.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.at.map_or(0.0, |at| self.since_began(at))
    }

    /// When harm was first established, and which.
    #[must_use]
    pub const fn first_harm(&self) -> Option<&(Moment, Harm)> {
        self.first_harm.as_ref()
    }

    /// How often harm was established: more than once in a dry run alone.
    #[must_use]
    pub const fn harms(&self) -> u64 {
        self.harms
    }
}
