//! A request's fields as a plain map, to be changed many at a time.
//!
//! pingora keeps the case of every name of an HTTP/1.1 head in a second map, so that each change through its methods
//! looks a name up, checks it and hashes it several times. What an origin is told comes to a dozen changes a request:
//! made on the map itself they cost a fifth. The case of the names goes, which no recipient may rely on (RFC 9110,
//! section 5.1), and which HTTP/2 clients never send.

use http::request::Parts;
use pingora_http::RequestHeader;

/// Changes a head. Its target stays as it came, if it is one that a URI cannot hold.
pub(crate) fn change<T>(request: &mut RequestHeader, change: impl FnOnce(&mut Parts) -> T) -> T {
    let ends_with_its_head = request.send_end_stream();
    let odd_target = (!is_told_by_the_uri(request)).then(|| request.raw_path().to_vec());
    let mut parts: Parts = std::mem::replace(request, RequestHeader::from(nothing())).into();
    let changed = change(&mut parts);
    *request = parts.into();
    if let Some(ends) = ends_with_its_head {
        request.set_send_end_stream(ends);
    }
    if let Some(target) = odd_target {
        // It was legal before. An error leaves the target that the URI tells.
        let _ = request.set_raw_path(&target);
    }
    changed
}

fn is_told_by_the_uri(request: &RequestHeader) -> bool {
    request.uri.path_and_query().is_some_and(|path| path.as_str().as_bytes() == request.raw_path())
}

/// An empty head; nothing is allocated for it.
fn nothing() -> Parts {
    http::Request::new(()).into_parts().0
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Version, header};

    fn changed(target: &[u8]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", target, None).unwrap();
        request.append_header("HOST", "shop.example").unwrap();
        change(&mut request, |parts| parts.headers.insert(header::TE, HeaderValue::from_static("trailers")));
        request
    }

    #[test]
    fn fields_are_changed_and_the_others_stay() {
        let request = changed(b"/a?b=c");
        assert_eq!(request.headers[header::HOST], "shop.example");
        assert_eq!(request.headers[header::TE], "trailers");
        assert_eq!((request.method.as_str(), request.uri.to_string()), ("GET", "/a?b=c".to_owned()));
    }

    #[test]
    fn a_target_stays_byte_for_byte() {
        for target in [&b"/a?b=c"[..], b"/\xff\xfe", b"http://shop.example/a", b"*", b"shop.example:443", b"/a?b=c#d"] {
            let before = RequestHeader::build("GET", target, None).unwrap();
            assert_eq!(changed(target).raw_path(), before.raw_path(), "{}", String::from_utf8_lossy(target));
        }
    }

    #[test]
    fn what_ends_with_its_head_still_does() {
        for ends in [true, false] {
            let mut request = RequestHeader::build("GET", b"/", None).unwrap();
            request.set_version(Version::HTTP_2);
            request.set_send_end_stream(ends);
            change(&mut request, |_| ());
            assert_eq!(request.send_end_stream(), Some(ends));
        }
    }
}
