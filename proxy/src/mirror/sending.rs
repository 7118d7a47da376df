//! The thread that sends the copies, and reads as much of the answers as is compared.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use config::{Protocol, Rules};
use http::{Method, StatusCode};
use meter::Class;
use pingora_core::connectors::TransportConnector;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::{HttpPeer, Peer};
use pingora_error::Error;
use pingora_http::RequestHeader;
use tokio::sync::mpsc;

use super::ledger::Place;
use super::pair::{Answer, End, Half, code_of};
use super::print::{LOOKED_AT, Print};
use crate::attempt::{class_of, class_of_connect, malformed};
use crate::client_stream::head_check::HeadLimits;
use crate::endpoint::{Endpoint, State};
use crate::response_check::ResponseCheck;
use crate::routing::Version;
use crate::scheme;
use crate::upstream_stream::{Asked, Link, Pool};

/// Who takes the copies.
pub(crate) type Deliveries = mpsc::Receiver<Delivery>;

/// A copy that is whole.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(super) half: Half,
    pub(super) head: RequestHeader,
    pub(super) body: Vec<Bytes>,
    pub(super) canary: Arc<Version>,
    pub(super) rules: Arc<Rules>,
    /// For all of it.
    pub(super) timeout: Duration,
    pub(super) place: Place,
}

/// How much less than a core that serves this thread gets where both want the same processor, in the steps of `nice`.
const NICE: i32 = 10;

/// The connections of all copies, which no request has.
struct Connections {
    connector: Connector,
    /// Those of HTTP/1.1 that wait.
    pool: Arc<Pool>,
}

/// Sends the copies that come, until nobody is left who hands any over. To be run on a thread of its own, which makes
/// way for those that serve.
pub(crate) async fn run(mut deliveries: Deliveries) {
    make_way();
    let pool = Arc::new(Pool::new(Arc::new(TransportConnector::new(None))));
    let connections = Arc::new(Connections { connector: Connector::new(None), pool });
    while let Some(delivery) = deliveries.recv().await {
        let connections = Arc::clone(&connections);
        drop(tokio::spawn(async move { delivery.send(&connections).await }));
    }
}

/// Why there is no whole answer.
#[derive(Debug, Clone, Copy)]
struct Broken {
    class: Class,
    /// The connection came from the pool, and ended before anything was answered: it may have been closed long ago.
    is_stale: bool,
}

impl Delivery {
    async fn send(self, connections: &Connections) {
        let asked = tokio::time::timeout(self.timeout, self.ask(connections)).await;
        let Self { half, place, .. } = self;
        drop(place);
        let end = match asked {
            Ok(Ok(answer)) => End::Answered(answer),
            // Our own trouble, such as no descriptors, is none of the canary's.
            Ok(Err(Class::Local)) => End::Unknown,
            Ok(Err(class)) => End::Failed(class),
            // Stable has taken as long: how long both would have taken nobody knows.
            Err(_) if half.pair.stable.get().is_none() => End::Unknown,
            Err(_) => End::Failed(Class::Timeout),
        };
        if matches!(end, End::Answered(_)) {
            half.ledger.meter.answered();
        }
        half.end(end);
    }

    /// The canary's answer, or what it came to instead.
    async fn ask(&self, connections: &Connections) -> Result<Answer, Class> {
        // Health checks and what users' requests came to are believed; nothing here adds to them.
        let at = open_endpoint(&self.canary, Instant::now()).ok_or(Class::ConnectError)?;
        // What must not be sent twice goes on a connection of its own, which cannot be found closed.
        let may_repeat = self.head.method.is_idempotent();
        match self.ask_once(connections, at, !may_repeat).await {
            Err(Broken { is_stale: true, .. }) if may_repeat => {
                self.ask_once(connections, at, true).await.map_err(|broken| broken.class)
            }
            asked => asked.map_err(|broken| broken.class),
        }
    }

    /// `is_apart`: on a connection that nothing else has had or will have.
    async fn ask_once(&self, connections: &Connections, at: &Arc<Endpoint>, is_apart: bool) -> Result<Answer, Broken> {
        let no_connection = |error: Box<Error>| Broken { class: class_of_connect(&error.into_up()), is_stale: false };
        let Connections { connector, pool } = connections;
        let (peer, link) = self.way_to(pool, at, is_apart);
        let (mut session, reused) = connector.get_http_session(&*peer).await.map_err(no_connection)?;
        let reused = link.map_or(reused, |link| link.is_reused());
        let agrees = match self.canary.protocol {
            Protocol::H1 => session.as_http1().is_some(),
            Protocol::H2 | Protocol::H2c => session.as_http2().is_some(),
        };
        if !agrees {
            return Err(Broken { class: Class::ConnectError, is_stale: false });
        }
        let exchanged = self.exchange(&mut session, at).await;
        match &exchanged {
            Ok((_, true)) => connector.release_http_session(session, &*peer, peer.idle_timeout()).await,
            Ok((_, false)) | Err(_) => session.shutdown().await,
        }
        exchanged.map(|(answer, _)| answer).map_err(|(class, is_early)| Broken { class, is_stale: reused && is_early })
    }

    /// What pingora connects to. In HTTP/1.1 the connection is made by a link, by which answers to copies are held to
    /// the same rules in their bytes as answers to users.
    fn way_to(&self, pool: &Arc<Pool>, at: &Arc<Endpoint>, is_apart: bool) -> (Box<HttpPeer>, Option<Arc<Link>>) {
        let outer = at.outer().map(|mut peer| {
            let is_head = self.head.method == Method::HEAD;
            let limits = HeadLimits::from(&self.rules.limits);
            // A copy has a limit of its own for all of it.
            let (silence, silence_before_the_end, uptake) = (None, None, None);
            let asked = Asked { is_head, in_chunks: false, is_apart, silence, silence_before_the_end, uptake, limits };
            let link = Link::new(pool, Arc::clone(at), asked);
            peer.options.custom_l4 = Some(Arc::clone(&link) as _);
            (peer, Some(link))
        });
        let (mut peer, link) = outer.unwrap_or_else(|| (at.peer(), None));
        if is_apart {
            peer.group_key = fastrand::u64(..);
            peer.options.idle_timeout = Some(Duration::ZERO);
        }
        (peer, link)
    }

    /// The answer, and whether it was read to its end. An error comes with whether nothing was answered at all.
    async fn exchange(&self, session: &mut HttpSession, at: &Endpoint) -> Result<(Answer, bool), (Class, bool)> {
        let class = |error: Box<Error>| {
            if let Some(malformed) = malformed(&error) {
                at.malformed(malformed.flaw);
            }
            class_of(&error.into_up())
        };
        let broken = |error| (class(error), false);
        // One that answers without reading all of it has answered; where there is no answer, reading says so.
        let written = self.write(session, at).await;
        self.read_head(session).await.map_err(|error| match (error, &written) {
            (Unanswered::Broken(error), _) => {
                // Who answers something, whatever it is, has not closed the connection long ago.
                let is_early = malformed(&error).is_none();
                (class(error), is_early)
            }
            (Unanswered::Misspoken, _) => (Class::ProtocolError, false),
        })?;
        let mut body = Print::new();
        let mut is_whole = true;
        while let Some(piece) = session.read_response_body().await.map_err(broken)? {
            body.take(&piece);
            // Longer than stable's: what else comes changes nothing.
            if body.length() > self.half.pair.length_of_stable().unwrap_or(LOOKED_AT) {
                is_whole = false;
                break;
            }
        }
        let trailers = match session {
            HttpSession::H2(http2) if is_whole => http2.read_trailers().await.map_err(broken)?,
            HttpSession::H1(_) | HttpSession::H2(_) | HttpSession::Custom(()) => None,
        };
        let head = session.response_header().ok_or((Class::ProtocolError, false))?;
        let (status, fields) = (head.status.as_u16(), head.headers.clone());
        let grpc = code_of(&fields, trailers.as_ref());
        // What was not taken of the body would be found by the next.
        let is_clean = is_whole && written.is_ok();
        Ok((Answer { status, grpc, fields, body: body.printed() }, is_clean))
    }

    async fn write(&self, session: &mut HttpSession, at: &Endpoint) -> Result<(), Box<Error>> {
        let mut head = Box::new(self.head.clone());
        match session {
            HttpSession::H1(http1) => {
                http1.write_request_header(head).await?;
                for piece in &self.body {
                    http1.write_body(piece).await?;
                }
                http1.finish_body().await?;
            }
            HttpSession::H2(http2) => {
                let mut target = head.uri.clone();
                scheme::speak(&mut target, at.dialled());
                head.set_uri(target);
                http2.write_request_header(head, self.body.is_empty())?;
                for (place, piece) in self.body.iter().enumerate() {
                    http2.write_request_body(piece.clone(), place + 1 == self.body.len()).await?;
                }
            }
            HttpSession::Custom(()) => {}
        }
        Ok(())
    }

    /// Reads heads until the one that counts.
    async fn read_head(&self, session: &mut HttpSession) -> Result<(), Unanswered> {
        let mut heads = ResponseCheck::default();
        loop {
            session.read_response_header().await.map_err(Unanswered::Broken)?;
            let head = session.response_header().ok_or(Unanswered::Misspoken)?;
            heads.head(head, &self.rules).map_err(|_| Unanswered::Misspoken)?;
            if !head.status.is_informational() {
                return Ok(());
            }
            // Nobody asked for another protocol. HTTP/2 brings no interim heads to here.
            if head.status == StatusCode::SWITCHING_PROTOCOLS || session.as_http2().is_some() {
                return Err(Unanswered::Misspoken);
            }
        }
    }
}

/// Why there is no head.
enum Unanswered {
    Broken(Box<Error>),
    Misspoken,
}

/// Copies may wait, and requests may not.
fn make_way() {
    // Linux knows a priority for each thread, elsewhere it is that of the whole process. An error leaves it as it was.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
}

/// One of the endpoints that take requests, at random: those that are well, and those that may be tried again.
fn open_endpoint(version: &Version, now: Instant) -> Option<&Arc<Endpoint>> {
    let is_open = |endpoint: &&Arc<Endpoint>| {
        let standing = endpoint.standing(now);
        match standing.state {
            State::Well => true,
            State::Down => standing.next_try.is_none_or(|at| at <= now),
            State::Unhealthy | State::Ejected => false,
        }
    };
    let open: Vec<_> = version.endpoints.iter().filter(is_open).collect();
    fastrand::choice(open)
}
