//! What measuring costs: recording in the data path, taking a window at the tick, and the merge of latencies against
//! the same merge through the crate `hdrhistogram` (docs/decisions/0002). Run with `cargo bench -p meter`.

use divan::{AllocProfiler, Bencher, black_box};
use hdrhistogram::Histogram;
use meter::{Attempt, Class, GROUPS, LatencyCounts, Outcome, VersionMeter, Window};

/// Shows in the output what was allocated: nothing, once a meter is warm.
#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

/// Latencies of one window.
const LATENCIES: u64 = 1_000;
/// Cores that record them.
const CORES: usize = 2;
/// The range of `hdrhistogram` that has the buckets of [`LatencyCounts`].
const HIGHEST_US: u64 = (1 << 26) - 1;

fn main() {
    divan::main();
}

/// Latencies of 1 to 50 ms, each as likely, in an order that no branch predictor learns.
fn latencies() -> impl Iterator<Item = u64> + Clone {
    // A linear congruential generator: the same numbers in each run.
    let next =
        |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(Some(1), next).map(|state| 1_000 + (state >> 33) % 49_000)
}

fn outcome(number: u64, latency_us: u64) -> Outcome {
    Outcome {
        attempt: Attempt::First,
        class: if number.is_multiple_of(100) { Class::ServerError } else { Class::Success },
        judged: true,
        endpoint: Some((number % 3) as u16),
        group: (number % GROUPS as u64) as u8,
        keyed: true,
        paths: 0,
        total_us: Some(latency_us + 2_000),
        latency_us: Some(latency_us),
    }
}

/// Records one window, spread over the cores.
fn fill(meter: &VersionMeter) {
    for (number, us) in (0..LATENCIES).zip(latencies()) {
        let core = number as usize % CORES;
        meter.begin(core, true);
        meter.record(core, &outcome(number, us));
        meter.end(core, Some(us), true);
    }
}

/// A meter whose every buffer was used and cleared.
fn warm_meter() -> VersionMeter {
    let meter = VersionMeter::new(CORES);
    let mut window = Window::default();
    for _ in 0..3 {
        fill(&meter);
        meter.take(&mut window);
    }
    meter
}

#[divan::bench]
fn record(bencher: Bencher<'_, '_>) {
    let meter = warm_meter();
    fill(&meter);
    let outcomes: Vec<_> = (0..4_096).zip(latencies()).map(|(number, us)| outcome(number, us)).collect();
    let mut next = outcomes.iter().cycle();
    bencher.bench_local(|| {
        if let Some(outcome) = next.next() {
            meter.record(0, black_box(outcome));
        }
    });
}

/// As [`record`], where the request is on two paths that gates judge by themselves.
#[divan::bench]
fn record_on_two_paths(bencher: Bencher<'_, '_>) {
    let meter = warm_meter();
    let outcomes: Vec<_> =
        (0..4_096).zip(latencies()).map(|(number, us)| Outcome { paths: 0b101, ..outcome(number, us) }).collect();
    outcomes.iter().for_each(|outcome| meter.record(0, outcome));
    let mut next = outcomes.iter().cycle();
    bencher.bench_local(|| {
        if let Some(outcome) = next.next() {
            meter.record(0, black_box(outcome));
        }
    });
}

#[divan::bench]
fn begin_record_and_end(bencher: Bencher<'_, '_>) {
    let meter = warm_meter();
    fill(&meter);
    let outcomes: Vec<_> = (0..4_096).zip(latencies()).map(|(number, us)| outcome(number, us)).collect();
    let mut next = outcomes.iter().cycle();
    bencher.bench_local(|| {
        if let Some(outcome) = next.next() {
            meter.begin(0, true);
            meter.record(0, black_box(outcome));
            meter.end(0, outcome.latency_us, true);
        }
    });
}

/// Latencies and durations both, as each tick does for each version.
#[divan::bench(sample_size = 1, sample_count = 2_000)]
fn take(bencher: Bencher<'_, '_>) {
    let meter = warm_meter();
    let mut window = Window::default();
    // The window's own first allocations are no part of a tick.
    fill(&meter);
    meter.take(&mut window);
    bencher.with_inputs(|| fill(&meter)).bench_local_values(|()| meter.take(black_box(&mut window)));
}

/// The shards' counts into a window, and the window into a tally.
#[divan::bench(sample_size = 1, sample_count = 2_000)]
fn merge_latency_counts(bencher: Bencher<'_, '_>) {
    let mut shards = vec![LatencyCounts::<u32>::default(); CORES];
    for (number, us) in (0..LATENCIES as usize).zip(latencies()) {
        shards[number % CORES].record_us(us);
    }
    let (mut window, mut tally) = (LatencyCounts::<u64>::default(), LatencyCounts::<u64>::default());
    window.merge(&shards[0]);
    tally.merge(&window);
    bencher.with_inputs(|| shards.clone()).bench_local_refs(|shards| {
        window.clear();
        for shard in shards {
            window.merge(shard);
            shard.clear();
        }
        tally.merge(black_box(&window));
    });
}

/// The same through `hdrhistogram`, whose `add` between different counter types walks the recorded buckets.
#[divan::bench(sample_size = 1, sample_count = 2_000)]
fn merge_hdrhistogram(bencher: Bencher<'_, '_>) {
    let shard = Histogram::<u32>::new_with_bounds(1, HIGHEST_US, 2).expect("the bounds are legal");
    let mut shards = vec![shard; CORES];
    for (number, us) in (0..LATENCIES as usize).zip(latencies()) {
        shards[number % CORES].saturating_record(us);
    }
    let mut window = Histogram::<u64>::new_with_bounds(1, HIGHEST_US, 2).expect("the bounds are legal");
    let mut tally = window.clone();
    bencher.with_inputs(|| shards.clone()).bench_local_refs(|shards| {
        window.reset();
        for shard in shards {
            for step in shard.iter_recorded() {
                window.saturating_record_n(step.value_iterated_to(), step.count_at_value().into());
            }
            shard.reset();
        }
        // The bounds are the same, so this cannot fail; a failure would only make it look faster.
        assert!(tally.add(black_box(&window)).is_ok());
    });
}
