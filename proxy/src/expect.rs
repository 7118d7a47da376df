//! `Expect: 100-continue`: who tells the client to go on.
//!
//! An origin that speaks HTTP/1.1 tells it itself. In HTTP/2 pingora sees no informational response, so the client would
//! wait in vain: there it is told by us.

use http::{Version, header};
use pingora_error::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;

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
