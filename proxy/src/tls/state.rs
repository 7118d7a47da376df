//! What can be said of certificates: before a start, and while they are in use.

use std::fmt;
use std::time::SystemTime;

use config::{CertificateFiles, Listener};

use super::{Files, Tls, Trouble};

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
    /// Its files.
    pub files: CertificateFiles,
    /// The names that it is shown for.
    pub names: Vec<String>,
    /// When it expires.
    pub expires: SystemTime,
    /// Why its files are not what is in use, where they are not.
    pub trouble: Option<Trouble>,
}

impl Tls {
    /// What is in use now, in the order of the configuration.
    pub(crate) fn state(&self) -> Vec<CertificateState> {
        let files = self.files.lock();
        let pairs = files.pairs.iter().zip(&self.written.certificates).enumerate();
        let state = pairs.map(|(at, (kept, written))| CertificateState {
            place: format!("{}.tls.certificates[{at}]", self.place),
            files: written.clone(),
            names: kept.good.names.clone(),
            expires: kept.good.ends(),
            trouble: kept.trouble.clone(),
        });
        state.collect()
    }
}
