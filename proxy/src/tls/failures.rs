//! Handshakes that came to nothing: why, in a fixed word, and how many.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::{Error, PeerIncompatible};

use super::HandshakeFailed;

/// Why a client got no TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// It spoke HTTP without TLS.
    NotTls,
    /// It was not done in time.
    Timeout,
    /// It went away within it.
    Closed,
    /// It speaks no version of TLS that is spoken here.
    Version,
    /// It knows no cipher suite, key exchange, signature or protocol that is spoken here.
    NothingInCommon,
    /// It has no certificate, or one that is not believed.
    ClientCertificate,
    /// It refused us: most often, it does not believe our certificate.
    RefusedByClient,
    /// What it sent is no handshake.
    Malformed,
}

impl HandshakeFailure {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Self; 8] = [
        Self::NotTls,
        Self::Timeout,
        Self::Closed,
        Self::Version,
        Self::NothingInCommon,
        Self::ClientCertificate,
        Self::RefusedByClient,
        Self::Malformed,
    ];

    /// As metrics call it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Version => "version",
            Self::NothingInCommon => "nothing_in_common",
            Self::ClientCertificate => "client_certificate",
            Self::RefusedByClient => "refused_by_client",
            Self::Malformed => "malformed",
        }
    }

    /// What a handshake failed for; none where none began.
    pub(super) fn of(failed: &HandshakeFailed) -> Option<Self> {
        match failed {
            HandshakeFailed::Nothing => None,
            HandshakeFailed::NotTls => Some(Self::NotTls),
            HandshakeFailed::TimedOut => Some(Self::Timeout),
            HandshakeFailed::Refused(error) => Some(Self::of_error(error)),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the library's kinds of errors are open")]
    fn of_error(error: &io::Error) -> Self {
        let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<Error>()) else { return Self::Closed };
        match error {
            Error::AlertReceived(_) => Self::RefusedByClient,
            Error::NoCertificatesPresented | Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_) => {
                Self::ClientCertificate
            }
            Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::Tls13RequiredForQuic
                | PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::SupportedVersionsExtensionRequired
                // TLS 1.2 brought it: whoever does not send it is older.
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
            ) => Self::Version,
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::NothingInCommon,
            _ => Self::Malformed,
        }
    }
}

/// How many handshakes of a listener failed, by why.
#[derive(Debug, Default)]
pub(super) struct Failures([AtomicU64; HandshakeFailure::ALL.len()]);

impl Failures {
    pub(super) fn count(&self, why: HandshakeFailure) {
        self.0[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Those that there were.
    pub(super) fn counts(&self) -> Vec<(HandshakeFailure, u64)> {
        let counts =
            HandshakeFailure::ALL.into_iter().zip(&self.0).map(|(why, count)| (why, count.load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{AlertDescription, CertificateError, InvalidMessage};

    #[test]
    fn every_failure_has_a_word_and_a_place_of_its_own() {
        let failures = Failures::default();
        HandshakeFailure::ALL.into_iter().for_each(|why| failures.count(why));
        failures.count(HandshakeFailure::Closed);
        let counts = failures.counts();
        assert_eq!(counts.len(), HandshakeFailure::ALL.len());
        let twice: Vec<_> = counts.iter().filter(|(_, count)| *count == 2).collect();
        assert_eq!(twice, [&(HandshakeFailure::Closed, 2)]);
        let words: std::collections::BTreeSet<_> = HandshakeFailure::ALL.iter().map(|why| why.label()).collect();
        assert_eq!(words.len(), HandshakeFailure::ALL.len());
    }

    #[test]
    fn why_is_told_by_what_the_library_says() {
        let of = |error: Error| HandshakeFailure::of_error(&io::Error::new(io::ErrorKind::InvalidData, error));
        for (error, why) in [
            (Error::AlertReceived(AlertDescription::UnknownCA), HandshakeFailure::RefusedByClient),
            (Error::NoCertificatesPresented, HandshakeFailure::ClientCertificate),
            (CertificateError::Expired.into(), HandshakeFailure::ClientCertificate),
            (PeerIncompatible::Tls12NotOfferedOrEnabled.into(), HandshakeFailure::Version),
            (PeerIncompatible::SignatureAlgorithmsExtensionRequired.into(), HandshakeFailure::Version),
            (PeerIncompatible::NoCipherSuitesInCommon.into(), HandshakeFailure::NothingInCommon),
            (InvalidMessage::InvalidContentType.into(), HandshakeFailure::Malformed),
        ] {
            assert_eq!(of(error.clone()), why, "{error}");
        }
        assert_eq!(HandshakeFailure::of_error(&io::ErrorKind::UnexpectedEof.into()), HandshakeFailure::Closed);
    }
}
