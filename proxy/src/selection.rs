//! Which version a request is for, and why: forced, matched by a plan's step, by affinity, or by a ticket at random. And
//! who is told.

mod forced;
mod issued;
mod matched;
mod secret;

use std::net::IpAddr;
use std::sync::Arc;

use config::{Affinity, Forced, Name};
use http::{HeaderName, StatusCode};
use pingora_error::Result;
use pingora_http::{RequestHeader, ResponseHeader};

pub use self::forced::Target;
pub(crate) use self::issued::Issued;
pub(crate) use self::secret::Secret;
pub use self::secret::check;
use crate::request_head::{affinity_key, group_of_address};
use crate::routing::{Draw, Service, Version};
use crate::ticket::group_of;
use crate::told::Told;

/// The header that tells which version served, and the origin which was drawn.
static VERSION: HeaderName = HeaderName::from_static(VERSION_TEXT);
const VERSION_TEXT: &str = "tidegate-version";
/// The header by which a client shows that it may force a version.
static SECRET: HeaderName = HeaderName::from_static(Forced::SECRET_HEADER);

/// What a request is given.
#[derive(Debug)]
pub(crate) struct Selection<'a> {
    pub(crate) draw: Draw<'a>,
    /// The group of the affinity key or client address.
    pub(crate) group: u8,
    /// Why this version.
    pub(crate) reason: Reason,
    /// Who may judge it.
    pub(crate) judged: Judged,
    /// What the client is to keep, where it has none yet.
    pub(crate) issued: Option<Issued>,
}

/// Who may judge a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    /// Every gate.
    Fully,
    /// Limits and the circuit breaker: it is counted apart, in the slice that it drew.
    Apart,
    /// Nobody.
    Not,
}

/// Why a request was given its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A ticket at random.
    Weight,
    /// A ticket of its key.
    Affinity,
    /// It asked for it, and may.
    Forced(Target),
    /// It is of those whom the rollout's plan gives to the canary whatever its weight.
    Matched,
}

/// Why a request was served by the version that served it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A ticket at random.
    Weight,
    /// A ticket of its key.
    Affinity,
    /// It asked for it, and may.
    Forced,
    /// It is of those whom the rollout's plan gives to the canary.
    Match,
    /// No endpoint of the version drawn was live.
    FallThrough,
    /// An attempt on the version drawn failed, and another version served it.
    Shield,
}

impl Decision {
    /// As logs call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Affinity => "affinity",
            Self::Forced => "forced",
            Self::Match => "match",
            Self::FallThrough => "fall-through",
            Self::Shield => "shield",
        }
    }
}

impl From<Reason> for Decision {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Weight => Self::Weight,
            Reason::Affinity => Self::Affinity,
            Reason::Forced(_) => Self::Forced,
            Reason::Matched => Self::Match,
        }
    }
}

/// Selects a version: the one that the request asks for, where it may; else the canary, where the plan of its rollout
/// gives it such requests; else by its ticket. `trusted` tells whether the
/// peer is a hop whose word on the user is believed.
pub(crate) fn select<'a>(
    service: &'a Service,
    request: &RequestHeader,
    client: Option<IpAddr>,
    trusted: bool,
) -> Selection<'a> {
    let written = &*service.written;
    let key = affinity_key(&written.affinity, request, client, trusted);
    let group = key.as_deref().map_or_else(|| group_of_address(client), group_of);
    if let Some(rule) = &written.forced
        && let Some(target) = forced::target(rule, service, request, client)
    {
        let draw = Draw { version: service.target(target), slice: None, at_random: false };
        let judged = if rule.judged { Judged::Fully } else { Judged::Not };
        return Selection { draw, group, reason: Reason::Forced(target), judged, issued: None };
    }
    if let Some((draw, judged)) = matched::draw(service, request) {
        return Selection { draw, group, reason: Reason::Matched, judged, issued: None };
    }
    let selected = |draw, reason, issued| Selection { draw, group, reason, judged: Judged::Fully, issued };
    match key {
        Some(key) => selected(service.draw(Some(&key)), Reason::Affinity, None),
        None => match Issued::to(&written.affinity, request, trusted) {
            Some(issued) => {
                // Drawn by what it will come back with. Nobody had that key before, so the draw is a random one.
                let draw = Draw { at_random: true, ..service.draw(Some(issued.value.as_bytes())) };
                selected(draw, Reason::Affinity, Some(issued))
            }
            None => selected(service.draw(None), Reason::Weight, None),
        },
    }
}

/// Tells the origin what was drawn, and nothing of what only we should read.
pub(crate) fn to_origin(told: &mut Told, service: &Service, drawn: &Version) {
    // Never passed on, whoever sent it.
    told.leave_out(&SECRET);
    let written = &*service.written;
    if written.version_header {
        told.tell(&VERSION, |value| value.extend_from_slice(drawn.label.as_bytes()));
    } else if written.forced.as_ref().is_none_or(|rule| rule.header.as_deref() != Some(VERSION.as_str())) {
        // A client's own would pass for ours, unless it is how the operator has versions asked for.
        told.leave_out(&VERSION);
    }
}

/// Whether the head of a response tells which version served it.
pub(crate) fn tells_version(response: &ResponseHeader, service: &Service) -> bool {
    service.written.version_header && !is_interim(response)
}

/// The line that tells a client of HTTP/1.1 that this version served it.
pub(crate) fn line(version: &Name) -> Arc<[u8]> {
    format!("{VERSION_TEXT}: {version}\r\n").into_bytes().into()
}

/// Whether the response is yet to come.
fn is_interim(response: &ResponseHeader) -> bool {
    response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS
}

/// Tells the client which version served it (where one did and its line does not say so), and gives it the cookie that it should keep. `secure`
/// tells whether it came by TLS.
pub(crate) fn to_client(
    response: &mut ResponseHeader,
    service: &Service,
    served: Option<&Version>,
    issued: Option<&Issued>,
    secure: bool,
) -> Result<()> {
    if is_interim(response) {
        return Ok(());
    }
    if let Some(version) = served
        && service.written.version_header
    {
        // By a name that need not be copied.
        response.insert_header(VERSION_TEXT, version.label.clone())?;
    }
    match (issued, &service.written.affinity) {
        (Some(issued), Affinity::Cookie { name, issue: Some(max_age) }) => issued.set(response, name, *max_age, secure),
        (None, _) | (Some(_), _) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
