//! The head of a copy: what the canary would be told of the request, were it drawn to it.

use std::net::IpAddr;

use config::{Protocol, Rules};
use http::uri::Scheme;
use http::{HeaderValue, Uri, Version as HttpVersion, header};
use pingora_http::RequestHeader;

use super::{MIRROR, YES};
use crate::connection::Connection;
use crate::passes::Instance;
use crate::routing::{Service, Version};
use crate::told::Told;
use crate::trace::Trace;
use crate::{fields, forwarded, selection};

/// A request as it came, and what is known of who sent it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Original<'a> {
    pub(crate) head: &'a RequestHeader,
    pub(crate) connection: Option<&'a Connection>,
    /// The peer where the connection is not known.
    pub(crate) socket: Option<IpAddr>,
    pub(crate) trace: Option<&'a Trace>,
    /// Who sends it on.
    pub(crate) instance: Option<&'a Instance>,
}

impl Original<'_> {
    /// Whether it is a copy already: a trusted hop says so, or it was made here and came back. Anybody else's mark is
    /// taken away, and means nothing.
    pub(super) fn is_copy(&self, rules: &Rules) -> bool {
        self.head.headers.contains_key(MIRROR)
            && (forwarded::comes_by_trusted(self.connection, self.socket, rules)
                || self.instance.is_some_and(|instance| instance.has_seen(&self.head.headers)))
    }

    /// Its head as `canary` is sent it: as the request itself would be, and marked. None where it has no form in the
    /// protocol that is spoken there.
    pub(super) fn copy(&self, service: &Service, canary: &Version) -> Option<RequestHeader> {
        let mut copy = self.head.clone();
        copy.set_version(match canary.protocol {
            Protocol::H1 => HttpVersion::HTTP_11,
            Protocol::H2 | Protocol::H2c => HttpVersion::HTTP_2,
        });
        fields::change(&mut copy, |copy| {
            let mut told = Told::nothing();
            selection::to_origin(&mut told, service, canary);
            if let Some(trace) = self.trace {
                trace.to_origin(&mut told, copy);
            }
            if let Some(instance) = self.instance {
                instance.to_origin(&mut told, &copy.headers);
            }
            forwarded::to_origin(&mut told, copy, self.connection, self.socket, &service.rules, None);
            told.set(&mut copy.headers);
            // Its body goes with it, whoever was to wait for leave.
            copy.headers.remove(header::EXPECT);
            // An error means more fields than any request has: it would have been refused.
            let _ = copy.headers.try_insert(MIRROR, YES);
        });
        match canary.protocol {
            Protocol::H1 => name_host(&mut copy)?,
            Protocol::H2 | Protocol::H2c => name_authority(&mut copy)?,
        }
        Some(copy)
    }
}

/// Says how long the body is that goes with a head.
pub(super) fn frame(head: &mut RequestHeader, length: usize) {
    head.remove_header(&header::TRANSFER_ENCODING);
    let was_told = head.remove_header(&header::CONTENT_LENGTH).is_some();
    if was_told || length > 0 {
        // An error means too many headers, of which one was just removed or never was.
        let _ = head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// HTTP/1.1 wants the host in a header.
fn name_host(head: &mut RequestHeader) -> Option<()> {
    if let Some(authority) = head.uri.authority() {
        let host = HeaderValue::from_str(host_in(authority.as_str())).ok()?;
        head.insert_header(header::HOST, host).ok()?;
    }
    Some(())
}

/// HTTP/2 wants the host in its target.
fn name_authority(head: &mut RequestHeader) -> Option<()> {
    if !head.raw_path_is_utf8() {
        return None;
    }
    let told = head.remove_header(&header::HOST);
    let authority = match head.uri.authority() {
        Some(authority) => host_in(authority.as_str()).to_owned(),
        None => told?.to_str().ok()?.to_owned(),
    };
    let path = head.uri.path_and_query()?.clone();
    let target = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path).build().ok()?;
    head.set_uri(target);
    Some(())
}

fn host_in(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests;
