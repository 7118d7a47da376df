//! What an operator reads when a configuration is wrong, word for word.

#![expect(clippy::panic, reason = "a test that cannot go on has failed")]

mod care;
mod gates;
mod ingress;
mod matching;
mod mirror;
mod plans;
mod requests;
mod services;

use expect_test::{Expect, expect};

/// Every problem of a text, one a line.
fn problems(text: &str) -> String {
    match config::parse(text, "t.yaml") {
        Ok(read) => panic!("is read: {read:?}"),
        Err(problems) => problems.to_string(),
    }
}

fn warnings(text: &str) -> String {
    let read = config::parse(text, "t.yaml").unwrap_or_else(|problems| panic!("{problems}"));
    read.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(text: &str, expected: &Expect) {
    expected.assert_eq(&problems(text));
}

/// A service with two versions, with `more` beside them.
fn shop(more: &str) -> String {
    format!(
        "services:\n  shop:\n    stable: v1\n    versions:\n      v1: {{ endpoints: [\"a:1\"] }}\n      v2: {{ endpoints: \
         [\"b:1\"] }}\n{more}\n"
    )
}

#[test]
fn a_text_that_is_no_yaml_stops_at_the_first_fault() {
    check(
        "services: [",
        &expect![
            "t.yaml:1:11: not YAML: unclosed bracket '['; check indentation, brackets and quotes here and just above"
        ],
    );
    check("services:\n\tshop: {}\n", &expect!["t.yaml:2:2: not YAML: a tab stands here; indent with spaces"]);
    check(
        "a: 'b",
        &expect!["t.yaml:1:4: not YAML: unclosed quote; check indentation, brackets and quotes here and just above"],
    );
    check(
        "services: {}\n---\nservices: {}\n",
        &expect!["t.yaml:2:1: a second document begins here; a configuration is one document, remove the `---`"],
    );
    check("services: !!map {}\n", &expect!["t.yaml:1:17: tags (`!...`) are not read; remove it"]);
    check("? [a]\n: b\n", &expect!["t.yaml:1:3: a list or mapping stands where a key belongs; a key is a word"]);
    check(
        "services: *shop\n",
        &expect!["t.yaml:1:11: this alias names no anchor; an alias (`*name`) follows its anchor (`&name`)"],
    );
}

#[test]
fn an_empty_text_says_what_is_needed() {
    check("", &expect!["t.yaml:1:1: nothing is written here; a configuration needs at least `services`"]);
    check(
        "# nothing yet\n",
        &expect!["t.yaml:1:1: nothing is written here; a configuration needs at least `services`"],
    );
    check(
        "~",
        &expect![
            "t.yaml:1:1: nothing is written here; legal is a mapping with `listeners`, `admin`, `state`, `dns`, `services`, `plans`, `timeouts`, `limits`, `requests`, `trusted`, `access_log`, `drain`, `health` and `retries`"
        ],
    );
    check(
        "listeners:\n",
        &expect![[r#"
        t.yaml:1:1: listeners: nothing is written here; legal is a list of listeners, like [{ address: "0.0.0.0:8080" }]
        t.yaml:1:1: `services` is missing; write at least one service"#]],
    );
}

#[test]
fn something_else_in_place_of_a_mapping_is_named() {
    check(
        "[]",
        &expect![
            "t.yaml:1:1: a list is written here; legal is a mapping with `listeners`, `admin`, `state`, `dns`, `services`, `plans`, `timeouts`, `limits`, `requests`, `trusted`, `access_log`, `drain`, `health` and `retries`"
        ],
    );
    check(
        "hello",
        &expect![
            "t.yaml:1:1: `hello` is written here; legal is a mapping with `listeners`, `admin`, `state`, `dns`, `services`, `plans`, `timeouts`, `limits`, `requests`, `trusted`, `access_log`, `drain`, `health` and `retries`"
        ],
    );
    check(
        "services: []",
        &expect![
            "t.yaml:1:11: services: a list is written here; legal is a mapping from each service's name to the service"
        ],
    );
    check("services: {}", &expect!["t.yaml:1:11: services: no service is written here; write at least one"]);
    check(
        "services:\n  shop:\n  cart: v1\n",
        &expect![[r#"
            t.yaml:2:3: services.shop: nothing is written here; legal is a mapping with `hosts`, `path`, `methods`, `headers`, `affinity`, `forced`, `version_header`, `upgrades`, `grpc_errors`, `body`, `timeouts`, `health`, `retries`, `shield`, `mirror`, `stable`, `canary`, `weight`, `versions` and `plan`
            t.yaml:3:9: services.cart: `v1` is written here; legal is a mapping with `hosts`, `path`, `methods`, `headers`, `affinity`, `forced`, `version_header`, `upgrades`, `grpc_errors`, `body`, `timeouts`, `health`, `retries`, `shield`, `mirror`, `stable`, `canary`, `weight`, `versions` and `plan`"#]],
    );
}

#[test]
fn an_unknown_key_is_met_with_the_legal_ones_and_the_one_meant() {
    check(
        &shop("    stabel: v1\n    affinty: random\n    zebra: 1"),
        &expect![[r#"
            t.yaml:7:5: services.shop.stabel: `stabel` is no key of a service; legal keys are `hosts`, `path`, `methods`, `headers`, `affinity`, `forced`, `version_header`, `upgrades`, `grpc_errors`, `body`, `timeouts`, `health`, `retries`, `shield`, `mirror`, `stable`, `canary`, `weight`, `versions` and `plan`; did you mean `stable`?
            t.yaml:8:5: services.shop.affinty: `affinty` is no key of a service; legal keys are `hosts`, `path`, `methods`, `headers`, `affinity`, `forced`, `version_header`, `upgrades`, `grpc_errors`, `body`, `timeouts`, `health`, `retries`, `shield`, `mirror`, `stable`, `canary`, `weight`, `versions` and `plan`; did you mean `affinity`?
            t.yaml:9:5: services.shop.zebra: `zebra` is no key of a service; legal keys are `hosts`, `path`, `methods`, `headers`, `affinity`, `forced`, `version_header`, `upgrades`, `grpc_errors`, `body`, `timeouts`, `health`, `retries`, `shield`, `mirror`, `stable`, `canary`, `weight`, `versions` and `plan`"#]],
    );
}

#[test]
fn a_key_that_is_not_built_yet_is_never_accepted_and_ignored() {
    check(
        r#"
admin: { address: "127.0.0.1:9900", tls: {} }
retries: 3
health: { path: /healthz }
services:
  shop:
    mirror: 1%
    health: { path: /healthz }
    affinity: { client_certificate: true }
    versions:
      v1: { endpoints: ["a:1"], timeouts: { total: 1s } }
    plan:
      drain: 10s
      steps:
        - { weight: 1%, mirror: 10% }
      gates:
        - query: { prometheus: up }
"#,
        &expect![[r#"
            t.yaml:2:37: admin.tls: `tls` is known and not built yet; leave it out for now
            t.yaml:3:10: retries: `3` is written here; legal is `off` or a mapping, like { most: 2, budget: 20% }
            t.yaml:7:13: services.shop.mirror: `1%` is written here; legal is a mapping with `methods`, `body`, `in_flight` and `timeout`
            t.yaml:9:17: services.shop.affinity.client_certificate: `client_certificate` is known and not built yet; leave it out for now
            t.yaml:11:33: services.shop.versions.v1.timeouts: `timeouts` is known and not built yet; leave it out for now
            t.yaml:15:33: services.shop.plan.steps[0].mirror: a step is a weight, a match, a mirror or an approval; write two steps, each { weight: 5%, hold: 10m }, { match: { x-beta: "1" }, hold: 10m }, { mirror: 10%, hold: 5m } or { approval: true }
            t.yaml:17:11: services.shop.plan.gates[0].query: `query` is known and not built yet; leave it out for now"#]],
    );
}

#[test]
fn a_key_written_twice_names_both_places() {
    check(
        "state: a\nstate: b\nservices:\n  shop: { versions: { v1: { endpoints: ['a:1'] } } }\n  shop: {}\n",
        &expect![[r#"
        t.yaml:2:1: state: is written twice; keep one, the other is at t.yaml:1:1
        t.yaml:5:3: services.shop: is written twice; keep one, the other is at t.yaml:4:3"#]],
    );
}

#[test]
fn merge_keys_are_refused_with_the_way_around() {
    check(
        "services:\n  a: &a { versions: { v1: { endpoints: ['a:1'] } } }\n  b: { <<: *a, path: /b }\n",
        &expect![
            "t.yaml:3:8: services.b.<<: merge keys are not read; write the keys here, or use an alias for the whole value"
        ],
    );
}

#[test]
fn an_address_taken_twice_names_both_places() {
    let top = "listeners:\n  - address: \"0.0.0.0:80\"\n  - address: \"127.0.0.1:80\"\n  - { address: 8080 }\n  - {}\nadmin: { address: \"0.0.0.0:80\" }\n";
    check(
        &format!("{top}{}", shop("")),
        &expect![[r#"
        t.yaml:3:14: listeners[1].address: `127.0.0.1:80` is taken by `0.0.0.0:80` at t.yaml:2:14; write another port
        t.yaml:4:16: listeners[2].address: `8080` is no address to listen on; legal is IP:PORT or unix:/path, like 0.0.0.0:8080 or [::]:8080; did you mean `0.0.0.0:8080`?
        t.yaml:5:5: listeners[3]: `address` is missing; write an address to listen on, like "0.0.0.0:8080"
        t.yaml:6:19: admin.address: `0.0.0.0:80` is taken by listener `0.0.0.0:80` at t.yaml:2:14; write another port"#]],
    );
    check(
        &format!("listeners: [{{ address: '0.0.0.0:9900' }}]\n{}", shop("")),
        &expect![
            "t.yaml:1:24: listeners: `0.0.0.0:9900` is taken by the admin address, 127.0.0.1:9900 where none is written; write another port here, or `admin: { address: ... }`"
        ],
    );
    check(
        &format!("listeners: []\nstate: ''\nadmin: {{ tokens: [] }}\n{}", shop("")),
        &expect![[r#"
        t.yaml:1:12: listeners: no listener is written here; write at least one, or leave `listeners` out for 0.0.0.0:8080
        t.yaml:2:8: state: `` is no path; legal is the path of a directory
        t.yaml:3:18: admin.tokens: a list is written here; legal is the path of a file that holds the token"#]],
    );
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_text() {
    check(
        r#"
listeners: [{ address: "localhost:8080" }]
services:
  shop:
    stable: v3
    weight: 10
    versions:
      v1: { endpoints: ["nonsense"] }
      v2: { endpoint: ["b:1"] }
    plan: { steps: [{ weight: 10% }, { weight: 5% }] }
colour: blue
"#,
        &expect![[r#"
            t.yaml:2:24: listeners[0].address: `localhost:8080` is no address to listen on; legal is IP:PORT or unix:/path, like 0.0.0.0:8080 or [::]:8080; did you mean `127.0.0.1:8080`?
            t.yaml:5:13: services.shop.stable: `v3` is no version of this service; legal is `v1` and `v2`
            t.yaml:6:13: services.shop.weight: `10` has no %; a weight is written like 10%; did you mean `10%`?
            t.yaml:8:25: services.shop.versions.v1.endpoints[0]: `nonsense` has no port; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
            t.yaml:9:13: services.shop.versions.v2.endpoint: `endpoint` is no key of a version; legal keys are `endpoints`, `protocol`, `tls`, `health`, `ejection`, `balance`, `slow_start`, `warm_start` and `limits`; did you mean `endpoints`?
            t.yaml:10:48: services.shop.plan.steps[1].weight: 5% is below the 10% of an earlier step at t.yaml:10:31; legal is 10% or more (weights never fall)
            t.yaml:11:1: colour: `colour` is no key of a configuration; legal keys are `listeners`, `admin`, `state`, `dns`, `services`, `plans`, `timeouts`, `limits`, `requests`, `trusted`, `access_log`, `drain`, `health` and `retries`"#]],
    );
}

#[test]
fn what_is_legal_and_perhaps_not_meant_is_warned_of() {
    let text = r#"
admin: { address: "0.0.0.0:9900" }
services:
  shop:
    stable: v1
    versions:
      v1: { endpoints: ["10.0.0.1:80"] }
      v2: { endpoints: ["10.0.0.1:80"] }
    plan: { gates: [] }
"#;
    expect![[r#"
        t.yaml:2:19: admin.address: `0.0.0.0:9900` is not loopback and no `tokens` file is named; `tidegate run` refuses to start unless TIDEGATE_TOKEN holds the token
        t.yaml:8:25: services.shop.versions.v2.endpoints[0]: `10.0.0.1:80` is an endpoint of version `v1` as well, at t.yaml:7:25; both versions are the same there
        t.yaml:9:20: services.shop.plan.gates: no gates: nothing but the circuit breaker takes a bad canary back; leave `gates` out for the default gates"#]].assert_eq(&warnings(text));
}

#[test]
fn text_of_the_operator_cannot_forge_another_line() {
    check(
        "\"a\\nb\": 1\nservices: { \"x\\ny\": { versions: { v1: { endpoints: [\"a:1\\nforged\"] } } } }",
        &expect![[r#"
            t.yaml:1:1: a\nb: `a\nb` is no key of a configuration; legal keys are `listeners`, `admin`, `state`, `dns`, `services`, `plans`, `timeouts`, `limits`, `requests`, `trusted`, `access_log`, `drain`, `health` and `retries`
            t.yaml:2:13: services.x\ny: `x\ny` cannot name a service; legal is 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit
            t.yaml:2:53: services.x\ny.versions.v1.endpoints[0]: `a:1\nforged` has no port from 1 to 65535; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080"#]],
    );
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("latin1.yaml");
    std::fs::write(&file, b"# one\nservices: # caf\xe9\n").unwrap();
    let said = |path: &std::path::Path| {
        let problems = config::read_file(path).unwrap_err().to_string();
        problems.replace(folder.path().to_str().unwrap(), "FOLDER")
    };
    expect!["FOLDER/latin1.yaml:2:16: not UTF-8; save the file as UTF-8"].assert_eq(&said(&file));
    expect!["FOLDER: is a directory; name the configuration file in it"].assert_eq(&said(folder.path()));
    expect!["FOLDER/missing.yaml: there is no such file; name an existing one"]
        .assert_eq(&said(&folder.path().join("missing.yaml")));
}
