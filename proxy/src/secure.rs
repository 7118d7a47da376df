//! What a listener asks of its clients beside requests: HTTPS instead of HTTP, and to remember it.

use pingora_http::{RequestHeader, ResponseHeader};

use crate::connection::Connection;

/// Where a request is sent instead; none where it is served here.
pub(crate) fn redirect(_connection: Option<&Connection>, _request: &RequestHeader) -> Option<String> {
    None
}

/// Tells browsers to come back over HTTPS alone (RFC 6797), where the listener says so.
pub(crate) fn to_client(_response: &mut ResponseHeader, _connection: Option<&Connection>) {}
