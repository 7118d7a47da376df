//! One line: what is logged of a request, under the names of the Elastic Common Schema (ECS 8.11).
//!
//! Never logged: cookies, `Authorization`, `tidegate-secret`, and every other header but those below.

use std::net::IpAddr;
use std::time::Duration;

use config::Endpoint;
use http::{Version, header};
use meter::Class;
use pingora_proxy::Session;

use super::clock::write_moment;
use super::json::Object;
use crate::connection::Connection;
use crate::request::{Request, Seen};
use crate::request_head::host_of;
use crate::trace::TraceId;

/// The version of ECS whose names are used.
const ECS: &str = "8.11";

/// What is logged of a request.
#[derive(Debug, Default)]
pub struct Line<'a> {
    /// When the request came, since 1970.
    pub began: Duration,
    /// To the last byte of its response.
    pub lasted: Duration,
    /// Where the connection comes from; none for a Unix socket.
    pub source: Option<IpAddr>,
    /// The client, as far as it is known and believed.
    pub client: Option<IpAddr>,
    /// The method; empty where the head was not understood.
    pub method: &'a str,
    /// The host as the client wrote it.
    pub domain: &'a str,
    /// The path.
    pub path: &'a str,
    /// What stands behind the `?`.
    pub query: Option<&'a str>,
    /// `1.0`, `1.1` or `2`.
    pub http: Option<&'static str>,
    /// Bytes of its body that were read.
    pub request_bytes: u64,
    /// What the client got; none where it got nothing.
    pub status: Option<u16>,
    /// Bytes of the response's body that were sent.
    pub response_bytes: u64,
    /// The client's `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
    /// The client's `X-Request-Id`.
    pub id: Option<&'a [u8]>,
    /// Version (`1.3`) and cipher suite, where TLS was spoken.
    pub tls: Option<(&'a str, &'a str)>,
    /// The trace that it is part of.
    pub trace: Option<TraceId>,
    /// What Tidegate did with it.
    pub(crate) seen: Seen<'a>,
}

impl<'a> Line<'a> {
    /// The line of a request that is over `now`.
    pub(crate) fn of(session: &'a Session, request: &'a Request, now: Duration) -> Self {
        let head = session.req_header();
        let seen = request.seen();
        let connection = Connection::of(session);
        let socket = || session.client_addr()?.as_inet().map(|address| address.ip().to_canonical());
        let tls = connection.and_then(|connection| connection.tls.as_ref());
        let header = |name| head.headers.get(name).map(http::HeaderValue::as_bytes);
        Self {
            began: now.saturating_sub(seen.lasted),
            lasted: seen.lasted,
            source: connection.map_or_else(socket, |connection| Some(connection.peer?.ip().to_canonical())),
            client: request.client,
            method: head.method.as_str(),
            domain: without_port(host_of(head)),
            path: head.uri.path(),
            query: head.uri.query(),
            http: version_of(head.version),
            request_bytes: session.as_downstream().body_bytes_read() as u64,
            status: session.response_written().map(|response| response.status.as_u16()),
            response_bytes: session.as_downstream().body_bytes_sent() as u64,
            user_agent: header(header::USER_AGENT),
            id: header(http::HeaderName::from_static("x-request-id")),
            tls: tls.map(|tls| (tls.version, tls.cipher.as_str())),
            trace: request.trace.as_ref().map(|trace| trace.id),
            seen,
        }
    }

    /// The line of a request whose head was not understood, and that got this status, if any.
    pub(crate) fn unread(status: Option<u16>, why: Option<&'static str>, peer: Option<IpAddr>, now: Duration) -> Self {
        let peer = peer.map(|peer| peer.to_canonical());
        let seen = Seen { class: Some(Class::Local), why, ..Seen::default() };
        Self { began: now, source: peer, client: peer, status, seen, ..Self::default() }
    }

    /// Whether the service or the proxy failed it. A client that was refused or went away has not been failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.seen.class.is_some_and(Class::is_bad) || self.status.is_some_and(|status| status >= 500)
    }

    fn outcome(&self) -> &'static str {
        match self.seen.class {
            _ if self.has_failed() => "failure",
            // What would have become of it nobody knows.
            Some(Class::ClientAbort) => "unknown",
            _ => "success",
        }
    }

    /// Writes it as a JSON object, with its end of line.
    pub fn write(&self, into: &mut Vec<u8>) {
        let (seen, is_read) = (&self.seen, !self.method.is_empty());
        let mut line = Object::begin(into);
        line.written("@timestamp", |into| write_moment(into, self.began));
        line.plain("ecs.version", ECS);
        line.number_of("event.duration", Some(u64::try_from(self.lasted.as_nanos()).unwrap_or(u64::MAX)));
        line.plain("event.outcome", self.outcome());
        line.plain_of("source.address", self.source);
        line.plain_of("client.ip", self.client);
        if is_read {
            line.text("http.request.method", self.method);
            line.text("url.domain", self.domain);
            line.text("url.path", self.path);
            line.text_of("url.query", self.query);
            line.plain_of("http.version", self.http);
            line.number_of("http.request.body.bytes", Some(self.request_bytes));
        }
        line.number_of("http.response.status_code", self.status);
        line.number_of("http.response.body.bytes", self.status.map(|_| self.response_bytes));
        line.text_of("user_agent.original", self.user_agent);
        line.text_of("http.request.id", self.id);
        if let Some((version, cipher)) = self.tls {
            line.text("tls.version", version);
            line.text("tls.cipher", cipher);
        }
        line.text_of("error.message", seen.why);
        line.plain_of("trace.id", self.trace);
        if let Some(service) = seen.service {
            line.plain("service.name", service);
            line.plain("tidegate.service", service);
        }
        line.plain_of("tidegate.version", seen.version);
        line.plain_of("tidegate.drawn", seen.drawn.filter(|drawn| Some(*drawn) != seen.version));
        line.plain_of("tidegate.decision", seen.decision);
        line.number_of("tidegate.weight", seen.weight);
        line.number_of("tidegate.attempts", seen.service.map(|_| seen.attempts));
        if let Some(endpoint) = seen.endpoint {
            match endpoint {
                Endpoint::Tcp { .. } => line.plain("tidegate.upstream", endpoint),
                // A path may hold anything.
                Endpoint::Unix(_) => line.text("tidegate.upstream", endpoint.to_string()),
            }
        }
        line.number_of("tidegate.upstream_us", seen.upstream_us);
        line.plain_of("tidegate.ended", seen.ended);
        line.plain_of("tidegate.class", seen.class.map(Class::label));
        line.end();
    }
}

/// A version as ECS has it.
fn version_of(version: Version) -> Option<&'static str> {
    [(Version::HTTP_11, "1.1"), (Version::HTTP_2, "2"), (Version::HTTP_10, "1.0"), (Version::HTTP_09, "0.9")]
        .into_iter()
        .find_map(|(known, name)| (known == version).then_some(name))
}

/// A host as the schema wants it: an IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    let end = match host.find(']') {
        Some(bracket) => bracket + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    host.get(..end).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_no_port_and_an_address_of_ipv6_keeps_its_brackets() {
        for (host, domain) in [
            ("shop.example.com:8443", "shop.example.com"),
            ("shop.example.com", "shop.example.com"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[fd00::7]:80", "[fd00::7]"),
            ("[fd00::7]", "[fd00::7]"),
            ("", ""),
        ] {
            assert_eq!(without_port(host), domain);
        }
    }
}
