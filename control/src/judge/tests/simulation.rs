//! Simulated rollouts: ticks of 100 ms drawn from a seed, against virtual time.

use super::*;

/// Ticks in a second.
const TICKS: i64 = 10;

/// Draws traffic for one judge. The same seed gives the same rollout.
struct Rollout {
    random: fastrand::Rng,
    judge: Judge,
    tick: i64,
    /// Requests in a tick, and the part of them that the canary gets.
    requests: u64,
    weight: f64,
    /// Whether each tick brings the same number of requests to the canary, or a random one.
    steady: bool,
}

/// How harm came to be seen.
#[derive(Debug, Clone, Copy)]
struct Detection {
    ticks: i64,
    /// Requests to the canary from its first bad one on.
    canary_requests: u64,
}

impl Rollout {
    fn new(seed: u64, rules: &[GateRule]) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            judge: judge_of(rules),
            tick: 0,
            requests: 100,
            weight: 0.05,
            steady: false,
        }
    }

    /// How many of `n` draws come true, by skipping from one that does to the next.
    fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if p >= 1.0 {
            return n;
        }
        let (mut successes, mut at) = (0, 0.0);
        loop {
            at += 1.0 + ((1.0 - self.random.f64()).ln() / (-p).ln_1p()).floor();
            if at > n as f64 {
                return successes;
            }
            successes += 1;
        }
    }

    /// One tick in which the versions fail at these rates; the judge's requests to the canary, and those that failed.
    fn tick(&mut self, stable_rate: f64, canary_rate: f64) -> (u64, u64) {
        let canary = if self.steady {
            (self.requests as f64 * self.weight) as u64
        } else {
            self.binomial(self.requests, self.weight)
        };
        let stable = self.requests - canary;
        let (bad_of_canary, bad_of_stable) = (self.binomial(canary, canary_rate), self.binomial(stable, stable_rate));
        self.feed(&window(stable, bad_of_stable), &window(canary, bad_of_canary));
        (canary, bad_of_canary)
    }

    fn feed(&mut self, stable: &Window, canary: &Window) {
        self.judge.tick(&Tick::of(self.tick / TICKS, stable, canary));
        self.tick += 1;
    }

    fn seconds(&mut self, seconds: i64, stable_rate: f64, canary_rate: f64) {
        for _ in 0..seconds * TICKS {
            self.tick(stable_rate, canary_rate);
        }
    }

    fn is_harmed(&self) -> bool {
        self.judge.judgement().harm.is_some()
    }

    /// From here on the canary fails at `rate`, until that is seen; none within `seconds`.
    fn until_harm(&mut self, rate: f64, seconds: i64) -> Option<Detection> {
        let (mut canary_requests, mut seen_bad) = (0, false);
        for ticks in 1..=seconds * TICKS {
            let (canary, bad) = self.tick(0.001, rate);
            // The requests before the first bad one in its tick were good: leave them out where it is the first.
            canary_requests += if seen_bad { canary } else { bad };
            seen_bad |= bad > 0;
            if self.is_harmed() {
                return Some(Detection { ticks, canary_requests });
            }
        }
        None
    }
}

/// Detections over many seeds, sorted by time.
fn detections(seeds: u64, good_seconds: i64, rate: f64, limit_seconds: i64) -> Vec<Detection> {
    let mut all: Vec<Detection> = (0..seeds)
        .map(|seed| {
            let mut rollout = Rollout::new(seed, &default_gates());
            rollout.seconds(good_seconds, 0.001, 0.001);
            assert!(!rollout.is_harmed(), "seed {seed}: rolled back while all was well");
            // The harm begins anywhere in a second.
            let offset = rollout.random.i64(..TICKS);
            for _ in 0..offset {
                rollout.tick(0.001, 0.001);
            }
            rollout
                .until_harm(rate, limit_seconds)
                .unwrap_or_else(|| panic!("seed {seed}: not seen within {limit_seconds} s"))
        })
        .collect();
    all.sort_by_key(|detection| detection.ticks);
    all
}

fn median(detections: &[Detection]) -> Detection {
    detections[detections.len() / 2]
}

/// The tick in which the canary breaks is good up to a random moment.
fn break_within_a_tick(rollout: &mut Rollout) -> Detection {
    let bad = rollout.random.u64(1..=5);
    rollout.feed(&window(95, 0), &window(5, bad));
    let mut detection = Detection { ticks: 1, canary_requests: bad };
    while !rollout.is_harmed() {
        let (canary, _) = rollout.tick(0.001, 1.0);
        detection = Detection { ticks: detection.ticks + 1, canary_requests: detection.canary_requests + canary };
        assert!(detection.ticks < 100, "{:?}", rollout.judge.gates());
    }
    detection
}

#[test]
fn a_canary_that_breaks_outright_is_seen_within_a_dozen_requests_at_the_median_and_fourteen_at_the_most() {
    for good_seconds in [0, 60] {
        let mut requests: Vec<u64> = (0..41)
            .map(|seed| {
                let mut rollout = Rollout { steady: true, ..Rollout::new(seed, &default_gates()) };
                rollout.seconds(good_seconds, 0.001, 0.001);
                break_within_a_tick(&mut rollout).canary_requests
            })
            .collect();
        requests.sort_unstable();
        assert!(requests[0] >= 4 && requests[20] <= 12, "after {good_seconds} s: {requests:?}");
        // A tick's good requests before the break cost what two ticks' bad ones win back.
        assert!(requests[40] <= 14, "after {good_seconds} s: {requests:?}");
    }
}

#[test]
fn where_requests_come_at_random_a_broken_canary_is_seen_as_soon_at_the_median() {
    for good_seconds in [0, 60] {
        let all = detections(41, good_seconds, 1.0, 2);
        let mut requests: Vec<u64> = all.iter().map(|detection| detection.canary_requests).collect();
        requests.sort_unstable();
        assert!(requests[0] >= 4, "no verdict on fewer than four failures: {requests:?}");
        assert!(requests[requests.len() / 2] <= 12, "{requests:?}");
        assert!(requests.iter().all(|n| *n <= 20), "{requests:?}");
    }
}

#[test]
fn five_percent_of_failures_are_seen_within_four_seconds_at_the_median_from_the_start() {
    let all = detections(61, 0, 0.05, 60);
    assert!(median(&all).ticks <= 4 * TICKS, "{all:?}");
}

#[test]
fn five_percent_of_failures_are_seen_within_six_seconds_at_the_median_after_a_good_minute() {
    let all = detections(61, 60, 0.05, 120);
    assert!(median(&all).ticks <= 6 * TICKS, "{all:?}");
}

#[test]
fn versions_that_do_the_same_are_rolled_back_in_at_most_two_of_a_hundred_rollouts() {
    let mut false_rollbacks = 0;
    for seed in 0..300 {
        let mut rollout = Rollout::new(seed, &[errors((1.0, 0.0)), GateRule::LATENCY, error_limit(0.05)]);
        // Four steps; the rate drifts and differs between rollouts, up to the limit.
        for (step, weight) in [0.01, 0.05, 0.25, 0.5].into_iter().enumerate() {
            rollout.weight = weight;
            rollout.judge.new_step();
            let rate = [0.001, 0.01, 0.03, 0.045][(seed as usize + step) % 4];
            rollout.seconds(20, rate, rate);
        }
        false_rollbacks += u32::from(rollout.is_harmed());
    }
    assert!(false_rollbacks <= 6, "{false_rollbacks} of 300");
}

#[test]
fn an_incident_that_hits_both_versions_never_rolls_back() {
    for seed in 0..60 {
        let mut rollout = Rollout::new(seed, &default_gates());
        for _ in 0..3 {
            rollout.seconds(15, 0.001, 0.001);
            rollout.seconds(10, 0.3, 0.3);
        }
        assert!(!rollout.is_harmed(), "seed {seed}: {:?}", rollout.judge.judgement());
    }
}

#[test]
fn a_limit_that_both_versions_break_holds_and_does_not_roll_back() {
    for seed in 0..20 {
        let mut rollout = Rollout::new(seed, &[errors(DEFAULT_TOLERANCE), error_limit(0.05)]);
        rollout.seconds(10, 0.001, 0.001);
        assert_eq!(rollout.judge.judgement().hold, None, "seed {seed}");
        rollout.seconds(20, 0.15, 0.15);
        let judgement = rollout.judge.judgement();
        assert_eq!(judgement.harm, None, "seed {seed}");
        assert!(judgement.hold.is_some(), "seed {seed}: {:?}", rollout.judge.gates());
        // The incident passes, and so does the hold.
        rollout.seconds(180, 0.001, 0.001);
        assert_eq!(rollout.judge.judgement().hold, None, "seed {seed}");
    }
}

#[test]
fn a_limit_that_only_the_canary_breaks_rolls_back_also_without_another_gate() {
    for seed in 0..20 {
        let mut rollout = Rollout::new(seed, &[error_limit(0.02)]);
        let detection = rollout.until_harm(0.1, 30);
        assert!(detection.is_some(), "seed {seed}: {:?}", rollout.judge.gates());
        assert_eq!(rollout.judge.judgement().harm.unwrap().gate, "errors-limit", "seed {seed}");
    }
}

#[test]
fn a_canary_that_hangs_until_its_users_leave_is_caught_by_a_latency_limit() {
    let mut rollout = Rollout::new(0, &[errors(DEFAULT_TOLERANCE), latency_limit(0.99, 300)]);
    let (stable, hanging) = (window_of(95, Class::Success, 20), window_of(5, Class::ClientAbort, 500));
    let ticks = (1..=10 * TICKS).find(|_| {
        rollout.feed(&stable, &hanging);
        rollout.is_harmed()
    });
    let judgement = rollout.judge.judgement();
    assert_eq!(judgement.failed, Arms::default(), "users who leave are no failures");
    assert_eq!(judgement.harm.unwrap().gate, "latency-limit");
    assert!(ticks.unwrap() <= 4 * TICKS, "{ticks:?} ticks");
}

#[test]
fn a_slow_day_of_both_versions_is_no_harm() {
    let mut rollout = Rollout::new(0, &[errors(DEFAULT_TOLERANCE), latency_limit(0.99, 300)]);
    for _ in 0..20 * TICKS {
        rollout.feed(&window_of(95, Class::Success, 400), &window_of(5, Class::Success, 400));
    }
    let judgement = rollout.judge.judgement();
    assert_eq!(judgement.harm, None);
    assert!(judgement.hold.is_some());
}

/// Requests that ended somehow, with latencies and groups that need not belong to them.
fn absurd(random: &mut fastrand::Rng) -> Window {
    const FIGURES: [u64; 6] = [0, 1, 2, 50, 1_000, 1_000_000_000_000];
    let mut window = Window::default();
    let mut figure = || FIGURES[random.usize(..FIGURES.len())];
    for class in [Class::Success, Class::ServerError, Class::Timeout, Class::ClientAbort] {
        window.judged[class as usize] = figure();
    }
    for bucket in [0, 1, 500, 1_100, 2_000, usize::MAX] {
        window.latency_good.add(bucket, figure());
        window.total_good.add(bucket, figure());
    }
    for group in window.groups.iter_mut().chain(&mut window.endpoints) {
        *group = meter::GroupCounts { requests: figure(), bad: figure(), timed: figure(), over: [figure(), figure()] };
    }
    window.drawn = meter::Drawn { all: figure(), at_random: figure(), ended: figure(), lost: figure() };
    let Window { judged, latency_good, total_good, .. } = window.clone();
    window.paths = vec![meter::PathTally { judged, latency_good, total_good, ..Default::default() }];
    window
}

/// Counts that do not even fit together.
fn absurd_copies(random: &mut fastrand::Rng) -> Copies {
    let mut count = || if random.u8(..8) == 0 { u64::MAX } else { random.u64(..100) };
    Copies { ended: count(), compared: count(), failed: count(), status: count(), body: count() }
}

#[test]
fn no_input_makes_a_figure_that_is_no_number() {
    let GateRule::Latency { margin, .. } = GateRule::LATENCY else { panic!() };
    let at = |quantile, of| GateRule::Latency {
        quantile: Some(Quantile::new(quantile).unwrap()),
        tolerance: config::Stretch::ZERO,
        margin,
        of,
    };
    let rules = [
        errors(DEFAULT_TOLERANCE),
        error_limit(0.0),
        error_limit(1.0),
        latency_limit(0.9999, 1),
        latency_limit(0.01, 60_000),
        GateRule::LATENCY,
        at(0.01, LatencyOf::Head),
        at(0.9999, LatencyOf::Total),
        GateRule::LATENCY,
        GateRule::Mirror(config::MirrorLimits {
            errors: Some(fraction(1e-9)),
            status: Some(fraction(0.999_999)),
            body: Some(fraction(0.05)),
        }),
    ];
    let mut plan = with_copies(Plan { warmup: Duration::ZERO, ..plan(&rules) });
    plan.gates[8].path = config::PathPrefix::new("/checkout");
    plan.gates[7].role = GateRole::Signal;
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..20 {
        let mut judge = Judge::new(Trial::of(&plan, "v1", "v2"));
        for tick in 0..80 {
            let [stable, baseline, canary] = [0; 3].map(|_| absurd(&mut random));
            let (all, to_canary) = (random.u64(..1_000), random.u64(..1_000));
            let draws = Some(Draws { weight: random.u16(..=10_000), canary: to_canary, all });
            let endpoints = Arms { stable: random.u32(..40), canary: random.u32(..3) };
            judge.tick(&Tick {
                second: tick / 3,
                stable: &stable,
                baseline: &baseline,
                canary: &canary,
                matched: None,
                copies: random.bool().then(|| absurd_copies(&mut random)),
                draws,
                endpoints,
            });
            match random.u8(..20) {
                0 => judge.new_step(),
                1 => judge.begin_anew(),
                2 => judge.acknowledge(),
                _ => {}
            }
            for gate in judge.gates() {
                let figures = gate.log_evidence.into_iter().chain(gate.proof).chain([gate.threshold, gate.progress]);
                let estimates = gate.estimate.into_iter().flat_map(|of| [of.fail_s, of.pass_s]).flatten();
                assert!(figures.chain(estimates).all(f64::is_finite), "{gate:?}");
                let parts = [gate.progress, gate.proof.unwrap_or_default()];
                assert!(parts.iter().all(|part| (0.0..=1.0).contains(part)), "{gate:?}");
            }
            let sound = judge.dispersion().is_none_or(|of| of.errors.is_finite() && of.latency.is_finite());
            assert!(sound, "{:?}", judge.dispersion());
            if tick % 16 == 0 {
                let saved = serde_json::to_string(&judge).unwrap();
                assert_eq!(serde_json::from_str::<Judge>(&saved).unwrap(), judge);
            }
        }
    }
}
