//! What holds for every text and every configuration: no panic, places inside the text, and a configuration that is
//! written out reads as the same one, as YAML and as JSON.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod plans;

use std::path::Path;
use std::time::Duration;

use config::{
    Advance, Affinity, Baseline, Configuration, Gate, GateRole, GateRule, LatencyMargin, LatencyOf, OnDeadline, Plan,
    Step, Tolerance,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const FULL: &str = r#"
listeners: [{ address: "0.0.0.0:8080" }, { address: "[::]:8081" }]
admin: { address: "127.0.0.1:9901", tokens: tokens.txt }
state: /var/lib/tidegate
plans: { careful: { alpha: 0.5%, advance: time, steps: [{ weight: 0.25%, hold: 1h30m }, { approval: true }], gates: [] } }
services:
  checkout:
    hosts: [Shop.example.com, 10.0.0.9]
    path: /checkout/
    affinity: { cookie: session }
    stable: v1
    canary: v2
    weight: 12.5%
    versions:
      v1: { endpoints: ["10.0.0.1:8080", "[fd00::1]:8080", "shop.internal:80"] }
      v2: { endpoints: ["10.0.0.3:8080"] }
      v3: { endpoints: ["10.0.0.4:8080"] }
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
      steps:
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
  shop: { affinity: { header: X-User }, versions: { v1: { endpoints: ["a:1"] } } }
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

/// A configuration as a file would say it, nothing left to defaults.
fn written(configuration: &Configuration) -> Value {
    let services = configuration.services.iter().map(|service| {
        let versions = service.versions.iter().map(|version| {
            let endpoints: Vec<String> = version.endpoints.iter().map(ToString::to_string).collect();
            (version.name.to_string(), json!({ "endpoints": endpoints }))
        });
        let mut entry = json!({
            "path": service.path.as_str(),
            "affinity": match &service.affinity {
                Affinity::Random => json!("random"),
                Affinity::Cookie { name, .. } => json!({ "cookie": name }),
                Affinity::User(name) => json!({ "user": name }),
                Affinity::Header(name) => json!({ "header": name }),
                Affinity::ClientAddress => json!("client-address"),
            },
            "stable": service.stable.as_str(),
            "versions": versions.collect::<serde_json::Map<_, _>>(),
            "plan": written_plan(&service.plan),
        });
        if !service.hosts.is_empty() {
            entry["hosts"] = service.hosts.iter().map(|host| json!(host.as_str())).collect();
        }
        if let Some(canary) = &service.canary {
            entry["canary"] = json!(canary.version.as_str());
            entry["weight"] = json!(canary.weight.to_string());
        }
        (service.name.to_string(), entry)
    });
    let listeners: Vec<_> =
        configuration.listeners.iter().map(|one| json!({ "address": one.address.to_string() })).collect();
    let plans = configuration.plans.iter().map(|(name, plan)| (name.to_string(), written_plan(plan)));
    let mut admin = json!({ "address": configuration.admin.address });
    if let Some(tokens) = &configuration.admin.tokens {
        admin["tokens"] = json!(tokens);
    }
    json!({
        "listeners": listeners,
        "admin": admin,
        "state": configuration.state,
        "services": services.collect::<serde_json::Map<_, _>>(),
        "plans": plans.collect::<serde_json::Map<_, _>>(),
    })
}

fn percent(fraction: f64) -> String {
    format!("{:.10}%", fraction * 100.0)
}

fn milliseconds(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

/// A plan as a file would say it. What the plan says for all steps is said at each.
fn written_plan(plan: &Plan) -> Value {
    let mut entry = json!({
        "alpha": percent(plan.alpha.get()),
        "beta": percent(plan.beta.get()),
        "min_requests": plan.min_requests,
        "warmup": milliseconds(plan.warmup),
        "advance": match plan.advance { Advance::Time => "time", Advance::Proof => "proof" },
        "baseline": match &plan.baseline {
            Baseline::Stable => "stable",
            Baseline::Equal => "equal",
            Baseline::Version(version) => version.as_str(),
        },
        "dry_run": plan.dry_run,
        "steps": plan.steps.iter().map(written_step).collect::<Vec<_>>(),
    });
    if plan.gates != Plan::built_in().gates {
        entry["gates"] = plan.gates.iter().map(written_gate).collect();
    }
    entry
}

fn written_step(step: &Step) -> Value {
    match step {
        Step::Weight { weight, hold, early, deadline } => {
            let mut written = json!({ "weight": weight.to_string(), "hold": milliseconds(*hold), "early": early });
            if let Some(deadline) = deadline {
                written["deadline"] = json!(milliseconds(deadline.after));
                written["on_deadline"] = json!(match deadline.then {
                    OnDeadline::Hold => "hold",
                    OnDeadline::Promote => "promote",
                    OnDeadline::RollBack => "roll-back",
                });
            }
            written
        }
        Step::Approval => json!({ "approval": true }),
    }
}

fn written_gate(gate: &Gate) -> Value {
    let parts = |harm: Tolerance| json!({ "ratio": harm.ratio, "points": percent(harm.points.get()) });
    let word = |of| match of {
        LatencyOf::Head => "head",
        LatencyOf::Total => "total",
    };
    let mut written = match gate.rule {
        GateRule::Errors { tolerance, margin } => {
            json!({ "errors": { "tolerance": parts(tolerance), "margin": parts(margin) } })
        }
        GateRule::ErrorLimit { limit } => json!({ "errors": { "limit": percent(limit.get()) } }),
        GateRule::LatencyLimit { quantile, limit, of } => {
            json!({ "latency": { "limit": milliseconds(limit), "quantile": quantile.to_string(), "of": word(of) } })
        }
        GateRule::Latency { quantile, tolerance, margin, of } => {
            let mut latency = json!({ "tolerance": percent(tolerance.get()), "of": word(of) });
            if let Some(quantile) = quantile {
                latency["quantile"] = json!(quantile.to_string());
            }
            // Two margins cannot be written: they are those where none is.
            if margin != LatencyMargin::usual(tolerance) {
                assert_eq!(margin.body, margin.tail);
                latency["margin"] = json!(percent(margin.body.get()));
            }
            json!({ "latency": latency })
        }
    };
    written["name"] = json!(gate.name.as_str());
    written["role"] = json!(match gate.role {
        GateRole::Guardrail => "guardrail",
        GateRole::Signal => "signal",
    });
    if let Some(path) = &gate.path {
        written["path"] = json!(path.as_str());
    }
    written
}

#[test]
fn a_full_configuration_written_out_reads_as_the_same_one() {
    let configuration = read(FULL);
    assert_eq!(configuration.services.len(), 3);
    let configuration = by_name(configuration);
    assert_eq!(read(&written(&configuration).to_string()), configuration);
    assert_eq!(read(&serde_json::to_string_pretty(&written(&configuration)).unwrap()), configuration);
}

#[test]
fn the_smallest_configuration_has_the_defaults_and_reads_as_what_is_written_out() {
    let smallest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/smallest.yaml");
    let configuration = config::read_file(&smallest).unwrap().configuration;
    assert_eq!(
        written(&configuration),
        json!({
            "listeners": [{ "address": "0.0.0.0:8080" }],
            "admin": { "address": "127.0.0.1:9900" },
            "state": "./tidegate-state",
            "services": { "shop": {
                "path": "/",
                "affinity": "random",
                "stable": "v1",
                "versions": { "v1": { "endpoints": ["127.0.0.1:9001"] }, "v2": { "endpoints": ["127.0.0.1:9002"] } },
                "plan": {
                    "alpha": "1.0000000000%",
                    "beta": "5.0000000000%",
                    "min_requests": 50,
                    "warmup": "30000ms",
                    "advance": "time",
                    "baseline": "stable",
                    "dry_run": false,
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
