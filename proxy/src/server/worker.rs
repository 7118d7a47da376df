//! One core: a thread with a runtime, a proxy and a pool of its own.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pingora_core::apps::{HttpServerApp, HttpServerOptions, ServerApp};
use pingora_core::protocols::SocketDigest;
use pingora_core::protocols::http::v2::server::default_h2_options;
use pingora_core::protocols::l4::socket::SocketAddr as PingoraAddress;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tracing::debug;

use super::Stop;
use crate::client_stream::{ClientStream, ClientTimeouts, Unmatched};
use crate::deadlines::Deadlines;
use crate::edge::{ATTEMPTS, Edge};
use crate::routing::Reader;
use crate::transport::Transport;

/// A connection on its way to its core, counted from the moment it was accepted.
pub(super) type Accepted = (std::net::TcpStream, SocketAddr, Counted);

/// What serves on one core.
pub(super) struct Worker {
    pub(super) core: usize,
    pub(super) reader: Reader,
    pub(super) client: ClientTimeouts,
    pub(super) leaving: Arc<AtomicBool>,
}

/// Counts a connection, for its core and in all, until it ends, however it ends.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicU64>, Arc<AtomicU64>);

impl Counted {
    pub(super) fn new(load: &Arc<AtomicU64>, open: &Arc<AtomicU64>) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load), Arc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Worker {
    /// Serves the connections that come, until the end.
    pub(super) fn serve(
        self,
        runtime: &Runtime,
        mut connections: mpsc::Receiver<Accepted>,
        mut stopped: watch::Receiver<Stop>,
    ) {
        runtime.block_on(async {
            let proxy = Arc::new(self.proxy());
            let (draining, shutdown) = watch::channel(false);
            loop {
                tokio::select! {
                    connection = connections.recv() => match connection {
                        Some(accepted) => self.begin(accepted, &proxy, &shutdown),
                        // The acceptor has ended; what is open goes on.
                        None => break,
                    },
                    _ = stopped.wait_for(|stop| *stop > Stop::Serve) => break,
                }
            }
            let _ = draining.send(true);
            proxy.http_cleanup().await;
            // Connections that were accepted and not begun yet are served too: no client is reset.
            while let Some(accepted) = connections.recv().await {
                self.begin(accepted, &proxy, &shutdown);
            }
            let _ = stopped.wait_for(|stop| *stop == Stop::Now).await;
        });
    }

    fn proxy(&self) -> HttpProxy<Edge> {
        let conf = ServerConf {
            threads: 1,
            max_retries: ATTEMPTS,
            // For all endpoints of this core together.
            upstream_keepalive_pool_size: 1024,
            ..ServerConf::default()
        };
        let edge = Edge {
            core: self.core,
            routing: Arc::clone(&self.reader.routing),
            unmatched: Arc::clone(&self.reader.unmatched),
            keepalive: self.client.idle,
            deadlines: Deadlines::default(),
            leaving: Arc::clone(&self.leaving),
        };
        let mut proxy = http_proxy(&Arc::new(conf), edge);
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(Duration::from_secs(300));
        proxy.server_options = Some(options);
        proxy.h2_options = Some(default_h2_options());
        proxy
    }

    fn begin(&self, (stream, peer, counted): Accepted, proxy: &Arc<HttpProxy<Edge>>, shutdown: &watch::Receiver<bool>) {
        // Without a delay a response leaves when it is written; it is gathered by the stream itself.
        let stream = match stream.set_nodelay(true).and_then(|()| TcpStream::from_std(stream)) {
            Ok(stream) => stream,
            Err(error) => {
                debug!(%peer, %error, "connection lost before it began");
                return;
            }
        };
        let id = stream.as_raw_fd();
        let digest = SocketDigest::from_raw_fd(id);
        // Known already: pingora need not ask the system.
        let _ = digest.peer_addr.set(Some(PingoraAddress::Inet(peer)));
        let unmatched = Unmatched { meter: Arc::clone(&self.reader.unmatched), core: self.core };
        let limits = &self.reader.routing.load().rules.limits;
        let mut stream = ClientStream::new(Transport::Tcp(stream), id, Some(Arc::new(digest)), self.client, unmatched)
            .with_limits(limits);
        let (proxy, shutdown) = (Arc::clone(proxy), shutdown.clone());
        drop(tokio::spawn(async move {
            let _counted = counted;
            if has_begun(&mut stream, shutdown.clone()).await {
                proxy.process_new(Box::new(stream), &shutdown).await;
            }
        }));
    }
}

/// Waits for a connection's first bytes; false where it ends without any. A connection that has said nothing is idle: it
/// ends with the process, and one that was accepted as the process ends has a moment to begin.
async fn has_begun(stream: &mut ClientStream<Transport>, mut shutdown: watch::Receiver<bool>) -> bool {
    const MOMENT: Duration = Duration::from_secs(1);
    if *shutdown.borrow() {
        return tokio::time::timeout(MOMENT, stream.learn_protocol()).await.is_ok_and(|learnt| learnt.is_ok());
    }
    tokio::select! {
        biased;
        learnt = stream.learn_protocol() => learnt.is_ok(),
        () = async { drop(shutdown.wait_for(|ending| *ending).await) } => false,
    }
}
