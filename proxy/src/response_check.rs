//! What a response's head must be like before it is passed on: endpoints are trusted no more than clients.
//!
//! pingora has parsed the head by now, and repaired some of it (docs/hardening.md says what): what it lets through and
//! a client could take for something else is a protocol error of the attempt.

use std::io;

use config::Rules;
use http::{HeaderMap, Method, StatusCode, Version, header};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;

use crate::upstream_stream::{Flaw, Malformed};

/// Heads that may come before a response (100 to 199, but for 101).
const MOST_INTERIM: u8 = 16;

/// The heads of one attempt.
#[derive(Debug, Default)]
pub(crate) struct ResponseCheck {
    interim: u8,
}

impl ResponseCheck {
    /// Checks a head. An error is the endpoint's failure, a protocol error.
    pub(crate) fn head(&mut self, response: &ResponseHeader, rules: &Rules) -> Result<()> {
        self.fault(response, rules).map_or(Ok(()), |why| Err(fault(why)))
    }

    /// Checks a head that was read in its bytes (`upstream_stream`), by the same rules: what is left is that there may be
    /// too many.
    pub(crate) fn head_read_in_bytes(&mut self, response: &ResponseHeader) -> Result<()> {
        self.flood(response).map_or(Ok(()), |why| Err(fault(why)))
    }

    /// Checks the trailers of a response, which are held to the limits of a head. An error is the endpoint's failure, a
    /// protocol error.
    pub(crate) fn trailers(trailers: &HeaderMap, rules: &Rules) -> Result<()> {
        match excess(trailers, rules) {
            None => Ok(()),
            Some(Excess::Number) => Err(fault("a response with too many trailers")),
            Some(Excess::Size) => Err(fault("trailers of a response that are too large")),
        }
    }

    /// Checks that a response has no content where its status, or the method that it answers, says that there is none:
    /// clients of HTTP/2 take it for malformed as a whole. What HTTP/1.1 endpoints send there never comes so far. An error
    /// is the endpoint's failure, a protocol error.
    pub(crate) fn content(status: u16, method: &Method) -> Result<()> {
        if *method != Method::HEAD && !matches!(status, 204 | 304) {
            return Ok(());
        }
        let surplus = Malformed { flaw: Flaw::Surplus, why: "content in a response that has none" };
        let cause = io::Error::new(io::ErrorKind::InvalidData, surplus);
        Err(Error::because(ErrorType::InvalidHTTPHeader, surplus.why, cause).into_up())
    }

    fn flood(&mut self, response: &ResponseHeader) -> Option<&'static str> {
        if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
            self.interim = self.interim.saturating_add(1);
        }
        (self.interim > MOST_INTERIM).then_some("a flood of interim responses")
    }

    fn fault(&mut self, response: &ResponseHeader, rules: &Rules) -> Option<&'static str> {
        if response.status.as_u16() > 599 {
            return Some("a status that HTTP does not know");
        }
        if let Some(why) = self.flood(response) {
            return Some(why);
        }
        let headers = &response.headers;
        match excess(headers, rules) {
            None => {}
            Some(Excess::Number) => return Some("a response with too many headers"),
            Some(Excess::Size) => return Some("a response head that is too large"),
        }
        let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        let length = lengths.next();
        let is_number = |value: &[u8]| !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        if lengths.next().is_some() || !length.is_none_or(|length| is_number(length.as_bytes())) {
            return Some("a Content-Length that is not one number");
        }
        let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
        if let Some(coding) = codings.next() {
            if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Some("a Transfer-Encoding that is not `chunked` alone");
            }
            if length.is_some() {
                return Some("both Content-Length and Transfer-Encoding");
            }
            if response.version == Version::HTTP_10 {
                return Some("a Transfer-Encoding in HTTP/1.0");
            }
        }
        None
    }
}

/// What there is too much of.
enum Excess {
    Number,
    Size,
}

fn excess(fields: &HeaderMap, rules: &Rules) -> Option<Excess> {
    if fields.len() as u64 > rules.limits.headers {
        return Some(Excess::Number);
    }
    let sizes = fields.iter().map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64);
    (sizes.sum::<u64>() > rules.limits.head.get()).then_some(Excess::Size)
}

fn fault(why: &'static str) -> Box<Error> {
    // The connection is not used again: an attempt that failed closes it.
    Error::explain(ErrorType::InvalidHTTPHeader, why).into_up()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, headers: &[(&'static str, &str)]) -> ResponseHeader {
        let mut response = ResponseHeader::build(status, None).unwrap();
        for (name, value) in headers {
            response.append_header(*name, *value).unwrap();
        }
        response
    }

    fn is_sound(response: &ResponseHeader) -> bool {
        ResponseCheck::default().head(response, &Rules::default()).is_ok()
    }

    #[test]
    fn what_a_client_could_misread_is_the_versions_failure() {
        for (status, headers) in [
            (600, &[][..]),
            (999, &[]),
            (200, &[("content-length", "5"), ("content-length", "5")]),
            (200, &[("content-length", "5"), ("content-length", "6")]),
            (200, &[("content-length", "5, 5")]),
            (200, &[("content-length", "+5")]),
            (200, &[("content-length", "")]),
            (200, &[("transfer-encoding", "gzip, chunked")]),
            (200, &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]),
            (200, &[("transfer-encoding", "chunked"), ("content-length", "5")]),
            (200, &[("x", "y")].repeat(101)),
            (200, &[("x", &"y".repeat(32 * 1024))]),
        ] {
            assert!(!is_sound(&response(status, headers)), "{status} {headers:?}");
        }
        let mut old = response(200, &[("transfer-encoding", "chunked")]);
        old.set_version(Version::HTTP_10);
        assert!(!is_sound(&old));
    }

    #[test]
    fn what_is_usual_is_passed_on() {
        for (status, headers) in [
            (200, &[("content-length", "5")][..]),
            (200, &[("transfer-encoding", "Chunked")]),
            (204, &[]),
            (304, &[("content-length", "100")]),
            (599, &[]),
            (200, &[("set-cookie", "a=b")].repeat(100)),
        ] {
            assert!(is_sound(&response(status, headers)), "{status} {headers:?}");
        }
    }

    #[test]
    fn there_is_content_where_the_status_and_the_method_leave_room_for_it() {
        for (status, method, is_sound) in [
            (200, Method::GET, true),
            (205, Method::POST, true),
            (404, Method::GET, true),
            (204, Method::GET, false),
            (204, Method::DELETE, false),
            (304, Method::GET, false),
            (200, Method::HEAD, false),
            (404, Method::HEAD, false),
        ] {
            assert_eq!(ResponseCheck::content(status, &method).is_ok(), is_sound, "{method} {status}");
        }
    }

    #[test]
    fn sixteen_interim_heads_are_enough() {
        let mut check = ResponseCheck::default();
        let interim = response(103, &[]);
        for _ in 0..16 {
            assert!(check.head(&interim, &Rules::default()).is_ok());
        }
        assert!(check.head(&response(200, &[]), &Rules::default()).is_ok());
        assert!(check.head(&interim, &Rules::default()).is_err());
        let mut check = ResponseCheck::default();
        assert!((0..16).all(|_| check.head_read_in_bytes(&interim).is_ok()));
        assert!(check.head_read_in_bytes(&response(200, &[])).is_ok());
        assert!(check.head_read_in_bytes(&interim).is_err());
    }
}
