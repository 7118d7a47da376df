use super::*;
use crate::statistics::golden::{self, PlaceboBlock, assert_close};
use proptest::prelude::*;

fn cells(block: &PlaceboBlock) -> Vec<Cell> {
    let cell = |(requests, events): (&u64, &u64)| Cell { requests: *requests, events: *events };
    block.requests.iter().zip(&block.events).map(cell).collect()
}

#[test]
fn dispersion_and_spread_agree_with_the_golden_vectors() {
    let scripts = golden::placebos().scripts;
    assert_eq!(scripts.len(), 2);
    let (mut bursty, mut spread) = (false, false);
    for script in scripts {
        let mut placebo = Placebo::new(script.groups, script.scales, script.decay);
        for (at, block) in script.blocks.iter().enumerate() {
            placebo.end_block(&cells(block));
            assert_close(placebo.phi(), block.phi, &format!("phi after block {at} of {}", script.name));
            assert_close(placebo.spread(), block.spread, &format!("spread after block {at} of {}", script.name));
            bursty |= block.phi > 10.0;
            spread |= block.spread > 0.1;
        }
    }
    assert!(bursty && spread);
}

/// Groups as `block` says; the others have no traffic.
fn widened(block: &PlaceboBlock, groups: usize) -> Vec<Cell> {
    let mut wide = cells(block);
    wide.resize(groups, Cell::default());
    wide
}

#[test]
fn groups_without_traffic_change_nothing() {
    for script in golden::placebos().scripts {
        let mut narrow = Placebo::new(script.groups, script.scales, script.decay);
        let mut wide = Placebo::new(16, script.scales, script.decay);
        for block in &script.blocks {
            narrow.end_block(&cells(block));
            wide.end_block(&widened(block, 16));
            assert_eq!(wide.phi().to_bits(), narrow.phi().to_bits());
            assert_eq!(wide.spread().to_bits(), narrow.spread().to_bits());
            assert_eq!(wide.is_measured(), narrow.is_measured());
        }
    }
}

#[test]
fn an_incident_that_all_groups_share_is_no_dispersion() {
    let mut placebo = Placebo::new(8, 7, 1.0);
    for second in 0..300 {
        let events = if (100..160).contains(&second) { 30 } else { 1 };
        placebo.end_block(&[Cell { requests: 100, events }; 8]);
    }
    assert!(placebo.is_measured());
    assert_eq!((placebo.phi(), placebo.spread()), (1.0, 0.0));
}

#[test]
fn one_group_alone_measures_nothing() {
    let mut placebo = Placebo::new(8, 7, 1.0);
    for _ in 0..300 {
        placebo.end_block(&[Cell { requests: 100, events: 50 }]);
    }
    assert!(!placebo.is_measured());
    assert_eq!((placebo.phi(), placebo.spread()), (1.0, 0.0));
}

#[test]
fn what_is_long_past_is_forgotten() {
    let mut placebo = Placebo::new(2, 4, 0.5_f64.powf(1.0 / 60.0));
    for second in 0..120 {
        let mut blip = [Cell { requests: 100, events: 1 }; 2];
        blip[second % 2].events += 20;
        placebo.end_block(&blip);
    }
    let bursty = placebo.phi();
    for _ in 0..1_800 {
        placebo.end_block(&[Cell { requests: 100, events: 5 }; 2]);
    }
    assert!(bursty > 2.0 && placebo.phi() == 1.0, "{bursty}, then {}", placebo.phi());
}

#[test]
fn bigger_instances_have_bigger_bursts_and_smaller_ones_no_smaller() {
    assert_eq!(scale_phi(3.0, 19.0), 39.0);
    assert_eq!(scale_phi(3.0, 0.1), 3.0);
    assert_eq!(scale_phi(1.0, f64::INFINITY), 1.0);
    assert_eq!(tolerance_ratio(1.1, 0.0, 1.0), 1.1);
    assert_close(tolerance_ratio(1.0, 0.1, 1.0), 1.1_f64.powf(2.5), "one to one");
    assert_close(tolerance_ratio(1.0, 0.1, 4.0), 1.2_f64.powf(2.5), "four to one");
}

fn any_block() -> impl Strategy<Value = Vec<Cell>> {
    prop::collection::vec((0u64..=1_000_000_000_000, 0.0..=1.0f64), 0..=16).prop_map(|groups| {
        let cell = |(requests, part): (u64, f64)| Cell { requests, events: (requests as f64 * part) as u64 };
        groups.into_iter().map(cell).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn figures_are_finite_and_a_restored_placebo_goes_on_with_the_same_bits(
        blocks in prop::collection::vec(any_block(), 1..90),
        decay in 0.5..=1.0f64,
        saved_at in any::<prop::sample::Index>(),
    ) {
        let saved_at = saved_at.index(blocks.len());
        let mut placebo = Placebo::new(16, 7, decay);
        let mut restored = placebo.clone();
        for (at, block) in blocks.iter().enumerate() {
            placebo.end_block(block);
            restored.end_block(block);
            if at == saved_at {
                restored = serde_json::from_str(&serde_json::to_string(&placebo).unwrap()).unwrap();
            }
            prop_assert!(placebo.phi() >= 1.0 && placebo.phi().is_finite());
            prop_assert!(placebo.spread() >= 0.0 && placebo.spread().is_finite());
            prop_assert_eq!(restored.phi().to_bits(), placebo.phi().to_bits());
        }
        prop_assert_eq!(restored, placebo);
    }
}

#[test]
fn a_saved_placebo_that_cannot_be_one_is_refused() {
    let mut placebo = Placebo::new(2, 3, 0.9);
    placebo.end_block(&[Cell { requests: 7, events: 1 }]);
    let saved = serde_json::to_value(&placebo).unwrap();
    assert_eq!(serde_json::from_value::<Placebo>(saved.clone()).unwrap(), placebo);
    for (field, wrong) in [
        ("/decay", serde_json::json!(0.0)),
        ("/decay", serde_json::json!(1.5)),
        ("/totals", pack_floats(&[-1.0, 0.0, 1.0, 0.0]).into()),
        ("/totals", pack_floats(&[1.0, 0.0, 1.0]).into()),
        ("/totals", pack_floats(&[1.0, f64::NAN]).into()),
        ("/scales/1/1", serde_json::json!(2)),
        ("/scales/0/2", pack_floats(&[1.0, 1.0, f64::INFINITY, 1.0]).into()),
        ("/scales/0/2", pack_floats(&[1.0; 3]).into()),
        ("/scales/0/0", pack_counts(&[1; 5]).into()),
    ] {
        let mut damaged = saved.clone();
        *damaged.pointer_mut(field).unwrap() = wrong;
        assert!(serde_json::from_value::<Placebo>(damaged).is_err(), "{field}");
    }
}
