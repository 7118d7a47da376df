//! What a request may look like.

use std::io::{BufReader, Read, Write};
use std::net::Shutdown;

use serde_json::json;

use crate::SHOP;
use crate::world::{Answer, World};

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
