//! The control API of a real process: bad requests, foreign hosts, tokens, and a data plane at its limit.

use std::fs;

use ureq::http::Method;

use crate::process::{Process, tidegate};
use crate::shop::{Server, Shop};

const PLAN: &str = "{ steps: [{ weight: 5%, hold: 10m }] }";
const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn bad_requests_get_a_problem_that_names_it_and_change_nothing() {
    let shop = Shop::open(PLAN);
    let before = shop.admin().service("shop").generation;
    let large = format!("{{\"reason\": \"{}\"}}", "x".repeat(200_000));
    let weights = "/api/v1/services/shop/weights";
    let rollout = "/api/v1/services/shop/rollout";
    let bad = [
        (Method::POST, "/api/v1/services/shpo/rollout", JSON, "{\"canary\":\"v2\"}", 404, "shop"),
        (Method::POST, rollout, JSON, "{\"canary\":\"v9\"}", 422, "v2"),
        (Method::POST, rollout, JSON, "{\"canary\":\"v1\"}", 422, "v1 is the stable version"),
        (Method::POST, rollout, JSON, "{\"canary\":\"v2\",\"plan\":\"none-such\"}", 422, "none-such"),
        (Method::PUT, weights, JSON, "{\"canary\":\"v2\",", 400, "JSON"),
        (Method::PUT, weights, JSON, "{\"canary\":\"v2\",\"weight\":10001}", 422, "10000"),
        (Method::PUT, weights, JSON, &large, 413, ""),
        (
            Method::PUT,
            weights,
            ("content-type", "text/plain"),
            "{\"canary\":\"v2\",\"weight\":1}",
            415,
            "application/json",
        ),
        (Method::DELETE, weights, JSON, "", 405, "DELETE"),
        (Method::POST, "/api/v1/services/shop/rollout/promoet", JSON, "{}", 404, "promote"),
        (Method::GET, "/api/v2/services", JSON, "", 404, "openapi"),
    ];
    for (method, path, header, body, status, told) in bad {
        let case = format!("{method} {path} {}", body.chars().take(60).collect::<String>());
        let answer = shop.admin().ask(method, path, &[header], body).expect(&case);
        assert_eq!((answer.status, answer.kind.as_str()), (status, "application/problem+json"), "{case}: {answer:?}");
        assert_eq!(answer.body["status"], status, "{case}: {answer:?}");
        assert!(!answer.detail().is_empty() && answer.detail().contains(told), "{case}: {answer:?}");
    }
    let service = shop.admin().service("shop");
    assert_eq!((service.generation, service.weight, service.rollout), (before, 0, None));
}

#[test]
fn a_host_that_is_not_ours_is_refused() {
    let shop = Shop::open(PLAN);
    let foreign = shop.admin().ask(Method::GET, "/api/v1/services", &[("host", "evil.example")], "").unwrap();
    assert_eq!((foreign.status, foreign.kind.as_str()), (421, "application/problem+json"), "{foreign:?}");
    let ours = shop.admin().ask(Method::GET, "/api/v1/services", &[("host", "localhost")], "").unwrap();
    assert_eq!(ours.status, 200, "{ours:?}");
}

#[test]
fn an_admin_address_that_others_reach_serves_whoever_has_the_token() {
    let Shop { server, v1, v2, place } = Shop::open(PLAN);
    server.stop();
    let text = fs::read_to_string(place.file()).unwrap();
    place.write(&text.replace("admin: { address: '127.0.0.1:0' }", "admin: { address: '0.0.0.0:0' }"));
    let mut command = place.command();
    command.env("TIDEGATE_TOKEN", "open-sesame");
    let server = Server::start(command);
    let with = |authorization: &str| {
        server.admin.ask(Method::GET, "/api/v1/services", &[("authorization", authorization)], "").unwrap().status
    };

    assert_eq!(server.admin.get("/api/v1/services").status, 401);
    assert_eq!((with("Bearer open-sesame"), with("Bearer open-sesam"), with("Basic open-sesame")), (200, 401, 401));
    assert_eq!((server.admin.status_of("/livez"), server.admin.status_of("/readyz")), (Some(200), Some(200)));
    let status = |token: Option<&str>| {
        let mut command = tidegate();
        command.args(["--admin", &server.admin.url(), "status"]);
        if let Some(token) = token {
            command.env("TIDEGATE_TOKEN", token);
        }
        Process::start(command).end()
    };
    assert_eq!(status(Some("open-sesame")).code, Some(0));
    let refused = status(None);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("TIDEGATE_TOKEN"), "{refused:?}");
    drop((v1, v2));
}
