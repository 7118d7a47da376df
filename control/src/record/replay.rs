//! Judges a record again.

use std::io::BufRead;
use std::mem;
use std::time::Duration;

use config::{GateRule, Plan, Step, Weight};
use meter::PathTally;
use serde_json::Value;

use super::form::listed;
use super::header::{Compared, Header, wants_totals};
use super::lines::{Checkpoint, Counted, Line, Mark, Why};
use super::read::{Filled, Reader, Unreadable};
use crate::judge::{Background, Judge, Tick, Trial};
use crate::view::Arms;

/// Why a record cannot be judged by some gates.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Impossible {
    /// The state that it begins with, or a checkpoint, is not one that this Tidegate goes on with.
    #[error("the state of the tests in the record cannot be used: {0}; `--gates` judges the record without it")]
    State(String),
    /// The state that it begins with, or a checkpoint, is of other gates than its plan.
    #[error(
        "the state of the tests in the record is of other gates than its `plan`; `--gates` judges the record by others"
    )]
    OtherPlan,
    /// A gate judges a path that was not counted by itself.
    #[error("the gates judge the path {path} by itself, and the record did not count it; it has {counted}")]
    Path {
        /// The path.
        path: String,
        /// What was counted.
        counted: String,
    },
    /// A gate judges latencies to the last byte, which were not counted.
    #[error("a gate judges latency `of: total`, and the record has only latencies to the head of the response")]
    Totals,
    /// The canary is to be compared with something that was not recorded.
    #[error("the plan compares with the baseline `{wanted}`, and the record has {counted}")]
    Baseline {
        /// What the plan says.
        wanted: String,
        /// What was counted.
        counted: String,
    },
}

/// A record that is judged again.
#[derive(Debug)]
pub struct Replay {
    plan: Plan,
    judge: Judge,
    /// Whether these are the gates that judged the rollout.
    same_gates: bool,
    /// Whether the evidence is what the windows say, or what the rollout had: not after thinned or missing windows.
    exact: bool,
    compared: Compared,
    /// For each path of the plan its place in the record; none where the places are the same.
    places: Option<Vec<usize>>,
    filled: Filled,
    endpoints: Arms<u32>,
    tally: Tallied,
    notes: Vec<String>,
}

/// What a replay met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tallied {
    /// Windows judged.
    pub windows: u64,
    /// How many of them were merged from others.
    pub merged: u64,
    /// Windows that are missing.
    pub missing: u64,
    /// Checkpoints in which the record has the very state that the replay had, and those in which not.
    pub checkpoints: (u64, u64),
    /// Restarts of the process that recorded.
    pub restarts: u64,
}

impl Replay {
    /// Begins to judge a record: by its own gates, or by others.
    ///
    /// # Errors
    /// Where the record has not what the gates need.
    pub fn begin(header: &Header, gates: Option<Plan>) -> Result<Self, Impossible> {
        let own = header.own_plan();
        let same_gates = gates.as_ref().is_none_or(|gates| header.plan.as_ref() == Some(gates));
        let plan = match gates {
            // Whom the plan left out of the comparison they leave out, too: the record counted them apart.
            Some(gates) => Plan { steps: steps_for(&gates, own.steps), ..gates },
            None => own,
        };
        let compared = compared(&plan, header, same_gates)?;
        let places = places(&plan, header)?;
        if wants_totals(&plan) && !header.totals {
            return Err(Impossible::Totals);
        }
        let mut notes = Vec::new();
        let state = header.state.as_ref().map(judge_of);
        let judge = match (state, same_gates) {
            (Some(state), true) => of_plan(state?, &plan, header)?,
            (None, true) => fresh(&plan, header, Background::default(), Duration::ZERO),
            (Some(Ok(before)), false) => {
                let patience = before.patience();
                fresh(&plan, header, before.into_background(), patience)
            }
            (Some(Err(unusable)), false) => {
                notes.push(format!("what was known of stable traffic from before is not used: {unusable}"));
                fresh(&plan, header, Background::default(), Duration::ZERO)
            }
            (None, false) => fresh(&plan, header, Background::default(), Duration::ZERO),
        };
        Ok(Self {
            plan,
            judge,
            same_gates,
            exact: true,
            compared,
            places,
            filled: Filled::default(),
            endpoints: Arms { stable: 1, canary: 1 },
            tally: Tallied::default(),
            notes,
        })
    }

    /// Goes on with the rollout's own tests, as they were at some place of the record, for what is behind that place.
    ///
    /// # Errors
    /// Where the record has not what the gates need.
    pub(super) fn going_on(header: &Header, judge: Judge) -> Result<Self, Impossible> {
        let plan = header.own_plan();
        Ok(Self {
            same_gates: true,
            exact: true,
            compared: compared(&plan, header, true)?,
            places: places(&plan, header)?,
            filled: Filled::default(),
            endpoints: judge.endpoints(),
            tally: Tallied::default(),
            notes: Vec::new(),
            judge,
            plan,
        })
    }

    /// The tests as they are now, from a replay that is over.
    pub(super) fn into_judge(self) -> Judge {
        self.judge
    }

    /// Judges a line that `reader` has just read.
    ///
    /// # Errors
    /// Where its counts do not add up, or its state cannot be used.
    pub fn judge_line<R: BufRead>(&mut self, reader: &Reader<R>, line: &Line) -> Result<(), Unreadable> {
        match line {
            Line::Counted(counted) => self.tick(reader, counted)?,
            Line::Marked(_, mark) => self.marked(*mark),
            Line::Checkpoint(checkpoint) => {
                self.resume(checkpoint).map_err(|impossible| reader.wrong(impossible.to_string()))?;
            }
            Line::Gap(windows) => {
                self.tally.missing += windows;
                self.exact = false;
            }
            Line::End(..) => {}
        }
        Ok(())
    }

    fn tick<R: BufRead>(&mut self, reader: &Reader<R>, counted: &Counted) -> Result<(), Unreadable> {
        let with_baseline = reader.fill(counted, &mut self.filled)?;
        if let Some(places) = &self.places {
            let Filled { arms: Arms { stable, canary }, baseline, matched } = &mut self.filled;
            for window in [stable, canary, baseline, matched] {
                arrange(&mut window.paths, places);
            }
        }
        self.endpoints = counted.endpoints.unwrap_or(self.endpoints);
        self.exact &= counted.span.is_none();
        self.tally.merged += u64::from(counted.span.is_some());
        let Filled { arms: Arms { stable, canary }, baseline, matched } = &self.filled;
        let with_baseline = with_baseline && self.compared != Compared::Stable;
        let tick = Tick {
            second: counted.at.second(),
            stable,
            baseline: if with_baseline { baseline } else { stable },
            canary,
            matched: Some(matched),
            copies: counted.copies,
            draws: counted.draws,
            endpoints: self.endpoints,
        };
        for _ in 0..counted.times {
            self.judge.tick(&tick);
            self.tally.windows += 1;
        }
        Ok(())
    }

    /// Under the same gates the tests are told what they were told. Under others a person's answer, or a dry run's new
    /// beginning, counts where these gates have said something, too.
    fn marked(&mut self, mark: Mark) {
        let alike = self.same_gates;
        match mark {
            Mark::NewStep => self.judge.new_step(),
            Mark::WarmUpAgain => self.judge.warm_up_again(),
            Mark::Acknowledge if alike || self.has_signalled() => self.judge.acknowledge(),
            Mark::BeginAnew if alike => self.judge.begin_anew(),
            Mark::Acknowledge | Mark::BeginAnew | Mark::ClockSetBack => {}
        }
    }

    fn has_signalled(&self) -> bool {
        let judgement = self.judge.judgement();
        judgement.signal.is_some() || judgement.traffic.is_some()
    }

    fn resume(&mut self, checkpoint: &Checkpoint) -> Result<(), Impossible> {
        self.tally.restarts += u64::from(checkpoint.why == Why::Restart);
        if !self.same_gates {
            // The state is of other gates. What a crash took from the tests is in the windows before it.
            if checkpoint.why == Why::Restart {
                self.judge.settle();
            }
            return Ok(());
        }
        let mut judge = judge_of(&checkpoint.state)?;
        if !judge.is_as(&self.judge) {
            return Err(Impossible::OtherPlan);
        }
        if checkpoint.state.get("leaving").is_none() {
            judge.take_over_leaving(&self.judge);
        }
        if self.exact && checkpoint.why == Why::Routine {
            let (same, different) = &mut self.tally.checkpoints;
            *(if judge == self.judge { same } else { different }) += 1;
        }
        self.judge = judge;
        self.exact = true;
        Ok(())
    }

    /// What is judged by.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The tests as they are now.
    #[must_use]
    pub const fn judge(&self) -> &Judge {
        &self.judge
    }

    /// In a dry run: the tests begin anew after established harm, as they do in a rollout. Under the record's own gates
    /// the record says when.
    pub fn begin_anew(&mut self) {
        if !self.same_gates {
            self.judge.begin_anew();
        }
    }

    /// Whether these are the gates that the record itself names, if it names any.
    #[must_use]
    pub const fn has_same_gates(&self) -> bool {
        self.same_gates
    }

    /// Whether the evidence is to the last bit what the rollout had, or what the gates would have had: not after
    /// windows that were merged or are missing, until a checkpoint.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.exact
    }

    /// What was met so far.
    #[must_use]
    pub const fn tallied(&self) -> Tallied {
        self.tally
    }

    /// What a person should know, in sentences.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// The steps of the record, for other gates. A record that does not say its plan may hold copies all the same, and gates
/// judge them only under a plan that sends some.
fn steps_for(gates: &Plan, own: Vec<Step>) -> Vec<Step> {
    let judges_copies = gates.gates.iter().any(|gate| matches!(gate.rule, GateRule::Mirror(_)));
    let sends_copies = own.iter().any(|step| matches!(step, Step::Mirror { .. }));
    let mirror = Step::Mirror { share: Weight::FULL, hold: Duration::ZERO };
    (judges_copies && !sends_copies).then_some(mirror).into_iter().chain(own).collect()
}

fn fresh(plan: &Plan, header: &Header, background: Background, first_byte: Duration) -> Judge {
    Judge::new(Trial { plan, stable: &header.stable, canary: &header.canary, background, first_byte })
}

fn judge_of(state: &Value) -> Result<Judge, Impossible> {
    serde_json::from_value(state.clone()).map_err(|error| Impossible::State(error.to_string()))
}

/// The judge, where it is one of this plan.
fn of_plan(judge: Judge, plan: &Plan, header: &Header) -> Result<Judge, Impossible> {
    let is_its_own = judge.is_as(&fresh(plan, header, Background::default(), Duration::ZERO));
    if is_its_own { Ok(judge) } else { Err(Impossible::OtherPlan) }
}

/// Whom the plan compares the canary with, where the record has it.
fn compared(plan: &Plan, header: &Header, same_gates: bool) -> Result<Compared, Impossible> {
    if same_gates {
        return Ok(header.compared.clone());
    }
    let wanted = Compared::of(&plan.baseline);
    if wanted == Compared::Stable || wanted == header.compared {
        return Ok(wanted);
    }
    let counted = match &header.compared {
        Compared::Stable => "none: legal is `stable`".to_owned(),
        other @ (Compared::Slice | Compared::Version(_)) => {
            format!("`{}`: legal are that one and `stable`", other.word())
        }
    };
    Err(Impossible::Baseline { wanted: wanted.word().to_owned(), counted })
}

/// Where the plan's paths are in the record; none where they are at the same places.
fn places(plan: &Plan, header: &Header) -> Result<Option<Vec<usize>>, Impossible> {
    let paths = plan.paths();
    let place = |path: &config::PathPrefix| {
        header.paths.iter().position(|counted| counted == path).ok_or_else(|| Impossible::Path {
            path: path.as_str().to_owned(),
            counted: listed(header.paths.iter().map(config::PathPrefix::as_str)),
        })
    };
    let places = paths.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    let the_same = paths == header.paths;
    Ok((!the_same).then_some(places))
}

fn arrange(paths: &mut Vec<PathTally>, places: &[usize]) {
    let mut counted = mem::take(paths);
    let take = |place: &usize| counted.get_mut(*place).map(mem::take).unwrap_or_default();
    *paths = places.iter().map(take).collect();
}
