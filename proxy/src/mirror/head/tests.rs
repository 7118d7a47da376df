use super::*;
use crate::mirror::tests::{service, wanted_header};

fn original(head: &RequestHeader) -> Original<'_> {
    Original { head, connection: None, socket: Some([203, 0, 113, 7].into()), trace: None, instance: None }
}

fn asked(target: &str, fields: &[(&'static str, &'static str)]) -> RequestHeader {
    let mut head = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
    for (name, value) in fields {
        head.append_header(*name, *value).unwrap();
    }
    head
}

fn copied(head: &RequestHeader, more: &str) -> Option<RequestHeader> {
    let service = service(more);
    original(head).copy(&service, &service.versions[1])
}

#[test]
fn a_copy_tells_the_canary_what_the_request_would_and_that_it_is_one() {
    let head = asked(
        "/cart?id=7",
        &[("host", "shop.example"), ("cookie", "id=7"), ("te", "gzip"), ("expect", "100-continue")],
    );
    let copy = copied(&head, "").unwrap();
    assert_eq!((copy.version, copy.raw_path()), (HttpVersion::HTTP_11, &b"/cart?id=7"[..]));
    for (name, value) in [
        ("host", Some("shop.example")),
        ("cookie", Some("id=7")),
        ("tidegate-mirror", Some("1")),
        ("tidegate-version", wanted_header()),
        ("x-forwarded-for", Some("203.0.113.7")),
        ("te", None),
        ("expect", None),
    ] {
        assert_eq!(copy.headers.get(name).map(|value| value.to_str().unwrap()), value, "{name}");
    }
}

#[test]
fn the_host_of_a_request_by_http2_is_named_to_an_endpoint_that_speaks_http1() {
    let mut head = asked("/", &[]);
    head.set_uri("https://shop.example/cart".parse().unwrap());
    head.set_version(HttpVersion::HTTP_2);
    let copy = copied(&head, "").unwrap();
    assert_eq!((copy.headers[header::HOST].as_bytes(), copy.raw_path()), (&b"shop.example"[..], &b"/cart"[..]));
}

#[test]
fn an_endpoint_that_speaks_http2_gets_the_host_in_its_target() {
    let copy = copied(&asked("/cart?id=7", &[("host", "shop.example")]), ", protocol: h2c").unwrap();
    assert_eq!((copy.version, copy.uri.to_string().as_str()), (HttpVersion::HTTP_2, "http://shop.example/cart?id=7"));
    assert!(!copy.headers.contains_key(header::HOST));
    assert!(copied(&asked("/cart", &[]), ", protocol: h2c").is_none(), "there it has no form without a host");
}

#[test]
fn a_body_is_framed_by_its_length_whatever_it_was_before() {
    for (before, length, after) in [
        (&[("transfer-encoding", "chunked")][..], 5, Some("5")),
        (&[("content-length", "5")], 5, Some("5")),
        (&[("content-length", "0")], 0, Some("0")),
        (&[], 3, Some("3")),
        (&[], 0, None),
    ] {
        let mut head = asked("/", before);
        frame(&mut head, length);
        let told = head.headers.get(header::CONTENT_LENGTH).map(|told| told.to_str().unwrap());
        assert_eq!((told, head.headers.contains_key(header::TRANSFER_ENCODING)), (after, false), "{before:?}");
    }
}
