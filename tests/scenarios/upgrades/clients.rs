//! Clients that go on through upgrades: over TLS with connections that are kept, and WebSockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::websocket::Chat;

/// What a client does again and again until it is told to end, on a thread of its own.
pub(crate) struct Client {
    over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Client {
    fn start(mut again: impl FnMut() + Send + 'static) -> Self {
        let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ends, counts) = (Arc::clone(&over), Arc::clone(&done));
        let thread = thread::spawn(move || {
            while !ends.load(Ordering::Acquire) {
                again();
                counts.fetch_add(1, Ordering::AcqRel);
            }
        });
        Self { over, done, thread }
    }

    /// Asks over TLS, on one connection for as long as the server keeps it. What fails, fails the test.
    pub(crate) fn over_tls(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let mut kept = None;
        Self::start(move || {
            let connection = kept.take().unwrap_or_else(|| connect(address, &config));
            kept = ask(connection);
        })
    }

    /// Says something over a WebSocket that stays open, and hears it again. What fails, fails the test.
    pub(crate) fn over_websocket(address: SocketAddr) -> Self {
        let mut chat = Chat::open(address);
        Self::start(move || assert_eq!(chat.say("tide"), "v1: tide"))
    }

    /// How often it was done so far.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    /// Ends it; how often it was done. Fails the test where it failed.
    pub(crate) fn end(self) -> u64 {
        self.over.store(true, Ordering::Release);
        self.thread.join().expect("no request of this client fails");
        self.done.load(Ordering::Acquire)
    }
}

type Secure = BufReader<StreamOwned<ClientConnection, TcpStream>>;

fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Secure {
    let name = ServerName::try_from("shop.test").unwrap();
    let client = ClientConnection::new(Arc::clone(config), name).unwrap();
    let socket = TcpStream::connect(address).expect("no connection is refused");
    BufReader::new(StreamOwned::new(client, socket))
}

/// Sends a request and reads its response; the connection, where the server keeps it.
fn ask(mut connection: Secure) -> Option<Secure> {
    connection.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").expect("a request is taken");
    let (mut length, mut is_kept, mut head) = (0, true, Vec::new());
    loop {
        let mut line = String::new();
        assert!(connection.read_line(&mut line).expect("a response comes") > 0, "a response is whole: {head:?}");
        let line = line.trim_end().to_lowercase();
        if line.is_empty() {
            break;
        }
        length = line.strip_prefix("content-length: ").map_or(length, |length| length.parse().unwrap());
        is_kept &= line != "connection: close";
        head.push(line);
    }
    assert!(head[0].starts_with("http/1.1 200"), "{head:?}");
    let mut body = vec![0; length];
    connection.read_exact(&mut body).expect("a body is whole");
    is_kept.then_some(connection)
}
