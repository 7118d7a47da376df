//! What is worse for the canary never helps it.

use proptest::prelude::*;

use crate::statistics::levels::LEVELS;
use crate::statistics::{
    Breaker, ErrorProof, Excess, LevelCounts, LimitProof, OverLimit, OverQuantile, QuantileProof, Shape,
};
use crate::view::Arms;

/// Events and requests.
type Batch = (Arms<u64>, Arms<u64>);

/// A test as a function of all batches, each its own block.
type Evidence = fn(&[Batch]) -> f64;

/// Tests that look for harm, each with what it says after all batches.
const GUARDS: [(&str, Evidence); 5] = [
    ("errors", |batches| {
        let mut test = Excess::new(1.1, 0.0005, 0.005);
        for (events, requests) in batches {
            test.add(*events, *requests, 1.7);
            test.mixture_mut().end_block();
            test.mixture_mut().invest(0.1);
        }
        test.mixture().log_evidence()
    }),
    ("quantile p50", |batches| over_quantile(0.5, batches)),
    ("quantile p99", |batches| over_quantile(0.99, batches)),
    ("limit", |batches| {
        let mut test = OverLimit::new(0.05, 0.001);
        for (events, requests) in batches {
            test.add(events.canary, requests.canary, 1.7);
            test.mixture_mut().end_block();
            test.mixture_mut().invest(0.1);
        }
        test.mixture().log_evidence()
    }),
    // Where suspicion moves cash, a failure that came to nothing has cost the cash that was staked on it. What a failure
    // says in its own batch is the same in both.
    ("breaker", |batches| {
        let mut test = Breaker::by_the_clock();
        for (events, requests) in batches {
            test.add(*events, *requests, 1.7);
            test.end_batch();
        }
        test.log_evidence()
    }),
];

fn over_quantile(quantile: f64, batches: &[Batch]) -> f64 {
    let mut test = OverQuantile::new(quantile, 0.004);
    for (over, requests) in batches {
        test.add(*over, *requests, 1.7);
        test.mixture_mut().end_block();
        test.mixture_mut().invest(0.1);
    }
    test.mixture().log_evidence()
}

/// Tests that look for proof of no harm.
const PROOFS: [(&str, Evidence); 3] = [
    ("error proof", |batches| {
        let mut test = ErrorProof::new(1.5, 0.001);
        for (events, requests) in batches {
            test.add(*events, *requests, 1.7);
            test.mixture_mut().end_block();
        }
        test.mixture().log_evidence()
    }),
    ("quantile proof", |batches| {
        let mut test = QuantileProof::new(0.95);
        for (over, requests) in batches {
            test.add(*over, *requests, 1.7);
            test.mixture_mut().end_block();
        }
        test.mixture().log_evidence()
    }),
    ("limit proof", |batches| {
        let mut test = LimitProof::new(0.05);
        for (events, requests) in batches {
            test.add(events.canary, requests.canary, 1.7);
            test.mixture_mut().end_block();
        }
        test.mixture().log_evidence()
    }),
];

/// At most so many nats of a difference are rounding.
fn rounding(evidence: f64) -> f64 {
    1e-11 * (1.0 + evidence.abs())
}

fn any_levels() -> impl Strategy<Value = LevelCounts> {
    prop::array::uniform(0u64..30)
}

fn shape(batches: &[Arms<LevelCounts>]) -> f64 {
    let mut test = Shape::new(0.004);
    for levels in batches {
        test.add(levels, 1.7);
        test.mixture_mut().end_block();
        test.mixture_mut().invest(0.1);
    }
    test.mixture().log_evidence()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn one_more_event_of_the_canary_never_helps_it_and_one_more_of_stable_never_hurts_it(
        rows in prop::collection::vec((0u64..40, 0u64..400, 0u64..40, 0u64..40), 1..12),
        at in any::<prop::sample::Index>(),
    ) {
        let batch = |(nc, nb, kc, kb): &(u64, u64, u64, u64)| {
            let events = Arms { stable: *kb.min(nb), canary: *kc.min(nc) };
            (events, Arms { stable: nb + 1, canary: nc + 1 })
        };
        let batches: Vec<Batch> = rows.iter().map(batch).collect();
        let at = at.index(batches.len());
        let (mut canary_worse, mut stable_worse) = (batches.clone(), batches.clone());
        canary_worse[at].0.canary += 1;
        stable_worse[at].0.stable += 1;
        let said = |evidence: Evidence| (evidence(&batches), evidence(&canary_worse), evidence(&stable_worse));
        for (name, evidence) in GUARDS {
            let (base, canary_worse, stable_worse) = said(evidence);
            prop_assert!(canary_worse >= base - rounding(base), "{name}: {canary_worse} after {base}");
            prop_assert!(stable_worse <= base + rounding(base), "{name}: {stable_worse} after {base}");
        }
        for (name, evidence) in PROOFS {
            let (base, canary_worse, stable_worse) = said(evidence);
            prop_assert!(canary_worse <= base + rounding(base), "{name}: {canary_worse} after {base}");
            prop_assert!(stable_worse >= base - rounding(base), "{name}: {stable_worse} after {base}");
        }
    }

    #[test]
    fn one_slower_request_of_the_canary_never_helps_it_and_one_of_stable_never_hurts_it(
        batches in prop::collection::vec((any_levels(), any_levels()), 1..4),
        at in any::<prop::sample::Index>(),
        from in 0usize..LEVELS - 1,
        by in 1usize..LEVELS,
    ) {
        let at = at.index(batches.len());
        let mut batches: Vec<_> = batches.into_iter().map(|(stable, canary)| Arms { stable, canary }).collect();
        batches[at].canary[from] += 1;
        batches[at].stable[from] += 1;
        let to = (from + by).min(LEVELS - 1);
        let (mut canary_slower, mut stable_slower) = (batches.clone(), batches.clone());
        canary_slower[at].canary[from] -= 1;
        canary_slower[at].canary[to] += 1;
        stable_slower[at].stable[from] -= 1;
        stable_slower[at].stable[to] += 1;
        let base = shape(&batches);
        prop_assert!(shape(&canary_slower) >= base - rounding(base));
        prop_assert!(shape(&stable_slower) <= base + rounding(base));
    }
}
