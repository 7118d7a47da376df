//! The examples of the specification, its limits, and everything that is none of it.

use proptest::prelude::*;

use super::*;

fn client(address: &str) -> Announced {
    Announced::Client(address.parse().unwrap())
}

/// A header of version 2.
fn v2(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[version_and_command, family], &length, rest].concat()
}

const IPV4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 0x04, 0x01, 0xbb];

#[test]
fn a_line_names_a_client_and_ends_where_the_request_begins() {
    let bytes = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET / HTTP/1.1\r\n";
    assert_eq!(read(bytes), Ok(Reading::Whole(client("192.0.2.1:56324"), 42)));
    let bytes = b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n";
    assert_eq!(read(bytes), Ok(Reading::Whole(client("[2001:db8::1]:1"), bytes.len())));
}

#[test]
fn whoever_does_not_know_its_client_may_say_so_with_anything_behind() {
    for bytes in [&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"] {
        assert_eq!(read(bytes), Ok(Reading::Whole(Announced::Nobody, bytes.len())));
    }
}

#[test]
fn the_longest_line_is_read_and_a_longer_one_is_not_waited_for() {
    let longest = b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    assert_eq!((longest.len(), read(longest)), (107, Ok(Reading::Whole(Announced::Nobody, 107))));
    let mut longer = b"PROXY UNKNOWN ".to_vec();
    longer.resize(106, b'x');
    assert_eq!(read(&longer), Ok(Reading::Partial));
    longer.push(b'x');
    assert_eq!(read(&longer), Err(Malformed::LongLine));
    longer.extend(b"\r\n");
    assert_eq!(read(&longer), Err(Malformed::LongLine));
}

#[test]
fn a_line_that_says_something_else_is_refused() {
    for line in [
        "PROXY\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.999 1 2\r\n",
    ] {
        assert!(read(line.as_bytes()).is_err(), "{line:?}");
    }
}

#[test]
fn bytes_that_can_become_no_header_are_refused_at_once() {
    for bytes in [&b"G"[..], b"PROXX", b"PROXYTCP4", b"\r\n\r\n\0\r\nQUIX", b"\x16\x03\x01"] {
        assert_eq!(read(bytes), Err(Malformed::NoHeader), "{bytes:?}");
    }
}

#[test]
fn a_binary_header_names_a_client_and_what_follows_the_addresses_is_skipped() {
    let bytes = v2(0x21, 0x11, &IPV4);
    assert_eq!(read(&bytes), Ok(Reading::Whole(client("192.0.2.1:56324"), 28)));
    let with_tlv = v2(0x21, 0x11, &[&IPV4[..], &[0x04, 0, 2, 0, 0]].concat());
    assert_eq!(read(&with_tlv), Ok(Reading::Whole(client("192.0.2.1:56324"), 33)));
    let mut ipv6 = [0u8; 36];
    ipv6[15] = 1;
    ipv6[33] = 80;
    assert_eq!(read(&v2(0x21, 0x21, &ipv6)), Ok(Reading::Whole(client("[::1]:80"), 52)));
}

#[test]
fn a_load_balancer_that_speaks_for_itself_names_nobody() {
    // LOCAL with addresses: they are to be skipped; UNSPEC; a Unix socket; a family that is yet to come.
    for bytes in [
        v2(0x20, 0x11, &IPV4),
        v2(0x20, 0x00, &[]),
        v2(0x21, 0x00, &[]),
        v2(0x21, 0x31, &[b'/'; 216]),
        v2(0x21, 0x51, &[1, 2]),
    ] {
        assert_eq!(read(&bytes), Ok(Reading::Whole(Announced::Nobody, bytes.len())));
    }
}

#[test]
fn a_binary_header_that_lies_about_itself_is_refused() {
    assert_eq!(read(&v2(0x11, 0x11, &IPV4)), Err(Malformed::Unknown));
    assert_eq!(read(&v2(0x22, 0x11, &IPV4)), Err(Malformed::Unknown));
    assert_eq!(read(&v2(0x21, 0x11, &IPV4[..11])), Err(Malformed::Short));
    assert_eq!(read(&v2(0x21, 0x21, &[0; 35])), Err(Malformed::Short));
    assert_eq!(read(&v2(0x21, 0x31, &[0; 215])), Err(Malformed::Short));
    assert_eq!(read(&v2(0x21, 0x11, &[0; 537])), Err(Malformed::Long));
    assert_eq!(read(&v2(0x21, 0x11, &[0; 536])), Ok(Reading::Whole(client("0.0.0.0:0"), LONGEST_V2)));
}

/// Whole headers of both versions, with a request behind.
fn headers() -> impl Strategy<Value = Vec<u8>> {
    let v1 = any::<(SocketAddr, SocketAddr)>().prop_map(|(from, to)| {
        let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
        format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port()).into_bytes()
    });
    let rest = prop::collection::vec(any::<u8>(), 0..560);
    let binary = (0x1eu8..0x23, any::<u8>(), rest).prop_map(|(command, family, rest)| v2(command, family, &rest));
    prop_oneof![v1, binary]
}

proptest! {
    #[test]
    fn however_a_header_is_cut_the_answer_is_the_same(bytes in headers(), more in prop::collection::vec(any::<u8>(), 0..40)) {
        let whole = read(&bytes);
        prop_assert_ne!(whole, Ok(Reading::Partial));
        let followed = [&bytes[..], &more].concat();
        prop_assert_eq!(read(&followed), whole);
        for end in 0..bytes.len() {
            let cut = read(&bytes[..end]);
            // An error may be seen early; a header may not be whole before it is.
            let agrees = cut == Ok(Reading::Partial) || cut == whole;
            prop_assert!(agrees, "{:?} of {:?} at {}", cut, whole, end);
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_wait_beyond_the_limit(bytes in prop::collection::vec(any::<u8>(), 0..600), signed in 0..3) {
        let bytes = match signed { 0 => bytes, 1 => [&SIGNATURE[..], &bytes].concat(), _ => [&WORD[..], &bytes].concat() };
        match read(&bytes) {
            Ok(Reading::Whole(_, end)) => prop_assert!(end <= bytes.len() && end <= LONGEST_V2),
            Ok(Reading::Partial) => prop_assert!(bytes.len() < LONGEST_V2),
            Err(_) => {}
        }
    }
}
