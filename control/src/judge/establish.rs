//! When harm is established, and by what.

use libm::log;

use super::record::Established;
use super::sightings::Sighting;
use super::{BREAKER_MIN_EVENTS, Judge};
use crate::statistics::Batch;
use crate::view::Role;

impl Judge {
    /// A batch of the canary beside all of stable, where the gates compare it with somebody else: a baseline that is
    /// broken itself must not keep the breaker from a canary that is.
    pub(super) fn judge_breaker(&mut self, batch: &Batch) {
        self.add_to_breaker(batch);
        if self.record.established.is_none() {
            self.record.established = self.broken();
        }
        self.family.end_batch();
    }

    pub(super) fn add_to_breaker(&mut self, batch: &Batch) {
        self.family.add_to_breaker(batch, self.bursts.temper(self.record.size()));
        self.record.run_on(Sighting::of(batch));
    }

    /// What was established by the batch of gates that was just judged stays. `is_of_breaker`: the breaker had it, too.
    pub(super) fn establish(&mut self, is_of_breaker: bool) {
        if self.record.established.is_none() {
            let broken = if is_of_breaker { self.broken() } else { None };
            self.record.established = broken.or_else(|| self.harmful(Role::Guardrail));
        }
        if self.record.signalled.is_none() {
            self.record.signalled = self.harmful(Role::Signal);
        }
    }

    /// What the breaker says.
    fn broken(&self) -> Option<Established> {
        let log_evidence = self.family.breaker().log_evidence();
        let fires = log_evidence >= self.breaker_threshold()
            && self.record.bad_run.seen.events.canary >= BREAKER_MIN_EVENTS
            && self.record.is_widespread();
        fires.then(|| Established {
            gate: None,
            log_evidence,
            explain: self.words().broken(self.record.bad_run.seen, log_evidence),
        })
    }

    /// What a family of gates says: the gate with the largest part in its evidence speaks for it.
    fn harmful(&self, role: Role) -> Option<Established> {
        let of_family = self.family.log_evidence(role);
        if of_family < log(1.0 / self.settings.alpha_family()) {
            return None;
        }
        let members = self.settings.gates.iter().enumerate().filter(|(_, gate)| gate.role == role);
        let part = |place: usize| {
            let reading = self.family.reading(place);
            reading.log_share + reading.harm
        };
        let (gate, _) = members.max_by(|(a, _), (b, _)| part(*a).total_cmp(&part(*b)))?;
        let since = self.record.gates[gate].rises.harm.since;
        let seconds = self.record.seconds_since(since);
        let words = self.words_of(&self.settings.gates[gate]);
        let blocks = self.in_blocks(gate).filter(|_| self.family.speaks_of_blocks(gate));
        let explain = match blocks {
            Some(seen) => words.harm_in_blocks(self.risen(gate), seconds, of_family, seen),
            None => words.harm(self.risen(gate), seconds, of_family, self.background.is_measured()),
        };
        Some(Established { gate: Some(gate), log_evidence: self.family.reading(gate).harm, explain })
    }

    /// Where the breaker fires, in nats.
    pub(super) fn breaker_threshold(&self) -> f64 {
        log(1.0 / self.settings.alpha_breaker())
    }
}
