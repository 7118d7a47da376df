//! What the tests remember, kept over a restart.

use std::collections::HashMap;

use crate::journal::{Journal, Storage};
use crate::judge::Judge;

/// The tests of the rollouts that ran when it was saved, by the rollout's identifier.
#[derive(Debug, Default)]
pub struct Evidence {
    judges: HashMap<String, serde_json::Value>,
}

impl Evidence {
    /// What an earlier process saved. What cannot be read is said and left out: those tests begin anew.
    pub fn load<S: Storage>(journal: &mut Journal<S>, warnings: &mut Vec<String>) -> Self {
        let bytes = match journal.load_evidence() {
            Ok(bytes) if bytes.is_empty() => return Self::default(),
            Ok(bytes) => bytes,
            Err(error) => {
                warnings.push(format!("the saved evidence cannot be read: {error}"));
                return Self::default();
            }
        };
        match serde_json::from_slice(&bytes) {
            Ok(judges) => Self { judges },
            Err(error) => {
                warnings.push(format!("the saved evidence is damaged: {error}"));
                Self::default()
            }
        }
    }

    /// The tests of a rollout.
    pub(super) fn take(&mut self, rollout: &str) -> Option<Judge> {
        serde_json::from_value(self.judges.remove(rollout)?).ok()
    }

    /// The bytes to save.
    pub(super) fn encode<'a>(judges: impl Iterator<Item = (&'a str, &'a Judge)>) -> Vec<u8> {
        let judges: HashMap<&str, &Judge> = judges.collect();
        // Not serialisable would mean tests that begin anew after a restart, which is said there.
        serde_json::to_vec(&judges).unwrap_or_default()
    }
}
