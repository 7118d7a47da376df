//! What clients of HTTP/1.0 get.

use config::Protocol;
use http::{Method, header};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::client_stream;
use crate::request::Request;

/// Chunks are unknown to HTTP/1.0 (RFC 9112, section 6.1): where the length of a body is not told it ends with the
/// connection.
pub(super) fn fit(session: &mut Session, response: &mut ResponseHeader, ctx: &Request) {
    if response.remove_header(&header::TRANSFER_ENCODING).is_some() {
        session.set_keepalive(None);
    } else if will_be_chunked(session, response, ctx) {
        session.set_keepalive(None);
        if let Some(stream) = client_stream(session) {
            stream.leave_out_chunks();
        }
    }
}

/// Whether pingora will send chunks all the same, as it does with what HTTP/2 endpoints send without a length: it says so
/// in the head after the last filter.
fn will_be_chunked(session: &Session, response: &ResponseHeader, ctx: &Request) -> bool {
    let speaks_http2 = ctx.served().is_some_and(|version| version.protocol != Protocol::H1);
    let has_body = session.req_header().method != Method::HEAD && !matches!(response.status.as_u16(), 204 | 304);
    speaks_http2 && has_body && !response.headers.contains_key(header::CONTENT_LENGTH)
}
