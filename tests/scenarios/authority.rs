//! Certificates of scenarios, and who believes them.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData};
use rustls::{ClientConfig, RootCertStore};

use crate::shop::Place;

/// An authority, and the certificates that it made, beside a configuration.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Authority {
    pub(crate) fn new(place: &Place) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another name than those it signs: curl would take them for signed by themselves.
        params.distinguished_name.push(DnType::CommonName, "Authority of a scenario");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = place.file().parent().unwrap().to_owned();
        fs::write(directory.join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().to_owned()
    }

    /// A certificate for these names, as PEM with its key.
    pub(crate) fn made(&self, names: &[&str]) -> (String, String) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes `NAME.pem` and `NAME.key`, each by a rename, the key first.
    pub(crate) fn write(&self, name: &str, names: &[&str]) {
        let (certificate, key) = self.made(names);
        for (file, text) in [(format!("{name}.key"), key), (format!("{name}.pem"), certificate)] {
            fs::write(self.path("fresh"), text).unwrap();
            fs::rename(self.path("fresh"), self.path(&file)).unwrap();
        }
    }

    /// Writes `NAME.pem` and `NAME.key` of a certificate that ended with the year 2019.
    pub(crate) fn write_old(&self, name: &str, names: &[&str]) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// A certificate of a listener, in YAML.
    pub(crate) fn certificate(&self, name: &str) -> String {
        let (cert, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        format!("{{ cert: '{cert}', key: '{key}' }}")
    }

    /// What a browser takes the key of a certificate by: the SHA-256 of its public half, in base64.
    pub(crate) fn pin(&self, name: &str) -> String {
        let key = KeyPair::from_pem(&fs::read_to_string(self.path(&format!("{name}.key"))).unwrap()).unwrap();
        let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().unwrap();
        base64(suite.common.hash_provider.hash(&key.subject_public_key_info()).as_ref())
    }

    /// Clients that believe it, speak this version of TLS alone, and whose every handshake is a whole one.
    pub(crate) fn client(&self, version: &'static rustls::SupportedProtocolVersion) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let mut client = builder.with_root_certificates(roots).with_no_client_auth();
        client.resumption = rustls::client::Resumption::disabled();
        Arc::new(client)
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let of_three = |three: &[u8]| {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        let digit = |place: u32| char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize]);
        (0..4).map(|place| if place as usize <= three.len() { digit(place) } else { '=' }).collect::<String>()
    };
    bytes.chunks(3).map(of_three).collect()
}

#[test]
fn base64_is_that_of_its_standard() {
    // RFC 4648, section 10.
    for (bytes, text) in [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
}
