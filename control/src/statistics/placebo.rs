//! How bursty are events, when nothing differs? Learnt from groups of stable's own traffic.
//!
//! Stable's endpoints (or hashes of its clients) all run one version, so what they disagree in beyond chance is
//! dispersion: an instance that pauses, a client all of whose requests fail. A canary on few instances shows the same
//! without being worse, and evidence is tempered by it. An incident that all groups share moves them alike and does
//! not count.

use libm::sqrt;
use serde::{Deserialize, Serialize};

/// Disagreement counts as soon as it is this many standard errors above chance.
const STANDARD_ERRORS: f64 = 2.5;
/// So much variance must be expected by chance before a block length says anything.
const MIN_VARIANCE: f64 = 5.0;
/// So many cells (a group in a block), effectively, must have taken part.
const MIN_CELLS: f64 = 12.0;
/// So many blocks must have passed before groups may be said to differ for good.
const MIN_BLOCKS: u64 = 60;
/// Sizes of instances that differ by more than this are taken for this, so that no figure is ever infinite.
const MAX_SIZE: f64 = 1e6;
/// At most so many block lengths, the longest 2^15 blocks.
const MAX_SCALES: usize = 16;

/// What one group did in one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct Cell {
    /// Requests that ended.
    pub requests: u64,
    /// How many of them were an event.
    pub events: u64,
}

impl From<(u64, u64)> for Cell {
    fn from((requests, events): (u64, u64)) -> Self {
        Self { requests, events }
    }
}

impl From<Cell> for (u64, u64) {
    fn from(cell: Cell) -> Self {
        (cell.requests, cell.events)
    }
}

/// The disagreement between groups of stable's traffic over 1, 2, 4 ... blocks, older blocks counting less.
///
/// Groups that have no traffic take no part. Its serialised form is exact and holds finite numbers alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved")]
pub struct Placebo {
    decay: f64,
    /// Ended blocks.
    blocks: u64,
    /// Requests and events of each group so far, decayed.
    totals: Vec<(f64, f64)>,
    scales: Vec<Scale>,
}

/// Sums over blocks of one length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Scale {
    /// The present block, by group.
    cells: Vec<Cell>,
    /// How many base blocks are in it.
    blocks: u32,
    /// Of squared deviations from the common rate.
    squares: f64,
    /// Of what chance alone gives.
    variance: f64,
    /// Of squares of the cells' variances.
    variance_squares: f64,
    /// Of squares of `squares`, by block.
    squares_squares: f64,
}

impl Placebo {
    /// Nothing seen yet of so many groups, to be looked at over 1, 2, ... `2^(scales - 1)` blocks (at most 16 scales).
    /// `decay` (above 0, at most 1) is what is left of a block's weight after the next.
    #[must_use]
    pub fn new(groups: usize, scales: usize, decay: f64) -> Self {
        let scale = Scale {
            cells: vec![Cell::default(); groups],
            blocks: 0,
            squares: 0.0,
            variance: 0.0,
            variance_squares: 0.0,
            squares_squares: 0.0,
        };
        Self { decay, blocks: 0, totals: vec![(0.0, 0.0); groups], scales: vec![scale; scales.min(MAX_SCALES)] }
    }

    /// Ends a block in which the groups did this, in their order. Groups beyond those it was made for are left out.
    pub fn end_block(&mut self, cells: &[Cell]) {
        self.blocks = self.blocks.saturating_add(1);
        for (place, (requests, events)) in self.totals.iter_mut().enumerate() {
            let cell = cells.get(place).copied().unwrap_or_default();
            *requests = *requests * self.decay + cell.requests as f64;
            *events = *events * self.decay + cell.events as f64;
        }
        let mut decay = self.decay;
        for (place, scale) in self.scales.iter_mut().enumerate() {
            scale.add(cells);
            if scale.blocks >= 1 << place {
                scale.close(decay);
            }
            decay *= decay;
        }
    }

    /// The inflation of variance by bursts, at least 1: that of the worst block length, and one standard error more.
    #[must_use]
    pub fn phi(&self) -> f64 {
        self.scales.iter().filter_map(Scale::inflation).fold(1.0, f64::max)
    }

    /// By how much the groups' rates differ for good, as a fraction of the rate (one standard deviation), beyond what
    /// [`phi`](Self::phi) explains; 0 where they do not.
    #[must_use]
    pub fn spread(&self) -> f64 {
        let Some(moments) = Moments::of(self.totals.iter().copied()) else { return 0.0 };
        // A group that had less than one request in what is remembered is none.
        let groups = self.totals.iter().filter(|(requests, _)| *requests >= 1.0).count();
        if moments.variance < MIN_VARIANCE || self.blocks < MIN_BLOCKS || groups < 2 {
            return 0.0;
        }
        let by_chance = self.phi() * moments.variance;
        if moments.squares <= by_chance * (1.0 + STANDARD_ERRORS * sqrt(2.0 / (groups as f64 - 1.0))) {
            return 0.0;
        }
        sqrt((moments.squares - by_chance) / moments.mean_squares)
    }

    /// Whether enough was seen, at some block length, to say anything of bursts.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.scales.iter().any(|scale| scale.cells_seen().is_some())
    }
}

impl Scale {
    fn add(&mut self, cells: &[Cell]) {
        self.blocks += 1;
        for (mine, theirs) in self.cells.iter_mut().zip(cells) {
            mine.requests = mine.requests.saturating_add(theirs.requests);
            mine.events = mine.events.saturating_add(theirs.events);
        }
    }

    fn close(&mut self, decay: f64) {
        let block = Moments::of(self.cells.iter().map(|cell| (cell.requests as f64, cell.events as f64)));
        self.squares *= decay;
        self.variance *= decay;
        self.variance_squares *= decay;
        self.squares_squares *= decay * decay;
        if let Some(block) = block {
            self.squares += block.squares;
            self.variance += block.variance;
            self.variance_squares += block.variance_squares;
            self.squares_squares += block.squares * block.squares;
        }
        self.blocks = 0;
        self.cells.fill(Cell::default());
    }

    /// The effective number of cells, where there was enough to say anything.
    fn cells_seen(&self) -> Option<f64> {
        let cells = self.variance * self.variance / self.variance_squares;
        (self.variance >= MIN_VARIANCE && cells >= MIN_CELLS).then_some(cells)
    }

    /// The inflation of variance at this block length, where it is beyond chance.
    fn inflation(&self) -> Option<f64> {
        let cells = self.cells_seen()?;
        let inflation = self.squares / self.variance;
        let by_chance = 1.0 + STANDARD_ERRORS * sqrt(2.0 / cells + 1.0 / self.variance);
        (inflation > by_chance).then(|| inflation * (1.0 + sqrt(self.squares_squares) / self.squares))
    }
}

/// Sums over the groups of one block.
#[derive(Debug, Clone, Copy)]
struct Moments {
    /// Squared deviations from the common rate.
    squares: f64,
    /// Their expectation if events fell on requests by chance: the hypergeometric law.
    variance: f64,
    /// Squares of the groups' parts in it.
    variance_squares: f64,
    /// Squares of the groups' expected events.
    mean_squares: f64,
}

impl Moments {
    /// Of groups' requests and events; `None` where all requests are alike and nothing can be said.
    fn of(groups: impl Iterator<Item = (f64, f64)> + Clone) -> Option<Self> {
        let (requests, events) = groups.clone().fold((0.0, 0.0), |(n, k), (ni, ki)| (n + ni, k + ki));
        if requests <= 1.0 || events <= 0.0 || events >= requests {
            return None;
        }
        let factor = events * (requests - events) / (requests - 1.0);
        let mut moments = Self { squares: 0.0, variance: 0.0, variance_squares: 0.0, mean_squares: 0.0 };
        for (of_group, events_of_group) in groups {
            let part = of_group / requests;
            let deviation = events_of_group - events * part;
            let variance = factor * part * (1.0 - part);
            moments.squares += deviation * deviation;
            moments.variance += variance;
            moments.variance_squares += variance * variance;
            moments.mean_squares += events * part * (events * part);
        }
        Some(moments)
    }
}

/// The dispersion for a canary each of whose instances gets `size` times the requests of a stable one: a burst on a
/// bigger instance is bigger. Never below `phi`.
#[must_use]
pub fn scale_phi(phi: f64, size: f64) -> f64 {
    1.0 + (phi - 1.0) * size.clamp(1.0, MAX_SIZE)
}

/// The ratio that the error test tolerates where instances differ for good by `spread`: wide enough that an instance
/// 2.5 standard deviations above the mean is no harm. `size` is how many of stable's endpoints are in a group for each
/// of the canary's: fewer instances average less.
#[must_use]
pub fn tolerance_ratio(ratio: f64, spread: f64, size: f64) -> f64 {
    let one = 1.0 + spread * sqrt(size.clamp(1.0, MAX_SIZE));
    ratio.max(one * one * sqrt(one))
}

/// A saved placebo that cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the saved dispersion has groups that do not fit together, or a figure out of range")]
pub struct Unfit;

#[derive(Deserialize)]
struct Saved {
    decay: f64,
    blocks: u64,
    totals: Vec<(f64, f64)>,
    scales: Vec<Scale>,
}

impl TryFrom<Saved> for Placebo {
    type Error = Unfit;

    fn try_from(Saved { decay, blocks, totals, scales }: Saved) -> Result<Self, Unfit> {
        let figure = |x: f64| x.is_finite() && x >= 0.0;
        let fits = |(place, scale): (usize, &Scale)| {
            let sums = [scale.squares, scale.variance, scale.variance_squares, scale.squares_squares];
            scale.cells.len() == totals.len() && scale.blocks < 1 << place && sums.into_iter().all(figure)
        };
        let legal = decay > 0.0
            && decay <= 1.0
            && scales.len() <= MAX_SCALES
            && totals.iter().all(|(requests, events)| figure(*requests) && figure(*events))
            && scales.iter().enumerate().all(fits);
        if !legal {
            return Err(Unfit);
        }
        Ok(Self { decay, blocks, totals, scales })
    }
}

#[cfg(test)]
mod tests {
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
            ("/totals/0/0", serde_json::json!(-1.0)),
            ("/totals", serde_json::json!([[1.0, 0.0]])),
            ("/scales/1/blocks", serde_json::json!(2)),
            ("/scales/0/squares", serde_json::Value::Null),
        ] {
            let mut damaged = saved.clone();
            *damaged.pointer_mut(field).unwrap() = wrong;
            assert!(serde_json::from_value::<Placebo>(damaged).is_err(), "{field}");
        }
    }
}
