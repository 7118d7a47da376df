//! An explanation is the whole configuration: put together, its values are the same configuration again.

use std::collections::{BTreeMap, BTreeSet};

use config::{Explained, Setting, Source, explain};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::ingress::{any_listeners, any_rules, any_service};
use crate::plans::any_plan;
use crate::writing::{written, written_plan};
use crate::{FULL, by_name, read};

fn explained(text: &str) -> Explained {
    explain(text, "test.yaml").unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn setting(explained: &Explained, path: &str) -> Setting {
    let found = explained.settings().into_iter().find(|setting| setting.path == path);
    found.unwrap_or_else(|| panic!("nothing is said of {path}: {:#?}", explained.settings()))
}

/// What is written below a place: a value, or more.
#[derive(Default)]
struct Branch {
    value: Option<String>,
    below: BTreeMap<String, Branch>,
}

impl Branch {
    fn put(&mut self, path: &str, value: &str) {
        // A list's item is below its list: `steps[10]` is `steps`, then `[0010]`.
        let spread = path.replace('[', ".[");
        let mut branch = self;
        for part in spread.split('.') {
            let number = part.strip_prefix('[').and_then(|part| part.strip_suffix(']'));
            let part = number.map_or_else(|| part.to_owned(), |number| format!("[{number:0>4}]"));
            branch = branch.below.entry(part).or_default();
        }
        branch.value = Some(value.to_owned());
    }

    fn yaml(&self) -> String {
        if let Some(value) = &self.value {
            return value.clone();
        }
        if self.below.keys().any(|key| key.starts_with('[')) {
            return format!("[{}]", self.below.values().map(Self::yaml).collect::<Vec<_>>().join(", "));
        }
        let entries = self.below.iter().map(|(key, branch)| format!("\"{key}\": {}", branch.yaml()));
        format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
    }
}

/// The configuration that an explanation's values are.
fn put_together(settings: &[Setting]) -> String {
    let mut whole = Branch::default();
    for Setting { path, value, source, .. } in settings {
        // What is in parentheses is no value, and what another key says is written there.
        if !value.starts_with('(') && !matches!(source, Source::As(_)) {
            whole.put(path, value);
        }
    }
    whole.yaml()
}

fn holds(text: &str) {
    let explained = explained(text);
    let settings = explained.settings();
    let together = put_together(&settings);
    assert_eq!(by_name(read(&together)), by_name(explained.read.configuration), "{together}");
    let nothing_said: Vec<_> = settings.iter().filter(|setting| setting.meaning.is_empty()).collect();
    assert!(nothing_said.is_empty(), "{nothing_said:?}");
}

#[test]
fn a_full_configuration_is_explained_whole() {
    holds(FULL);
}

/// Every key of the mappings that a schema describes.
fn keys_of(schema: &Value, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            members.values().for_each(|member| keys_of(member, keys));
        }
        Value::Array(items) => items.iter().for_each(|item| keys_of(item, keys)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn no_key_is_left_out_of_an_explanation() {
    let mut keys = BTreeSet::new();
    keys_of(&config::json_schema(), &mut keys);
    assert!(keys.len() >= 80, "found only {keys:?}");
    let told: String =
        explained(FULL).settings().iter().map(|Setting { path, value, .. }| format!("{path} {value}\n")).collect();
    let words: BTreeSet<&str> = told.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let missing: Vec<_> = keys.iter().filter(|key| !words.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "nothing is told of {missing:?}");
}

#[test]
fn the_smallest_configuration_is_explained_whole() {
    holds("services: { shop: { versions: { v1: { endpoints: ['a:1'] } } } }");
}

#[test]
fn a_value_says_its_line_or_that_it_is_the_default_or_which_key_says_it() {
    let text = "timeouts:\n  head: 5s\n  response: 30s\n  keepalive: 75s\nlimits: { body: 1MiB }\nservices:\n  shop:\n    timeouts:\n      \
                total: 1m\n    plan:\n      deadline: 2h\n      steps: [{ weight: 5%, hold: 10m },\n        { weight: 50%, \
                deadline: 3h }]\n    versions:\n      v1: { endpoints: ['a:1'] }\n";
    let explained = explained(text);
    let said = |path: &str| {
        let Setting { value, source, usual, .. } = setting(&explained, path);
        (value, source.to_string(), usual)
    };
    let written = |value: &str, line: usize, usual: Option<&str>| {
        (value.to_owned(), format!("line {line}"), usual.map(str::to_owned))
    };
    let usual = |value: &str| (value.to_owned(), "default".to_owned(), None);
    assert_eq!(said("timeouts.head"), written("5s", 2, Some("10s")));
    assert_eq!(said("timeouts.response"), written("30s", 3, None), "what is written is the default");
    assert_eq!(said("timeouts.keepalive"), written("1m15s", 4, None), "and so is this, in other words");
    assert_eq!(said("timeouts.body"), usual("30s"));
    assert_eq!(said("timeouts.total"), usual("(none)"));
    assert_eq!(said("limits.request_line"), usual("8KiB"));
    assert_eq!(said("services.shop.timeouts.total"), written("1m", 9, None));
    assert_eq!(said("services.shop.timeouts.response"), ("30s".to_owned(), "as timeouts.response".to_owned(), None));
    assert_eq!(said("services.shop.body"), ("1MiB".to_owned(), "as limits.body".to_owned(), None));
    assert_eq!(said("services.shop.stable"), usual("v1"));
    assert_eq!(
        said("services.shop.plan.steps[0].deadline"),
        written("2h", 11, None),
        "what the plan says of its steps"
    );
    assert_eq!(said("services.shop.plan.steps[1].deadline"), written("3h", 13, None));
    assert_eq!(said("services.shop.plan.steps[1].hold"), usual("5m"));
    assert_eq!(said("services.shop.plan.gates[0].errors.tolerance"), usual("{ ratio: 1.1, points: 0.05% }"));
    assert_eq!(said("services.shop.plan.gates[1].latency.margin"), usual("(25% up to p95, 50% above)"));
}

#[test]
fn an_alias_is_where_it_is_used() {
    let text = "services:\n  a: { hosts: [a], versions: &v { v1: { endpoints: ['a:1'] } } }\n  b:\n    hosts: [b]\n    \
                versions: *v\n";
    let explained = explained(text);
    assert_eq!(setting(&explained, "services.a.versions.v1.endpoints").source, Source::Line(2));
    // The alias is in line 5; what it stands for is in line 2.
    assert_eq!(setting(&explained, "services.b.versions.v1.endpoints").source, Source::Line(2));
    assert_eq!(setting(&explained, "services.b.hosts").source, Source::Line(4));
}

#[test]
fn a_problem_with_a_file_that_is_named_has_the_place_of_its_name() {
    let text = "state: /tmp/x\nlisteners:\n  - address: '127.0.0.1:1'\n    tls: { certificates: [{ cert: a.pem, key: a.key }] }\nservices:\n  \
                shop: { versions: { v1: { endpoints: ['a:1'] } } }\n";
    let explained = explained(text);
    let told = |path: &str| explained.problem(path, "is bad").to_string();
    assert_eq!(told("state"), "test.yaml:1:8: state: is bad");
    let certificate = "listeners[0].tls.certificates[0]";
    assert_eq!(told(&format!("{certificate}.cert")), format!("test.yaml:4:35: {certificate}.cert: is bad"));
    assert_eq!(told(certificate), format!("test.yaml:4:27: {certificate}: is bad"));
    // What is not written is shown at what it would be a part of.
    assert_eq!(told("services.shop.forced.secret"), "test.yaml:6:9: services.shop.forced.secret: is bad");
    assert_eq!(told("admin.tokens"), "test.yaml: admin.tokens: is bad");
}

#[test]
fn what_is_no_configuration_is_not_explained() {
    assert!(explain("services: {", "test.yaml").is_err());
    assert!(explain("timeouts: { head: 5 }", "test.yaml").unwrap_err().to_string().contains("has no unit"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_service_is_explained_whole(service in any_service()) {
        let mut configuration = read("services: { shop: { versions: { v1: { endpoints: ['a:1'] } } } }");
        configuration.services = vec![service];
        holds(&written(&configuration).to_string());
    }

    #[test]
    fn any_listeners_and_rules_are_explained_whole(listeners in any_listeners(), rules in any_rules()) {
        let mut configuration = read("services: { shop: { versions: { v1: { endpoints: ['a:1'] } } } }");
        (configuration.listeners, configuration.rules) = (listeners, rules.into());
        holds(&written(&configuration).to_string());
    }

    #[test]
    fn any_plan_is_explained_whole(plan in any_plan()) {
        let versions = json!({ "v1": { "endpoints": ["a:1"] }, "v2": { "endpoints": ["a:2"] }, "v3": { "endpoints": ["a:3"] } });
        let shop = json!({ "stable": "v1", "versions": versions });
        holds(&json!({ "services": { "shop": shop }, "plans": { "other": written_plan(&plan) } }).to_string());
    }
}
