//! A listener with TLS, and a client that believes it.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use config::{CertificateFiles, Hsts, Listener, ListenerTls, TlsVersion};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A listener without TLS.
pub(crate) fn plain() -> Listener {
    Listener::plain("127.0.0.1:0".parse().unwrap())
}

/// A listener with TLS for `shop.test`, and what a client must know of it.
pub(crate) struct Secure {
    pub(crate) listener: Listener,
    pub(crate) client: ClientConfig,
    certificate: CertificateDer<'static>,
    _place: TempDir,
}

impl Secure {
    pub(crate) fn new(hsts: Option<Hsts>) -> Self {
        let place = tempfile::tempdir().unwrap();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["shop.test".to_owned()]).unwrap();
        let files = CertificateFiles { cert: place.path().join("cert.pem"), key: place.path().join("key.pem") };
        fs::write(&files.cert, cert.pem()).unwrap();
        fs::write(&files.key, signing_key.serialize_pem()).unwrap();
        let tls = ListenerTls { certificates: vec![files], clients: None, oldest: TlsVersion::V12, hsts };
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let client = client.with_root_certificates(roots).with_no_client_auth();
        let certificate = cert.der().clone();
        Self { listener: Listener { tls: Some(tls), ..plain() }, client, certificate, _place: place }
    }

    /// A connection over which this was agreed on by ALPN.
    pub(crate) async fn connect(&self, address: SocketAddr, alpn: &[&str]) -> TlsStream<TcpStream> {
        self.over(TcpStream::connect(address).await.unwrap(), alpn).await
    }

    pub(crate) async fn over(&self, stream: TcpStream, alpn: &[&str]) -> TlsStream<TcpStream> {
        let mut client = self.client.clone();
        client.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("shop.test").unwrap();
        TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap()
    }

    /// What a client must believe.
    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        roots
    }

    /// Of a client that believes whatever it is shown.
    pub(crate) fn believing_anybody() -> Arc<dyn ServerCertVerifier> {
        Arc::new(Credulous)
    }
}

#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
