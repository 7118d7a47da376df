use std::time::{Duration, Instant};

use http::header;
use pingora_core::connectors::{L4Connect, TransportConnector};
use pingora_core::protocols::Stream;
use pingora_core::protocols::l4::socket::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;

use super::*;
use crate::client_stream::head_check::HeadLimits;
use crate::endpoint::{Address, Care, Contact, Endpoint};
use crate::told::Told;

const LONG: Duration = Duration::from_secs(20);
const HEAD: &[u8] = b"PUT / HTTP/1.1\r\nhost: a\r\n\r\n";

/// An endpoint on this port of this machine.
fn endpoint(port: u16) -> Arc<Endpoint> {
    let written = config::Endpoint::Tcp { host: "127.0.0.1".into(), port, tls: false };
    let (address, care) = (Address::Tcp(([127, 0, 0, 1], port).into()), Arc::new(Care::usual(1)));
    Arc::new(Endpoint::new(written, address, 0, &Contact::plain(), &care, Instant::now()))
}

fn asked(in_chunks: bool, is_apart: bool) -> Asked {
    let limits = HeadLimits::default();
    Asked { is_head: false, in_chunks, is_apart, silence: None, silence_before_the_end: None, uptake: None, limits }
}

fn pool() -> Arc<Pool> {
    Arc::new(Pool::new(Arc::new(TransportConnector::new(None))))
}

/// A way to an endpoint, for a request whose body may be sent in chunks, or not.
fn link(in_chunks: bool) -> Arc<Link> {
    Link::new(&pool(), endpoint(1), asked(in_chunks, false))
}

/// A connection that carries one request, and its endpoint's side.
struct World {
    stream: UpstreamStream,
    endpoint: DuplexStream,
    link: Arc<Link>,
}

impl World {
    /// Its request's head was sent. `in_chunks`: its body may be sent in chunks.
    async fn of(in_chunks: bool) -> Self {
        let (ours, endpoint) = duplex(4 * GATHER);
        let link = link(in_chunks);
        let stream = UpstreamStream::new(Line::from(Box::new(ours) as Stream), Arc::clone(&link));
        let mut world = Self { stream, endpoint, link };
        world.stream.write_all(HEAD).await.unwrap();
        assert_eq!(world.came().await, HEAD.len());
        world
    }

    /// One whose response has come and was read to its end.
    async fn answered() -> Self {
        let mut world = Self::of(true).await;
        world.answer().await;
        assert!(world.stream.read_to_end(&mut Vec::new()).await.unwrap() > 2);
        world
    }

    async fn answer(&mut self) {
        self.endpoint.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    }

    /// What has come to the endpoint.
    async fn came(&mut self) -> usize {
        let (mut came, mut buffer) = (0, vec![0; GATHER]);
        while let Ok(count) = tokio::time::timeout(Duration::ZERO, self.endpoint.read(&mut buffer)).await {
            came += count.unwrap();
        }
        came
    }

    /// How many connections wait once the request is over.
    fn kept(self) -> usize {
        let Self { stream, endpoint: _endpoint, link } = self;
        drop(stream);
        link.pool.waiting(link.at.pool_key())
    }
}

#[tokio::test]
async fn a_connection_waits_for_the_next_request_where_its_response_was_read_beyond_its_end() {
    assert_eq!(World::answered().await.kept(), 1);
    let mut cut = World::of(true).await;
    cut.answer().await;
    cut.stream.read_exact(&mut [0; 20]).await.unwrap();
    assert_eq!(cut.kept(), 0);
}

#[tokio::test]
async fn a_connection_that_was_ended_or_owes_a_part_of_its_request_waits_for_none() {
    let mut ended = World::answered().await;
    ended.stream.shutdown().await.unwrap();
    assert_eq!(ended.kept(), 0);
    let mut owing = World::answered().await;
    owing.stream.write_all(b"5\r\n").await.unwrap();
    assert_eq!(owing.kept(), 0);
}

#[tokio::test]
async fn the_pieces_of_a_chunk_are_sent_together_with_the_flush_or_the_end_and_never_more_than_a_few_are_held() {
    let mut world = World::of(true).await;
    for piece in [&b"5\r\n"[..], b"hello", b"\r\n"] {
        world.stream.write_all(piece).await.unwrap();
    }
    assert_eq!(world.came().await, 0);
    world.stream.flush().await.unwrap();
    assert_eq!(world.came().await, 10);
    for _ in 0..=GATHER / 1024 {
        world.stream.write_all(&[b'x'; 1024]).await.unwrap();
    }
    assert_eq!(world.came().await, GATHER);
    world.stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(LONG, world.endpoint.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest.len(), 1024);
}

/// What an endpoint gets that takes so many bytes at a time, where this is told it beside what is written.
async fn sent(at_a_time: usize, told: Told, written: &[&[u8]]) -> io::Result<Vec<u8>> {
    let (ours, mut theirs) = duplex(at_a_time);
    let link = link(false);
    link.tell(told);
    let mut stream = UpstreamStream::new(Line::from(Box::new(ours) as Stream), link);
    let write = async move {
        for piece in written {
            stream.write_all(piece).await?;
        }
        stream.shutdown().await
    };
    let mut got = Vec::new();
    let (written, read) = tokio::join!(write, theirs.read_to_end(&mut got));
    written.and(read).map(|_| got)
}

#[tokio::test]
async fn what_else_an_origin_is_told_ends_its_head_however_slowly_that_is_taken() {
    for at_a_time in [1, 7, 1024] {
        let mut told = Told::nothing();
        told.tell(&header::VIA, |value| value.extend_from_slice(b"us"));
        let got = sent(at_a_time, told, &[HEAD, b"via: me\r\n\r\n"]).await.unwrap();
        let got = String::from_utf8(got).unwrap();
        assert_eq!(got, "PUT / HTTP/1.1\r\nhost: a\r\nvia: us\r\n\r\nvia: me\r\n\r\n");
    }
}

#[tokio::test]
async fn what_is_no_whole_head_is_not_sent() {
    for piece in [&b"PUT / HTTP/1.1\r\n"[..], b"\r\n", b"PUT / HTTP/1.1\r\nhost: a\r\n\r\nbody"] {
        assert!(sent(1024, Told::nothing(), &[piece]).await.is_err(), "{piece:?}");
    }
}

#[tokio::test]
async fn a_request_that_is_to_be_apart_is_given_no_connection_that_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (at, pool) = (endpoint(address.port()), pool());
    let (ours, _theirs) = duplex(64);
    pool.put(at.pool_key(), Line::from(Box::new(ours) as Stream), LONG);
    for (is_apart, is_reused, waiting) in [(true, false, 1), (false, true, 0)] {
        let link = Link::new(&pool, Arc::clone(&at), asked(false, is_apart));
        let _stream = link.connect(&SocketAddr::Inet(address)).await.unwrap();
        assert_eq!((link.is_reused(), pool.waiting(at.pool_key())), (is_reused, waiting), "apart: {is_apart}");
    }
}
