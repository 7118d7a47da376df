//! How endpoints prove who they are, and we to them: certificates, read from their files once a reload.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use config::{CertificateFiles, Configuration, EndpointTls};
use pingora_core::protocols::tls::CaType;
use pingora_core::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use x509_parser::prelude::FromDer;

use super::contact::hash_of;
use crate::tls::in_words;

/// Certificates for the endpoints of a version.
pub struct Credentials {
    /// Who may have signed their certificates; the system's authorities where none.
    authorities: Option<Arc<CaType>>,
    /// What is shown to them.
    identity: Option<Arc<CertKey>>,
    /// A hash of every byte of these.
    print: u64,
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

impl Eq for Credentials {}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("print", &self.print).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads the files of `tls`. The error says in plain words which of them is of no use, and why.
    pub fn load(tls: &EndpointTls) -> Result<Self, String> {
        let authorities = tls.ca.as_deref().map(authorities_in).transpose()?;
        let identity = tls.certificate.as_ref().map(identity_in).transpose()?;
        let mut parts: Vec<&[u8]> = Vec::new();
        // What is not there differs from what is there and empty.
        let no_yes: [&[u8]; 2] = [b"-", b"+"];
        parts.push(no_yes[usize::from(authorities.is_some())]);
        parts.extend(authorities.iter().flatten().map(AsRef::as_ref));
        parts.push(no_yes[usize::from(identity.is_some())]);
        if let Some((chain, key)) = &identity {
            parts.extend(chain.iter().map(AsRef::as_ref));
            parts.push(key.secret_der());
        }
        let print = hash_of(&parts);
        let authorities = authorities.map(|authorities| authorities.iter().map(wrapped).collect::<Arc<[_]>>());
        let identity = identity.map(|(chain, key)| {
            let chain = chain.iter().map(|certificate| certificate.to_vec()).collect();
            Arc::new(CertKey::new(chain, key.secret_der().to_vec()))
        });
        Ok(Self { authorities, identity, print })
    }

    /// For files that could be read a moment ago and cannot be now: nobody is believed.
    #[must_use]
    pub fn none() -> Self {
        Self { authorities: Some(Arc::from(Vec::new())), identity: None, print: 0 }
    }

    pub(super) fn authorities(&self) -> Option<Arc<CaType>> {
        self.authorities.clone()
    }

    pub(super) fn identity(&self) -> Option<Arc<CertKey>> {
        self.identity.clone()
    }

    pub(super) const fn print(&self) -> u64 {
        self.print
    }
}

/// What is wrong with the certificates of endpoints, each with its key and in plain words, like `services.shop.versions.v1.tls.ca:
/// cannot read ca.pem: there is no such file`; nothing where all can be used.
#[must_use]
pub fn check(configuration: &Configuration) -> Vec<String> {
    let mut seen: HashMap<&EndpointTls, Option<String>> = HashMap::new();
    let mut problems = Vec::new();
    for service in &configuration.services {
        for version in &service.versions {
            let Some(tls) = &version.tls else { continue };
            if let Some(problem) = seen.entry(tls).or_insert_with(|| Credentials::load(tls).err()) {
                problems.push(format!("services.{}.versions.{}.{problem}", service.name, version.name));
            }
        }
    }
    problems
}

fn wrapped(certificate: &CertificateDer<'static>) -> WrappedX509 {
    WrappedX509::new(certificate.to_vec(), parse_x509)
}

fn authorities_in(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = certificates_in("tls.ca", file)?;
    for certificate in &certificates {
        RootCertStore::empty().add(certificate.clone()).map_err(|error| {
            format!("tls.ca: {} holds a certificate that cannot be an authority: {error}", file.display())
        })?;
    }
    Ok(certificates)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity_in(files: &CertificateFiles) -> Result<Identity, String> {
    let chain = certificates_in("tls.cert", &files.cert)?;
    let key = key_in(&files.key)?;
    let provider = crate::tls::provider();
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_root_certificates(RootCertStore::empty()).with_client_auth_cert(chain.clone(), key.clone_key())
        })
        .map_err(|error| {
            let (cert, key) = (files.cert.display(), files.key.display());
            format!("tls.cert: {cert} and {key} cannot be used together: {error}")
        })?;
    Ok((chain, key))
}

fn certificates_in(place: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(&contents_of(place, file)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{place}: {} is no valid PEM file: {error}", file.display()))?;
    if found.is_empty() {
        let file = file.display();
        return Err(format!(
            "{place}: {file} holds no certificate; it must be a PEM file (-----BEGIN CERTIFICATE-----)"
        ));
    }
    for certificate in &found {
        // pingora parses them with this, and would not survive one that does not parse.
        if x509_parser::certificate::X509Certificate::from_der(certificate).is_err() {
            return Err(format!("{place}: {} holds something that is no X.509 certificate", file.display()));
        }
    }
    Ok(found)
}

fn key_in(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let place = "tls.key";
    let key = PrivateKeyDer::from_pem_slice(&contents_of(place, file)?).map_err(|error| {
        if matches!(error, rustls::pki_types::pem::Error::NoItemsFound) {
            format!("{place}: {} holds no private key; it must be a PEM file", file.display())
        } else {
            format!("{place}: {} is no valid PEM file: {error}", file.display())
        }
    })?;
    // pingora has the bytes alone, and tells from them what kind of key it is.
    if PrivateKeyDer::try_from(key.secret_der()).is_err() {
        return Err(format!("{place}: {} holds a key of an unknown kind", file.display()));
    }
    Ok(key)
}

fn contents_of(place: &str, file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("{place}: cannot read {}: {}", file.display(), in_words(&error)))
}
