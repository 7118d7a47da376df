//! Rules that watch one rollout and may take its canary back.

use control::judge::{Background, Judge, Judgement};
use control::statistics::edges::{Latencies, levels};
use control::statistics::levels::{EDGES, Shape};
use control::statistics::{Excess, Mixture};
use control::view::Arms;

use crate::service::{Seen, Traffic};

/// A rule.
pub(crate) trait Watcher {
    /// Sees the present tick, and the second that ends with it. Whether it takes the canary back.
    fn see(&mut self, traffic: &Traffic, second: Option<&Seen>) -> bool;

    /// The canary has another weight from now on.
    fn begin_step(&mut self) {}

    /// What it knows of stable, where it learns that.
    fn background(&self) -> Option<&Background> {
        None
    }

    /// Whether it paused the rollout and asked a person, without taking anything back.
    fn paused(&self) -> bool {
        false
    }
}

/// The judge as the control loop runs it.
pub(crate) struct Judged {
    judge: Judge,
    paused: bool,
}

impl Judged {
    pub(crate) fn new(judge: Judge) -> Self {
        Self { judge, paused: false }
    }
}

impl Watcher for Judged {
    fn see(&mut self, traffic: &Traffic, _second: Option<&Seen>) -> bool {
        self.judge.tick(&traffic.tick());
        let Judgement { harm, hold, signal, traffic, .. } = self.judge.judgement();
        self.paused |= hold.is_some() || signal.is_some() || traffic.is_some();
        harm.is_some()
    }

    fn begin_step(&mut self) {
        self.judge.new_step();
    }

    fn background(&self) -> Option<&Background> {
        Some(self.judge.background())
    }

    fn paused(&self) -> bool {
        self.paused
    }
}

/// The level of the plain tests: what the bounds are worked out for.
pub(crate) const PLAIN_ALPHA: f64 = 0.01;
/// So small that the cap on the evidence of one second, which grows with its logarithm, is out of reach: these tests
/// act at [`PLAIN_ALPHA`] and need not wait for three seconds.
const WITHOUT_CAP: f64 = 1e-300;

/// A test of one kind alone: nothing tolerated, no dispersion, no cap.
pub(crate) struct Plain<T> {
    test: T,
    seconds: u64,
}

/// A test that can run alone.
pub(crate) trait Test {
    fn add(&mut self, traffic: &Traffic);
    fn mixture(&mut self) -> &mut Mixture;
    fn end_second(&mut self, _seconds: u64) {}
}

impl<T: Test> Watcher for Plain<T> {
    fn see(&mut self, traffic: &Traffic, second: Option<&Seen>) -> bool {
        self.test.add(traffic);
        let found = self.test.mixture().log_evidence() >= (1.0 / PLAIN_ALPHA).ln();
        if second.is_some() {
            self.seconds += 1;
            self.test.mixture().end_block();
            // As the judge does: some cash is staked anew every ten seconds.
            if self.seconds.is_multiple_of(10) {
                self.test.mixture().invest(0.25 / ((self.seconds / 10) as f64 + 1.0));
            }
            self.test.end_second(self.seconds);
        }
        found
    }
}

/// The test of errors (T1).
pub(crate) struct Errors(Excess);

impl Plain<Errors> {
    pub(crate) fn errors() -> Self {
        Self { test: Errors(Excess::new(1.0, 0.0, WITHOUT_CAP)), seconds: 0 }
    }
}

impl Test for Errors {
    fn add(&mut self, traffic: &Traffic) {
        let Traffic { stable, canary, .. } = traffic;
        let bad = Arms { stable: stable.bad(), canary: canary.bad() };
        self.0.add(bad, Arms { stable: stable.requests(), canary: canary.requests() }, 1.0);
    }

    fn mixture(&mut self) -> &mut Mixture {
        self.0.mixture_mut()
    }
}

/// The test of the shape of latency (T2), with edges from stable's past minute as the judge has them.
pub(crate) struct Latency {
    shape: Shape,
    past: Latencies,
    edges: Option<[usize; EDGES]>,
}

impl Plain<Latency> {
    pub(crate) fn latency() -> Self {
        let test = Latency { shape: Shape::new(WITHOUT_CAP), past: Latencies::default(), edges: None };
        Self { test, seconds: 0 }
    }

    /// Goes on from what is known of stable.
    pub(crate) fn knowing(mut self, stable: &Latencies) -> Self {
        self.test.past = stable.clone();
        self.test.edges = Some(self.test.past.edges());
        self
    }
}

impl Test for Latency {
    fn add(&mut self, traffic: &Traffic) {
        let Traffic { stable, canary, .. } = traffic;
        if let Some(edges) = &self.edges {
            let of = |window: &meter::Window| levels(window.latency_good.iter(), edges);
            self.shape.add(&Arms { stable: of(stable), canary: of(canary) }, 1.0);
        }
        self.past.observe(&stable.latency_good);
    }

    fn mixture(&mut self) -> &mut Mixture {
        self.shape.mixture_mut()
    }

    fn end_second(&mut self, seconds: u64) {
        self.past.end_second();
        if seconds.is_multiple_of(10) {
            self.edges = Some(self.past.edges());
        }
    }
}

/// What became of one watcher in one rollout.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// When it took the canary back, if it did.
    pub(crate) alarm: Option<Alarm>,
    /// Whether it asked a person.
    pub(crate) paused: bool,
}

/// A canary was taken back.
#[derive(Debug, Clone)]
pub(crate) struct Alarm {
    /// Seconds since the rollout began.
    pub(crate) at: f64,
    /// Requests that the canary had got by then.
    pub(crate) requests: u64,
}

/// The canary's weight from a moment on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// Seconds since the rollout began.
    pub(crate) at: f64,
    /// In basis points.
    pub(crate) weight: u16,
}

/// Lets all watchers see the same rollout, each until it takes the canary back, for at most so many seconds.
pub(crate) fn contest(traffic: &mut Traffic, watchers: &mut [Box<dyn Watcher>], seconds: f64) -> Vec<Outcome> {
    contest_in_steps(traffic, watchers, seconds, &[])
}

/// The same, while the canary's weight turns at these moments, in their order.
pub(crate) fn contest_in_steps(
    traffic: &mut Traffic,
    watchers: &mut [Box<dyn Watcher>],
    seconds: f64,
    mut turns: &[Turn],
) -> Vec<Outcome> {
    let mut alarms: Vec<Option<Alarm>> = watchers.iter().map(|_| None).collect();
    let (mut second, mut requests) = (Seen::default(), 0);
    while alarms.iter().any(Option::is_none) && traffic.elapsed() + 1e-9 < seconds {
        while let Some((turn, later)) = turns.split_first().filter(|(turn, _)| turn.at <= traffic.elapsed() + 1e-9) {
            traffic.turn_to(turn.weight);
            watchers.iter_mut().for_each(|watcher| watcher.begin_step());
            turns = later;
        }
        let watching = watchers.iter().zip(&alarms).filter(|(_, alarm)| alarm.is_none());
        let watched = watching.map(|(watcher, _)| watcher).find_map(|watcher| watcher.background());
        traffic.advance(watched.and_then(Background::watched_us));
        second.add(&traffic.stable, &traffic.canary);
        requests += traffic.canary.requests();
        let ended = traffic.second_ends().then_some(&second);
        for (watcher, alarm) in watchers.iter_mut().zip(&mut alarms).filter(|(_, alarm)| alarm.is_none()) {
            if watcher.see(traffic, ended) {
                *alarm = Some(Alarm { at: traffic.elapsed(), requests });
            }
        }
        if traffic.second_ends() {
            second.clear();
        }
    }
    let ended = watchers.iter().zip(alarms);
    ended.map(|(watcher, alarm)| Outcome { alarm, paused: watcher.paused() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use crate::failing::Failures;
    use crate::gates::{judged, tolerating_nothing, without_warmup};
    use crate::service::{Scene, Service};
    use crate::swaying::{Sway, Timing};
    use crate::timing;

    fn alarms(failures: Failures, slower: f64) -> Vec<bool> {
        let stable = timing::Latency::log_normal();
        let timing = Some(Timing { stable, canary: stable.slower(slower), sway: Sway::None });
        let scene = Scene { service: Service::USUAL.by_the_second(), failures, timing, history: 30 };
        let (mut traffic, background) = Traffic::begin(scene, Chance::of(1, "watch", 0));
        let latency = Plain::latency().knowing(&traffic.past);
        let judge = judged(&without_warmup(tolerating_nothing()), &background);
        let mut watchers: Vec<Box<dyn Watcher>> = vec![Box::new(Plain::errors()), Box::new(latency), judge];
        contest(&mut traffic, &mut watchers, 60.0).into_iter().map(|outcome| outcome.alarm.is_some()).collect()
    }

    /// Counts the canary's requests, and the steps that began.
    #[derive(Default)]
    struct Counting {
        steps: usize,
        requests: std::rc::Rc<std::cell::RefCell<Vec<u64>>>,
    }

    impl Watcher for Counting {
        fn see(&mut self, traffic: &Traffic, _second: Option<&Seen>) -> bool {
            let mut requests = self.requests.borrow_mut();
            requests.resize(self.steps + 1, 0);
            requests[self.steps] += traffic.canary.requests();
            false
        }

        fn begin_step(&mut self) {
            self.steps += 1;
        }
    }

    #[test]
    fn at_each_turn_a_step_begins_and_the_canary_has_the_new_weight() {
        let scene = Scene { service: Service::USUAL, failures: Failures::alike(0.0), timing: None, history: 0 };
        let (mut traffic, _) = Traffic::begin(scene, Chance::of(1, "turns", 0));
        let counting = Counting::default();
        let requests = std::rc::Rc::clone(&counting.requests);
        let turns = [Turn { at: 10.0, weight: 2_000 }, Turn { at: 20.0, weight: 5_000 }];
        contest_in_steps(&mut traffic, &mut [Box::new(counting)], 30.0, &turns);
        let requests = requests.borrow();
        assert_eq!(requests.len(), 3);
        for (requests, expected) in requests.iter().zip([500.0, 2_000.0, 5_000.0]) {
            assert!((*requests as f64 / expected - 1.0).abs() < 0.15, "{requests} is not {expected}");
        }
    }

    #[test]
    fn each_test_finds_its_own_harm_and_the_judge_finds_both() {
        let good = Failures::alike(0.01);
        assert_eq!(alarms(good, 0.0), [false, false, false]);
        assert_eq!(alarms(good, 0.5), [false, true, true]);
        let bad = Failures::Alone { stable: 0.01, canary: 0.2, from: 0.0 };
        assert_eq!(alarms(bad, 0.0), [true, false, true]);
    }
}
