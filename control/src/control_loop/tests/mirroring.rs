//! Copies that the canary gets, from the data plane to the judgement; and connections that last on a version that has left.

use super::exposure::Core;
use super::*;

const MIRRORED: &str = "services: { shop: { stable: v1, \
    versions: { v1: { endpoints: ['127.0.0.1:1'] }, v2: { endpoints: ['127.0.0.1:2'] } }, \
    plan: { drain: 20s, gates: [{ errors: {} }, { mirror: { status: 1% } }], \
            steps: [{ mirror: 10%, hold: 10s }, { weight: 5%, hold: 1h }] } } }";

impl Core {
    /// So many more copies are compared, with another status so often.
    fn copied(&self, compared: u64, status: u64) {
        let mut copies = self.plane.copies.lock();
        copies.sent += compared;
        copies.ended += compared;
        copies.compared += compared;
        copies.status += status;
    }

    fn shop(&self) -> ServiceView {
        self.core.snapshot().load().services["shop"].view.clone()
    }

    fn rollout(&self) -> RolloutView {
        self.shop().rollout.unwrap()
    }

    fn mirror(&self) -> Option<Weight> {
        self.plane.splits.lock()[&name("shop")].mirror
    }
}

#[test]
fn a_canary_whose_copies_are_answered_alike_comes_to_users() {
    let mut world = Core::rolling_out(MIRRORED);
    assert_eq!(world.mirror().map(Weight::basis_points), Some(1_000));
    for _ in 0..12 {
        world.copied(30, 0);
        world.go_on(1);
    }
    let rollout = world.rollout();
    assert_eq!((rollout.step, rollout.weight, rollout.mirror), (2, 500, None), "{:?}", rollout.reason);
    assert_eq!(rollout.copies.map(|copies| copies.compared >= 300), Some(true), "{rollout:?}");
    assert_eq!(world.mirror(), None);
}

#[test]
fn one_whose_copies_are_answered_with_another_status_is_taken_back_without_a_user() {
    let mut world = Core::rolling_out(MIRRORED);
    for _ in 0..9 {
        world.copied(60, 30);
        world.go_on(1);
    }
    let rollout = world.rollout();
    assert_eq!((rollout.phase, rollout.weight, rollout.requests.canary), (Phase::RolledBack, 0, 0));
    let reason = rollout.reason.unwrap();
    assert!(reason.contains("copied requests with another status than v1"), "{reason}");
    assert_eq!(world.mirror(), None);
    let mirrored = world.shop().versions[1].mirror.clone().unwrap();
    assert_eq!((mirrored.compared, mirrored.status), (540, 270), "the version's own count stays");
}

#[test]
fn what_was_copied_before_the_rollout_is_none_of_it() {
    let before = Core::rolling_out(MIRRORED);
    before.copied(1_000, 1_000);
    let mut world = before;
    // Another rollout of the same version begins.
    world.handle(Command::Act {
        service: name("shop"),
        action: Action::Abort,
        reason: None,
        reply: oneshot::channel().0,
    });
    world.start();
    for _ in 0..5 {
        world.copied(30, 0);
        world.go_on(1);
    }
    let rollout = world.rollout();
    assert_eq!((rollout.phase, rollout.copies.map(|copies| copies.status)), (Phase::Progressing, Some(0)));
}

#[test]
fn connections_that_last_on_a_version_that_was_taken_back_are_asked_to_end_after_its_drain() {
    let mut world = Core::rolling_out(MIRRORED);
    world.handle(Command::Act {
        service: name("shop"),
        action: Action::Skip,
        reason: None,
        reply: oneshot::channel().0,
    });
    world.go_on(2);
    assert_eq!((world.rollout().weight, world.shop().versions[1].leaving.clone()), (500, None));
    world.handle(Command::Act {
        service: name("shop"),
        action: Action::Abort,
        reason: None,
        reply: oneshot::channel().0,
    });
    world.go_on(11);
    let (v1, v2) = (world.shop().versions[0].clone(), world.shop().versions[1].clone());
    assert_eq!((v1.long_lived, v1.leaving, v2.long_lived), (3, None, 3));
    assert_eq!(v2.leaving.map(|leaving| (leaving.asked, leaving.asked_in_s)), Some((false, Some(10.0))));
    assert!(world.plane.ended.lock().is_empty());
    world.go_on(11);
    assert_eq!(*world.plane.ended.lock(), ["v2"]);
    let (told, _) = world.core.events().follow(None);
    let drained: Vec<_> = told.iter().filter(|event| event.kind == "drain").map(|event| event.text.as_str()).collect();
    assert_eq!(drained, ["v2: 3 long-lived connections asked to end, 20 s after it left"]);
    assert_eq!(world.shop().versions[1].leaving.clone().map(|leaving| leaving.asked), Some(true));
}
