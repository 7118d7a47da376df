//! Listeners, rules, routes and versions: what they are where nothing is written.

use std::path::PathBuf;
use std::time::Duration;

use config::{
    AccessLog, Affinity, Bytes, CertificateFiles, Drain, EndpointTls, Fraction, HeaderMatch, Limits, ListenerTls,
    LogTarget, Strictness, Timeouts, TlsVersion, Version,
};

use crate::ingress::{service, top};
use crate::read;

/// The version of a service.
fn version(text: &str) -> Version {
    read(&format!("services: {{ shop: {{ versions: {{ v1: {text} }} }} }}")).services.remove(0).versions.remove(0)
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

#[test]
fn a_redirect_leads_to_443_where_no_port_is_written() {
    let redirect = |text: &str| {
        top(&format!("listeners: [{{ address: '0.0.0.0:80', redirect: {text} }}, {{ address: '[::]:1' }}]"))
    };
    assert_eq!(redirect("https").listeners[0].redirect, Some(443));
    assert_eq!(redirect("{ https: 8443 }").listeners[0].redirect, Some(8443));
}

#[test]
fn tls_needs_nothing_but_certificates() {
    let listeners =
        top("listeners: [{ address: '0.0.0.0:1', tls: { certificates: [{ cert: a, key: b }] } }]").listeners;
    let files = CertificateFiles { cert: PathBuf::from("a"), key: PathBuf::from("b") };
    let tls = ListenerTls { certificates: vec![files], clients: None, oldest: TlsVersion::V12, hsts: None };
    assert_eq!(listeners[0].tls, Some(tls));
}

#[test]
fn the_oldest_tls_may_be_written_with_and_without_quotes() {
    for (text, oldest) in [("1.2", TlsVersion::V12), ("'1.3'", TlsVersion::V13), ("1.3", TlsVersion::V13)] {
        let tls = format!("{{ certificates: [{{ cert: a, key: b }}], oldest: {text} }}");
        let listeners = top(&format!("listeners: [{{ address: '0.0.0.0:1', tls: {tls} }}]")).listeners;
        assert_eq!(listeners[0].tls.as_ref().map(|tls| tls.oldest), Some(oldest), "{text}");
    }
}

#[test]
fn every_timeout_and_limit_defaults_alone() {
    assert_eq!(top("timeouts: {}").rules.timeouts, Timeouts::default());
    let first_byte = Timeouts { first_byte: Duration::from_secs(1), ..Timeouts::default() };
    assert_eq!(top("timeouts: { first_byte: 1s }").rules.timeouts, first_byte);
    assert_eq!(top("limits: {}").rules.limits, Limits::default());
    let headers = Limits { headers: 256, ..Limits::default() };
    assert_eq!(top("limits: { headers: 256 }").rules.limits, headers);
    assert_eq!(top("requests: {}").rules.requests, Strictness::default());
    let at_once = Drain { grace: Duration::ZERO, ..Drain::default() };
    assert_eq!(top("drain: { grace: 0s }").rules.drain, at_once);
}

#[test]
fn a_request_line_is_never_longer_than_a_head_that_is_written_smaller() {
    let limits = |text: &str| top(&format!("limits: {text}")).rules.limits;
    assert_eq!(limits("{ head: 4KiB }").request_line, Bytes::kib(4));
    assert_eq!(limits("{ head: 1MiB }").request_line, Bytes::kib(8));
    assert_eq!(limits("{ head: 1MiB, request_line: 64KiB }").request_line, Bytes::kib(64));
}

#[test]
fn an_access_log_holds_every_request_where_no_sample_is_written() {
    let log = |text: &str| top(&format!("access_log: {text}")).rules.access_log.clone();
    let all = Fraction::new(1.0).unwrap();
    assert_eq!(log("{ to: stdout }"), Some(AccessLog { to: LogTarget::Stdout, sample: all }));
    let file = LogTarget::File(PathBuf::from("/var/log/a"));
    assert_eq!(log("{ to: /var/log/a }"), Some(AccessLog { to: file, sample: all }));
}

#[test]
fn a_wildcard_says_what_it_is_below() {
    let hosts = service("hosts: ['*.Example.com', example.com]").hosts;
    let parents: Vec<_> = hosts.iter().map(|host| (host.as_str(), host.parent())).collect();
    assert_eq!(parents, [("*.example.com", Some("example.com")), ("example.com", None)]);
}

#[test]
fn headers_are_matched_by_names_in_lower_case_and_whole_values_or_any() {
    let matched =
        |name: &str, value: Option<&str>| HeaderMatch { name: name.to_owned(), value: value.map(str::to_owned) };
    assert_eq!(
        service("headers: { X-Tenant: Blue Sky, x-beta: '*', X-Count: 1 }").headers,
        [matched("x-beta", None), matched("x-count", Some("1")), matched("x-tenant", Some("Blue Sky"))]
    );
}

#[test]
fn an_issued_cookie_lives_for_thirty_days_where_nothing_is_written() {
    let cookie = |text: &str| service(&format!("affinity: {{ cookie: c, issue: {text} }}")).affinity;
    let ours = |issue| Affinity::Cookie { name: "c".to_owned(), issue };
    assert_eq!([cookie("true"), cookie("{}")], [ours(Some(hours(720))), ours(Some(hours(720)))]);
    assert_eq!([cookie("false"), cookie("{ max_age: 1h }")], [ours(None), ours(Some(hours(1)))]);
}

#[test]
fn forced_versions_are_not_judged_unless_it_is_written() {
    let forced = service("forced: { header: X-Version, from: [10.0.0.7] }").forced.unwrap();
    assert_eq!((forced.header.as_deref(), forced.cookie, forced.judged), (Some("x-version"), None, false));
    assert!(forced.from[0].contains("::ffff:10.0.0.7".parse().unwrap()));
    assert!(!forced.from[0].contains("10.0.0.8".parse().unwrap()));
}

#[test]
fn tls_of_endpoints_is_there_exactly_where_it_is_spoken() {
    assert_eq!(version("{ endpoints: ['https://a:1', 'https://b:2'] }").tls, Some(EndpointTls::default()));
    assert_eq!(version("{ endpoints: ['a:1', 'unix:/run/b'] }").tls, None);
    let named = version("{ endpoints: ['https://[::1]:1'], tls: { server_name: Shop.Internal } }");
    assert_eq!(named.tls.and_then(|tls| tls.server_name).as_deref(), Some("shop.internal"));
    assert_eq!(named.endpoints[0].to_string(), "https://[::1]:1");
}
