//! Whether a request is copied for the canary.

use std::sync::Arc;
use std::time::Instant;

use pingora_proxy::Session;

use super::{Edge, client_address};
use crate::connection::Connection;
use crate::mirror::{Mirroring, Original};
use crate::request::Request;

impl Edge {
    /// Draws whether a request that stable serves is copied, where a share of them is.
    #[inline]
    pub(super) fn mirror(&self, session: &mut Session, ctx: &mut Request) {
        if let Some(matched) = ctx.found()
            && let service = &matched.service
            && let Some(share) = service.split.mirror
            && Arc::ptr_eq(&matched.drawn, service.stable())
        {
            let has_body = !session.as_downstream_mut().is_body_empty();
            let original = Original {
                head: session.req_header(),
                connection: Connection::of(session),
                socket: client_address(session),
                trace: ctx.trace.as_ref(),
                instance: Some(&self.instance),
            };
            ctx.mirror =
                Mirroring::begin(share, service, ctx.exchange, has_body, original, &self.outbox, Instant::now());
        }
    }
}
