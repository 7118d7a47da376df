//! Listeners and rules for all traffic.

use expect_test::expect;

use crate::{check, shop, warnings};

/// A whole configuration with `top` before its services.
fn top(top: &str) -> String {
    format!("{top}\n{}", shop(""))
}

#[test]
fn addresses_of_listeners_are_checked_and_unix_sockets_among_them() {
    check(
        &top(r#"listeners:
  - { address: "unix:run/t.sock" }
  - { address: "unix:///run/t.sock" }
  - { address: "unix:" }
  - { address: "unix:/run/t.sock" }
  - { address: "unix:/run/t.sock", proxy_protocol: [10.0.0.0/8] }"#),
        &expect![[r#"
            t.yaml:2:16: listeners[0].address: `unix:run/t.sock` names no Unix socket; legal is unix: and a path from the root, like unix:/run/shop.sock; did you mean `unix:/run/t.sock`?
            t.yaml:3:16: listeners[1].address: `unix:///run/t.sock` names no Unix socket; legal is unix: and a path from the root, like unix:/run/shop.sock; did you mean `unix:/run/t.sock`?
            t.yaml:4:16: listeners[2].address: `unix:` names no Unix socket; legal is unix: and a path from the root, like unix:/run/shop.sock
            t.yaml:6:16: listeners[4].address: `unix:/run/t.sock` is taken by `unix:/run/t.sock` at t.yaml:5:16; write another path
            t.yaml:6:52: listeners[4].proxy_protocol: the peers of a Unix socket have no address, so no header would ever be read; leave it out"#]],
    );
    let long = "x".repeat(120);
    check(
        &top(&format!("listeners: [{{ address: 'unix:/{long}' }}]")),
        &expect![
            "t.yaml:1:24: listeners[0].address: the path of `unix:/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...` is too long; the system takes at most 107 bytes"
        ],
    );
}

#[test]
fn tls_of_a_listener_is_checked() {
    check(
        &top(r#"listeners:
  - { address: "0.0.0.0:1", tls: {} }
  - { address: "0.0.0.0:2", tls: { certificates: [] } }
  - { address: "0.0.0.0:3", tls: { certificates: [{ cert: a }, { key: "" }, { cert: b, key: c }, { cert: b, key: c }] } }
  - { address: "0.0.0.0:4", tls: { certificates: { cert: a, key: b } } }
  - address: "0.0.0.0:5"
    tls: { certificates: [{ cert: a, key: b }], clients: { optional: maybe }, oldest: TLSv1.2, hsts: {} }
  - address: "0.0.0.0:6"
    tls: { certificates: [{ cert: a, key: b }], clients: { ca: [] }, oldest: 1.1, hsts: { max_age: 1500ms, preload: 1 } }
  - { address: "0.0.0.0:7", tls: true, hsts: { max_age: 1h } }"#),
        &expect![[r#"
            t.yaml:2:29: listeners[0].tls: `certificates` is missing; write at least one, like certificates: [{ cert: shop.pem, key: shop.key }]
            t.yaml:3:50: listeners[1].tls.certificates: no certificate is written here; write at least one, like { cert: shop.pem, key: shop.key }
            t.yaml:4:51: listeners[2].tls.certificates[0]: `key` is missing; write the path of a PEM file with the key
            t.yaml:4:64: listeners[2].tls.certificates[1]: `cert` is missing; write the path of a PEM file with the certificate and its chain
            t.yaml:4:71: listeners[2].tls.certificates[1].key: `` is no path; legal is the path of a PEM file with the key
            t.yaml:4:98: listeners[2].tls.certificates[3]: is written twice; keep one, the other is at t.yaml:4:77
            t.yaml:5:50: listeners[3].tls.certificates: a mapping is written here; legal is a list of certificates, like [{ cert: shop.pem, key: shop.key }]
            t.yaml:7:49: listeners[4].tls.clients: `ca` is missing; write the path of a PEM file with the authorities of client certificates
            t.yaml:7:70: listeners[4].tls.clients.optional: `maybe` is no truth value; legal is `true` and `false`
            t.yaml:7:87: listeners[4].tls.oldest: `TLSv1.2` is no version of TLS that is spoken; legal is `1.2` and `1.3`; did you mean `1.2`?
            t.yaml:7:96: listeners[4].tls.hsts: `max_age` is missing; write for how long browsers remember it, like max_age: 8760h
            t.yaml:9:64: listeners[5].tls.clients.ca: a list is written here; legal is the path of a PEM file with the authorities of client certificates
            t.yaml:9:78: listeners[5].tls.oldest: `1.1` is no version of TLS that is spoken; legal is `1.2` and `1.3`
            t.yaml:9:100: listeners[5].tls.hsts.max_age: `1500ms` is no whole number of seconds; legal is a time like 1s, 12h or 8760h
            t.yaml:9:117: listeners[5].tls.hsts.preload: `1` is no truth value; legal is `true` and `false`
            t.yaml:10:34: listeners[6].tls: `true` is written here; legal is a mapping with `certificates`, `clients`, `oldest` and `hsts`
            t.yaml:10:40: listeners[6].hsts: `hsts` is no key of a listener; write it into `tls`"#]],
    );
}

#[test]
fn a_redirect_is_checked() {
    check(
        &top(r#"listeners:
  - { address: "0.0.0.0:1", redirect: http }
  - { address: "0.0.0.0:2", redirect: { https: 0 } }
  - { address: "0.0.0.0:3", redirect: { port: 443 } }
  - { address: "0.0.0.0:4", redirect: }
  - { address: "0.0.0.0:5", redirect: https, tls: { certificates: [{ cert: a, key: b }] } }"#),
        &expect![[r#"
            t.yaml:2:39: listeners[0].redirect: `http` is no redirect; legal is `https` (port 443) or { https: PORT }
            t.yaml:3:48: listeners[1].redirect.https: `0` is out of range; legal is 1 to 65535
            t.yaml:4:29: listeners[2].redirect: `https` is missing; write the port of a listener with TLS, like https: 8443
            t.yaml:4:41: listeners[2].redirect.port: `port` is no key of a redirect; legal keys are `https`
            t.yaml:5:29: listeners[3].redirect: nothing is written here; legal is `https` (port 443) or { https: PORT }
            t.yaml:6:39: listeners[4].redirect: leads to HTTPS, which this listener speaks already (`tls`); write another listener for it"#]],
    );
}

#[test]
fn what_is_for_all_listeners_does_not_stand_in_one() {
    check(
        &top(
            "listeners: [{ address: '0.0.0.0:1', timeouts: { head: 1s }, connections: 5, protocol: h2 }]\ntls: {}\nforced: {}",
        ),
        &expect![[r#"
            t.yaml:1:37: listeners[0].timeouts: `timeouts` is no key of a listener; write it at the top of the file, for all listeners
            t.yaml:1:61: listeners[0].connections: `connections` is no key of a listener; write it into the limits at the top of the file, for all listeners
            t.yaml:1:77: listeners[0].protocol: `protocol` is no key of a listener; HTTP/1.1 and HTTP/2 are both spoken; leave it out
            t.yaml:2:1: tls: `tls` is no key of a configuration; write it into a listener, or for what is spoken to endpoints into a version
            t.yaml:3:1: forced: `forced` is no key of a configuration; write it into a service"#]],
    );
}

#[test]
fn how_names_are_resolved_is_checked() {
    check(
        &top(r#"dns:
  servers: [10.0.0.2, "10.0.0.2:53", dns.internal, "10.0.0.3:0", 0.0.0.0, "[fd00::2]", "fd00::3", "10.0.0.300"]
  at_least: 1d
  at_most: 50ms
  timeout: 1m
  prefer: inet6
  valid: 10s"#),
        &expect![[r#"
            t.yaml:2:23: dns.servers[1]: `10.0.0.2:53` is written twice; keep one, the other is at t.yaml:2:13
            t.yaml:2:38: dns.servers[2]: `dns.internal` is no DNS server; legal is an IP address, perhaps with a port, like 10.0.0.2, 10.0.0.2:5353 or "[fd00::2]:53"
            t.yaml:2:52: dns.servers[3]: `10.0.0.3:0` is no DNS server; legal is an IP address, perhaps with a port, like 10.0.0.2, 10.0.0.2:5353 or "[fd00::2]:53"
            t.yaml:2:66: dns.servers[4]: `0.0.0.0` is no DNS server; legal is an IP address, perhaps with a port, like 10.0.0.2, 10.0.0.2:5353 or "[fd00::2]:53"
            t.yaml:2:99: dns.servers[7]: `10.0.0.300` is no DNS server; legal is an IP address, perhaps with a port, like 10.0.0.2, 10.0.0.2:5353 or "[fd00::2]:53"
            t.yaml:3:13: dns.at_least: `1d` is not a time; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m
            t.yaml:4:12: dns.at_most: `50ms` is out of range; legal is 100ms to 24h
            t.yaml:5:12: dns.timeout: `1m` is out of range; legal is 10ms to 30s
            t.yaml:6:11: dns.prefer: `inet6` is no kind of addresses; legal is `ipv4` and `ipv6`
            t.yaml:7:3: dns.valid: `valid` is no key of the rules for DNS; write between what an answer's own TTL is kept: `at_least` and `at_most`"#]],
    );
    let nine = (1..=9).map(|last| format!("10.0.0.{last}")).collect::<Vec<_>>().join(", ");
    check(
        &top(&format!("dns: {{ servers: [{nine}] }}")),
        &expect!["t.yaml:1:17: dns.servers: 9 servers are written here; legal are at most 8"],
    );
    check(
        &top("dns: { servers: [], at_least: 10m }"),
        &expect![[r#"
        t.yaml:1:17: dns.servers: no server is written here; leave `servers` out for those of /etc/resolv.conf
        t.yaml:1:31: dns.at_least: an answer cannot hold for at least 10m (`at_least`) and at most 5m (`at_most`); write a longer `at_most`"#]],
    );
    check(
        &top("dns: { servers: 10.0.0.2, at_least: 10s, at_most: 5s }"),
        &expect![[r#"
        t.yaml:1:17: dns.servers: `10.0.0.2` is written here; legal is a list of DNS servers, like [10.0.0.2, "10.0.0.3:5353"]
        t.yaml:1:51: dns.at_most: an answer cannot hold for at least 10s (`at_least`) and at most 5s (`at_most`); write a longer `at_most`"#]],
    );
    check(
        &top("resolver: 10.0.0.2\ndns: { nameservers: [10.0.0.2] }"),
        &expect![[r#"
        t.yaml:1:1: resolver: `resolver` is no key of a configuration; write it as dns: { servers: [10.0.0.2] }
        t.yaml:2:8: dns.nameservers: `nameservers` is no key of the rules for DNS; write them as `servers`, like servers: [10.0.0.2]"#]],
    );
}

#[test]
fn ranges_of_addresses_are_checked() {
    check(
        &top(
            r#"trusted: [10.0.0.1/8, 10.0.0.0/33, "fd00::1/8", localhost, 10.0.0.0/8, 10.0.0.0/8, 10.0.0.7, 10.0.0.7/32, "::ffff:10.0.0.0/104", 10.0.0.0/+8, 7]
listeners: [{ address: "0.0.0.0:1", proxy_protocol: [] }]"#,
        ),
        &expect![[r#"
            t.yaml:1:11: trusted[0]: `10.0.0.1/8` is an address within its network; legal is the network or the address alone; did you mean `10.0.0.0/8`?
            t.yaml:1:23: trusted[1]: `10.0.0.0/33` has no length of 0 to 32 after the /; legal is an address or a network, like 10.0.0.7, 10.0.0.0/8 or fd00::/8
            t.yaml:1:36: trusted[2]: `fd00::1/8` is an address within its network; legal is the network or the address alone; did you mean `fd00::/8`?
            t.yaml:1:49: trusted[3]: `localhost` is no range of addresses; legal is an address or a network, like 10.0.0.7, 10.0.0.0/8 or fd00::/8
            t.yaml:1:72: trusted[5]: `10.0.0.0/8` is written twice; keep one, the other is at t.yaml:1:60
            t.yaml:1:94: trusted[7]: `10.0.0.7/32` is written twice; keep one, the other is at t.yaml:1:84
            t.yaml:1:107: trusted[8]: `::ffff:10.0.0.0/104` is IPv4 in the form of IPv6; legal is an address or a network, like 10.0.0.7, 10.0.0.0/8 or fd00::/8; did you mean `10.0.0.0/8`?
            t.yaml:1:130: trusted[9]: `10.0.0.0/+8` has no length of 0 to 32 after the /; legal is an address or a network, like 10.0.0.7, 10.0.0.0/8 or fd00::/8
            t.yaml:1:143: trusted[10]: `7` is no range of addresses; legal is an address or a network, like 10.0.0.7, 10.0.0.0/8 or fd00::/8
            t.yaml:2:53: listeners[0].proxy_protocol: no address is written here, so nobody is meant; write at least one, or leave `proxy_protocol` out"#]],
    );
}

#[test]
fn the_times_of_a_drain_have_a_unit_and_go_by_their_names() {
    check(
        &top("drain: { grace: 5, deadline: never, timeout: 1m }"),
        &expect![[r#"
            t.yaml:1:17: drain.grace: `5` has no unit; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m; did you mean `5s`?
            t.yaml:1:30: drain.deadline: `never` is not a time; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m
            t.yaml:1:37: drain.timeout: `timeout` is no key of a drain; write `deadline`, after which the rest is cut"#]],
    );
}

#[test]
fn timeouts_are_some_time_and_have_a_unit() {
    check(
        &top("timeouts: { head: 0s, body: 30, connect: 2 s, tunnel: 400d, idle: 5m, keepalive: [], http2_idle: }"),
        &expect![[r#"
            t.yaml:1:19: timeouts.head: `0s` is no time at all; legal is 1ms to 8784h
            t.yaml:1:29: timeouts.body: `30` has no unit; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m; did you mean `30s`?
            t.yaml:1:42: timeouts.connect: `2 s` is not a time; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m
            t.yaml:1:55: timeouts.tunnel: `400d` is not a time; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m
            t.yaml:1:61: timeouts.idle: `idle` is no key of the timeouts; legal keys are `handshake`, `head`, `body`, `connect`, `first_byte`, `response`, `write`, `keepalive`, `http2_idle`, `tunnel`, `connection`, `upstream_idle` and `total`
            t.yaml:1:82: timeouts.keepalive: a list is written here; legal is a time, like 30s
            t.yaml:1:86: timeouts.http2_idle: nothing is written here; legal is a time, like 30s"#]],
    );
    check(
        &shop("    timeouts: { connect: 1s, total: 0ms, first_bite: 1s }"),
        &expect![[r#"
        t.yaml:7:17: services.shop.timeouts.connect: `connect` is no key of a service's timeouts; it is the same for all services: write it into `timeouts` at the top of the file
        t.yaml:7:37: services.shop.timeouts.total: `0ms` is no time at all; legal is 1ms to 8784h
        t.yaml:7:42: services.shop.timeouts.first_bite: `first_bite` is no key of a service's timeouts; legal keys are `first_byte`, `response`, `tunnel` and `total`; did you mean `first_byte`?"#]],
    );
}

#[test]
fn limits_name_what_is_legal() {
    check(
        &top(
            "limits: { connections: 0, connections_per_client: -1, request_line: 512B, head: 2MiB, headers: 257, body: 10MB, \
             http2_streams: 10001, http2_header_list: 65536, http2_resets: 1.5, http2_glitches: many }",
        ),
        &expect![[r#"
            t.yaml:1:24: limits.connections: `0` is out of range; legal is 1 to 10000000
            t.yaml:1:51: limits.connections_per_client: `-1` is no whole number; legal is 1 to 10000000
            t.yaml:1:69: limits.request_line: `512B` is out of range; legal is 1KiB to 64KiB
            t.yaml:1:81: limits.head: `2MiB` is out of range; legal is 1KiB to 1MiB
            t.yaml:1:96: limits.headers: `257` is out of range; legal is 1 to 256
            t.yaml:1:107: limits.body: `10MB` is no size; legal is a whole number with B, KiB, MiB, GiB or TiB, like 8KiB or 10MiB; did you mean `10MiB`?
            t.yaml:1:128: limits.http2_streams: `10001` is out of range; legal is 1 to 10000
            t.yaml:1:154: limits.http2_header_list: `65536` has no unit; legal is a whole number with B, KiB, MiB, GiB or TiB, like 8KiB or 10MiB; did you mean `64KiB`?
            t.yaml:1:175: limits.http2_resets: `1.5` is no whole number; legal is 1 to 1000000
            t.yaml:1:196: limits.http2_glitches: `many` is no whole number; legal is 1 to 1000000"#]],
    );
    check(
        &top("limits: { head: 4KiB, request_line: 5KiB }"),
        &expect![
            "t.yaml:1:37: limits.request_line: 5KiB is more than the whole head, 4KiB (`head`); legal is at most 4KiB"
        ],
    );
    // What the library takes of a target ends there.
    check(
        &top("limits: { head: 1MiB, request_line: 65KiB }"),
        &expect!["t.yaml:1:37: limits.request_line: `65KiB` is out of range; legal is 1KiB to 64KiB"],
    );
    check(
        &top("limits: { head: 1000, body: 0B, request_line: 8 KiB }"),
        &expect![[r#"
        t.yaml:1:17: limits.head: `1000` has no unit; legal is a whole number with B, KiB, MiB, GiB or TiB, like 8KiB or 10MiB; did you mean `1000B`?
        t.yaml:1:29: limits.body: `0B` is out of range; legal is 1B to 1024TiB
        t.yaml:1:47: limits.request_line: `8 KiB` is no size; legal is a whole number with B, KiB, MiB, GiB or TiB, like 8KiB or 10MiB; did you mean `8KiB`?"#]],
    );
    check(
        &shop("    body: 2048TiB\n    limits: { body: 1MiB }"),
        &expect![[r#"
            t.yaml:7:11: services.shop.body: `2048TiB` is out of range; legal is 1B to 1024TiB
            t.yaml:8:5: services.shop.limits: `limits` is no key of a service; of the limits a service may set that of bodies, like body: 10MiB; those of requests under way stand in a version, the others at the top of the file"#]],
    );
}

#[test]
fn strictness_and_the_access_log_are_checked() {
    check(
        &top("requests: { underscores: allow, encoded_slashes: true }\naccess_log: { to: stdot, sample: 10 }"),
        &expect![[r#"
            t.yaml:1:26: requests.underscores: `allow` is not one of the two ways; legal is `refuse` and `pass`
            t.yaml:1:50: requests.encoded_slashes: `true` is not one of the two ways; legal is `refuse` and `pass`
            t.yaml:2:19: access_log.to: `stdot` is no place for a log; legal is `stdout` or the path of a file, like /var/log/tidegate/access.log; did you mean `stdout`?
            t.yaml:2:34: access_log.sample: `10` has no %; a percentage is written like 0.1%; did you mean `10%`?"#]],
    );
    check(
        &top("access_log: { to: access.log, sample: 101% }"),
        &expect![[r#"
        t.yaml:1:19: access_log.to: `access.log` is no place for a log; legal is `stdout` or the path of a file, like /var/log/tidegate/access.log; did you mean `./access.log`?
        t.yaml:1:39: access_log.sample: `101%` is out of range; legal is 0% to 100%"#]],
    );
    check(
        &top("access_log: { to: /var/log/ }"),
        &expect![
            "t.yaml:1:19: access_log.to: `/var/log/` is no place for a log; legal is `stdout` or the path of a file, like /var/log/tidegate/access.log"
        ],
    );
    check(
        &top("access_log: stdout"),
        &expect!["t.yaml:1:13: access_log: `stdout` is written here; legal is a mapping with `to` and `sample`"],
    );
    check(
        &top("access_log: {}"),
        &expect![
            "t.yaml:1:1: access_log: `to` is missing; write where to, like to: stdout or to: /var/log/tidegate/access.log"
        ],
    );
}

#[test]
fn what_is_perhaps_not_meant_is_warned_of() {
    let text = format!(
        r#"
listeners:
  - {{ address: "0.0.0.0:443", redirect: https }}
  - {{ address: "unix:/run/t", redirect: {{ https: 8443 }} }}
timeouts: {{ first_byte: 5s, total: 2s }}
limits: {{ connections: 10, connections_per_client: 11, http2_streams: 100, http2_resets: 50 }}
{}"#,
        shop(
            "    affinity: { user: X-User }\n    timeouts: { first_byte: 3s }\n    headers: { accept: '*/*' }\n    forced: { cookie: c, from: ['::/0'] }"
        )
    );
    expect![[r#"
        t.yaml:3:3: listeners: every listener redirects, so no service can be reached; write one without `redirect`, with `tls`
        t.yaml:3:41: listeners[0].redirect: port 443 is this listener's own, which speaks no TLS: clients would come back for ever
        t.yaml:5:36: timeouts.total: a request ends after 2s in all (`total`), so `first_byte`, which is 5s, never comes to bear; write a `first_byte` of at most 2s
        t.yaml:6:52: limits.connections_per_client: is more than `connections` in all, 10, so it does nothing
        t.yaml:6:90: limits.http2_resets: a browser that leaves a page resets all its streams at once, up to 100 (`http2_streams`), and loses its connection above 50 (`http2_resets`); write `http2_resets` of at least 100
        t.yaml:13:23: services.shop.affinity.user: nobody is believed, so every request draws at random: `x-user` names the user only where it comes from a hop in front; write `trusted: [ADDRESSES]` at the top of the file
        t.yaml:14:29: services.shop.timeouts.first_byte: a request ends after 2s in all (`total`), so `first_byte`, which is 3s, never comes to bear; write a `first_byte` of at most 2s
        t.yaml:15:24: services.shop.headers.accept: `*/*` is compared as it stands: only "*" alone means any value
        t.yaml:16:33: services.shop.forced.from[0]: `::/0` is everybody, so everybody could choose the version"#]].assert_eq(&warnings(&text));
    let text = r#"
trusted: [0.0.0.0/0]
listeners: [{ address: "0.0.0.0:443", tls: { certificates: [{ cert: a, key: b }], hsts: { max_age: 1h, preload: true } } }]
limits: { http2_streams: 300 }
services:
  shop:
    affinity: { user: X-User }
    forced: { cookie: c, secret: s }
    timeouts: { total: 14s }
    stable: never
    versions: { always: { endpoints: ["a:1"] }, never: { endpoints: ["b:1"] } }
"#;
    expect![[r#"
        t.yaml:2:11: trusted[0]: `0.0.0.0/0` is everybody, so everybody could name any client
        t.yaml:3:113: listeners[0].tls.hsts.preload: browsers ship with a host only where `subdomains` is `true` and `max_age` is 8760h or more
        t.yaml:4:26: limits.http2_streams: a browser that leaves a page resets all its streams at once, up to 300 (`http2_streams`), and loses its connection above 200 (`http2_resets`); write `http2_resets` of at least 300
        t.yaml:8:13: services.shop.forced: the version `always` cannot be named so: `always` is the word for the canary
        t.yaml:8:13: services.shop.forced: the version `never` cannot be named so: `never` is the word for the stable
        t.yaml:9:24: services.shop.timeouts.total: a request ends after 14s in all (`total`), so `first_byte`, which is 15s, never comes to bear; write a `first_byte` of at most 14s"#]].assert_eq(&warnings(text));
}

#[test]
fn a_header_that_nobody_is_believed_about_is_warned_of() {
    let file = |top: &str, asks: &str| {
        format!("{top}services:\n  shop:\n    {asks}\n    versions: {{ v1: {{ endpoints: ['10.0.0.1:80'] }} }}\n")
    };
    for asks in
        ["headers: { X-Forwarded-Proto: https }", "affinity: { header: x-real-ip }", "headers: { forwarded: a }"]
    {
        let warned = warnings(&file("", asks));
        assert!(warned.contains("is taken away unless the peer is trusted"), "{asks}: {warned}");
        assert_eq!(warnings(&file("trusted: [10.0.0.0/8]\n", asks)), "", "{asks}");
    }
    assert_eq!(warnings(&file("", "headers: { x-beta: '1' }")), "");
}

#[test]
fn an_endpoint_that_is_the_control_api_is_warned_of() {
    let file = |admin: &str, endpoint: &str| {
        format!("{admin}services:\n  shop:\n    versions: {{ v1: {{ endpoints: ['{endpoint}'] }} }}\n")
    };
    for (admin, endpoint) in [("", "127.0.0.1:9900"), ("admin: { address: '127.0.0.1:9001' }\n", "localhost:9001")] {
        let warned = warnings(&file(admin, endpoint));
        assert!(warned.contains(&format!("`{endpoint}` is the control API of this process itself")), "{warned}");
    }
    assert_eq!(warnings(&file("", "127.0.0.1:9901")), "");
}

#[test]
fn an_endpoint_that_leads_back_here_is_warned_of() {
    let file = |listeners: &str, endpoint: &str| {
        format!(
            "listeners: [{listeners}]\nservices:\n  shop:\n    versions: {{ v1: {{ endpoints: ['{endpoint}'] }} }}\n"
        )
    };
    let any =
        "{ address: '0.0.0.0:80' }, { address: '127.0.0.1:81' }, { address: '[::1]:82' }, { address: 'unix:/run/t' }";
    for back in
        ["127.0.0.1:80", "localhost:80", "127.0.0.9:80", "0.0.0.0:80", "127.0.0.1:81", "localhost:82", "unix:/run/t"]
    {
        let warned = warnings(&file(any, back));
        assert!(warned.contains(&format!("`{back}` is this process itself, which listens on")), "{back}: {warned}");
    }
    for elsewhere in ["127.0.0.1:83", "10.0.0.1:80", "127.0.0.2:81", "shop.internal:80", "unix:/run/s"] {
        assert_eq!(warnings(&file(any, elsewhere)), "", "{elsewhere}");
    }
    expect!["t.yaml:2:41: services.shop.versions.v1.endpoints[0]: `127.0.0.1:8080` is this process itself, which listens on 0.0.0.0:8080: requests come back until they are refused (508); write where the service listens"]
        .assert_eq(&warnings("services:\n  shop: { versions: { v1: { endpoints: ['127.0.0.1:8080'] } } }\n"));
}
