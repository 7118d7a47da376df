//! Heads as pingora has parsed them.

use super::*;

fn http1(method: &str, target: &str, headers: &[(&'static str, &str)]) -> RequestHeader {
    let mut request = RequestHeader::build(method, target.as_bytes(), None).unwrap();
    for (name, value) in headers {
        request.append_header(*name, *value).unwrap();
    }
    request
}

fn http2(target: &str, headers: &[(&'static str, &str)]) -> RequestHeader {
    let mut request = http1("GET", "/", headers);
    request.set_uri(target.parse().unwrap());
    request.set_version(Version::HTTP_2);
    request
}

fn checked(mut request: RequestHeader) -> Result<RequestHeader, u16> {
    check(&mut request, &Rules::default()).map(|()| request).map_err(|refusal| refusal.status)
}

#[test]
fn the_path_that_is_routed_is_the_one_that_is_passed_on() {
    let request = checked(http1("GET", "/a/../b?c=/../d", &[("host", "shop")])).unwrap();
    assert_eq!((request.uri.path(), request.raw_path()), ("/b", &b"/b?c=/../d"[..]));
    let request = checked(http2("http://shop/a/%2e%2e/b?c", &[])).unwrap();
    assert_eq!(request.uri, "http://shop/b?c");
}

#[test]
fn a_list_of_fields_over_http2_may_be_as_large_as_it_may() {
    // :method GET, :path /, :scheme http, :authority shop, and x.
    const REST: usize = (7 + 3 + 32) + (5 + 1 + 32) + (7 + 4 + 32) + (10 + 4 + 32) + (1 + 32);
    let rules = |size| {
        let mut rules = Rules::default();
        rules.limits.http2_header_list = config::Bytes::new(size).unwrap();
        rules
    };
    let mut request = http2("http://shop/", &[("x", &"y".repeat(1_500 - REST))]);
    assert!(check(&mut request.clone(), &rules(1_500)).is_ok());
    assert_eq!(check(&mut request, &rules(1_499)).unwrap_err().status, 431);
}

/// Over HTTP/1.1 an endpoint would read another value than the one that the route was chosen by.
#[test]
fn blanks_around_a_value_are_refused_over_http2() {
    for value in ["blue ", " blue", "blue\t", "\tblue", " "] {
        assert_eq!(checked(http2("http://shop/", &[("x-tenant", value)])).unwrap_err(), 400, "{value:?}");
    }
    for value in ["", "dark blue"] {
        assert!(checked(http2("http://shop/", &[("x-tenant", value)])).is_ok(), "{value:?}");
    }
}

#[test]
fn an_absolute_target_becomes_a_path_and_its_host_is_kept() {
    let request = checked(http1("GET", "http://shop/a?b", &[("host", "shop")])).unwrap();
    assert_eq!((request.raw_path(), &request.headers["host"]), (&b"/a?b"[..], &HeaderValue::from_static("shop")));
    let mut old = http1("GET", "http://shop:81", &[]);
    old.set_version(Version::HTTP_10);
    let request = checked(old).unwrap();
    assert_eq!((request.raw_path(), &request.headers["host"]), (&b"/"[..], &HeaderValue::from_static("shop:81")));
}

#[test]
fn all_of_a_server_may_be_asked_for_its_options() {
    assert!(checked(http1("OPTIONS", "*", &[("host", "shop")])).is_ok());
    assert_eq!(checked(http1("GET", "*", &[("host", "shop")])).unwrap_err(), 400);
}

#[test]
fn underscores_and_encoded_slashes_are_a_matter_of_taste() {
    let request = || http1("GET", "/a%2Fb", &[("host", "shop"), ("content_length", "5")]);
    assert_eq!(checked(request()).unwrap_err(), 400);
    let mut rules = Rules::default();
    rules.requests.encoded_slashes = Handling::Pass;
    assert_eq!(check(&mut request(), &rules).unwrap_err().status, 400);
    rules.requests.underscores = Handling::Pass;
    let mut passed = request();
    assert_eq!(check(&mut passed, &rules), Ok(()));
    assert_eq!(passed.raw_path(), b"/a%2Fb");
}

#[test]
fn http2_is_held_to_the_same() {
    assert!(checked(http2("http://shop/", &[("host", "shop")])).is_ok());
    assert!(checked(http2("/", &[("host", "shop")])).is_ok());
    for (target, headers) in [
        ("http://shop/", &[("host", "other")][..]),
        ("http://shop/", &[("content-length", "5"), ("content-length", "5")]),
        ("http://shop/", &[("content-length", "5, 5")]),
        ("http://shop/", &[("content-length", "+5")]),
        ("http://me@shop/", &[]),
        ("ftp://shop/", &[]),
        ("/", &[]),
        ("http://shop/..", &[]),
        ("http://shop/", &[("a_b", "c")]),
    ] {
        assert_eq!(
            checked(http2(target, headers)).map(|request| request.uri.to_string()),
            Err(400),
            "{target} {headers:?}"
        );
    }
    assert_eq!(checked(http2(&format!("http://shop/{}", "x".repeat(8192)), &[])).unwrap_err(), 414);
}

#[test]
fn the_cookies_of_http2_are_one_header_and_count_as_one() {
    let cookies = [("cookie", "a=b")].repeat(150);
    let request = checked(http2("http://shop/", &cookies)).unwrap();
    let cookies: Vec<_> = request.headers.get_all("cookie").iter().collect();
    assert_eq!(cookies, [&["a=b"; 150].join("; ")]);
    assert_eq!(checked(http2("http://shop/", &[("x", "y")].repeat(101))).unwrap_err(), 431);
}
