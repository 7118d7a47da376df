//! What one tick of a judge costs: the counts of both versions folded into every gate, and the judgement read.

use std::time::Duration;

use config::{Alpha, Fraction, Gate, GateRole, GateRule, LatencyOf, Name, Plan, Quantile, Step, Tolerance, Weight};
use control::judge::{Judge, Tick, Trial};
use divan::{Bencher, black_box};
use meter::{Class, Window};

fn main() {
    divan::main();
}

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
        min_requests: 50,
        steps: vec![Step::of_weight(Weight::FULL, Duration::ZERO)],
        gates: rules.iter().enumerate().filter_map(gate).collect(),
        ..Plan::built_in()
    }
}

fn fraction(value: f64) -> Fraction {
    Fraction::new(value).expect("the fractions here are legal")
}

fn errors() -> GateRule {
    GateRule::Errors { tolerance: Tolerance { ratio: 1.1, points: fraction(0.0005) }, margin: Tolerance::MARGIN }
}

/// A tick of 100 ms: latencies around 20 ms, one failure in a hundred.
fn window(requests: u64) -> Window {
    let mut window = Window::default();
    for request in 0..requests {
        let class = if request % 100 == 99 { Class::ServerError } else { Class::Success };
        window.judged[class as usize] += 1;
        window.latency_good.record_us(10_000 + request * 37 % 20_000);
    }
    window
}

fn bench_ticks(bencher: Bencher<'_, '_>, rules: &[GateRule]) {
    let (stable, canary) = (window(950), window(50));
    let mut judge = Judge::new(Trial::of(&plan(rules), "v1", "v2"));
    let mut tick = 0;
    bencher.bench_local(|| {
        tick += 1;
        judge.tick(&Tick::of(black_box(tick / 10), black_box(&stable), black_box(&canary)));
        judge.judgement()
    });
}

#[divan::bench]
fn default_gates(bencher: Bencher<'_, '_>) {
    bench_ticks(bencher, &[errors(), GateRule::LATENCY]);
}

#[divan::bench]
fn ten_gates(bencher: Bencher<'_, '_>) {
    let limit = |ms| GateRule::LatencyLimit {
        quantile: Quantile::new(0.99).expect("p99 is legal"),
        limit: Duration::from_millis(ms),
        of: LatencyOf::Head,
    };
    let mut rules = vec![errors(), errors(), GateRule::LATENCY];
    rules.extend([0.02, 0.05, 0.1].map(|rate| GateRule::ErrorLimit { limit: fraction(rate) }));
    rules.extend([100, 300, 500, 1_000].map(limit));
    bench_ticks(bencher, &rules);
}
