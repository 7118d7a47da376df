//! Certificates for tests, made as they are needed, and servers that show them.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// Somebody who signs certificates.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    files: TempDir,
}

/// A certificate that it signed, with its key.
pub(crate) struct Signed {
    cert: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let files = TempDir::new().unwrap();
        fs::write(files.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, files }
    }

    /// The PEM file of its own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.files.path().join("ca.pem")
    }

    /// A certificate for this name.
    pub(crate) fn sign(&self, name: &str) -> Signed {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        Signed { cert, key }
    }

    /// A certificate for this name that ended with the year 2019.
    pub(crate) fn sign_old(&self, name: &str) -> Signed {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Signed { cert, key }
    }

    /// A [certificate](Self::sign) for this name, as two PEM files.
    pub(crate) fn sign_into_files(&self, name: &str) -> config::CertificateFiles {
        let signed = self.sign(name);
        let (cert, key) =
            (self.files.path().join(format!("{name}.pem")), self.files.path().join(format!("{name}.key")));
        fs::write(&cert, signed.cert.pem()).unwrap();
        fs::write(&key, signed.key.serialize_pem()).unwrap();
        config::CertificateFiles { cert, key }
    }

    fn root(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.issuer.der().to_vec())).unwrap();
        Arc::new(roots)
    }
}

/// What shows this certificate, agrees on one of these protocols (none: on nothing), and lets in whom `clients` signed.
pub(crate) fn acceptor(shown: &Signed, protocols: &[&str], clients: Option<&Authority>) -> TlsAcceptor {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(authority.root(), provider).build().unwrap(),
        ),
    };
    let chain = vec![shown.cert.der().clone()];
    let key = PrivateKeyDer::try_from(shown.key.serialize_der()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// A server over TLS that answers each request with the HTTP version it came in, and says which scheme its
/// target named (`seen-scheme`).
pub(crate) struct SecureOrigin {
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

impl SecureOrigin {
    /// Serves behind an [`acceptor`] of these.
    pub(crate) async fn start(shown: &Signed, protocols: &[&str], clients: Option<&Authority>) -> Self {
        let acceptor = acceptor(shown, protocols, clients);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, connections) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (seen, made) = (Arc::clone(&requests), Arc::clone(&connections));
        drop(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                made.fetch_add(1, Ordering::SeqCst);
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                drop(tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                        seen.fetch_add(1, Ordering::SeqCst);
                        let body = Full::new(Bytes::from(format!("{:?}\n", request.version())));
                        let scheme = request.uri().scheme_str().unwrap_or("none").to_owned();
                        let answer = Response::builder().header("seen-scheme", scheme).body(body);
                        async move { answer }
                    });
                    drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await);
                }));
            }
        }));
        Self { address, requests, connections }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}
