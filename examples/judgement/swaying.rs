//! How latencies sway over time and over instances.

use std::ops::Range;

use meter::{GROUPS, Window};

use crate::chance::{Chance, scaled};
use crate::request::Request;
use crate::service::Service;
use crate::timing::Latency;

/// How long the requests of each version take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) stable: Latency,
    pub(crate) canary: Latency,
    pub(crate) sway: Sway,
}

impl Timing {
    /// Both versions alike, and always the same.
    pub(crate) const fn alike(latency: Latency) -> Self {
        Self { stable: latency, canary: latency, sway: Sway::None }
    }
}

/// What makes latencies longer or shorter, whatever the version.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sway {
    /// Nothing.
    None,
    /// Both versions take up to half longer and up to half shorter, over 1 000 s.
    Drift,
    /// Both versions take four times as long for 15 s in each 250 s.
    Incidents,
    /// Each instance sways by itself: the logarithm an AR(1) of this standard deviation that forgets in 5 s.
    Pods { sd: f64 },
}

/// The latencies of one rollout's traffic as it goes.
pub(crate) struct Swaying {
    timing: Timing,
    phase: f64,
    /// For each pod, how many times as long as usual it takes at present.
    factors: Vec<f64>,
    /// For each pod, the state of its AR(1).
    states: Vec<f64>,
}

impl Swaying {
    pub(crate) fn new(timing: Timing, service: &Service, chance: &mut Chance) -> Self {
        let states: Vec<f64> = (0..service.pods()).map(|_| chance.normal()).collect();
        Self { timing, phase: chance.uniform(), factors: vec![1.0; states.len()], states }
    }

    /// The factors of the tick from `now` for `lasting` seconds.
    pub(crate) fn turn_to(&mut self, now: f64, lasting: f64, chance: &mut Chance) {
        match self.timing.sway {
            Sway::None => {}
            Sway::Drift => {
                let turn = std::f64::consts::TAU * (now / 1_000.0 + self.phase);
                self.factors.fill(1.0 + 0.5 * turn.sin());
            }
            Sway::Incidents => {
                let within = (now + 250.0 * self.phase).rem_euclid(250.0) < 15.0;
                self.factors.fill(if within { 4.0 } else { 1.0 });
            }
            Sway::Pods { sd } => {
                let kept = (-lasting / 5.0).exp();
                for (factor, state) in self.factors.iter_mut().zip(&mut self.states) {
                    *state = kept * *state + (1.0 - kept * kept).sqrt() * chance.normal();
                    *factor = (sd * *state).exp();
                }
            }
        }
    }

    /// Draws so many latencies of good requests on `pods` and counts them, by group too. `watched` as the groups are
    /// counted over; the canary's pods are those whose latencies are the canary's.
    pub(crate) fn fill(
        &self,
        window: &mut Window,
        requests: u64,
        pods: Range<usize>,
        keyed: bool,
        watched: Option<[u64; 2]>,
        chance: &mut Chance,
    ) {
        let latency = if pods.start == 0 { &self.timing.stable } else { &self.timing.canary };
        for _ in 0..requests {
            let bits = chance.bits();
            let request = Request { pod: scaled(bits >> 32, pods.len()), client: bits as usize % GROUPS, keyed };
            let us = (latency.draw(chance) * self.factors[pods.start + request.pod]) as u64;
            window.latency_good.record_us(us);
            for counts in request.groups(window) {
                counts.requests += 1;
                counts.timed += 1;
                if let Some(watched) = watched {
                    let over = counts.over.iter_mut().zip(watched);
                    over.for_each(|(over, edge)| *over += u64::from(us > edge));
                }
            }
        }
    }
}
