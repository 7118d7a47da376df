use std::time::Instant;

use pingora_core::connectors::{L4Connect, TransportConnector};
use pingora_core::protocols::Stream;
use pingora_core::protocols::l4::socket::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;

use super::*;
use crate::client_stream::head_check::HeadLimits;
use crate::endpoint::{Address, Care, Contact};

const LONG: Duration = Duration::from_secs(20);

/// A connection that carries one request, and its endpoint's side.
struct World {
    stream: UpstreamStream,
    endpoint: DuplexStream,
    pool: Arc<Pool>,
    at: Arc<Endpoint>,
}

/// An endpoint on this port of this machine.
fn endpoint(port: u16) -> Arc<Endpoint> {
    let written = config::Endpoint::Tcp { host: "127.0.0.1".into(), port, tls: false };
    let (address, care) = (Address::Tcp(([127, 0, 0, 1], port).into()), Arc::new(Care::usual(1)));
    Arc::new(Endpoint::new(written, address, 0, &Contact::plain(), &care, Instant::now()))
}

fn asked(in_chunks: bool, is_apart: bool) -> Asked {
    Asked { is_head: false, in_chunks, is_apart, silence: None, limits: HeadLimits::default() }
}

fn pool() -> Arc<Pool> {
    Arc::new(Pool::new(Arc::new(TransportConnector::new(None))))
}

impl World {
    /// `in_chunks`: the request's body may be sent in chunks.
    fn of(in_chunks: bool) -> Self {
        let (ours, theirs) = duplex(4 * GATHER);
        let (at, pool, line) = (endpoint(1), pool(), Line::from(Box::new(ours) as Stream));
        let stream = UpstreamStream::new(line, &asked(in_chunks, false), Arc::clone(&at), Some(Arc::clone(&pool)));
        Self { stream, endpoint: theirs, pool, at }
    }

    /// One whose response has come and was read to its end.
    async fn answered() -> Self {
        let mut world = Self::of(true);
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
        let Self { stream, endpoint: _endpoint, pool, at } = self;
        drop(stream);
        pool.waiting(at.pool_key())
    }
}

#[tokio::test]
async fn a_connection_waits_for_the_next_request_where_its_response_was_read_beyond_its_end() {
    assert_eq!(World::answered().await.kept(), 1);
    let mut cut = World::of(true);
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
    let mut world = World::of(true);
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
