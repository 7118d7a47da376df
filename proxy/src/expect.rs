//! `Expect: 100-continue`: who tells the client to go on.
//!
//! An origin that speaks HTTP/1.1 tells it itself; where it does not, the client's own stream does after a while. In
//! HTTP/2 pingora sees no informational response, so the client would wait in vain: there it is told by us.

use http::{Version, header};
use pingora_error::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;

/// HTTP/1.0 knows neither the question nor any informational response: such a client gets none, and what it says of
/// `Expect` is not passed on (RFC 9110, sections 10.1.1 and 15.2).
pub(crate) fn from_client(session: &mut Session) {
    let is_old = session.req_header().version == Version::HTTP_10;
    session.as_downstream_mut().set_ignore_info_resp(is_old);
    if is_old {
        session.req_header_mut().remove_header(&header::EXPECT);
    }
}

/// Leaves the question to an origin that can answer it, and answers it for one that cannot.
pub(crate) async fn to_origin(session: &mut Session, request: &mut RequestHeader) -> Result<()> {
    if request.version != Version::HTTP_2 || request.remove_header(&header::EXPECT).is_none() {
        return Ok(());
    }
    if session.as_downstream().body_bytes_read() == 0 && session.response_written().is_none() {
        session.write_continue_response().await?;
    }
    Ok(())
}
