//! Services, versions, splits and routes.

use expect_test::expect;

use crate::{check, shop};

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
            t.yaml:6:25: services.shop.versions.v1.endpoints[0]: `nonsense` has no port; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
            t.yaml:6:35: services.shop.versions.v1.endpoints[1]: `a:0` has no port from 1 to 65535; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
            t.yaml:6:49: services.shop.versions.v1.endpoints[3]: `A:1` is written twice; keep one, the other is at t.yaml:6:42
            t.yaml:6:56: services.shop.versions.v1.endpoints[4]: `7` has no port; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
            t.yaml:6:59: services.shop.versions.v1.endpoints[5]: a list is written here; legal is an endpoint, like "10.0.0.1:8080"
            t.yaml:6:63: services.shop.versions.v1.endpoints[6]: nothing is written here; legal is an endpoint, like "10.0.0.1:8080"
            t.yaml:7:24: services.shop.versions.v2.endpoints: no endpoint is written here; write at least one, like ["10.0.0.1:8080"]
            t.yaml:8:7: services.shop.versions.v3: `endpoints` is missing; write at least one endpoint, like endpoints: ["10.0.0.1:8080"]
            t.yaml:9:7: services.shop.versions.v4: nothing is written here; legal is a mapping with `endpoints`, `protocol`, `tls`, `health`, `ejection`, `balance`, `slow_start`, `warm_start` and `limits`
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
        &shop("    hosts: ['*', 'a.example:80', a.b, A.b]\n    path: checkout"),
        &expect![[r#"
            t.yaml:7:13: services.shop.hosts[0]: `*` is every host; leave `hosts` out for that, or write one like *.example.com
            t.yaml:7:18: services.shop.hosts[1]: `a.example:80` is no host name; legal is a host name, like shop.example.com or *.example.com, without scheme, port or path; did you mean `a.example`?
            t.yaml:7:39: services.shop.hosts[3]: `A.b` is written twice; keep one, the other is at t.yaml:7:34
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
fn an_affinity_is_one_of_five() {
    check(
        &shop("    affinity: client-adress"),
        &expect![
            "t.yaml:7:15: services.shop.affinity: `client-adress` is no affinity; legal is `random`, `client-address`, { cookie: NAME }, { header: NAME } or { user: NAME }; did you mean `client-address`?"
        ],
    );
    check(
        &shop("    affinity: { cookie: a, header: b }"),
        &expect![
            "t.yaml:7:36: services.shop.affinity.header: `cookie` is written as well; keep one of `cookie`, `header` and `user`"
        ],
    );
    check(
        &shop("    affinity: { cookie: 'a b' }"),
        &expect![
            "t.yaml:7:25: services.shop.affinity.cookie: `a b` cannot name a cookie; legal is letters, digits, - and _"
        ],
    );
    check(
        &shop("    affinity: {}"),
        &expect![
            "t.yaml:7:5: services.shop.affinity: names no cookie, header or user; legal is `random`, `client-address`, { cookie: NAME }, { header: NAME } or { user: NAME }"
        ],
    );
    check(
        &shop("    affinity:"),
        &expect![
            "t.yaml:7:5: services.shop.affinity: nothing is written here; legal is `random`, `client-address`, { cookie: NAME }, { header: NAME } or { user: NAME }"
        ],
    );
    check(
        &shop("    affinity: [random]"),
        &expect![
            "t.yaml:7:15: services.shop.affinity: a list is written here; legal is `random`, `client-address`, { cookie: NAME }, { header: NAME } or { user: NAME }"
        ],
    );
}
