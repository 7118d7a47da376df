//! What a judge remembers beside what its tests do.

use std::time::Duration;

use libm::log;
use meter::{Clients, GROUPS};
use serde::{Deserialize, Serialize};

use super::background::Size;
use super::second::Latest;
use super::settings::{Baseline, GateSetting, Settings};
use super::sightings::{BadRun, Rises, Sighting, add};
use super::{BREAKER_MIN_EVENTS, FRESH_SECONDS, PATIENCE_SECONDS, SUSPICION, Tick};
use crate::statistics::blocks::Second;
use crate::view::{Arms, GateEstimate, Matched, Role};

/// Counts, moments and what was established. Moments are seconds in which there was a tick, counted from the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    second: Latest,
    pub(super) seconds: u64,
    /// When the present step began.
    step_at: u64,
    /// When the process last began, where that is later.
    settled_at: u64,
    /// For so many seconds after either nothing is proven.
    #[serde(default = "usual_patience")]
    patience: u64,
    /// When the canary had its first traffic, or was last found cold.
    cold_at: Option<u64>,
    /// Whether it was found cold again in the present step.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    was_cold_again: bool,
    /// Everything since the rollout began.
    pub(super) total: Sighting,
    pub(super) step_requests: Arms<u64>,
    /// Those of them whose clients left before they had their whole answer.
    #[serde(default)]
    pub(super) left_in_step: Arms<u64>,
    /// Those who are left out by the gates that compare, since the rollout began.
    #[serde(default)]
    pub(super) matched: Matched,
    /// How many requests of theirs the canary served well since the step began.
    #[serde(default)]
    pub(super) matched_in_step: u64,
    /// All of stable's requests since the step began, whoever the baseline is.
    of_stable_in_step: u64,
    /// The seconds of the present step in which the canary failed anything, and the last of them.
    #[serde(default)]
    bad_seconds_in_step: u64,
    #[serde(default)]
    last_bad_second: Option<u64>,
    endpoints: Arms<u32>,
    /// The groups of clients whose requests to the canary failed since the service's last batch closed: a bit each.
    open_failed: u16,
    /// The same, in the present second.
    #[serde(default)]
    failed_in_second: u16,
    lately: Lately,
    /// Whether a batch was judged since the step began.
    pub(super) judged_in_step: bool,
    /// Of each gate.
    pub(super) gates: Vec<GateRecord>,
    pub(super) bad_run: BadRun,
    /// By a guardrail or the breaker.
    pub(super) established: Option<Established>,
    /// By a signal.
    pub(super) signalled: Option<Established>,
    /// How often a dry run began anew after harm was established.
    pub(super) dry_rollbacks: u64,
}

/// What is remembered of one gate.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "SavedGate", into = "SavedGate")]
pub(super) struct GateRecord {
    /// Everything since the rollout began.
    pub(super) counts: Sighting,
    /// Everything since the step began.
    pub(super) in_step: Sighting,
    pub(super) rises: Rises,
    pub(super) estimate: Option<GateEstimate>,
}

/// A [`GateRecord`] in the order of its fields: there may be many.
type SavedGate = (Sighting, Sighting, Rises, Option<GateEstimate>);

impl From<GateRecord> for SavedGate {
    fn from(GateRecord { counts, in_step, rises, estimate }: GateRecord) -> Self {
        (counts, in_step, rises, estimate)
    }
}

impl From<SavedGate> for GateRecord {
    fn from((counts, in_step, rises, estimate): SavedGate) -> Self {
        Self { counts, in_step, rises, estimate }
    }
}

/// Harm, as it was when it was established. It stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Established {
    /// The gate's place; none for the breaker.
    pub(super) gate: Option<usize>,
    pub(super) log_evidence: f64,
    pub(super) explain: String,
}

/// The groups of clients that the canary had requests from, in the present span of [`FRESH_SECONDS`] and the one before:
/// a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Lately {
    since: u64,
    present: u16,
    before: u16,
}

const _: () = assert!(GROUPS <= u16::BITS as usize);

/// Of a Tidegate of before.
const fn usual_patience() -> u64 {
    PATIENCE_SECONDS
}

impl Record {
    /// Of a service that waits so long for the head of a response.
    pub(super) fn new(settings: &Settings, first_byte: Duration) -> Self {
        let first_byte = first_byte.as_secs().saturating_add(u64::from(first_byte.subsec_nanos() > 0));
        Self {
            patience: first_byte.max(PATIENCE_SECONDS),
            second: Latest::default(),
            seconds: 0,
            step_at: 0,
            settled_at: 0,
            cold_at: None,
            was_cold_again: false,
            total: Sighting::default(),
            step_requests: Arms::default(),
            left_in_step: Arms::default(),
            matched: Matched::default(),
            matched_in_step: 0,
            of_stable_in_step: 0,
            bad_seconds_in_step: 0,
            last_bad_second: None,
            endpoints: Arms { stable: 1, canary: 1 },
            open_failed: 0,
            failed_in_second: 0,
            lately: Lately::default(),
            judged_in_step: false,
            gates: vec![GateRecord::default(); settings.gates.len()],
            bad_run: BadRun::default(),
            established: None,
            signalled: None,
            dry_rollbacks: 0,
        }
    }

    /// Whether it belongs to these gates, and is made of numbers.
    pub(super) fn fits(&self, settings: &Settings) -> bool {
        let gates = settings.gates.len();
        let rises = |(record, gate): (&GateRecord, &GateSetting)| {
            let latencies = record.rises.latencies.as_ref().zip(gate.sight());
            record.rises.are_sound() && latencies.is_none_or(|(risen, sight)| risen.are_like(&sight.profile()))
        };
        let place =
            |harm: &Option<Established>| harm.as_ref().and_then(|harm| harm.gate).is_none_or(|gate| gate < gates);
        self.gates.len() == gates
            && place(&self.established)
            && place(&self.signalled)
            && self.bad_run.is_sound()
            && self.gates.iter().zip(&settings.gates).all(rises)
    }

    /// A tick came in this wall-clock second; says whether that ends the one before.
    pub(super) fn turn_to(&mut self, second: i64) -> bool {
        let turned = self.second.turn_to(second);
        self.seconds = self.seconds.saturating_add(u64::from(turned));
        turned
    }

    /// Counts a tick; `clients` are those of the canary, with those who are left out by the gates that compare.
    pub(super) fn count(&mut self, tick: &Tick<'_>, clients: Clients) {
        let requests = Arms { stable: tick.baseline.requests(), canary: tick.canary.requests() };
        let bad = Arms { stable: tick.baseline.bad(), canary: tick.canary.bad() };
        self.total.merge(Sighting { requests, events: bad });
        add(&mut self.step_requests, requests);
        add(&mut self.left_in_step, Arms { stable: tick.baseline.left(), canary: tick.canary.left() });
        self.of_stable_in_step = self.of_stable_in_step.saturating_add(tick.stable.requests());
        self.endpoints = tick.endpoints;
        if bad.canary > 0 && self.last_bad_second.replace(self.seconds) != Some(self.seconds) {
            self.bad_seconds_in_step = self.bad_seconds_in_step.saturating_add(1);
        }
        self.open_failed |= clients.bad;
        self.failed_in_second |= clients.bad;
        self.lately.add(self.seconds, clients.seen);
        if let Some(matched) = tick.matched {
            let Matched { requests, failed } = &mut self.matched;
            *requests = requests.saturating_add(matched.requests());
            *failed = failed.saturating_add(matched.bad());
            let served = matched.requests().saturating_sub(matched.bad()).saturating_sub(matched.left());
            self.matched_in_step = self.matched_in_step.saturating_add(served);
        }
        if requests.canary > 0 && self.cold_at.is_none() {
            self.cold_at = Some(self.seconds);
        }
    }

    /// A step begins.
    pub(super) fn begin_step(&mut self) {
        self.judged_in_step = false;
        self.was_cold_again = false;
        self.step_at = self.seconds;
        self.step_requests = Arms::default();
        self.left_in_step = Arms::default();
        self.matched_in_step = 0;
        self.of_stable_in_step = 0;
        (self.bad_seconds_in_step, self.last_bad_second) = (0, None);
        for gate in &mut self.gates {
            gate.estimate = None;
            gate.in_step = Sighting::default();
        }
    }

    /// The process began anew: requests that were in flight are lost to it.
    pub(super) const fn settle(&mut self) {
        self.settled_at = self.seconds;
    }

    /// Whether the process began later than the step.
    pub(super) const fn has_settled_in_step(&self) -> bool {
        self.settled_at > self.step_at
    }

    /// The tests of these roles begin anew: what was seen before is none of theirs.
    pub(super) fn rise_anew(&mut self, settings: &Settings, role: Option<Role>) {
        for (record, gate) in self.gates.iter_mut().zip(&settings.gates) {
            if role.is_none_or(|role| role == gate.role) {
                record.rises = Rises::from_second(self.seconds, gate.rule.has_limit());
            }
        }
    }

    /// The canary has endpoints that had no traffic yet.
    pub(super) fn cool(&mut self) {
        if self.cold_at.is_some() {
            self.cold_at = Some(self.seconds);
            self.was_cold_again = true;
        }
    }

    /// Whether it was found cold again in the present step.
    pub(super) const fn was_cold_again(&self) -> bool {
        self.was_cold_again
    }

    /// Whether it may be found cold: once in a step, and after it was warm for as long as a warm-up takes.
    pub(super) fn may_cool(&self, warmup_seconds: u64) -> bool {
        let since = |at: u64| self.seconds.saturating_sub(at);
        !self.was_cold_again && self.cold_at.is_none_or(|at| since(at) >= warmup_seconds.saturating_mul(2))
    }

    /// For how many seconds the canary still warms up; none where it had no traffic yet.
    pub(super) fn cold_for(&self, warmup_seconds: u64) -> Option<u64> {
        let since = self.seconds.saturating_sub(self.cold_at?);
        Some(warmup_seconds.saturating_sub(since))
    }

    /// For how many seconds nothing may be proven yet; none where the canary had no traffic yet. While it warms up; and
    /// until it has been exposed like this for longer than an answer may take, as before only the fast ones have ended.
    /// The second in which it was exposed began before that.
    pub(super) fn unproven_for(&self, warmup_seconds: u64) -> Option<u64> {
        let patience = self.patience_since(self.step_at.max(self.settled_at).max(self.cold_at?));
        Some(self.cold_for(warmup_seconds)?.max(patience))
    }

    /// For how many seconds copies prove nothing yet: only the fast ones have ended.
    pub(super) fn unsteady_for(&self) -> u64 {
        self.patience_since(self.step_at.max(self.settled_at))
    }

    /// Whether copies may prove something.
    pub(super) fn is_steady(&self) -> bool {
        self.unsteady_for() == 0
    }

    /// For how many seconds of a step nothing is proven.
    pub(super) const fn patience(&self) -> u64 {
        self.patience
    }

    const fn patience_since(&self, exposed_at: u64) -> u64 {
        let exposed_for = self.seconds.saturating_sub(exposed_at);
        self.patience.saturating_add(1).saturating_sub(exposed_for)
    }

    /// How many endpoints each version had at the last tick.
    pub(super) const fn endpoints(&self) -> Arms<u32> {
        self.endpoints
    }

    /// How the canary's instances compare with stable's, by the traffic of the present step.
    pub(super) fn size(&self) -> Size {
        self.size_at(self.step_requests.canary)
    }

    /// The same where the canary had so many requests in the present step.
    pub(super) fn size_at(&self, of_canary: u64) -> Size {
        let Arms { stable, canary } = self.endpoints;
        let (stable, canary) = (f64::from(stable.max(1)), f64::from(canary.max(1)));
        let (of_canary, of_stable) = (of_canary as f64, self.of_stable_in_step as f64);
        let load = if of_stable > 0.0 { of_canary / canary / (of_stable / stable) } else { 1.0 };
        let grouped = (stable / GROUPS as f64).max(1.0) / canary;
        Size { load, grouped }
    }

    /// The service's batch was judged.
    pub(super) fn run_on(&mut self, batch: Sighting) {
        self.bad_run.observe(batch, std::mem::take(&mut self.open_failed));
    }

    /// Whether the failures of the present bad run came from more than one group of clients. Where the canary has had
    /// requests from one group alone of late (a load balancer), they cannot.
    pub(super) const fn is_widespread(&self) -> bool {
        !self.lately.has_many() || self.bad_run.failed.count_ones() >= 2
    }

    /// A second is over: what the tests of blocks of time want to know of it. A named baseline is taken to have as many
    /// endpoints as the canary, as [`Baseline::Version`] asks for.
    pub(super) fn end_second(&mut self, settings: &Settings) -> Second {
        let canary = match settings.baseline {
            Baseline::Stable | Baseline::Slice => self.endpoints.canary,
            Baseline::Version => 1,
        };
        let endpoints = Arms { canary, ..self.endpoints };
        Second { endpoints, failed: std::mem::take(&mut self.failed_in_second), many: self.lately.has_many() }
    }

    /// Whether the canary fails now as one that is broken, and stable does not. However bursty stable's failures are (an
    /// endpoint of it that was down makes the tests wait for long until they believe a canary to be), nobody else is given
    /// to such a canary. No alpha is spent: this takes nothing back.
    pub(super) fn looks_broken(&self) -> bool {
        let BadRun { seen: Sighting { requests, events }, .. } = self.bad_run;
        // Rates are compared by products, in which no request is divided by.
        let [canary, stable] = [(events.canary, requests.stable), (events.stable, requests.canary)]
            .map(|(events, requests)| u128::from(events) * u128::from(requests));
        self.bad_run.leaning() >= log(SUSPICION)
            && events.canary >= BREAKER_MIN_EVENTS
            && canary > 2 * stable
            && self.is_widespread()
    }

    /// In how many seconds of the present step the canary failed anything.
    pub(super) const fn bad_seconds_in_step(&self) -> u64 {
        self.bad_seconds_in_step
    }

    /// The seconds of the present step so far.
    pub(super) const fn step_seconds(&self) -> u64 {
        self.seconds.saturating_sub(self.step_at)
    }

    /// The seconds from a moment to now, both included.
    pub(super) const fn seconds_since(&self, moment: u64) -> u64 {
        self.seconds.saturating_sub(moment).saturating_add(1)
    }
}

impl Lately {
    /// Whether the canary has had requests from more than one group of clients of late.
    const fn has_many(&self) -> bool {
        (self.present | self.before).count_ones() >= 2
    }

    const fn add(&mut self, seconds: u64, seen: u16) {
        let spans = seconds.saturating_sub(self.since) / FRESH_SECONDS;
        if spans > 0 {
            self.before = if spans == 1 { self.present } else { 0 };
            self.present = 0;
            self.since += spans * FRESH_SECONDS;
        }
        self.present |= seen;
    }
}
