//! Newtypes for the units of a configuration, each with one fallible constructor.

use std::fmt;

/// A number that its unit does not allow.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{value} is out of range: legal is {legal}")]
pub struct OutOfRange {
    /// What was given.
    pub value: f64,
    /// What is legal, in words.
    pub legal: &'static str,
}

/// A number of bytes, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(u64);

impl Bytes {
    /// How sizes are written: each unit and its bytes.
    pub(crate) const UNITS: [(&'static str, u64); 5] =
        [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
    /// The most that a file may say: a pebibyte, which every kind of number can hold.
    pub(crate) const MOST: u64 = 1 << 50;

    /// So many bytes; an error for none.
    pub fn new(bytes: u64) -> Result<Self, OutOfRange> {
        if bytes == 0 {
            return Err(OutOfRange { value: 0.0, legal: "at least 1 byte" });
        }
        Ok(Self(bytes))
    }

    /// So many KiB, for sizes known when the program is built; 0 is one byte.
    #[must_use]
    pub const fn kib(kib: u64) -> Self {
        Self(if kib == 0 { 1 } else { kib * 1024 })
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Bytes {
    /// As the operator writes it, exactly and in the largest unit that it is a whole number of: `8KiB`, `1000B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) =
            Self::UNITS.into_iter().find(|(_, factor)| self.0.is_multiple_of(*factor)).unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

/// One version's share of a service's traffic, in basis points (0.01 %), 0 to 10 000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Weight(u16);

impl Weight {
    /// No traffic.
    pub const ZERO: Self = Self(0);
    /// All traffic.
    pub const FULL: Self = Self(10_000);

    /// A weight of `basis_points`; an error above 10 000.
    pub fn from_basis_points(basis_points: u16) -> Result<Self, OutOfRange> {
        if basis_points > Self::FULL.0 {
            return Err(OutOfRange { value: f64::from(basis_points), legal: "0 to 10000 basis points" });
        }
        Ok(Self(basis_points))
    }

    /// A weight of whole percents, for weights known when the program is built; above 100 is all traffic.
    pub(crate) const fn whole_percent(percent: u16) -> Self {
        Self(if percent < 100 { percent * 100 } else { 10_000 })
    }

    /// The weight in basis points.
    #[must_use]
    pub const fn basis_points(self) -> u16 {
        self.0
    }

    /// What is left for the other version.
    #[must_use]
    pub const fn complement(self) -> Self {
        Self(Self::FULL.0 - self.0)
    }

    /// The weight as a fraction, 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::FULL.0)
    }
}

impl fmt::Display for Weight {
    /// As the operator writes it: `5%`, `0.25%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 100.0)
    }
}

/// A fraction of requests, 0 to 1: an error rate, a difference of error rates.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Fraction(f64);

impl Fraction {
    /// Nothing.
    pub const ZERO: Self = Self(0.0);
    /// Everything.
    pub const ONE: Self = Self(1.0);
    /// 0.05 %: what the error gate tolerates in points where nothing is written.
    pub(crate) const TOLERATED: Self = Self(0.0005);
    /// 0.1 %: what the error gate rules out in points to pass, where nothing is written.
    pub(crate) const MARGIN: Self = Self(0.001);

    /// So many hundredths; everything from 100 on.
    pub(crate) const fn percent(hundredths: u8) -> Self {
        if hundredths < 100 { Self(hundredths as f64 / 100.0) } else { Self::ONE }
    }

    /// A fraction; an error outside 0 to 1 and for NaN.
    pub fn new(value: f64) -> Result<Self, OutOfRange> {
        if (0.0..=1.0).contains(&value) {
            return Ok(Self(value));
        }
        Err(OutOfRange { value, legal: "0% to 100%" })
    }

    /// Twice as much, at most all.
    pub(crate) fn twice(self) -> Self {
        Self((2.0 * self.0).min(1.0))
    }

    /// The fraction, 0 to 1.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Fraction {
    /// As the operator writes it: `0.1%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", percents(self.0))
    }
}

/// The chance of a false rollback over a whole rollout: above 0, below 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Alpha(f64);

impl Alpha {
    /// 1 %: the alpha where none is written.
    pub const DEFAULT: Self = Self(0.01);

    /// An alpha; an error unless it is between 0.0001 % and 50 %.
    pub fn new(value: f64) -> Result<Self, OutOfRange> {
        if (1e-6..=0.5).contains(&value) {
            return Ok(Self(value));
        }
        Err(OutOfRange { value, legal: "0.0001% to 50%" })
    }

    /// The probability.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Alpha {
    /// As the operator writes it: `1%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", percents(self.0))
    }
}

/// The chance that harm of a gate's margin passes the gate in one step: above 0, below 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Beta(f64);

impl Beta {
    /// 5 %: the beta where none is written.
    pub const DEFAULT: Self = Self(0.05);

    /// A beta; an error unless it is between 0.0001 % and 50 %.
    pub fn new(value: f64) -> Result<Self, OutOfRange> {
        if (1e-6..=0.5).contains(&value) {
            return Ok(Self(value));
        }
        Err(OutOfRange { value, legal: "0.0001% to 50%" })
    }

    /// The probability.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Beta {
    /// As the operator writes it: `5%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", percents(self.0))
    }
}

/// By how much a latency is longer, as a fraction of it: 0.1 is a tenth longer.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Stretch(f64);

impl Stretch {
    /// No longer at all.
    pub const ZERO: Self = Self(0.0);
    /// 5 %: what the latency gate tolerates where nothing is written.
    pub(crate) const TOLERATED: Self = Self(0.05);
    /// 25 %: what it rules out to pass at quantiles up to p95, where nothing is written.
    pub(crate) const MARGIN: Self = Self(0.25);
    /// 50 %: what it rules out to pass above p95, where nothing is written.
    pub(crate) const TAIL_MARGIN: Self = Self(0.5);

    /// A stretch; an error outside 0 to 100 (ten thousand percent) and for NaN.
    pub fn new(value: f64) -> Result<Self, OutOfRange> {
        if (0.0..=100.0).contains(&value) {
            return Ok(Self(value));
        }
        Err(OutOfRange { value, legal: "0% to 10000%" })
    }

    /// Twice as much, at most 10 000 %.
    pub(crate) fn twice(self) -> Self {
        Self((2.0 * self.0).min(100.0))
    }

    /// The fraction, 0 to 100.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Stretch {
    /// As the operator writes it: `10%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", percents(self.0))
    }
}

/// A quantile of a distribution, written `p50`, `p99`, `p99.9`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Quantile(f64);

impl Quantile {
    /// p99: the quantile where none is written.
    pub const P99: Self = Self(0.99);

    /// A quantile by its probability; an error unless it is from 0.01 to 0.9999.
    pub fn new(value: f64) -> Result<Self, OutOfRange> {
        if (0.01..=0.9999).contains(&value) {
            return Ok(Self(value));
        }
        Err(OutOfRange { value, legal: "p1 to p99.99" })
    }

    /// The probability, 0.01 to 0.9999.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded to the finest digit that is legal: 0.999 * 100 is not 99.9 in binary.
        write!(f, "p{}", (self.0 * 1e6).round() / 1e4)
    }
}

/// A fraction in percent for people: 0.07 * 100 is not 7 in binary.
fn percents(fraction: f64) -> f64 {
    let rounded = (fraction * 1e10).round() / 1e8;
    // What is so small that it would read as nothing is shown in full.
    if rounded == 0.0 { fraction * 100.0 } else { rounded }
}
