//! Which version a request is for, and why: forced, by affinity, or by a ticket at random.

use std::net::IpAddr;
use std::sync::Arc;

use pingora_http::{RequestHeader, ResponseHeader};

use crate::request_head::{affinity_key, group_of_address};
use crate::routing::{Draw, Service, Version};
use crate::ticket::group_of;

/// What a request is given.
#[derive(Debug)]
pub(crate) struct Selection<'a> {
    pub(crate) draw: Draw<'a>,
    /// The group of the affinity key or client address.
    pub(crate) group: u8,
    /// Why this version.
    pub(crate) decision: Decision,
    /// What the client is to keep, where it has none yet.
    pub(crate) issued: Option<Arc<str>>,
}

/// Why a request got its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decision {
    /// A ticket at random.
    #[default]
    Weight,
    /// A ticket of its key.
    Affinity,
    /// It asked for it, and may.
    Forced,
}

impl Decision {
    /// As logs call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Affinity => "affinity",
            Self::Forced => "forced",
        }
    }
}

/// Selects a version. `trusted` tells whether the peer is a hop whose word on the user is believed.
pub(crate) fn select<'a>(
    service: &'a Service,
    request: &RequestHeader,
    client: Option<IpAddr>,
    _trusted: bool,
) -> Selection<'a> {
    let key = affinity_key(&service.written.affinity, request, client);
    let group = key.as_deref().map_or_else(|| group_of_address(client), group_of);
    let decision = if key.is_some() { Decision::Affinity } else { Decision::Weight };
    Selection { draw: service.draw(key.as_deref()), group, decision, issued: None }
}

/// Tells the origin what was drawn, and takes away what only we should read.
pub(crate) fn to_origin(_request: &mut RequestHeader, _service: &Service, _drawn: &Version) {}

/// Tells the client which version served it, and gives it the cookie it should keep.
pub(crate) fn to_client(
    _response: &mut ResponseHeader,
    _service: &Service,
    _served: &Version,
    _issued: Option<&str>,
    _secure: bool,
) {
}
