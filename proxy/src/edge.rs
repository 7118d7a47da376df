//! The request's path through pingora: a table of contents. Each hook calls the room where the work is done.

mod direct;
mod failing;
mod mirroring;
mod old_clients;
mod passing;
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

use crate::access_log::AccessLog;
use crate::answer::{self, ENDED, IDLE_TUNNEL, NO_ROOM, NO_SERVICE, answer, reason_for, redirect};
use crate::attempt::{class_of, class_of_connect, is_stale_http2, status_for};
use crate::client_stream::ClientStream;
use crate::connection::Connection;
use crate::deadlines::Deadlines;
use crate::endpoint::{self, Unreachable};
use crate::exchange::Exchange;
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
use crate::trace::Trace;
use crate::transport::Transport;
use crate::upstream_stream::Pool;
use crate::warming::Errand;
use crate::{expect, forwarded, grpc, secure, selection, upgrade};

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
        if self.is_last(session, ctx.began()) || forwarded::is_last_of_client(session.req_header()) {
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
        let trusts = forwarded::comes_by_trusted(Connection::of(session), socket, rules);
        forwarded::from_client(session.req_header_mut(), trusts);
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

    async fn proxy_upstream_filter(&self, session: &mut Session, ctx: &mut Box<Request>) -> Result<bool> {
        if direct::may_go(session, ctx) { self.go_direct(session, ctx).await } else { Ok(true) }
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Box<Request>,
    ) -> Result<()> {
        self.tell_origin(session, request, ctx)?;
        expect::to_origin(session, request).await
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Box<Request>) -> Result<Box<HttpPeer>> {
        if let Some(errand) = &ctx.errand {
            return Ok(errand.at().peer());
        }
        let (version, at) = match ctx.chosen.take() {
            Some(chosen) => chosen,
            None => self.next_endpoint(session.req_header(), ctx)?,
        };
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
        self.connected(session, endpoint::is_for_one_request(peer), fd, ctx);
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Box<Request>,
    ) -> Result<()> {
        Self::pass_request_body(session, body, end_of_stream, ctx)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Box<Request>,
    ) -> Result<()> {
        self.hear_head(session, response, ctx)
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
        Self::hear_body(session, body, end_of_stream, ctx)?;
        Ok(None)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Box<Request>,
    ) -> Result<()> {
        Self::pass_head(session, response, ctx)
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        e: Box<Error>,
        ctx: &mut Box<Request>,
        client_reused: bool,
    ) -> Box<Error> {
        debug!(%peer, error = %e, "exchange ended by an error");
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
