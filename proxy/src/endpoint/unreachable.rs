//! Why an endpoint cannot be connected to, in words for its operator. Clients never see them.

use std::io;

use pingora_error::{Error, ErrorType};

/// What connections to an endpoint failed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// Nobody listens there.
    Refused,
    /// It was not made in time, TLS included.
    TimedOut,
    /// The network knows no way there.
    NoRoute,
    /// There is no such Unix socket.
    NoSocket,
    /// The system lets nobody, or not us.
    Denied,
    /// Its certificate is no longer valid.
    Expired,
    /// Its certificate is not valid yet.
    NotYetValid,
    /// Its certificate was signed by nobody who is believed.
    UnknownAuthority,
    /// Its certificate is for another name.
    AnotherName,
    /// Something else is wrong with its certificate.
    BadCertificate,
    /// It wants to see a certificate, or another one than it saw.
    WantsCertificate,
    /// It ended the TLS handshake for another reason.
    RefusedTls,
    /// What it sent is no TLS.
    NoTls,
    /// It does not agree on HTTP/2.
    NoHttp2,
    /// The connection ended before it was of use, or for a reason that has no name here.
    Other,
}

impl Unreachable {
    /// Every one.
    pub const ALL: [Self; 15] = [
        Self::Refused,
        Self::TimedOut,
        Self::NoRoute,
        Self::NoSocket,
        Self::Denied,
        Self::Expired,
        Self::NotYetValid,
        Self::UnknownAuthority,
        Self::AnotherName,
        Self::BadCertificate,
        Self::WantsCertificate,
        Self::RefusedTls,
        Self::NoTls,
        Self::NoHttp2,
        Self::Other,
    ];

    /// In plain words, with the setting that belongs to it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Refused => "no connection: refused, nothing listens there",
            Self::TimedOut => "no connection: not made in time (timeouts.connect)",
            Self::NoRoute => "no connection: no route there",
            Self::NoSocket => "no connection: there is no such socket",
            Self::Denied => "no connection: the system denies it",
            Self::Expired => "no connection: its certificate has expired",
            Self::NotYetValid => "no connection: its certificate is not valid yet",
            Self::UnknownAuthority => "no connection: its certificate is signed by nobody who is believed (tls.ca)",
            Self::AnotherName => "no connection: its certificate is for another name (tls.server_name)",
            Self::BadCertificate => "no connection: its certificate is not valid",
            Self::WantsCertificate => "no connection: it wants a certificate of ours, or another one (tls.cert)",
            Self::RefusedTls => "no connection: it refused the TLS handshake",
            Self::NoTls => "no connection: it does not speak TLS",
            Self::NoHttp2 => "no connection: it does not agree on HTTP/2 (protocol)",
            Self::Other => "no connection: it was closed, or of no use",
        }
    }

    /// What kept a connection from being made.
    #[must_use]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "pingora's error types are open: the words tell the others apart"
    )]
    pub fn of(error: &Error) -> Self {
        match error.etype() {
            ErrorType::ConnectRefused => Self::Refused,
            ErrorType::ConnectTimedout => Self::TimedOut,
            ErrorType::ConnectNoRoute => Self::NoRoute,
            _ => {
                let kind = error.root_cause().downcast_ref::<io::Error>().map(io::Error::kind);
                match kind {
                    Some(io::ErrorKind::NotFound) => Self::NoSocket,
                    Some(io::ErrorKind::PermissionDenied) => Self::Denied,
                    _ => Self::of_words(&error.to_string()),
                }
            }
        }
    }

    /// What an endpoint ended a connection for that it had just been given a request by: in TLS 1.3 a client has its
    /// connection before the endpoint has looked at its certificate. None where it was no alert that ended it.
    #[must_use]
    pub fn by_alert(error: &Error) -> Option<Self> {
        let root = error.root_cause();
        let of_http2 = root.downcast_ref::<h2::Error>().and_then(h2::Error::get_io);
        let words = root.downcast_ref::<io::Error>().or(of_http2)?.to_string();
        words.contains(ALERT).then(|| Self::of_words(&words))
    }

    /// pingora keeps of the TLS library's error its words alone.
    fn of_words(words: &str) -> Self {
        let says = |any: &[&str]| any.iter().any(|one| words.contains(one));
        if says(&["peer certificate: certificate expired", "peer certificate: Expired"]) {
            Self::Expired
        } else if says(&["certificate not valid yet", "NotValidYet"]) {
            Self::NotYetValid
        } else if says(&["UnknownIssuer", "peer certificate: BadSignature"]) {
            Self::UnknownAuthority
        } else if says(&["certificate not valid for name", "NotValidForName"]) {
            Self::AnotherName
        } else if says(&["invalid peer certificate"]) {
            Self::BadCertificate
        } else if says(&["alert: NoApplicationProtocol", "does not speak HTTP/2"]) {
            Self::NoHttp2
        } else if says(&["alert: Certificate", "alert: BadCertificate", "alert: UnknownCA", "alert: UnsupportedCert"]) {
            Self::WantsCertificate
        } else if says(&[ALERT]) {
            Self::RefusedTls
        } else if says(&["received corrupt message"]) {
            Self::NoTls
        } else {
            Self::Other
        }
    }
}

/// How the TLS library begins the words of a fatal alert.
const ALERT: &str = "received fatal alert";

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage};

    #[test]
    fn what_the_tls_library_says_has_words_for_people() {
        let alert = TlsError::AlertReceived;
        for (said, wanted) in [
            (TlsError::InvalidCertificate(CertificateError::Expired), Unreachable::Expired),
            (TlsError::InvalidCertificate(CertificateError::NotValidYet), Unreachable::NotYetValid),
            (TlsError::InvalidCertificate(CertificateError::UnknownIssuer), Unreachable::UnknownAuthority),
            // An authority of the same name, with another key.
            (TlsError::InvalidCertificate(CertificateError::BadSignature), Unreachable::UnknownAuthority),
            (TlsError::InvalidCertificate(CertificateError::NotValidForName), Unreachable::AnotherName),
            (TlsError::InvalidCertificate(CertificateError::BadEncoding), Unreachable::BadCertificate),
            (alert(AlertDescription::NoApplicationProtocol), Unreachable::NoHttp2),
            (alert(AlertDescription::CertificateRequired), Unreachable::WantsCertificate),
            (alert(AlertDescription::UnknownCA), Unreachable::WantsCertificate),
            (alert(AlertDescription::ProtocolVersion), Unreachable::RefusedTls),
            (TlsError::InvalidMessage(InvalidMessage::InvalidContentType), Unreachable::NoTls),
            (TlsError::HandshakeNotComplete, Unreachable::Other),
        ] {
            let error = Error::explain(ErrorType::TLSHandshakeFailure, format!("TLS connect() failed: {said}"));
            assert_eq!(Unreachable::of(&error), wanted, "{said}");
            let late = io::Error::new(io::ErrorKind::InvalidData, said.clone());
            let by_alert = Unreachable::by_alert(&Error::because(ErrorType::ReadError, "late", late));
            let is_alert = matches!(said, TlsError::AlertReceived(_));
            assert_eq!(by_alert, is_alert.then_some(wanted), "{said}");
        }
    }

    #[test]
    fn every_reason_has_words_of_its_own() {
        let words: std::collections::HashSet<_> = Unreachable::ALL.map(Unreachable::words).into();
        assert_eq!(words.len(), Unreachable::ALL.len());
        for (place, why) in Unreachable::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, place, "{why:?}");
        }
    }
}
