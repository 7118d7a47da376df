//! A client's handshake, and what came of it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::protocols::tls::SslDigest;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{HandshakeFailure, Tls};
use crate::connection::{ClientCertificate, TlsFacts};
use crate::transport::{Secured, Socket};

/// A client that was refused has so long to read why.
const LINGER: Duration = Duration::from_secs(1);
/// The subject of a client's certificate is told up to this length.
const LONGEST_SUBJECT: usize = 512;
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 61\r\nconnection: close\r\n\r\n400: this port speaks TLS; ask again with https:// in front.\n";

/// Why a connection has no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeFailed {
    /// It ended before it said anything: a probe of the port.
    #[error("the client ended before it began")]
    Nothing,
    /// It spoke HTTP.
    #[error("the client speaks HTTP without TLS")]
    NotTls,
    /// The handshake went wrong.
    #[error("{0}")]
    Refused(#[from] io::Error),
    /// It took too long.
    #[error("the handshake took too long")]
    TimedOut,
}

impl Tls {
    /// Does the handshake of a client's connection, within this time.
    pub(crate) async fn accept(
        &self,
        socket: Socket,
        within: Duration,
    ) -> Result<(Box<Secured>, TlsFacts, Option<String>), HandshakeFailed> {
        let accepted = timeout(within, self.handshake(socket)).await.unwrap_or(Err(HandshakeFailed::TimedOut));
        if let Some(why) = accepted.as_ref().err().and_then(HandshakeFailure::of) {
            self.failures.count(why);
        }
        accepted
    }

    async fn handshake(&self, mut socket: Socket) -> Result<(Box<Secured>, TlsFacts, Option<String>), HandshakeFailed> {
        if socket.early().is_empty() && socket.read_early().await? == 0 {
            return Err(HandshakeFailed::Nothing);
        }
        if socket.early().first().is_some_and(u8::is_ascii_alphabetic) {
            // HTTP: a TLS record begins with 0x16. Answered in its own language. Whoever does not read it is not waited for: the time of a handshake holds.
            socket.write_all(SPEAK_TLS).await?;
            linger(socket).await;
            return Err(HandshakeFailed::NotTls);
        }
        let accepting = TlsAcceptor::from(self.present.load_full()).accept(socket).into_fallible();
        let stream = match accepting.await {
            Ok(stream) => stream,
            Err((error, socket)) => {
                linger(socket).await;
                return Err(error.into());
            }
        };
        let session = stream.get_ref().1;
        let facts = facts_of(session);
        let name = session.server_name().map(str::to_ascii_lowercase);
        let http2 = session.alpn_protocol() == Some(b"h2");
        let digest = SslDigest::new(facts.cipher.clone(), facts.version.to_owned(), None, None, Vec::new());
        Ok((Box::new(Secured { stream, http2, digest: Arc::new(digest) }), facts, name))
    }
}

/// Ends a connection on which the last word was ours: a client that is still sending would be reset, and might never
/// read why.
async fn linger(mut socket: Socket) {
    let last = async {
        socket.shutdown().await?;
        let mut unread = [0; 4096];
        while socket.read(&mut unread).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    // Whoever goes on sending, or is gone, is not waited for.
    let _ = timeout(LINGER, last).await;
}

fn facts_of(session: &ServerConnection) -> TlsFacts {
    let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
    TlsFacts {
        version: if session.protocol_version() == Some(ProtocolVersion::TLSv1_2) { "1.2" } else { "1.3" },
        // The library's name has the version in it, the registered one has not.
        cipher: cipher.replace("TLS13_", "TLS_"),
        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        client: session.peer_certificates().and_then(<[_]>::first).map(client),
    }
}

fn client(certificate: &CertificateDer<'_>) -> ClientCertificate {
    // It was verified, so it can be parsed; a subject that cannot be told is no reason to fail.
    let parsed = X509Certificate::from_der(certificate).ok();
    let mut subject = parsed.map(|(_, certificate)| certificate.subject().to_string()).unwrap_or_default();
    subject.truncate(subject.floor_char_boundary(LONGEST_SUBJECT));
    ClientCertificate { subject, sha256: sha256(certificate) }
}

/// The SHA-256 of some bytes in hexadecimal digits.
fn sha256(bytes: &[u8]) -> String {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().map(|suite| suite.common.hash_provider.hash(bytes));
    suite.iter().flat_map(|hash| hash.as_ref()).map(|byte| format!("{byte:02x}")).collect()
}
