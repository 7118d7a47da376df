//! An origin that records every byte and answers with canned ones.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time;

use crate::background::{Background, Stop};
use crate::port::Port;

mod framing;

use framing::{Request, request};

/// Bytes of one connection that are recorded; what comes after them is only read.
const RECORDED: usize = 4 << 20;
/// Connections that are recorded; further ones are closed at once.
const CONNECTIONS: usize = 4096;

/// When a raw origin answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// As soon as its head is there.
    AfterHead,
    /// Once its body is there too.
    #[default]
    AfterBody,
}

/// What a raw origin does once it has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Then {
    /// Waits for the next request on the connection.
    #[default]
    KeepOpen,
    /// Closes the connection.
    Close,
    /// Ends the connection with a TCP reset.
    Reset,
}

/// The bytes that a raw origin answers one request with.
#[derive(Debug, Clone, Default)]
pub struct RawAnswer {
    /// What is sent, as it is.
    pub bytes: Bytes,
    /// When it is sent.
    pub when: When,
    /// What happens afterwards.
    pub then: Then,
}

impl RawAnswer {
    /// Sends these bytes after the whole request and keeps the connection open.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), ..Self::default() }
    }
}

/// What arrived on one connection of a raw origin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawConnection {
    /// Every byte, in order (4 MiB at most).
    pub received: Vec<u8>,
    /// How many whole requests they hold, as a strict reader counts them.
    pub requests: usize,
    /// Whether the bytes after those requests are no HTTP request: a terminator too many, for example.
    pub malformed: bool,
    /// Whether the other side has closed the connection.
    pub closed: bool,
}

/// A server that records every byte it receives and answers with canned ones: for tests of framing. Lives on a thread
/// of its own; dropping it ends it.
///
/// The n-th request, over all connections, gets the n-th answer; the last one is repeated. Without answers it is
/// silent. Bytes that are no request are recorded and never answered.
#[derive(Debug)]
pub struct RawOrigin {
    address: SocketAddr,
    seen: watch::Receiver<Vec<RawConnection>>,
    _background: Background,
}

impl RawOrigin {
    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// Where no port or no thread is left.
    pub async fn start(answers: Vec<RawAnswer>) -> io::Result<Self> {
        let port = Port::reserve((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = port.address();
        let listener = port.listen()?;
        let (record, seen) = watch::channel(Vec::new());
        let script = Arc::new(Script { answers, answered: Default::default(), record });
        let _background = Background::start("raw-origin".to_owned(), move |mut stop: Stop| async move {
            tokio::select! {
                () = accept(listener, script) => (),
                () = stop.wanted() => (),
            }
            drop(port);
        })?;
        Ok(Self { address, seen, _background })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What arrived so far, by connection in the order they were accepted.
    #[must_use]
    pub fn connections(&self) -> Vec<RawConnection> {
        self.seen.borrow().clone()
    }

    /// Waits until what arrived satisfies a condition, and returns it.
    ///
    /// # Errors
    /// What arrived instead, where the condition does not hold in time.
    pub async fn until(
        &self,
        limit: Duration,
        mut holds: impl FnMut(&[RawConnection]) -> bool,
    ) -> Result<Vec<RawConnection>, Vec<RawConnection>> {
        let mut seen = self.seen.clone();
        let found = time::timeout(limit, seen.wait_for(|all| holds(all))).await;
        match found {
            Ok(Ok(all)) => Ok(all.clone()),
            Ok(Err(_)) | Err(_) => Err(self.connections()),
        }
    }
}

/// The answers, and what was received.
struct Script {
    answers: Vec<RawAnswer>,
    answered: std::sync::atomic::AtomicUsize,
    record: watch::Sender<Vec<RawConnection>>,
}

impl Script {
    /// The answer to the request that comes now.
    fn current(&self) -> Option<&RawAnswer> {
        let number = self.answered.load(std::sync::atomic::Ordering::Relaxed);
        self.answers.get(number).or(self.answers.last())
    }

    fn advance(&self) {
        self.answered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn note(&self, connection: usize, note: impl FnOnce(&mut RawConnection)) {
        self.record.send_modify(|all| {
            if let Some(connection) = all.get_mut(connection) {
                note(connection);
            }
        });
    }
}

async fn accept(listener: std::net::TcpListener, script: Arc<Script>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let number = script.record.borrow().len();
                if number < CONNECTIONS {
                    script.record.send_modify(|all| all.push(RawConnection::default()));
                    connections.spawn(converse(stream, number, Arc::clone(&script)));
                }
            }
            Some(_) = connections.join_next() => (),
        }
    }
}

/// Reads one connection to its end and answers its requests.
async fn converse(mut stream: TcpStream, number: usize, script: Arc<Script>) {
    let mut pending = Vec::new();
    // Whether the request that `pending` begins with has its answer already.
    let mut answered = false;
    let mut buffer = [0; 16 << 10];
    loop {
        let Ok(read @ 1..) = stream.read(&mut buffer).await else {
            script.note(number, |connection| connection.closed = true);
            return;
        };
        script.note(number, |connection| {
            let room = RECORDED - connection.received.len();
            connection.received.extend_from_slice(&buffer[..read.min(room)]);
        });
        if pending.len() < RECORDED {
            pending.extend_from_slice(&buffer[..read]);
        }
        loop {
            let (due, whole) = match request(&pending) {
                Request::Partial => break,
                Request::Malformed => {
                    script.note(number, |connection| connection.malformed = true);
                    break;
                }
                Request::Head => (When::AfterHead, None),
                Request::Whole { length } => (When::AfterBody, Some(length)),
            };
            if !answered
                && let Some(answer) = script.current()
                && (answer.when == due || whole.is_some())
            {
                answered = true;
                script.advance();
                if !say(&mut stream, answer).await {
                    return;
                }
            }
            let Some(length) = whole else { break };
            pending.drain(..length);
            answered = false;
            script.note(number, |connection| connection.requests += 1);
        }
    }
}

/// Sends an answer; false where the connection is over.
async fn say(stream: &mut TcpStream, answer: &RawAnswer) -> bool {
    let sent = stream.write_all(&answer.bytes).await.is_ok();
    match answer.then {
        Then::KeepOpen => sent,
        Then::Close => {
            drop(stream.shutdown().await);
            false
        }
        Then::Reset => {
            drop(stream.set_zero_linger());
            false
        }
    }
}
