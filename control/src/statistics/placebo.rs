//! How bursty are events, when nothing differs? Learnt from groups of stable's own traffic.
//!
//! Stable's endpoints (or hashes of its clients) all run one version, so what they disagree in beyond chance is
//! dispersion: an instance that pauses, a client all of whose requests fail. A canary on few instances shows the same
//! without being worse, and evidence is tempered by it. An incident that all groups share moves them alike and does
//! not count.

use libm::sqrt;
use serde::{Deserialize, Serialize};

use super::packed::{Damaged, pack_counts, pack_floats, unpack_counts, unpack_floats};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cell {
    /// Requests that ended.
    pub requests: u64,
    /// How many of them were an event.
    pub events: u64,
}

/// The disagreement between groups of stable's traffic over 1, 2, 4 ... blocks, older blocks counting less.
///
/// Groups that have no traffic take no part. Its serialised form is exact and holds finite numbers alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct Placebo {
    decay: f64,
    /// Ended blocks.
    blocks: u64,
    /// Requests and events of each group so far, decayed.
    totals: Vec<(f64, f64)>,
    scales: Vec<Scale>,
}

/// Sums over blocks of one length.
#[derive(Debug, Clone, PartialEq)]
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
        // Most services have fewer groups than there is room for, and many have none: what is not there costs nothing.
        let seen = cells.iter().rposition(|cell| *cell != Cell::default()).map_or(0, |last| last + 1);
        for (place, (requests, events)) in self.totals.iter_mut().enumerate() {
            let cell = cells.get(place).copied().unwrap_or_default();
            *requests = *requests * self.decay + cell.requests as f64;
            *events = *events * self.decay + cell.events as f64;
        }
        let mut decay = self.decay;
        for (place, scale) in self.scales.iter_mut().enumerate() {
            scale.add(&cells[..seen]);
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
        // A group without any has no part in any of the sums.
        let seen = self.cells.iter().filter(|cell| **cell != Cell::default());
        let block = Moments::of(seen.map(|cell| (cell.requests as f64, cell.events as f64)));
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

/// The packed cells (requests and events by turns), the blocks in them, and the packed sums. There are many scales for
/// each service.
#[derive(Serialize, Deserialize)]
struct SavedScale(String, u32, String);

#[derive(Serialize, Deserialize)]
struct Saved {
    decay: f64,
    blocks: u64,
    /// Packed, requests and events by turns.
    totals: String,
    scales: Vec<SavedScale>,
}

impl From<Scale> for SavedScale {
    fn from(Scale { cells, blocks, squares, variance, variance_squares, squares_squares }: Scale) -> Self {
        let cells: Vec<u64> = cells.into_iter().flat_map(|cell| [cell.requests, cell.events]).collect();
        Self(pack_counts(&cells), blocks, pack_floats(&[squares, variance, variance_squares, squares_squares]))
    }
}

impl From<Placebo> for Saved {
    fn from(Placebo { decay, blocks, totals, scales }: Placebo) -> Self {
        let totals: Vec<f64> = totals.into_iter().flat_map(|(requests, events)| [requests, events]).collect();
        let totals = pack_floats(&totals);
        Self { decay, blocks, totals, scales: scales.into_iter().map(SavedScale::from).collect() }
    }
}

impl From<Damaged> for Unfit {
    fn from(_: Damaged) -> Self {
        Self
    }
}

fn figure(x: f64) -> bool {
    x.is_finite() && x >= 0.0
}

impl SavedScale {
    /// The scale of so many groups at this place.
    fn restored(Self(packed, blocks, sums): Self, groups: usize, place: usize) -> Result<Scale, Unfit> {
        let mut counts = vec![0; 2 * groups];
        unpack_counts(&packed, &mut counts)?;
        let cells = counts.as_chunks().0.iter().map(|[requests, events]| Cell { requests: *requests, events: *events });
        let sums: [f64; 4] = unpack_floats(&sums)?.try_into().map_err(|_| Unfit)?;
        if blocks >= 1 << place || !sums.into_iter().all(figure) {
            return Err(Unfit);
        }
        let [squares, variance, variance_squares, squares_squares] = sums;
        Ok(Scale { cells: cells.collect(), blocks, squares, variance, variance_squares, squares_squares })
    }
}

impl TryFrom<Saved> for Placebo {
    type Error = Unfit;

    fn try_from(Saved { decay, blocks, totals, scales }: Saved) -> Result<Self, Unfit> {
        let numbers = unpack_floats(&totals)?;
        let (pairs, rest) = numbers.as_chunks();
        let totals: Vec<(f64, f64)> = pairs.iter().map(|[requests, events]| (*requests, *events)).collect();
        let legal = decay > 0.0
            && decay <= 1.0
            && scales.len() <= MAX_SCALES
            && rest.is_empty()
            && numbers.iter().all(|number| figure(*number));
        if !legal {
            return Err(Unfit);
        }
        let scale = |(place, scale)| SavedScale::restored(scale, totals.len(), place);
        let scales = scales.into_iter().enumerate().map(scale).collect::<Result<_, _>>()?;
        Ok(Self { decay, blocks, totals, scales })
    }
}

#[cfg(test)]
mod tests;
