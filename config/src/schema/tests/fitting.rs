//! Whatever the decoder reads fits the schema.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::fits;
use crate::keys::{self, Keys};
use crate::schema::json_schema;

thread_local! {
    static SCHEMA: Value = json_schema();
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
    const TEXTS: [&str; 17] = [
        "ca",
        "canary",
        "cert",
        "endpoints",
        "grpc",
        "host",
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
        "off",
        "peak_ewma",
        "least_requests",
        "client_address",
        "path",
        "/healthz",
        "200-299",
        "unavailable",
        "broken",
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
            of(&keys::DRAIN, leaf.clone()),
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
        of(&keys::RETRIES, leaf.clone()),
    ];
    let service = of(&keys::SERVICE, service_value.boxed()).prop_map(|service| json!({ "services": { "a": service } }));
    let endpoints = prop::sample::select(vec!["a:1", "https://a:1", "https://10.0.0.1:1", "unix:/a"]);
    let health = of(&keys::HEALTH, leaf.clone()).prop_map(|mut health| {
        // Without a question every other key would be in vain.
        if ["path", "grpc", "connect"].iter().all(|kind| health.get(kind).is_none()) {
            health["connect"] = json!(true);
        }
        health
    });
    let hash = prop_oneof![leaf.clone(), of(&keys::HASH, leaf.clone())];
    let version_value = prop_oneof![
        2 => leaf.clone(),
        1 => of(&keys::ENDPOINT_TLS, leaf.clone()),
        2 => health,
        1 => of(&keys::EJECTION, leaf.clone()),
        1 => hash.prop_map(|hash| json!({ "hash": hash })),
        1 => of(&keys::VERSION_LIMITS, leaf),
    ];
    let version = (of(&keys::VERSION, version_value.boxed()), endpoints).prop_map(|(mut version, endpoint)| {
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
