//! The proxy of a core as pingora serves it to connections, under the rules in force as they begin.

use std::pin::Pin;
use std::sync::Arc;

use config::Rules;
use h2::Reason;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Accept, H2Options, HttpSession, default_h2_options, handshake};
use pingora_core::protocols::{Digest, Stream};
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use tokio::sync::Notify;
use tracing::debug;

use crate::client_stream::Unmatched;
use crate::connection::Connection;
use crate::edge::Edge;
use crate::request_body::silence::Listening;

/// What a client may send on one stream of HTTP/2 before it is told that the endpoint took some: 256 KiB. The 64 KiB
/// of RFC 9113 would hold an upload to 1.3 MB/s at 50 ms; four times as much carries 5 MB/s.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all streams of a connection together: as much as they have each, so that those whose endpoints do not read
/// hold up no other. This is the most that HTTP/2 can say (RFC 9113, section 6.9.1).
const LARGEST_WINDOW: u32 = (1 << 31) - 1;
/// What h2 lets small DATA frames that nobody has read yet take together, at 256 bytes less their length for each, before it
/// ends the connection: 4 MiB, some 17 000 messages of ten bytes. By itself it would allow half of the window, which a
/// stream of gRPC fills in the moment in which an endpoint does not read.
const SMALL_FRAMES: usize = 4 * 1024 * 1024;

/// What h2 reads of a list of fields, at the least: 64 KiB. One that goes on behind more than it may read ends the connection,
/// with everybody's requests; a list that is larger than it may be and smaller than this is refused by us.
const LEAST_LIST: u32 = 64 * 1024;

/// What h2 takes of a stream's response before its client does, whatever windows the client gives: 64 KiB, a piece as
/// pingora reads it. (Its own 400 KiB, on each of a hundred streams, would be 40 MiB for one client that does not read.)
const SEND_BUFFER: usize = 64 * 1024;

/// So many requests of a connection of HTTP/2 may be so malformed that pingora refuses them before we hear of them: as many
/// as it would let pass itself. A connection that speaks for many may have a hundred times as many.
const MALFORMED: u32 = 32;
const MALFORMED_OF_MANY: u32 = 100 * MALFORMED;

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
            .max_header_list_size(list.max(LEAST_LIST))
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(connection_window(rules.limits.http2_streams))
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

    /// Serves a client's connection of HTTP/2 until it ends; once `ending` changes, no further request is taken. pingora
    /// would do so itself, and cut a connection that speaks for many for what a few of them did: there, whoever `ends_gently`
    /// tells is told first, and it is cut at twice as much.
    pub(super) async fn serve_http2(
        self: Arc<Self>,
        stream: Stream,
        ends_gently: Option<Arc<Notify>>,
        unmatched: Unmatched,
        mut ending: ShutdownWatch,
    ) {
        let digest = Arc::new(Digest {
            ssl_digest: stream.get_ssl_digest(),
            timing_digest: stream.get_timing_digest(),
            proxy_digest: stream.get_proxy_digest(),
            socket_digest: stream.get_socket_digest(),
        });
        let Ok(mut connection) = handshake(stream, Some(self.http2.clone())).await else { return };
        let most = if ends_gently.is_some() { 2 * MALFORMED_OF_MANY } else { MALFORMED };
        let (mut malformed, mut is_ending) = (0, false);
        loop {
            let accepted = tokio::select! {
                biased;
                _ = ending.changed(), if !is_ending => {
                    connection.graceful_shutdown();
                    is_ending = true;
                    continue;
                }
                // This is what drives the connection as a whole.
                accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => accepted,
            };
            match accepted {
                Ok(Some(H2Accept::Session(session))) => {
                    let (served, ending) = (Arc::clone(&self), ending.clone());
                    drop(tokio::spawn(async move {
                        served.process_new_http(ServerSession::new_http2(session), &ending).await;
                    }));
                }
                Ok(Some(H2Accept::Rejected)) => {
                    if let Some(digest) = &digest.proxy_digest {
                        Connection::refused(digest);
                    }
                    // It got 400 or a reset: pingora does not say which.
                    unmatched.count(None, Some("this request is malformed"), digest.socket_digest.as_deref());
                    malformed += 1;
                    if malformed == most {
                        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                    } else if malformed == MALFORMED_OF_MANY
                        && let Some(ends) = &ends_gently
                    {
                        ends.notify_one();
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    debug!(%error, "connection of HTTP/2 ended");
                    return;
                }
            }
        }
    }
}

/// The window of a connection that may have so many streams at a time.
const fn connection_window(streams: u32) -> u32 {
    let all = streams.saturating_mul(STREAM_WINDOW);
    if all < LARGEST_WINDOW { all } else { LARGEST_WINDOW }
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
