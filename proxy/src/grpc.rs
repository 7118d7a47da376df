//! gRPC over HTTP/2 (the protocol's PROTOCOL-HTTP2.md): what is a call, what a response came to, and how we answer a
//! call in our own name.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use pingora_core::protocols::http::ServerSession;
use pingora_error::Result;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

/// It went well.
pub(crate) const OK: u32 = 0;
/// Somebody let the call go.
pub(crate) const CANCELLED: u32 = 1;
/// What failed without saying how.
pub(crate) const UNKNOWN: u32 = 2;
/// The deadline passed before the call was over.
pub(crate) const DEADLINE_EXCEEDED: u32 = 4;

/// Whether a request is a gRPC call. Of gRPC-Web, whose status is in the body, nothing is known here.
pub(crate) fn is_call(request: &RequestHeader) -> bool {
    request.headers.get(header::CONTENT_TYPE).is_some_and(is_grpc)
}

/// Whether this is the type of a gRPC message: `application/grpc`, `application/grpc+proto`, not `application/grpc-web`.
pub(crate) fn is_grpc(content_type: &HeaderValue) -> bool {
    let Some((name, rest)) = content_type.as_bytes().split_at_checked(b"application/grpc".len()) else { return false };
    name.eq_ignore_ascii_case(b"application/grpc") && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// The code of a `grpc-status` field; none where there is none. What is no number is `UNKNOWN` (2).
pub(crate) fn status(fields: &HeaderMap) -> Option<u32> {
    let status = fields.get("grpc-status")?;
    Some(status.to_str().ok().and_then(|status| status.trim().parse().ok()).unwrap_or(UNKNOWN))
}

/// How long the client waits for the whole call (`grpc-timeout`): at most eight digits and a unit.
pub(crate) fn timeout(fields: &HeaderMap) -> Option<Duration> {
    let text = fields.get("grpc-timeout")?.to_str().ok()?;
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(count * 3_600)),
        'M' => Some(Duration::from_secs(count * 60)),
        'S' => Some(Duration::from_secs(count)),
        'm' => Some(Duration::from_millis(count)),
        'u' => Some(Duration::from_micros(count)),
        'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// The gRPC code that an HTTP status of ours stands for. As clients read a bare HTTP status (http-grpc-status-mapping.md),
/// but for what that table is too coarse for: our 504 and 408 are about time, our 413 about size.
const fn code_of(status: u16) -> u32 {
    match status {
        408 | 504 => DEADLINE_EXCEEDED,
        400 | 500 => 13,
        401 => 16,
        403 => 7,
        404 | 501 => 12,
        413 => 8,
        429 | 502 | 503 => 14,
        _ => UNKNOWN,
    }
}

/// Ends a call whose response has begun and cannot be finished: UNAVAILABLE, on which clients try again. Anything else than
/// the response of a call is left as it is.
pub(crate) fn break_off(session: &mut Session, why: &'static str) {
    let content_type = session.response_written().and_then(|head| head.headers.get(header::CONTENT_TYPE));
    if !content_type.is_some_and(is_grpc) {
        return;
    }
    if let ServerSession::H2(http2) = session.as_downstream_mut() {
        let mut trailers = HeaderMap::with_capacity(2);
        trailers.insert("grpc-status", HeaderValue::from(code_of(503)));
        trailers.insert("grpc-message", HeaderValue::from_static(why));
        // The client may be gone by now; there is nobody else to tell.
        let _ = http2.write_trailers(trailers);
    }
}

/// Answers a call in the proxy's own name: with a head that is the whole response ("Trailers-Only"), to which `more` adds
/// its own.
pub(crate) async fn answer(
    session: &mut Session,
    status: u16,
    why: &str,
    more: impl FnOnce(&mut ResponseHeader) -> Result<()>,
) -> Result<()> {
    let mut head = ResponseHeader::build(200, Some(4))?;
    head.insert_header(header::CONTENT_TYPE, "application/grpc")?;
    head.insert_header("grpc-status", code_of(status))?;
    // What would have to be encoded is left out: it is for people alone.
    if why.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'%') {
        head.insert_header("grpc-message", why)?;
    }
    more(&mut head)?;
    if let ServerSession::H2(http2) = session.as_downstream_mut() {
        // The end of the stream must be in the head, or clients go on to wait for trailers.
        return http2.write_response_header(Box::new(head), true);
    }
    // A call over HTTP/1.1 is none; whoever tries hears it all the same.
    head.insert_header(header::CONTENT_LENGTH, 0)?;
    session.write_error_response(head, Bytes::new()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_call_is_told_by_its_content_type() {
        for (content_type, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/GRPC; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpcx", false),
            ("application/json", false),
            ("text", false),
        ] {
            assert_eq!(is_grpc(&HeaderValue::from_static(content_type)), is, "{content_type}");
        }
    }

    #[test]
    fn a_status_that_is_no_number_is_unknown() {
        assert_eq!(status(&HeaderMap::new()), None);
        assert_eq!(status(&fields("grpc-status", "14")), Some(14));
        assert_eq!(status(&fields("grpc-status", "fine")), Some(UNKNOWN));
    }

    #[test]
    fn a_timeout_has_at_most_eight_digits_and_a_unit() {
        let of = |text: &str| timeout(&fields("grpc-timeout", text));
        assert_eq!(of("150m"), Some(Duration::from_millis(150)));
        assert_eq!(of("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        assert_eq!(of("7u"), Some(Duration::from_micros(7)));
        for wrong in ["", "m", "123456789m", "1 m", "-1m", "1", "1d", "+1S", "1µ"] {
            let value = HeaderValue::from_bytes(wrong.as_bytes()).unwrap();
            let fields = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-timeout"), value)]);
            assert_eq!(timeout(&fields), None, "{wrong}");
        }
    }
}
