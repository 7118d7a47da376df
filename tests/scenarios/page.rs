//! An origin of what browsers ask for: a page with all that belongs to it, and a WebSocket.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

const PAGE: &str = include_str!("page/page.html");
const SCRIPT: &str = include_str!("page/script.js");
const STYLE: &str = "body { background: url(/ground.svg) }";
const IMAGE: &str = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><rect width='9' height='9'/></svg>";

/// An origin on a free port. It serves a page, counts what is posted to `/upload`, keeps what is posted to `/report`,
/// sends an event at `/events`, and says each message of a WebSocket again, with its own name before it.
#[derive(Debug)]
pub(crate) struct PageOrigin {
    address: SocketAddr,
    report: Arc<Mutex<Option<Value>>>,
    _runtime: Runtime,
}

impl PageOrigin {
    pub(crate) fn start(name: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let (address, report) = (listener.local_addr().unwrap(), Arc::default());
        let (name, reported) = (name.to_owned(), Arc::clone(&report));
        drop(runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(tokio::spawn(serve(stream, name.clone(), Arc::clone(&reported))));
            }
        }));
        Self { address, report, _runtime: runtime }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was posted to `/report`, once.
    pub(crate) fn report(&self) -> Option<Value> {
        self.report.lock().unwrap().take()
    }
}

/// Serves the one request of a connection. Its end is that of the connection, whatever went wrong.
async fn serve(mut stream: TcpStream, name: String, report: Arc<Mutex<Option<Value>>>) -> Option<()> {
    let mut first = [0; 12];
    // A WebSocket is recognised before anything of it is taken.
    while stream.peek(&mut first).await.ok()? < first.len() {
        tokio::task::yield_now().await;
    }
    if first.starts_with(b"GET /socket ") {
        let mut socket = accept_async(stream).await.ok()?;
        while let Some(Ok(Message::Text(said))) = socket.next().await {
            socket.send(Message::text(format!("{name}: {said}"))).await.ok()?;
        }
        return Some(());
    }
    let (path, body) = request(&mut stream).await?;
    let (kind, answer) = match path.as_str() {
        "/" => ("text/html", PAGE.to_owned()),
        "/script.js" => ("text/javascript", SCRIPT.to_owned()),
        "/style.css" => ("text/css", STYLE.to_owned()),
        "/upload" => ("text/plain", body.len().to_string()),
        "/events" => ("text/event-stream", "data: the tide turns\n\n".to_owned()),
        "/report" => {
            *report.lock().unwrap() = serde_json::from_slice(&body).ok();
            ("text/plain", String::new())
        }
        _ => ("image/svg+xml", IMAGE.to_owned()),
    };
    let length = answer.len();
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all((head + &answer).as_bytes()).await.ok()
}

/// The path and the body of a request; the body has a length.
async fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut taken = Vec::new();
    let end = loop {
        if let Some(end) = taken.windows(4).position(|end| end == b"\r\n\r\n") {
            break end + 4;
        }
        (stream.read_buf(&mut taken).await.ok()? > 0).then_some(())?;
    };
    let head = String::from_utf8(taken[..end].to_vec()).ok()?.to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(Some(0), |length| length.trim().parse::<usize>().ok())?;
    while taken.len() < end + length {
        (stream.read_buf(&mut taken).await.ok()? > 0).then_some(())?;
    }
    Some((head.split(' ').nth(1)?.to_owned(), taken.split_off(end)))
}
