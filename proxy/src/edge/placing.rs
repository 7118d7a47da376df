//! Where the next attempt of a request goes.

use std::sync::Arc;
use std::time::Instant;

use http::{Method, header};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use super::Edge;
use crate::client_stream::head_check::HeadLimits;
use crate::endpoint::{self, Ask, Endpoint, InFlight, Unavailable};
use crate::request::Request;
use crate::request_head::balance_key;
use crate::routing::Version;
use crate::upstream_stream::{Asked, Link};

impl Edge {
    /// The version and endpoint of the next attempt. The first is on the version drawn. A later one reads the
    /// snapshot anew: on another endpoint of the same version, where that is where it is to be and it has a share; else,
    /// and where it has no live endpoint or no room for it, on stable.
    pub(super) fn next_endpoint(&self, head: &RequestHeader, ctx: &mut Request) -> Result<(Arc<Version>, InFlight)> {
        let Some(matched) = ctx.found() else { return Err(Error::new_in(ErrorType::InternalError)) };
        let is_first = ctx.attempts == 0;
        // Nothing was waited for since it began.
        let now = if is_first { ctx.began() } else { Instant::now() };
        let mut is_full = false;
        if is_first {
            // Nearly always there is nothing more to it.
            match matched.drawn.pick(&ask(&matched.drawn, head, ctx, None, now)) {
                Ok(at) => return Ok((Arc::clone(&matched.drawn), at)),
                Err(why) => is_full = why == Unavailable::Full,
            }
        }
        let (drawn, service) = (Arc::clone(&matched.drawn), self.present(&matched.service));
        let may_serve = is_first || ctx.may_stay(&service);
        if !is_first
            && may_serve
            && let Some(version) = service.version(&drawn.name)
        {
            let picked = version.pick(&ask(version, head, ctx, ctx.avoided.as_deref(), now));
            let again = |why| match ctx.tries.may_return {
                true => version.pick(&ask(version, head, ctx, None, now)),
                false => Err(why),
            };
            match picked.or_else(again) {
                Ok(at) => return Ok((Arc::clone(version), at)),
                Err(Unavailable::Full) => is_full = true,
                Err(Unavailable::Down) => {}
            }
        }
        let stable = service.stable();
        if drawn.name == stable.name && is_full {
            return Err(no_room(stable, ctx));
        }
        if may_serve && drawn.name != stable.name {
            if is_full {
                // Its operator's limit is no failure of the version.
                drawn.balancer.overflowed();
                ctx.passed_over();
            } else {
                ctx.nowhere_to_go();
            }
        }
        let asked = ask(stable, head, ctx, ctx.avoided.as_deref(), now);
        let picked = stable.pick(&asked);
        let picked = picked.or_else(|why| match why {
            // Stable is tried even where all of its endpoints are down: there is nothing better.
            Unavailable::Down => stable.pick_any(&asked),
            Unavailable::Full => Err(why),
        });
        match picked {
            Ok(at) => Ok((Arc::clone(stable), at)),
            Err(Unavailable::Full) => Err(no_room(stable, ctx)),
            Err(Unavailable::Down) => {
                ctx.nowhere_to_go();
                Err(Error::new_up(ErrorType::ConnectNoRoute))
            }
        }
    }
}

impl Edge {
    /// What pingora connects to for an attempt there. In HTTP/1.1 the connection is made by a link, which sees what the
    /// endpoint sends.
    pub(super) fn way_to(
        &self,
        version: &Version,
        at: &InFlight,
        session: &mut Session,
        ctx: &Request,
    ) -> (Box<HttpPeer>, Option<Arc<Link>>) {
        let endpoint = at.endpoint();
        let Some(mut peer) = endpoint.outer() else {
            let silence = ctx.silence(version, session.as_downstream_mut().is_body_done());
            let mut peer = endpoint.peer();
            let is_own = endpoint::is_for_one_request(&peer);
            peer.options.read_timeout = if is_own { ctx.silence_of_any() } else { silence };
            peer.options.write_timeout = ctx.uptake();
            return (peer, None);
        };
        let link = self.link(version, at, session, ctx);
        // Reads and writes are limited by the link, for less than pingora's timers cost, and pingora would count a piece
        // of which some is taken as one of which nothing is.
        peer.options.custom_l4 = Some(Arc::clone(&link) as _);
        (peer, Some(link))
    }

    /// The way of an attempt to an endpoint that speaks HTTP/1.1.
    pub(super) fn link(&self, version: &Version, at: &InFlight, session: &mut Session, ctx: &Request) -> Arc<Link> {
        let client = session.as_downstream_mut();
        let (is_whole, has_body) = (client.is_body_done(), !client.is_body_empty());
        let head = session.req_header();
        let limits = ctx.found().map(|matched| HeadLimits::from(&matched.service.rules.limits)).unwrap_or_default();
        let asked = Asked {
            is_head: head.method == Method::HEAD,
            in_chunks: has_body && !head.headers.contains_key(header::CONTENT_LENGTH),
            is_apart: ctx.forgiven,
            silence: ctx.silence(version, is_whole),
            silence_before_the_end: ctx.silence_of_any().filter(|_| !is_whole),
            uptake: ctx.uptake(),
            limits,
        };
        Link::new(&self.pool, at.shared(), asked)
    }
}

fn ask<'a>(
    version: &Version,
    head: &RequestHeader,
    ctx: &Request,
    avoid: Option<&'a Endpoint>,
    now: Instant,
) -> Ask<'a> {
    let key = version.balancer.key().and_then(|key| balance_key(key, head, ctx.client));
    Ask { key, avoid, repeats: ctx.attempts > 0, now }
}

/// There is nobody left who may take the request.
fn no_room(stable: &Version, ctx: &mut Request) -> Box<Error> {
    stable.balancer.overflowed();
    ctx.found_no_room = true;
    ctx.passed_over();
    Error::new_in(ErrorType::Custom("no room"))
}
