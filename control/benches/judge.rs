//! What one tick of a judge costs: the counts of both versions folded into every gate, and the judgement read.

use std::time::Duration;

use config::{
    Alpha, Fraction, Gate, GateRole, GateRule, LatencyOf, Name, PathPrefix, Plan, Quantile, Step, Tolerance, Weight,
};
use control::judge::{Background, Draws, Judge, Tick, Trial, Waits};
use control::view::Arms;
use divan::{Bencher, black_box};
use meter::{Class, Drawn, GROUPS, GroupCounts, PathTally, Window};

fn main() {
    divan::main();
}

/// Ticks in a second.
const TICKS: i64 = 10;
/// Different ticks that are fed in turn.
const DIFFERENT: usize = 32;

fn plan(rules: &[GateRule]) -> Plan {
    let gate = |(place, rule): (usize, &GateRule)| {
        Name::new(&format!("gate-{place}")).map(|name| Gate {
            name,
            role: GateRole::Guardrail,
            path: None,
            rule: *rule,
        })
    };
    Plan {
        alpha: Alpha::new(0.01).expect("1 % is legal"),
        warmup: Duration::ZERO,
        steps: vec![Step::of_weight(Weight::FULL, Duration::ZERO)],
        gates: rules.iter().enumerate().filter_map(gate).collect(),
        ..Plan::built_in()
    }
}

fn default_plan() -> Plan {
    plan(&[errors(), GateRule::LATENCY])
}

/// Two gates of errors, two of the whole shape (one of them on a path), two of quantiles, and four limits.
fn ten_gates_plan() -> Plan {
    let GateRule::Latency { tolerance, margin, .. } = GateRule::LATENCY else { unreachable!() };
    let at = |quantile, of| GateRule::Latency { quantile: Quantile::new(quantile).ok(), tolerance, margin, of };
    let limit = |ms| GateRule::LatencyLimit {
        quantile: Quantile::new(0.99).expect("p99 is legal"),
        limit: Duration::from_millis(ms),
        of: LatencyOf::Head,
    };
    let mut rules = vec![errors(), errors(), GateRule::LATENCY, GateRule::LATENCY];
    rules.extend([at(0.99, LatencyOf::Head), at(0.5, LatencyOf::Total)]);
    rules.extend([0.02, 0.05].map(|rate| GateRule::ErrorLimit { limit: fraction(rate) }));
    rules.extend([300, 1_000].map(limit));
    let mut plan = plan(&rules);
    for place in [1, 3] {
        plan.gates[place].path = PathPrefix::new("/checkout");
    }
    plan
}

fn fraction(value: f64) -> Fraction {
    Fraction::new(value).expect("the fractions here are legal")
}

fn errors() -> GateRule {
    GateRule::Errors { tolerance: Tolerance { ratio: 1.1, points: fraction(0.0005) }, margin: Tolerance::MARGIN }
}

/// A tick of 100 ms: latencies over hundreds of buckets around 20 ms, one failure in a hundred, a tenth of the requests
/// on the path.
fn window(random: &mut fastrand::Rng, requests: u64) -> Window {
    let mut window = Window::default();
    let mut path = PathTally::default();
    for _ in 0..requests {
        // The sum of uniform draws is near enough to a normal one.
        let normal: f64 = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
        let us = (20_000.0 * (0.7 * normal).exp()) as u64;
        let is_bad = random.u8(..100) == 0;
        let class = if is_bad { Class::ServerError } else { Class::Success };
        window.judged[class as usize] += 1;
        let (group, endpoint) = (random.usize(..GROUPS), random.usize(..GROUPS));
        for counts in [&mut window.groups[group], &mut window.endpoints[endpoint]] {
            let GroupCounts { requests, bad, timed, over } = counts;
            *requests += 1;
            *bad += u64::from(is_bad);
            *timed += u64::from(!is_bad);
            over[0] += u64::from(!is_bad && us > 20_000);
            over[1] += u64::from(!is_bad && us > 63_000);
        }
        if !is_bad {
            window.latency_good.record_us(us);
            window.total_good.record_us(2 * us);
        }
        if random.u8(..10) == 0 {
            path.judged[class as usize] += 1;
            path.latency_good.record_us(us);
        }
    }
    window.paths = vec![path];
    window.drawn = Drawn { all: requests, at_random: requests, ended: requests, lost: 0 };
    window
}

/// Windows of stable and canary, at 5 % of so many requests a tick.
fn windows(requests: u64) -> Vec<(Window, Window)> {
    let mut random = fastrand::Rng::with_seed(1);
    (0..DIFFERENT)
        .map(|_| (window(&mut random, requests * 95 / 100), window(&mut random, requests.div_ceil(20))))
        .collect()
}

fn judge_of(plan: &Plan, windows: &[(Window, Window)]) -> Judge {
    let mut background = Background::default();
    (0..60).for_each(|second| background.observe(second - 60, &windows[second as usize % DIFFERENT].0));
    Judge::new(Trial { background, ..Trial::of(plan, "v1", "v2") })
}

fn tick(at: i64, (stable, canary): &(Window, Window)) -> Tick<'_> {
    let (of_canary, of_stable) = (canary.requests(), stable.requests());
    Tick {
        draws: Some(Draws { weight: 500, canary: of_canary, all: of_canary + of_stable }),
        endpoints: Arms { stable: 16, canary: 2 },
        ..Tick::of(at / TICKS, stable, canary)
    }
}

fn bench_ticks(bencher: Bencher<'_, '_>, plan: &Plan, read: impl Fn(&Judge)) {
    let windows = windows(1_000);
    let (mut judge, mut at) = (judge_of(plan, &windows), 0);
    bencher.bench_local(|| {
        at += 1;
        judge.tick(&tick(black_box(at), black_box(&windows[at as usize % DIFFERENT])));
        read(&judge);
    });
}

fn read_judgement(judge: &Judge) {
    black_box(judge.judgement());
}

fn read_everything(judge: &Judge) {
    black_box((judge.judgement(), judge.gates()));
}

#[divan::bench]
fn default_gates(bencher: Bencher<'_, '_>) {
    bench_ticks(bencher, &default_plan(), read_judgement);
}

#[divan::bench]
fn default_gates_with_their_views(bencher: Bencher<'_, '_>) {
    bench_ticks(bencher, &default_plan(), read_everything);
}

#[divan::bench]
fn ten_gates(bencher: Bencher<'_, '_>) {
    bench_ticks(bencher, &ten_gates_plan(), read_judgement);
}

#[divan::bench]
fn ten_gates_with_their_views(bencher: Bencher<'_, '_>) {
    bench_ticks(bencher, &ten_gates_plan(), read_everything);
}

/// One tick of each of a thousand rollouts at a hundred requests a second each, so that none finds its state in the
/// nearest cache.
#[divan::bench(sample_count = 50)]
fn a_thousand_rollouts(bencher: Bencher<'_, '_>) {
    let windows = windows(10);
    let plan = default_plan();
    let mut judges: Vec<Judge> = (0..1_000).map(|_| judge_of(&plan, &windows)).collect();
    let mut at = 0;
    bencher.bench_local(|| {
        at += 1;
        for judge in &mut judges {
            judge.tick(&tick(black_box(at), black_box(&windows[at as usize % DIFFERENT])));
            read_judgement(judge);
        }
    });
}

#[divan::bench]
fn estimates_before_a_step_begins(bencher: Bencher<'_, '_>) {
    let plan = default_plan();
    let weight = Weight::from_basis_points(500).expect("5 % is legal");
    let phi = control::view::Dispersion { errors: 1.0, latency: 1.0 };
    let waits = Waits { cold_for: plan.warmup, first_byte: Duration::from_secs(15) };
    bencher.bench_local(|| control::judge::forecast(black_box(&plan), weight, 1_000.0, 0.01, phi, waits));
}
