//! Which requests lead to a service, what decides their version, and what is spoken to endpoints.

use expect_test::expect;

use crate::{check, shop, warnings};

#[test]
fn methods_and_headers_are_checked() {
    check(
        &shop(
            "    methods: [get, GET, GET, 'G T', '']\n    headers: { Host: a, 'x y': b, X-A: '', x-b: ' c', x-c: ~, x-d: é, X-D: f }",
        ),
        &expect![[r#"
            t.yaml:7:15: services.shop.methods[0]: `get` is no method; legal is a method in upper case, like GET or POST; did you mean `GET`?
            t.yaml:7:25: services.shop.methods[2]: `GET` is written twice; keep one, the other is at t.yaml:7:20
            t.yaml:7:30: services.shop.methods[3]: `G T` is no method; legal is a method in upper case, like GET or POST
            t.yaml:7:37: services.shop.methods[4]: `` is no method; legal is a method in upper case, like GET or POST
            t.yaml:8:16: services.shop.headers.Host: `Host` is matched by `hosts`; write it there
            t.yaml:8:25: services.shop.headers.x y: `x y` cannot name a header; legal is letters, digits, - and _
            t.yaml:8:40: services.shop.headers.X-A: `` can be no header's value, which has neither control characters nor spaces at its ends and is ASCII; legal is a value, like blue, or "*" for any
            t.yaml:8:49: services.shop.headers.x-b: ` c` can be no header's value, which has neither control characters nor spaces at its ends and is ASCII; legal is a value, like blue, or "*" for any
            t.yaml:8:55: services.shop.headers.x-c: nothing is written here; legal is a value, like blue, or "*" for any
            t.yaml:8:68: services.shop.headers.x-d: `é` can be no header's value, which has neither control characters nor spaces at its ends and is ASCII; legal is a value, like blue, or "*" for any
            t.yaml:8:71: services.shop.headers.X-D: `x-d` is written twice; keep one, the other is at t.yaml:8:63"#]],
    );
    check(
        &shop("    methods: []\n    headers: {}"),
        &expect![[r#"
        t.yaml:7:14: services.shop.methods: no method is written here; write at least one, or leave `methods` out for every method
        t.yaml:8:14: services.shop.headers: no header is written here; write at least one, or leave `headers` out"#]],
    );
    check(
        &shop("    match: { methods: [GET] }\n    routes: []\n    protocol: h2"),
        &expect![[r#"
        t.yaml:7:5: services.shop.match: `match` is no key of a service; write `methods` and `headers` here, beside `hosts` and `path`
        t.yaml:8:5: services.shop.routes: `routes` is no key of a service; write a service for each host and path
        t.yaml:9:5: services.shop.protocol: `protocol` is no key of a service; write it into a version"#]],
    );
}

#[test]
fn what_keeps_a_client_is_checked() {
    check(
        &shop("    affinity: { header: a, issue: true }"),
        &expect!["t.yaml:7:35: services.shop.affinity.issue: is for a cookie, and this is a `header`; leave it out"],
    );
    check(
        &shop("    affinity: { cookie: a, issue: { max_age: 0s } }"),
        &expect![
            "t.yaml:7:46: services.shop.affinity.issue.max_age: a cookie of no time is never kept; legal is 1s to 8784h"
        ],
    );
    check(
        &shop("    affinity: { cookie: a, issue: { max_age: 1ms } }"),
        &expect![
            "t.yaml:7:46: services.shop.affinity.issue.max_age: `1ms` is no whole number of seconds; legal is a time like 1s, 12h or 8760h"
        ],
    );
    check(
        &shop("    affinity: { cookie: a, issue: yes }"),
        &expect!["t.yaml:7:35: services.shop.affinity.issue: `yes` is no truth value; legal is `true` and `false`"],
    );
    check(
        &shop("    affinity: { user: a, header: b }"),
        &expect![
            "t.yaml:7:23: services.shop.affinity.user: `header` is written as well; keep one of `cookie`, `header` and `user`"
        ],
    );
    check(
        &shop("    affinity: { issue: true }"),
        &expect![
            "t.yaml:7:5: services.shop.affinity: names no cookie, header or user; legal is `random`, `client-address`, { cookie: NAME }, { header: NAME } or { user: NAME }"
        ],
    );
}

#[test]
fn forcing_needs_a_way_and_somebody() {
    check(
        &shop("    forced: {}"),
        &expect![[r#"
        t.yaml:7:5: services.shop.forced: does not say by what a version is named; write `header` or `cookie`, like header: tidegate-force
        t.yaml:7:5: services.shop.forced: does not say who may do so; write `from` or `secret`, like from: [10.0.0.0/8]"#]],
    );
    check(
        &shop("    forced: { header: x-version }"),
        &expect![
            "t.yaml:7:5: services.shop.forced: does not say who may do so; write `from` or `secret`, like from: [10.0.0.0/8]"
        ],
    );
    check(
        &shop("    forced: { secret: '' }"),
        &expect![[r#"
        t.yaml:7:5: services.shop.forced: does not say by what a version is named; write `header` or `cookie`, like header: tidegate-force
        t.yaml:7:23: services.shop.forced.secret: `` is no path; legal is the path of a file that holds the secret"#]],
    );
    check(
        &shop("    forced: { header: Tidegate-Secret, secret: s, from: [] }"),
        &expect![[r#"
        t.yaml:7:23: services.shop.forced.header: `Tidegate-Secret` holds the secret; write another header
        t.yaml:7:57: services.shop.forced.from: no address is written here, so nobody is meant; write at least one, or leave `from` out"#]],
    );
}

#[test]
fn upgrades_and_codes_of_grpc_are_checked() {
    check(
        &shop(
            "    upgrades: [h2c, web socket, websocket, WebSocket]\n    grpc_errors: [OK, unknown, 14, INTERNAL, INTERNAL, 99, UNAVAILBLE]\n    version_header: on",
        ),
        &expect![[r#"
            t.yaml:7:16: services.shop.upgrades[0]: `h2c` is never upgraded to, because requests could be smuggled in it; clients that know beforehand speak it without; leave it out
            t.yaml:7:21: services.shop.upgrades[1]: `web socket` is no protocol; legal is its name, like websocket
            t.yaml:7:44: services.shop.upgrades[3]: `WebSocket` is written twice; keep one, the other is at t.yaml:7:33
            t.yaml:8:19: services.shop.grpc_errors[0]: `OK` is no error; legal is `CANCELLED`, `UNKNOWN`, `INVALID_ARGUMENT`, `DEADLINE_EXCEEDED`, `NOT_FOUND`, `ALREADY_EXISTS`, `PERMISSION_DENIED`, `RESOURCE_EXHAUSTED`, `FAILED_PRECONDITION`, `ABORTED`, `OUT_OF_RANGE`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS` and `UNAUTHENTICATED`
            t.yaml:8:23: services.shop.grpc_errors[1]: `unknown` is no gRPC status code; legal is `CANCELLED`, `UNKNOWN`, `INVALID_ARGUMENT`, `DEADLINE_EXCEEDED`, `NOT_FOUND`, `ALREADY_EXISTS`, `PERMISSION_DENIED`, `RESOURCE_EXHAUSTED`, `FAILED_PRECONDITION`, `ABORTED`, `OUT_OF_RANGE`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS` and `UNAUTHENTICATED`; did you mean `UNKNOWN`?
            t.yaml:8:32: services.shop.grpc_errors[2]: `14` is no gRPC status code; legal is `CANCELLED`, `UNKNOWN`, `INVALID_ARGUMENT`, `DEADLINE_EXCEEDED`, `NOT_FOUND`, `ALREADY_EXISTS`, `PERMISSION_DENIED`, `RESOURCE_EXHAUSTED`, `FAILED_PRECONDITION`, `ABORTED`, `OUT_OF_RANGE`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS` and `UNAUTHENTICATED`; did you mean `UNAVAILABLE`?
            t.yaml:8:46: services.shop.grpc_errors[4]: `INTERNAL` is written twice; keep one, the other is at t.yaml:8:36
            t.yaml:8:56: services.shop.grpc_errors[5]: `99` is no gRPC status code; legal is `CANCELLED`, `UNKNOWN`, `INVALID_ARGUMENT`, `DEADLINE_EXCEEDED`, `NOT_FOUND`, `ALREADY_EXISTS`, `PERMISSION_DENIED`, `RESOURCE_EXHAUSTED`, `FAILED_PRECONDITION`, `ABORTED`, `OUT_OF_RANGE`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS` and `UNAUTHENTICATED`
            t.yaml:8:60: services.shop.grpc_errors[6]: `UNAVAILBLE` is no gRPC status code; legal is `CANCELLED`, `UNKNOWN`, `INVALID_ARGUMENT`, `DEADLINE_EXCEEDED`, `NOT_FOUND`, `ALREADY_EXISTS`, `PERMISSION_DENIED`, `RESOURCE_EXHAUSTED`, `FAILED_PRECONDITION`, `ABORTED`, `OUT_OF_RANGE`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS` and `UNAUTHENTICATED`; did you mean `UNAVAILABLE`?
            t.yaml:9:21: services.shop.version_header: `on` is no truth value; legal is `true` and `false`"#]],
    );
}

#[test]
fn endpoints_speak_tls_all_or_none() {
    check(
        r#"
services:
  shop:
    stable: v1
    versions:
      v1: { endpoints: ["https://a:1", "b:1"] }
      v2: { endpoints: ["unix:/run/a", "https://b:2"] }
      v3: { endpoints: ["https://10.0.0.1:1", "https://[::1]:1", "https://c:1"] }
      v4: { endpoints: ["unix:/run/b"], tls: { ca: a.pem } }
      v5: { endpoints: ["d:1"], tls: {}, protocol: h2 }
      v6: { endpoints: ["https://d:2"], protocol: h2c }
      v7: { endpoints: ["https://d:3"], tls: { server_name: 10.0.0.1, cert: a } }
      v8: { endpoints: ["https://d:4"], tls: { server_name: "*.a", key: a, verify: false } }
      v9: { endpoints: ["https://e", "HTTPS://e:1", "https://e:1/x", "http://f:80", "h2c://g:1", "unix:h"], protocol: http2 }
"#,
        &expect![[r#"
            t.yaml:6:40: services.shop.versions.v1.endpoints[1]: `https://a:1` speaks TLS and `b:1` does not (the first is at t.yaml:6:25); write https:// before all endpoints of a version, or before none
            t.yaml:7:40: services.shop.versions.v2.endpoints[1]: `https://b:2` speaks TLS and `unix:/run/a` does not (the first is at t.yaml:7:25); write https:// before all endpoints of a version, or before none
            t.yaml:8:25: services.shop.versions.v3.endpoints[0]: `https://10.0.0.1:1` is an address, and a certificate is verified by its name; write the name beside `endpoints`, like tls: { server_name: shop.internal }
            t.yaml:8:47: services.shop.versions.v3.endpoints[1]: `https://[::1]:1` is an address, and a certificate is verified by its name; write the name beside `endpoints`, like tls: { server_name: shop.internal }
            t.yaml:9:46: services.shop.versions.v4.tls: no endpoint speaks TLS; write https:// before each endpoint, or leave `tls` out
            t.yaml:10:38: services.shop.versions.v5.tls: no endpoint speaks TLS; write https:// before each endpoint, or leave `tls` out
            t.yaml:10:52: services.shop.versions.v5.protocol: `h2` is spoken over TLS, and no endpoint is https://; did you mean `h2c`, which is HTTP/2 without TLS?
            t.yaml:11:51: services.shop.versions.v6.protocol: `h2c` is spoken without TLS, and the endpoints are https://; did you mean `h2`, which is HTTP/2 over TLS?
            t.yaml:12:41: services.shop.versions.v7.tls: `key` is missing; write the path of a PEM file with the key
            t.yaml:12:61: services.shop.versions.v7.tls.server_name: `10.0.0.1` is an address, which TLS cannot send; legal is the exact name in the certificate, like shop.internal
            t.yaml:13:41: services.shop.versions.v8.tls: `cert` is missing; write the path of a PEM file with the certificate and its chain
            t.yaml:13:61: services.shop.versions.v8.tls.server_name: `*.a` is no single name; legal is the exact name in the certificate, like shop.internal
            t.yaml:13:76: services.shop.versions.v8.tls.verify: `verify` is no key of the TLS of endpoints; verification is always on; for a CA of your own write `ca: FILE`
            t.yaml:14:25: services.shop.versions.v9.endpoints[0]: `https://e` has no port; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080; did you mean `https://e:443`?
            t.yaml:14:38: services.shop.versions.v9.endpoints[1]: `HTTPS://e:1` is a URL; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080, without `HTTPS://`; did you mean `https://e:1`?
            t.yaml:14:53: services.shop.versions.v9.endpoints[2]: `https://e:1/x` holds a path; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080; did you mean `https://e:1`?
            t.yaml:14:70: services.shop.versions.v9.endpoints[3]: `http://f:80` is a URL; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080, without `http://`; did you mean `f:80`?
            t.yaml:14:85: services.shop.versions.v9.endpoints[4]: `h2c://g:1` is a URL; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080, without `h2c://`; did you mean `g:1`?
            t.yaml:14:98: services.shop.versions.v9.endpoints[5]: `unix:h` names no Unix socket; legal is unix: and a path from the root, like unix:/run/shop.sock; did you mean `unix:/h`?
            t.yaml:14:119: services.shop.versions.v9.protocol: `http2` is no protocol; legal is `h1`, `h2` and `h2c`"#]],
    );
}

#[test]
fn services_that_a_request_could_both_be_for_are_both_named() {
    check(
        r#"
services:
  plain: { hosts: [a.b], path: /x, versions: { v: { endpoints: ["a:1"] } } }
  get: { hosts: [a.b], path: /x, methods: [GET, HEAD], versions: { v: { endpoints: ["a:1"] } } }
  head: { hosts: [c.d, a.b], path: /x/, methods: [POST, HEAD], versions: { v: { endpoints: ["a:1"] } } }
  blue: { hosts: [a.b], path: /x, headers: { X-Tenant: blue }, versions: { v: { endpoints: ["a:1"] } } }
  green: { hosts: [a.b], path: /x, headers: { x-tenant: green }, versions: { v: { endpoints: ["a:1"] } } }
  again: { hosts: [a.b], path: /x, headers: { x-tenant: green }, versions: { v: { endpoints: ["a:1"] } } }
  any: { hosts: [a.b], path: /x, headers: { x-tenant: "*" }, versions: { v: { endpoints: ["a:1"] } } }
  beta: { hosts: [a.b], path: /x, headers: { x-beta: 1 }, versions: { v: { endpoints: ["a:1"] } } }
  blue-beta: { hosts: [a.b], path: /x, headers: { x-tenant: blue, x-beta: 1 }, versions: { v: { endpoints: ["a:1"] } } }
  get-blue: { hosts: [a.b], path: /x, methods: [GET], headers: { x-tenant: blue }, versions: { v: { endpoints: ["a:1"] } } }
  get-green: { hosts: [a.b], path: /x, methods: [GET], headers: { x-tenant: green }, versions: { v: { endpoints: ["a:1"] } } }
  wild: { hosts: ["*.b", "*.a.b"], path: /x, versions: { v: { endpoints: ["a:1"] } } }
  wilder: { hosts: ["*.B"], path: /x, versions: { v: { endpoints: ["a:1"] } } }
  every: { methods: [GET], versions: { v: { endpoints: ["a:1"] } } }
  everyone: { methods: [GET, PUT], versions: { v: { endpoints: ["a:1"] } } }
"#,
        &expect![[r#"
            t.yaml:5:24: services.head.hosts[1]: a request for a.b with path /x could be for service `get` as well, at t.yaml:4:18, and neither goes first; write methods or values of headers that no request can have both of, or one header more
            t.yaml:8:20: services.again.hosts[0]: a request for a.b with path /x could be for service `green` as well, at t.yaml:7:20, and neither goes first; write methods or values of headers that no request can have both of, or one header more
            t.yaml:9:18: services.any.hosts[0]: a request for a.b with path /x could be for service `blue` as well, at t.yaml:6:19, and neither goes first; write methods or values of headers that no request can have both of, or one header more
            t.yaml:10:19: services.beta.hosts[0]: a request for a.b with path /x could be for service `blue` as well, at t.yaml:6:19, and neither goes first; write methods or values of headers that no request can have both of, or one header more
            t.yaml:15:21: services.wilder.hosts[0]: *.b with path /x leads to service `wild` already, at t.yaml:14:19; write another host or path
            t.yaml:17:24: services.everyone.methods: a request for every host with path / could be for service `every` as well, at t.yaml:16:21, and neither goes first; write methods or values of headers that no request can have both of, or one header more"#]],
    );
}

#[test]
fn a_gate_is_warned_of_where_another_service_takes_all_of_its_requests_and_not_where_it_takes_some() {
    let text = |methods: &str| {
        format!(
            r#"
services:
  shop: {{ hosts: ["*.b"], versions: {{ v: {{ endpoints: ["a:1"] }} }}, plan: {{ gates: [{{ errors: {{}}, path: /pay/card }}] }} }}
  pay: {{ hosts: ["*.b"], path: /pay, {methods} versions: {{ v: {{ endpoints: ["a:1"] }} }} }}
"#
        )
    };
    expect!["t.yaml:3:104: services.shop.plan.gates[0].path: requests for /pay/card lead to service `pay`, so nothing advances for want of data; leave the gate out, or write it into the plan of `pay`"].assert_eq(&warnings(&text("")));
    expect![""].assert_eq(&warnings(&text("methods: [GET],")));
    expect![""].assert_eq(&warnings(&text("headers: { x-a: b },")));
}

#[test]
fn what_asks_for_requests_that_are_always_refused_is_warned_of() {
    let text = |more: &str| {
        format!(
            r#"{more}
services:
  shop:
    path: /a%2Fb
    methods: [GET, CONNECT]
    headers: {{ X_Tenant: blue, x-a: b }}
    affinity: {{ header: x_user }}
    forced: {{ header: x_version, from: [10.0.0.0/8] }}
    upgrades: [websocket]
    versions: {{ v1: {{ endpoints: ["a:1", "a:2"], protocol: h2c, balance: {{ hash: {{ header: x_key }} }} }} }}
    plan: {{ steps: [{{ match: {{ x_beta: "1" }}, hold: 5m }}, {{ weight: 5% }}] }}
"#
        )
    };
    expect![[r#"
        t.yaml:4:11: services.shop.path: no request has the path `/a%2Fb`: an encoded slash or a backslash is refused (400); write it without, or `requests: { encoded_slashes: pass }` at the top of the file
        t.yaml:5:20: services.shop.methods[1]: no request has the method CONNECT: it is refused (405), since this is no forward proxy; leave it out
        t.yaml:6:16: services.shop.headers.X_Tenant: no request has the header `x_tenant`: one whose name has an underscore is refused (400); write `x-tenant`, or `requests: { underscores: pass }` at the top of the file
        t.yaml:7:25: services.shop.affinity.header: no request has the header `x_user`: one whose name has an underscore is refused (400); write `x-user`, or `requests: { underscores: pass }` at the top of the file
        t.yaml:8:23: services.shop.forced.header: no request has the header `x_version`: one whose name has an underscore is refused (400); write `x-version`, or `requests: { underscores: pass }` at the top of the file
        t.yaml:9:15: services.shop.upgrades: every version speaks HTTP/2 to its endpoints, where a connection cannot be upgraded, so what asks for it is refused (501); write `upgrades: []`, or `protocol: h1` for the versions
        t.yaml:10:92: services.shop.versions.v1.balance.hash.header: no request has the header `x_key`: one whose name has an underscore is refused (400); write `x-key`, or `requests: { underscores: pass }` at the top of the file
        t.yaml:11:32: services.shop.plan.steps[0].match.x_beta: no request has the header `x_beta`: one whose name has an underscore is refused (400); write `x-beta`, or `requests: { underscores: pass }` at the top of the file"#]].assert_eq(&warnings(&text("")));
    expect![[r#"
        t.yaml:5:20: services.shop.methods[1]: no request has the method CONNECT: it is refused (405), since this is no forward proxy; leave it out
        t.yaml:9:15: services.shop.upgrades: every version speaks HTTP/2 to its endpoints, where a connection cannot be upgraded, so what asks for it is refused (501); write `upgrades: []`, or `protocol: h1` for the versions"#]].assert_eq(&warnings(&text("requests: { underscores: pass, encoded_slashes: pass }")));
    expect![""]
        .assert_eq(&warnings(&shop("    path: /a-b\n    upgrades: [websocket]\n    affinity: { header: x-user }")));
}
