//! Judges one rollout: folds windows into the sequential tests and says what they establish.
//!
//! Pure: time is an argument, and the same windows give the same evidence to the last bit. What is decided from a
//! [`Judgement`] is the state machine's business.

pub mod background;
mod baseline;
mod beyond;
mod copies;
mod counting;
mod establish;
mod estimate;
mod evidence;
mod family;
mod judgement;
mod leaving;
mod measure;
mod profile;
mod ratios;
mod record;
mod saved;
mod second;
mod settings;
mod sightings;
mod tick;
mod traffic;
mod unanswered;
mod views;
mod watch;
mod words;

use std::time::Duration;

use config::Plan;
use meter::Window;
use serde::Serialize;

pub use self::background::Background;
use self::background::{Bursts, REFRESH_SECONDS};
use self::baseline::BaselineCheck;
use self::copies::Copied;
pub use self::copies::Copies;
use self::counting::Counted;
pub use self::estimate::{Waits, forecast, forecast_copies};
pub use self::evidence::TestEvidence;
use self::family::Family;
pub use self::judgement::{Harm, Judgement};
use self::leaving::LeavingCheck;
use self::measure::{Lens, Measure, Now, SERVICE, has_everybody, population_of};
use self::ratios::Ratios;
use self::record::Record;
use self::saved::Saved;
use self::settings::{GateSetting, Rule, Settings};
use self::sightings::Sighting;
pub use self::tick::{Draws, Tick};
use self::traffic::TrafficCheck;
pub use self::unanswered::{Unanswered, unanswered};
use crate::statistics::{Batch, Batcher};
use crate::view::{Arms, Role};

/// The name under which the breaker is shown.
const BREAKER: &str = "breaker";
/// So many failures of the canary in a row of bad batches are needed before the breaker may fire.
const BREAKER_MIN_EVENTS: u64 = 4;
/// Evidence of this much, as a factor, holds steps forward back.
const SUSPICION: f64 = 10.0;
/// The longest that a version usually may take to the head of its response, in seconds. Requests that were in flight when
/// the canary's exposure changed are not judged, so for so long after it the slow ones of those that are have yet to end.
/// A service that waits longer has a longer [`Trial::first_byte`].
const PATIENCE_SECONDS: u64 = 15;
/// How many seconds without a batch make "no data".
const FRESH_SECONDS: u64 = 30;
/// Estimates are made at this second of every [`REFRESH_SECONDS`] of a step: the first soon after it began.
const ESTIMATE_AT: u64 = 5;

/// The tests of one rollout and all that they remember. Its serialised form is what survives a restart.
///
/// Reading it from JSON fails where it is of another version or damaged; there is no state half restored.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(into = "Saved")]
pub struct Judge {
    settings: Settings,
    family: Family,
    measure: Measure,
    traffic: TrafficCheck,
    /// Where the baseline is another version.
    baseline: Option<BaselineCheck>,
    /// Whether clients leave the canary's requests before their end.
    leaving: LeavingCheck,
    /// Where the plan sends the canary copies of stable's requests.
    copies: Option<Copied>,
    /// The breaker compares everybody on the canary with all of stable. What it gathers where the gates do not.
    beside: Option<Batcher>,
    record: Record,
    /// For people alone.
    ratios: Ratios,
    background: Background,
    /// What the background says of bursts, up to the last full second.
    bursts: Bursts,
}

/// What a rollout's tests begin with.
#[derive(Debug, Clone)]
pub struct Trial<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The stable version, for the sentences. Whom the canary is compared with is in the plan.
    pub stable: &'a str,
    /// The version under test, for the sentences.
    pub canary: &'a str,
    /// What is known of stable traffic from before.
    pub background: Background,
    /// How long the service waits for the head of a response. Nothing is proven in so much of a step; nor in its first
    /// 15 s, where this is less.
    pub first_byte: Duration,
}

impl<'a> Trial<'a> {
    /// A trial about whose stable traffic nothing is known from before, of a service that waits as long as usual.
    #[must_use]
    pub fn of(plan: &'a Plan, stable: &'a str, canary: &'a str) -> Self {
        Self { plan, stable, canary, background: Background::default(), first_byte: Duration::ZERO }
    }
}

impl Judge {
    /// Begins the tests of a rollout.
    #[must_use]
    pub fn new(trial: Trial<'_>) -> Self {
        let Trial { plan, stable, canary, background, first_byte } = trial;
        let settings = Settings::new(plan, stable, canary);
        Self {
            family: Family::new(&settings),
            measure: Measure::new(&settings),
            traffic: TrafficCheck::default(),
            baseline: BaselineCheck::new(&settings, 0),
            leaving: LeavingCheck::new(&settings, 0),
            copies: settings.copies.then(Copied::default),
            beside: settings.has_breaker_beside().then(Batcher::default),
            record: Record::new(&settings, first_byte),
            ratios: Ratios::new(&settings),
            bursts: background.bursts(),
            background,
            settings,
        }
    }

    /// Whether it judges the same versions by the same gates as another, whatever either has seen.
    #[must_use]
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        self.settings.are_as(&other.settings)
    }

    /// Folds in what the versions did since the last tick.
    pub fn tick(&mut self, tick: &Tick<'_>) {
        if self.background.turn_to(tick.second) {
            self.bursts = self.background.bursts();
        }
        if self.record.turn_to(tick.second) {
            let second = self.record.end_second(&self.settings);
            self.family.end_block(second);
            self.measure.end_second();
            self.ratios.end_second();
            if let Some(check) = &mut self.baseline {
                check.end_block();
            }
            self.leaving.end_block();
            if self.record.step_seconds() % REFRESH_SECONDS == ESTIMATE_AT {
                self.estimate();
            }
        }
        let with_matched = self.with_matched(tick);
        let everybody = with_matched.as_ref().unwrap_or(tick.canary);
        self.record.count(tick, everybody.clients);
        let proves = self.record.unproven_for(self.settings.warmup_seconds) == Some(0);
        let now = Now { seconds: self.record.seconds, warm: self.is_warm(), proves };
        self.look_at_stable(tick, everybody);
        let of_everybody = Tick { baseline: tick.stable, canary: everybody, ..*tick };
        for population in 0..self.measure.populations() {
            let Self { measure, settings, background, .. } = self;
            let tick = if has_everybody(settings, population) { &of_everybody } else { tick };
            if let Some(batch) = measure.gather(settings, population, tick, background, now) {
                self.judge(population, &batch);
            }
        }
        self.gather_copies(tick.copies);
        self.traffic.add(&self.settings, tick);
        // Last: nothing is judged by what it had a part in.
        self.measure.observe();
        let compared = std::ptr::eq(tick.stable, tick.baseline);
        let ascending = self.measure.of_baseline().filter(|_| compared);
        self.background.add(tick.stable, ascending);
    }

    fn gather_copies(&mut self, copies: Option<Copies>) {
        let (seconds, proves) = (self.record.seconds, self.record.is_steady());
        if let Some(batch) = self.copies.as_mut().and_then(|copied| copied.gather(copies, seconds, proves)) {
            self.judge_copies(&batch);
        }
    }

    /// What the canary did with those who are left out by the gates that compare, where there were any.
    fn with_matched(&self, tick: &Tick<'_>) -> Option<Window> {
        let matched = tick.matched.filter(|matched| self.settings.leaves_out && matched.requests() > 0)?;
        let mut everybody = tick.canary.clone();
        everybody.merge(matched);
        Some(everybody)
    }

    /// Where the gates compare somebody else, or with somebody else: is the canary worse than all of stable, is that one?
    /// `everybody` is what the canary did with those whom they leave out.
    fn look_at_stable(&mut self, tick: &Tick<'_>, everybody: &Window) {
        let temper = self.bursts.temper(self.record.size());
        if let Some(check) = &mut self.baseline {
            check.add(&self.settings, tick, temper, self.record.seconds);
        }
        self.leaving.add(&self.settings, tick, temper, self.record.seconds);
        let requests = Arms { stable: tick.stable.requests(), canary: everybody.requests() };
        let bad = Arms { stable: tick.stable.bad(), canary: everybody.bad() };
        let left = Arms { stable: tick.stable.left(), canary: everybody.left() };
        let batch = self.beside.as_mut().and_then(|batcher| batcher.push(Batch { requests, bad, left }));
        if let Some(batch) = batch {
            self.judge_breaker(&batch);
        }
    }

    /// Goes on with another judge's check of clients that leave: a state that was saved by a Tidegate of before has none.
    pub(crate) fn take_over_leaving(&mut self, other: &Self) {
        self.leaving.clone_from(&other.leaving);
    }

    /// For how many seconds of a step nothing is proven.
    pub(crate) const fn patience(&self) -> Duration {
        Duration::from_secs(self.record.patience())
    }

    /// What is known of stable traffic: for the next rollout, or while none runs.
    #[must_use]
    pub const fn background(&self) -> &Background {
        &self.background
    }

    /// How many endpoints each version had at the last tick.
    #[must_use]
    pub const fn endpoints(&self) -> Arms<u32> {
        self.record.endpoints()
    }

    /// The same, from a judge that is no longer needed.
    #[must_use]
    pub fn into_background(self) -> Background {
        self.background
    }

    /// A dry run goes on after harm was established: every test begins anew, and what was learnt of stable traffic and
    /// the counts for people stay.
    pub fn begin_anew(&mut self) {
        let harmed = self.record.established.take().is_some();
        self.record.dry_rollbacks = self.record.dry_rollbacks.saturating_add(u64::from(harmed));
        self.record.signalled = None;
        self.record.bad_run = Default::default();
        self.record.rise_anew(&self.settings, None);
        self.family = Family::new(&self.settings);
        self.trust_anew();
    }

    /// How often [`begin_anew`](Self::begin_anew) followed established harm: in a dry run, how often the canary would
    /// have been taken back.
    #[must_use]
    pub const fn dry_rollbacks(&self) -> u64 {
        self.record.dry_rollbacks
    }

    /// A person has seen what was signalled (a signal gate, the checks of the traffic, of the baseline and of clients
    /// that leave) and goes on:
    /// those tests begin anew,
    /// and their alpha is spent again.
    pub fn acknowledge(&mut self) {
        self.family.begin_anew(&self.settings, Role::Signal);
        self.trust_anew();
        self.record.signalled = None;
        self.record.rise_anew(&self.settings, Some(Role::Signal));
    }

    fn trust_anew(&mut self) {
        self.traffic = TrafficCheck::default();
        self.baseline = BaselineCheck::new(&self.settings, self.record.seconds);
        self.leaving = LeavingCheck::new(&self.settings, self.record.seconds);
    }

    /// The judge goes on in another process. As after [`new_step`](Self::new_step) nothing is proven for a while, in which
    /// only fast answers are there to be judged; but what was proven and staked stays.
    pub fn settle(&mut self) {
        self.record.settle();
        self.measure.prove_nothing();
        self.copies.iter_mut().for_each(|copied| copied.proves = false);
    }

    /// Whether the canary may [warm up again](Self::warm_up_again): once in each step, and only after its latencies were
    /// compared for as long as a warm-up takes. A canary whose addresses come and go would never be compared otherwise,
    /// be it broken or out to deceive: steps that are shorter than a warm-up would be over with it.
    #[must_use]
    pub fn may_warm_up_again(&self) -> bool {
        self.record.may_cool(self.settings.warmup_seconds)
    }

    /// The canary got more endpoints: its new ones are cold, so its latencies are not judged for another warm-up.
    pub fn warm_up_again(&mut self) {
        self.record.cool();
        if !self.is_warm() {
            self.measure.cool(&self.settings);
        }
    }

    /// The canary's weight changed or a step began: closes the batch,
    /// begins the proofs anew (nothing is proven in the first 15 s or longer), and invests anew (at the end of the second, where
    /// one is under way).
    pub fn new_step(&mut self) {
        for population in 0..self.measure.populations() {
            if let Some(batch) = self.measure.flush(population, self.record.seconds) {
                self.judge(population, &batch);
            }
        }
        let beside = self.beside.as_mut().and_then(Batcher::flush).filter(|batch| batch.requests != Arms::default());
        if let Some(batch) = beside {
            self.judge_breaker(&batch);
        }
        let seconds = self.record.seconds;
        if let Some(batch) = self.copies.as_mut().and_then(|copied| copied.flush(seconds)) {
            self.judge_copies(&batch);
        }
        self.ratios.end_second();
        self.copies.iter_mut().for_each(Copied::begin_step);
        if let Some(check) = &mut self.baseline {
            check.begin_step();
        }
        self.leaving.begin_step();
        // Where nothing was judged since the last start there is nothing to start anew from, and the cash is kept.
        if self.record.judged_in_step {
            self.family.begin_step();
            self.traffic.begin_step();
        }
        self.family.prove_anew(&self.settings.gates);
        self.measure.begin_step();
        self.record.begin_step();
    }

    fn is_warm(&self) -> bool {
        self.record.cold_for(self.settings.warmup_seconds) == Some(0)
    }

    /// Judges a batch of one population: the tests of its gates, and the breaker where it is the whole service.
    fn judge(&mut self, population: usize, batch: &Batch) {
        let temper = self.bursts.temper(self.record.size());
        let Self { settings, family, measure, record, ratios, .. } = self;
        let gates =
            || settings.gates.iter().enumerate().filter(|(_, gate)| population_of(settings, gate) == population);
        let proves = measure.population(population).proves;
        for (place, _) in gates() {
            family.add(place, batch, measure.counted(place), temper, proves);
            ratios.add(place, batch, temper.errors);
        }
        family.read(gates().map(|(place, _)| place));
        for (place, gate) in gates() {
            let (counted, latencies) = (measure.counted(place), measure.lens(gate).map(Lens::open));
            let mine = &mut record.gates[place];
            let sighting = counted.sighting(batch);
            mine.counts.merge(sighting);
            mine.in_step.merge(sighting);
            mine.rises.observe(record.seconds, (batch, counted), latencies, family.reading(place));
        }
        record.judged_in_step = true;
        measure.close(settings, population);
        let is_of_breaker = population == SERVICE && self.beside.is_none();
        if is_of_breaker {
            self.add_to_breaker(batch);
        }
        self.establish(is_of_breaker);
        if is_of_breaker {
            self.family.end_batch();
        }
    }

    /// Judges a batch of copies: a test for each part of an answer that a gate looks at. How bursty failures are was
    /// measured on stable, from which the copies come.
    fn judge_copies(&mut self, copies: &Copies) {
        let (ended, proves) = self.copies.as_ref().map_or((0, false), |copied| (copied.in_step().ended, copied.proves));
        let temper = self.bursts.temper(self.record.size_at(ended));
        let Self { settings, family, record, .. } = self;
        let tests: Vec<(usize, Batch)> = settings
            .gates
            .iter()
            .enumerate()
            .filter_map(|(place, gate)| match gate.rule {
                Rule::Copies { part, .. } => Some((place, copies.batch(part))),
                Rule::Errors { .. }
                | Rule::ErrorLimit { .. }
                | Rule::Shape { .. }
                | Rule::Quantile { .. }
                | Rule::LatencyLimit { .. } => None,
            })
            .collect();
        for (place, batch) in &tests {
            family.add(*place, batch, &Counted::Failures, temper, proves);
        }
        family.read(tests.iter().map(|(place, _)| *place));
        for (place, batch) in &tests {
            let mine = &mut record.gates[*place];
            let sighting = Sighting::of(batch);
            mine.counts.merge(sighting);
            mine.in_step.merge(sighting);
            mine.rises.observe(record.seconds, (batch, &Counted::Failures), None, family.reading(*place));
        }
        record.judged_in_step = true;
        self.establish(false);
    }

    /// Requests of this gate since the step began. Of copies there are as many of either version.
    fn in_step_of(&self, gate: &GateSetting) -> Arms<u64> {
        match &self.copies {
            Some(copied) if gate.rule.is_of_copies() => {
                let Copies { ended, .. } = copied.in_step();
                Arms { stable: ended, canary: ended }
            }
            None if gate.rule.is_of_copies() => Arms::default(),
            Some(_) | None => self.measure.population(population_of(&self.settings, gate)).in_step(),
        }
    }

    /// Whether the present step sends copies of requests: then gates that look at copies judge, and the others wait.
    fn sends_copies(&self) -> bool {
        self.copies.as_ref().is_some_and(Copied::is_on)
    }
}

#[cfg(test)]
mod tests;
