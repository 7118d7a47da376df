//! The shapes that the golden vectors were computed for: 29, on eleven levels, of which those of today are parts.

use std::sync::LazyLock;

use super::{EDGE_QUANTILES, Harms, LEVELS, LevelCounts, Moved};
use crate::statistics::{START_SHARE, golden};

/// How many levels the vectors have.
pub(crate) const COARSE_LEVELS: usize = COARSE_QUANTILES.len() + 1;
/// Their edges.
pub(crate) const COARSE_QUANTILES: [f64; 10] = [0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.98, 0.99, 0.997, 0.999];

/// The shapes of the vectors. A test against them is the one that the vectors describe.
pub(crate) fn harms() -> &'static Harms {
    static HARMS: LazyLock<Harms> = LazyLock::new(|| {
        let vectors = golden::increments();
        assert_eq!(vectors.shape_quantiles, COARSE_QUANTILES);
        let fine = |shape: &Vec<f64>| std::array::from_fn(|level| shape[coarse_level(level)]);
        let shapes = vectors.shapes.iter().zip(&vectors.shape_priors);
        Harms::new(shapes.map(|(shape, prior)| (Moved::Body, fine(shape), *prior)), START_SHARE)
    });
    &HARMS
}

/// The level of the vectors that a level is part of.
fn coarse_level(level: usize) -> usize {
    level.checked_sub(1).map_or(0, |edge| COARSE_QUANTILES.iter().filter(|q| **q <= EDGE_QUANTILES[edge]).count())
}

/// The same counts on all levels: each in the first that is part of its own.
pub(crate) fn finely(coarse: [u64; COARSE_LEVELS]) -> LevelCounts {
    let mut taken = [false; COARSE_LEVELS];
    std::array::from_fn::<_, LEVELS, _>(|level| {
        let of = coarse_level(level);
        if std::mem::replace(&mut taken[of], true) { 0 } else { coarse[of] }
    })
}
