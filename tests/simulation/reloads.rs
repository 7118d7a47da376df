//! Reloads: what they are answered, and when.

use control::command::Refused;

use crate::SHOP;
use crate::disk::Mood;
use crate::world::{World, answered};

/// A file that gives v2 a share.
fn raised() -> String {
    SHOP.replace("stable: v1", "stable: v1, canary: v2, weight: 10%")
}

#[test]
fn a_reload_that_raises_a_weight_is_answered_once_that_is_on_disk() {
    let mut world = World::new(1, SHOP, 100);
    world.hangs = true;
    let mut answer = world.reload(&raised());
    world.run(2);
    assert_eq!((answered(&mut answer), world.weight()), (None, 0));
    world.hangs = false;
    world.run(1);
    answered(&mut answer).unwrap().unwrap();
    assert_eq!(world.weight(), 1_000);
}

#[test]
fn who_reloads_is_told_that_the_disk_refused_a_weight() {
    let mut world = World::new(1, SHOP, 100);
    world.disk.set_mood(Mood::Full);
    let mut answer = world.reload(&raised());
    world.run(5);
    let refused = answered(&mut answer).unwrap();
    assert!(matches!(refused, Err(Refused::JournalUnwritable(_))), "{refused:?}");
    assert_eq!(world.weight(), 0);
}

#[test]
fn who_waits_for_a_service_that_the_next_reload_removes_is_told_so() {
    let with = |cart: &str| {
        let cart = format!(
            "cart: {{ hosts: [cart.example.com], {cart} versions: {{ v1: {{ endpoints: ['e:1'] }}, v2: {{ endpoints: ['f:1'] }} }} }}"
        );
        SHOP.replace("services: { ", &format!("services: {{ {cart}, "))
    };
    let mut world = World::new(1, &with("stable: v1,"), 100);
    world.hangs = true;
    let mut answer = world.reload(&with("stable: v1, canary: v2, weight: 10%,"));
    assert_eq!(answered(&mut answer), None);
    answered(&mut world.reload(SHOP)).unwrap().unwrap();
    let Some(Err(refused)) = answered(&mut answer) else { panic!("nobody told them") };
    assert_eq!(refused.to_string(), "cart: the service was removed from the configuration");
}

#[test]
fn a_reload_names_the_rollouts_that_keep_another_plan_than_the_files() {
    let mut world = World::new(1, SHOP, 100);
    world.start("v2");
    world.run(1);
    let mut notes = |file: &str| answered(&mut world.reload(file)).unwrap().unwrap().notes;
    assert_eq!(notes(SHOP), [""; 0]);
    let other = SHOP.replace("weight: 50%", "weight: 60%");
    assert_eq!(notes(&other), ["shop: the running rollout of v2 keeps the plan it began with"]);
}
