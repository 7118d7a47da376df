//! Reloads.

use std::io::{BufReader, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use control::api::ApiOptions;
use control::process::Process;
use serde_json::json;

use crate::SHOP;
use crate::world::{Answer, World, resolved};

#[test]
fn a_reload_answers_what_needs_a_restart_or_every_problem() {
    let world = World::new();
    let answer = world.post("/api/v1/reload", "");
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({ "reloaded": true, "needs_restart": ["the listeners changed"], "notes": ["the plan is kept"] }))
    );
    assert_eq!(world.asked.recv().unwrap(), "reload");

    let problems = || Err(vec!["a.yaml:1:1: services: missing".to_owned(), "a.yaml:2:1: stat: unknown".to_owned()]);
    let world = World::reloading(ApiOptions::default(), Arc::new(problems));
    let answer = world.post("/api/v1/reload", "{}");
    assert_eq!(answer.problem(422)["problems"][1], "a.yaml:2:1: stat: unknown");
    let told = world.asked.recv().unwrap();
    assert_eq!(told, "reload failed: a.yaml:1:1: services: missing; a.yaml:2:1: stat: unknown");
}

#[test]
fn a_reload_that_takes_long_holds_up_nobody() {
    let (finish, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let (tell, begun) = mpsc::channel();
    let slow = move || {
        tell.send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        Ok(resolved())
    };
    let world = World::reloading(ApiOptions::default(), Arc::new(slow));
    let mut reload = world.connect();
    let head = "POST /api/v1/reload HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 0\r\n\r\n";
    reload.write_all(head.as_bytes()).unwrap();
    begun.recv().unwrap();
    assert_eq!(world.get(SHOP).status, 200);
    finish.send(()).unwrap();
    assert_eq!(Answer::read(&mut BufReader::new(reload)).status, 200);
}

#[test]
fn a_reload_that_breaks_is_500_and_the_next_one_is_read_again() {
    let broken = AtomicBool::new(true);
    let read = move || if broken.swap(false, Ordering::SeqCst) { panic!("broken on purpose") } else { Ok(resolved()) };
    let world = World::reloading(ApiOptions::default(), Arc::new(read));
    world.post("/api/v1/reload", "").problem(500);
    assert_eq!(world.post("/api/v1/reload", "").status, 200);
}

#[test]
fn a_reload_while_a_new_process_gets_ready_is_refused_since_nobody_would_keep_it() {
    let process = Process::new(7, "1.2.3");
    let world = World::reloading(
        ApiOptions { process: process.clone(), ..ApiOptions::default() },
        Arc::new(|| panic!("the file is not read")),
    );
    process.upgrades();
    let problem = world.post("/api/v1/reload", "").problem(409);
    assert!(problem["detail"].as_str().unwrap().contains("reload again when the upgrade is over"), "{problem}");
}
