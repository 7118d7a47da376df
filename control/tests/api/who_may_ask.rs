//! Hosts and tokens.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;

use control::api::{self, ApiOptions};
use serde_json::Value;

use crate::world::{World, resolved};
use crate::{SHOP, tokened};

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
