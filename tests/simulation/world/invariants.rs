//! What must hold whatever happens.

use config::Weight;
use control::journal::Journal;
use control::plane::Split;
use control::rollout::{Rollout, State};
use control::view::Phase;

use super::{World, name};
use crate::disk::Disk;

impl World {
    /// What must hold after every single step of the world.
    pub(super) fn check(&mut self) {
        let shop = name("shop");
        let release = self.core.release("shop").unwrap();
        let state = release.state();
        let split = self.traffic.split(&shop).unwrap();
        assert_eq!(split, state.split(), "what is in force is what was published");
        if let Some((canary, weight)) = &split.canary {
            assert_ne!(canary, &split.stable);
            assert!(*weight <= Weight::FULL);
            let was_taken_back = |rollout: &Rollout| rollout.phase == Phase::RolledBack && rollout.canary == *canary;
            assert!(
                *weight > Weight::ZERO || !state.rollout.as_ref().is_some_and(was_taken_back),
                "{canary} was taken back and is still the canary of those who ask for it"
            );
        }
        assert!(
            split.matched.is_none() || state.running().is_some(),
            "people go to the canary of no rollout: {split:?}"
        );
        let step = state.running().and_then(|rollout| rollout.plan.steps.get(rollout.step));
        assert!(
            split.mirror.is_none() || matches!(step, Some(config::Step::Mirror { .. })),
            "copies are sent in no step that sends any: {split:?}"
        );
        check_baseline(state, &split);
        if let Some(rollout) = state.running() {
            assert!(!self.seen.ended_for_good.contains(&rollout.id), "rollout {} runs after its end", rollout.id);
            assert!(rollout.step < rollout.plan.steps.len());
            assert!(rollout.plan.baseline != config::Baseline::Stable || split.baseline.is_none());
            assert!(split.canary.as_ref().is_none_or(|(canary, _)| *canary == rollout.canary));
        }
        if let Some(rollout) = &state.rollout {
            assert!(!rollout.plan.dry_run || rollout.phase != Phase::RolledBack, "a verdict ended a dry run");
            assert!(rollout.plan.dry_run || rollout.would_have_rolled_back == 0);
        }
        let phase = release.phase();
        let legal = release.allowed();
        assert!(legal.is_empty() || phase.is_some());
        let snapshot = self.core.snapshot().load();
        let view = &snapshot.services["shop"].view;
        let sum: u32 = view.versions.iter().map(|version| u32::from(version.weight)).sum();
        assert_eq!(sum, 10_000, "the weights that people see");
        assert_eq!(view.generation, split.generation, "what people see is what is in force");

        if let Some(before) = self.seen.split.replace(split.clone()) {
            assert!(split.generation >= before.generation, "the generation went back: {before:?} then {split:?}");
            if split.generation == before.generation {
                // A canary that waits without weight is nobody's share: it comes and goes with its rollout and the file.
                let weighed = |split: &Split| {
                    let canary = split.canary.clone().filter(|(_, weight)| *weight > Weight::ZERO);
                    Split { canary, ..split.clone() }
                };
                assert_eq!(weighed(&split), weighed(&before), "another split under the same generation");
            }
            self.check_forward(&before, &split);
        }
    }

    /// More canary, or another stable, is on disk before it is in force.
    fn check_forward(&self, before: &Split, now: &Split) {
        let Some((canary, weight)) = &now.canary else { return };
        let gives_people = now.matched.is_some() && now.matched != before.matched;
        let had = before.canary.as_ref().filter(|(had, _)| had == canary).map_or(Weight::ZERO, |(_, weight)| *weight);
        let gives_copies = now.mirror > before.mirror;
        if (*weight <= had && !gives_people && !gives_copies) || before.stable != now.stable {
            return;
        }
        let revision = self.core.release("shop").unwrap().state().revision;
        let (_, replayed) = Journal::open(Disk::of(self.disk.synced())).unwrap();
        let on_disk = replayed.records.get(&name("shop")).map(|record| record.state.revision);
        assert!(on_disk >= Some(revision), "{now:?} is in force and not on disk ({on_disk:?} of {revision})");
    }

    /// A process begins with what is journalled, and never with more canary.
    pub(super) fn check_reboot(&mut self, journalled: Option<&State>) {
        let split = self.traffic.split(&name("shop")).unwrap();
        if let Some(before) = self.seen.split.replace(split.clone()) {
            assert!(split.generation >= before.generation, "the generation went back: {before:?} then {split:?}");
        }
        let Some(journalled) = journalled else { return };
        let file_moved = journalled.file.stable != self.core.release("shop").unwrap().state().file.stable;
        assert!(split.stable == journalled.stable || file_moved, "{split:?} after {journalled:?}");
        if let Some((canary, weight)) = split.canary.filter(|_| !file_moved) {
            assert!(weight <= journalled.weight_of(&canary), "{canary} has {weight} after {journalled:?}");
        }
    }
}

/// A baseline is there only beside a canary that is compared with it, and both leave something of the traffic, or all of
/// it is theirs.
fn check_baseline(state: &State, split: &Split) {
    let Some((baseline, weight)) = &split.baseline else { return };
    let (canary, of_canary) = split.canary.as_ref().expect("nothing is compared");
    assert!(state.running().is_some_and(|rollout| rollout.canary == *canary), "{split:?}");
    assert!(baseline != canary && *weight > Weight::ZERO && weight <= of_canary, "{split:?}");
    assert!(of_canary.basis_points() + weight.basis_points() <= 10_000, "{split:?}");
}
