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
    /// What first asked a person to look: a signal, the check of the traffic, or a limit that both versions break.
    first_pause: Option<(Moment, String)>,
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
            began: None,
            at: None,
            first_harm: None,
            first_pause: None,
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
        self.at = line.at().or(self.at);
        self.began = self.began.or(self.at);
        self.judgement = self.replay.judge().judgement();
        self.gates = self.replay.judge().gates();
        let harmed = self.judgement.harm.is_some();
        self.judged |= harmed || self.gates.iter().any(|gate| gate.verdict != Verdict::NoData);
        if harmed && !self.harmed {
            self.harms += 1;
            if let (None, Some(at), Some(harm)) = (&self.first_harm, self.at, &self.judgement.harm) {
                self.first_harm = Some((at, harm.clone()));
            }
        }
        self.harmed = harmed;
        if let (None, Some(at), Some(why)) = (&self.first_pause, self.at, self.pauses()) {
            self.first_pause = Some((at, why));
        }
        Ok(())
    }

    /// Why a rollout would be paused now.
    fn pauses(&self) -> Option<String> {
        let Judgement { signal, traffic, hold, .. } = &self.judgement;
        let signalled = signal.as_ref().map(|harm| format!("{}: {}", harm.gate, harm.explain));
        signalled.or_else(|| traffic.as_ref().map(|why| format!("traffic: {why}"))).or_else(|| hold.clone())
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
        // Moments are whole milliseconds, and their differences are shown.
        self.began.map_or(0.0, |began| ((at.seconds() - began.seconds()) * 1e3).round() / 1e3)
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

    /// When a person would first have been asked, and why.
    #[must_use]
    pub const fn first_pause(&self) -> Option<&(Moment, String)> {
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
