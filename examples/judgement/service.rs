//! A simulated service: two versions under traffic, counted tick by tick as the data path counts.

use config::Weight;
use control::judge::{Background, Draws, Judge, Tick};
use control::statistics::edges::Latencies;
use control::view::Arms;
use meter::{Class, GROUPS, GroupCounts, LatencyCounts, Tally, Window};

use crate::chance::{Arrivals, Chance, scaled};
use crate::failing::{Failing, Failures};
use crate::request::Request;
use crate::swaying::{Swaying, Timing};

/// The wall-clock second at which rollouts begin.
const BEGIN: i64 = 1_700_000_000;

/// How much traffic a service has, and over how many instances.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service {
    /// Requests a second.
    pub(crate) rate: f64,
    /// The canary's weight in basis points.
    pub(crate) weight: u16,
    /// Instances of the stable version.
    pub(crate) stable_pods: usize,
    /// Instances of the canary.
    pub(crate) canary_pods: usize,
    /// 10, or 1 where nothing quicker is asked.
    pub(crate) ticks_a_second: u32,
}

impl Service {
    /// 1 000 requests a second, 5 % of them to the canary, an instance for each 50; ten ticks a second.
    pub(crate) const USUAL: Self =
        Self { rate: 1_000.0, weight: 500, stable_pods: 19, canary_pods: 1, ticks_a_second: 10 };

    /// The same, looked at once a second.
    pub(crate) const fn by_the_second(self) -> Self {
        Self { ticks_a_second: 1, ..self }
    }

    /// The canary's part of the requests.
    pub(crate) fn share(&self) -> f64 {
        f64::from(self.weight) / 10_000.0
    }

    /// All instances.
    pub(crate) const fn pods(&self) -> usize {
        self.stable_pods + self.canary_pods
    }

    /// Seconds from tick to tick.
    pub(crate) fn tick(&self) -> f64 {
        1.0 / f64::from(self.ticks_a_second)
    }
}

/// What a service's traffic is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) service: Service,
    pub(crate) failures: Failures,
    /// None where latencies are not simulated.
    pub(crate) timing: Option<Timing>,
    /// Seconds of stable traffic that are known before the rollout.
    pub(crate) history: u32,
}

/// The traffic of one rollout as it goes.
pub(crate) struct Traffic {
    scene: Scene,
    failing: Failing,
    swaying: Option<Swaying>,
    chance: Chance,
    ticks: u64,
    /// Of the present tick.
    pub(crate) stable: Window,
    /// Of the present tick.
    pub(crate) canary: Window,
    arrivals: [Arrivals; 4],
    /// Good requests of stable in this second that have no groups yet, and where they may belong.
    ungrouped: u64,
    leaning: [f64; GROUPS],
    /// Stable's latencies before the rollout, newer ones counting more.
    pub(crate) past: Latencies,
}

impl Traffic {
    /// Traffic of this kind with chance of its own, and what is known of its stable version when the rollout begins.
    pub(crate) fn begin(scene: Scene, mut chance: Chance) -> (Self, Background) {
        let failing = Failing::new(scene.failures, &scene.service, &mut chance);
        let swaying = scene.timing.map(|timing| Swaying::new(timing, &scene.service, &mut chance));
        let mut traffic = Self {
            scene,
            failing,
            swaying,
            chance,
            ticks: 0,
            stable: Window::default(),
            canary: Window::default(),
            arrivals: Default::default(),
            ungrouped: 0,
            leaning: [0.0; GROUPS],
            past: Latencies::default(),
        };
        let background = traffic.learn();
        (traffic, background)
    }

    /// The seconds before the rollout, in which stable has all requests.
    fn learn(&mut self) -> Background {
        let alone = Service { weight: 0, ticks_a_second: 1, ..self.scene.service };
        let service = std::mem::replace(&mut self.scene.service, alone);
        let mut background = Background::default();
        for second in -i64::from(self.scene.history)..0 {
            let watched = background.watched_us();
            self.fill(second as f64, watched);
            self.group();
            background.observe(BEGIN + second, &self.stable);
            self.past.observe(&self.stable.latency_good);
            self.past.end_second();
        }
        self.scene.service = service;
        background
    }

    /// Seconds since the rollout began, at the end of the present tick.
    pub(crate) fn elapsed(&self) -> f64 {
        self.ticks as f64 * self.scene.service.tick()
    }

    /// Goes on to the next tick. `watched` are the latencies that groups are counted over.
    pub(crate) fn advance(&mut self, watched: Option<[u64; 2]>) {
        self.fill(self.elapsed(), watched);
        self.ticks += 1;
        if self.second_ends() {
            self.group();
        }
    }

    /// From the next tick on the canary has this weight, in basis points.
    pub(crate) fn turn_to(&mut self, weight: u16) {
        self.scene.service.weight = weight;
    }

    /// Whether the present tick is the last of its second.
    pub(crate) fn second_ends(&self) -> bool {
        self.ticks.is_multiple_of(u64::from(self.scene.service.ticks_a_second))
    }

    /// The present tick as a judge takes it.
    pub(crate) fn tick(&self) -> Tick<'_> {
        let service = &self.scene.service;
        let second = (self.ticks.max(1) - 1) / u64::from(service.ticks_a_second);
        let (stable, canary) = (self.stable.requests(), self.canary.requests());
        let weight = Weight::from_basis_points(service.weight).ok().filter(|_| !self.failing.keyed());
        Tick {
            copies: None,
            second: BEGIN + second as i64,
            stable: &self.stable,
            baseline: &self.stable,
            canary: &self.canary,
            matched: None,
            draws: weight.and_then(|weight| Draws::under(weight, canary, stable + canary)),
            endpoints: Arms { stable: service.stable_pods as u32, canary: service.canary_pods as u32 },
        }
    }

    /// Lets the judge see the next tick.
    pub(crate) fn show(&mut self, judge: &mut Judge) {
        self.advance(judge.background().watched_us());
        judge.tick(&self.tick());
    }

    /// A moment of chance that belongs to this rollout.
    pub(crate) fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }

    fn fill(&mut self, now: f64, watched: Option<[u64; 2]>) {
        let Self { scene: Scene { service, .. }, failing, swaying, chance, stable, canary, arrivals, .. } = self;
        let lasting = service.tick();
        stable.clear();
        canary.clear();
        failing.turn_to(now, lasting, service, chance);
        let all = service.rate * lasting;
        let expected = [all * (1.0 - service.share()), all * service.share()];
        let rates = failing.rates.split_at(service.stable_pods);
        let (beside, keyed) = (failing.good_beside_sessions(), failing.keyed());
        let [good_stable, bad_stable, good_canary, bad_canary] = arrivals;
        let mut good = [0, 0];
        for (arm, (rates, window)) in [(rates.0, &mut *stable), (rates.1, &mut *canary)].into_iter().enumerate() {
            let (goods, bads) =
                if arm == 0 { (&mut *good_stable, &mut *bad_stable) } else { (&mut *good_canary, &mut *bad_canary) };
            let each = expected[arm] / rates.len().max(1) as f64;
            let sum: f64 = rates.iter().sum();
            for _ in 0..bads.draw(each * sum, chance) {
                let client = chance.one_of(GROUPS);
                Request { pod: pod_of(rates, sum, chance), client, keyed }.fail(window);
            }
            good[arm] = goods.draw((expected[arm] - each * sum) * beside, chance);
        }
        failing.of_sessions(now, lasting, expected, chance, |to_canary, client, chance| {
            let (window, pods) =
                if to_canary { (&mut *canary, service.canary_pods) } else { (&mut *stable, service.stable_pods) };
            Request { pod: chance.one_of(pods), client, keyed }.fail(window);
        });
        stable.judged[Class::Success as usize] += good[0];
        canary.judged[Class::Success as usize] += good[1];
        if let Some(swaying) = swaying {
            swaying.turn_to(now, lasting, chance);
            swaying.fill(stable, good[0], 0..service.stable_pods, keyed, watched, chance);
            swaying.fill(canary, good[1], service.stable_pods..service.pods(), keyed, None, chance);
        } else {
            for _ in 0..good[1] {
                let bits = chance.bits();
                let request =
                    Request { pod: scaled(bits >> 32, service.canary_pods), client: bits as usize % GROUPS, keyed };
                request.groups(canary).for_each(|group| group.requests += 1);
            }
            self.ungrouped += good[0];
            // So many requests come from clients of every group.
            self.stable.clients.seen = u16::MAX;
            let pods = self.failing.rates.iter().take(self.scene.service.stable_pods).enumerate();
            pods.for_each(|(pod, rate)| self.leaning[pod % GROUPS] += 1.0 - rate);
        }
    }

    /// Gives this second's good requests of stable their groups: as many draws as groups, not as requests. Only whole
    /// seconds of groups are ever looked at.
    fn group(&mut self) {
        let Self { chance, stable, ungrouped, leaning, .. } = self;
        spread(&mut stable.endpoints, *ungrouped, leaning, chance);
        if self.failing.keyed() {
            spread(&mut stable.groups, *ungrouped, &[1.0; GROUPS], chance);
        }
        *ungrouped = 0;
        *leaning = [0.0; GROUPS];
    }
}

/// Spreads requests over groups: each belongs where it may, each place as likely as it weighs.
fn spread(groups: &mut [GroupCounts; GROUPS], mut requests: u64, weights: &[f64; GROUPS], chance: &mut Chance) {
    let mut left: f64 = weights.iter().sum();
    for (place, (group, weight)) in groups.iter_mut().zip(weights).enumerate() {
        let last = place + 1 == GROUPS || left <= *weight;
        let here = if last { requests } else { chance.binomial(requests, weight / left) };
        group.requests += here;
        requests -= here;
        left -= weight;
    }
}

/// A pod, each as likely as its part of the rates.
fn pod_of(rates: &[f64], sum: f64, chance: &mut Chance) -> usize {
    let mut left = chance.uniform() * sum;
    let hit = rates.iter().position(|rate| {
        left -= rate;
        left < 0.0
    });
    hit.unwrap_or(rates.len().saturating_sub(1))
}

/// What both versions did over some ticks, for the rules that look only now and then.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) requests: Arms<u64>,
    pub(crate) bad: Arms<u64>,
    pub(crate) latencies: Arms<LatencyCounts>,
}

impl Seen {
    /// Adds a tick.
    pub(crate) fn add(&mut self, stable: &Tally, canary: &Tally) {
        self.requests.stable += stable.requests();
        self.requests.canary += canary.requests();
        self.bad.stable += stable.bad();
        self.bad.canary += canary.bad();
        self.latencies.stable.merge(&stable.latency_good);
        self.latencies.canary.merge(&canary.latency_good);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        (self.requests, self.bad) = (Arms::default(), Arms::default());
        self.latencies.stable.clear();
        self.latencies.canary.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timing::Latency;

    const ALL: [Failures; 7] = [
        Failures::alike(0.01),
        Failures::Diurnal,
        Failures::Incidents,
        Failures::Sticky,
        Failures::PodSway,
        Failures::PodBlips { every: 200.0 },
        Failures::PodsDiffer,
    ];

    fn scene(service: Service, failures: Failures) -> Scene {
        Scene { service, failures, timing: None, history: 0 }
    }

    /// Requests and failures of both versions over so many seconds.
    fn sums(scene: Scene, seconds: f64, number: u64) -> (Arms<u64>, Arms<u64>) {
        let (mut traffic, _) = Traffic::begin(scene, Chance::of(1, "sums", number));
        let mut seen = Seen::default();
        while traffic.elapsed() < seconds {
            traffic.advance(None);
            seen.add(&traffic.stable, &traffic.canary);
        }
        (seen.requests, seen.bad)
    }

    #[test]
    fn both_versions_of_every_law_fail_as_often_as_it_says_and_get_their_share() {
        let means = [0.01, 0.0055, 0.001 + 0.299 * 15.0 / 250.0, 0.002, 0.002, 0.001 + 0.499 * 1.5 / 201.5, 0.005];
        for (law, mean) in ALL.into_iter().zip(means) {
            // Many pods, so that the luck of one does not decide.
            let service = Service { weight: 5_000, canary_pods: 40, stable_pods: 40, ..Service::USUAL.by_the_second() };
            let runs = (0..6).map(|number| sums(scene(service, law), 1_000.0, number));
            let (requests, bad): (Vec<_>, Vec<_>) = runs.unzip();
            let sum = |counts: &[Arms<u64>], arm: fn(&Arms<u64>) -> u64| counts.iter().map(arm).sum::<u64>() as f64;
            for arm in [|arms: &Arms<u64>| arms.stable, |arms: &Arms<u64>| arms.canary] {
                assert!((sum(&requests, arm) / 3e6 - 1.0).abs() < 0.01, "{law:?}: {}", sum(&requests, arm));
                let rate = sum(&bad, arm) / sum(&requests, arm);
                assert!((rate / mean - 1.0).abs() < 0.12, "{law:?}: {rate} is not {mean}");
            }
        }
    }

    #[test]
    fn at_the_end_of_a_second_every_request_has_an_endpoint_and_every_keyed_one_its_group() {
        for timing in [None, Some(Timing::alike(Latency::bimodal()))] {
            for failures in ALL {
                let scene = Scene { timing, ..scene(Service::USUAL, failures) };
                let (mut traffic, _) = Traffic::begin(scene, Chance::of(1, "groups", 0));
                let (mut stable, mut canary) = (Window::default(), Window::default());
                for _ in 0..30 {
                    traffic.advance(Some([20_000, 60_000]));
                    stable.merge(&traffic.stable);
                    canary.merge(&traffic.canary);
                }
                let keyed = failures == Failures::Sticky;
                for window in [&stable, &canary] {
                    assert_eq!(window.groups.iter().any(|group| group.requests > 0), keyed, "{failures:?}");
                    assert_eq!(window.clients.seen.count_ones() as usize, GROUPS, "{failures:?}");
                    for groups in [Some(&window.endpoints), keyed.then_some(&window.groups)].into_iter().flatten() {
                        let sum = |count: fn(&GroupCounts) -> u64| groups.iter().map(count).sum::<u64>();
                        assert_eq!(sum(|group| group.requests), window.requests(), "{failures:?}");
                        assert_eq!(sum(|group| group.bad), window.bad(), "{failures:?}");
                        assert_eq!(sum(|group| group.timed), window.latency_good.total(), "{failures:?}");
                    }
                }
                // 19 endpoints in 16 groups: three have two.
                let share = stable.endpoints[0].requests as f64 / stable.requests() as f64;
                assert!((share / (2.0 / 19.0) - 1.0).abs() < 0.15, "{failures:?}: {share}");
            }
        }
    }

    #[test]
    fn a_blip_hits_one_instance_and_a_session_one_key() {
        let burstiest = |failures, groups: fn(&Window) -> &[GroupCounts; GROUPS]| {
            let (mut traffic, _) = Traffic::begin(scene(Service::USUAL, failures), Chance::of(1, "bursts", 0));
            let mut most = 0;
            for _ in 0..6_000 {
                traffic.advance(None);
                most = most.max(groups(&traffic.stable).iter().map(|group| group.bad).max().unwrap());
            }
            most
        };
        let blips = Failures::PodBlips { every: 200.0 };
        assert!(burstiest(blips, |window| &window.endpoints) >= 5);
        assert!(burstiest(Failures::Sticky, |window| &window.groups) >= 3);
        assert!(burstiest(Failures::alike(0.002), |window| &window.endpoints) <= 4);
    }
}
