//! Requests without a body, to endpoints that speak HTTP/1.1: most requests are. They are exchanged here, and not by
//! pingora, which carries every request as if both sides might talk for long (docs/decisions/0044).
//!
//! What is read and written is pingora's, as is everything before and after; what is done with it is in
//! [`passing`](super::passing) and [`failing`](super::failing), for both ways alike.

use std::sync::Arc;

use config::Protocol;
use futures::FutureExt;
use http::{HeaderValue, Method, Version as HttpVersion, header};
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{ProxyHttp, Session};

use super::Edge;
use crate::endpoint::InFlight;
use crate::request::Request;
use crate::retries::ATTEMPTS;
use crate::routing::Version;
use crate::upstream_stream::UpstreamStream;

/// So many parts of a response are written to the client in one go, where they are there.
const PARTS: usize = 4;

/// Whether a request may be exchanged here, as far as its client is concerned.
pub(super) fn may_go(session: &mut Session, ctx: &Request) -> bool {
    if ctx.errand.is_some() || ctx.exchange.is_tunnel() {
        return false;
    }
    let head = session.req_header();
    let names_host = match head.version {
        HttpVersion::HTTP_11 => head.uri.authority().is_none() && head.headers.contains_key(header::HOST),
        HttpVersion::HTTP_2 => head.uri.authority().is_some() || head.headers.contains_key(header::HOST),
        _ => false,
    };
    let client = session.as_downstream_mut();
    names_host && client.is_body_empty() && client.is_body_done() && session.req_header().raw_path().starts_with(b"/")
}

impl Edge {
    /// Serves a request that [may go](may_go) here: says whether there is something left for pingora to do, which then
    /// makes the next attempt. Errors are those of the last attempt, after which there is no other.
    pub(super) async fn go_direct(&self, session: &mut Session, ctx: &mut Box<Request>) -> Result<bool> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let (version, at) = self.next_endpoint(session.req_header(), ctx)?;
            if at.endpoint().protocol() != Protocol::H1 {
                ctx.chosen = Some((version, at));
                return Ok(true);
            }
            match self.attempt_direct(version, at, session, ctx).await {
                Ok(()) => return Ok(false),
                Err(e) if e.retry() => last = Some(e),
                Err(e) => return Err(e),
            }
        }
        Err(last.unwrap_or_else(|| Error::new_in(ErrorType::InternalError)))
    }

    /// One attempt at an endpoint that speaks HTTP/1.1. An error says whether another follows.
    async fn attempt_direct(
        &self,
        version: Arc<Version>,
        at: InFlight,
        session: &mut Session,
        ctx: &mut Box<Request>,
    ) -> Result<()> {
        let link = self.link(&version, &at, session, ctx);
        ctx.attempt(version, at);
        ctx.goes_by(Some(Arc::clone(&link)));
        let peer = link.endpoint().dialled();
        let stream = match link.open().await {
            Ok(stream) => stream,
            Err(mut e) => {
                e.as_up();
                return Err(self.fail_to_connect(session, peer, ctx, e).into_up());
            }
        };
        let mut upstream = HttpSession::new(Box::new(stream));
        match self.exchange(&mut upstream, session, ctx).await {
            Ok(()) => {
                keep(upstream).await;
                Ok(())
            }
            Err(e) => {
                drop(upstream);
                Err(self.error_while_proxy(peer, session, e, ctx, link.is_reused()))
            }
        }
    }

    /// Sends the request, and passes on what comes back until all of it has.
    async fn exchange(&self, upstream: &mut HttpSession, session: &mut Session, ctx: &mut Box<Request>) -> Result<()> {
        self.connected(session, true, -1, ctx);
        let mut request = Box::new(session.req_header().clone());
        as_http1(&mut request)?;
        self.tell_origin(session, &mut request, ctx)?;
        crate::expect::to_origin(session, &mut request).await?;
        upstream.write_request_header(request).await.map_err(Error::into_up)?;
        Self::pass_request_body(session, &mut None, true, ctx)?;
        upstream.finish_body().await.map_err(Error::into_up)?;
        loop {
            let task = tokio::select! {
                biased;
                task = upstream.read_response_task() => task,
                left = session.as_downstream_mut().read_body_or_idle(true) => return Err(has_left(left)),
            };
            let mut parts = Vec::with_capacity(PARTS);
            let mut next = Some(task);
            while let Some(task) = next.take() {
                let task = task.unwrap_or_else(|e| HttpTask::Failed(e.into_up()));
                let is_last = matches!(task, HttpTask::Failed(_)) || task.is_end();
                parts.push(self.pass(task, session, ctx)?);
                if !is_last && parts.len() < PARTS {
                    // What is there already goes along; a task that has had its share of time is told that nothing is.
                    next = tokio::task::unconstrained(upstream.read_response_task()).now_or_never();
                }
            }
            if session.write_response_tasks(parts).await? {
                break;
            }
        }
        if session.as_downstream_mut().finish_body().await.is_err() {
            session.set_keepalive(None);
        }
        Ok(())
    }

    /// A part of the response came from the origin, and goes to the client as it is returned.
    fn pass(&self, task: HttpTask, session: &mut Session, ctx: &mut Request) -> Result<HttpTask> {
        Ok(match task {
            HttpTask::Header(mut head, is_end) => {
                self.hear_head(session, &mut head, ctx)?;
                if !is_end && has_no_length(&head, &session.req_header().method) {
                    // So that the connection can go on, where one carries a request at a time.
                    head.set_version(HttpVersion::HTTP_11);
                    head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
                }
                Self::pass_head(session, &mut head, ctx)?;
                HttpTask::Header(head, is_end)
            }
            HttpTask::Body(mut piece, is_end) => {
                Self::hear_body(session, &mut piece, is_end, ctx)?;
                HttpTask::Body(piece, is_end)
            }
            // Nobody asked for another protocol, and a head that speaks of one was refused.
            HttpTask::UpgradedBody(..) => return Err(Error::new_up(ErrorType::InvalidHTTPHeader)),
            task @ (HttpTask::Trailer(_) | HttpTask::Done | HttpTask::Failed(_)) => task,
        })
    }
}

/// In HTTP/2 the host may be named beside the fields. Where both name one, they agree (`request_check`). That there is no
/// body may be left unsaid there, and not in HTTP/1.1 where one might be (RFC 9110, section 8.6): some servers refuse that
/// (411).
fn as_http1(request: &mut RequestHeader) -> Result<()> {
    let may_have_body = matches!(request.method, Method::POST | Method::PUT | Method::PATCH);
    if request.version == HttpVersion::HTTP_2 && may_have_body && !request.headers.contains_key(header::CONTENT_LENGTH)
    {
        request.insert_header(header::CONTENT_LENGTH, HeaderValue::from_static("0"))?;
    }
    let authority = request.uri.authority().filter(|_| !request.headers.contains_key(header::HOST));
    if let Some(authority) = authority.map(|authority| authority.as_str().to_owned()) {
        request.insert_header(header::HOST, authority)?;
    }
    request.set_version(HttpVersion::HTTP_11);
    Ok(())
}

/// The response was read: its connection is kept for the next request, where its endpoint lets it.
async fn keep(mut upstream: HttpSession) {
    upstream.respect_keepalive();
    if let Some(stream) = upstream.reuse().await
        && let Ok(mut stream) = stream.into_any().downcast::<UpstreamStream>()
    {
        stream.release();
    }
}

/// The client left before it had its response, or said something that it must not.
fn has_left<T>(said: Result<T>) -> Box<Error> {
    said.err().unwrap_or_else(|| Error::new(ErrorType::ConnectionClosed)).into_down()
}

/// Whether a response has content that ends with its connection.
fn has_no_length(head: &ResponseHeader, method: &Method) -> bool {
    let may_have_content =
        *method != Method::HEAD && !matches!(head.status.as_u16(), 204 | 304) && !head.status.is_informational();
    may_have_content
        && !head.headers.contains_key(header::TRANSFER_ENCODING)
        && !head.headers.contains_key(header::CONTENT_LENGTH)
}
