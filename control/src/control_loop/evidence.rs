//! What the tests remember, kept over a restart.

use std::collections::HashMap;

use serde::de::DeserializeOwned;

use super::known::SavedBackground;
use crate::journal::{Journal, Storage};
use crate::judge::Judge;

/// The tests of the rollouts that ran when it was saved, by the rollout's identifier, and what was known of the stable
/// traffic of the other services, by their names.
#[derive(Debug, Default)]
pub struct Evidence {
    judges: HashMap<String, serde_json::Value>,
    backgrounds: HashMap<String, serde_json::Value>,
}

impl Evidence {
    /// What an earlier process saved. What cannot be read is said and left out: those tests begin anew.
    pub fn load<S: Storage>(journal: &mut Journal<S>, warnings: &mut Vec<String>) -> Self {
        let mut read = |what: &str, bytes: std::io::Result<Vec<u8>>| {
            let bytes = match bytes {
                Ok(bytes) if bytes.is_empty() => return HashMap::new(),
                Ok(bytes) => bytes,
                Err(error) => {
                    warnings.push(format!("{what} cannot be read: {error}"));
                    return HashMap::new();
                }
            };
            serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                warnings.push(format!("{what} is damaged: {error}"));
                HashMap::new()
            })
        };
        Self {
            judges: read("the saved evidence", journal.load_evidence()),
            backgrounds: read("what was known of stable traffic", journal.load_background()),
        }
    }

    /// The tests of a rollout.
    pub(super) fn take(&mut self, rollout: &str) -> Option<Judge> {
        taken(&mut self.judges, rollout)
    }

    /// What was known of a service's stable traffic.
    pub(super) fn take_background(&mut self, service: &str) -> Option<SavedBackground> {
        taken(&mut self.backgrounds, service)
    }
}

fn taken<T: DeserializeOwned>(saved: &mut HashMap<String, serde_json::Value>, key: &str) -> Option<T> {
    serde_json::from_value(saved.remove(key)?).ok()
}
