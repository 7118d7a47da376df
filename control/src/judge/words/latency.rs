//! Sentences about latencies that are compared: which part of them is longer, in figures that people know.

use super::Words;
use super::figures::{latency, quantile};
use crate::judge::counting::PROVEN_EDGES;
use crate::judge::profile::{Profile, Reach};
use crate::judge::settings::{Of, tolerated};
use crate::statistics::levels::{EDGE_QUANTILES, Moved};
use crate::view::Arms;

/// A quantile is told where so many of the canary's requests lie beyond it, at the least.
const ENOUGH_BEYOND: f64 = 3.0;
/// What is told of the body: the quantile at which both differ most.
const OF_BODY: [f64; 3] = [0.5, 0.75, 0.9];
/// What is told of the tail: the quantile at which both differ most, of those that people look at.
const OF_TAIL: [f64; 6] = [0.9, 0.95, 0.98, 0.99, 0.997, 0.999];
/// What is told of the whole shape where no part of it stands out.
const OF_SHAPE: [f64; 2] = [0.5, 0.99];

/// The latencies of both versions, and what to look at.
#[derive(Debug, Clone, Copy)]
pub(in crate::judge) struct Compared<'a> {
    pub(in crate::judge) latencies: &'a Arms<Profile>,
    pub(in crate::judge) look_at: LookAt,
}

/// Which quantiles tell the story.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::judge) enum LookAt {
    /// The middle and the tail.
    Shape,
    /// Where the whole shape is proven.
    Proven,
    /// The part that moved.
    Moved(Moved),
    /// This one.
    Quantile(f64),
}

impl Compared<'_> {
    /// The quantiles that are told, where so much longer is tolerated.
    fn quantiles(&self, tolerance: f64) -> Vec<f64> {
        match self.look_at {
            LookAt::Shape => OF_SHAPE.to_vec(),
            LookAt::Proven => PROVEN_EDGES.map(|edge| EDGE_QUANTILES[edge]).to_vec(),
            LookAt::Quantile(quantile) => vec![quantile],
            // Everybody knows what a median is.
            LookAt::Moved(Moved::Body) if self.is_slower(OF_BODY[0], tolerance) => vec![OF_BODY[0]],
            LookAt::Moved(Moved::Body) => vec![self.most_apart(OF_BODY.into_iter(), OF_BODY[0])],
            LookAt::Moved(Moved::Tail { beyond }) => {
                let told = |quantile: &f64| *quantile <= beyond && self.is_known(*quantile);
                let from = OF_TAIL.into_iter().rfind(told).unwrap_or(OF_TAIL[0]);
                let tail = OF_TAIL.into_iter().filter(|quantile| *quantile >= from);
                vec![self.most_apart(tail, from)]
            }
        }
    }

    /// The quantile at which the canary is slower than stable by the most, among those that enough of its requests lie
    /// beyond; `otherwise` where there is none.
    fn most_apart(&self, quantiles: impl Iterator<Item = f64>, otherwise: f64) -> f64 {
        let known = quantiles.filter(|quantile| self.is_known(*quantile));
        let ratios = known.filter_map(|quantile| Some((quantile, self.ratio(quantile)?)));
        ratios.max_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(otherwise, |(quantile, _)| quantile)
    }

    /// Whether enough of the canary's requests lie beyond a quantile.
    fn is_known(&self, quantile: f64) -> bool {
        (1.0 - quantile) * self.latencies.canary.total() as f64 >= ENOUGH_BEYOND
    }

    fn at(&self, quantile: f64) -> Arms<Option<Reach>> {
        let Arms { stable, canary } = self.latencies;
        Arms { stable: stable.quantile(quantile), canary: canary.quantile(quantile) }
    }

    fn ratio(&self, quantile: f64) -> Option<f64> {
        let Arms { stable, canary } = self.at(quantile);
        Some(canary?.us() / stable?.us().max(1.0))
    }

    fn is_slower(&self, quantile: f64, tolerance: f64) -> bool {
        // A bucket of a profile is about 4 % wide.
        const COARSE: f64 = 1.05;
        let Arms { stable: Some(stable), canary: Some(canary) } = self.at(quantile) else { return false };
        canary.us() > tolerated(tolerance).than(stable.us().max(1.0)) * COARSE
    }

    /// Stable's shortest latency among the quantiles that are told, in microseconds.
    pub(super) fn shortest_us(&self, tolerance: f64) -> Option<f64> {
        let told = self.quantiles(tolerance).into_iter();
        told.filter_map(|quantile| self.at(quantile).stable).map(Reach::us).min_by(f64::total_cmp)
    }

    /// Whether the canary is slower than is tolerated at a quantile that is told.
    pub(super) fn looks_slower(&self, tolerance: f64) -> bool {
        self.quantiles(tolerance).into_iter().any(|quantile| self.is_slower(quantile, tolerance))
    }
}

impl Words<'_> {
    /// `v2's p99 is about 412 ms, v1's 300 ms`.
    pub(super) fn latencies(self, compared: Option<Compared<'_>>, tolerance: f64, of: Of) -> String {
        let Self { stable, canary, .. } = self;
        let Some(compared) = compared else { return format!("{canary}'s latencies are not compared yet") };
        let last_byte = match of {
            Of::Head => "",
            Of::Total => " to the last byte",
        };
        let said = |reach: Option<Reach>| reach.map_or_else(|| "none".to_owned(), latency);
        let figures = compared.quantiles(tolerance).into_iter().enumerate().map(|(place, q)| {
            let Arms { stable: of_stable, canary: of_canary } = compared.at(q);
            let about = if matches!(of_canary, Some(Reach::Us(_))) { "about " } else { "" };
            let (of_stable, of_canary, quantile) = (said(of_stable), said(of_canary), quantile(q));
            if place == 0 {
                format!("{canary}'s {quantile}{last_byte} is {about}{of_canary}, {stable}'s {of_stable}")
            } else {
                format!("its {quantile} {of_canary}, {stable}'s {of_stable}")
            }
        });
        figures.collect::<Vec<_>>().join("; ")
    }
}
