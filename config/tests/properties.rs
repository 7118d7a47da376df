//! What holds for every text and every configuration: no panic, places inside the text, and a configuration that is
//! written out reads as the same one, as YAML and as JSON.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::path::Path;

use config::{Affinity, Configuration, GateRule, Plan, Step, Tolerance};
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
      min_requests: 200
      steps: [{ weight: 1%, hold: 500ms }, { weight: 99.99% }]
      gates:
        - errors: { tolerance: 0.1% }
        - { name: doubled, errors: { tolerance: { ratio: 2, points: 0.02% } }, role: guardrail }
        - { name: plain, errors: {} }
        - errors: { limit: 5% }
        - latency: { limit: 300ms }
        - latency: { limit: 2s, quantile: p99.9 }
  shop: { affinity: { header: X-User }, versions: { v1: { endpoints: ["a:1"] } } }
  cart: { path: /cart, affinity: client-address, weight: 0%, stable: v1, versions: { v1: { endpoints: ["a:1"] }, v2: { endpoints: ["b:1"] } } }
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
                Affinity::Cookie(name) => json!({ "cookie": name }),
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
    let listeners: Vec<_> = configuration.listeners.iter().map(|one| json!({ "address": one.address })).collect();
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

fn written_plan(plan: &Plan) -> Value {
    let steps: Vec<Value> = plan
        .steps
        .iter()
        .map(|step| match step {
            Step::Weight { weight, hold } => {
                json!({ "weight": weight.to_string(), "hold": format!("{}ms", hold.as_millis()) })
            }
            Step::Approval => json!({ "approval": true }),
        })
        .collect();
    let gates = plan.gates.iter().filter_map(|gate| {
        let mut written = match gate.rule {
            GateRule::Errors { tolerance: Tolerance { ratio, points } } => {
                json!({ "errors": { "tolerance": { "ratio": ratio, "points": percent(points.get()) } } })
            }
            GateRule::ErrorLimit { limit } => json!({ "errors": { "limit": percent(limit.get()) } }),
            GateRule::LatencyLimit { quantile, limit } => {
                json!({ "latency": { "limit": format!("{}ms", limit.as_millis()), "quantile": quantile.to_string() } })
            }
            // It cannot be written: it stands among the default gates alone.
            GateRule::LatencyShape => return None,
        };
        written["name"] = json!(gate.name.as_str());
        Some(written)
    });
    let mut entry = json!({
        "alpha": percent(plan.alpha.get()),
        "min_requests": plan.min_requests,
        "steps": steps,
        "gates": gates.collect::<Vec<_>>(),
    });
    if plan.gates == Plan::built_in().gates {
        entry.as_object_mut().unwrap().remove("gates");
    }
    entry
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
                    "min_requests": 50,
                    "steps": [
                        { "weight": "1%", "hold": "120000ms" },
                        { "weight": "5%", "hold": "300000ms" },
                        { "weight": "25%", "hold": "600000ms" },
                        { "weight": "50%", "hold": "600000ms" },
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
fn every_key_of_a_plan_defaults_alone() {
    let plan = |text: &str| {
        let service = format!("services: {{ shop: {{ versions: {{ v1: {{ endpoints: ['a:1'] }} }}, plan: {text} }} }}");
        read(&service).services.remove(0).plan
    };
    let built_in = Plan::built_in();
    assert_eq!(plan("{}"), built_in);
    assert_eq!(plan("{ alpha: 2% }"), Plan { alpha: "2%".parse().unwrap(), ..built_in.clone() });
    assert_eq!(plan("{ min_requests: 7 }"), Plan { min_requests: 7, ..built_in.clone() });
    assert_eq!(plan("{ gates: [] }"), Plan { gates: Vec::new(), ..built_in.clone() });
    let steps = vec![Step::Weight { weight: "5%".parse().unwrap(), hold: Step::HOLD }];
    assert_eq!(plan("{ steps: [{ weight: 5% }] }"), Plan { steps, ..built_in });
}

#[test]
fn gates_have_the_names_and_figures_that_they_default_to() {
    let configuration = read(FULL);
    let gates: Vec<_> =
        configuration.services[0].plan.gates.iter().map(|gate| (gate.name.as_str(), gate.rule)).collect();
    let errors =
        |ratio, points: &str| GateRule::Errors { tolerance: Tolerance { ratio, points: points.parse().unwrap() } };
    let latency = |quantile: &str, seconds: f64| GateRule::LatencyLimit {
        quantile: quantile.parse().unwrap(),
        limit: std::time::Duration::from_secs_f64(seconds),
    };
    assert_eq!(
        gates,
        [
            ("errors", errors(1.0, "0.1%")),
            ("doubled", errors(2.0, "0.02%")),
            ("plain", errors(1.1, "0.05%")),
            ("errors-limit", GateRule::ErrorLimit { limit: "5%".parse().unwrap() }),
            ("latency-p99", latency("p99", 0.3)),
            ("latency-p99.9", latency("p99.9", 2.0)),
        ]
    );
}

#[test]
fn a_tolerance_in_points_has_the_ratio_1_and_one_as_a_ratio_has_no_points() {
    let tolerance = |text: &str| {
        let plan = format!("{{ gates: [{{ errors: {{ tolerance: {text} }} }}] }}");
        let service = format!("services: {{ shop: {{ versions: {{ v1: {{ endpoints: ['a:1'] }} }}, plan: {plan} }} }}");
        let rule = read(&service).services[0].plan.gates[0].rule;
        let GateRule::Errors { tolerance } = rule else { panic!("{text} became {rule:?}") };
        (tolerance.ratio, tolerance.points.get())
    };
    assert_eq!(tolerance("0.1%"), (1.0, 0.001));
    assert_eq!(tolerance("{ points: 0.1% }"), (1.0, 0.001));
    assert_eq!(tolerance("{ ratio: 1.5 }"), (1.5, 0.0));
    assert_eq!(tolerance("{ ratio: 1.5, points: 0.2% }"), (1.5, 0.002));
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
