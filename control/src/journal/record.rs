//! One record as it stands in the file: `crc32 JSON`, a line, readable with `less` at three in the morning.
//!
//! The types here mirror the file and are private to the journal; what leaves this module is proven.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{Name, Weight};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::plan::PlanForm;
use crate::judge::Copies;
use crate::rollout::{FileValues, Question, Reading, Rollout, State};
use crate::view::{Arms, Dispersion, GateView, Matched, Phase, RolloutView};

/// The format that this program writes, and the only one that it reads.
pub(super) const VERSION: u32 = 1;
/// What the first line says the file is.
const FORMAT: &str = "tidegate-journal";

/// What one service's release is after a change.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Grows by one with every record.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The service.
    pub service: Name,
    /// What led to it, in a sentence.
    pub cause: String,
    /// The whole state after it.
    pub state: State,
}

/// What a line of the journal holds.
#[derive(Debug)]
pub(super) enum Line {
    /// The first line.
    Header {
        /// The version of the format.
        version: u32,
    },
    /// The journal was ended in good order: nothing was lost after the records before this line.
    Ended,
    /// A record.
    Record(Box<Record>),
}

impl Line {
    /// The line in the file, with its end.
    pub(super) fn encode(raw: &impl Serialize) -> Vec<u8> {
        // Maps with string keys, numbers and strings always serialise; were it otherwise, the line would be one that a
        // replay takes for damaged, and passes over.
        let json = serde_json::to_string(raw).unwrap_or_default();
        format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).into_bytes()
    }

    /// What a line without its end says.
    pub(super) fn decode(line: &[u8]) -> Result<Self, Unread> {
        let json = checked(line).ok_or(Unread::Damaged)?;
        let line = match serde_json::from_str(json).map_err(|_| Unread::NotUnderstood)? {
            RawLine::Header { journal, version } => (journal == FORMAT).then_some(Self::Header { version }),
            RawLine::Ended { .. } => Some(Self::Ended),
            RawLine::Record(raw) => raw.proven().map(|record| Self::Record(Box::new(record))),
        };
        line.ok_or(Unread::NotUnderstood)
    }
}

/// Why a line cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is not what was written.
    Damaged,
    /// It is what was written, and not by this version of the program.
    NotUnderstood,
}

/// What follows the checksum, where the checksum is right. Nothing at all has a checksum too, and nobody writes it.
fn checked(line: &[u8]) -> Option<&str> {
    let (checksum, json) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let right = checksum.len() == 8 && u32::from_str_radix(checksum, 16).ok()? == crc32fast::hash(json.as_bytes());
    (right && !json.is_empty()).then_some(json)
}

/// The first line of a journal.
pub(super) fn header() -> Vec<u8> {
    Line::encode(&RawLine::Header { journal: FORMAT.to_owned(), version: VERSION })
}

/// The last line of a journal that was ended in good order.
pub(super) fn end() -> Vec<u8> {
    Line::encode(&RawLine::Ended { ended: true })
}

/// The line of a record.
pub(super) fn encode(record: &Record) -> Vec<u8> {
    Line::encode(&RawLine::Record(Box::new(RawRecord::of(record))))
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum RawLine {
    Header { journal: String, version: u32 },
    Ended { ended: bool },
    Record(Box<RawRecord>),
}

#[derive(Serialize, Deserialize)]
struct RawRecord {
    seq: u64,
    at: Timestamp0,
    service: String,
    cause: String,
    revision: u64,
    generation: u64,
    stable: String,
    canary: Option<RawShare>,
    rollout: Option<RawRollout>,
    file: RawFile,
    outcomes: BTreeMap<Phase, u64>,
    history: Vec<Arc<RolloutView>>,
}

/// RFC 3339, as text.
type Timestamp0 = String;

#[derive(Serialize, Deserialize)]
struct RawShare {
    version: String,
    weight: u16,
}

#[derive(Serialize, Deserialize)]
struct RawFile {
    stable: String,
    canary: Option<RawShare>,
}

#[derive(Serialize, Deserialize)]
struct RawRollout {
    id: String,
    phase: Phase,
    reason: Option<String>,
    /// Counted from 1, as people see it.
    step: usize,
    stable: String,
    canary: String,
    started_at: Timestamp0,
    ended_at: Option<Timestamp0>,
    idempotency_key: Option<String>,
    plan_name: String,
    plan: PlanForm,
    requests: Arms<u64>,
    failed: Arms<u64>,
    gates: Vec<GateView>,
    #[serde(default)]
    dispersion: Option<Dispersion>,
    #[serde(default)]
    asks: Option<RawQuestion>,
    #[serde(default)]
    acknowledged: u64,
    #[serde(default)]
    would_have_rolled_back: u64,
    #[serde(default)]
    match_withdrawn: bool,
    #[serde(default)]
    awaits_endpoints: bool,
    #[serde(default)]
    matched: Matched,
    #[serde(default)]
    copies: Copies,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawQuestion {
    Limit,
    Found { signal: bool, traffic: bool },
    Deadline,
    DryRunOver,
}

impl RawRecord {
    fn of(record: &Record) -> Self {
        let state = &record.state;
        Self {
            seq: record.seq,
            at: record.at.to_string(),
            service: record.service.to_string(),
            cause: record.cause.clone(),
            revision: state.revision,
            generation: state.generation,
            stable: state.stable.to_string(),
            canary: state.canary.as_ref().map(RawShare::of),
            rollout: state.rollout.as_ref().map(RawRollout::of),
            file: RawFile {
                stable: state.file.stable.to_string(),
                canary: state.file.canary.as_ref().map(RawShare::of),
            },
            outcomes: state.outcomes.clone(),
            history: state.history.clone(),
        }
    }

    fn proven(self) -> Option<Record> {
        let rollout = match self.rollout {
            Some(raw) => Some(raw.proven()?),
            None => None,
        };
        let state = State {
            revision: self.revision,
            generation: self.generation,
            stable: Name::new(&self.stable)?,
            canary: share(self.canary)?,
            rollout,
            file: FileValues { stable: Name::new(&self.file.stable)?, canary: share(self.file.canary)? },
            outcomes: self.outcomes,
            history: self.history,
        };
        if state.canary.as_ref().is_some_and(|(canary, _)| *canary == state.stable) {
            return None;
        }
        let (at, service) = (self.at.parse().ok()?, Name::new(&self.service)?);
        Some(Record { seq: self.seq, at, service, cause: self.cause, state })
    }
}

/// The outer option says whether it is legal, the inner one whether there is any.
#[expect(clippy::option_option, reason = "an absent share is legal, an illegal one is not; `?` reads best on both")]
fn share(raw: Option<RawShare>) -> Option<Option<(Name, Weight)>> {
    let Some(raw) = raw else { return Some(None) };
    Some(Some((Name::new(&raw.version)?, Weight::from_basis_points(raw.weight).ok()?)))
}

impl RawShare {
    fn of((version, weight): &(Name, Weight)) -> Self {
        Self { version: version.to_string(), weight: weight.basis_points() }
    }
}

impl RawRollout {
    fn of(rollout: &Rollout) -> Self {
        Self {
            id: rollout.id.clone(),
            phase: rollout.phase,
            reason: rollout.reason.clone(),
            step: rollout.step + 1,
            stable: rollout.stable.to_string(),
            canary: rollout.canary.to_string(),
            started_at: rollout.started_at.to_string(),
            ended_at: rollout.ended_at.map(|at| at.to_string()),
            idempotency_key: rollout.idempotency_key.clone(),
            plan_name: rollout.plan_name.clone(),
            plan: PlanForm::of(&rollout.plan),
            requests: rollout.reading.requests,
            failed: rollout.reading.failed,
            gates: rollout.reading.gates.clone(),
            dispersion: rollout.reading.dispersion,
            asks: rollout.asks.as_ref().map(RawQuestion::of),
            acknowledged: rollout.acknowledged,
            would_have_rolled_back: rollout.would_have_rolled_back,
            match_withdrawn: rollout.withdrawn,
            awaits_endpoints: rollout.awaits_endpoints,
            matched: rollout.reading.matched,
            copies: rollout.reading.copies,
        }
    }

    fn proven(self) -> Option<Rollout> {
        let plan = self.plan.proven().ok()?;
        // A rollout that waited for its promotion to reach the disk is back at its last step.
        let phase = if self.phase == Phase::Promoting { Phase::Progressing } else { self.phase };
        let ended_at = match self.ended_at {
            Some(text) => Some(text.parse().ok()?),
            None => None,
        };
        let step = self.step.checked_sub(1).filter(|step| *step <= plan.steps.len())?;
        if !phase.has_ended() && step >= plan.steps.len() {
            return None;
        }
        Some(Rollout {
            id: self.id,
            stable: Name::new(&self.stable)?,
            canary: Name::new(&self.canary)?,
            plan_name: self.plan_name,
            plan,
            phase,
            reason: self.reason,
            step,
            started_at: self.started_at.parse().ok()?,
            ended_at,
            idempotency_key: self.idempotency_key,
            asks: self.asks.map(RawQuestion::proven),
            acknowledged: self.acknowledged,
            would_have_rolled_back: self.would_have_rolled_back,
            withdrawn: self.match_withdrawn,
            awaits_endpoints: self.awaits_endpoints,
            reading: Reading {
                requests: self.requests,
                failed: self.failed,
                matched: self.matched,
                copies: self.copies,
                gates: self.gates,
                dispersion: self.dispersion,
            },
        })
    }
}

impl RawQuestion {
    const fn of(question: &Question) -> Self {
        match *question {
            Question::Limit => Self::Limit,
            Question::Found { signal, traffic } => Self::Found { signal, traffic },
            Question::Deadline => Self::Deadline,
            Question::DryRunOver => Self::DryRunOver,
        }
    }

    const fn proven(self) -> Question {
        match self {
            Self::Limit => Question::Limit,
            Self::Found { signal, traffic } => Question::Found { signal, traffic },
            Self::Deadline => Question::Deadline,
            Self::DryRunOver => Question::DryRunOver,
        }
    }
}
