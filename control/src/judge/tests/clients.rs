//! Made-up clients: what versions answer them, drawn from a seed.

use super::*;

/// Clients of a service whose latencies are log-normal around 20 ms, and twice that to the last byte.
pub(in crate::judge) struct Clients {
    pub(in crate::judge) random: fastrand::Rng,
}

/// How a version answers.
#[derive(Clone, Copy)]
pub(in crate::judge) struct Answers {
    /// The part that fails.
    pub(in crate::judge) failing: f64,
    /// The part that times out.
    pub(in crate::judge) hanging: f64,
    /// All latencies are so many times as long.
    pub(in crate::judge) slower: f64,
    /// Those beyond p95 are so many times as long, besides.
    pub(in crate::judge) slower_beyond_p95: f64,
}

impl Answers {
    pub(in crate::judge) const WELL: Self = Self { failing: 0.001, hanging: 0.0, slower: 1.0, slower_beyond_p95: 1.0 };
}

impl Clients {
    pub(in crate::judge) fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed) }
    }

    fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.random.f64(), self.random.f64());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// What a version did to so many requests without a key, from clients of every group, on two endpoints.
    pub(in crate::judge) fn ask(&mut self, requests: u64, answers: Answers) -> Window {
        let mut window = Window::default();
        for _ in 0..requests {
            let (group, endpoint) = (self.random.usize(..meter::GROUPS), self.random.usize(..2));
            let class = match self.random.f64() {
                draw if draw < answers.failing => Class::ServerError,
                draw if draw < answers.failing + answers.hanging => Class::Timeout,
                _ => Class::Success,
            };
            window.judged[class as usize] += 1;
            let z = self.normal();
            let tail = if z > 1.645 { answers.slower_beyond_p95 } else { 1.0 };
            let us = (20_000.0 * answers.slower * tail * (0.7 * z).exp()) as u64;
            if class == Class::Success {
                window.latency_good.record_us(us);
                window.total_good.record_us(2 * us);
            }
            window.clients.seen |= 1 << group;
            window.clients.bad |= u16::from(class.is_bad()) << group;
            let endpoint = &mut window.endpoints[endpoint];
            endpoint.requests += 1;
            endpoint.bad += u64::from(class.is_bad());
            endpoint.timed += u64::from(class == Class::Success);
            if class == Class::Success {
                endpoint.over[0] += u64::from(us > 20_000);
                endpoint.over[1] += u64::from(us > 63_000);
            }
        }
        window.drawn = meter::Drawn { all: requests, at_random: requests, ended: requests, lost: 0 };
        window
    }

    /// What is learnt from so many seconds of stable traffic.
    pub(in crate::judge) fn background(&mut self, seconds: i64, per_second: u64) -> Background {
        let mut background = Background::default();
        (0..seconds).for_each(|second| background.observe(second - seconds, &self.ask(per_second, Answers::WELL)));
        background
    }
}

/// One rollout under such clients: ticks of a second.
pub(in crate::judge) struct Rollout {
    pub(in crate::judge) clients: Clients,
    pub(in crate::judge) judge: Judge,
    pub(in crate::judge) second: i64,
    /// Requests a second to stable, and to the canary.
    pub(in crate::judge) requests: Arms<u64>,
}

impl Rollout {
    /// Of a plan, with stable known from before.
    pub(in crate::judge) fn of(seed: u64, plan: &Plan) -> Self {
        let mut clients = Clients::new(seed);
        let background = clients.background(30, 200);
        let judge = Judge::new(Trial { background, ..Trial::of(plan, "v1", "v2") });
        Self { clients, judge, second: 0, requests: Arms { stable: 400, canary: 100 } }
    }

    /// Of these gates, without a warm-up.
    pub(in crate::judge) fn warm(seed: u64, rules: &[GateRule]) -> Self {
        Self::of(seed, &Plan { warmup: Duration::ZERO, ..plan(rules) })
    }

    pub(in crate::judge) fn seconds(&mut self, seconds: i64, stable: Answers, canary: Answers) {
        for _ in 0..seconds {
            let Arms { stable: of_stable, canary: of_canary } = self.requests;
            let (stable, canary) = (self.clients.ask(of_stable, stable), self.clients.ask(of_canary, canary));
            self.judge.tick(&Tick::of(self.second, &stable, &canary));
            self.second += 1;
        }
    }

    /// How many seconds of a canary like this it takes to establish harm; none within `most`.
    pub(in crate::judge) fn until_harm(&mut self, most: i64, canary: Answers) -> Option<i64> {
        (1..=most).find(|_| {
            self.seconds(1, Answers::WELL, canary);
            self.judge.judgement().harm.is_some()
        })
    }

    pub(in crate::judge) fn gate(&self, name: &str) -> GateView {
        gate(&self.judge.gates(), name).clone()
    }
}
