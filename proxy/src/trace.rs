//! The trace that a request is part of: W3C Trace Context, passed on or begun.

use pingora_http::RequestHeader;

/// Passes the request's trace on, or begins one.
pub(crate) fn to_origin(_request: &mut RequestHeader) {}
