//! The request's path through pingora: a table of contents. Each hook calls the room where the work is done.

mod failing;
mod mirroring;
mod old_clients;
mod placing;
mod refusing;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use config::Protocol;
use http::{HeaderMap, Version as HttpVersion, header};
use meter::{Class, ServiceMeter};
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use tracing::debug;

use self::failing::repeatable;
use crate::access_log::AccessLog;
use crate::answer::{self, ENDED, IDLE_TUNNEL, NO_ROOM, NO_SERVICE, answer, reason_for, redirect};
use crate::attempt::{class_of, class_of_connect, is_stale_http2, status_for};
use crate::client_stream::ClientStream;
use crate::connection::Connection;
use crate::deadlines::Deadlines;
use crate::endpoint::{self, Unreachable};
use crate::exchange::{Exchange, is_event_stream};
use crate::mirror::Outbox;
use crate::passes::Instance;
use crate::request::Request;
use crate::request_body::BodyLimit;
use crate::request_check::{self, Refusal};
use crate::retries::Failure;
use crate::routing::{Routing, Service};
use crate::secure::Instead;
use crate::server::refusals::Refusals;
use crate::shortage::Shortage;
use crate::told::Told;
use crate::trace::Trace;
use crate::transport::Transport;
use crate::upstream_stream::Pool;
use crate::warming::Errand;
use crate::{expect, fields, forwarded, grpc, scheme, secure, selection, upgrade};

/// The proxy of one core.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) core: usize,
    pub(crate) routing: Arc<ArcSwap<Routing>>,
    pub(crate) unmatched: Arc<ServiceMeter>,
    pub(crate) log: AccessLog,
    pub(crate) deadlines: Deadlines,
    /// Connections to endpoints that wait for a request.
    pub(crate) pool: Arc<Pool>,
    /// Connections end with the response they carry: the process is about to.
    pub(crate) leaving: Arc<AtomicBool>,
    /// Where copies for canaries are handed over.
    pub(crate) outbox: Outbox,
    /// This process, as requests bear it that have been here.
    pub(crate) instance: Instance,
    /// What we lack ourselves.
    pub(crate) shortage: Shortage,
    /// Who had too much.
    pub(crate) refusals: Arc<Refusals>,
    /// Requests that one client may have under way, whatever the rules allow.
    pub(crate) most_of_one_client: u64,
}

#[async_trait]
impl ProxyHttp for Edge {
    // Boxed, since pingora moves it from future to future.
    type CTX = Box<Request>;

    fn new_ctx(&self) -> Box<Request> {
        Box::new(Request::new(self.core, Arc::clone(&self.unmatched), Instant::now()))
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {
        // The default brings a compression module that we do not use.
    }

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Box<Request>) -> Result<()> {
        if ctx.errand.is_some() {
            return Ok(());
        }
        if let Some(stream) = client_stream(session) {
            stream.begin_request();
            // The stream has deadlines of its own, which tell a silent client from one that is not read.
            session.set_read_timeout(None);
        } else {
            ctx.under_way = Connection::begin_request(session);
            // Of the streams of a connection, one may stand still while others flow.
            session.set_write_timeout(Some(self.routing.load().rules.timeouts.write));
        }
        expect::from_client(session);
        if self.is_last(session, ctx.began()) {
            session.set_keepalive(None);
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Box<Request>) -> Result<bool> {
        if ctx.errand.is_some() {
            return Ok(false);
        }
        let routing = self.routing.load();
        let rules = &routing.rules;
        // Off already for a client that asked for it, for HTTP/1.0, and at the end.
        if session.get_keepalive().is_some() {
            // The client's stream has the limit.
            session.set_keepalive(Some(0));
        }
        let socket = client_address(session);
        ctx.client = forwarded::client_of(Connection::of(session), socket, session.req_header(), rules);
        if let Err(refusal) = request_check::check(session.req_header_mut(), rules) {
            return answer(session, refusal, ctx).await;
        }
        if let Some(refusal) = self.refuses(session, ctx, rules) {
            return answer(session, refusal, ctx).await;
        }
        forwarded::from_client(session.req_header_mut());
        let connection = Connection::of(session);
        let request = session.req_header();
        ctx.trace = Some(Trace::of(request));
        match secure::redirect(connection, request) {
            Some(Instead::Redirect(place)) => return redirect(session, &place).await,
            Some(Instead::Refuse(refusal)) => return answer(session, refusal, ctx).await,
            None => {}
        }
        let Some(service) = routing.find(request) else {
            return answer(session, NO_SERVICE, ctx).await;
        };
        let trusts = connection
            .and_then(Connection::client)
            .is_some_and(|peer| rules.trusted.iter().any(|range| range.contains(peer)));
        let selection = selection::select(service, request, ctx.client, trusts);
        ctx.exchange = Exchange::of(request, upgrade::is_asked(session), service, selection.draw.version);
        ctx.matched(service, selection, service.split.paths.mask(request.uri.path()));
        if let Some(why) = upgrade::refusal(ctx) {
            return answer(session, Refusal::in_doubt(501, why), ctx).await;
        }
        if lacks_authority(session.req_header()) && speaks_http2(ctx) {
            let why = "this request names no host, which this service needs";
            return answer(session, Refusal::in_doubt(400, why), ctx).await;
        }
        match BodyLimit::of(session.req_header(), service.written.body.or(rules.limits.body)) {
            Ok(limit) => ctx.body = limit,
            Err(refusal) => return answer(session, refusal, ctx).await,
        }
        self.mirror(session, ctx);
        Ok(false)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Box<Request>,
    ) -> Result<()> {
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
        expect::to_origin(session, request).await
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Box<Request>) -> Result<Box<HttpPeer>> {
        if let Some(errand) = &ctx.errand {
            return Ok(errand.at().peer());
        }
        // Nothing was waited for since it began.
        let now = if ctx.attempts == 0 { ctx.began() } else { Instant::now() };
        let (version, at) = self.next_endpoint(session.req_header(), ctx, now)?;
        let (mut peer, link) = self.way_to(&version, &at, session, ctx);
        if ctx.forgiven {
            // Kept apart from every pool, and from every other such connection: what a pooled connection hid is seen
            // on a new one.
            peer.group_key = fastrand::u64(..);
            peer.options.idle_timeout = Some(Duration::ZERO);
        }
        ctx.attempt(version, at);
        ctx.goes_by(link);
        Ok(peer)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        peer: &HttpPeer,
        ctx: &mut Box<Request>,
        mut e: Box<Error>,
    ) -> Box<Error> {
        debug!(%peer, error = %e, "no connection");
        if let Some(errand) = &ctx.errand {
            errand.failed(&e);
            e.set_retry(false);
            return e;
        }
        if is_stale_http2(&e) && !ctx.forgiven {
            ctx.stale_connection();
            e.set_retry(true);
            return e;
        }
        let (class, now) = (class_of_connect(&e), Instant::now());
        if class == Class::Local {
            self.shortage.felt(&e, now);
            ctx.is_short = true;
        }
        // Nothing was sent, so another endpoint may be tried whatever the method; in vain where the trouble is ours.
        e.set_retry(class != Class::Local && self.goes_again(Failure::Unreachable, session, ctx, now));
        ctx.failed_to_connect(class, Unreachable::of(&e), now);
        e
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        _reused: bool,
        peer: &HttpPeer,
        fd: RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Box<Request>,
    ) -> Result<()> {
        if let Some(errand) = &ctx.errand {
            errand.meet().await;
            return Err(Errand::done());
        }
        let now = Instant::now();
        ctx.connected(fd, now);
        let is_own = endpoint::is_for_one_request(peer);
        if !session.as_downstream_mut().is_body_done() {
            ctx.listen(is_own, now);
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
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Box<Request>,
    ) -> Result<()> {
        // A request without a body had said all when its connection was ready.
        let is_bare = end_of_stream && !ctx.exchange.is_tunnel() && session.as_downstream_mut().is_body_empty();
        let ready = ctx.ready().filter(|_| is_bare);
        let now = ready.unwrap_or_else(Instant::now);
        ctx.sends(end_of_stream, now);
        ctx.body.take(body.as_ref().map_or(0, Bytes::len))?;
        ctx.mirror.takes(body.as_ref(), end_of_stream, now);
        // pingora would write an empty last piece as a chunk of size 0, and then the end of the chunks: two ends, of
        // which the next request on that connection finds the second (pingora #935).
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Box<Request>,
    ) -> Result<()> {
        let now = Instant::now();
        if self.is_last(session, now) {
            // Told in the response, so that the client does not try this connection again.
            session.set_keepalive(None);
        }
        let status = response.status.as_u16();
        ctx.check_head(response)?;
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
            ctx.is_endless();
        }
        Ok(())
    }

    fn upstream_response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        ctx: &mut Box<Request>,
    ) -> Result<()> {
        ctx.check_trailers(trailers)?;
        ctx.mirror.trailers(trailers);
        forwarded::trailers_to_client(trailers);
        ctx.grpc_status(trailers);
        ctx.last_byte(Instant::now());
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Box<Request>,
    ) -> Result<Option<Duration>> {
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
        Ok(None)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Box<Request>,
    ) -> Result<()> {
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

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        e: Box<Error>,
        ctx: &mut Box<Request>,
        client_reused: bool,
    ) -> Box<Error> {
        debug!(%peer, error = %e, "attempt failed");
        if ctx.errand.is_some() { e } else { self.failed(session, e, ctx, client_reused) }
    }

    async fn fail_to_proxy(&self, session: &mut Session, e: &Error, ctx: &mut Box<Request>) -> FailToProxy {
        if ctx.errand.is_some() {
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        let status = status_for(e);
        // What the client's stream refused looks to pingora like a stream that broke.
        let refused = client_stream(session).and_then(ClientStream::refused);
        let why = match ctx.ending() {
            Some(_) => ENDED,
            None if ctx.found_no_room => NO_ROOM,
            None => reason_for(status, ctx.failed_with()),
        };
        let refusal = refused.map_or(Refusal { status, why, is_sound: status >= 500 }, Refusal::from);
        let status = refusal.status;
        if self.is_last(session, Instant::now()) {
            session.set_keepalive(None);
        }
        if let Some(stream) = client_stream(session) {
            // The answer is ours.
            stream.tell_version(None);
        }
        // Interim heads leave room for an answer; that of a tunnel is none.
        let head = session.response_written().map(|head| head.status.as_u16());
        if head == Some(101) && matches!(e.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout) {
            ctx.why.get_or_insert(IDLE_TUNNEL);
        }
        if status > 0 && head.is_none_or(|status| status < 200 && status != 101) {
            // The client may be gone by now; there is nobody else to tell.
            let _ = answer(session, refusal, ctx).await;
        } else if ctx.ending().is_some() {
            grpc::break_off(session, ENDED);
        }
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Box<Request>) {
        if ctx.errand.is_some() {
            return;
        }
        let sent = session.response_written().map(|response| response.status.as_u16());
        ctx.end(sent, error.map(class_of), Instant::now());
        self.log.request(&self.routing.load().rules, session, ctx);
        if session.as_downstream_mut().is_body_done() {
            if let Some(stream) = client_stream(session) {
                stream.end_request();
            }
        } else {
            // What is left of the body would pass for the next head.
            session.set_keepalive(None);
        }
        if error.is_some() && ctx.was_answered {
            answer::leave(session).await;
        }
    }

    fn suppress_error_log(&self, _session: &Session, _ctx: &Self::CTX, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Self::CTX, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}

impl Edge {
    /// Whether a request is the last on its connection: the process is about to end, or the connection's life is over.
    fn is_last(&self, session: &Session, now: Instant) -> bool {
        let is_over = |connection: &Connection| connection.is_over(now);
        self.leaving.load(Ordering::Relaxed) || Connection::of(session).is_some_and(is_over)
    }

    /// The service as it is now.
    fn present(&self, service: &Arc<Service>) -> Arc<Service> {
        let routing = self.routing.load();
        Arc::clone(routing.service(&service.name).unwrap_or(service))
    }
}

/// Whether a request of HTTP/1.0 names no host, so that it has no form in HTTP/2.
fn lacks_authority(request: &RequestHeader) -> bool {
    request.version == HttpVersion::HTTP_10 && !request.headers.contains_key(header::HOST)
}

/// Whether the endpoints of the version drawn speak HTTP/2.
fn speaks_http2(ctx: &Request) -> bool {
    ctx.found().is_some_and(|matched| matched.drawn.protocol != Protocol::H1)
}

/// The client's connection, where it carries one request at a time.
pub(crate) fn client_stream(session: &Session) -> Option<&ClientStream<Transport>> {
    session.as_downstream().stream()?.as_any().downcast_ref()
}

fn client_address(session: &Session) -> Option<IpAddr> {
    session.client_addr().and_then(|address| address.as_inet()).map(SocketAddr::ip)
}
