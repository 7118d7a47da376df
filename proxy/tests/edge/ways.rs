//! The ways that a request can take: with a body or without one, which different code carries (docs/decisions/0044), from
//! a client of either protocol. What holds of one is to hold of all.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fixture::{LONG, http2};

/// A way to ask.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) http2: bool,
    /// With a body, of which the answer does not depend.
    pub(crate) body: bool,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.http2 { "HTTP/2" } else { "HTTP/1.1" })?;
        f.write_str(if self.body { " with a body" } else { " without a body" })
    }
}

/// What a client got.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    /// The heads that came before the last one.
    pub(crate) interim: Vec<u16>,
    /// 0 where there was none.
    pub(crate) status: u16,
    /// The first line, in HTTP/1.1.
    pub(crate) line: String,
    /// In lower case, in their order.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Its end is the end that its head promised.
    pub(crate) is_whole: bool,
}

impl Answer {
    /// The values of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str()).collect()
    }
}

impl Way {
    pub(crate) const ALL: [Self; 4] = [
        Self { http2: false, body: false },
        Self { http2: false, body: true },
        Self { http2: true, body: false },
        Self { http2: true, body: true },
    ];

    /// Asks for `/`, on a connection of its own.
    pub(crate) async fn get(self, address: SocketAddr) -> Answer {
        self.ask(address, "GET", &[]).await
    }

    /// Asks for `/` so, with these fields, on a connection of its own.
    pub(crate) async fn ask(self, address: SocketAddr, method: &str, fields: &[(&str, &str)]) -> Answer {
        if !self.http2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&self.bytes(method, &[fields, &[("connection", "close")]].concat())).await.unwrap();
            let mut all = Vec::new();
            // A reset is an end as well.
            let _ = timeout(LONG, stream.read_to_end(&mut all)).await.expect("an end in time");
            return read(&all, method);
        }
        let mut client = http2(address).await;
        let response =
            timeout(LONG, client.send_request(self.request(method, fields))).await.expect("an answer in time");
        let Ok(response) = response else { return Answer::default() };
        let (head, mut rest) = response.into_parts();
        let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let fields = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let (mut body, mut is_whole) = (Vec::new(), true);
        while let Some(frame) = timeout(LONG, rest.frame()).await.expect("an end in time") {
            match frame {
                Ok(frame) => body.extend(frame.into_data().unwrap_or_default()),
                Err(_) => is_whole = false,
            }
            if !is_whole {
                break;
            }
        }
        Answer { status: head.status.as_u16(), fields, body, is_whole, ..Answer::default() }
    }

    /// The request in HTTP/1.1, as bytes. It says nothing of its connection.
    pub(crate) fn bytes(self, method: &str, fields: &[(&str, &str)]) -> Vec<u8> {
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (length, body) = if self.body { ("content-length: 2\r\n", "hi") } else { ("", "") };
        format!("{method} / HTTP/1.1\r\nhost: shop\r\n{fields}{length}\r\n{body}").into_bytes()
    }

    /// The request in HTTP/2.
    pub(crate) fn request(self, method: &str, fields: &[(&str, &str)]) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri("http://shop/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(Full::from(if self.body { "hi" } else { "" })).unwrap()
    }
}

/// What HTTP/1.1 says in these bytes, up to the end of the connection.
fn read(mut bytes: &[u8], method: &str) -> Answer {
    let mut answer = Answer::default();
    while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes = &bytes[end + 4..];
        let mut lines = head.split("\r\n");
        answer.line = lines.next().unwrap_or_default().to_owned();
        let status = answer.line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        if (100..200).contains(&status) {
            answer.interim.push(status);
            continue;
        }
        answer.status = status;
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_lowercase(), value.trim().to_owned()))
        };
        answer.fields = lines.filter_map(field).collect();
        let has_none = method == "HEAD" || matches!(status, 204 | 304);
        (answer.body, answer.is_whole) =
            match (answer.all("transfer-encoding").first(), answer.all("content-length").first()) {
                _ if has_none => (bytes.to_vec(), bytes.is_empty()),
                (Some(_), _) => chunks(bytes),
                (None, Some(length)) => (bytes.to_vec(), length.parse() == Ok(bytes.len())),
                (None, None) => (bytes.to_vec(), true),
            };
        break;
    }
    answer
}

/// What is in chunks, and whether all of them are there and nothing beyond.
fn chunks(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else { return (body, false) };
        let size = std::str::from_utf8(&bytes[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let (Some(size), rest) = (size, &bytes[end + 2..]) else { return (body, false) };
        if size == 0 {
            return (body, rest == b"\r\n");
        }
        let Some((data, rest)) = rest.split_at_checked(size) else {
            body.extend_from_slice(rest);
            return (body, false);
        };
        body.extend_from_slice(data);
        match rest.strip_prefix(b"\r\n") {
            Some(rest) => bytes = rest,
            None => return (body, false),
        }
    }
}
