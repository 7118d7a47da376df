//! The proxy of a core as pingora serves it to connections, under the rules in force as they begin.

use std::pin::Pin;
use std::sync::Arc;

use config::Rules;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;

use crate::edge::Edge;
use crate::request_body::silence::Listening;

/// What a client may send on one stream of HTTP/2 before it is told that the endpoint took some: 256 KiB. The 64 KiB
/// of RFC 9113 would hold an upload to 1.3 MB/s at 50 ms; four times as much carries 5 MB/s.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all streams of a connection together: 512 KiB. It bounds what a client whose endpoints do not read can
/// make us keep.
const CONNECTION_WINDOW: u32 = 512 * 1024;
/// What h2 lets small DATA frames that nobody has read yet take together, at 256 bytes less their length for each, before it
/// ends the connection: 4 MiB, some 17 000 messages of ten bytes. By itself it would allow half of the window, which a
/// stream of gRPC fills in the moment in which an endpoint does not read.
const SMALL_FRAMES: usize = 4 * 1024 * 1024;

/// What h2 takes of a stream's response before its client does, whatever windows the client gives: 64 KiB, a piece as
/// pingora reads it. (Its own 400 KiB, on each of a hundred streams, would be 40 MiB for one client that does not read.)
const SEND_BUFFER: usize = 64 * 1024;

/// The proxy of a core, with the options for connections that begin now.
pub(super) struct Served {
    proxy: Arc<HttpProxy<Edge>>,
    /// The rules that the options are made of.
    rules: Arc<Rules>,
    server: HttpServerOptions,
    http2: H2Options,
}

impl Served {
    pub(super) fn new(proxy: Arc<HttpProxy<Edge>>, rules: Arc<Rules>) -> Self {
        let mut server = HttpServerOptions::default();
        server.h2c = true;
        // pingora would close a connection that idles without a word; the arrival says GOAWAY.
        server.h2_idle_timeout = None;
        let mut http2 = default_h2_options();
        let list = u32::try_from(rules.limits.http2_header_list.get()).unwrap_or(u32::MAX);
        http2
            .max_concurrent_streams(rules.limits.http2_streams)
            .max_header_list_size(list)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .data_frame_budget(SMALL_FRAMES)
            .max_send_buffer_size(SEND_BUFFER);
        Self { proxy, rules, server, http2 }
    }

    /// Whether these are still the rules.
    pub(super) fn is_under(&self, rules: &Arc<Rules>) -> bool {
        Arc::ptr_eq(&self.rules, rules)
    }

    pub(super) fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }
}

impl HttpServerApp for Served {
    // As `async_trait` writes it, without a second future around the proxy's own: it is made for every request.
    fn process_new_http<'this, 'watch, 'future>(
        self: &'this Arc<Self>,
        session: ServerSession,
        shutdown: &'watch ShutdownWatch,
    ) -> Pin<Box<dyn Future<Output = Option<ReusedHttpStream>> + Send + 'future>>
    where
        'this: 'future,
        'watch: 'future,
        Self: 'future,
    {
        let is_uploading = session.as_http2().is_some_and(|session| !session.is_body_done());
        let serving = self.proxy.process_new_http(session, shutdown);
        if is_uploading { Box::pin(Listening::new(serving, self.rules.timeouts.body)) } else { serving }
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(self.http2.clone())
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.server)
    }
}
