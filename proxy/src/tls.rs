//! TLS towards clients: which certificate is shown, to whom, and how that changes while connections live.
//!
//! Each listener has a configuration of the TLS library that is replaced whole when one of its files changes; a handshake
//! keeps the one that it began with. Files that cannot be used change nothing: the last good ones are kept, each pair by
//! itself. Session tickets are sealed with keys that only this process knows and that are replaced every six hours; they
//! are the listener's own, since a ticket stands for the proof that a client gave there, and void when the authorities
//! change (docs/decisions/0020).

mod failures;
mod handshake;
mod kept;
mod names;
mod pair;
mod pem;
mod state;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use config::{CertificateFiles, ClientCertificates, Listener, ListenerTls, TlsVersion};
use parking_lot::Mutex;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, version};
use tracing::{info, warn};

use self::failures::Failures;
pub use self::failures::HandshakeFailure;
pub(crate) use self::handshake::HandshakeFailed;
pub use self::kept::Trouble;
use self::kept::{Change, Kept};
use self::names::ByName;
use self::pair::{Pair, Stage};
pub use self::pem::Unusable;
pub(crate) use self::pem::in_words;
pub use self::state::{CertificateState, Finding, SecureListeners, check};
pub(crate) use self::watch::Watch;

/// What encrypts, signs and hashes: docs/decisions/0020.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    if CryptoProvider::get_default().is_none() {
        // pingora would install another one; whoever was first is kept.
        let _ = CryptoProvider::install_default(aws_lc_rs::default_provider());
    }
    CryptoProvider::get_default().map_or_else(|| Arc::new(aws_lc_rs::default_provider()), Arc::clone)
}

/// The TLS of a listener, as it is now.
#[derive(Debug)]
pub(crate) struct Tls {
    written: ListenerTls,
    /// Where it stands in the configuration, for people.
    place: String,
    /// Where it listens, as it is written.
    address: String,
    present: ArcSwap<ServerConfig>,
    /// Held for as long as they are read.
    files: Mutex<Files>,
    /// What is in use, for people.
    shown: Mutex<Vec<CertificateState>>,
    failures: Failures,
}

/// What was read for a listener.
#[derive(Debug)]
struct Files {
    pairs: Vec<Kept<Pair>>,
    /// How near to its end each of them was when that was last told.
    told: Vec<Stage>,
    authorities: Option<Kept<Arc<dyn ClientCertVerifier>>>,
    tickets: Arc<dyn ProducesTickets>,
}

impl Tls {
    /// Reads a listener's files. All that is wrong is told at once, each with its place in the configuration.
    pub(crate) fn open(place: &str, listener: &Listener, now: SystemTime) -> Result<Option<Self>, Vec<Finding>> {
        let Some(written) = &listener.tls else { return Ok(None) };
        let (files, findings) = Files::read(place, written, now);
        for finding in findings.iter().filter(|finding| !finding.fatal) {
            warn!("{finding}");
        }
        let files = files.ok_or(findings)?;
        let config = files.config(written).map_err(|why| vec![Finding::fatal(format!("{place}.tls"), why)])?;
        let present = ArcSwap::from_pointee(config);
        let address = listener.address.to_string();
        Ok(Some(Self {
            shown: Mutex::new(state::shown(place, &address, written, &files, now)),
            written: written.clone(),
            place: place.to_owned(),
            address,
            present,
            files: Mutex::new(files),
            failures: Failures::default(),
        }))
    }

    /// Looks whether files have changed, and takes over what is good. What became of it is in the log.
    pub(crate) fn look(&self, now: SystemTime) {
        let mut files = self.files.lock();
        let mut renewed = false;
        let Files { pairs, told, .. } = &mut *files;
        for (at, ((kept, told), written)) in pairs.iter_mut().zip(told).zip(&self.written.certificates).enumerate() {
            let change = kept.look(&paths(written), || Pair::read(written), now);
            renewed |= change == Change::Renewed;
            let stage = kept.good.stage(now);
            if change == Change::None && stage <= *told {
                continue;
            }
            let place = format!("{}.tls.certificates[{at}]", self.place);
            report(change, &place, kept.trouble.as_ref());
            if (change == Change::Renewed || stage > *told)
                && let Some(warning) = kept.good.warning(now)
            {
                warn!(place, file = %written.cert.display(), "certificate: {warning}");
            }
            *told = stage;
        }
        if let (Some(kept), Some(written)) = (&mut files.authorities, &self.written.clients) {
            let change = kept.look(&[&written.ca], || authorities(written), now);
            report(change, &format!("{}.tls.clients.ca", self.place), kept.trouble.as_ref());
            if change == Change::Renewed {
                match new_tickets() {
                    Ok(tickets) => {
                        files.tickets = tickets;
                        renewed = true;
                    }
                    Err(error) => warn!(%error, "no keys for session tickets; the old authorities are kept"),
                }
            }
        }
        *self.shown.lock() = state::shown(&self.place, &self.address, &self.written, &files, now);
        if renewed {
            match files.config(&self.written) {
                Ok(config) => self.present.store(Arc::new(config)),
                Err(why) => warn!(why, "certificates were read and cannot be used; the old ones are kept"),
            }
        }
    }
}

fn report(change: Change, place: &str, trouble: Option<&Trouble>) {
    match (change, trouble) {
        (Change::Renewed, _) => info!(place, "certificate: the files changed; new handshakes use them"),
        (Change::Failed, Some(Trouble { why, .. })) => {
            warn!(place, "certificate: the files changed and cannot be used; the last good ones are kept: {why}");
        }
        (Change::Failed, None) | (Change::None, _) => {}
    }
}

impl Files {
    /// What can be read, and everything that is to be said of it. None where something fatal is.
    fn read(place: &str, written: &ListenerTls, now: SystemTime) -> (Option<Self>, Vec<Finding>) {
        let mut findings = Vec::new();
        let mut pairs = Vec::new();
        for (at, files) in written.certificates.iter().enumerate() {
            let place = format!("{place}.tls.certificates[{at}]");
            match Kept::read(&paths(files), || Pair::read(files)) {
                Ok(kept) => {
                    let warning = kept.good.warning(now);
                    let file = files.cert.display();
                    findings.extend(warning.map(|text| Finding::warning(place, format!("{file}: {text}"))));
                    pairs.push(kept);
                }
                Err(why) => findings.push(Finding::fatal(place, why.to_string())),
            }
        }
        let clients = written.clients.as_ref().map(|clients| Kept::read(&[&clients.ca], || authorities(clients)));
        let authorities = match clients.transpose() {
            Ok(authorities) => authorities,
            Err(why) => {
                findings.push(Finding::fatal(format!("{place}.tls.clients.ca"), why.to_string()));
                None
            }
        };
        let tickets = match new_tickets() {
            Ok(tickets) => Some(tickets),
            Err(error) => {
                findings.push(Finding::fatal(format!("{place}.tls"), format!("no keys for session tickets: {error}")));
                None
            }
        };
        let is_whole = findings.iter().all(|finding| !finding.fatal);
        let told = pairs.iter().map(|kept| kept.good.stage(now)).collect();
        let files = tickets.filter(|_| is_whole).map(|tickets| Self { pairs, told, authorities, tickets });
        (files, findings)
    }

    /// The configuration for the handshakes that begin from now on.
    fn config(&self, written: &ListenerTls) -> Result<ServerConfig, String> {
        let versions: &[_] = match written.oldest {
            TlsVersion::V12 => &[&version::TLS12, &version::TLS13],
            TlsVersion::V13 => &[&version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions);
        let builder = builder.map_err(|error| error.to_string())?;
        let builder = match &self.authorities {
            Some(kept) => builder.with_client_cert_verifier(Arc::clone(&kept.good)),
            None => builder.with_no_client_auth(),
        };
        let names = ByName::new(self.pairs.iter().map(|kept| &kept.good));
        let names = names.ok_or_else(|| "there is no certificate".to_owned())?;
        let mut config = builder.with_cert_resolver(Arc::new(names));
        // HTTP/1.0 is what an old curl asks for; it is served as HTTP/1.1 is.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        config.ticketer = Arc::clone(&self.tickets);
        // Tickets are the only way to resume: nothing is kept for a session, and nothing outlives its authorities.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    }
}

fn paths(files: &CertificateFiles) -> [&Path; 2] {
    [&files.cert, &files.key]
}

/// Keys for tickets, replaced every six hours; what they sealed is good for six more.
fn new_tickets() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    aws_lc_rs::Ticketer::new()
}

/// Whose certificates of clients are believed.
fn authorities(clients: &ClientCertificates) -> Result<Arc<dyn ClientCertVerifier>, Unusable> {
    let mut roots = RootCertStore::empty();
    for (place, certificate) in pem::certificates(&clients.ca)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| Unusable::BadCertificate {
            file: clients.ca.clone(),
            place: place + 1,
            why: error.to_string(),
        })?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = if clients.optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| Unusable::Refused { file: clients.ca.clone(), why: error.to_string() })
}

#[cfg(test)]
mod tests;
