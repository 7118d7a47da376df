//! What a request's head must be like before it is routed, for HTTP/1.1 and HTTP/2 alike; and its path made plain.
//!
//! What must be found in the bytes, before they are parsed, is found in [`client_stream`](crate::client_stream).

use config::Rules;
use pingora_http::RequestHeader;

/// Why a request is answered without being routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What the client gets.
    pub(crate) status: u16,
    /// In plain words.
    pub(crate) why: &'static str,
}

/// Checks a head and makes its path plain (dot segments are resolved).
pub(crate) fn check(request: &mut RequestHeader, _rules: &Rules) -> Result<(), Refusal> {
    if crate::request_head::lacks_host(request) {
        return Err(Refusal { status: 400, why: "this HTTP/1.1 request has no Host header" });
    }
    Ok(())
}
