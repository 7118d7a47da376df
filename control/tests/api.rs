//! The control API as its users meet it: over sockets.

#[path = "api/world.rs"]
mod world;

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use control::api::{self, ApiOptions};
use control::command::Action;
use serde_json::{Value, json};

use world::{Answer, World, event, resolved, snapshot};

const SHOP: &str = "/api/v1/services/shop";

fn tokened() -> World {
    World::with(ApiOptions { token: Some("sesame".into()), ..ApiOptions::default() })
}

/// Tries again until it gives something; fails where it never does.
#[expect(clippy::disallowed_methods, reason = "a bounded poll of a real server needs the real clock")]
fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        thread::yield_now();
    }
}

#[test]
fn services_and_their_rollouts_can_be_read() {
    let world = World::new();
    let services = world.get("/api/v1/services").json();
    assert_eq!(services[0]["service"], "mail");
    assert_eq!(services[1]["service"], "shop");
    let shop = world.get(SHOP);
    assert_eq!((shop.status, shop.headers["content-type"].as_str()), (200, "application/json"));
    assert_eq!(shop.json()["rollout"]["phase"], "progressing");
    let rollout = world.get(&format!("{SHOP}/rollout")).json();
    assert_eq!((&rollout["canary"], &rollout["weight"]), (&json!("v2"), &json!(500)));
    let history = world.get(&format!("{SHOP}/history")).json();
    assert_eq!(history[0]["phase"], "rolled-back");
    assert_eq!(world.get("/api/v1/services/mail/history").json(), json!([]));
}

#[test]
fn a_service_without_a_rollout_says_how_to_begin_one() {
    let detail = World::new().get("/api/v1/services/mail/rollout").detail(404);
    assert_eq!(detail, "mail never had a rollout; begin one with: tidegate rollout start mail --canary VERSION");
}

#[test]
fn a_weight_is_set_and_the_service_after_it_is_answered() {
    let world = World::new();
    let body = r#"{"canary": "v2", "weight": 1000, "if_generation": 42, "reason": "a try"}"#;
    let answer = world.put(&format!("{SHOP}/weights"), body);
    assert_eq!((answer.status, &answer.json()["weight"]), (200, &json!(1_000)));
    assert_eq!(world.asked.recv().unwrap(), "weight shop v2 10% Some(42) a try");
    assert_eq!(world.put(&format!("{SHOP}/weights"), r#"{"weight": 0}"#).status, 200);
    assert_eq!(world.asked.recv().unwrap(), "weight shop - 0% None -");
}

#[test]
fn a_weight_for_another_generation_is_a_conflict_with_the_present_state() {
    let answer = World::new().put(&format!("{SHOP}/weights"), r#"{"weight": 1, "if_generation": 41}"#);
    assert_eq!(answer.detail(409), "the generation is 42");
    assert_eq!(answer.json()["present"]["generation"], 42);
}

#[test]
fn a_rollout_is_started_with_its_reason_plan_and_idempotency_key() {
    let world = World::new();
    let headers = [("content-type", "application/json; charset=utf-8"), ("idempotency-key", "k-1")];
    let body = r#"{"canary": "v2", "plan": "slow", "reason": "release"}"#;
    let answer = world.send("POST", &format!("{SHOP}/rollout"), &headers, body);
    assert_eq!((answer.status, answer.headers["location"].as_str()), (201, "/api/v1/services/shop/rollout"));
    assert_eq!(answer.json()["id"], "01JDTIDE");
    assert_eq!(world.asked.recv().unwrap(), "start shop v2 slow release k-1");
}

#[test]
fn every_refusal_of_the_control_loop_has_its_status() {
    let world = World::new();
    let start = |canary: &str| world.post(&format!("{SHOP}/rollout"), &json!({ "canary": canary }).to_string());
    assert_eq!(start("v9").detail(422), "shop has no version v9");
    assert_eq!(start("v1").detail(422), "v1 is the stable");
    assert_eq!(start("nodisk").detail(503), "the disk is full");
    let busy = start("busy");
    assert_eq!(busy.detail(409), "busy is in a rollout already");
    assert_eq!(busy.json()["present"]["rollout"]["phase"], "progressing");
}

#[test]
fn every_action_reaches_the_control_loop() {
    let world = World::new();
    for action in Action::ALL {
        let answer = world.post(&format!("{SHOP}/rollout/{}", action.word()), r#"{"reason": "so"}"#);
        assert!([200, 404, 409].contains(&answer.status), "{answer:?}");
        assert_eq!(world.asked.recv().unwrap(), format!("{} shop so", action.word()));
    }
    let paused = world.post(&format!("{SHOP}/rollout/pause"), "");
    assert_eq!((paused.status, &paused.json()["phase"]), (200, &json!("paused")));
    assert_eq!(world.post(&format!("{SHOP}/rollout/undo"), "").detail(404), "shop never had a rollout");
}

#[test]
fn an_action_that_the_phase_forbids_is_a_conflict_with_the_present_state() {
    let answer = World::new().post(&format!("{SHOP}/rollout/approve"), "");
    assert!(answer.detail(409).contains("can pause"));
    assert_eq!(answer.json()["present"]["rollout"]["phase"], "progressing");
    assert_eq!(answer.json()["phase"], "progressing");
    assert_eq!(answer.json()["allowed"], json!(["pause", "skip", "promote", "abort"]));
}

#[test]
fn unknown_paths_services_and_actions_are_404_with_a_near_miss() {
    let world = World::new();
    assert!(world.get("/api/v1/service").detail(404).contains("/api/v1/openapi.json"));
    let detail = world.get("/api/v1/services/shpo").detail(404);
    assert_eq!(detail, "there is no service \"shpo\"; did you mean \"shop\"?; the services are mail, shop");
    assert!(world.get("/api/v1/services/%2e%2e%2f").detail(404).contains("no name of a service"));
    assert!(world.get("/api/v1/services/%ff").detail(404).contains("no name of a service"));
    assert!(world.post(&format!("{SHOP}/rollout/paus"), "").detail(404).contains("did you mean \"pause\"?"));
    let changes = [("PUT", "weights"), ("POST", "rollout"), ("POST", "rollout/pause"), ("GET", "events")];
    for (method, tail) in changes {
        let headers = [("content-type", "application/json")];
        world.send(method, &format!("/api/v1/services/nope/{tail}"), &headers, "").detail(404);
    }
    assert!(world.asked.try_recv().is_err());
}

#[test]
fn a_wrong_method_is_405_and_says_which_are_right() {
    let world = World::new();
    for (method, path, allow) in [
        ("POST", "/api/v1/services", "GET,HEAD"),
        ("GET", "/api/v1/services/shop/weights", "PUT"),
        ("DELETE", "/api/v1/services/shop/rollout", "GET,HEAD,POST"),
        ("GET", "/api/v1/reload", "POST"),
        ("GET", "/api/v1/services/shop/rollout/pause", "POST"),
        ("PUT", "/livez", "GET,HEAD"),
    ] {
        let answer = world.send(method, path, &[("content-type", "application/json")], "");
        answer.problem(405);
        assert_eq!(answer.headers["allow"], allow, "{method} {path}");
    }
}

#[test]
fn json_that_is_not_json_is_400_with_its_place() {
    let world = World::new();
    let answer = world.put(&format!("{SHOP}/weights"), "{\n  \"weight\": 1,,\n}");
    let problem = answer.problem(400);
    assert_eq!((&problem["line"], &problem["column"]), (&json!(2), &json!(15)));
    assert!(world.asked.try_recv().is_err());
}

#[test]
fn fields_that_are_not_legal_are_422_all_at_once() {
    let world = World::new();
    let answer = world.put(&format!("{SHOP}/weights"), r#"{"canry": "v2", "weight": 10001}"#);
    let problem = answer.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "#/canry");
    assert_eq!(
        answer.detail(422),
        "there is no field \"canry\"; did you mean \"canary\"?; legal are canary, weight, if_generation, reason; and \
         weight is the number 10001; legal is a whole number from 0 to 10000 (basis points: 1000 is 10%)"
    );
    for body in [r#"{"weight": "10%"}"#, r#"{"weight": -1}"#, r#"{"weight": 1.5}"#, "{}", "[]", "", "null", "7"] {
        world.put(&format!("{SHOP}/weights"), body).problem(422);
    }
    for body in ["{}", r#"{"canary": 2}"#, r#"{"canary": ""}"#, r#"{"canary": "v2", "plan": "a b"}"#] {
        world.post(&format!("{SHOP}/rollout"), body).problem(422);
    }
    world.post(&format!("{SHOP}/rollout/abort"), r#"{"why": "x"}"#).problem(422);
    let long = json!({ "reason": "x".repeat(1_001) }).to_string();
    assert!(world.post(&format!("{SHOP}/rollout/abort"), &long).detail(422).contains("at most 1000"));
    assert!(world.asked.try_recv().is_err());
}

#[test]
fn a_change_without_the_json_content_type_is_415_even_with_an_empty_body() {
    let world = World::new();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for (method, path, headers, body) in [
        ("POST", "/api/v1/services/shop/rollout/abort", &[][..], ""),
        ("POST", "/api/v1/services/shop/rollout/abort", &form, ""),
        ("POST", "/api/v1/services/shop/rollout", &[("content-type", "text/plain")], r#"{"canary": "v2"}"#),
        ("PUT", "/api/v1/services/shop/weights", &[("content-type", "application/jsonp")], r#"{"weight": 1}"#),
        ("POST", "/api/v1/reload", &[], ""),
    ] {
        assert!(world.send(method, path, headers, body).detail(415).contains("application/json"));
    }
    assert!(world.asked.try_recv().is_err());
}

#[test]
fn a_body_over_64_kib_is_413_whether_announced_or_chunked() {
    let world = World::new();
    let fits = format!(r#"{{"weight": 1{}}}"#, " ".repeat(64 * 1024 - 13));
    assert_eq!((fits.len(), world.put(&format!("{SHOP}/weights"), &fits).status), (64 * 1024, 200));
    assert_eq!(
        world.put(&format!("{SHOP}/weights"), &format!("{fits} ")).detail(413),
        "the body is larger than 64 KiB"
    );
    let head = "PUT /api/v1/services/shop/weights HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{fits} \r\n0\r\n\r\n", fits.len() + 1);
    world.raw(&chunked).problem(413);
    // Who asks first is told before sending anything.
    world.raw(&format!("{head}content-length: 99999999\r\nexpect: 100-continue\r\n\r\n")).problem(413);
}

#[test]
fn an_idempotency_key_that_is_none_is_400() {
    let world = World::new();
    let long = "k".repeat(256);
    for key in ["", "é", long.as_str()] {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        world.send("POST", &format!("{SHOP}/rollout"), &headers, r#"{"canary": "v2"}"#).problem(400);
    }
}

#[test]
fn a_control_loop_that_has_ended_is_503_and_reads_go_on() {
    let world = World::without_a_control_loop();
    assert!(world.post(&format!("{SHOP}/rollout/abort"), "").detail(503).contains("traffic keeps its last split"));
    assert_eq!(world.get(SHOP).status, 200);
}

#[test]
fn a_control_loop_that_never_answers_is_503_and_the_change_may_still_come() {
    let world = World::with_a_silent_control_loop();
    let answer = world.post(&format!("{SHOP}/rollout/abort"), "");
    assert!(answer.detail(503).contains("did not answer within 10 s; the change may still come into force"));
    assert_eq!(world.asked.recv().unwrap(), "a command");
}

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
fn a_control_loop_that_is_over_is_no_life() {
    let world = World::new();
    assert_eq!(world.get("/livez").status, 200);
    world.handle.ended.store(true, Ordering::Release);
    let problem = world.get("/livez").problem(503);
    assert!(problem["detail"].as_str().unwrap().contains("restart"), "{problem}");
    world.draining.store(true, Ordering::Release);
    assert_eq!(world.get("/livez").status, 200, "a process that ends in good order is not to be killed");
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
fn events_are_streamed_and_resume_after_the_last_id() {
    let world = World::new();
    ["one", "two", "three"].iter().for_each(|text| world.handle.events.append(event(Some("shop"), text)));
    let mut events = world.events("/api/v1/events", "last-event-id: 1\r\n").unwrap();
    let seen = events.next().unwrap();
    assert_eq!((seen.id, seen.kind.as_str(), &seen.data["text"]), (Some(2), "weight", &json!("two")));
    assert_eq!(events.next().unwrap().id, Some(3));
    world.handle.events.append(event(None, "live"));
    assert_eq!(events.next().unwrap().data["text"], "live");
}

#[test]
fn the_events_of_a_service_are_its_own_alone() {
    let world = World::new();
    let mut events = world.events(&format!("{SHOP}/events"), "").unwrap();
    world.handle.events.append(event(Some("mail"), "not ours"));
    world.handle.events.append(event(Some("shop"), "ours"));
    assert_eq!(events.next().unwrap().data["text"], "ours");
}

#[test]
fn a_last_event_id_that_is_none_is_400() {
    let Err(answer) = World::new().events("/api/v1/events", "last-event-id: x\r\n") else { panic!("it is streamed") };
    answer.problem(400);
}

#[test]
fn a_reader_that_reads_nothing_for_long_is_told_how_much_it_lost() {
    let world = World::new();
    let mut events = world.events("/api/v1/events", "").unwrap();
    // Far more than sockets and the log hold.
    let long = "x".repeat(16 * 1024);
    (0..3_000).for_each(|_| world.handle.events.append(event(None, &long)));
    let (mut seen, mut lost) = (0, 0);
    while seen + lost < 3_000 {
        let next = events.next().unwrap();
        match next.kind.as_str() {
            "lost" => lost += next.data["lost"].as_u64().unwrap(),
            _ => seen += 1,
        }
    }
    assert!(lost > 0);
    assert_eq!(seen + lost, 3_000);
}

#[test]
fn readers_of_events_are_bounded_and_a_seat_that_falls_free_is_given_again() {
    let world = World::new();
    let mut open: Vec<_> = (0..64).map(|_| world.events("/api/v1/events", "").unwrap()).collect();
    let Err(answer) = world.events("/api/v1/events", "") else { panic!("there is a 65th seat") };
    assert!(answer.detail(503).contains("64 event streams"));
    assert_eq!(world.post(&format!("{SHOP}/rollout/pause"), "").status, 200);
    open.pop();
    eventually("a seat falls free", || world.events("/api/v1/events", "").ok());
}

#[test]
fn a_foreign_host_is_refused_and_ours_are_not() {
    let world = World::new();
    for host in ["evil.example", "127.0.0.1.nip.io", "localhost.evil.example:9900"] {
        for path in ["/api/v1/services", "/metrics", "/nowhere"] {
            assert!(world.send("GET", path, &[("host", host)], "").detail(421).contains("not a name of this server"));
        }
    }
    let abort = format!("{SHOP}/rollout/abort");
    let headers = [("host", "evil.example"), ("content-type", "application/json")];
    world.send("POST", &abort, &headers, "").problem(421);
    assert!(world.asked.try_recv().is_err());
    for host in ["127.0.0.1:9900", "[::1]", "localhost:1"] {
        assert_eq!(world.send("GET", SHOP, &[("host", host)], "").status, 200);
    }
    world.raw("GET /livez HTTP/1.1\r\nconnection: close\r\n\r\n").problem(400);
    world.raw("GET /livez HTTP/1.1\r\nconnection: close\r\nhost: localhost\r\nhost: evil.example\r\n\r\n").problem(400);
    let absolute = "GET http://evil.example/livez HTTP/1.1\r\nconnection: close\r\nhost: localhost\r\n\r\n";
    world.raw(absolute).problem(421);
}

#[test]
fn a_token_is_wanted_for_all_but_the_probes() {
    let world = tokened();
    let document: Value = serde_json::from_str(
        &tokened().send("GET", "/api/v1/openapi.json", &[("authorization", "Bearer sesame")], "").text,
    )
    .unwrap();
    for path in document["paths"].as_object().unwrap().keys() {
        let open = ["/livez", "/readyz"].contains(&path.as_str());
        let answer = world.get(&path.replace("{service}", "shop").replace("{action}", "pause"));
        assert_eq!(answer.status, if open { 200 } else { 401 }, "{path}");
    }
    let refused = world.get(SHOP);
    refused.problem(401);
    assert_eq!(refused.headers["www-authenticate"], "Bearer realm=\"tidegate\"");
    for wrong in
        ["Bearer sesam", "Bearer sesame2", "Bearer ", "Bearer", "Basic sesame", "sesame", "Bearer sesame other"]
    {
        world.send("GET", SHOP, &[("authorization", wrong)], "").problem(401);
    }
    for right in ["Bearer sesame", "bearer sesame"] {
        assert_eq!(world.send("GET", SHOP, &[("authorization", right)], "").status, 200);
    }
    assert!(world.asked.try_recv().is_err());
}

#[test]
fn who_has_the_token_may_use_any_name_for_the_server() {
    let world = tokened();
    let named = [("host", "tidegate.internal"), ("authorization", "Bearer sesame")];
    assert_eq!(world.send("GET", "/metrics", &named, "").status, 200);
    world.send("GET", "/metrics", &named[..1], "").problem(421);
}

#[test]
fn an_empty_token_is_no_token() {
    let options = ApiOptions { token: Some(String::new()), ..ApiOptions::default() };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let started = api::start(options, listener, World::new().handle.clone(), Arc::new(|| Ok(resolved())));
    assert_eq!(started.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn it_is_ready_once_the_journal_is_replayed_and_until_it_drains() {
    let world = World::new();
    world.handle.snapshot.store(Arc::new(snapshot(false)));
    world.get("/readyz").problem(503);
    assert_eq!(world.get("/livez").status, 200);
    world.handle.snapshot.store(Arc::new(snapshot(true)));
    assert_eq!(world.get("/readyz").status, 200);
    world.draining.store(true, Ordering::Release);
    assert!(world.get("/readyz").detail(503).contains("drains"));
    assert_eq!(world.get("/livez").status, 200);
}

#[test]
fn metrics_are_prometheus_text() {
    let answer = World::new().get("/metrics");
    assert_eq!(
        (answer.status, answer.headers["content-type"].as_str()),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    assert!(
        answer.text.contains("tidegate_weight_basis_points{service=\"shop\",version=\"v2\"} 500\n"),
        "{}",
        answer.text
    );
}

#[test]
fn nothing_is_cached_and_no_type_is_guessed() {
    let world = World::new();
    for answer in [world.get(SHOP), world.get("/nowhere"), world.send("GET", SHOP, &[("host", "evil.example")], "")] {
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
}

#[test]
fn every_route_of_the_document_is_there() {
    let world = World::new();
    let document = world.get("/api/v1/openapi.json").json();
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["get", "put", "post"].into_iter().filter(|method| item.get(method).is_some()) {
            let path = path.replace("{service}", "shop").replace("{action}", "pause");
            let answer = if path.ends_with("/events") {
                world.events(&path, "").map_or_else(|answer| answer.status, |_| 200)
            } else {
                world.send(&method.to_uppercase(), &path, &[("content-type", "application/json")], "").status
            };
            assert!(![404, 405, 500].contains(&answer), "{method} {path}: {answer}");
            asked += 1;
        }
    }
    assert_eq!(asked, 14);
}

#[test]
fn clients_that_never_finish_their_request_hold_up_nobody() {
    let world = World::new();
    let slow: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = world.connect();
            stream.write_all(b"GET /livez HTTP/1.1\r\nhost: loc").unwrap();
            stream
        })
        .collect();
    assert_eq!(world.get(SHOP).status, 200);
    drop(slow);
}

#[test]
fn a_request_head_that_never_ends_is_cut_off() {
    let world = World::new();
    let mut stream = world.connect();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: loc").unwrap();
    let mut rest = Vec::new();
    // Ends by the server's deadline, or fails by ours.
    stream.read_to_end(&mut rest).unwrap();
}

#[test]
fn a_body_that_never_ends_is_408() {
    let world = World::new();
    let mut stream = world.connect();
    let head = "POST /api/v1/reload HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    stream.write_all(head.as_bytes()).unwrap();
    Answer::read(&mut BufReader::new(stream)).problem(408);
    assert!(world.asked.try_recv().is_err());
}

#[test]
fn a_body_that_ends_early_changes_nothing() {
    let world = World::new();
    let mut stream = world.connect();
    let head = "POST /api/v1/reload HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{}";
    stream.write_all(head.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400"), "{rest}");
    assert!(world.asked.try_recv().is_err());
}

#[test]
fn connections_are_bounded_and_one_that_waits_gets_its_turn() {
    let world = World::new();
    let mut held: Vec<_> = (0..256).map(|_| BufReader::new(world.connect())).collect();
    let ask = |held: &mut Vec<BufReader<TcpStream>>, place: usize| {
        held[place].get_mut().write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        Answer::read(&mut held[place]).status
    };
    // An answer on each proves that all of them are accepted.
    (0..256).for_each(|place| assert_eq!(ask(&mut held, place), 200));
    let mut waiting = world.connect();
    waiting.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    (0..50).for_each(|place| assert_eq!(ask(&mut held, place), 200));
    waiting.set_nonblocking(true).unwrap();
    assert_eq!(waiting.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    waiting.set_nonblocking(false).unwrap();
    held.pop();
    assert_eq!(Answer::read(&mut BufReader::new(waiting)).status, 200);
}

#[test]
fn a_stop_ends_event_streams_and_frees_the_address() {
    let mut world = World::new();
    let mut events = world.events("/api/v1/events", "").unwrap();
    world.stop();
    assert_eq!(events.next(), None);
    TcpListener::bind(world.address).unwrap();
}
