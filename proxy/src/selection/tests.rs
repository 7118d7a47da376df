mod matching;

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::{Configuration, Name, Weight};
use http::header::SET_COOKIE;
use proptest::prelude::*;

use super::*;
use crate::Publisher;
use crate::routing::Wanted;
use crate::{fields, forwarded};

const VERSIONS: &str = "versions: { v1: { endpoints: ['127.0.0.1:1'] }, v2: { endpoints: ['127.0.0.1:2'] }, \
                        v3: { endpoints: ['127.0.0.1:3'] } }";

fn configuration(more: &str) -> Configuration {
    let text = format!("services: {{ shop: {{ stable: v1, {VERSIONS}, {more} }} }}");
    config::parse(&text, "test.yaml").unwrap().configuration
}

/// A service `shop` of three versions, v1 the stable, with these further keys in one line.
fn publisher(more: &str) -> Publisher {
    let mut publisher = Publisher::new(1);
    let configuration = configuration(more);
    publisher.install(&configuration, &HashMap::new(), |_| None, Instant::now());
    publisher
}

fn shop(publisher: &Publisher) -> Arc<Service> {
    Arc::clone(publisher.shared().load().service(&Name::new("shop").unwrap()).unwrap())
}

fn service(more: &str) -> Arc<Service> {
    shop(&publisher(more))
}

fn request(headers: &[(&'static str, &str)]) -> RequestHeader {
    let mut request = RequestHeader::build("GET", b"/", None).unwrap();
    for (name, value) in headers {
        request.append_header(*name, *value).unwrap();
    }
    request
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

/// The version that a request from an address is given, and whether it was forced.
fn given(service: &Service, from: IpAddr, headers: &[(&'static str, &str)]) -> (String, bool) {
    let selection = select(service, &request(headers), Some(from), false);
    (selection.draw.version.name.to_string(), matches!(selection.reason, Reason::Forced(_)))
}

fn forced(version: &str) -> (String, bool) {
    (version.to_owned(), true)
}

fn drawn(version: &str) -> (String, bool) {
    (version.to_owned(), false)
}

const BOTH: &str = "forced: { header: x-version, cookie: version, from: [127.0.0.0/8] }, canary: v2";

#[test]
fn always_is_the_canary_never_is_stable_and_a_name_is_that_version() {
    let service = service(&format!("{BOTH}, weight: 0%"));
    let ask = |value| given(&service, HERE, &[("x-version", value)]);
    assert_eq!(["always", "never", "v1", "v2", "v3"].map(ask), ["v2", "v1", "v1", "v2", "v3"].map(forced));
    assert_eq!(given(&service, HERE, &[]), drawn("v1"));
}

#[test]
fn never_goes_to_stable_while_the_canary_has_everything() {
    let service = service(&format!("{BOTH}, weight: 100%"));
    assert_eq!(given(&service, HERE, &[("x-version", "never")]), forced("v1"));
    assert_eq!(given(&service, HERE, &[]), drawn("v2"));
}

#[test]
fn the_header_goes_before_the_cookie_and_what_means_nothing_is_passed_over() {
    let service = service(&format!("{BOTH}, weight: 0%"));
    let ask = |header, cookie: &str| given(&service, HERE, &[("x-version", header), ("cookie", cookie)]);
    assert_eq!(ask("never", "version=always"), forced("v1"));
    assert_eq!(ask("v3", "a=b; version=always"), forced("v3"));
    for nonsense in ["", "Always", "v9", "v2 ", "always,never", "*"] {
        assert_eq!(ask(nonsense, "version=always"), forced("v2"), "{nonsense}");
        assert_eq!(ask(nonsense, "version=nonsense"), drawn("v1"), "{nonsense}");
    }
}

#[test]
fn the_words_win_over_versions_of_those_names() {
    let text = "services: { shop: { stable: v1, canary: never, weight: 0%, \
                forced: { header: x-version, from: [127.0.0.1] }, versions: { v1: { endpoints: ['127.0.0.1:1'] }, \
                never: { endpoints: ['127.0.0.1:2'] } } } }";
    let mut publisher = Publisher::new(1);
    let configuration = config::parse(text, "test.yaml").unwrap().configuration;
    publisher.install(&configuration, &HashMap::new(), |_| None, Instant::now());
    let ask = |value| given(&shop(&publisher), HERE, &[("x-version", value)]);
    assert_eq!((ask("never"), ask("always")), (forced("v1"), forced("never")));
}

#[test]
fn after_a_rollback_always_is_stable_and_the_name_still_reaches_the_version() {
    let mut publisher = publisher(&format!("{BOTH}, weight: 10%"));
    let stable = Name::new("v1").unwrap();
    let wanted = Wanted {
        stable: &stable,
        canary: None,
        baseline: None,
        matched: None,
        mirror: None,
        paths: &[],
        generation: 2,
    };
    publisher.steer(&Name::new("shop").unwrap(), &wanted);
    let ask = |value| given(&shop(&publisher), HERE, &[("x-version", value)]);
    assert_eq!((ask("always"), ask("v2")), (forced("v1"), forced("v2")));
}

#[test]
fn only_listed_clients_choose() {
    let service = service(&format!("{BOTH}, weight: 0%"));
    let headers = [("x-version", "v2"), ("cookie", "version=v2"), ("tidegate-secret", "")];
    assert_eq!(given(&service, ELSEWHERE, &headers), drawn("v1"));
    assert_eq!(given(&service, "::ffff:127.0.0.1".parse().unwrap(), &headers), forced("v2"));
    let unknown = select(&service, &request(&headers), None, true);
    assert_eq!(unknown.reason, Reason::Weight);
}

/// A file that holds this.
fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn whoever_knows_the_secret_chooses_from_anywhere() {
    let file = file("# for testers\n\n  open-sesame \nsecond\n");
    let path = file.path().display();
    let service = service(&format!("forced: {{ header: x-version, secret: '{path}' }}"));
    let ask = |secret: &str| given(&service, ELSEWHERE, &[("x-version", "v2"), ("tidegate-secret", secret)]);
    assert_eq!(ask("open-sesame"), forced("v2"));
    for wrong in ["", "open-sesam", "open-sesame1", "open-sesamE", "second", "# for testers", "o"] {
        assert_eq!(ask(wrong), drawn("v1"), "{wrong}");
    }
    assert_eq!(given(&service, HERE, &[("x-version", "v2")]), drawn("v1"));
    assert_eq!(format!("{:?}", service.secret), "Some(Secret)", "never shown");
}

#[test]
fn a_file_without_a_secret_is_told_and_gives_nobody_the_choice() {
    let good = file("open-sesame");
    let text = |path: &std::path::Path| format!("forced: {{ header: x-version, secret: '{}' }}", path.display());
    assert_eq!(check(&configuration(&text(good.path()))), [""; 0]);
    let (empty, long, odd) = (file("# nothing\n\n"), file(&"x".repeat(70_000)), file("two words"));
    for (path, told) in [
        (empty.path(), "holds no secret"),
        (long.path(), "longer than 64 KiB"),
        (odd.path(), "no header can carry"),
        (std::path::Path::new("/no/such/file"), "cannot be read: there is no such file"),
    ] {
        let problems = check(&configuration(&text(path))).join("\n");
        assert!(problems.starts_with("services.shop.forced.secret: ") && problems.contains(told), "{problems}");
        assert!(problems.contains(&path.display().to_string()), "{problems}");
        let asks = [("x-version", "v2"), ("tidegate-secret", "")];
        assert_eq!(given(&service(&text(path)), ELSEWHERE, &asks), drawn("v1"));
    }
}

#[test]
fn a_forced_request_is_no_draw_and_is_judged_only_where_that_is_asked_for() {
    for judged in [false, true] {
        let service = service(&format!(
            "forced: {{ header: x-version, from: [127.0.0.1], judged: {judged} }}, canary: v2, weight: 50%"
        ));
        for value in ["always", "never", "v3"] {
            let selection = select(&service, &request(&[("x-version", value)]), Some(HERE), false);
            let by = if judged { Judged::Fully } else { Judged::Not };
            assert_eq!((selection.draw.at_random, selection.judged), (false, by), "{value}");
            assert!(selection.draw.slice.is_none() && selection.issued.is_none());
        }
        let other = select(&service, &request(&[]), Some(HERE), false);
        assert!(other.judged == Judged::Fully && other.draw.at_random);
    }
}

const ISSUED: &str = "affinity: { cookie: tidegate, issue: true }, canary: v2";

#[test]
fn who_has_no_cookie_gets_one_and_is_drawn_by_it_from_the_first_request_on() {
    let service = service(&format!("{ISSUED}, weight: 50%"));
    let mut versions = HashMap::new();
    for headers in [&[][..], &[("cookie", "a=b")], &[("cookie", "tidegate=")]] {
        for _ in 0..50 {
            let first = select(&service, &request(headers), Some(HERE), false);
            let value = first.issued.unwrap().value;
            assert!(value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit()), "{value}");
            assert_eq!((first.reason, first.draw.at_random), (Reason::Affinity, true));
            let cookie = format!("x=y; tidegate={value}");
            let next = select(&service, &request(&[("cookie", &cookie)]), Some(ELSEWHERE), false);
            assert_eq!(next.draw.version.name, first.draw.version.name);
            assert_eq!((next.reason, next.draw.at_random, next.issued), (Reason::Affinity, false, None));
            *versions.entry(first.draw.version.name.to_string()).or_insert(0) += 1;
        }
    }
    // 75 of each expected; outside of 40 to 110 once in a hundred million runs.
    assert!(versions.values().all(|count| (40..=110).contains(count)) && versions.len() == 2, "{versions:?}");
}

#[test]
fn a_value_that_is_not_ours_is_kept_and_no_cookie_is_set_without_issue() {
    let issuing = service(&format!("{ISSUED}, weight: 50%"));
    let foreign = select(&issuing, &request(&[("cookie", "tidegate=of-the-application")]), None, false);
    assert_eq!((foreign.reason, foreign.issued), (Reason::Affinity, None));
    let reading = service("affinity: { cookie: session }");
    let first = select(&reading, &request(&[]), None, false);
    assert_eq!((first.reason, first.issued), (Reason::Weight, None));
}

/// The cookies that a client gets with a response that has these of the origin's.
fn cookies(service: &Service, theirs: &[&str], status: u16, secure: bool) -> Vec<String> {
    cookies_of(service, &request(&[]), false, theirs, status, secure)
}

/// The same, of a request that came from a trusted hop or not. The random value is left out.
fn cookies_of(
    service: &Service,
    request: &RequestHeader,
    trusted: bool,
    theirs: &[&str],
    status: u16,
    secure: bool,
) -> Vec<String> {
    let issued = select(service, request, Some(HERE), trusted).issued.unwrap();
    let mut response = ResponseHeader::build(status, None).unwrap();
    for cookie in theirs {
        response.append_header(SET_COOKIE, *cookie).unwrap();
    }
    to_client(&mut response, service, None, Some(&issued), secure).unwrap();
    let cookies = response.headers.get_all(SET_COOKIE).iter();
    cookies.map(|cookie| cookie.to_str().unwrap().replace(&issued.value, "0123")).collect()
}

#[test]
fn our_cookie_is_for_https_alone_where_tls_is_spoken_or_a_trusted_hop_says_so() {
    let service = service(ISSUED.trim_end_matches(", canary: v2"));
    let is_secure = |said: &str, trusted, tls| {
        let cookie = cookies_of(&service, &request(&[("x-forwarded-proto", said)]), trusted, &[], 200, tls).remove(0);
        cookie.ends_with("; Secure")
    };
    assert!(is_secure("http", false, true) && is_secure("http", true, true));
    assert!(is_secure("https", true, false) && is_secure("HTTPS, http", true, false));
    assert!(!is_secure("https", false, false) && !is_secure("http, https", true, false));
}

#[test]
fn our_cookie_stands_beside_the_origins_and_never_in_its_place() {
    let service = service("affinity: { cookie: tidegate, issue: { max_age: 2h } }");
    let ours = "tidegate=0123; Path=/; Max-Age=7200; HttpOnly; SameSite=Lax";
    assert_eq!(cookies(&service, &[], 200, false), [ours]);
    assert_eq!(cookies(&service, &["a=b; Path=/x", "tidegate2=1"], 503, false), ["a=b; Path=/x", "tidegate2=1", ours]);
    assert_eq!(cookies(&service, &["tidegate=theirs"], 200, false), ["tidegate=theirs"]);
    assert_eq!(cookies(&service, &[], 200, true), [format!("{ours}; Secure")]);
    assert_eq!(cookies(&service, &[], 101, false), [ours], "a tunnel's handshake is its response");
    assert_eq!(cookies(&service, &[], 103, false), [""; 0], "the response is yet to come");
}

#[test]
fn an_issued_cookie_lives_for_thirty_days_where_nothing_is_written() {
    let service = service(ISSUED.trim_end_matches(", canary: v2"));
    let lives = format!("Max-Age={}", Duration::from_secs(30 * 24 * 3600).as_secs());
    assert!(cookies(&service, &[], 200, false)[0].contains(&lives));
}

/// The `tidegate-*` headers that the origin gets of a client's.
fn passed_on(service: &Service, headers: &[(&'static str, &str)]) -> Vec<String> {
    let mut request = request(headers);
    fields::change(&mut request, |request| {
        let mut told = Told::nothing();
        to_origin(&mut told, service, &service.versions[1]);
        forwarded::to_origin(&mut told, request, None, None, &service.rules, None);
        told.set(&mut request.headers);
    });
    let ours = request.headers.iter().filter(|(name, _)| name.as_str().starts_with("tidegate-"));
    ours.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
}

#[test]
fn the_origin_is_told_what_was_drawn_and_never_what_a_client_claims_nor_its_secret() {
    let claims = [("tidegate-version", "v9"), ("tidegate-version", "v8"), ("tidegate-secret", "open-sesame")];
    assert_eq!(passed_on(&service("path: /"), &claims), ["tidegate-version: v2"]);
    assert_eq!(passed_on(&service("version_header: false"), &claims), [""; 0]);
    let forced = "forced: { header: tidegate-version, from: [127.0.0.1] }";
    assert_eq!(passed_on(&service(forced), &claims), ["tidegate-version: v2"]);
    let off = format!("{forced}, version_header: false");
    assert_eq!(passed_on(&service(&off), &claims[1..]), ["tidegate-version: v8"]);
}

#[test]
fn the_client_is_told_which_version_served_unless_that_is_off() {
    for (more, told) in [("version_header: true", Some("v3")), ("version_header: false", None)] {
        let service = service(more);
        let mut response = ResponseHeader::build(200, None).unwrap();
        to_client(&mut response, &service, Some(&service.versions[2]), None, false).unwrap();
        assert_eq!(response.headers.get("tidegate-version").map(|value| value.to_str().unwrap()), told);
    }
    let service = service("path: /");
    let mut response = ResponseHeader::build(200, None).unwrap();
    response.append_header("tidegate-version", "a lie").unwrap();
    to_client(&mut response, &service, Some(&service.versions[0]), None, false).unwrap();
    assert_eq!(response.headers.get_all("tidegate-version").iter().collect::<Vec<_>>(), ["v1"]);
}

proptest! {
    #[test]
    fn nobody_who_may_not_changes_anything_by_asking(value in "[ -~]{0,12}", cookie in "[ -~]{0,24}", weight in 0u16..=100) {
        let service = service(&format!("{BOTH}, weight: {weight}%, affinity: {{ header: x-user }}"));
        let asks = [("x-version", &*value), ("cookie", &*cookie), ("tidegate-secret", &*value), ("x-user", "7")];
        prop_assert_eq!(given(&service, ELSEWHERE, &asks), given(&service, ELSEWHERE, &[("x-user", "7")]));
    }
}

/// Requests of one user in an hour: most send a few, some send thousands (a Pareto tail of index 1.2, as page views of
/// people and their tools have it).
fn requests_of(user: &mut fastrand::Rng) -> u64 {
    (user.f64().max(1e-9).powf(-1.0 / 1.2) as u64).min(5_000)
}

#[test]
fn the_share_of_users_on_the_canary_is_its_weight_whatever_they_send() {
    // An hour of 20 000 returning users with cookies of ours, at the weights of a rollout.
    const USERS: usize = 20_000;
    fastrand::seed(11);
    let mut publisher = publisher(&format!("{ISSUED}, weight: 0%"));
    let (stable, canary) = (Name::new("v1").unwrap(), Name::new("v2").unwrap());
    let mut random = fastrand::Rng::with_seed(5);
    // Drawn by a generator of the test in place of the system's: the same users in each run.
    let users: Vec<(String, u64)> =
        (0..USERS).map(|_| (format!("tidegate={:032x}", random.u128(..)), requests_of(&mut random))).collect();
    for percent in [1, 5, 10, 25, 50] {
        let weight = Weight::from_basis_points(percent * 100).unwrap();
        let wanted = Wanted {
            stable: &stable,
            canary: Some((&canary, weight)),
            baseline: None,
            matched: None,
            mirror: None,
            paths: &[],
            generation: 2,
        };
        publisher.steer(&Name::new("shop").unwrap(), &wanted);
        let service = shop(&publisher);
        let is_on_canary = |(cookie, _): &&(String, u64)| {
            select(&service, &request(&[("cookie", cookie)]), Some(HERE), false).draw.version.name == canary
        };
        let on_canary: Vec<u64> = users.iter().filter(is_on_canary).map(|(_, requests)| *requests).collect();
        let (share, wanted) = (on_canary.len() as f64 / USERS as f64, f64::from(percent) / 100.0);
        assert!((share - wanted).abs() <= 0.005, "{share} of users at {percent} %");
        // A user who sends much moves the share of requests: its standard deviation is that of a sum of users, each as
        // large as what it sends.
        let sum = |power: i32| users.iter().map(|(_, requests)| (*requests as f64).powi(power)).sum::<f64>();
        let of_requests = on_canary.iter().sum::<u64>() as f64 / sum(1);
        let deviation = (wanted * (1.0 - wanted) * sum(2)).sqrt() / sum(1);
        assert!((of_requests - wanted).abs() <= 4.0 * deviation, "{of_requests} of requests at {percent} %");
    }
}
