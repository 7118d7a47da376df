//! A certificate with its chain and key: read, found to belong together, and known by its names.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::CertificateFiles;
use rustls::Error;
use rustls::InconsistentKeys;
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::time::ASN1Time;

use super::pem::{self, Unusable};
use super::provider;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// From so long before its end a certificate is warned of: who renews it at two thirds of its life is late by then.
const SOON: Duration = DAY.saturating_mul(14);
/// And again.
const VERY_SOON: Duration = DAY.saturating_mul(3);

/// How near its end a certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Good,
    /// 14 days or less.
    EndsSoon,
    /// 3 days or less.
    EndsVerySoon,
    Over,
}

/// A certificate that can be shown.
#[derive(Debug)]
pub(super) struct Pair {
    /// What the TLS library shows.
    pub(super) key: Arc<CertifiedKey>,
    /// The host names that it is for, lower case, wildcards among them.
    pub(super) names: Vec<String>,
    begins: Moment,
    ends: Moment,
}

/// A moment as certificates write it.
#[derive(Debug, Clone)]
struct Moment {
    at: SystemTime,
    date: String,
}

impl Moment {
    fn of(time: ASN1Time) -> Self {
        let seconds = time.timestamp();
        let at = u64::try_from(seconds).map_or(UNIX_EPOCH, |seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        Self { at, date: time.to_datetime().date().to_string() }
    }
}

impl Pair {
    /// Reads both files.
    pub(super) fn read(files: &CertificateFiles) -> Result<Self, Unusable> {
        let chain = pem::certificates(&files.cert)?;
        let key = pem::key(&files.key)?;
        let bad = |place: usize, why: String| Unusable::BadCertificate { file: files.cert.clone(), place, why };
        for (place, der) in chain.iter().enumerate().skip(1) {
            X509Certificate::from_der(der).map_err(|error| bad(place + 1, error.to_string()))?;
        }
        let (names, begins, ends) = {
            let (_, own) = X509Certificate::from_der(&chain[0]).map_err(|error| bad(1, error.to_string()))?;
            let validity = own.validity();
            (names_of(&own), Moment::of(validity.not_before), Moment::of(validity.not_after))
        };
        let private = provider().key_provider.load_private_key(key);
        let private = private.map_err(|error| Unusable::BadKey { file: files.key.clone(), why: error.to_string() })?;
        let key = CertifiedKey::new(chain, private);
        match key.keys_match() {
            // A key that cannot tell its public half is believed.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                return Err(Unusable::Mismatch { cert: files.cert.clone(), key: files.key.clone() });
            }
            Err(error) => return Err(bad(1, error.to_string())),
        }
        Ok(Self { key: Arc::new(key), names, begins, ends })
    }

    /// What is to be said of a certificate that can be shown all the same.
    pub(super) fn warning(&self, now: SystemTime) -> Option<String> {
        let Moment { at, date } = &self.ends;
        if now >= *at {
            Some(format!("it expired on {date}; clients will refuse it"))
        } else if now < self.begins.at {
            Some(format!("it is not valid before {}; clients will refuse it until then", self.begins.date))
        } else if self.stage(now) > Stage::Good {
            let days = at.duration_since(now).unwrap_or_default().as_secs() / DAY.as_secs();
            let when = match days {
                0 => "within a day".to_owned(),
                1 => "in 1 day".to_owned(),
                days => format!("in {days} days"),
            };
            Some(format!("it expires on {date}, {when}; renew it"))
        } else if self.names.is_empty() {
            Some("it names no host (no DNS name among its subject alternative names); browsers will refuse it".into())
        } else {
            None
        }
    }

    /// How near its end it is.
    pub(super) fn stage(&self, now: SystemTime) -> Stage {
        // None where it is over.
        match self.ends.at.duration_since(now) {
            Ok(left) if left.is_zero() => Stage::Over,
            Ok(left) if left <= VERY_SOON => Stage::EndsVerySoon,
            Ok(left) if left <= SOON => Stage::EndsSoon,
            Ok(_) => Stage::Good,
            Err(_) => Stage::Over,
        }
    }

    /// When it expires.
    pub(super) const fn ends(&self) -> SystemTime {
        self.ends.at
    }
}

/// The DNS names among its subject alternative names (RFC 6125 forbids to look at the common name where there are any,
/// and browsers look at it no more at all).
fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::OtherName(..)
        | GeneralName::RFC822Name(_)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::URI(_)
        | GeneralName::IPAddress(_)
        | GeneralName::RegisteredID(_) => None,
    });
    names.collect()
}
