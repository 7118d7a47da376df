//! An authority of certificates for tests.

use std::fs;
use std::path::PathBuf;

use config::{ListenAddress, Listener};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use super::*;

/// An authority, and the files that it made.
pub(super) struct Authority {
    pub(super) issuer: CertifiedIssuer<'static, KeyPair>,
    place: TempDir,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, place }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub(super) fn params(names: &[&str]) -> CertificateParams {
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    /// Writes `NAME.pem` and `NAME.key` for these names, and returns the certificate.
    pub(super) fn write(&self, name: &str, names: &[&str]) -> CertificateDer<'static> {
        self.write_with(name, &Self::params(names))
    }

    pub(super) fn write_with(&self, name: &str, params: &CertificateParams) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        certificate.der().clone()
    }

    pub(super) fn files(&self, name: &str) -> CertificateFiles {
        CertificateFiles { cert: self.path(&format!("{name}.pem")), key: self.path(&format!("{name}.key")) }
    }

    pub(super) fn listener(&self, certificates: &[&str]) -> Listener {
        let certificates = certificates.iter().map(|name| self.files(name)).collect();
        Listener {
            address: ListenAddress::Unix("/unused".into()),
            tls: Some(ListenerTls { certificates, clients: None, oldest: TlsVersion::V12, hsts: None }),
            proxy_protocol: Vec::new(),
            redirect: None,
        }
    }

    pub(super) fn asking_clients(&self, certificates: &[&str], optional: bool) -> Listener {
        let mut listener = self.listener(certificates);
        listener.tls.as_mut().unwrap().clients = Some(ClientCertificates { ca: self.path("ca.pem"), optional });
        listener
    }

    pub(super) fn open(&self, certificates: &[&str]) -> Tls {
        open(&self.listener(certificates))
    }

    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        Arc::new(roots)
    }

    /// A client that believes this authority.
    pub(super) fn client(&self) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        builder.with_root_certificates(self.roots()).with_no_client_auth()
    }

    /// The same with a certificate of its own for `CN=NAME`.
    pub(super) fn client_named(&self, name: &str) -> ClientConfig {
        let mut params = Self::params(&[]);
        params.distinguished_name.push(DnType::CommonName, name);
        let shown = self.write_with(name, &params);
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        builder.with_root_certificates(self.roots()).with_client_auth_cert(vec![shown], key).unwrap()
    }
}
