//! What the tests remember, kept over a restart.

use std::collections::HashMap;

use config::Name;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::known::SavedBackground;
use crate::journal::{Journal, Storage};
use crate::judge::Judge;
use crate::record::{CaughtUp, Place, Recording};

/// So much may be lost by every crash: records are written once a second, and what they have of ticks without anything
/// waits for their second to be over. More is told.
const TOLD_SECONDS: f64 = 1.5;

/// The tests of the rollouts that ran when it was saved, by the rollout's identifier, and what was known of the stable
/// traffic of the other services, by their names.
#[derive(Debug, Default)]
pub struct Evidence {
    judges: HashMap<String, Value>,
    backgrounds: HashMap<String, Value>,
}

/// How the tests of one rollout are saved.
#[derive(Debug, Serialize)]
pub(super) struct SavedTests<'a> {
    /// When they were so, in milliseconds of Unix time.
    pub(super) at: i64,
    /// Where their record was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<Place>,
    pub(super) judge: &'a Judge,
}

/// The tests of one rollout, as an earlier process saved them.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) judge: Judge,
    /// When they were so; none where that was not saved with them.
    pub(super) at: Option<Timestamp>,
    /// Where their record was; none where nothing was recorded.
    place: Option<Place>,
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
    pub(super) fn take(&mut self, rollout: &str) -> Option<Restored> {
        let mut saved = self.judges.remove(rollout)?;
        let at = saved.get("at").and_then(Value::as_i64).and_then(|at| Timestamp::from_millisecond(at).ok());
        let place = saved.get_mut("place").and_then(|place| serde_json::from_value(place.take()).ok());
        // Before moments were saved with them, tests stood there alone.
        let judge = saved.get_mut("judge").map(Value::take).unwrap_or(saved);
        Some(Restored { judge: serde_json::from_value(judge).ok()?, at, place })
    }

    /// What was known of a service's stable traffic.
    pub(super) fn take_background(&mut self, service: &str) -> Option<SavedBackground> {
        taken(&mut self.backgrounds, service)
    }
}

impl Restored {
    /// After a crash: gives the tests the windows that their record has since they were saved. Where that cannot be, they
    /// stay as they are. How many windows they have that the record has not.
    pub(super) fn catch_up(&mut self, recording: &Recording, service: &Name, rollout: &str) -> u64 {
        let Some(place) = self.place else { return 0 };
        let Some(caught_up) = recording.caught_up(service.as_str(), rollout, place, self.judge.clone()) else {
            return 0;
        };
        match caught_up {
            Ok(CaughtUp { ahead: ahead @ 1.., .. }) => {
                tracing::info!(%service, windows = ahead, "the tests were saved with what the record of the rollout lost");
                ahead
            }
            Ok(CaughtUp { judge, at, windows, stopped, .. }) => {
                self.judge = judge;
                self.at = at.and_then(|at| Timestamp::from_millisecond(at.milliseconds()).ok()).or(self.at);
                tracing::info!(%service, windows, "the tests were given what the record of the rollout had since they were saved");
                if let Some(problem) = stopped {
                    tracing::warn!(%service, %problem, "the rest of the record cannot be judged");
                }
                0
            }
            Err(problem) => {
                tracing::warn!(%service, %problem, "the tests go on as they were saved: their record does not help them");
                0
            }
        }
    }
}

fn taken<T: DeserializeOwned>(saved: &mut HashMap<String, Value>, key: &str) -> Option<T> {
    serde_json::from_value(saved.remove(key)?).ok()
}

/// What a process that ended without saving has lost of a rollout's evidence, in a sentence; none where that is nothing.
/// `stopped` is its last sign of life, where there is one: up to a second before its end.
pub(super) fn lost(service: &Name, canary: &Name, saved: Timestamp, stopped: Option<Timestamp>) -> Option<String> {
    let goes_on = format!("the tests of {canary} go on from {} UTC", saved.strftime("%H:%M:%S"));
    let Some(stopped) = stopped else {
        return Some(format!("{service}: restart: evidence of the time before the stop may be lost; {goes_on}"));
    };
    let seconds = stopped.duration_since(saved).as_secs_f64();
    (seconds >= TOLD_SECONDS)
        .then(|| format!("{service}: restart: about {seconds:.1} s of evidence before the stop were lost; {goes_on}"))
}
