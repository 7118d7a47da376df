//! The evidence of every test by its name, for programs.

use libm::log;
use serde::Serialize;

use super::settings::BLOCKS_PART;
use super::{BREAKER, Judge, baseline, leaving, watch};
use crate::view::Role;

/// What one test says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TestEvidence {
    /// `family/guardrails` and `family/signals` are the two families, `breaker`, `traffic` and `clients` are always on (the last once a client left),
    /// `baseline` where that is another version; a gate's name stands for
    /// its test of harm, `NAME/limit` for its limit alone, whatever stable does, `NAME/blocks` for what it saw in blocks of
    /// time, and `NAME/proof` for what rules harm out.
    pub test: String,
    /// In nats.
    pub log_evidence: f64,
    /// Where it says something, in nats. For a gate: where it alone would make its family do so.
    pub threshold: f64,
}

impl Judge {
    /// The evidence of every test.
    #[must_use]
    pub fn evidence(&self) -> Vec<TestEvidence> {
        let of = |test: String, log_evidence, threshold| TestEvidence { test, log_evidence, threshold };
        let of_family = log(1.0 / self.settings.alpha_family());
        let family = |name: &str, role| of(name.to_owned(), self.family.log_evidence(role), of_family);
        let mut tests = vec![family("family/guardrails", Role::Guardrail)];
        if self.settings.gates.iter().any(|gate| gate.role == Role::Signal) {
            tests.push(family("family/signals", Role::Signal));
        }
        let breaker = self.family.breaker().log_evidence();
        tests.push(of(BREAKER.to_owned(), breaker, self.breaker_threshold()));
        for (place, gate) in self.settings.gates.iter().enumerate() {
            let reading = self.family.reading(place);
            tests.push(of(gate.name.clone(), reading.harm, reading.threshold));
            if let Some(over_limit) = reading.over_limit {
                tests.push(of(format!("{}/limit", gate.name), over_limit, reading.threshold));
            }
            if let Some(blocks) = self.family.blocks(place) {
                let threshold = reading.threshold - log(BLOCKS_PART);
                tests.push(of(format!("{}/blocks", gate.name), blocks.mixture().log_evidence(), threshold));
            }
            let proof = self.family.proven(place).log_evidence;
            tests.push(of(format!("{}/proof", gate.name), proof, log(1.0 / self.settings.beta)));
        }
        if let Some(check) = &self.baseline {
            tests.push(of(baseline::NAME.to_owned(), check.log_evidence(), watch::threshold(&self.settings)));
        }
        if self.leaving.view(&self.settings).is_some() {
            let (log_evidence, threshold) = (self.leaving.log_evidence(), watch::threshold(&self.settings));
            tests.push(of(leaving::NAME.to_owned(), log_evidence, threshold));
        }
        if let Some(traffic) = self.traffic.view(&self.settings) {
            tests.push(of(traffic.name, traffic.log_evidence.unwrap_or(0.0), traffic.threshold));
        }
        tests
    }
}
