//! What holds for every text and every configuration: no panic, places inside the text, and a configuration that is
//! written out reads as the same one, as YAML and as JSON.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod care;
mod defaults;
mod explained;
mod ingress;
mod plans;
mod writing;

use std::path::Path;

use config::{Configuration, Plan};
use proptest::prelude::*;
use serde_json::json;

use crate::writing::written;

const FULL: &str = r#"
listeners:
  - { address: "0.0.0.0:8080", redirect: https }
  - { address: "[::]:8081", proxy_protocol: [10.0.0.0/8, "fd00::7"] }
  - { address: "unix:/run/tidegate.sock", redirect: { https: 8443 } }
  - address: "0.0.0.0:8443"
    tls:
      certificates: [{ cert: shop.pem, key: shop.key }, { cert: both.pem, key: both.pem }]
      clients: { ca: /etc/clients.pem, optional: true }
      oldest: "1.3"
      hsts: { max_age: 8760h, subdomains: true, preload: true }
timeouts: { handshake: 1s, head: 2s, body: 3s, connect: 4s, first_byte: 5s, response: 6s, write: 7s, keepalive: 8s, http2_idle: 9s, tunnel: 10h, connection: 11m, upstream_idle: 12ms, total: 13s }
limits: { connections: 5000, connections_per_client: 50, requests_per_client: 70, request_line: 2KiB, head: 4KiB, headers: 64, body: 1GiB, http2_streams: 32, http2_header_list: 1500B, http2_resets: 50, http2_glitches: 500 }
requests: { underscores: pass, encoded_slashes: pass }
trusted: [10.0.0.0/8, "fd00::/8"]
access_log: { to: /var/log/access.log, sample: 12.5% }
health: { path: /all, interval: 3s }
retries: { most: 4, floor: 7 }
admin: { address: "127.0.0.1:9901", tokens: tokens.txt }
state: /var/lib/tidegate
dns: { servers: [10.0.0.2, "[fd00::2]:5353"], at_least: 500ms, at_most: 1h, timeout: 250ms, prefer: ipv6 }
plans: { careful: { alpha: 0.5%, advance: time, steps: [{ weight: 0.25%, hold: 1h30m }, { match: { x-beta: '1' } }, { approval: true }], gates: [] } }
services:
  checkout:
    hosts: [Shop.example.com, 10.0.0.9]
    path: /checkout/
    methods: [GET, M-SEARCH]
    headers: { X-Tenant: blue, x-beta: "*" }
    affinity: { cookie: session, issue: { max_age: 90m } }
    forced: { header: X-Version, cookie: version, from: [192.0.2.0/24], secret: /etc/secret, judged: true }
    version_header: false
    upgrades: [websocket, Tls]
    grpc_errors: [CANCELLED, UNAUTHENTICATED]
    body: 10MiB
    timeouts: { first_byte: 1s, response: 2s, tunnel: 3h, total: 4s }
    retries: { most: 5, budget: 12.5%, floor: 0, on: [broken] }
    shield: true
    mirror: { methods: [GET, REPORT], body: 1KiB, in_flight: 1000, timeout: 1m }
    stable: v1
    canary: v2
    weight: 12.5%
    versions:
      v1:
        endpoints: ["10.0.0.1:8080", "[fd00::1]:8080", "shop.internal:80"]
        health: { path: "/healthz?full=1", host: Shop.internal:8080, status: 200-399, interval: 1s, timeout: 999ms, jitter: 50%, healthy: 1, unhealthy: 100 }
        ejection: { failures: 1000, first: 5m, most: 33.4%, success_rate: false }
        balance: least_requests
        slow_start: 1m
        warm_start: 16
        limits: { requests: 1000, requests_per_endpoint: 400 }
      v2: { endpoints: ["10.0.0.3:8080"] }
      v3: { endpoints: ["unix:/run/v3.sock", "10.0.0.4:8080"], protocol: h2c, health: { grpc: "", interval: 1h, timeout: 1h }, balance: { hash: { cookie: Basket } } }
      v4: { endpoints: ["https://10.0.0.5:8443", "https://v4:443"], protocol: h2, tls: { server_name: V4.internal, ca: ca.pem, cert: us.pem, key: us.key }, health: { grpc: shop.v1.Orders }, balance: { hash: { header: X-Tenant } } }
      v5: { endpoints: ["https://v5.internal:443"], health: { connect: true, jitter: 0% }, ejection: off, balance: { hash: path }, slow_start: 0s, warm_start: false, limits: { requests_per_endpoint: 1 } }
    plan:
      beta: 2.5%
      min_requests: 200
      warmup: 1m
      advance: proof
      early: true
      deadline: 2h
      on_deadline: promote
      baseline: v3
      dry_run: false
      drain: never
      steps:
        - { mirror: 12.5%, hold: 2m }
        - { weight: 1%, hold: 500ms }
        - { weight: 2%, hold: 1h, early: false, deadline: 1h, on_deadline: roll-back }
        - { weight: 99.99% }
      gates:
        - errors: { tolerance: 0.1% }
        - { name: doubled, errors: { tolerance: { ratio: 2, points: 0.02% }, margin: { ratio: 3 } }, role: guardrail }
        - { name: plain, errors: {} }
        - errors: { limit: 5% }
        - latency: { limit: 300ms }
        - latency: { limit: 2s, quantile: p99.9, of: total }
        - latency: {}
        - latency: { quantile: p95, tolerance: 40%, margin: 60%, of: total }
        - { latency: { tolerance: 30% }, role: signal, path: /checkout/cart/ }
        - { errors: { margin: 0.5% }, path: /checkout/pay }
        - { mirror: { errors: 0.5%, status: 1%, body: 99% }, role: signal }
  wild: { hosts: ["*.Example.com", example.com], affinity: { cookie: ours, issue: true }, upgrades: [], grpc_errors: [], versions: { v1: { endpoints: ["a:1"] } } }
  shop: { affinity: { header: X-User }, retries: off, shield: false, versions: { v1: { endpoints: ["a:1"], health: { path: /, status: 204 }, ejection: {}, balance: { hash: client_address } } } }
  user: { path: /user, affinity: { user: X-Auth }, forced: { cookie: c, secret: s }, versions: { v1: { endpoints: ["a:1"] } } }
  cart: { path: /cart, affinity: client-address, weight: 0%, stable: v1, versions: { v1: { endpoints: ["a:1"] }, v2: { endpoints: ["b:1"] } }, plan: { baseline: equal, dry_run: true } }
"#;

fn read(text: &str) -> Configuration {
    config::parse(text, "t.yaml").unwrap_or_else(|problems| panic!("{problems}\n{text}")).configuration
}

/// The same with everything named in the order of its name, which is the order that JSON is written in here.
fn by_name(mut configuration: Configuration) -> Configuration {
    configuration.services.sort_by(|a, b| a.name.cmp(&b.name));
    configuration.plans.sort_by(|(a, _), (b, _)| a.cmp(b));
    for service in &mut configuration.services {
        service.versions.sort_by(|a, b| a.name.cmp(&b.name));
    }
    configuration
}

#[test]
fn a_full_configuration_written_out_reads_as_the_same_one() {
    let configuration = read(FULL);
    assert_eq!(configuration.services.len(), 5);
    let configuration = by_name(configuration);
    assert_eq!(read(&written(&configuration).to_string()), configuration);
    assert_eq!(read(&serde_json::to_string_pretty(&written(&configuration)).unwrap()), configuration);
}

#[test]
fn the_smallest_configuration_has_the_defaults_and_reads_as_what_is_written_out() {
    let smallest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/smallest.yaml");
    let configuration = config::read_file(&smallest).unwrap().configuration;
    let version = |endpoint: &str| {
        json!({
            "endpoints": [endpoint],
            "protocol": "h1",
            "ejection": { "failures": 5, "first": "10000ms", "most": "50.0000000000%", "success_rate": true, "hang": "3000ms" },
            "balance": "peak_ewma",
            "slow_start": "10000ms",
            "warm_start": 4,
            "limits": {},
        })
    };
    assert_eq!(
        written(&configuration),
        json!({
            "listeners": [{ "address": "0.0.0.0:8080" }],
            "admin": { "address": "127.0.0.1:9900" },
            "state": "./tidegate-state",
            "dns": { "at_least": "1000ms", "at_most": "300000ms", "timeout": "2000ms", "prefer": "ipv4" },
            "timeouts": {
                "handshake": "10000ms",
                "head": "10000ms",
                "body": "30000ms",
                "connect": "2000ms",
                "first_byte": "15000ms",
                "response": "30000ms",
                "write": "30000ms",
                "keepalive": "75000ms",
                "http2_idle": "300000ms",
                "tunnel": "3600000ms",
                "connection": "3600000ms",
                "upstream_idle": "50000ms",
            },
            "limits": {
                "connections": 100_000,
                "connections_per_client": 4096,
                "requests_per_client": 4096,
                "request_line": "8KiB",
                "head": "32KiB",
                "headers": 100,
                "http2_streams": 100,
                "http2_header_list": "64KiB",
                "http2_resets": 200,
                "http2_glitches": 2000,
            },
            "requests": { "underscores": "refuse", "encoded_slashes": "refuse" },
            "drain": { "grace": "1000ms", "deadline": "30000ms" },
            "services": { "shop": {
                "path": "/",
                "affinity": "random",
                "version_header": true,
                "upgrades": ["websocket"],
                "grpc_errors": [
                    "UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
                ],
                "timeouts": {},
                "retries": {
                    "most": 2,
                    "budget": "20.0000000000%",
                    "floor": 3,
                    "on": ["unavailable", "broken"],
                },
                "shield": true,
                "mirror": {
                    "methods": ["GET", "HEAD", "OPTIONS"],
                    "body": "64KiB",
                    "in_flight": 64,
                    "timeout": "5000ms",
                },
                "stable": "v1",
                "versions": {
                    "v1": version("127.0.0.1:9001"),
                    "v2": version("127.0.0.1:9002"),
                },
                "plan": {
                    "alpha": "1.0000000000%",
                    "beta": "5.0000000000%",
                    "min_requests": 50,
                    "warmup": "30000ms",
                    "advance": "time",
                    "baseline": "stable",
                    "dry_run": false,
                    "drain": "600000ms",
                    "steps": [
                        { "weight": "1%", "hold": "120000ms", "early": false },
                        { "weight": "5%", "hold": "300000ms", "early": false },
                        { "weight": "25%", "hold": "600000ms", "early": false },
                        { "weight": "50%", "hold": "600000ms", "early": false },
                    ],
                },
            } },
            "plans": {},
        })
    );
    assert_eq!(configuration.services[0].plan, Plan::built_in());
    assert_eq!(read(&written(&configuration).to_string()), configuration);
}

#[test]
fn the_system_may_choose_every_port() {
    let any = "listeners: [{ address: '127.0.0.1:0' }, { address: '127.0.0.1:0' }]\nadmin: { address: '127.0.0.1:0' }";
    let configuration =
        read(&format!("{any}\nservices: {{ shop: {{ versions: {{ v1: {{ endpoints: ['a:1'] }} }} }} }}"));
    assert_eq!(configuration.listeners.len(), 2);
}

#[test]
fn json_indented_with_tabs_is_read_like_any_other() {
    let text = "{\n\t\"services\": {\n\t\t\"shop\": {\n\t\t\t\"versions\": {\"v1\": {\"endpoints\": [\"a:1\"]}}\n\t\t}\n\t}\n}\n";
    assert_eq!(read(text).services.len(), 1);
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    assert_eq!(read(&format!("\u{feff}{}", FULL.replace('\n', "\r\n"))), read(FULL));
}

/// Reads a text, and checks what must hold whatever comes of it.
fn hold(text: &str) -> Result<(), TestCaseError> {
    match config::parse(text, "t.yaml") {
        Ok(read) => {
            let configuration = by_name(read.configuration);
            prop_assert_eq!(self::read(&written(&configuration).to_string()), configuration);
        }
        Err(problems) => {
            prop_assert!(!problems.as_slice().is_empty());
            let lines = text.split(['\n', '\r']).count();
            for problem in problems {
                prop_assert!((1..=lines + 1).contains(&problem.line), "{problem} in {lines} lines");
                prop_assert!(problem.column >= 1);
                prop_assert!(!problem.to_string().chars().any(char::is_control), "{problem}");
            }
        }
    }
    Ok(())
}

/// A text like a valid one, with a few places overwritten, removed or doubled.
fn mutated() -> impl Strategy<Value = String> {
    let scrap = prop_oneof![
        "\\PC{0,6}",
        prop::sample::select(vec![
            "",
            "~",
            "\n",
            "\t",
            ": ",
            "- ",
            "{",
            "}",
            "[",
            "]",
            "&a ",
            "*a",
            "!!str ",
            "<<: ",
            "%",
            "0",
            "99999999999999999999",
            "v1",
            "\"",
            "'",
            "#",
            "---\n",
            "|\n",
            "null",
            "tls: ",
            "NaN",
            "-",
            "ms",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), 0_usize..20, scrap), 1..6).prop_map(|edits| {
        let mut text: Vec<char> = FULL.chars().collect();
        for (at, removed, scrap) in edits {
            let start = at.index(text.len() + 1);
            let end = (start + removed).min(text.len());
            text.splice(start..end, scrap.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_configuration_is_read_or_refused_with_places(text in mutated()) {
        hold(&text)?;
    }

    #[test]
    fn a_random_text_is_refused_with_places(text in "(\\PC|[\\n\\t\\r:{}\\[\\]&*!|>'\"%@`?,#-]){0,80}") {
        hold(&text)?;
    }
}
