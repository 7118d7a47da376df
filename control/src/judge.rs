//! Judges one rollout: folds windows into the sequential tests and says what they establish.
//!
//! Pure: time is an argument, and the same windows give the same evidence to the last bit. What is decided from a
//! [`Judgement`] is the state machine's business.

pub mod background;
mod family;
mod record;
mod saved;
mod settings;
mod sightings;
mod words;

use config::{Plan, Weight};
use libm::log;
use meter::Window;
use serde::{Deserialize, Serialize};

pub use self::background::Background;
use self::family::{Family, Reading};
use self::record::{Established, Record, batch_of, sighting_of};
use self::saved::Saved;
use self::settings::{GateSetting, Rule, Settings};
use self::sightings::FRESH_SECONDS;
use self::words::Words;
use crate::statistics::{Batch, Batcher};
use crate::view::{Arms, GateView, Role, Verdict};

/// The name under which the breaker is shown.
const BREAKER: &str = "breaker";
/// So many failures of the canary are needed before the breaker may fire.
const BREAKER_MIN_EVENTS: u64 = 4;
/// Evidence of this much, as a factor, holds steps forward back.
const SUSPICION: f64 = 10.0;
/// The dispersion of events: 1 is independence.
const PHI: f64 = 1.0;

/// The tests of one rollout and all that they remember. Its serialised form is what survives a restart.
///
/// Reading it from JSON fails where it is of another version or damaged; there is no state half restored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct Judge {
    settings: Settings,
    family: Family,
    batcher: Batcher,
    record: Record,
    background: Background,
}

/// What a rollout's tests begin with.
#[derive(Debug, Clone)]
pub struct Trial<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The version that the canary is compared with, for the sentences.
    pub stable: &'a str,
    /// The version under test, for the sentences.
    pub canary: &'a str,
    /// What is known of stable traffic from before.
    pub background: Background,
}

/// What was counted since the last tick.
#[derive(Debug, Clone, Copy)]
pub struct Tick<'a> {
    /// The wall-clock second, Unix time. Blocks of evidence end where it changes.
    pub second: i64,
    /// All of the stable version.
    pub stable: &'a Window,
    /// Whom the canary is compared with: `stable` itself, a slice of it, or another version.
    pub baseline: &'a Window,
    /// The version under test.
    pub canary: &'a Window,
    /// How the split drew, where it was one and the same since the last tick.
    pub draws: Option<Draws>,
    /// How many endpoints each version has.
    pub endpoints: Arms<u32>,
}

impl<'a> Trial<'a> {
    /// A trial about whose stable traffic nothing is known from before.
    #[must_use]
    pub fn of(plan: &'a Plan, stable: &'a str, canary: &'a str) -> Self {
        Self { plan, stable, canary, background: Background::default() }
    }
}

impl<'a> Tick<'a> {
    /// A tick in which the canary is compared with all of stable, of one endpoint each and draws unknown.
    #[must_use]
    pub const fn of(second: i64, stable: &'a Window, canary: &'a Window) -> Self {
        Self { second, stable, baseline: stable, canary, draws: None, endpoints: Arms { stable: 1, canary: 1 } }
    }
}

/// How requests with random tickets were drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draws {
    /// The canary's weight while they were drawn, above 0 and below 100 %, in basis points.
    pub weight: u16,
    /// To the canary.
    pub canary: u64,
    /// To any version.
    pub all: u64,
}

impl Draws {
    /// Draws under this weight; none where it leaves nothing to chance.
    #[must_use]
    pub fn under(weight: Weight, canary: u64, all: u64) -> Option<Self> {
        let chance = weight > Weight::ZERO && weight < Weight::FULL;
        chance.then_some(Self { weight: weight.basis_points(), canary, all })
    }
}

/// What the tests say now.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Harm beyond the tolerance is established: take the canary back. The sentence says what was seen.
    pub harm: Option<Harm>,
    /// A limit is broken on both versions: hold and alert, no rollback. In a sentence.
    pub hold: Option<String>,
    /// A gate whose role is to signal established harm: pause and ask. Until [`Judge::acknowledge`].
    pub signal: Option<Harm>,
    /// Requests were lost, or are not drawn as the split says: what is measured cannot be trusted. In a sentence.
    /// Until [`Judge::acknowledge`].
    pub traffic: Option<String>,
    /// Every gate passes: harm of its margin's size is ruled out since the step began.
    pub proven: bool,
    /// The family's evidence is at 10 or above: no step forward.
    pub suspicion: bool,
    /// Judged first attempts since the rollout began.
    pub requests: Arms<u64>,
    /// How many of them failed.
    pub failed: Arms<u64>,
    /// Judged first attempts since the present step began.
    pub step_requests: Arms<u64>,
    /// Whether a batch closed in the last 30 s.
    pub has_data: bool,
}

/// Established harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Harm {
    /// The gate that established it; `breaker` for the circuit breaker that is always on.
    pub gate: String,
    /// What was seen, in a sentence for the operator.
    pub explain: String,
}

impl Judge {
    /// Begins the tests of a rollout.
    #[must_use]
    pub fn new(trial: Trial<'_>) -> Self {
        let Trial { plan, stable, canary, background } = trial;
        let settings = Settings::new(plan, stable, canary);
        Self {
            family: Family::new(&settings),
            batcher: Batcher::default(),
            record: Record::new(&settings),
            background,
            settings,
        }
    }

    /// Folds in what the versions did since the last tick.
    pub fn tick(&mut self, tick: &Tick<'_>) {
        if self.record.turn_to(tick.second) {
            self.family.end_block();
        }
        let batch = batch_of(&self.settings, tick.baseline, tick.canary);
        self.record.count(&batch);
        if let Some(batch) = self.batcher.push(batch) {
            self.judge(&batch);
        }
    }

    /// What is known of stable traffic: for the next rollout, or while none runs.
    #[must_use]
    pub const fn background(&self) -> &Background {
        &self.background
    }

    /// The same, from a judge that is no longer needed.
    #[must_use]
    pub fn into_background(self) -> Background {
        self.background
    }

    /// A dry run goes on after harm was established: every test begins anew, and what was learnt of stable traffic and
    /// the counts for people stay.
    pub fn begin_anew(&mut self) {
        self.family = Family::new(&self.settings);
    }

    /// A person has seen what was signalled (a signal gate, the traffic check) and goes on: those tests begin anew,
    /// and their alpha is spent again.
    pub fn acknowledge(&mut self) {}

    /// The canary got more endpoints: its new ones are cold, so its latencies are not judged for another warm-up.
    pub fn warm_up_again(&mut self) {}

    /// The canary's weight changed, or a step began: closes the batch and the block, and invests anew.
    pub fn new_step(&mut self) {
        if let Some(batch) = self.batcher.flush() {
            self.judge(&batch);
        }
        // Where nothing was judged since the last start there is nothing to start anew from, and the cash is kept.
        if self.record.judged_in_step {
            self.family.begin_step();
        }
        self.record.judged_in_step = false;
        self.record.step_requests = Arms::default();
    }

    fn judge(&mut self, batch: &Batch) {
        self.family.add(batch, PHI);
        let second = self.record.seconds;
        if batch.requests.stable > 0 && batch.requests.canary > 0 {
            self.record.batch_at = Some(second);
        }
        self.record.judged_in_step = true;
        self.record.bad_run.observe(sighting_of(batch, None));
        let sightings = latency_limits(&self.settings.gates).map(|limit| sighting_of(batch, limit));
        for ((rises, reading), sighting) in self.record.rises.iter_mut().zip(self.family.readings()).zip(sightings) {
            if let Some(reading) = reading {
                rises.observe(second, sighting, reading);
            }
        }
        if self.record.established.is_none() {
            self.record.established = self.broken().or_else(|| self.harmful());
        }
        self.family.end_batch();
    }

    /// What the breaker says.
    fn broken(&self) -> Option<Established> {
        let log_evidence = self.family.breaker().log_evidence();
        let fires = log_evidence >= self.breaker_threshold() && self.record.total.bad.canary >= BREAKER_MIN_EVENTS;
        fires.then(|| Established {
            gate: None,
            log_evidence,
            explain: self.words().broken(self.record.bad_run.seen, log_evidence),
        })
    }

    /// What the family of gates says: the gate with the largest part in its evidence speaks for it.
    fn harmful(&self) -> Option<Established> {
        let of_family = self.family.log_evidence();
        if of_family < log(1.0 / self.settings.alpha_family()) {
            return None;
        }
        let parts = self.family.readings().enumerate().filter_map(|(gate, reading)| Some((gate, reading?)));
        let part = |reading: &Reading| reading.log_share + reading.harm;
        let (gate, reading) = parts.max_by(|(_, a), (_, b)| part(a).total_cmp(&part(b)))?;
        let (rule, rise) = (self.settings.gates.get(gate)?.rule, self.record.rises.get(gate)?.harm);
        let explain = self.words().harm(rule, rise.seen, self.record.seconds_since(rise.since), of_family);
        Some(Established { gate: Some(gate), log_evidence: reading.harm, explain })
    }

    /// What the tests say now.
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        let record = &self.record;
        Judgement {
            harm: record
                .established
                .as_ref()
                .map(|harm| Harm { gate: self.gate_name(harm.gate).to_owned(), explain: harm.explain.clone() }),
            hold: self.judged_gates().find_map(|gate| self.over_limit_too(gate)),
            signal: None,
            traffic: None,
            proven: false,
            suspicion: record.established.is_some() || self.family.log_evidence() >= log(SUSPICION),
            requests: record.total.requests,
            failed: record.total.bad,
            step_requests: record.step_requests,
            has_data: record.has_data(),
        }
    }

    /// The gates as users see them. The breaker is among them once it fired.
    #[must_use]
    pub fn gates(&self) -> Vec<GateView> {
        let breaker = self.record.established.as_ref().filter(|harm| harm.gate.is_none()).map(|harm| GateView {
            name: BREAKER.to_owned(),
            role: Role::Guardrail,
            verdict: Verdict::Fail,
            log_evidence: Some(harm.log_evidence),
            threshold: self.breaker_threshold(),
            progress: 1.0,
            explain: harm.explain.clone(),
            path: None,
            proof: None,
            counts: None,
            estimate: None,
        });
        self.judged_gates().map(|gate| self.view(gate)).chain(breaker).collect()
    }

    fn view(&self, gate: JudgedGate<'_>) -> GateView {
        let JudgedGate { place, setting, reading, .. } = gate;
        let failed = self.record.established.as_ref().filter(|harm| harm.gate == Some(place));
        let (verdict, explain) = match failed {
            Some(harm) => (Verdict::Fail, harm.explain.clone()),
            None if !self.record.has_data() => (Verdict::NoData, self.no_data()),
            None => (Verdict::Inconclusive, self.inconclusive(gate)),
        };
        let log_evidence = self.record.batch_at.map(|_| reading.harm);
        let way = log_evidence.map_or(0.0, |nats| (nats / reading.threshold).clamp(0.0, 1.0));
        GateView {
            name: setting.name.clone(),
            role: Role::Guardrail,
            verdict,
            log_evidence,
            threshold: reading.threshold,
            progress: if failed.is_some() { 1.0 } else { way },
            explain,
            path: None,
            proof: None,
            counts: None,
            estimate: None,
        }
    }

    fn inconclusive(&self, gate: JudgedGate<'_>) -> String {
        if let Some(over_limit) = self.over_limit_too(gate) {
            return over_limit;
        }
        let rule = gate.setting.rule;
        match self.record.rises.get(gate.place) {
            Some(rises) if gate.reading.harm >= log(SUSPICION) => {
                self.words().suspicion(rule, rises.harm.seen, self.record.seconds_since(rises.harm.since))
            }
            Some(_) | None => self.words().well(rule, sighting_of(&self.record.total, gate.latency_limit)),
        }
    }

    /// The sentence where the canary is over this gate's limit and harm is not established.
    fn over_limit_too(&self, gate: JudgedGate<'_>) -> Option<String> {
        let over = gate.reading.over_limit? >= gate.reading.threshold;
        if !over || self.record.established.is_some() {
            return None;
        }
        let rise = self.record.rises.get(gate.place)?.over_limit;
        Some(self.words().over_limit_too(gate.setting.rule, rise.seen, self.record.seconds_since(rise.since)))
    }

    fn no_data(&self) -> String {
        let open = self.batcher.open().map(|open| open.requests).unwrap_or_default();
        self.words().no_data(self.record.unseen_for(), open, FRESH_SECONDS)
    }

    fn judged_gates(&self) -> impl Iterator<Item = JudgedGate<'_>> {
        let gates = self.settings.gates.iter().zip(latency_limits(&self.settings.gates)).zip(self.family.readings());
        gates.enumerate().filter_map(|(place, ((setting, latency_limit), reading))| {
            Some(JudgedGate { place, setting, latency_limit, reading: reading? })
        })
    }

    fn gate_name(&self, place: Option<usize>) -> &str {
        place.and_then(|place| self.settings.gates.get(place)).map_or(BREAKER, |gate| &gate.name)
    }

    fn breaker_threshold(&self) -> f64 {
        log(1.0 / self.settings.alpha_breaker())
    }

    fn words(&self) -> Words<'_> {
        Words::new(&self.settings)
    }
}

/// A gate with what its test says.
#[derive(Debug, Clone, Copy)]
struct JudgedGate<'a> {
    place: usize,
    setting: &'a GateSetting,
    /// Its number among the latency limits, if it is one.
    latency_limit: Option<usize>,
    reading: Reading,
}

/// For each gate, its number among the latency limits, if it is one.
fn latency_limits(gates: &[GateSetting]) -> impl Iterator<Item = Option<usize>> + '_ {
    let mut limits = 0..;
    gates.iter().map(move |gate| match gate.rule {
        Rule::LatencyLimit { .. } => limits.next(),
        Rule::Errors { .. } | Rule::ErrorLimit { .. } | Rule::LatencyShape => None,
    })
}

#[cfg(test)]
mod tests;
