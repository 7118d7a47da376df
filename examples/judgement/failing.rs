//! How requests fail: one by one, in incidents of both versions, in sessions, and in instances.

use crate::chance::Chance;
use crate::service::Service;

/// How often both versions fail where a row says nothing else.
const BASE: f64 = 0.002;
/// How often both fail beside a bad hour of stable.
pub(crate) const BESIDE_BAD_HOUR: f64 = 0.000_5;

/// The law by which requests fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Failures {
    /// Each request by itself; the canary at a rate of its own from some second of the rollout on, at stable's before.
    Alone { stable: f64, canary: f64, from: f64 },
    /// Each by itself, and both versions more at one hour than at another: 0.1 % to 1 % and back in 1 000 s.
    Diurnal,
    /// 0.1 %, and for 15 s in each 250 s 30 %, of both versions: a database, a network.
    Incidents,
    /// All requests of a failing session fail: 6 on average, half a second apart on average, all to one version.
    Sticky,
    /// The rate of each instance sways by itself: its logarithm an AR(1) of standard deviation 1 that forgets in 5 s.
    PodSway,
    /// Each instance fails half of its requests for 1 to 2 s, once in so many seconds on average; 0.1 % otherwise.
    PodBlips { every: f64 },
    /// Each instance fails a fifth of its requests for 20 to 60 s, once in so many seconds on average; 0.1 % otherwise.
    PodIncidents { every: f64 },
    /// The first of stable's instances failed a fifth of its requests for 5 minutes, 25 minutes before the rollout; 0.05 %
    /// fail otherwise. The canary fails at a rate of its own from some second of the rollout on, at stable's before.
    BadHour { canary: f64, from: f64 },
    /// Instances differ for good: the logarithms of their rates with standard deviation 0.5; 0.5 % on average.
    PodsDiffer,
}

impl Failures {
    /// Each request by itself, both versions alike.
    pub(crate) const fn alike(rate: f64) -> Self {
        Self::Alone { stable: rate, canary: rate, from: 0.0 }
    }
}

/// The failing of one rollout's traffic as it goes.
pub(crate) struct Failing {
    law: Failures,
    /// The rate of each pod in the present tick, stable's first.
    pub(crate) rates: Vec<f64>,
    pods: Vec<Pod>,
    /// When in its period a rollout begins.
    phase: f64,
    sessions: Vec<Session>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Pod {
    log_rate: f64,
    blip: (f64, f64),
}

/// When an instance fails more than usual: for how long, and how many of its requests.
#[derive(Debug, Clone, Copy)]
struct Blip {
    /// On average, in seconds.
    every: f64,
    /// In seconds.
    shortest: f64,
    longest: f64,
    /// The part of its requests that fails meanwhile.
    rate: f64,
}

/// A request of a failing session that is yet to come.
#[derive(Debug, Clone, Copy)]
struct Session {
    at: f64,
    to_canary: bool,
    client: usize,
}

impl Failing {
    pub(crate) fn new(law: Failures, service: &Service, chance: &mut Chance) -> Self {
        let pods = (0..service.pods()).map(|_| {
            let log_rate = chance.normal();
            // The first blip comes as if the pod had run for ever.
            Pod { log_rate, blip: (f64::NEG_INFINITY, f64::NEG_INFINITY) }
        });
        let pods: Vec<Pod> = pods.collect();
        let phase = chance.uniform();
        Self { law, rates: vec![0.0; pods.len()], pods, phase, sessions: Vec::new() }
    }

    /// The rates of the tick from `now` for `lasting` seconds. Time runs on from one call to the next.
    pub(crate) fn turn_to(&mut self, now: f64, lasting: f64, service: &Service, chance: &mut Chance) {
        match self.law {
            Failures::Alone { stable, canary, from } => {
                let turned = ((now + lasting - from) / lasting).clamp(0.0, 1.0);
                self.rates.fill(stable);
                self.rates[service.stable_pods..].fill(stable + turned * (canary - stable));
            }
            Failures::Diurnal => {
                let turn = std::f64::consts::TAU * (now / 1_000.0 + self.phase);
                self.rates.fill(0.001 + 0.009 * 0.5 * (1.0 - turn.cos()));
            }
            Failures::Incidents => {
                let within = (now + 250.0 * self.phase).rem_euclid(250.0) < 15.0;
                self.rates.fill(if within { 0.3 } else { 0.001 });
            }
            Failures::Sticky => self.rates.fill(0.0),
            Failures::PodSway => self.sway(lasting, chance),
            Failures::PodBlips { every } => {
                let blip = Blip { every, shortest: 1.0, longest: 2.0, rate: 0.5 };
                self.blip(now, lasting, blip, chance);
            }
            Failures::PodIncidents { every } => {
                let blip = Blip { every, shortest: 20.0, longest: 60.0, rate: 0.2 };
                self.blip(now, lasting, blip, chance);
            }
            Failures::BadHour { canary, from } => {
                let broken = now + lasting > from;
                self.rates.fill(BESIDE_BAD_HOUR);
                self.rates[0] = if (-1_500.0..-1_200.0).contains(&now) { 0.2 } else { BESIDE_BAD_HOUR };
                self.rates[service.stable_pods..].fill(if broken { canary } else { BESIDE_BAD_HOUR });
            }
            Failures::PodsDiffer => {
                for (rate, pod) in self.rates.iter_mut().zip(&self.pods) {
                    *rate = 0.005 * (0.5 * pod.log_rate - 0.125).exp();
                }
            }
        }
    }

    fn sway(&mut self, lasting: f64, chance: &mut Chance) {
        let kept = (-lasting / 5.0).exp();
        let fresh = (1.0 - kept * kept).sqrt();
        for (rate, pod) in self.rates.iter_mut().zip(&mut self.pods) {
            pod.log_rate = kept * pod.log_rate + fresh * chance.normal();
            *rate = BASE * (pod.log_rate - 0.5).exp();
        }
    }

    fn blip(
        &mut self,
        now: f64,
        lasting: f64,
        Blip { every, shortest, longest, rate: bad }: Blip,
        chance: &mut Chance,
    ) {
        for (rate, pod) in self.rates.iter_mut().zip(&mut self.pods) {
            if pod.blip.1 <= now {
                let begins = pod.blip.1.max(now) + chance.exponential(every);
                pod.blip = (begins, begins + shortest + (longest - shortest) * chance.uniform());
            }
            let overlap = (pod.blip.1.min(now + lasting) - pod.blip.0.max(now)).max(0.0) / lasting;
            *rate = 0.001 + (bad - 0.001) * overlap;
        }
    }

    /// The failing requests of sessions in this tick: whether to the canary, and the group of their client.
    pub(crate) fn of_sessions(
        &mut self,
        now: f64,
        lasting: f64,
        expected: [f64; 2],
        chance: &mut Chance,
        mut each: impl FnMut(bool, usize, &mut Chance),
    ) {
        if !self.keyed() {
            return;
        }
        for (to_canary, requests) in [(false, expected[0]), (true, expected[1])] {
            for _ in 0..crate::chance::Arrivals::default().draw(requests * BASE / 6.0, chance) {
                let client = chance.one_of(meter::GROUPS);
                let mut at = now + lasting * chance.uniform();
                for _ in 0..chance.geometric(6.0) {
                    self.sessions.push(Session { at, to_canary, client });
                    at += chance.exponential(0.5);
                }
            }
        }
        self.sessions.retain(|session| {
            let due = session.at < now + lasting;
            if due {
                each(session.to_canary, session.client, chance);
            }
            !due
        });
    }

    /// Whether versions are drawn by the clients' affinity keys: a session's requests go where its first one went.
    pub(crate) fn keyed(&self) -> bool {
        self.law == Failures::Sticky
    }

    /// Which part of the requests that no session accounts for is good, were all pods alike.
    pub(crate) fn good_beside_sessions(&self) -> f64 {
        if self.keyed() { 1.0 - BASE } else { 1.0 }
    }
}
