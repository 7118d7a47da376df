mod behind;
mod disk;
mod exact;
mod reading;
mod thinning;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::{
    Baseline, Gate, GateRole, GateRule, HeaderMatch, LatencyMargin, LatencyOf, Match, MirrorLimits, Name, PathPrefix,
    Plan, Quantile, Step, Stretch, Tolerance,
};
use jiff::Timestamp;
use meter::{Class, Clients, GroupCounts, LatencyCounts, PathTally, Window};
use tempfile::TempDir;

use super::header::wants_totals;
use super::keeper::Keeper;
use super::slot::Shared;
use super::*;
use crate::judge::{Copies, Draws, Judge, Tick, Trial};
use crate::view::{Arms, Phase};

/// 2026-11-22.
pub(super) const BEGAN: i64 = 1_795_305_600_000;

/// A rollout whose tests are recorded, with its record on a disk.
pub(super) struct Story {
    place: TempDir,
    keeper: Keeper,
    shared: Arc<Shared>,
    recorder: Recorder,
    pub(super) header: Header,
    pub(super) judge: Judge,
    pub(super) clock_ms: i64,
    pub(super) weight: u16,
    pub(super) endpoints: Arms<u32>,
}

/// What the versions did, and how it was drawn.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) stable: Window,
    pub(super) canary: Window,
    pub(super) baseline: Option<Window>,
    pub(super) matched: Option<Window>,
    pub(super) copies: Option<Copies>,
    pub(super) draws: Option<Draws>,
}

pub(super) fn header_of(plan: &Plan) -> Header {
    Header {
        rollout: Some("01KAMPLE".to_owned()),
        service: Some("shop".to_owned()),
        stable: "v1".to_owned(),
        canary: "v2".to_owned(),
        compared: Compared::of(&plan.baseline),
        started_at: Some("2026-11-22T00:00:00Z".to_owned()),
        plan: Some(plan.clone()),
        paths: plan.paths(),
        totals: wants_totals(plan),
        bounds: LatencyBounds::Own,
        state: None,
    }
}

impl Story {
    pub(super) fn of(plan: &Plan) -> Self {
        let place = tempfile::tempdir().unwrap();
        let shared = Arc::new(Shared::default());
        let header = header_of(plan);
        let judge = Judge::new(Trial::of(plan, "v1", "v2"));
        let slot = shared.begin("shop", "01KAMPLE");
        let recorder = Recorder::begin(slot, header.clone(), at(BEGAN), Why::Restart, &judge, 0);
        let keeper = Keeper::new(place.path(), Arc::clone(&shared));
        let endpoints = Arms { stable: 3, canary: 1 };
        Self { place, keeper, shared, recorder, header, judge, clock_ms: BEGAN, weight: 500, endpoints }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.place.path().join("records/shop/01KAMPLE.jsonl")
    }

    /// The folder of the state.
    pub(super) fn state(&self) -> &std::path::Path {
        self.place.path()
    }

    /// A tick, so long after the one before.
    pub(super) fn tick(&mut self, after_ms: i64, traffic: &Traffic) {
        self.clock_ms += after_ms;
        let Traffic { stable, canary, baseline, matched, copies, draws } = traffic;
        let now = at(self.clock_ms);
        let tick = Tick {
            second: now.as_second(),
            stable,
            baseline: baseline.as_ref().unwrap_or(stable),
            canary,
            matched: matched.as_ref(),
            copies: *copies,
            draws: *draws,
            endpoints: self.endpoints,
        };
        self.judge.tick(&tick);
        self.recorder.tick(now, 7, self.weight, &tick, &self.judge);
    }

    pub(super) fn mark(&mut self, mark: Mark) {
        match mark {
            Mark::NewStep => self.judge.new_step(),
            Mark::Acknowledge => self.judge.acknowledge(),
            Mark::BeginAnew => self.judge.begin_anew(),
            Mark::WarmUpAgain => self.judge.warm_up_again(),
            Mark::ClockSetBack => {}
        }
        self.recorder.mark(at(self.clock_ms), mark, &self.judge);
    }

    /// The keeper writes what waits.
    pub(super) fn keep(&mut self) {
        let woken = self.shared.wait(Some(Duration::ZERO));
        self.keeper.write(woken);
    }

    /// The process dies with these tests saved, and another goes on.
    pub(super) fn restart(&mut self, saved: &str) {
        self.judge = serde_json::from_str(saved).unwrap();
        self.shared = Arc::new(Shared::default());
        self.keeper = Keeper::new(self.place.path(), Arc::clone(&self.shared));
        let slot = self.shared.begin("shop", "01KAMPLE");
        self.recorder = Recorder::begin(slot, self.header.clone(), at(self.clock_ms), Why::Restart, &self.judge, 0);
    }

    pub(super) fn saved(&self) -> String {
        serde_json::to_string(&self.judge).unwrap()
    }

    /// The rollout ends, and its record is read.
    pub(super) fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.recorder).end(at(self.clock_ms), Some(Phase::RolledBack), &self.judge);
        self.keep();
        std::fs::read(self.path()).unwrap()
    }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

/// Judges a record from its beginning to its end.
pub(super) fn replayed(record: &[u8], gates: Option<Plan>) -> Replay {
    let mut reader = Reader::begin(record).unwrap();
    let mut replay = Replay::begin(reader.header(), gates).unwrap();
    while let Some(line) = reader.read().unwrap_or_else(|error| panic!("{error}: {}", text(record))) {
        replay.judge_line(&reader, &line).unwrap_or_else(|error| panic!("{error}: {}", text(record)));
    }
    replay
}

pub(super) fn text(record: &[u8]) -> String {
    let text = String::from_utf8_lossy(record);
    text.chars().rev().take(3_000).collect::<Vec<_>>().into_iter().rev().collect()
}

pub(super) fn gate(name: &str, role: GateRole, path: Option<&str>, rule: GateRule) -> Gate {
    Gate { name: Name::new(name).unwrap(), role, path: path.and_then(PathPrefix::new), rule }
}

/// A gate of every kind, signals and paths among them.
pub(super) fn every_gate() -> Vec<Gate> {
    let stretch = |fraction| Stretch::new(fraction).unwrap();
    let fraction = |value| config::Fraction::new(value).unwrap();
    let latency = |quantile: Option<f64>, of| GateRule::Latency {
        quantile: quantile.map(|quantile| Quantile::new(quantile).unwrap()),
        tolerance: stretch(0.05),
        margin: LatencyMargin { body: stretch(0.25), tail: stretch(0.5) },
        of,
    };
    let limit = |ms, of| GateRule::LatencyLimit { quantile: Quantile::P99, limit: Duration::from_millis(ms), of };
    let narrow = GateRule::Errors {
        tolerance: Tolerance { ratio: 1.0, points: fraction(0.0) },
        margin: Tolerance { ratio: 2.0, points: fraction(0.01) },
    };
    vec![
        gate("errors", GateRole::Guardrail, None, GateRule::ERRORS),
        gate("errors-checkout", GateRole::Guardrail, Some("/checkout"), narrow),
        gate("errors-limit", GateRole::Signal, None, GateRule::ErrorLimit { limit: fraction(0.05) }),
        gate("latency", GateRole::Guardrail, None, latency(None, LatencyOf::Head)),
        gate("latency-p90", GateRole::Signal, Some("/cart"), latency(Some(0.9), LatencyOf::Total)),
        gate("limit", GateRole::Guardrail, None, limit(40, LatencyOf::Total)),
        gate("limit-head", GateRole::Guardrail, Some("/checkout"), limit(30, LatencyOf::Head)),
    ]
}

pub(super) fn plan_of(gates: Vec<Gate>) -> Plan {
    Plan { gates, ..Plan::built_in() }
}

/// The plan with a step of copies, and a gate that looks at them.
pub(super) fn with_copies(mut plan: Plan) -> Plan {
    plan.steps.insert(0, Step::Mirror { share: config::Weight::FULL, hold: Duration::ZERO });
    let limit = |value| config::Fraction::new(value).ok();
    let limits = MirrorLimits { errors: limit(0.02), status: limit(0.3), body: limit(0.5) };
    plan.gates.push(gate("mirror", GateRole::Guardrail, None, GateRule::Mirror(limits)));
    plan
}

/// The plan with a step of people whom the gates that compare leave out.
pub(super) fn with_people(mut plan: Plan) -> Plan {
    let headers = vec![HeaderMatch { name: "x-beta".to_owned(), value: None }];
    let who = Some(Match { headers, cookie: None, judged: false });
    plan.steps.insert(0, Step::Match { who, hold: Duration::ZERO });
    plan
}

pub(super) fn with_baseline(plan: Plan, baseline: &str) -> Plan {
    let baseline = match baseline {
        "stable" => Baseline::Stable,
        "equal" => Baseline::Equal,
        name => Baseline::Version(Name::new(name).unwrap()),
    };
    Plan { baseline, ..plan }
}

/// A window of so many requests at random, as a meter would give it.
pub(super) fn random_window(random: &mut fastrand::Rng, requests: u64, error_rate: f64, paths: usize) -> Window {
    let mut window = Window { paths: vec![PathTally::default(); paths], ..Window::default() };
    for _ in 0..requests {
        let class = if random.f64() < error_rate {
            random.choice([Class::ServerError, Class::Timeout, Class::Reset]).unwrap()
        } else {
            random.choice([Class::Success, Class::Success, Class::ClientError, Class::ClientAbort]).unwrap()
        };
        let us = 1_000 + (random.f64().powi(4) * 200_000.0) as u64;
        let timed = random.u8(..20) > 0;
        let (group, endpoint) = (random.usize(..16), random.usize(..3));
        let over = [us > 5_000, us > 50_000];
        window.judged[class as usize] += 1;
        // What is not judged is not recorded, and must not matter.
        window.attempts[0][class as usize] += 1 + random.u64(..2);
        window.duration.record_us(us * 2);
        let record = |good: &mut LatencyCounts, bad: &mut LatencyCounts, us| {
            if timed {
                (if class.is_bad() { bad } else { good }).record_us(us);
            }
        };
        record(&mut window.latency_good, &mut window.latency_bad, us);
        record(&mut window.total_good, &mut window.total_bad, us + 700);
        window.clients.merge(Clients { seen: 1 << group, bad: u16::from(class.is_bad()) << group });
        for group in [&mut window.groups[group], &mut window.endpoints[endpoint]] {
            let GroupCounts { requests, bad, timed: of_timed, over: of_over } = group;
            *requests += 1;
            *bad += u64::from(class.is_bad());
            *of_timed += u64::from(timed);
            of_over.iter_mut().zip(over).for_each(|(sum, over)| *sum += u64::from(timed && over));
        }
        if paths > 0 && random.bool() {
            let path = &mut window.paths[random.usize(..paths)];
            path.judged[class as usize] += 1;
            record(&mut path.latency_good, &mut path.latency_bad, us);
            record(&mut path.total_good, &mut path.total_bad, us + 700);
        }
        window.drawn.all += 1;
        window.drawn.at_random += u64::from(random.bool());
        window.drawn.ended += 1;
    }
    window
}

/// What a tick of such a rollout might bring: mostly something, often nothing.
pub(super) fn random_traffic(random: &mut fastrand::Rng, plan: &Plan, error_rate: f64) -> Traffic {
    let paths = plan.paths().len();
    let some = |random: &mut fastrand::Rng, most: u64| if random.u8(..3) == 0 { 0 } else { random.u64(..most) };
    let (of_stable, of_canary) = (some(random, 60), some(random, 12));
    let stable = random_window(random, of_stable, 0.02, paths);
    let canary = random_window(random, of_canary, error_rate, paths);
    let baseline = match plan.baseline {
        Baseline::Stable => None,
        Baseline::Equal | Baseline::Version(_) if random.u8(..10) == 0 => None,
        Baseline::Equal | Baseline::Version(_) => Some(random_window(random, of_canary, 0.02, paths)),
    };
    let draws = random.bool().then(|| Draws {
        weight: 500,
        canary: canary.drawn.at_random,
        all: canary.drawn.at_random + stable.drawn.at_random,
    });
    let matched = plan.leaves_people_out().then(|| {
        let requests = some(random, 6);
        random_window(random, requests, 0.05, paths)
    });
    let copies = (plan.mirrors() && random.u8(..5) > 0).then(|| {
        let ended = some(random, 9);
        let compared = ended - ended.min(1);
        Copies { ended, compared, failed: ended - compared, status: random.u64(..=compared), body: 0 }
    });
    Traffic { stable, canary, baseline, matched, copies, draws }
}
