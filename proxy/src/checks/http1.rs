//! A check over HTTP/1.1.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::asking::Asked;

/// The most fields that a head may have, as for responses to clients.
const FIELDS: usize = 256;
/// Interim heads before the one that counts.
const INTERIM: usize = 16;

/// The status of the answer. What follows its head is not read.
pub(super) async fn status(stream: impl AsyncRead + AsyncWrite + Unpin, asked: &Asked<'_>) -> Result<u16, String> {
    let mut heads = Heads { stream, bytes: Vec::new(), seen: 0 };
    let Asked { host, path, .. } = asked;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tidegate-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    heads.stream.write_all(request.as_bytes()).await.map_err(|error| format!("it took no request: {error}"))?;
    heads.stream.flush().await.map_err(|error| format!("it took no request: {error}"))?;
    for _ in 0..=INTERIM {
        match heads.next().await? {
            101 => return Err("it changed the protocol (101), which it was not asked for".to_owned()),
            100..200 => {}
            status => return Ok(status),
        }
    }
    Err(format!("it sent more than {INTERIM} interim answers"))
}

/// The heads that an endpoint sends.
struct Heads<S> {
    stream: S,
    bytes: Vec<u8>,
    /// Bytes that were searched for the end of a head.
    seen: usize,
}

impl<S: AsyncRead + Unpin> Heads<S> {
    /// The status of the next head.
    async fn next(&mut self) -> Result<u16, String> {
        loop {
            if !b"HTTP/".starts_with(&self.bytes[..self.bytes.len().min(5)]) {
                return Err("what it speaks is not HTTP/1.1".to_owned());
            }
            // Looked at once it is whole, so that one that drips costs no more than one that does not.
            if let Some(length) = self.end() {
                let status = status_of(&self.bytes[..length]);
                self.bytes.drain(..length);
                self.seen = 0;
                return status;
            }
            match self.stream.read_buf(&mut self.bytes).await {
                Ok(0) if self.bytes.is_empty() => return Err("it closed the connection without an answer".to_owned()),
                Ok(0) => return Err("it closed the connection within the head of its answer".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(format!("no answer: {error}")),
            }
        }
    }

    /// How long the first head is, once all of it is there.
    fn end(&mut self) -> Option<usize> {
        let from = self.seen.saturating_sub(3);
        let found = self.bytes[from..].windows(2).zip(from..).find_map(|(two, at)| match two {
            b"\n\n" => Some(at + 2),
            b"\n\r" if self.bytes.get(at + 2) == Some(&b'\n') => Some(at + 3),
            _ => None,
        });
        self.seen = self.bytes.len();
        found
    }
}

fn status_of(head: &[u8]) -> Result<u16, String> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(head) {
        Ok(httparse::Status::Complete(_)) => response.code.ok_or_else(|| "its answer has no status".to_owned()),
        // The end of the head was found elsewhere than by its parser.
        Ok(httparse::Status::Partial) => Err("the head of its answer is broken".to_owned()),
        Err(error) => Err(format!("the head of its answer is broken: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an endpoint that sends this in answer is told to be.
    async fn answered(pieces: &[&[u8]]) -> Result<u16, String> {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        for piece in pieces {
            theirs.write_all(piece).await.unwrap();
        }
        theirs.shutdown().await.unwrap();
        let asked = Asked { scheme: "http", host: "shop:80".to_owned(), path: "/healthz?a=1" };
        let status = status(super::super::bounded::Bounded::new(ours), &asked).await;
        let mut request = String::new();
        theirs.read_to_string(&mut request).await.unwrap();
        assert!(request.starts_with("GET /healthz?a=1 HTTP/1.1\r\nHost: shop:80\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\n"), "{request}");
        status
    }

    #[tokio::test]
    async fn the_status_is_that_of_the_first_head_that_is_not_interim() {
        assert_eq!(answered(&[b"HTTP/1.1 200 OK\r\n\r\nbody"]).await, Ok(200));
        assert_eq!(answered(&[b"HTTP/1.0 503 No\r\nA: b\r\n\r\n"]).await, Ok(503));
        assert_eq!(
            answered(&[b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r", b"\nHTTP/1.1 204\r\n\r\n"])
                .await,
            Ok(204)
        );
        assert_eq!(answered(&[b"HTTP/1.1 200 OK\nA: b\n\n"]).await, Ok(200));
    }

    #[tokio::test]
    async fn whatever_else_is_sent_is_a_failure_in_words() {
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(INTERIM + 1);
        let endless = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"a: b\r\n".repeat(20_000)].concat();
        let many = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"a: b\r\n".repeat(FIELDS + 1), b"\r\n".to_vec()].concat();
        for (sent, wanted) in [
            (&b""[..], "without an answer"),
            (b"HTTP/1.1 200 OK\r\nA: b\r\n", "within the head"),
            (b"SSH-2.0-OpenSSH_9.6\r\n", "not HTTP/1.1"),
            (b"\x16\x03\x01 something else\r\n\r\n", "not HTTP/1.1"),
            (b"HTTP/1.1 abc\r\n\r\n", "broken"),
            (b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n", "broken"),
            (b"HTTP/1.1 101 Switching\r\n\r\n", "101"),
            (&interim, "interim"),
            (&endless, "64 KiB"),
            (&many, "broken"),
        ] {
            let failure = answered(&[sent]).await.unwrap_err();
            assert!(failure.contains(wanted), "{failure}");
        }
    }
}
