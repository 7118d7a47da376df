//! What a judge is given at each tick.

use config::Weight;
use meter::Window;
use serde::{Deserialize, Serialize};

use super::Copies;
use crate::view::Arms;

/// What was counted since the last tick.
#[derive(Debug, Clone, Copy)]
pub struct Tick<'a> {
    /// The wall-clock second, Unix time. Blocks of evidence end where it changes.
    pub second: i64,
    /// All of the stable version.
    pub stable: &'a Window,
    /// Whom the canary is compared with: `stable` itself, a slice of it, or another version.
    pub baseline: &'a Window,
    /// The version under test.
    pub canary: &'a Window,
    /// Those on the canary whom the gates that compare leave out, where there are any: not in `canary`.
    pub matched: Option<&'a Window>,
    /// What became of the copies that the canary got; none where the present step sends none.
    pub copies: Option<Copies>,
    /// How the split drew, where it was one and the same since the last tick.
    pub draws: Option<Draws>,
    /// How many endpoints each version has.
    pub endpoints: Arms<u32>,
}

impl<'a> Tick<'a> {
    /// A tick in which the canary is compared with all of stable, of one endpoint each and draws unknown.
    #[must_use]
    pub const fn of(second: i64, stable: &'a Window, canary: &'a Window) -> Self {
        Self {
            second,
            stable,
            baseline: stable,
            canary,
            matched: None,
            copies: None,
            draws: None,
            endpoints: Arms { stable: 1, canary: 1 },
        }
    }
}

/// How requests with random tickets were drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draws {
    /// The canary's weight while they were drawn, above 0 and below 100 %, in basis points.
    pub weight: u16,
    /// To the canary.
    pub canary: u64,
    /// To any version.
    pub all: u64,
}

impl Draws {
    /// Draws under this weight; none where it leaves nothing to chance.
    #[must_use]
    pub fn under(weight: Weight, canary: u64, all: u64) -> Option<Self> {
        let chance = weight > Weight::ZERO && weight < Weight::FULL;
        chance.then_some(Self { weight: weight.basis_points(), canary, all })
    }
}
