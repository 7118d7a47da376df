//! What keeps users whole: what it defaults to, and that all of it that can be is read as it is written.

use std::time::Duration;

use config::{
    Balance, Bytes, Ejection, Fraction, HashKey, HealthCheck, HealthQuestion, InFlightLimits, MirrorRules, Protocol,
    Retries, Service, Version,
};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::writing::{percent, put, time};
use crate::{FULL, read};

/// A service of one version, with something more written in each.
fn service(of_service: &str, of_version: &str) -> Service {
    let version = format!("{{ endpoints: ['a:1', 'a:2'], protocol: h2c, {of_version} }}");
    read(&format!("services: {{ shop: {{ versions: {{ v1: {version} }}, {of_service} }} }}")).services.remove(0)
}

fn version(more: &str) -> Version {
    service("", more).versions.remove(0)
}

fn health(text: &str) -> HealthCheck {
    version(&format!("health: {text}")).health.unwrap()
}

fn retries(text: &str) -> Retries {
    service(&format!("retries: {text}"), "").retries
}

#[test]
fn nothing_written_is_what_the_model_says() {
    let service = service("", "");
    assert_eq!((service.retries, service.shield), (Retries::default(), true));
    let version = &service.versions[0];
    let plain = Version::plain(version.name.clone(), version.endpoints.clone());
    assert_eq!(*version, Version { protocol: Protocol::H2c, ..plain });
    assert_eq!((version.health.as_ref(), version.ejection), (None, Some(Ejection::default())));
}

#[test]
fn a_question_is_all_that_a_health_check_needs() {
    let http = |path: &str, host: Option<&str>, status| {
        HealthCheck::of(HealthQuestion::Http { path: path.to_owned(), host: host.map(str::to_owned), status })
    };
    assert_eq!(health("{ path: /healthz }"), http("/healthz", None, (200, 299)));
    assert_eq!(health("{ path: '/a?b=1', status: 204 }"), http("/a?b=1", None, (204, 204)));
    assert_eq!(health("{ path: /, host: 'Shop:80', status: 200-399 }"), http("/", Some("shop:80"), (200, 399)));
    assert_eq!(health("{ grpc: shop.v1.Orders }"), HealthCheck::of(HealthQuestion::Grpc("shop.v1.Orders".to_owned())));
    assert_eq!(health("{ grpc: '' }"), HealthCheck::of(HealthQuestion::Grpc(String::new())));
    assert_eq!(health("{ connect: true }"), HealthCheck::of(HealthQuestion::Connect));
}

#[test]
fn a_check_never_takes_longer_than_an_interval_that_is_written_shorter() {
    let usual = HealthCheck::of(HealthQuestion::Connect);
    let timeout = |interval: &str| health(&format!("{{ connect: true, interval: {interval} }}")).timeout;
    assert_eq!(timeout("500ms"), Duration::from_millis(500));
    assert_eq!(timeout("1h"), usual.timeout);
    let both = health("{ connect: true, interval: 100ms, timeout: 100ms, jitter: 0%, healthy: 1, unhealthy: 1 }");
    let hundred = Duration::from_millis(100);
    let expected =
        HealthCheck { interval: hundred, timeout: hundred, jitter: Fraction::ZERO, healthy: 1, unhealthy: 1, ..usual };
    assert_eq!(both, expected);
}

#[test]
fn every_part_of_an_ejection_and_of_the_retries_defaults_alone() {
    let usual = Ejection::default();
    assert_eq!(version("ejection: off").ejection, None);
    assert_eq!(version("ejection: {}").ejection, Some(usual));
    assert_eq!(version("ejection: { failures: 1 }").ejection, Some(Ejection { failures: 1, ..usual }));
    let rate = Ejection { by_success_rate: false, ..usual };
    assert_eq!(version("ejection: { success_rate: false }").ejection, Some(rate));
    let unhurried = Ejection { hang: None, ..usual };
    assert_eq!(version("ejection: { hang: off }").ejection, Some(unhurried));
    let usual = Retries::default();
    assert_eq!((retries("off"), retries("{}")), (Retries { most: 0, ..usual }, usual));
    assert_eq!(retries("{ most: 5 }"), Retries { most: 5, ..usual });
    assert_eq!(retries("{ on: [broken] }"), Retries { unavailable: false, ..usual });
    assert_eq!(retries("{ on: [] }"), Retries { unavailable: false, broken: false, ..usual });
    assert!(!service("shield: false", "").shield);
}

#[test]
fn a_balance_is_a_word_or_what_is_hashed() {
    let balance = |text: &str| version(&format!("balance: {text}")).balance;
    assert_eq!(balance("peak_ewma"), Balance::PeakEwma);
    assert_eq!(balance("least_requests"), Balance::LeastRequests);
    assert_eq!(balance("{ hash: client_address }"), Balance::Hash(HashKey::ClientAddress));
    assert_eq!(balance("{ hash: path }"), Balance::Hash(HashKey::Path));
    assert_eq!(balance("{ hash: { header: X-Tenant } }"), Balance::Hash(HashKey::Header("x-tenant".to_owned())));
    assert_eq!(balance("{ hash: { cookie: Basket } }"), Balance::Hash(HashKey::Cookie("Basket".to_owned())));
}

#[test]
fn one_limit_may_be_written_without_the_other() {
    let limits = |text: &str| version(&format!("limits: {text}")).limits;
    assert_eq!(limits("{}"), InFlightLimits::default());
    assert_eq!(limits("{ requests: 7 }"), InFlightLimits { requests: Some(7), per_endpoint: None });
    assert_eq!(limits("{ requests_per_endpoint: 7 }"), InFlightLimits { requests: None, per_endpoint: Some(7) });
    assert_eq!(version("slow_start: 0s").slow_start, Duration::ZERO);
    let warm = |text| version(text).warm_start;
    assert_eq!(
        [warm("slow_start: 0s"), warm("warm_start: 16"), warm("warm_start: 0"), warm("warm_start: false")],
        [4, 16, 0, 0]
    );
}

#[test]
fn a_full_configuration_uses_every_kind_of_care() {
    let services = read(FULL).services;
    let versions: Vec<&Version> = services.iter().flat_map(|service| &service.versions).collect();
    let asked = |is: fn(&HealthQuestion) -> bool| {
        versions.iter().any(|version| version.health.as_ref().is_some_and(|health| is(&health.ask)))
    };
    assert!(asked(|ask| matches!(ask, HealthQuestion::Http { host: Some(_), .. })));
    assert!(asked(|ask| matches!(ask, HealthQuestion::Grpc(_))) && asked(|ask| *ask == HealthQuestion::Connect));
    assert!(versions.iter().any(|version| version.ejection.is_none()));
    assert!(versions.iter().any(|version| matches!(version.balance, Balance::Hash(_))));
    assert!(versions.iter().any(|version| version.limits.requests.is_some() && version.limits.per_endpoint.is_some()));
    assert!(services.iter().any(|service| !service.shield && service.retries.most == 0));
}

#[test]
fn never_more_endpoints_are_ejected_than_the_part_that_may_be() {
    for hundredths in 1_usize..=100 {
        let ejection = version(&format!("ejection: {{ most: {hundredths}% }}")).ejection.unwrap();
        for endpoints in 0_usize..=200 {
            // In whole numbers, where nothing is rounded.
            let whole = if endpoints < 2 { 0 } else { endpoints * hundredths / 100 };
            assert_eq!(ejection.most_of(endpoints), whole, "{hundredths} % of {endpoints}");
            assert_eq!(ejection.ejects_some_of(endpoints), whole > 0, "{hundredths} % of {endpoints}");
        }
    }
}

fn some_percent(most: u32) -> impl Strategy<Value = Fraction> {
    (1..=most * 1000).prop_map(|thousandths| Fraction::new(f64::from(thousandths) / 1e5).unwrap())
}

fn any_question(protocol: Protocol) -> impl Strategy<Value = HealthQuestion> {
    let path = "/(%2F)?[a-z0-9._~-]{1,8}(/[a-z]{1,4}){0,2}(\\?[a-z]=[0-9:@!$&'()*+,;]{0,3})?";
    let host = option::of("[a-y][a-z0-9]{0,5}(\\.[a-z]{1,5}){0,2}(:[1-9][0-9]{0,3})?");
    let status = (100_u16..=599, 100_u16..=599).prop_map(|(one, other)| (one.min(other), one.max(other)));
    let http = (path, host, status).prop_map(|(path, host, status)| HealthQuestion::Http { path, host, status });
    let grpc = "([a-z][a-z0-9]{0,5}\\.){0,2}[A-Z][a-z]{0,5}|".prop_map(HealthQuestion::Grpc);
    if protocol == Protocol::H1 {
        return prop_oneof![http, Just(HealthQuestion::Connect)].boxed();
    }
    prop_oneof![http, grpc, Just(HealthQuestion::Connect)].boxed()
}

fn any_health(protocol: Protocol) -> impl Strategy<Value = HealthCheck> {
    let times = (100_u64..=3_600_000).prop_flat_map(|interval| (Just(interval), 1..=interval));
    let jitter = prop_oneof![Just(Fraction::ZERO), some_percent(50)];
    (any_question(protocol), times, jitter, 1_u32..=100, 1_u32..=100).prop_map(
        |(ask, (interval, timeout), jitter, unhealthy, healthy)| HealthCheck {
            ask,
            interval: Duration::from_millis(interval),
            jitter,
            timeout: Duration::from_millis(timeout),
            unhealthy,
            healthy,
        },
    )
}

fn any_balance() -> impl Strategy<Value = Balance> {
    let name = || "[a-z][a-z0-9_-]{0,11}";
    prop_oneof![
        select(vec![
            Balance::PeakEwma,
            Balance::LeastRequests,
            Balance::Hash(HashKey::ClientAddress),
            Balance::Hash(HashKey::Path),
        ]),
        name().prop_map(|name| Balance::Hash(HashKey::Header(name))),
        name().prop_map(|name| Balance::Hash(HashKey::Cookie(name))),
    ]
}

/// A version with any care for its endpoints.
pub(crate) fn cared_for(version: Version) -> impl Strategy<Value = Version> {
    let hang = option::of((250_u64..=300_000).prop_map(Duration::from_millis));
    let ejection = (1_u32..=1000, 100_u64..=300_000, some_percent(100), any::<bool>(), hang).prop_map(
        |(failures, first, most, by_success_rate, hang)| Ejection {
            failures,
            first: Duration::from_millis(first),
            most,
            by_success_rate,
            hang,
        },
    );
    let limit = || option::of(1_u32..=1_000_000);
    let limits = (limit(), limit()).prop_map(|(requests, per_endpoint)| InFlightLimits { requests, per_endpoint });
    let health = option::of(any_health(version.protocol));
    (health, option::of(ejection), any_balance(), 0_u64..=3_600_000, 0_u32..=16, limits).prop_map(
        move |(health, ejection, balance, slow_start, warm_start, limits)| Version {
            health,
            ejection,
            balance,
            slow_start: Duration::from_millis(slow_start),
            warm_start,
            limits,
            ..version.clone()
        },
    )
}

pub(crate) fn any_mirror() -> impl Strategy<Value = MirrorRules> {
    let methods = prop::collection::btree_set("[A-BD-Z]{1,7}(-[A-Z]{1,3})?", 1..4);
    let timeout = (1_u64..=60_000).prop_map(Duration::from_millis);
    (methods, 1_u64..=1 << 20, 1_u32..=1_000, timeout).prop_map(|(methods, body, in_flight, timeout)| MirrorRules {
        methods: methods.into_iter().collect(),
        body: Bytes::new(body).unwrap(),
        in_flight,
        timeout,
    })
}

pub(crate) fn any_retries() -> impl Strategy<Value = Retries> {
    let budget = prop_oneof![Just(Fraction::ZERO), some_percent(100)];
    (0_u32..=5, budget, 0_u32..=10_000, any::<bool>(), any::<bool>())
        .prop_map(|(most, budget, floor, unavailable, broken)| Retries { most, budget, floor, unavailable, broken })
}

/// Writes what a version says of the care for its endpoints.
pub(crate) fn write_care(version: &Version, entry: &mut Value) {
    put(entry, "health", version.health.as_ref().map(written_health));
    entry["ejection"] = match &version.ejection {
        Some(Ejection { failures, first, most, by_success_rate, hang }) => json!({
            "failures": failures,
            "first": time(*first),
            "most": percent(most.get()),
            "success_rate": by_success_rate,
            "hang": hang.map_or(json!("off"), time),
        }),
        None => json!("off"),
    };
    entry["balance"] = match &version.balance {
        Balance::PeakEwma => json!("peak_ewma"),
        Balance::LeastRequests => json!("least_requests"),
        Balance::Hash(HashKey::Header(name)) => json!({ "hash": { "header": name } }),
        Balance::Hash(HashKey::Cookie(name)) => json!({ "hash": { "cookie": name } }),
        Balance::Hash(HashKey::ClientAddress) => json!({ "hash": "client_address" }),
        Balance::Hash(HashKey::Path) => json!({ "hash": "path" }),
    };
    entry["slow_start"] = time(version.slow_start);
    entry["warm_start"] = json!(version.warm_start);
    let mut limits = json!({});
    put(&mut limits, "requests", version.limits.requests.map(Value::from));
    put(&mut limits, "requests_per_endpoint", version.limits.per_endpoint.map(Value::from));
    entry["limits"] = limits;
}

fn written_health(HealthCheck { ask, interval, jitter, timeout, unhealthy, healthy }: &HealthCheck) -> Value {
    let mut entry = json!({
        "interval": time(*interval),
        "timeout": time(*timeout),
        "jitter": percent(jitter.get()),
        "unhealthy": unhealthy,
        "healthy": healthy,
    });
    match ask {
        HealthQuestion::Http { path, host, status: (least, most) } => {
            entry["path"] = json!(path);
            put(&mut entry, "host", host.as_ref().map(|host| json!(host)));
            entry["status"] = json!(format!("{least}-{most}"));
        }
        HealthQuestion::Grpc(service) => entry["grpc"] = json!(service),
        HealthQuestion::Connect => entry["connect"] = json!(true),
    }
    entry
}

pub(crate) fn written_retries(retries: &Retries) -> Value {
    let Retries { most, budget, floor, unavailable, broken } = retries;
    let on = [(unavailable, "unavailable"), (broken, "broken")];
    let on: Vec<&str> = on.into_iter().filter(|(on, _)| **on).map(|(_, word)| word).collect();
    json!({ "most": most, "budget": percent(budget.get()), "floor": floor, "on": on })
}

/// The nearest that is written counts, whole: nothing of it is mixed with what is further away.
#[test]
fn a_health_check_is_that_of_the_version_or_of_the_service_or_of_the_file() {
    let text = "health: { path: /all, interval: 3s }\nservices:\n  a:\n    health: { path: /a }\n    stable: own\n    versions:\n      \
                own: { endpoints: ['a:1'], health: { connect: true } }\n      of_service: { endpoints: ['a:2'] }\n      \
                none: { endpoints: ['a:3'], health: off }\n  b:\n    path: /b\n    health: none\n    versions: { none: { endpoints: ['b:1'] } }\n  \
                c:\n    path: /c\n    versions: { of_file: { endpoints: ['c:1'] } }\n  \
                d:\n    path: /d\n    versions: { none: { endpoints: ['d:1'], health: false } }\n";
    let explained = config::explain(text, "t.yaml").unwrap();
    let told = |path: &str| {
        let settings = explained.settings();
        let found = settings.iter().find(|setting| setting.path == path).unwrap_or_else(|| panic!("no {path}"));
        (found.value.clone(), found.source.to_string())
    };
    let versions: Vec<_> = explained.read.configuration.services.iter().flat_map(|s| s.versions.clone()).collect();
    let asked: Vec<_> = versions
        .iter()
        .map(|version| version.health.as_ref().map(|health| (health.ask.clone(), health.interval.as_secs())))
        .collect();
    let path = |path: &str| HealthQuestion::Http { path: path.into(), host: None, status: (200, 299) };
    assert_eq!(
        asked,
        [Some((HealthQuestion::Connect, 5)), Some((path("/a"), 5)), None, None, Some((path("/all"), 3)), None]
    );
    let line = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    assert_eq!(told("services.a.versions.of_service.health.path"), line("/a", "line 4"));
    assert_eq!(told("services.a.versions.of_service.health.interval"), line("5s", "default"));
    assert_eq!(told("services.c.versions.of_file.health.interval"), line("3s", "line 1"));
    assert_eq!(told("services.b.versions.none.health"), line("(none)", "line 12"));
}

#[test]
fn retries_are_those_of_the_service_or_of_the_file() {
    let text = "retries: { most: 4 }\nservices:\n  a: { retries: { floor: 9 }, versions: { v1: { endpoints: ['a:1'] } } }\n  \
                b: { path: /b, versions: { v1: { endpoints: ['b:1'] } } }\n  c: { path: /c, retries: off, versions: { v1: { endpoints: ['c:1'] } } }\n";
    let services = config::parse(text, "t.yaml").unwrap().configuration.services;
    let own = services.iter().map(|service| (service.retries.most, service.retries.floor)).collect::<Vec<_>>();
    assert_eq!(own, [(2, 9), (4, 3), (0, 3)]);
}
