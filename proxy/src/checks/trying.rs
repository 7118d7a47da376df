//! Endpoints that are down, and whose back-off is over.
//!
//! A bare connection tries them from here, TLS included, and nothing is sent. No user has to while another endpoint of the
//! version is up (docs/decisions/0061), and none does where the version has no users: a canary that was taken back would be
//! down for ever, and a rollout wait for it (docs/decisions/0055). Where no other is up, a request that comes first tries it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use config::Protocol;
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::ALPN;
use pingora_error::{Error, ErrorType, OrErr, Result};
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::asking;
use crate::attempt::class_of_connect;
use crate::endpoint::{Endpoint, Unreachable};
use crate::routing::Routing;
use crate::shortage::Shortage;

/// Connections that are tried at a time.
const AT_ONCE: usize = 64;
/// In TLS 1.3 an endpoint may refuse our certificate after the handshake, by an alert: so long it is listened for.
const LISTENS: Duration = Duration::from_millis(250);

/// What tries them.
pub(super) struct Trials {
    connector: Arc<TransportConnector>,
    turns: Arc<Semaphore>,
    shortage: Shortage,
}

impl Trials {
    pub(super) fn new(connector: &Arc<TransportConnector>, shortage: &Shortage) -> Self {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Self { connector: Arc::clone(connector), turns, shortage: shortage.clone() }
    }

    /// Tries those whose back-off is over: those first that have waited longest.
    pub(super) fn look(&self, routing: &Routing, now: Instant) {
        let endpoints = routing.versions().flat_map(|(_, version)| &version.endpoints);
        let mut untried: Vec<_> =
            endpoints.filter_map(|endpoint| Some((endpoint.untried_for(now)?, endpoint))).collect();
        untried.sort_unstable_by_key(|(untried, _)| std::cmp::Reverse(*untried));
        for (_, endpoint) in untried {
            let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() else { return };
            endpoint.is_tried(now);
            let (at, connector, shortage) = (Arc::clone(endpoint), Arc::clone(&self.connector), self.shortage.clone());
            drop(tokio::spawn(async move {
                let _turn = turn;
                attempt(&at, &connector, &shortage).await;
            }));
        }
    }
}

/// Tries one endpoint, and tells it what came of it.
async fn attempt(at: &Endpoint, connector: &TransportConnector, shortage: &Shortage) {
    let reached = timeout(at.claim(), reach(at, connector)).await;
    let now = Instant::now();
    match reached {
        Ok(Ok(())) => at.connected(now),
        // It was not tried: that says nothing of it.
        Ok(Err(error)) if class_of_connect(&error) == meter::Class::Local => shortage.felt(&error, now),
        Ok(Err(error)) => at.failed_try(Unreachable::of(&error), now),
        Err(_) => at.failed_try(Unreachable::TimedOut, now),
    }
}

/// Connects as a request would, and sends nothing.
async fn reach(at: &Endpoint, connector: &TransportConnector) -> Result<()> {
    let mut stream = asking::connect(at, connector).await?;
    if !at.written.speaks_tls() {
        return Ok(());
    }
    let agrees = match at.protocol() {
        Protocol::H1 => true,
        Protocol::H2 | Protocol::H2c => stream.selected_alpn_proto() == Some(ALPN::H2),
    };
    if !agrees {
        return Err(Error::explain(ErrorType::ConnectError, "the endpoint does not speak HTTP/2"));
    }
    match timeout(LISTENS, stream.read(&mut [0])).await {
        Ok(Err(alert)) => Err(alert).or_err(ErrorType::ConnectError, "ended in place of an answer"),
        // It waits to be asked, or speaks first as HTTP/2 does.
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}
