use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::json_schema;
use crate::keys::{self, Keys};
use crate::tree::{self, Node};

/// Where the schema describes what a list of keys is of.
const PAIRS: [(&str, &Keys); 26] = [
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
    ("/$defs/Admin", &keys::ADMIN),
    ("/$defs/Service", &keys::SERVICE),
    ("/$defs/ServiceTimeouts", &keys::SERVICE_TIMEOUTS),
    ("/$defs/Affinity", &keys::AFFINITY),
    ("/$defs/Issue", &keys::ISSUE),
    ("/$defs/Forced", &keys::FORCED),
    ("/$defs/Version", &keys::VERSION),
    ("/$defs/EndpointTls", &keys::ENDPOINT_TLS),
    ("/$defs/Plan", &keys::PLAN),
    ("/$defs/Step", &keys::STEP),
    ("/$defs/Gate", &keys::GATE),
    ("/$defs/Errors", &keys::ERRORS),
    ("/$defs/Tolerance", &keys::TOLERANCE),
    ("/$defs/Margin", &keys::MARGIN),
    ("/$defs/Latency", &keys::LATENCY),
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
    assert!(found >= 4, "found {found} examples");
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
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, weight: 10 } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, affinity: { header: x, issue: true } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, headers: { x: null } } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'] } }, grpc_errors: [OK] } }",
        "services: { a: { versions: { v: { endpoints: ['a:1'], protocol: h3 } } } }",
        "services: { a: { versions: { v: { endpoints: ['https://a:1'], tls: { verify: false } } } } }",
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

/// A plan of some keys, each with one of a few values, of which many are wrong there.
fn any_plan() -> impl Strategy<Value = Value> {
    fn some(keys: &Keys, value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
        let keys: Vec<&str> = keys.known.iter().copied().chain(["colour"]).collect();
        let key = prop::sample::select(keys).prop_map(str::to_owned);
        let entries = prop::collection::btree_map(key, value, 0..3);
        // A name is what the text says, also where JSON would read a number; editors are told to quote it.
        let quote = |mut entries: BTreeMap<String, Value>| {
            let unquoted = entries.get_mut("name").filter(|name| name.is_boolean() || name.is_number());
            if let Some(name) = unquoted {
                *name = json!(name.to_string());
            }
            json!(entries)
        };
        entries.prop_map(quote).boxed()
    }
    let words = [
        "time",
        "proof",
        "hold",
        "promote",
        "roll-back",
        "equal",
        "v",
        "head",
        "total",
        "guardrail",
        "signal",
        "/a",
        "name",
        "1%",
        "20%",
        "5m",
        "1h",
        "p50",
        "p99",
    ];
    let word = prop_oneof![
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        prop::sample::select(vec![json!(true), json!(false), json!(2), json!(1.5), Value::Null, json!([]), json!({})]),
    ];
    let harm = prop_oneof![word.clone(), some(&keys::TOLERANCE, word.clone())];
    let rule = prop_oneof![some(&keys::ERRORS, harm.clone()), some(&keys::LATENCY, harm)];
    let gate = some(&keys::GATE, prop_oneof![rule, word.clone()]);
    let step = some(&keys::STEP, word.clone());
    let gates = prop::collection::vec(gate, 0..3).prop_map(|gates| json!({ "gates": gates }));
    let steps = prop::collection::vec(step, 0..3).prop_map(|steps| json!({ "steps": steps }));
    prop_oneof![gates, steps, some(&keys::PLAN, word)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_that_is_read_fits_the_schema(plan in any_plan()) {
        let versions = json!({ "u": { "endpoints": ["a:1"] }, "v": { "endpoints": ["b:1"] } });
        let whole = json!({ "services": { "a": { "stable": "u", "versions": versions, "plan": plan } } });
        let read = crate::parse(&whole.to_string(), "f");
        let schema = SCHEMA.with(Value::clone);
        prop_assert!(read.is_err() || fits(&schema, &schema, &whole), "{whole} is read and does not fit");
    }
}

/// The same, with what is a text written in quotes where JSON would read something else; editors are told to quote it.
fn quoted(whole: Value) -> Value {
    const TEXTS: [&str; 15] = [
        "ca",
        "canary",
        "cert",
        "endpoints",
        "hosts",
        "key",
        "methods",
        "secret",
        "server_name",
        "stable",
        "state",
        "to",
        "tokens",
        "trusted",
        "upgrades",
    ];
    fn text(value: Value) -> Value {
        match value {
            Value::Bool(_) | Value::Number(_) => json!(value.to_string()),
            Value::Array(items) => items.into_iter().map(text).collect(),
            Value::Null | Value::String(_) | Value::Object(_) => value,
        }
    }
    match whole {
        Value::Object(entries) => {
            let entry = |(key, value): (String, Value)| {
                let value = if TEXTS.contains(&key.as_str()) { text(value) } else { quoted(value) };
                (key, value)
            };
            entries.into_iter().map(entry).collect()
        }
        Value::Array(items) => items.into_iter().map(quoted).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => whole,
    }
}

/// A configuration of listeners, rules and one service: some keys of the ingress, each with one of a few values, of which
/// many are wrong there.
fn any_ingress() -> impl Strategy<Value = Value> {
    let words = [
        "refuse",
        "pass",
        "stdout",
        "/var/log/a",
        "https",
        "1.2",
        "1.3",
        "h1",
        "h2",
        "h2c",
        "random",
        "client-address",
        "1%",
        "5m",
        "8KiB",
        "10MiB",
        "10.0.0.0/8",
        "INTERNAL",
        "GET",
        "*",
        "a.pem",
    ];
    let numbers = vec![json!(true), json!(false), json!(0), json!(2), json!(1.2), json!(443), Value::Null, json!({})];
    let word = prop_oneof![
        4 => prop::sample::select(words.to_vec()).prop_map(Value::from),
        1 => prop::sample::select(numbers),
    ];
    let of = |keys: &'static Keys, value: BoxedStrategy<Value>| {
        let keys: Vec<&str> = keys.known.iter().copied().chain(["colour"]).collect();
        let key = prop::sample::select(keys).prop_map(str::to_owned);
        prop::collection::btree_map(key, value, 0..3).prop_map(|entries| json!(entries)).boxed()
    };
    let leaf = prop_oneof![3 => word.clone(), 1 => prop::collection::vec(word, 0..3).prop_map(Value::from)].boxed();
    let named = (prop::sample::select(vec!["x-a", "cert", "key"]), leaf.clone())
        .prop_map(|(key, value)| json!({ key: value, "key": "b" }));
    let certificates =
        prop::collection::vec(prop_oneof![Just(json!({ "cert": "a", "key": "b" })), named.clone()], 0..2);
    let tls_value = prop_oneof![
        leaf.clone(),
        certificates.prop_map(Value::from),
        of(&keys::CLIENTS, leaf.clone()),
        of(&keys::HSTS, leaf.clone()),
    ];
    let listener_value = prop_oneof![
        leaf.clone(),
        of(&keys::LISTENER_TLS, tls_value.boxed()),
        of(&keys::REDIRECT, leaf.clone()),
        Just(json!({ "certificates": [{ "cert": "a", "key": "b" }] })),
    ];
    let listener = of(&keys::LISTENER, listener_value.boxed()).prop_map(|mut listener| {
        listener["address"] = json!("0.0.0.0:1");
        json!({ "listeners": [listener] })
    });
    let rules = of(
        &keys::TOP,
        prop_oneof![
            leaf.clone(),
            of(&keys::TIMEOUTS, leaf.clone()),
            of(&keys::LIMITS, leaf.clone()),
            of(&keys::REQUESTS, leaf.clone()),
            of(&keys::ACCESS_LOG, leaf.clone()),
        ]
        .boxed(),
    );
    let affinity_value = prop_oneof![leaf.clone(), of(&keys::ISSUE, leaf.clone())].boxed();
    let service_value = prop_oneof![
        leaf.clone(),
        named,
        of(&keys::AFFINITY, affinity_value),
        of(&keys::FORCED, leaf.clone()),
        of(&keys::SERVICE_TIMEOUTS, leaf.clone()),
    ];
    let service = of(&keys::SERVICE, service_value.boxed()).prop_map(|service| json!({ "services": { "a": service } }));
    let endpoints = prop::sample::select(vec!["a:1", "https://a:1", "https://10.0.0.1:1", "unix:/a"]);
    let version = (of(&keys::VERSION, prop_oneof![leaf.clone(), of(&keys::ENDPOINT_TLS, leaf)].boxed()), endpoints)
        .prop_map(|(mut version, endpoint)| {
            version["endpoints"] = json!([endpoint]);
            json!({ "services": { "a": { "versions": { "v": version } } } })
        });
    prop_oneof![listener, rules, service, version].prop_map(|mut whole| {
        if whole["services"]["a"].get("versions").is_none() {
            if !whole["services"]["a"].is_object() {
                whole["services"] = json!({ "a": {} });
            }
            whole["services"]["a"]["versions"] = json!({ "v": { "endpoints": ["a:1"] } });
        }
        quoted(whole)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_ingress_that_is_read_fits_the_schema(whole in any_ingress()) {
        let schema = SCHEMA.with(Value::clone);
        let read = crate::parse(&whole.to_string(), "f");
        prop_assert!(read.is_err() || fits(&schema, &schema, &whole), "{whole} is read and does not fit");
    }
}

thread_local! {
    static SCHEMA: Value = json_schema();
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
    ];
    let plans = gates.iter().map(|gate| format!("gates: [{gate}]")).chain([
        "steps: [{ weight: 1%, hold: 1s, early: true, deadline: 1h, on_deadline: roll-back }, { approval: true }]"
            .to_owned(),
        "beta: 1%, warmup: 0s, advance: proof, early: true, deadline: 1h, on_deadline: hold, baseline: equal"
            .to_owned(),
        "baseline: v, dry_run: true".to_owned(),
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
