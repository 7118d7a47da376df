//! Who uses the site: patient and impatient, with HTTP/1.1, HTTP/2, posts, event streams, slow readers and WebSockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use futures::{SinkExt, StreamExt};
use loadtest::{Load, LoadReport, Protocol, Rate, RunningLoad, Spacing, failures};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use ureq::http::Method;

/// Longer than anything a client waits for.
const LONG: Duration = Duration::from_secs(40);

/// Everybody who uses the site.
pub(crate) struct Crowd {
    /// Who asks for what may be asked for again: no failure is excusable but of replies that had begun.
    users: Vec<RunningLoad>,
    /// Who posts: what breaks under way is told them.
    posters: RunningLoad,
    /// Who leaves after a few milliseconds.
    impatient: RunningLoad,
    counts: Arc<Counts>,
}

/// What became of those who stay long.
#[derive(Debug, Default)]
struct Counts {
    sockets: AtomicU64,
    sockets_failed: AtomicU64,
    streams: AtomicU64,
    streams_cut: AtomicU64,
    readers: AtomicU64,
    readers_cut: AtomicU64,
}

/// What everybody got so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// Requests of those whose failures count.
    pub(crate) requests: u64,
    /// How many of them failed.
    pub(crate) failed: u64,
    /// The same by reason.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// Requests that were due and could not be sent.
    pub(crate) not_sent: u64,
    pub(crate) posts: u64,
    pub(crate) posts_failed: u64,
    pub(crate) left: u64,
    pub(crate) sockets: u64,
    pub(crate) sockets_failed: u64,
    pub(crate) streams: u64,
    pub(crate) streams_cut: u64,
    pub(crate) readers: u64,
    pub(crate) readers_cut: u64,
}

impl Crowd {
    /// Lets everybody come. `rate` is that of the users over HTTP/1.1, requests a second.
    pub(crate) fn open(address: SocketAddr, rate: f64, seed: u64, runtime: &Runtime) -> anyhow::Result<Self> {
        let load = |rate: f64, change: &dyn Fn(&mut Load)| {
            let rate = Rate::per_second(rate)?;
            let mut load = Load { rate, seed, spacing: Spacing::Poisson, grace: LONG, ..Load::new(address) };
            change(&mut load);
            load.start()
        };
        let users = vec![load(rate, &|_| {})?, load(rate / 5.0, &|load| load.protocol = Protocol::H2c)?];
        let posters = load(rate / 10.0, &|load| {
            (load.method, load.body) = (Method::POST, vec![b'x'; 2_000].into());
        })?;
        let impatient = load(rate / 10.0, &|load| load.timeout = Some(Duration::from_millis(4)))?;
        let counts = Arc::<Counts>::default();
        for _ in 0..10 {
            runtime.spawn(again(address, Arc::clone(&counts), chat, |it, is_well| {
                it.sockets.fetch_add(1, Ordering::Relaxed);
                it.sockets_failed.fetch_add(u64::from(!is_well), Ordering::Relaxed);
            }));
            runtime.spawn(again(address, Arc::clone(&counts), listen, |it, is_well| {
                it.streams.fetch_add(1, Ordering::Relaxed);
                it.streams_cut.fetch_add(u64::from(!is_well), Ordering::Relaxed);
            }));
            runtime.spawn(again(address, Arc::clone(&counts), read_slowly, |it, is_well| {
                it.readers.fetch_add(1, Ordering::Relaxed);
                it.readers_cut.fetch_add(u64::from(!is_well), Ordering::Relaxed);
            }));
        }
        Ok(Self { users, posters, impatient, counts })
    }

    /// What everybody got so far.
    pub(crate) fn found(&self) -> Found {
        found(
            self.users.iter().map(RunningLoad::report),
            &self.posters.report(),
            &self.impatient.report(),
            &self.counts,
        )
    }

    /// Sends everybody home, and waits for what is under way.
    pub(crate) fn close(self) -> Found {
        let users: Vec<LoadReport> = self.users.into_iter().map(RunningLoad::stop).collect();
        found(users.into_iter(), &self.posters.stop(), &self.impatient.stop(), &self.counts)
    }
}

fn found(
    users: impl Iterator<Item = LoadReport>,
    posters: &LoadReport,
    impatient: &LoadReport,
    counts: &Counts,
) -> Found {
    let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let mut found = Found {
        posts: posters.sent,
        posts_failed: failures(posters),
        left: impatient.timeouts,
        sockets: get(&counts.sockets),
        sockets_failed: get(&counts.sockets_failed),
        streams: get(&counts.streams),
        streams_cut: get(&counts.streams_cut),
        readers: get(&counts.readers),
        readers_cut: get(&counts.readers_cut),
        ..Found::default()
    };
    for report in users {
        found.requests += report.sent;
        found.failed += failures(&report);
        found.not_sent += report.not_sent;
        let statuses = report.by_status.range(500..).map(|(status, count)| (format!("status {status}"), *count));
        let broken = report.failed_by_reason.iter().map(|(reason, count)| ((*reason).to_owned(), *count));
        let open = [("unfinished".to_owned(), report.unfinished), ("timed out".to_owned(), report.timeouts)];
        for (reason, count) in statuses.chain(broken).chain(open).filter(|(_, count)| *count > 0) {
            *found.reasons.entry(reason).or_default() += count;
        }
    }
    found
}

/// Does this again and again, and counts each time whether it ended well.
async fn again<F>(
    address: SocketAddr,
    counts: Arc<Counts>,
    what: impl Fn(SocketAddr) -> F,
    count: impl Fn(&Counts, bool),
) where
    F: Future<Output = anyhow::Result<()>>,
{
    loop {
        let is_well = matches!(timeout(LONG, what(address)).await, Ok(Ok(())));
        count(&counts, is_well);
        sleep(Duration::from_millis(50)).await;
    }
}

/// Some messages over a WebSocket, each of which comes back.
async fn chat(address: SocketAddr) -> anyhow::Result<()> {
    let (mut socket, _) = client_async("ws://site/socket", TcpStream::connect(address).await?).await?;
    for number in 0..20 {
        let said = Message::text(format!("message {number}"));
        socket.send(said.clone()).await?;
        ensure!(socket.next().await.transpose()? == Some(said), "the wrong message came back");
        sleep(Duration::from_millis(200)).await;
    }
    socket.close(None).await?;
    while let Some(Ok(_)) = socket.next().await {}
    Ok(())
}

/// Some seconds of a stream of events.
async fn listen(address: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let head = "GET /sse/40 HTTP/1.1\r\nhost: site\r\naccept: text/event-stream\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await?;
    ensure!(heard.contains("event 40"), "the stream was cut");
    Ok(())
}

/// Half a megabyte, taken a little at a time.
async fn read_slowly(address: SocketAddr) -> anyhow::Result<()> {
    const SIZE: usize = 512 * 1024;
    let mut stream = TcpStream::connect(address).await?;
    let head = format!("POST /echo HTTP/1.1\r\nhost: site\r\nconnection: close\r\ncontent-length: {SIZE}\r\n\r\n");
    let (mut reads, mut writes) = stream.split();
    let send = async {
        writes.write_all(head.as_bytes()).await?;
        writes.write_all(&vec![b'x'; SIZE]).await
    };
    let take = async {
        let (mut taken, mut piece) = (0, vec![0; 16 * 1024]);
        loop {
            match reads.read(&mut piece).await? {
                0 => return std::io::Result::Ok(taken),
                read => taken += read,
            }
            sleep(Duration::from_millis(30)).await;
        }
    };
    let (_, taken) = tokio::try_join!(send, take)?;
    ensure!(taken > SIZE, "the answer was cut after {taken} bytes");
    Ok(())
}
