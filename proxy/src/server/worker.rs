//! One core: a thread with a runtime, a proxy and a pool of its own.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pingora_core::apps::{HttpServerApp, HttpServerOptions};
use pingora_core::connectors::TransportConnector;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tracing::debug;

use super::Stop;
use super::acceptor::{Accepted, AcceptedStream};
use super::arrival::Arrival;
use super::clients::Clients;
use super::refusals::Refusals;
use super::served::Served;
use crate::client_stream::{BegunHeads, Unmatched};
use crate::descriptors::Descriptors;
use crate::edge::Edge;
use crate::mirror::Outbox;
use crate::passes::Instance;
use crate::retries::ATTEMPTS;
use crate::routing::Reader;
use crate::transport::{Socket, Wire};
use crate::upstream_stream::Pool;
use crate::warming::{Warmer, Warming};

/// What serves on one core.
pub(super) struct Worker {
    pub(super) core: usize,
    pub(super) reader: Reader,
    pub(super) clients: Clients,
    pub(super) leaving: Arc<AtomicBool>,
    pub(super) outbox: Outbox,
    pub(super) connector: Arc<TransportConnector>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) instance: Instance,
}

impl Worker {
    /// Serves the connections that come, until the end.
    pub(super) fn serve(
        self,
        runtime: &Runtime,
        mut connections: mpsc::Receiver<Accepted>,
        to_warm: mpsc::Receiver<Warming>,
        mut stopped: watch::Receiver<Stop>,
    ) {
        runtime.block_on(async {
            let pool = Arc::new(Pool::new(Arc::clone(&self.connector)));
            let proxy = Arc::new(self.proxy(&pool));
            drop(tokio::spawn(Warmer::new(pool, &proxy).run(to_warm)));
            let rules = Arc::clone(&self.reader.routing.load().rules);
            let mut served = Arc::new(Served::new(Arc::clone(&proxy), rules));
            let (draining, shutdown) = watch::channel(false);
            let heads = BegunHeads::default();
            loop {
                tokio::select! {
                    connection = connections.recv() => match connection {
                        Some(accepted) => self.begin(accepted, &proxy, &mut served, (&shutdown, &heads)),
                        // The acceptor has ended; what is open goes on.
                        None => break,
                    },
                    _ = stopped.wait_for(|stop| *stop >= Stop::Drain) => break,
                }
            }
            // An error means that the data plane was dropped.
            let _ = stopped.wait_for(|stop| *stop >= Stop::Drain).await;
            let _ = draining.send(true);
            // Whose head has come in part does not idle: it could not send it again. What comes meanwhile is served as well.
            let longest = self.reader.routing.load().rules.timeouts.head;
            let mut heads_have_come = pin!(heads.none(longest));
            loop {
                tokio::select! {
                    biased;
                    _ = stopped.wait_for(|stop| *stop == Stop::Now) => break,
                    () = &mut heads_have_come => break,
                    Some(accepted) = connections.recv() => self.begin(accepted, &proxy, &mut served, (&shutdown, &heads)),
                }
            }
            proxy.http_cleanup().await;
            // Connections that were accepted and not begun yet are served too: no client is reset.
            while let Some(accepted) = connections.recv().await {
                self.begin(accepted, &proxy, &mut served, (&shutdown, &heads));
            }
            let _ = stopped.wait_for(|stop| *stop == Stop::Now).await;
        });
    }

    fn proxy(&self, pool: &Arc<Pool>) -> HttpProxy<Edge> {
        let conf = ServerConf {
            threads: 1,
            max_retries: ATTEMPTS,
            // For all endpoints of this core that speak HTTP/2 together.
            upstream_keepalive_pool_size: 1024,
            ..ServerConf::default()
        };
        let edge = Edge {
            core: self.core,
            routing: Arc::clone(&self.reader.routing),
            unmatched: Arc::clone(&self.reader.unmatched),
            log: self.reader.log.clone(),
            deadlines: self.reader.under_way.on(self.core),
            pool: Arc::clone(pool),
            leaving: Arc::clone(&self.leaving),
            outbox: self.outbox.clone(),
            instance: self.instance.clone(),
            shortage: self.reader.shortage.clone(),
            refusals: Arc::clone(&self.refusals),
            most_of_one_client: Descriptors::of_this_process().of_one_client(),
        };
        let mut proxy = http_proxy(&Arc::new(conf), edge);
        let mut options = HttpServerOptions::default();
        // So that it comes to us to be refused: pingora would answer in its own name and tell nobody.
        options.allow_connect_method_proxying = true;
        proxy.server_options = Some(options);
        proxy
    }

    /// Begins a connection under the rules as they are now.
    fn begin(
        &self,
        accepted: Accepted,
        proxy: &Arc<HttpProxy<Edge>>,
        served: &mut Arc<Served>,
        (shutdown, heads): (&watch::Receiver<bool>, &BegunHeads),
    ) {
        let routing = self.reader.routing.load();
        if !served.is_under(&routing.rules) {
            *served = Arc::new(Served::new(Arc::clone(proxy), Arc::clone(&routing.rules)));
        }
        let Accepted { stream, peer, kind, counted, seat } = accepted;
        let socket = match wire(stream) {
            Ok(wire) => Socket::new(wire),
            Err(error) => {
                debug!(?peer, %error, "connection lost before it began");
                return;
            }
        };
        let (meter, log) = (Arc::clone(&self.reader.unmatched), self.reader.unread());
        let unmatched = Unmatched { meter, core: self.core, log };
        let arrival =
            Arrival { socket, peer, kind, seat, unmatched, heads: heads.clone(), clients: self.clients.clone() };
        let (served, shutdown) = (Arc::clone(served), shutdown.clone());
        drop(tokio::spawn(async move {
            let _counted = counted;
            arrival.serve(&served, shutdown).await;
        }));
    }
}

/// A socket of this core's runtime.
fn wire(stream: AcceptedStream) -> std::io::Result<Wire> {
    match stream {
        AcceptedStream::Tcp(stream) => {
            // Without a delay a response leaves when it is written; it is gathered by the stream itself.
            stream.set_nodelay(true)?;
            TcpStream::from_std(stream).map(Wire::Tcp)
        }
        AcceptedStream::Unix(stream) => UnixStream::from_std(stream).map(Wire::Unix),
    }
}
