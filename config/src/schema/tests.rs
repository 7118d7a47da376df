mod fitting;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::json_schema;
use crate::keys::{self, Keys};
use crate::tree::{self, Node};

/// Where the schema describes what a list of keys is of.
const PAIRS: [(&str, &Keys); 36] = [
    ("", &keys::TOP),
    ("/$defs/Listener", &keys::LISTENER),
    ("/$defs/ListenerTls", &keys::LISTENER_TLS),
    ("/$defs/Certificate", &keys::CERTIFICATE),
    ("/$defs/Clients", &keys::CLIENTS),
    ("/$defs/Hsts", &keys::HSTS),
    ("/$defs/Redirect", &keys::REDIRECT),
    ("/$defs/Timeouts", &keys::TIMEOUTS),
    ("/$defs/Limits", &keys::LIMITS),
    ("/$defs/Requests", &keys::REQUESTS),
    ("/$defs/AccessLog", &keys::ACCESS_LOG),
    ("/$defs/Dns", &keys::DNS),
    ("/$defs/Drain", &keys::DRAIN),
    ("/$defs/Admin", &keys::ADMIN),
    ("/$defs/Service", &keys::SERVICE),
    ("/$defs/ServiceTimeouts", &keys::SERVICE_TIMEOUTS),
    ("/$defs/Affinity", &keys::AFFINITY),
    ("/$defs/Issue", &keys::ISSUE),
    ("/$defs/Forced", &keys::FORCED),
    ("/$defs/Version", &keys::VERSION),
    ("/$defs/EndpointTls", &keys::ENDPOINT_TLS),
    ("/$defs/Health", &keys::HEALTH),
    ("/$defs/Ejection", &keys::EJECTION),
    ("/$defs/Balance", &keys::BALANCE),
    ("/$defs/Hash", &keys::HASH),
    ("/$defs/VersionLimits", &keys::VERSION_LIMITS),
    ("/$defs/Retries", &keys::RETRIES),
    ("/$defs/Plan", &keys::PLAN),
    ("/$defs/Step", &keys::STEP),
    ("/$defs/Gate", &keys::GATE),
    ("/$defs/Errors", &keys::ERRORS),
    ("/$defs/Tolerance", &keys::TOLERANCE),
    ("/$defs/Margin", &keys::MARGIN),
    ("/$defs/Latency", &keys::LATENCY),
    ("/$defs/Mirror", &keys::MIRROR),
    ("/$defs/MirrorGate", &keys::MIRROR_GATE),
];

/// A schema with its reference followed.
fn resolved<'a>(whole: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => whole.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null),
        None => schema,
    }
}

/// The alternatives of a schema: itself where it has none.
fn branches<'a>(whole: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let schema = resolved(whole, schema);
    let alternatives = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array());
    alternatives.map_or_else(|| vec![schema], |all| all.iter().flat_map(|one| branches(whole, one)).collect())
}

/// Whether a value fits a schema: types, keys, required keys, constants, the least lengths.
fn fits(whole: &Value, schema: &Value, value: &Value) -> bool {
    branches(whole, schema).into_iter().any(|schema| {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_u64() => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let one_type = std::slice::from_ref(&schema["type"]);
        let types = schema["type"].as_array().map_or(one_type, Vec::as_slice);
        let types: Vec<&str> = types.iter().filter_map(Value::as_str).collect();
        let constant = schema.get("const").is_none_or(|constant| constant == value);
        let chosen = schema["enum"].as_array().is_none_or(|words| words.contains(value));
        let typed = types.contains(&kind) || (kind == "integer" && types.contains(&"number"));
        let inner = match value {
            Value::Array(items) => items.iter().all(|item| fits(whole, &schema["items"], item)),
            Value::Object(entries) => {
                let required = schema["required"].as_array();
                required.is_none_or(|keys| keys.iter().all(|key| entries.contains_key(key.as_str().unwrap())))
                    && entries.iter().all(|(key, value)| match schema["properties"].get(key) {
                        Some(property) => fits(whole, property, value),
                        None => {
                            schema["additionalProperties"].is_object()
                                && fits(whole, &schema["additionalProperties"], value)
                        }
                    })
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        };
        typed && constant && chosen && inner
    })
}

fn json_of(node: &Node) -> Value {
    match &node.value {
        tree::Value::Scalar { text, plain: true } => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        tree::Value::Scalar { text, plain: false } => json!(text),
        tree::Value::List(items) => items.iter().map(|item| json_of(item)).collect(),
        tree::Value::Map(entries) => entries.iter().map(|(key, value)| (key.text.clone(), json_of(value))).collect(),
    }
}

fn read(text: &str) -> Value {
    json_of(&tree::grow(text).unwrap().unwrap())
}

#[test]
fn the_schema_knows_the_keys_that_the_decoder_reads_and_no_others() {
    let schema = json_schema();
    let keys_of = |pointer: &str| -> BTreeSet<String> {
        let at = schema.pointer(pointer).unwrap_or_else(|| panic!("the schema has no {pointer}: {schema:#}"));
        let objects = branches(&schema, at).into_iter().filter_map(|branch| branch["properties"].as_object());
        objects.flat_map(|properties| properties.keys().cloned()).collect()
    };
    for (pointer, keys) in PAIRS {
        let known: BTreeSet<String> = keys.known.iter().map(|key| (*key).to_owned()).collect();
        assert_eq!(keys_of(pointer), known, "keys of {}", keys.of);
    }
}

#[test]
fn no_key_is_both_read_and_not_built_yet() {
    for (_, keys) in PAIRS {
        let both: Vec<_> = keys.known.iter().filter(|key| keys.later.contains(key)).collect();
        assert!(both.is_empty(), "{both:?} of {}", keys.of);
    }
}

#[test]
fn every_example_fits_the_schema() {
    let schema = json_schema();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut found = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            found += 1;
            let value = read(&std::fs::read_to_string(&path).unwrap());
            assert!(fits(&schema, &schema, &value), "{} does not fit", path.display());
        }
    }
    assert!(found >= 6, "found {found} examples");
}

#[test]
fn what_the_decoder_refuses_by_its_keys_does_not_fit_the_schema() {
    let schema = json_schema();
    let broken = [
        "{}",
        "services: []",
        "{ services: { a: { versions: { v: { endpoints: ['a:1'] } } } }, tls: {} }",
        "{ services: { a: { versions: { v: { endpoints: ['a:1'] } } } }, state: null }",
        "services: { a: { versions: { v: {} } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, plan: null } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, affinity: { cookie: x, header: y } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, plan: { steps: [{ weight: 1%, approval: true }] } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, plan: { gates: [{ errors: { tolerence: 1% } }] } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, plan: { gates: [{ latency: { limit: 1s, margin: 5% } }] } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, plan: { gates: [{ errors: { limit: 1%, tolerance: 1% } }] } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, plan: { gates: [{ latency: {}, role: judge }] } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, plan: { steps: [{ approval: true, early: true }] } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, plan: { steps: [{ weight: 1%, on_deadline: wait }] } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, plan: { dry_run: yes } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, plan: { advance: early } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, plan: { drain: 10 } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, plan: { gates: [{ mirror: 1% }] } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, plan: { gates: [{ mirror: { latency: 1% } }] } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, plan: { steps: [{ mirror: 1%, early: true }] } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, mirror: { methods: GET } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, mirror: { in_flight: many } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, weight: 10 } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, affinity: { header: x, issue: true } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, headers: { x: null } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, grpc_errors: [OK] } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'], protocol: h3 } } } }",
        "services: { a: { versions: { v: { endpoints: ['https://a:1'], tls: { verify: false } } } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'], health: {} } } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'], health: on } } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'], health: { path: /a, connect: true } } } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'], health: { connect: true, status: 200 } } } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'], health: { connect: false } } } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'], ejection: no } } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'], ejection: { success_rate: 50% } } } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'], balance: { hash: client-address } } } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'], balance: { hash: { header: x, cookie: y } } } } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'], balance: round_robin } } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'], slow_start: 10 } } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'], warm_start: true } } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'], limits: { requests: many } } } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, retries: true } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, retries: { on: [connect] } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, shield: off } }",
        "{ services: { a: { versions: { v: { endpoints: ['a:1'] } } } }, access_log: {} }",
        "{ services: { a: { versions: { v: { endpoints: ['a:1'] } } } }, limits: { headers: many } }",
        "{ services: { a: { versions: { v: { endpoints: ['a:1'] } } } }, requests: { underscores: true } }",
        "{ services: { a: { versions: { v: { endpoints: ['a:1'] } } } }, listeners: [{ address: '0.0.0.0:1', tls: {} }] }",
        "{ services: { a: { versions: { v: { endpoints: ['a:1'] } } } }, listeners: [{ address: '0.0.0.0:1', redirect: http }] }",
        "{ services: { a: { versions: { v: { endpoints: ['a:1'] } } } }, listeners: [{ address: '0.0.0.0:1', redirect: https, tls: { certificates: [{ cert: a, key: b }] } }] }",
    ];
    for text in broken {
        assert!(!fits(&schema, &schema, &read(text)), "{text} fits");
        assert!(crate::parse(text, "f").is_err(), "{text} is read");
    }
}

#[test]
fn what_a_gate_and_a_step_may_say_together_fits_the_schema_and_is_read() {
    let schema = json_schema();
    let gates = [
        "{ errors: { tolerance: { ratio: 2 }, margin: 1% }, role: signal, path: /a, name: b }",
        "{ errors: { margin: { ratio: 2, points: 1% } } }",
        "{ latency: { quantile: p50, tolerance: 10%, margin: 20%, of: total } }",
        "{ latency: { limit: 1s, quantile: p50, of: head } }",
        "{ latency: {} }",
        "{ mirror: { errors: 1%, status: 1%, body: 5% }, role: signal, name: same }",
    ];
    let plans = gates.iter().map(|gate| format!("gates: [{gate}]")).chain([
        "steps: [{ weight: 1%, hold: 1s, early: true, deadline: 1h, on_deadline: roll-back }, { approval: true }]"
            .to_owned(),
        "beta: 1%, warmup: 0s, advance: proof, early: true, deadline: 1h, on_deadline: hold, baseline: equal"
            .to_owned(),
        "baseline: v, dry_run: true, drain: never".to_owned(),
        "drain: 1h30m, steps: [{ mirror: 10%, hold: 1s }, { weight: 1% }]".to_owned(),
    ]);
    for plan in plans {
        let text = format!(
            "services: {{ a: {{ stable: u, versions: {{ u: {{ endpoints: ['a:1'] }}, v: {{ endpoints: ['b:1'] }} }}, plan: \
             {{ {plan} }} }} }}"
        );
        crate::parse(&text, "f").unwrap_or_else(|problems| panic!("{problems}"));
        assert!(fits(&schema, &schema, &read(&text)), "{text} does not fit");
    }
}

#[test]
fn what_care_may_say_fits_the_schema_and_is_read() {
    let schema = json_schema();
    let versions = [
        "health: { path: /a, host: b, status: 204, interval: 1s, timeout: 1s, jitter: 0%, healthy: 1, unhealthy: 1 }",
        "health: { path: /a, status: 200-299 }",
        "health: { grpc: '', interval: 1s }, protocol: h2c",
        "health: { connect: true, unhealthy: 9 }",
        "ejection: off",
        "ejection: { failures: 1, first: 1s, most: 1%, success_rate: true, hang: 250ms }",
        "ejection: { hang: off }",
        "balance: peak_ewma",
        "balance: least_requests",
        "balance: { hash: client_address }",
        "balance: { hash: path }",
        "balance: { hash: { header: x } }",
        "balance: { hash: { cookie: x } }",
        "slow_start: 0s, limits: { requests: 1, requests_per_endpoint: 1 }",
        "warm_start: 0",
        "warm_start: 16",
        "warm_start: false",
    ];
    let versions = versions.map(|version| (version, "shield: false"));
    let services = [
        "retries: off",
        "retries: { most: 0, budget: 0%, floor: 0, on: [] }",
        "retries: { on: [broken, unavailable] }",
        "mirror: { methods: [GET, POST], body: 1KiB, in_flight: 1, timeout: 1ms }",
        "mirror: {}",
    ];
    for (version, service) in versions.into_iter().chain(services.map(|service| ("protocol: h1", service))) {
        let text =
            format!("services: {{ a: {{ versions: {{ v: {{ endpoints: ['a:1'], {version} }} }}, {service} }} }}");
        crate::parse(&text, "f").unwrap_or_else(|problems| panic!("{problems}"));
        assert!(fits(&schema, &schema, &read(&text)), "{text} does not fit");
    }
}

#[test]
fn the_schema_has_as_many_gates_and_steps_as_a_plan_may_have() {
    let schema = json_schema();
    let most = |key: &str| schema["$defs"]["Plan"]["properties"][key]["maxItems"].as_u64();
    assert_eq!(most("gates"), Some(crate::Plan::MOST_GATES as u64));
    assert_eq!(most("steps"), Some(crate::Plan::MOST_STEPS as u64));
}

#[test]
fn the_schema_describes_itself() {
    let schema = json_schema();
    assert_eq!(schema["title"], "Tidegate configuration");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for (key, property) in schema["$defs"]["Plan"]["properties"].as_object().unwrap() {
        assert!(property["description"].is_string(), "`{key}` of a plan has no description");
    }
}
