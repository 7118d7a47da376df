//! Looks at the traffic: windows for the tests of running rollouts, figures for people, and what is known of stable
//! traffic for the rollouts to come.

use std::ops::Bound;
use std::time::Duration;

use config::{Baseline, Name};
use meter::Window;

use super::Now;
use super::core::ControlCore;
use super::estimates::{Present, Traffic};
use super::judged::Ticked;
use super::served::Served;
use crate::judge::{Copies, Draws, Judge, Judgement, Tick, unanswered};
use crate::plane::DataPlane;
use crate::rollout::{Change, Event, Exhibit, Moment, Rollout, State};
use crate::view::Arms;

/// Estimates are for people who plan: each service's are looked at once in so many ticks, and each tick looks at a part
/// of the services.
const ESTIMATED_EACH: usize = 50;

/// So many ticks in a row a split must have been in force before its draws are tested: a request may have been drawn a
/// moment before the split changed and be counted a moment after.
const STEADY_TICKS: u8 = 2;

/// Where what was counted is taken to, used again at each tick.
#[derive(Debug, Default)]
pub(super) struct Windows {
    stable: Window,
    baseline: Window,
    canary: Window,
    matched: Window,
}

/// For how many ticks one split has been in force.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Steadiness {
    generation: u64,
    ticks: u8,
}

impl Steadiness {
    /// Whether all that was drawn since the last tick was drawn under this generation.
    fn holds(&mut self, generation: u64) -> bool {
        if self.generation == generation {
            self.ticks = self.ticks.saturating_add(1);
        } else {
            *self = Self { generation, ticks: 0 };
        }
        self.ticks >= STEADY_TICKS
    }
}

impl ControlCore {
    /// What came before a rollout is not part of it, ended or not.
    pub(super) fn begin_exposure(&mut self, name: &Name) {
        let Some(served) = self.services.get_mut(name) else { return };
        let Some((stable, canary)) = served.compared() else { return };
        let plane = self.plane.as_mut();
        let baseline = served.release.state().running().map(|rollout| rollout.plan.baseline.clone());
        for version in [&stable, &canary] {
            plane.begin_exposure(name, version);
            plane.take(name, version, &mut self.windows.stable);
        }
        plane.take_matched(name, &mut self.windows.matched);
        match baseline {
            Some(Baseline::Version(version)) => {
                plane.begin_exposure(name, &version);
                plane.take(name, &version, &mut self.windows.stable);
            }
            Some(Baseline::Equal) => plane.take_slice(name, &mut self.windows.stable),
            Some(Baseline::Stable) | None => {}
        }
        served.steadiness = Steadiness::default();
        served.copied = plane.mirrored(name, &canary).into();
    }

    /// Feeds the tests of the running rollouts, and does what follows of each: judge, steer, then write.
    pub(super) fn judge_all(&mut self, now: Now, second_over: bool) {
        let mut after = None;
        while let Some((name, change)) = self.judge_up_to_a_change(now, second_over, after.as_ref()) {
            self.perform(now, &name, change);
            after = Some(name);
        }
    }

    /// Feeds the tests of the services after this one, up to the first where something follows.
    fn judge_up_to_a_change(&mut self, now: Now, second_over: bool, after: Option<&Name>) -> Option<(Name, Change)> {
        let moment = self.moment(now);
        let Self { services, plane, windows, .. } = self;
        let rest = services.range_mut::<Name, _>((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded));
        for (name, served) in rest {
            let change = served.judge(name, &moment, second_over, plane.as_mut(), windows);
            if let Some(change) = change.filter(|change| !change.effects.is_empty()) {
                return Some((name.clone(), change));
            }
        }
        None
    }

    /// A second is over: takes the windows of the versions that no rollout compares, and moves on what people see.
    pub(super) fn look_at_the_others(&mut self, now: Now) {
        let Self { services, plane, windows, scratch, bounds_us, .. } = self;
        for (name, served) in services {
            served.look_at_the_others(name, now, plane.as_mut(), &mut windows.stable);
            served.turn(plane.as_ref(), scratch, bounds_us);
        }
    }

    /// Estimates how long verdicts take, for some of the services in each tick.
    pub(super) fn estimate_in_turn(&mut self, second_over: bool) {
        self.ticks = (self.ticks + 1) % ESTIMATED_EACH;
        let usual = self.resolved.configuration.rules.timeouts.first_byte;
        for (place, served) in self.services.values_mut().enumerate() {
            if place % ESTIMATED_EACH == self.ticks || (second_over && served.estimates.due) {
                served.estimate(usual);
            }
        }
    }
}

impl Served {
    /// Feeds the tests of the running rollout what happened since the last tick; what follows from it.
    fn judge(
        &mut self,
        name: &Name,
        moment: &Moment,
        second_over: bool,
        plane: &mut dyn DataPlane,
        windows: &mut Windows,
    ) -> Option<Change> {
        let Self { release, judged, steadiness, copied, calls, instances, .. } = self;
        let (judged, state) = (judged.as_mut()?, release.state());
        let rollout = state.running()?;
        let Rollout { stable, canary, plan, .. } = rollout;
        let Windows { stable: of_stable, baseline: of_baseline, canary: of_canary, matched } = windows;
        plane.take(name, stable, of_stable);
        plane.take(name, canary, of_canary);
        let mut drawn = [of_stable.drawn.at_random, of_canary.drawn.at_random, 0];
        let of_baseline: &Window = match &plan.baseline {
            Baseline::Equal => {
                plane.take_slice(name, of_baseline);
                of_baseline
            }
            Baseline::Version(version) => {
                plane.take(name, version, of_baseline);
                drawn[2] = of_baseline.drawn.at_random;
                of_baseline
            }
            Baseline::Stable => of_stable,
        };
        let leaves_out = plan.leaves_people_out();
        if leaves_out {
            plane.take_matched(name, matched);
        }
        // Those of a step that is over are nobody's: they are taken, and not told.
        let copies = plan.mirrors().then(|| {
            let now = Copies::from(plane.mirrored(name, canary));
            now.since(std::mem::replace(copied, now))
        });
        let (generation, weight) = (state.generation, state.weight_of(canary));
        let instances_of = |version: &Name| instances.get(version).copied().unwrap_or(1);
        let steady = steadiness.holds(generation);
        let tick = Tick {
            second: moment.wall.as_second(),
            stable: of_stable,
            baseline: of_baseline,
            canary: of_canary,
            matched: leaves_out.then_some(&*matched),
            copies: copies.filter(|_| rollout.mirror().is_some()),
            draws: Draws::under(weight, drawn[1], drawn.iter().sum()).filter(|_| steady),
            endpoints: Arms { stable: instances_of(stable), canary: instances_of(canary) },
        };
        judged.tick(Ticked { at: moment.wall, generation, weight }, &tick);
        let judge = judged.judge();
        let second = second_of(moment.elapsed);
        let waiting = [stable, canary].map(|version| plane.waiting(name, version, second));
        let unanswered = unanswered(&waiting[0], &waiting[1]);
        let judgement = Judgement { unanswered, is_short: plane.is_short(), ..judge.judgement() };
        // Sentences cost more than the tests: they are made where somebody will read them.
        let now = Calls::of(&judgement);
        let is_news = std::mem::replace(calls, now) != now;
        let exhibit = (second_over || is_news || release.is_due(moment, &judgement)).then(|| exhibit(judge));
        release.transition(moment, Event::Judged { judgement, exhibit }).ok()
    }

    /// Takes the windows of the versions that no rollout compares.
    fn look_at_the_others(&mut self, name: &Name, now: Now, plane: &mut dyn DataPlane, window: &mut Window) {
        let Self { release, judged, known, .. } = self;
        let state = release.state();
        known.follow(&state.stable);
        for version in &release.service().versions {
            if is_taken_each_tick(state, &version.name) {
                continue;
            }
            plane.take(name, &version.name, window);
            // Nobody asks who waits; but whoever does next is to know since when.
            let _ = plane.waiting(name, &version.name, second_of(now.elapsed));
            if version.name == state.stable && judged.is_none() {
                known.observe(now.wall.as_second(), window);
            }
        }
        let background = judged.as_ref().map_or(known.background(), |judged| judged.judge().background());
        let watched = background.watched_us();
        known.watch(name, watched, plane);
    }

    /// Estimates how long verdicts take: for the steps that are left, or for the service's own plan. `first_byte` is how
    /// long services wait for the head of a response that do not say it themselves.
    pub(super) fn estimate(&mut self, first_byte: Duration) {
        let state = self.release.state();
        let shown = |name: &Name| self.figures.get(name).map(super::figures::Figures::shown).unwrap_or_default();
        let versions = &self.release.service().versions;
        let traffic = Traffic {
            requests_per_second: versions.iter().map(|version| shown(&version.name).judged_per_second).sum(),
            error_rate: shown(&state.stable).judged_error_rate.unwrap_or(0.0),
            first_byte: self.release.service().timeouts.first_byte.unwrap_or(first_byte),
        };
        let (plan, present, phi) = match (state.running(), &self.judged) {
            (Some(rollout), Some(judged)) => {
                let present = Present { step: rollout.step, weight: Some(state.weight_of(&rollout.canary)) };
                (&rollout.plan, present, judged.judge().dispersion())
            }
            (_, _) => (&self.release.service().plan, Present::default(), self.known.background().dispersion()),
        };
        self.estimates.renew(plan, present, traffic, phi);
    }
}

/// The second of a moment, for those who count who waits.
fn second_of(elapsed: Duration) -> u32 {
    u32::try_from(elapsed.as_secs()).unwrap_or(u32::MAX)
}

/// What people see of the evidence.
pub(super) fn exhibit(judge: &Judge) -> Exhibit {
    Exhibit { gates: judge.gates(), dispersion: judge.dispersion() }
}

/// What a person or the split is to hear of at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Calls {
    harm: bool,
    hold: bool,
    signal: bool,
    traffic: bool,
}

impl Calls {
    const fn of(judgement: &Judgement) -> Self {
        let Judgement { harm, hold, signal, traffic, .. } = judgement;
        Self { harm: harm.is_some(), hold: hold.is_some(), signal: signal.is_some(), traffic: traffic.is_some() }
    }
}

/// Whether a running rollout takes this version's windows.
fn is_taken_each_tick(state: &State, version: &Name) -> bool {
    let Some(rollout) = state.running() else { return false };
    let is_baseline = matches!(&rollout.plan.baseline, Baseline::Version(baseline) if baseline == version);
    is_baseline || *version == rollout.stable || *version == rollout.canary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_tested_once_a_split_was_in_force_for_two_whole_ticks() {
        let mut steadiness = Steadiness::default();
        let held = [7, 7, 7, 7, 8, 8, 8, 7].map(|generation| steadiness.holds(generation));
        assert_eq!(held, [false, false, true, true, false, false, true, false]);
    }
}
