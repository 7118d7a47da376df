//! Health checks, ejection, balancing, slow start, limits in flight, retries and the shield.

use expect_test::expect;

use crate::{check, problems, shop, warnings};

/// A service whose versions say this, each beside two endpoints.
fn versions(said: &[&str]) -> String {
    let version = |(number, said): (usize, &&str)| {
        format!("      v{number}: {{ endpoints: [\"10.0.{number}.1:1\", \"10.0.{number}.2:1\"], {said} }}\n")
    };
    let versions: String = said.iter().enumerate().map(version).collect();
    format!("services:\n  shop:\n    stable: v0\n    versions:\n{versions}")
}

#[test]
fn a_health_check_asks_one_thing() {
    check(
        &versions(&[
            "health: { interval: 1s }",
            "health: {}",
            "health: no",
            "health: /healthz",
            "health: [/healthz]",
            "health:",
            "health: { path: /healthz, connect: true }",
            "health: { grpc: '', connect: true }, protocol: h2c",
            "health: { connect: false }",
            "health: { connect: yes, tcp: true }",
            "health: { http: /healthz, port: 8081 }",
            "health: { pth: /healthz, methd: HEAD }",
        ]),
        &expect![[r#"
            t.yaml:5:54: services.shop.versions.v0.health: asks nothing; legal is { path: /healthz }, { grpc: SERVICE } or { connect: true }
            t.yaml:6:54: services.shop.versions.v1.health: asks nothing; legal is { path: /healthz }, { grpc: SERVICE } or { connect: true }
            t.yaml:7:62: services.shop.versions.v2.health: `no` is no health check; legal is `off`, { path: /healthz }, { grpc: SERVICE } or { connect: true }; did you mean `off`?
            t.yaml:8:62: services.shop.versions.v3.health: `/healthz` is no health check; legal is `off`, { path: /healthz }, { grpc: SERVICE } or { connect: true }; did you mean `{ path: /healthz }`?
            t.yaml:9:62: services.shop.versions.v4.health: a list is written here; legal is `off`, { path: /healthz }, { grpc: SERVICE } or { connect: true }
            t.yaml:10:54: services.shop.versions.v5.health: nothing is written here; legal is `off`, { path: /healthz }, { grpc: SERVICE } or { connect: true }
            t.yaml:11:89: services.shop.versions.v6.health.connect: `path` is written as well; keep one of `path`, `grpc` and `connect`
            t.yaml:12:83: services.shop.versions.v7.health.connect: `grpc` is written as well; keep one of `path`, `grpc` and `connect`
            t.yaml:13:73: services.shop.versions.v8.health.connect: `false` is written here; legal is `true`, or health: off for none
            t.yaml:14:73: services.shop.versions.v9.health.connect: `yes` is written here; legal is `true`, or health: off for none
            t.yaml:14:78: services.shop.versions.v9.health.tcp: `tcp` is no key of a health check; write connect: true
            t.yaml:15:67: services.shop.versions.v10.health.http: `http` is no key of a health check; write `path`, like path: /healthz
            t.yaml:15:83: services.shop.versions.v10.health.port: `port` is no key of a health check; it is each endpoint's own; leave it out
            t.yaml:16:67: services.shop.versions.v11.health.pth: `pth` is no key of a health check; legal keys are `path`, `host`, `status`, `grpc`, `connect`, `interval`, `timeout`, `jitter`, `healthy` and `unhealthy`; did you mean `path`?
            t.yaml:16:82: services.shop.versions.v11.health.methd: `methd` is no key of a health check; legal keys are `path`, `host`, `status`, `grpc`, `connect`, `interval`, `timeout`, `jitter`, `healthy` and `unhealthy`"#]],
    );
}

#[test]
fn a_path_is_what_a_request_line_can_hold() {
    let long = format!("health: {{ path: /{} }}", "x".repeat(2048));
    check(
        &versions(&[
            "health: { path: healthz }",
            "health: { path: 'http://10.0.0.1:8080/healthz' }",
            "health: { path: '//healthz' }",
            "health: { path: '/health z' }",
            "health: { path: '/healthz#top' }",
            "health: { path: '/%zz' }",
            "health: { path: \"/a\\r\\nhost: b\" }",
            "health: { path: '' }",
            "health: { path: }",
            &long,
        ]),
        &expect![[r#"
            t.yaml:5:70: services.shop.versions.v0.health.path: `healthz` does not begin with /; legal is a path that begins with /, like /healthz or /healthz?full=1; did you mean `/healthz`?
            t.yaml:6:70: services.shop.versions.v1.health.path: `http://10.0.0.1:8080/healthz` does not begin with /; legal is a path that begins with /, like /healthz or /healthz?full=1; did you mean `/healthz`?
            t.yaml:7:70: services.shop.versions.v2.health.path: `//healthz` begins with two /, which some servers take for a host; legal is a path that begins with /, like /healthz or /healthz?full=1
            t.yaml:8:70: services.shop.versions.v3.health.path: `/health z` holds a character that no request line may, like a space or # (write %20 and the like); legal is a path that begins with /, like /healthz or /healthz?full=1
            t.yaml:9:70: services.shop.versions.v4.health.path: `/healthz#top` holds a character that no request line may, like a space or # (write %20 and the like); legal is a path that begins with /, like /healthz or /healthz?full=1
            t.yaml:10:70: services.shop.versions.v5.health.path: `/%zz` holds a character that no request line may, like a space or # (write %20 and the like); legal is a path that begins with /, like /healthz or /healthz?full=1
            t.yaml:11:70: services.shop.versions.v6.health.path: `/a\r\nhost: b` holds a character that no request line may, like a space or # (write %20 and the like); legal is a path that begins with /, like /healthz or /healthz?full=1
            t.yaml:12:70: services.shop.versions.v7.health.path: `` does not begin with /; legal is a path that begins with /, like /healthz or /healthz?full=1
            t.yaml:13:64: services.shop.versions.v8.health.path: nothing is written here; legal is a path, like /healthz
            t.yaml:14:70: services.shop.versions.v9.health.path: `/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...` is longer than 2048 bytes; legal is a path that begins with /, like /healthz or /healthz?full=1"#]],
    );
}

#[test]
fn what_a_health_check_says_is_within_its_range() {
    check(
        &versions(&[
            "health: { path: /a, interval: 99ms, jitter: 51%, healthy: 0, unhealthy: 101 }",
            "health: { path: /a, interval: 61m, timeout: 0s, jitter: 10, healthy: two, unhealthy: -1 }",
            "health: { path: /a, interval: 1s, timeout: 1001ms }",
            "health: { path: /a, timeout: 6s }",
            "health: { path: /a, host: '*.example.com', status: 99 }",
            "health: { path: /a, host: 'http://a', status: 600 }",
            "health: { path: /a, host: a b, status: 299-200 }",
            "health: { path: /a, host: '', status: 2xx }",
            "health: { path: /a, host: [a], status: [200, 204] }",
            "health: { path: /a, status: 200-299-300 }",
            "health: { path: /a, status: '200 - 299' }",
            "health: { connect: true, host: a, status: 200 }",
        ]),
        &expect![[r#"
            t.yaml:5:84: services.shop.versions.v0.health.interval: `99ms` is out of range; legal is 100ms to 1h
            t.yaml:5:98: services.shop.versions.v0.health.jitter: `51%` is out of range; legal is 0% to 50%
            t.yaml:5:112: services.shop.versions.v0.health.healthy: `0` is out of range; legal is 1 to 100
            t.yaml:5:126: services.shop.versions.v0.health.unhealthy: `101` is out of range; legal is 1 to 100
            t.yaml:6:84: services.shop.versions.v1.health.interval: `61m` is out of range; legal is 100ms to 1h
            t.yaml:6:98: services.shop.versions.v1.health.timeout: `0s` is out of range; legal is 1ms to 1h
            t.yaml:6:110: services.shop.versions.v1.health.jitter: `10` has no %; a percentage is written like 0.1%; did you mean `10%`?
            t.yaml:6:123: services.shop.versions.v1.health.healthy: `two` is no whole number; legal is 1 to 100
            t.yaml:6:139: services.shop.versions.v1.health.unhealthy: `-1` is no whole number; legal is 1 to 100
            t.yaml:7:97: services.shop.versions.v2.health.timeout: 1s1ms is longer than the interval of 1s; legal is at most 1s, or write a longer `interval`
            t.yaml:8:83: services.shop.versions.v3.health.timeout: 6s is longer than the interval of 5s, the default; legal is at most 5s, or write a longer `interval`
            t.yaml:9:80: services.shop.versions.v4.health.host: `*.example.com` is no host; legal is a name or an address, perhaps with a port, like shop.internal
            t.yaml:9:105: services.shop.versions.v4.health.status: `99` is no status; legal is a status from 100 to 599 or a range, like 200-299
            t.yaml:10:80: services.shop.versions.v5.health.host: `http://a` is no host; legal is a name or an address, perhaps with a port, like shop.internal
            t.yaml:10:100: services.shop.versions.v5.health.status: `600` is no status; legal is a status from 100 to 599 or a range, like 200-299
            t.yaml:11:80: services.shop.versions.v6.health.host: `a b` is no host; legal is a name or an address, perhaps with a port, like shop.internal
            t.yaml:11:93: services.shop.versions.v6.health.status: `299-200` ends before it begins; legal is a status from 100 to 599 or a range, like 200-299; did you mean `200-299`?
            t.yaml:12:80: services.shop.versions.v7.health.host: `` is no host; legal is a name or an address, perhaps with a port, like shop.internal
            t.yaml:12:92: services.shop.versions.v7.health.status: `2xx` is no status; legal is a status from 100 to 599 or a range, like 200-299; did you mean `200-299`?
            t.yaml:13:80: services.shop.versions.v8.health.host: a list is written here; legal is a host, like shop.internal
            t.yaml:13:93: services.shop.versions.v8.health.status: a list is written here; legal is a status or a range, like 200-299
            t.yaml:14:82: services.shop.versions.v9.health.status: `200-299-300` is no status; legal is a status from 100 to 599 or a range, like 200-299
            t.yaml:15:85: services.shop.versions.v10.health.status: `200 - 299` is no status; legal is a status from 100 to 599 or a range, like 200-299
            t.yaml:16:88: services.shop.versions.v11.health.host: is for a `path`, and this asks by `connect`; leave it out
            t.yaml:16:99: services.shop.versions.v11.health.status: is for a `path`, and this asks by `connect`; leave it out"#]],
    );
}

#[test]
fn grpc_is_asked_where_http2_is_spoken() {
    check(
        &versions(&[
            "health: { grpc: '' }",
            "health: { grpc: shop.v1.Orders }, protocol: h1",
            "health: { grpc: true }, protocol: h2c",
            "health: { grpc: }, protocol: h2c",
            "health: { grpc: shop v1 }, protocol: h2c",
            "health: { grpc: '', status: 200 }, protocol: h2c",
            "health: { grpc: '' }, protocol: grpc",
        ]),
        &expect![[r#"
            t.yaml:5:70: services.shop.versions.v0.health.grpc: gRPC is spoken over HTTP/2, and this version speaks `h1`; write `protocol: h2c` beside `endpoints`, or ask another way: { path: /healthz } or { connect: true }
            t.yaml:6:70: services.shop.versions.v1.health.grpc: gRPC is spoken over HTTP/2, and this version speaks `h1`; write `protocol: h2c` beside `endpoints`, or ask another way: { path: /healthz } or { connect: true }
            t.yaml:7:70: services.shop.versions.v2.health.grpc: `true` names no gRPC service; legal is the name that the server knows it by, like shop.v1.Orders, or "" for the server as a whole
            t.yaml:8:64: services.shop.versions.v3.health.grpc: nothing is written here; legal is the name of a service, or "" for the server as a whole
            t.yaml:9:70: services.shop.versions.v4.health.grpc: `shop v1` cannot name a gRPC service, which has at most 256 visible ASCII characters; legal is the name that the server knows it by, like shop.v1.Orders, or "" for the server as a whole
            t.yaml:10:82: services.shop.versions.v5.health.status: is for a `path`, and this asks by `grpc`; leave it out
            t.yaml:11:86: services.shop.versions.v6.protocol: `grpc` is no protocol; legal is `h1`, `h2` and `h2c`"#]],
    );
    let with_tls = "services: { shop: { versions: { v1: { endpoints: ['https://a:1'], health: { grpc: '' } } } } }";
    check(
        with_tls,
        &expect![
            "t.yaml:1:83: services.shop.versions.v1.health.grpc: gRPC is spoken over HTTP/2, and this version speaks `h1`; write `protocol: h2` beside `endpoints`, or ask another way: { path: /healthz } or { connect: true }"
        ],
    );
}

#[test]
fn an_ejection_is_off_or_within_its_ranges() {
    check(
        &versions(&[
            "ejection: { failures: 0, first: 99ms, most: 0%, success_rate: 85%, hang: 0s }",
            "ejection: { failures: 1001, first: 301s, most: 101%, success_rate: }",
            "ejection: { failures: few, first: 10, most: 50, failure: 3, hang: never }",
            "ejection: false",
            "ejection: true",
            "ejection: of",
            "ejection: []",
            "ejection:",
        ]),
        &expect![[r#"
            t.yaml:5:76: services.shop.versions.v0.ejection.failures: `0` is out of range; legal is 1 to 1000
            t.yaml:5:86: services.shop.versions.v0.ejection.first: `99ms` is out of range; legal is 100ms to 5m
            t.yaml:5:98: services.shop.versions.v0.ejection.most: `0%` is no endpoint at all; legal is above 0% to 100%; for no ejection write `ejection: off`
            t.yaml:5:116: services.shop.versions.v0.ejection.success_rate: `85%` is no truth value; legal is `true` and `false`
            t.yaml:5:127: services.shop.versions.v0.ejection.hang: `0s` is out of range; legal is `off`, or 250ms to 5m
            t.yaml:6:76: services.shop.versions.v1.ejection.failures: `1001` is out of range; legal is 1 to 1000
            t.yaml:6:89: services.shop.versions.v1.ejection.first: `301s` is out of range; legal is 100ms to 5m
            t.yaml:6:101: services.shop.versions.v1.ejection.most: `101%` is out of range; legal is 0% to 100%
            t.yaml:6:107: services.shop.versions.v1.ejection.success_rate: nothing is written here; legal is `true` and `false`
            t.yaml:7:76: services.shop.versions.v2.ejection.failures: `few` is no whole number; legal is 1 to 1000
            t.yaml:7:88: services.shop.versions.v2.ejection.first: `10` has no unit; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m; did you mean `10s`?
            t.yaml:7:98: services.shop.versions.v2.ejection.most: `50` has no %; a percentage is written like 0.1%; did you mean `50%`?
            t.yaml:7:102: services.shop.versions.v2.ejection.failure: `failure` is no key of an ejection; legal keys are `failures`, `first`, `most`, `success_rate` and `hang`; did you mean `failures`?
            t.yaml:7:120: services.shop.versions.v2.ejection.hang: `never` is not a time; legal is `off`, or whole numbers with units, like 500ms, 10s, 5m, 1h30m
            t.yaml:8:64: services.shop.versions.v3.ejection: `false` is written here; legal is `off` or a mapping, like { failures: 5, first: 10s }; did you mean `off`?
            t.yaml:9:64: services.shop.versions.v4.ejection: `true` is written here; legal is `off` or a mapping, like { failures: 5, first: 10s }; leave it out for the defaults
            t.yaml:10:64: services.shop.versions.v5.ejection: `of` is written here; legal is `off` or a mapping, like { failures: 5, first: 10s }; did you mean `off`?
            t.yaml:11:64: services.shop.versions.v6.ejection: a list is written here; legal is `off` or a mapping, like { failures: 5, first: 10s }
            t.yaml:12:54: services.shop.versions.v7.ejection: nothing is written here; legal is `off` or a mapping, like { failures: 5, first: 10s }"#]],
    );
}

#[test]
fn a_balance_says_by_what() {
    check(
        &versions(&[
            "balance: round_robin",
            "balance: peak-ewma",
            "balance: hash",
            "balance: {}",
            "balance: []",
            "balance:",
            "balance: { hash: client-address }",
            "balance: { hash: cookie }",
            "balance: { hash: random }",
            "balance: { hash: {} }",
            "balance: { hash: }",
            "balance: { hash: { header: x, cookie: y } }",
            "balance: { hash: { header: a b } }",
            "balance: { hash: { cookie: '' } }",
            "balance: { hash: { heder: x } }",
            "balance: { hsh: path }",
        ]),
        &expect![[r#"
            t.yaml:5:63: services.shop.versions.v0.balance: `round_robin` is no balance; legal is `peak_ewma`, `least_requests` or { hash: ... }, like { hash: client_address }
            t.yaml:6:63: services.shop.versions.v1.balance: `peak-ewma` is no balance; legal is `peak_ewma`, `least_requests` or { hash: ... }, like { hash: client_address }; did you mean `peak_ewma`?
            t.yaml:7:63: services.shop.versions.v2.balance: `hash` is no balance; legal is `peak_ewma`, `least_requests` or { hash: ... }, like { hash: client_address }; by what is hashed is missing
            t.yaml:8:54: services.shop.versions.v3.balance: chooses nothing; legal is `peak_ewma`, `least_requests` or { hash: ... }, like { hash: client_address }
            t.yaml:9:63: services.shop.versions.v4.balance: a list is written here; legal is `peak_ewma`, `least_requests` or { hash: ... }, like { hash: client_address }
            t.yaml:10:54: services.shop.versions.v5.balance: nothing is written here; legal is `peak_ewma`, `least_requests` or { hash: ... }, like { hash: client_address }
            t.yaml:11:71: services.shop.versions.v6.balance.hash: `client-address` is nothing to hash by; legal is `client_address`, `path`, { header: NAME } or { cookie: NAME }; did you mean `client_address`?
            t.yaml:12:71: services.shop.versions.v7.balance.hash: `cookie` is nothing to hash by; legal is `client_address`, `path`, { header: NAME } or { cookie: NAME }; did you mean `{ cookie: NAME }`?
            t.yaml:13:71: services.shop.versions.v8.balance.hash: `random` is nothing to hash by; legal is `client_address`, `path`, { header: NAME } or { cookie: NAME }
            t.yaml:14:65: services.shop.versions.v9.balance.hash: names no header or cookie; legal is `client_address`, `path`, { header: NAME } or { cookie: NAME }
            t.yaml:15:68: services.shop.versions.v10.balance.hash: nothing is written here; legal is `client_address`, `path`, { header: NAME } or { cookie: NAME }
            t.yaml:16:95: services.shop.versions.v11.balance.hash.cookie: `header` is written as well; keep one of `header` and `cookie`
            t.yaml:17:84: services.shop.versions.v12.balance.hash.header: `a b` cannot name a header; legal is letters, digits, - and _
            t.yaml:18:84: services.shop.versions.v13.balance.hash.cookie: `` cannot name a cookie; legal is letters, digits, - and _
            t.yaml:19:76: services.shop.versions.v14.balance.hash.heder: `heder` is no key of what is hashed by; legal keys are `header` and `cookie`; did you mean `header`?
            t.yaml:20:68: services.shop.versions.v15.balance.hsh: `hsh` is no key of a balance; legal keys are `hash`; did you mean `hash`?"#]],
    );
}

#[test]
fn slow_start_and_limits_are_within_their_ranges() {
    check(
        &versions(&[
            "slow_start: 61m, limits: { requests: 0, requests_per_endpoint: 1000001 }",
            "slow_start: off, limits: { requests: none, request_per_endpoint: 10 }",
            "slow_start: 10, limits: 100",
            "slow_start: [], limits: { connections: 10, body: 1MiB }",
            "warm_start: 17",
            "warm_start: 10s",
            "warm_start: { connections: 4 }",
        ]),
        &expect![[r#"
            t.yaml:5:66: services.shop.versions.v0.slow_start: `61m` is out of range; legal is 0s to 1h
            t.yaml:5:91: services.shop.versions.v0.limits.requests: `0` is out of range; legal is 1 to 1000000
            t.yaml:6:66: services.shop.versions.v1.slow_start: `off` is not a time; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m
            t.yaml:6:91: services.shop.versions.v1.limits.requests: `none` is no whole number; legal is 1 to 1000000
            t.yaml:6:97: services.shop.versions.v1.limits.request_per_endpoint: `request_per_endpoint` is no key of a version's limits; legal keys are `requests` and `requests_per_endpoint`; did you mean `requests_per_endpoint`?
            t.yaml:7:66: services.shop.versions.v2.slow_start: `10` has no unit; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m; did you mean `10s`?
            t.yaml:7:78: services.shop.versions.v2.limits: `100` is written here; legal is a mapping with `requests` and `requests_per_endpoint`
            t.yaml:8:66: services.shop.versions.v3.slow_start: a list is written here; legal is a time, like 10s, or 0s for none
            t.yaml:8:80: services.shop.versions.v3.limits.connections: `connections` is no key of a version's limits; connections to endpoints follow from the requests under way; write `requests_per_endpoint`
            t.yaml:8:97: services.shop.versions.v3.limits.body: `body` is no key of a version's limits; write it into the service, or into `limits` at the top of the file
            t.yaml:9:66: services.shop.versions.v4.warm_start: `17` is out of range; legal is 0 to 16
            t.yaml:10:66: services.shop.versions.v5.warm_start: `10s` is no whole number; legal is 0 to 16
            t.yaml:11:66: services.shop.versions.v6.warm_start: a mapping is written here; legal is a whole number of connections, like 4, or 0 for none"#]],
    );
}

#[test]
fn retries_and_the_shield_are_checked() {
    check(
        &shop(
            "    retries: { most: 6, budget: 101%, floor: 10001, on: [unavailable, timeout, unavailable] }\n    shield: off",
        ),
        &expect![[r#"
            t.yaml:7:22: services.shop.retries.most: `6` is out of range; legal is 0 to 5
            t.yaml:7:33: services.shop.retries.budget: `101%` is out of range; legal is 0% to 100%
            t.yaml:7:46: services.shop.retries.floor: `10001` is out of range; legal is 0 to 10000
            t.yaml:7:71: services.shop.retries.on[1]: `timeout` is nothing to try again; legal is `unavailable` and `broken`
            t.yaml:7:80: services.shop.retries.on[2]: `unavailable` is written twice; keep one, the other is at t.yaml:7:58
            t.yaml:8:13: services.shop.shield: `off` is no truth value; legal is `true` and `false`"#]],
    );
    check(
        &shop("    retries: { most: -1, budget: 20, floor: 1.5, on: [connect, 503, reset, brocken], attempts: 3 }"),
        &expect![[r#"
            t.yaml:7:22: services.shop.retries.most: `-1` is no whole number; legal is 0 to 5
            t.yaml:7:34: services.shop.retries.budget: `20` has no %; a percentage is written like 0.1%; did you mean `20%`?
            t.yaml:7:45: services.shop.retries.floor: `1.5` is no whole number; legal is 0 to 10000
            t.yaml:7:55: services.shop.retries.on[0]: `connect` is nothing to try again; legal is `unavailable` and `broken`; a connection that could not be made is always tried again; leave it out
            t.yaml:7:64: services.shop.retries.on[1]: `503` is nothing to try again; legal is `unavailable` and `broken`; 502, 503 and 504 are `unavailable`
            t.yaml:7:69: services.shop.retries.on[2]: `reset` is nothing to try again; legal is `unavailable` and `broken`; did you mean `broken`?
            t.yaml:7:76: services.shop.retries.on[3]: `brocken` is nothing to try again; legal is `unavailable` and `broken`; did you mean `broken`?
            t.yaml:7:86: services.shop.retries.attempts: `attempts` is no key of the retries; write `most`, which counts the retries beyond the first attempt"#]],
    );
    check(
        &shop("    retries: { on: broken, timeout: 1s }"),
        &expect![[r#"
        t.yaml:7:20: services.shop.retries.on: `broken` is written here; legal is a list of `unavailable` and `broken`; `[]` is neither
        t.yaml:7:28: services.shop.retries.timeout: `timeout` is no key of the retries; all attempts together have the time of `timeouts: { total: ... }` of the service"#]],
    );
    check(
        &shop("    retries: 3"),
        &expect![
            "t.yaml:7:14: services.shop.retries: `3` is written here; legal is `off` or a mapping, like { most: 2, budget: 20% }"
        ],
    );
    check(
        &shop("    retries: none\n    shield:"),
        &expect![[r#"
        t.yaml:7:14: services.shop.retries: `none` is written here; legal is `off` or a mapping, like { most: 2, budget: 20% }; did you mean `off`?
        t.yaml:8:5: services.shop.shield: nothing is written here; legal is `true` and `false`"#]],
    );
}

#[test]
fn what_belongs_elsewhere_is_sent_there() {
    check(
        &format!(
            "ejection: off\nbalance: peak_ewma\nslow_start: 1s\nshield: true\nlimits: {{ requests: 5, requests_per_endpoint: 5 }}\n{}",
            shop("    ejection: off\n    balance: peak_ewma\n    slow_start: 1s\n    limits: { requests: 5 }")
        ),
        &expect![[r#"
            t.yaml:1:1: ejection: `ejection` is no key of a configuration; write it into a version, beside `endpoints`
            t.yaml:2:1: balance: `balance` is no key of a configuration; write it into a version, beside `endpoints`
            t.yaml:3:1: slow_start: `slow_start` is no key of a configuration; write it into a version, beside `endpoints`
            t.yaml:4:1: shield: `shield` is no key of a configuration; write it into a service
            t.yaml:5:11: limits.requests: `requests` is no key of the limits; write it into a version, like limits: { requests: 1000 }
            t.yaml:5:24: limits.requests_per_endpoint: `requests_per_endpoint` is no key of the limits; write it into a version, like limits: { requests_per_endpoint: 100 }
            t.yaml:12:5: services.shop.ejection: `ejection` is no key of a service; write it into a version, beside `endpoints`
            t.yaml:13:5: services.shop.balance: `balance` is no key of a service; write it into a version, beside `endpoints`
            t.yaml:14:5: services.shop.slow_start: `slow_start` is no key of a service; write it into a version, beside `endpoints`
            t.yaml:15:5: services.shop.limits: `limits` is no key of a service; of the limits a service may set that of bodies, like body: 10MiB; those of requests under way stand in a version, the others at the top of the file"#]],
    );
    check(
        &versions(&["retries: off, shield: true"]),
        &expect![[r#"
        t.yaml:5:54: services.shop.versions.v0.retries: `retries` is no key of a version; write it into the service
        t.yaml:5:68: services.shop.versions.v0.shield: `shield` is no key of a version; write it into the service"#]],
    );
}

#[test]
fn all_that_is_wrong_with_a_version_is_told_at_once() {
    let told = problems(
        "services: { shop: { versions: { v1: { endpoints: [a], tls: {}, protocol: h9, health: {}, ejection: 1, balance: 1, \
         slow_start: 1, limits: 1 } } } }",
    );
    for key in ["endpoints[0]", "protocol", "health", "ejection", "balance", "slow_start", "limits"] {
        assert_eq!(told.matches(&format!("shop.versions.v1.{key}: ")).count(), 1, "{key}: {told}");
    }
}

#[test]
fn care_that_can_never_come_to_bear_is_warned_of() {
    let text = r#"
services:
  shop:
    retries: { budget: 0%, floor: 0 }
    stable: v1
    versions:
      v1: { endpoints: ["10.0.0.1:80"], ejection: { failures: 3 }, limits: { requests: 10 } }
      v2: { endpoints: ["unix:/run/v2"], ejection: {} }
      v3: { endpoints: ["10.0.1.1:80", "10.0.1.2:80", "10.0.1.3:80"], ejection: { most: 33%, success_rate: true } }
      v4: { endpoints: ["10.0.4.1:80"], limits: { requests: 10, requests_per_endpoint: 11 } }
"#;
    expect![[r#"
        t.yaml:4:14: services.shop.retries: a `budget` of 0% and a `floor` of 0 allow none but those of connections that could not be made; write `on: []` for these alone, or `retries: off`
        t.yaml:7:51: services.shop.versions.v1.ejection: this version has one endpoint, and the only one is never ejected, so this does nothing; leave `ejection` out, or write more endpoints
        t.yaml:8:52: services.shop.versions.v2.ejection: this version has one endpoint, and the only one is never ejected, so this does nothing; leave `ejection` out, or write more endpoints
        t.yaml:9:89: services.shop.versions.v3.ejection.most: 33% of 3 endpoints is less than one, so none is ever ejected; write at least 34%, or `ejection: off`
        t.yaml:9:108: services.shop.versions.v3.ejection.success_rate: the shares of success of 3 endpoints tell nothing: they are compared from 5 on, so this does nothing; leave `success_rate` out
        t.yaml:10:88: services.shop.versions.v4.limits.requests_per_endpoint: is more than `requests` in the whole version, 10, so it does nothing"#]].assert_eq(&warnings(text));
}

#[test]
fn care_that_may_come_to_bear_is_not_warned_of() {
    let text = r#"
services:
  shop:
    retries: { budget: 0%, floor: 0, on: [] }
    stable: v1
    versions:
      # A name may have several addresses.
      v1: { endpoints: ["shop.internal:80"], ejection: { most: 10%, success_rate: true }, limits: { requests: 10 } }
      v2: { endpoints: ["10.0.0.1:80"], ejection: off, slow_start: 10s }
      v3: { endpoints: ["10.0.1.1:80", "10.0.1.2:80", "10.0.1.3:80"], ejection: { most: 34%, success_rate: false } }
      v4: { endpoints: ["10.0.2.1:80"], balance: { hash: path }, slow_start: 10s }
      v5: { endpoints: ["10.0.3.1:80"], balance: { hash: path }, limits: { requests: 10, requests_per_endpoint: 10 } }
      v6: { endpoints: ["10.0.4.1:1", "10.0.4.1:2", "10.0.4.1:3", "10.0.4.1:4", "10.0.4.1:5"], ejection: { success_rate: true } }
"#;
    assert_eq!(warnings(text), "");
}

#[test]
fn a_version_with_less_room_than_the_stable_is_warned_of() {
    let text = r#"
services:
  shop:
    stable: v1
    versions:
      v1: { endpoints: ["10.0.1.1:1", "10.0.1.2:1"], limits: { requests: 100, requests_per_endpoint: 40 } }
      v2: { endpoints: ["10.0.2.1:1"], limits: { requests: 79 } }
      v3: { endpoints: ["10.0.3.1:1"], limits: { requests_per_endpoint: 40 } }
      v4: { endpoints: ["10.0.4.1:1"], limits: { requests: 80 } }
      v5: { endpoints: ["10.0.5.1:1"] }
      # A name may have several addresses.
      v6: { endpoints: ["shop.internal:1"], limits: { requests_per_endpoint: 40 } }
"#;
    expect![[r#"
        t.yaml:7:11: services.shop.versions.v2: its `limits` let 79 requests be under way, and those of `v1`, the stable, 80; as a canary it would pass what it has no room for to the stable, and as the stable answer it with 503; write limits as high as the stable's, or none
        t.yaml:8:11: services.shop.versions.v3: its `limits` let 40 requests be under way, and those of `v1`, the stable, 80; as a canary it would pass what it has no room for to the stable, and as the stable answer it with 503; write limits as high as the stable's, or none"#]].assert_eq(&warnings(text));
    let unlimited = text.replace(", limits: { requests: 100, requests_per_endpoint: 40 }", "");
    let warned = warnings(&unlimited);
    assert_eq!(warned.matches("and `v1`, the stable, has none; as a canary").count(), 3, "{warned}");
}

#[test]
fn what_is_written_once_for_many_is_checked_once_and_for_each_version_that_has_it() {
    check(
        "health: { grpc: '' }\nretries: none\nservices:\n  a:\n    health: { path: healthz }\n    versions: { v1: { endpoints: ['a:1'] } }\n  b:\n    versions:\n      \
         v1: { endpoints: ['b:1'] }\n      v2: { endpoints: ['b:2'], protocol: h2c }\n      v3: { endpoints: ['b:3'], health: { connect: true } }\n      \
         v4: { endpoints: ['https://b:4'] }\n    stable: v1\n",
        &expect![[r#"
            t.yaml:2:10: retries: `none` is written here; legal is `off` or a mapping, like { most: 2, budget: 20% }; did you mean `off`?
            t.yaml:5:21: services.a.health.path: `healthz` does not begin with /; legal is a path that begins with /, like /healthz or /healthz?full=1; did you mean `/healthz`?
            t.yaml:7:3: services.b: every host with path / leads to service `a` already, at t.yaml:4:3; write another host or path
            t.yaml:9:7: services.b.versions.v1: this version speaks `h1`, and its health check (at t.yaml:1:9) is gRPC, which is spoken over HTTP/2; write `protocol: h2c` beside `endpoints`, or a `health` of its own, like health: { path: /healthz } or health: off
            t.yaml:12:7: services.b.versions.v4: this version speaks `h1`, and its health check (at t.yaml:1:9) is gRPC, which is spoken over HTTP/2; write `protocol: h2` beside `endpoints`, or a `health` of its own, like health: { path: /healthz } or health: off"#]],
    );
}
