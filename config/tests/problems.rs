//! What an operator reads when a configuration is wrong, word for word.

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

/// The same with a plan, which begins in line 8.
fn plan(plan: &str) -> String {
    shop(&format!("    plan:\n{plan}"))
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
            "t.yaml:1:1: nothing is written here; legal is a mapping with `listeners`, `admin`, `state`, `services` and `plans`"
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
            "t.yaml:1:1: a list is written here; legal is a mapping with `listeners`, `admin`, `state`, `services` and `plans`"
        ],
    );
    check(
        "hello",
        &expect![
            "t.yaml:1:1: `hello` is written here; legal is a mapping with `listeners`, `admin`, `state`, `services` and `plans`"
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
        t.yaml:2:3: services.shop: nothing is written here; legal is a mapping with `hosts`, `path`, `affinity`, `stable`, `canary`, `weight`, `versions` and `plan`
        t.yaml:3:9: services.cart: `v1` is written here; legal is a mapping with `hosts`, `path`, `affinity`, `stable`, `canary`, `weight`, `versions` and `plan`"#]],
    );
}

#[test]
fn an_unknown_key_is_met_with_the_legal_ones_and_the_one_meant() {
    check(
        &shop("    stabel: v1\n    affinty: random\n    zebra: 1"),
        &expect![[r#"
        t.yaml:7:5: services.shop.stabel: `stabel` is no key of a service; legal keys are `hosts`, `path`, `affinity`, `stable`, `canary`, `weight`, `versions` and `plan`; did you mean `stable`?
        t.yaml:8:5: services.shop.affinty: `affinty` is no key of a service; legal keys are `hosts`, `path`, `affinity`, `stable`, `canary`, `weight`, `versions` and `plan`; did you mean `affinity`?
        t.yaml:9:5: services.shop.zebra: `zebra` is no key of a service; legal keys are `hosts`, `path`, `affinity`, `stable`, `canary`, `weight`, `versions` and `plan`"#]],
    );
}

#[test]
fn a_key_that_is_not_built_yet_is_never_accepted_and_ignored() {
    check(
        r#"
listeners:
  - { address: "0.0.0.0:8443", tls: { certificates: [] } }
timeouts: { connect: 2s }
services:
  shop:
    mirror: 1%
    baseline: equal
    affinity: { cookie: tidegate, issue: true }
    versions:
      v1: { endpoints: ["a:1"], health: { path: /healthz }, protocol: h2 }
    plan:
      beta: 5%
      warmup: 10s
      early: true
      deadline: 1h
      on_deadline: promote
      dry_run: true
      advance: proof
      steps:
        - { weight: 1%, mirror: 10% }
        - { weight: 1%, match: { x-beta: "1" } }
      gates:
        - errors: { tolerance: 0.1%, margin: 0.5% }
        - { errors: { limit: 5% }, role: signal }
        - latency: {}
        - latency: { tolerance: 10%, quantile: p99 }
        - latency: { limit: 300ms, of: total }
        - query: { prometheus: up }
"#,
        &expect![[r#"
            t.yaml:3:32: listeners[0].tls: `tls` is known and not built yet; leave it out for now
            t.yaml:4:1: timeouts: `timeouts` is known and not built yet; leave it out for now
            t.yaml:7:5: services.shop.mirror: `mirror` is known and not built yet; leave it out for now
            t.yaml:8:5: services.shop.baseline: `baseline` is known and not built yet; leave it out for now
            t.yaml:9:35: services.shop.affinity.issue: `issue` is known and not built yet; leave it out for now
            t.yaml:11:33: services.shop.versions.v1.health: `health` is known and not built yet; leave it out for now
            t.yaml:11:61: services.shop.versions.v1.protocol: `protocol` is known and not built yet; leave it out for now
            t.yaml:13:7: services.shop.plan.beta: `beta` is known and not built yet; leave it out for now
            t.yaml:14:7: services.shop.plan.warmup: `warmup` is known and not built yet; leave it out for now
            t.yaml:15:7: services.shop.plan.early: `early` is known and not built yet; leave it out for now
            t.yaml:16:7: services.shop.plan.deadline: `deadline` is known and not built yet; leave it out for now
            t.yaml:17:7: services.shop.plan.on_deadline: `on_deadline` is known and not built yet; leave it out for now
            t.yaml:18:7: services.shop.plan.dry_run: `dry_run` is known and not built yet; leave it out for now
            t.yaml:19:16: services.shop.plan.advance: `proof` is known and not built yet; legal is `time`
            t.yaml:21:25: services.shop.plan.steps[0].mirror: `mirror` is known and not built yet; leave it out for now
            t.yaml:22:25: services.shop.plan.steps[1].match: `match` is known and not built yet; leave it out for now
            t.yaml:24:38: services.shop.plan.gates[0].errors.margin: `margin` is known and not built yet; leave it out for now
            t.yaml:25:42: services.shop.plan.gates[1].role: `signal` is known and not built yet; legal is `guardrail`
            t.yaml:26:11: services.shop.plan.gates[2].latency: latency against stable is known and not built yet; write a `limit`, like { limit: 300ms }
            t.yaml:27:22: services.shop.plan.gates[3].latency.tolerance: `tolerance` is known and not built yet; leave it out for now
            t.yaml:28:36: services.shop.plan.gates[4].latency.of: `of` is known and not built yet; leave it out for now
            t.yaml:29:11: services.shop.plan.gates[5].query: `query` is known and not built yet; leave it out for now"#]],
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
fn versions_need_endpoints_and_endpoints_a_port() {
    check(
        r#"
services:
  shop:
    stable: v1
    versions:
      v1: { endpoints: [nonsense, "a:0", "a:1", "A:1", 7, [], ~] }
      v2: { endpoints: [] }
      v3: {}
      v4:
      v5: { endpoints: "a:1" }
  cart:
    versions: {}
  till: {}
"#,
        &expect![[r#"
            t.yaml:6:25: services.shop.versions.v1.endpoints[0]: `nonsense` has no port; legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
            t.yaml:6:35: services.shop.versions.v1.endpoints[1]: `a:0` has no port from 1 to 65535; legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
            t.yaml:6:49: services.shop.versions.v1.endpoints[3]: `A:1` is written twice; keep one, the other is at t.yaml:6:42
            t.yaml:6:56: services.shop.versions.v1.endpoints[4]: `7` has no port; legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
            t.yaml:6:59: services.shop.versions.v1.endpoints[5]: a list is written here; legal is an endpoint, like "10.0.0.1:8080"
            t.yaml:6:63: services.shop.versions.v1.endpoints[6]: nothing is written here; legal is an endpoint, like "10.0.0.1:8080"
            t.yaml:7:24: services.shop.versions.v2.endpoints: no endpoint is written here; write at least one, like ["10.0.0.1:8080"]
            t.yaml:8:7: services.shop.versions.v3: `endpoints` is missing; write at least one endpoint, like endpoints: ["10.0.0.1:8080"]
            t.yaml:9:7: services.shop.versions.v4: nothing is written here; legal is a mapping with `endpoints`
            t.yaml:10:24: services.shop.versions.v5.endpoints: `a:1` is written here; legal is a list of endpoints, like ["10.0.0.1:8080"]
            t.yaml:11:3: services.cart: every host with path / leads to service `shop` already, at t.yaml:3:3; write another host or path
            t.yaml:12:15: services.cart.versions: no version is written here; write at least one
            t.yaml:13:3: services.till: every host with path / leads to service `shop` already, at t.yaml:3:3; write another host or path
            t.yaml:13:3: services.till: `versions` is missing; write at least one version with its endpoints"#]],
    );
}

#[test]
fn names_are_checked() {
    check(
        r#"
plans:
  default: {}
  built-in: {}
  "a b": {}
services:
  "-": { versions: { v1: { endpoints: ["a:1"] } } }
  "": { versions: { v1: { endpoints: ["a:1"] } }, path: /a }
  shop: { versions: { "v 1": { endpoints: ["a:1"] } }, path: /b }
"#,
        &expect![[r#"
            t.yaml:3:3: plans.default: is a reserved name (a service's own plan, and the built-in one); choose another
            t.yaml:4:3: plans.built-in: is a reserved name (a service's own plan, and the built-in one); choose another
            t.yaml:5:3: plans.a b: `a b` cannot name a plan; legal is 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit
            t.yaml:7:3: services.-: `-` cannot name a service (requests that match no service are counted under `-`); legal is 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit
            t.yaml:8:3: services.: `` cannot name a service; legal is 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit
            t.yaml:9:23: services.shop.versions.v 1: `v 1` cannot name a version; legal is 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit"#]],
    );
}

#[test]
fn a_stable_or_canary_that_is_no_version_is_met_with_the_one_meant() {
    check(
        "services:\n  shop:\n    stable: w1\n    canary: v2\n    weight: 1%\n    versions: { v1: { endpoints: ['a:1'] }, web2: { endpoints: ['b:1'] } }\n",
        &expect![[r#"
            t.yaml:3:13: services.shop.stable: `w1` is no version of this service; legal is `v1` and `web2`
            t.yaml:4:13: services.shop.canary: `v2` is no version of this service; legal is `v1` and `web2`"#]],
    );
    check(
        "services:\n  shop:\n    versions: { v1: { endpoints: ['a:1'] }, v2: { endpoints: ['b:1'] } }\n",
        &expect!["t.yaml:2:3: services.shop: `stable` is missing; legal is one of the versions `v1` and `v2`"],
    );
}

#[test]
fn a_split_names_a_canary_and_a_weight() {
    check(
        &shop("    canary: v2"),
        &expect![
            "t.yaml:7:13: services.shop.canary: has no weight; write `weight: 10%` beside it, or leave `canary` out"
        ],
    );
    check(
        &shop("    canary: v1\n    weight: 10%"),
        &expect!["t.yaml:7:13: services.shop.canary: `v1` is the stable version at t.yaml:3:13; write another version"],
    );
    check(
        &shop("    canary: v2\n    weight: 10"),
        &expect!["t.yaml:8:13: services.shop.weight: `10` has no %; a weight is written like 10%; did you mean `10%`?"],
    );
    check(
        &shop("    weight: 0.001%"),
        &expect![
            "t.yaml:7:13: services.shop.weight: `0.001%` is finer than 0.01%; legal is 0% to 100% in steps of 0.01%"
        ],
    );
    check(
        "services: { shop: { weight: 10%, versions: { v1: { endpoints: ['a:1'] } } } }",
        &expect![
            "t.yaml:1:29: services.shop.weight: is a canary's weight, and there is no version but the stable; write a second version"
        ],
    );
    check(
        "services: { shop: { weight: 10%, stable: v1, versions: { v1: { endpoints: ['a:1'] }, v2: { endpoints: ['b:1'] }, v3: { endpoints: ['c:1'] } } } }",
        &expect![
            "t.yaml:1:29: services.shop.weight: does not say whose weight it is; write `canary:` with one of `v2` and `v3`"
        ],
    );
}

#[test]
fn two_services_on_one_route_are_both_named() {
    check(
        r#"
services:
  shop: { hosts: [shop.example.com, www.example.com], path: /a/, versions: { v1: { endpoints: ["a:1"] } } }
  cart: { hosts: [cart.example.com, SHOP.example.com], path: /a, versions: { v1: { endpoints: ["a:1"] } } }
  till: { versions: { v1: { endpoints: ["a:1"] } } }
  rest: { path: /, versions: { v1: { endpoints: ["a:1"] } } }
"#,
        &expect![[r#"
            t.yaml:4:37: services.cart.hosts[1]: shop.example.com with path /a leads to service `shop` already, at t.yaml:3:19; write another host or path
            t.yaml:6:17: services.rest.path: every host with path / leads to service `till` already, at t.yaml:5:3; write another host or path"#]],
    );
}

#[test]
fn hosts_and_paths_are_checked() {
    check(
        &shop("    hosts: ['*.example.com', 'a.example:80', a.b, A.b]\n    path: checkout"),
        &expect![[r#"
        t.yaml:7:13: services.shop.hosts[0]: `*.example.com` has a wildcard, which is known and not built yet; write each host exactly
        t.yaml:7:30: services.shop.hosts[1]: `a.example:80` is no host name; legal is an exact host name, like shop.example.com, without scheme, port or path; did you mean `a.example`?
        t.yaml:7:51: services.shop.hosts[3]: `a.b` is written twice; keep one, the other is at t.yaml:7:46
        t.yaml:8:11: services.shop.path: `checkout` does not begin with /; legal is a path of whole segments that begins with /, like /checkout; did you mean `/checkout`?"#]],
    );
    check(
        &shop("    hosts: []"),
        &expect![
            "t.yaml:7:12: services.shop.hosts: no host is written here; write at least one, or leave `hosts` out for every host"
        ],
    );
}

#[test]
fn an_affinity_is_one_of_four() {
    check(
        &shop("    affinity: client-adress"),
        &expect![
            "t.yaml:7:15: services.shop.affinity: `client-adress` is no affinity; legal is `random`, `client-address`, { cookie: NAME } or { header: NAME }; did you mean `client-address`?"
        ],
    );
    check(
        &shop("    affinity: { cookie: a, header: b }"),
        &expect![
            "t.yaml:7:36: services.shop.affinity.header: a cookie is named as well; keep one of `cookie` and `header`"
        ],
    );
    check(
        &shop("    affinity: { cookie: 'a b' }"),
        &expect![
            "t.yaml:7:25: services.shop.affinity.cookie: `a b` cannot name a cookie or header; legal is letters, digits, - and _"
        ],
    );
    check(
        &shop("    affinity: {}"),
        &expect![
            "t.yaml:7:5: services.shop.affinity: names neither cookie nor header; legal is `random`, `client-address`, { cookie: NAME } or { header: NAME }"
        ],
    );
    check(
        &shop("    affinity:"),
        &expect![
            "t.yaml:7:5: services.shop.affinity: nothing is written here; legal is `random`, `client-address`, { cookie: NAME } or { header: NAME }"
        ],
    );
    check(
        &shop("    affinity: [random]"),
        &expect![
            "t.yaml:7:15: services.shop.affinity: a list is written here; legal is `random`, `client-address`, { cookie: NAME } or { header: NAME }"
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
        t.yaml:4:16: listeners[2].address: `8080` is no address to listen on; legal is IP:PORT, like 0.0.0.0:8080 or [::]:8080; did you mean `0.0.0.0:8080`?
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
fn the_figures_of_a_plan_are_checked() {
    check(
        &plan("      alpha: 0%\n      min_requests: 0\n      advance: tim\n      steps: []\n"),
        &expect![[r#"
        t.yaml:8:14: services.shop.plan.alpha: `0%` is out of range; legal is 0.0001% to 50%
        t.yaml:9:21: services.shop.plan.min_requests: `0` is no number of requests; legal is 1 to 1000000000
        t.yaml:10:16: services.shop.plan.advance: `tim` is no way to advance; legal is `time`; did you mean `time`?
        t.yaml:11:14: services.shop.plan.steps: no step gives the canary a weight; write at least one, like { weight: 5%, hold: 10m }, or leave `steps` out for 1%, 5%, 25% and 50%"#]],
    );
    check(
        &plan("      alpha: 0.01\n      min_requests: many\n      steps:\n      gates:\n"),
        &expect![[r#"
        t.yaml:8:14: services.shop.plan.alpha: `0.01` has no %; a percentage is written like 1%; did you mean `0.01%`?
        t.yaml:9:21: services.shop.plan.min_requests: `many` is no number of requests; legal is 1 to 1000000000
        t.yaml:10:7: services.shop.plan.steps: nothing is written here; legal is a list of steps, like [{ weight: 5%, hold: 10m }, { approval: true }]
        t.yaml:11:7: services.shop.plan.gates: nothing is written here; legal is a list of gates, each { errors: {} }, { errors: { tolerance: 0.1% } }, { errors: { limit: 5% } } or { latency: { limit: 300ms } }"#]],
    );
    check(
        &shop("    plan: careful"),
        &expect![
            "t.yaml:7:11: services.shop.plan: `careful` is written here; legal is a mapping with `alpha`, `min_requests`, `advance`, `steps` and `gates`"
        ],
    );
}

#[test]
fn steps_are_weights_that_never_fall_or_approvals() {
    check(
        &plan(
            "      steps:
        - { weight: 10%, hold: 10 }
        - { weight: 5% }
        - { weight: 0% }
        - { weight: 20%, approval: true }
        - { approval: false }
        - { approval: true, hold: 5m }
        - { hold: 5m }
        - 50%
        - { weight: 101%, hold: 2 weeks }
",
        ),
        &expect![[r#"
            t.yaml:9:32: services.shop.plan.steps[0].hold: `10` has no unit; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m; did you mean `10s`?
            t.yaml:10:21: services.shop.plan.steps[1].weight: 5% is below the 10% of an earlier step at t.yaml:9:21; legal is 10% or more (weights never fall)
            t.yaml:11:21: services.shop.plan.steps[2].weight: `0%` gives the canary nothing; legal is above 0% to 100%
            t.yaml:12:36: services.shop.plan.steps[3].approval: a step is either a weight or an approval; write two steps, each { weight: 5%, hold: 10m } or { approval: true }
            t.yaml:13:23: services.shop.plan.steps[4].approval: `false` is written here; legal is `true`, or leave the step out
            t.yaml:14:11: services.shop.plan.steps[5]: an approval waits for a person, however long; leave `hold` out
            t.yaml:15:11: services.shop.plan.steps[6]: is no step; legal is { weight: 5%, hold: 10m } or { approval: true }
            t.yaml:16:11: services.shop.plan.steps[7]: `50%` is written here; legal is a mapping with `weight`, `hold` and `approval`
            t.yaml:17:21: services.shop.plan.steps[8].weight: `101%` is more than everything; legal is 0% to 100% in steps of 0.01%
            t.yaml:17:33: services.shop.plan.steps[8].hold: `2 weeks` is not a time; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m"#]],
    );
    check(
        &plan("      steps: [{ approval: true }]"),
        &expect![
            "t.yaml:8:14: services.shop.plan.steps: no step gives the canary a weight; write at least one, like { weight: 5%, hold: 10m }, or leave `steps` out for 1%, 5%, 25% and 50%"
        ],
    );
}

#[test]
fn gates_judge_one_thing_each_under_one_name() {
    check(
        &plan(
            "      gates:
        - errors: {}
        - errors: { tolerance: 0.1% }
        - { name: breaker, errors: { limit: 5% } }
        - { name: my gate, errors: { limit: 5% } }
        - { errors: {}, latency: { limit: 1s } }
        - { name: nothing }
        - errors
        - errors:
        - errors: { tolerance: 0.1%, limit: 5% }
        - { errors: {}, role: gardrail }
        - { errors: { name: mine } }
",
        ),
        &expect![[r#"
            t.yaml:10:11: services.shop.plan.gates[1]: a gate at t.yaml:9:11 is named `errors` already; write another `name:` here
            t.yaml:11:19: services.shop.plan.gates[2].name: `breaker` is reserved for the circuit breaker that is always on; choose another name
            t.yaml:12:19: services.shop.plan.gates[3].name: `my gate` cannot name a gate; legal is 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit
            t.yaml:13:34: services.shop.plan.gates[4].latency: `errors` stands in the same gate; write two gates
            t.yaml:14:11: services.shop.plan.gates[5]: judges nothing; legal is { errors: {} }, { errors: { tolerance: 0.1% } }, { errors: { limit: 5% } } or { latency: { limit: 300ms } }
            t.yaml:15:11: services.shop.plan.gates[6]: `errors` is no gate; legal is { errors: {} }, { errors: { tolerance: 0.1% } }, { errors: { limit: 5% } } or { latency: { limit: 300ms } }
            t.yaml:16:11: services.shop.plan.gates[7].errors: nothing is written here; legal is a mapping, like { errors: {} }, { errors: { tolerance: 0.1% } }, { errors: { limit: 5% } } or { latency: { limit: 300ms } }
            t.yaml:17:45: services.shop.plan.gates[8].errors.limit: `tolerance` stands in the same gate; write two gates: { errors: { tolerance: 0.1% } } and { errors: { limit: 5% } }
            t.yaml:18:31: services.shop.plan.gates[9].role: `gardrail` is no role; legal is `guardrail`; did you mean `guardrail`?
            t.yaml:19:11: services.shop.plan.gates[10]: a gate at t.yaml:9:11 is named `errors` already; write another `name:` here
            t.yaml:19:23: services.shop.plan.gates[10].errors.name: `name` is no key of an `errors` gate; write it beside, in the mapping around this one"#]],
    );
}

#[test]
fn limits_and_tolerances_are_checked() {
    check(
        &plan(
            "      gates:
        - errors: { limit: 0% }
        - errors: { limit: 100% }
        - errors: { limit: 5 }
        - errors: { tolerance: 0.1 }
        - errors: { tolerance: {} }
        - errors: { tolerance: { ratio: 0.5 } }
        - errors: { tolerance: { ratio: 10% } }
        - errors: { tolerance: { ratio: NaN, points: 101% } }
        - latency: { limit: 300 }
        - latency: { limit: 61s }
        - latency: { limit: 1s, quantile: 99 }
        - latency: { limit: 1s, quantile: p100 }
",
        ),
        &expect![[r#"
            t.yaml:9:28: services.shop.plan.gates[0].errors.limit: `0%` cannot be a limit; legal is above 0% and below 100%
            t.yaml:10:28: services.shop.plan.gates[1].errors.limit: `100%` cannot be a limit; legal is above 0% and below 100%
            t.yaml:11:28: services.shop.plan.gates[2].errors.limit: `5` has no %; a percentage is written like 0.1%; did you mean `5%`?
            t.yaml:12:32: services.shop.plan.gates[3].errors.tolerance: `0.1` has no %; a percentage is written like 0.1%; did you mean `0.1%`?
            t.yaml:13:21: services.shop.plan.gates[4].errors.tolerance: tolerates nothing in particular; legal is 0.1%, { ratio: 1.5 } or { ratio: 1.5, points: 0.1% }
            t.yaml:14:41: services.shop.plan.gates[5].errors.tolerance.ratio: `0.5` is no ratio; legal is 1 to 1000, like 1.5 (half again of stable's errors)
            t.yaml:15:41: services.shop.plan.gates[6].errors.tolerance.ratio: `10%` is no ratio; legal is 1 to 1000, like 1.5 (half again of stable's errors); points are written as `points:`
            t.yaml:16:41: services.shop.plan.gates[7].errors.tolerance.ratio: `NaN` is no ratio; legal is 1 to 1000, like 1.5 (half again of stable's errors)
            t.yaml:16:54: services.shop.plan.gates[7].errors.tolerance.points: `101%` is out of range; legal is 0% to 100%
            t.yaml:17:29: services.shop.plan.gates[8].latency.limit: `300` has no unit; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m; did you mean `300s`?
            t.yaml:18:29: services.shop.plan.gates[9].latency.limit: `61s` cannot be a limit; legal is 1ms to 60s
            t.yaml:19:43: services.shop.plan.gates[10].latency.quantile: `99` is not a quantile; legal is p1 to p99.99, like p99
            t.yaml:20:43: services.shop.plan.gates[11].latency.quantile: `p100` is not a quantile; legal is p1 to p99.99, like p99"#]],
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
            t.yaml:2:24: listeners[0].address: `localhost:8080` is no address to listen on; legal is IP:PORT, like 0.0.0.0:8080 or [::]:8080; did you mean `127.0.0.1:8080`?
            t.yaml:5:13: services.shop.stable: `v3` is no version of this service; legal is `v1` and `v2`
            t.yaml:6:13: services.shop.weight: `10` has no %; a weight is written like 10%; did you mean `10%`?
            t.yaml:8:25: services.shop.versions.v1.endpoints[0]: `nonsense` has no port; legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
            t.yaml:9:13: services.shop.versions.v2.endpoint: `endpoint` is no key of a version; legal keys are `endpoints`; did you mean `endpoints`?
            t.yaml:10:48: services.shop.plan.steps[1].weight: 5% is below the 10% of an earlier step at t.yaml:10:31; legal is 10% or more (weights never fall)
            t.yaml:11:1: colour: `colour` is no key of a configuration; legal keys are `listeners`, `admin`, `state`, `services` and `plans`"#]],
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
            t.yaml:1:1: a\nb: `a\nb` is no key of a configuration; legal keys are `listeners`, `admin`, `state`, `services` and `plans`
            t.yaml:2:13: services.x\ny: `x\ny` cannot name a service; legal is 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit
            t.yaml:2:53: services.x\ny.versions.v1.endpoints[0]: `a:1\nforged` has no port from 1 to 65535; legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080"#]],
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
