//! What is done with the parts of a request and of its response as they pass, whoever carries them: pingora, or
//! [`direct`](super::direct).

use std::os::fd::RawFd;
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Version as HttpVersion, header};
use meter::Class;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use super::failing::{self, repeatable};
use super::{Edge, client_address, client_stream, old_clients};
use crate::connection::Connection;
use crate::exchange::is_event_stream;
use crate::request::Request;
use crate::retries::Failure;
use crate::told::Told;
use crate::{fields, forwarded, scheme, secure, selection, upgrade};

impl Edge {
    /// The connection of the present attempt is ready. `is_own`: it carries nothing else; `fd`: what pingora calls it.
    pub(super) fn connected(&self, session: &mut Session, is_own: bool, fd: RawFd, ctx: &mut Request) {
        let now = Instant::now();
        ctx.connected(fd, now);
        if ctx.link().is_none() && session.as_downstream_mut().is_body_empty() {
            // Over HTTP/2 nobody tells of the end of a body that there is not.
            ctx.says_nothing_more(now);
        }
        if is_own {
            let waits_now = session.as_downstream_mut().is_body_done() || ctx.exchange.is_tunnel();
            ctx.watch(&self.deadlines, waits_now, now);
            if waits_now {
                ctx.keeps_vigil(ctx.leave(repeatable(session), now), now);
            }
            if let Some(stream) = client_stream(session) {
                stream.tell(ctx.holder());
            }
        } else {
            ctx.note(&self.deadlines);
        }
        if !session.as_downstream_mut().is_body_done() {
            ctx.listen(is_own, now);
        }
    }

    /// What the origin is told beside what the client said. An error: it speaks another protocol than it must.
    pub(super) fn tell_origin(&self, session: &Session, request: &mut RequestHeader, ctx: &mut Request) -> Result<()> {
        if !ctx.agrees(request.version == HttpVersion::HTTP_2) {
            return Err(Error::explain(ErrorType::ConnectError, "the endpoint does not speak HTTP/2").into_up());
        }
        let Some(matched) = ctx.found() else { return Ok(()) };
        let connection = Connection::of(session);
        let client = client_address(session);
        fields::change(request, |request| {
            let mut told = Told::nothing();
            selection::to_origin(&mut told, &matched.service, &matched.drawn);
            if let Some(trace) = &ctx.trace {
                trace.to_origin(&mut told, request);
            }
            self.instance.to_origin(&mut told, &request.headers);
            let last = Connection::last_told(session);
            forwarded::to_origin(&mut told, request, connection, client, &matched.service.rules, last);
            match ctx.link() {
                Some(link) => link.tell(told),
                None => told.set(&mut request.headers),
            }
            upgrade::to_origin(request, ctx);
            if request.version == HttpVersion::HTTP_2
                && let Some(peer) = ctx.peer()
            {
                scheme::speak(&mut request.uri, peer);
            }
        });
        ctx.mirror.sets_out();
        Ok(())
    }

    /// A piece of the request's body goes to the origin, or its end does.
    pub(super) fn pass_request_body(
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Request,
    ) -> Result<()> {
        // A request without a body had said all when its connection was ready.
        let is_bare = end_of_stream && !ctx.exchange.is_tunnel() && session.as_downstream_mut().is_body_empty();
        let ready = ctx.ready().filter(|_| is_bare);
        let now = ready.unwrap_or_else(Instant::now);
        ctx.sends(end_of_stream, now);
        if body.as_ref().is_some_and(|piece| !piece.is_empty()) {
            ctx.speaks_through_its_tunnel();
        }
        ctx.body.take(body.as_ref().map_or(0, Bytes::len))?;
        ctx.mirror.takes(body.as_ref(), end_of_stream, now);
        // pingora would write an empty last piece as a chunk of size 0, and then the end of the chunks: two ends, of
        // which the next request on that connection finds the second (pingora #935).
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        *body = body.take().map(|piece| ctx.is_sent(piece));
        Ok(())
    }

    /// A head came from the origin. An error ends the attempt: the head is not one, or another attempt follows.
    pub(super) fn hear_head(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Request,
    ) -> Result<()> {
        let now = Instant::now();
        if self.is_last(session, now) {
            // Told in the response, so that the client does not try this connection again.
            session.set_keepalive(None);
        }
        let status = response.status.as_u16();
        ctx.check_head(response)?;
        if let Some(link) = ctx.link() {
            link.hear(&response.headers);
        }
        if status == 101 {
            upgrade::begin(session, ctx, response)?;
            if let Some(stream) = client_stream(session) {
                stream.begin_tunnel(upgrade::parting(ctx));
            }
        } else if response.status.is_informational() {
            ctx.goes_on();
            return Ok(());
        }
        ctx.head(status, now);
        if status >= 500 && self.goes_again(Failure::Answered(status), session, ctx, now) {
            ctx.end_attempt(Class::of_status(status), now);
            let mut passed_over = Error::explain(ErrorType::HTTPStatus(status), "tried again").into_up();
            passed_over.set_retry(true);
            return Err(passed_over);
        }
        ctx.grpc_head(&response.headers);
        ctx.mirror.head(response);
        if response.headers.get(header::CONTENT_TYPE).is_some_and(|of| is_event_stream(of.as_bytes())) {
            ctx.is_endless(now);
        }
        // Over HTTP/2 a head may be all without saying so: only its library knows by the stream's end.
        if status != 101 && (ctx.is_call_over() || has_no_content(response, &session.req_header().method)) {
            ctx.last_byte(now);
        }
        Ok(())
    }

    /// A piece of content came from the origin, or its end did. An error ends the attempt.
    pub(super) fn hear_body(
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Request,
    ) -> Result<()> {
        let now = Instant::now();
        if body.as_ref().is_some_and(|piece| !piece.is_empty()) {
            ctx.check_content(&session.req_header().method)?;
        }
        ctx.hears(body.as_ref(), now);
        ctx.mirror.hears(body.as_ref());
        if ctx.must_leave() {
            return Err(failing::ended());
        }
        if !end_of_stream
            && client_stream(session).is_none()
            && let Some(holder) = ctx.holder()
        {
            // Of a stream of HTTP/2, nobody else sees what its client takes.
            *body = body.take().map(|piece| holder.piece(piece));
        }
        if end_of_stream {
            // A tunnel that was told to end does so by itself.
            let has_closed = ctx.exchange.is_tunnel() && ctx.ending().is_some();
            if !has_closed && (ctx.overdue().is_some() || ctx.fell_silent()) {
                // Of a body that ends with its connection, this would pass for the end.
                return Err(Error::explain(ErrorType::ReadTimedout, "no whole response in time").into_up());
            }
            ctx.last_byte(now);
        }
        Ok(())
    }

    /// A head goes to the client.
    pub(super) fn pass_head(session: &mut Session, response: &mut ResponseHeader, ctx: &Request) -> Result<()> {
        if response.version == HttpVersion::HTTP_10 {
            // That of whoever sends it, which we do (RFC 9112, section 2.3).
            response.set_version(HttpVersion::HTTP_11);
        }
        let connection = Connection::of(session);
        forwarded::to_client(response);
        secure::to_client(response, connection);
        if let Some(matched) = ctx.found() {
            let is_secure = connection.is_some_and(|connection| connection.secure);
            let mut served = ctx.served().filter(|_| selection::tells_version(response, &matched.service));
            if let Some(stream) = client_stream(session) {
                stream.tell_version(served.take());
            }
            selection::to_client(response, &matched.service, served, matched.issued.as_ref(), is_secure)?;
        }
        if session.req_header().version == HttpVersion::HTTP_10 {
            old_clients::fit(session, response, ctx);
        }
        Ok(())
    }
}

/// Whether the head says that it is all of a response to this method (RFC 9112, section 6.3; RFC 9110, section 8.6).
fn has_no_content(response: &ResponseHeader, method: &Method) -> bool {
    let is_nothing = |length: &[u8]| length.iter().all(|digit| *digit == b'0');
    *method == Method::HEAD
        || matches!(response.status.as_u16(), 204 | 304)
        || response.headers.get(header::CONTENT_LENGTH).is_some_and(|length| is_nothing(length.as_bytes()))
}
