//! One client connection that is kept, whatever happens meanwhile.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::patience::LONG;

/// A client that stays on one connection.
#[derive(Debug)]
pub(crate) struct KeptConnection(TcpStream);

impl KeptConnection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Self(stream)
    }

    /// Sends a request and returns the version that answered it; fails where the connection is gone.
    pub(crate) fn version(&mut self) -> String {
        self.version_with("")
    }

    /// The same of a request with these further header lines, each with its end.
    pub(crate) fn version_with(&mut self, lines: &str) -> String {
        self.0.write_all(format!("GET / HTTP/1.1\r\nhost: shop\r\n{lines}\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        // Origins answer with their names, two letters and a line feed.
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") || !answer.ends_with(b"\n") || answer.ends_with(b"\r\n")
        {
            let mut piece = [0; 1024];
            let read = self.0.read(&mut piece).unwrap();
            assert!(read > 0, "the connection was closed: {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&piece[..read]);
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        answer.rsplit("\r\n").next().unwrap_or_default().trim().to_owned()
    }
}
