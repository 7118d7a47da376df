use libm::exp;

use super::*;
use crate::statistics::exact::{arms, binomial, mean_after};

const MANY: Second = Second { endpoints: Arms { stable: 3, canary: 1 }, failed: 0b11, many: true };

/// Seconds of a hundred requests each to stable and fifty to the canary, so many of which fail in each.
fn seconds(test: &mut Blocks, seconds: u64, of_stable: u64, of_canary: u64) {
    for _ in 0..seconds {
        test.add(1.0, arms(of_stable, of_canary), arms(100, 50));
        test.end_second(MANY);
    }
}

fn evidence_after(blocks: &[bool]) -> f64 {
    let mut test = Blocks::new(1.0, 0.0);
    blocks.iter().for_each(|worse| seconds(&mut test, BLOCK_SECONDS, 0, if *worse { 5 } else { 0 }));
    test.mixture().log_evidence()
}

/// Of all ways to choose the canary's endpoints, the part in which it fails over three times as much as the others.
fn part_of_worse(rates: &[u32], canary: u32) -> f64 {
    let all: u32 = rates.iter().sum();
    let stable = rates.len() as u32 - canary;
    let (mut worse, mut ways) = (0_u32, 0_u32);
    for chosen in (0_u32..1 << rates.len()).filter(|chosen| chosen.count_ones() == canary) {
        let theirs: u32 = rates.iter().enumerate().map(|(place, rate)| rate * (chosen >> place & 1)).sum();
        ways += 1;
        worse += u32::from(theirs * stable > 3 * (all - theirs) * canary);
    }
    f64::from(worse) / f64::from(ways)
}

/// All ways to give so many endpoints one of these rates, in ascending order.
fn every_rates(endpoints: u32, of: &[u32]) -> Vec<Vec<u32>> {
    if endpoints == 0 {
        return vec![Vec::new()];
    }
    let with_last = |(place, last): (usize, u32)| {
        let others = every_rates(endpoints - 1, &of[..=place]).into_iter();
        others.map(move |mut rates| {
            rates.push(last);
            rates
        })
    };
    of.iter().copied().enumerate().flat_map(with_last).collect()
}

#[test]
fn however_endpoints_fail_the_canarys_being_the_worse_one_is_no_likelier_than_the_bound() {
    let (mut largest, mut cases) = (0.0_f64, 0);
    for stable in 1..=6 {
        for canary in 1..=4 {
            let bound = chance_of_worse(arms(stable, canary), arms(1, 1));
            for rates in every_rates(stable + canary, &[0, 1, 2, 4, 13, 40]) {
                let part = part_of_worse(&rates, canary);
                assert!(part <= bound + 1e-12, "{canary} of {rates:?}: {part} is more than {bound}");
                largest = largest.max(part / bound);
                cases += 1;
            }
        }
    }
    assert!(cases > 10_000 && largest > 0.99, "{cases} cases, and the bound is reached: {largest}");
}

#[test]
fn a_canary_of_more_endpoints_than_stable_or_of_far_more_requests_has_longer_odds() {
    let of = |stable, canary| chance_of_worse(arms(stable, canary), arms(100, 100));
    assert_eq!([of(19, 1), of(3, 3), of(1, 1)], [0.5; 3]);
    let close = |ours: f64, theirs: f64| assert!((ours - theirs).abs() < 1e-12, "{ours} is not {theirs}");
    close(of(2, 3), 2.0 / 3.0);
    close(of(1, 4), 0.8);
    let by_requests = |stable, canary| chance_of_worse(arms(3, 1), arms(stable, canary));
    close(by_requests(100, 200), 0.5);
    close(by_requests(100, 201), 0.75);
    close(by_requests(10, 90), 0.9);
}

/// Of one block in which every request has a coin of its own, the mean of E, and the chance that it was worse; but for
/// what hardly ever happens.
fn of_coins(requests: Arms<u64>, rate: f64) -> (f64, f64) {
    let chances = |n: u64| -> Vec<(u64, f64)> {
        let all = binomial(n, rate).into_iter().enumerate().map(|(k, chance)| (k as u64, chance));
        all.filter(|(_, chance)| *chance > 1e-9).collect()
    };
    let (of_stable, of_canary) = (chances(requests.stable), chances(requests.canary));
    let (mut mean, mut worse) = (0.0, 0.0);
    for (stable, chance_b) in &of_stable {
        for (canary, chance_c) in &of_canary {
            let mut test = Blocks::new(1.0, 0.0);
            test.add(1.0, arms(*stable, *canary), requests);
            (0..BLOCK_SECONDS).for_each(|_| test.end_second(MANY));
            mean += chance_b * chance_c * exp(test.mixture().log_evidence());
            worse += chance_b * chance_c * f64::from(u8::from(test.run().worse > 0));
        }
    }
    (mean, worse)
}

#[test]
fn on_requests_with_a_coin_each_it_loses_on_average_at_any_rate_and_any_split() {
    for requests in [arms(100, 100), arms(300, 100), arms(100, 200), arms(100, 300)] {
        for rate in [0.0, 0.005, 0.02, 0.05, 0.2, 1.0] {
            let (mean, worse) = of_coins(requests, rate);
            assert!(mean <= 1.0 + 1e-9 && worse <= 0.5, "{requests:?} at {rate}: {mean}, worse {worse}");
        }
    }
}

#[test]
fn where_each_block_is_worse_with_the_chance_of_the_bound_it_neither_gains_nor_loses() {
    for endpoints in [arms(3, 1), arms(1, 3)] {
        let chance = chance_of_worse(endpoints, arms(500, 500));
        let outcomes = [(chance, 50_u64), (1.0 - chance, 0)];
        let round = |test: &mut Blocks, bad: &u64| {
            test.add(1.0, arms(0, *bad), arms(500, 500));
            (0..BLOCK_SECONDS).for_each(|_| test.end_second(Second { endpoints, ..MANY }));
        };
        let mean = mean_after(8, &Blocks::new(1.0, 0.0), &outcomes, &round, &|test| test.mixture().log_evidence());
        assert!((mean - 1.0).abs() < 1e-9, "{endpoints:?}: {mean}");
    }
}

#[test]
fn steady_harm_is_beyond_the_threshold_of_a_default_gate_within_two_and_a_half_minutes_and_no_burst_is() {
    // The default plan: alpha 0.9 % of the gates, five ninths of it for errors, a tenth of that for blocks.
    let threshold = log(1.0 / (0.009 * 5.0 / 9.0 * 0.1));
    let blocks = (1..100).find(|blocks| evidence_after(&vec![true; *blocks]) >= threshold);
    assert_eq!(blocks, Some(14));
    let bursts = |worse: usize, of: usize, blocks: usize| {
        let blocks: Vec<bool> = (0..blocks).map(|block| block % of < worse).collect();
        evidence_after(&blocks)
    };
    for (worse, of) in [(1, 2), (2, 4), (3, 6), (4, 9)] {
        assert!(bursts(worse, of, 360) < 0.0, "{worse} of {of}: {}", bursts(worse, of, 360));
    }
}

#[test]
fn an_hour_of_good_time_costs_next_to_nothing() {
    let good = vec![false; 360];
    let late: Vec<bool> = good.iter().copied().chain([true; 20]).collect();
    let lost = evidence_after(&[true; 20]) - evidence_after(&late);
    assert!((0.0..1.0).contains(&lost), "{lost} nats: what was staked at the start, and not a block and a half");
}

#[test]
fn a_block_lasts_until_there_were_enough_requests_of_both() {
    let mut test = Blocks::new(1.0, 0.0);
    let second = |test: &mut Blocks| {
        test.add(1.0, arms(0, 1), arms(100, 6));
        test.end_second(MANY);
    };
    (0..16).for_each(|_| second(&mut test));
    assert_eq!(test.run().blocks, 0, "96 requests of the canary are too few");
    second(&mut test);
    assert_eq!(test.run(), Run { worse: 1, blocks: 1, seconds: 17 });
}

#[test]
fn what_is_tolerated_is_not_far_more_nor_is_one_failure_or_one_client() {
    let worse = |(ratio, points), known, [of_stable, of_canary]: [u64; 2], second| {
        let mut test = Blocks::new(ratio, points);
        for _ in 0..BLOCK_SECONDS {
            test.add(known, arms(of_stable, of_canary), arms(100, 100));
            test.end_second(second);
        }
        test.run().worse == 1
    };
    assert!(worse((1.0, 0.0), 1.0, [1, 5], MANY) && !worse((1.0, 0.0), 1.0, [1, 4], MANY));
    assert!(worse((1.0, 0.02), 1.0, [1, 7], MANY) && !worse((1.0, 0.02), 1.0, [1, 6], MANY));
    assert!(worse((2.0, 0.0), 1.0, [1, 8], MANY) && !worse((2.0, 0.0), 1.0, [1, 6], MANY));
    assert!(!worse((1.0, 0.0), 2.0, [1, 6], MANY), "endpoints differ twofold");
    let ill = |of_canary| worse((1.0, 0.0), 50.0, [1, of_canary], MANY);
    assert!(ill(11) && !ill(9), "an endpoint that was ill");
    assert!(!worse((1.0, 0.0), 1.0, [1, 50], Second { failed: 0b100, ..MANY }), "one client of many");
    assert!(worse((1.0, 0.0), 1.0, [1, 50], Second { failed: 0b100, many: false, ..MANY }), "they cannot be told");
    let mut test = Blocks::new(1.0, -0.001);
    test.add(1.0, arms(0, 1), arms(100, 100));
    (0..BLOCK_SECONDS).for_each(|_| test.end_second(MANY));
    assert_eq!(test.run().blocks, 0, "one failure is more than 0.9 % of these, and no more than one");
}

#[test]
fn a_change_of_weight_drops_the_block_that_is_under_way() {
    let mut test = Blocks::new(1.0, 0.0);
    seconds(&mut test, BLOCK_SECONDS - 1, 0, 5);
    test.begin_step();
    seconds(&mut test, BLOCK_SECONDS - 1, 0, 5);
    assert_eq!(test, {
        let mut fresh = Blocks::new(1.0, 0.0);
        seconds(&mut fresh, BLOCK_SECONDS - 1, 0, 5);
        fresh
    });
    seconds(&mut test, 1, 0, 5);
    assert_eq!(test.run().worse, 1);
}

#[test]
fn a_run_of_worse_blocks_ends_once_half_of_them_were_not() {
    let run_of = |blocks: &[bool]| {
        let mut test = Blocks::new(1.0, 0.0);
        blocks.iter().for_each(|worse| seconds(&mut test, BLOCK_SECONDS, 0, u64::from(*worse) * 5));
        test.run()
    };
    assert_eq!(run_of(&[true, true, false]), Run { worse: 2, blocks: 3, seconds: 30 });
    assert_eq!(run_of(&[true, false, true]), Run { worse: 1, blocks: 1, seconds: 10 });
    assert_eq!(run_of(&[true, true, false, false, false]), Run::default());
}

#[test]
fn it_survives_json_at_any_moment_and_what_is_no_number_is_refused() {
    let mut test = Blocks::new(1.1, 0.0005);
    for second in 0..95 {
        test.add(1.3, arms(second % 3, second % 7), arms(90, 40));
        test.end_second(MANY);
        let text = serde_json::to_string(&test.saved()).unwrap();
        let mut restored = Blocks::new(1.1, 0.0005);
        restored.restore(serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(restored, test, "after {second}");
    }
    let (before, SavedBlocks(floats, counts)) = (test.clone(), test.saved());
    let numbers = unpack_floats(&floats).unwrap();
    let with = |place: usize, number: f64| {
        let mut numbers = numbers.clone();
        numbers[place] = number;
        pack_floats(&numbers)
    };
    let endless: Vec<String> = (0..numbers.len()).map(|place| with(place, f64::INFINITY)).collect();
    let other_grid = [pack_floats(&[]), pack_floats(&numbers[1..]), "&".to_owned()];
    for floats in endless.into_iter().chain(other_grid) {
        assert_eq!(test.restore(SavedBlocks(floats, counts.clone())), Err(Misfit));
    }
    let too_many = pack_counts(&[1, 1, 1, 1, 1, 65_536, 1, 1, 1]);
    assert_eq!(test.restore(SavedBlocks(floats, too_many)), Err(Misfit));
    assert_eq!(test, before);
}
