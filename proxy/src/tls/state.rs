//! What can be said of certificates: before a start, and while they are in use.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use config::{CertificateFiles, Listener, ListenerTls};

use super::{Files, HandshakeFailure, Tls, Trouble};

/// Something to know of a listener's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where it stands in the configuration, like `listeners[1].tls.certificates[0]`.
    pub place: String,
    /// In plain words.
    pub text: String,
    /// Whether nothing can be served with it.
    pub fatal: bool,
}

impl Finding {
    pub(super) const fn fatal(place: String, text: String) -> Self {
        Self { place, text, fatal: true }
    }

    pub(super) const fn warning(place: String, text: String) -> Self {
        Self { place, text, fatal: false }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Reads every file that listeners name, as a start would, and says what is wrong or will be soon. Opens no socket.
#[must_use]
pub fn check(listeners: &[Listener], now: SystemTime) -> Vec<Finding> {
    let of = |(at, listener): (usize, &Listener)| {
        let read = |tls| Files::read(&format!("listeners[{at}]"), tls, now).1;
        listener.tls.as_ref().map(read).unwrap_or_default()
    };
    listeners.iter().enumerate().flat_map(of).collect()
}

/// A certificate that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateState {
    /// Where it stands in the configuration.
    pub place: String,
    /// Where its listener listens, as it is written.
    pub listener: String,
    /// Its files.
    pub files: CertificateFiles,
    /// The names that it is shown for.
    pub names: Vec<String>,
    /// When it expires.
    pub expires: SystemTime,
    /// Why its files are not what is in use, where they are not.
    pub trouble: Option<Trouble>,
    /// What is to be said of it, beside that.
    pub warning: Option<String>,
}

impl CertificateState {
    /// What an operator should know of it, in sentences.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let Self { place, files, .. } = self;
        let warning = self.warning.iter().map(|warning| format!("{place}: {}: {warning}", files.cert.display()));
        let trouble = self.trouble.iter().map(|trouble| {
            format!("{place}: the files changed and cannot be used, the last good ones are in use: {}", trouble.why)
        });
        warning.chain(trouble).collect()
    }
}

/// The listeners that speak TLS, as they are now. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct SecureListeners(pub(crate) Vec<Arc<Tls>>);

impl SecureListeners {
    /// The certificates in use, and what is wrong with their files.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateState> {
        self.0.iter().flat_map(|tls| tls.state()).collect()
    }

    /// Handshakes that failed since the start: the listener as it is written, why, and how many, where there were any.
    #[must_use]
    pub fn failures(&self) -> Vec<(String, HandshakeFailure, u64)> {
        let of = |tls: &Arc<Tls>| {
            let listener = tls.address.clone();
            tls.failures.counts().into_iter().map(move |(why, count)| (listener.clone(), why, count))
        };
        self.0.iter().flat_map(of).collect()
    }
}

impl Tls {
    /// What was in use at the last look, in the order of the configuration. Waits for no disk.
    pub(super) fn state(&self) -> Vec<CertificateState> {
        self.shown.lock().clone()
    }
}

/// The certificates of a listener at `place` in the configuration, which listens at `address`.
pub(super) fn shown(
    place: &str,
    address: &str,
    written: &ListenerTls,
    files: &Files,
    now: SystemTime,
) -> Vec<CertificateState> {
    let pairs = files.pairs.iter().zip(&written.certificates).enumerate();
    let state = pairs.map(|(at, (kept, written))| CertificateState {
        place: format!("{place}.tls.certificates[{at}]"),
        listener: address.to_owned(),
        files: written.clone(),
        names: kept.good.names.clone(),
        expires: kept.good.ends(),
        trouble: kept.trouble.clone(),
        warning: kept.good.warning(now),
    });
    state.collect()
}
