//! Which certificate a client is shown: by the name that it asks for.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pair::Pair;

/// Certificates by name. An exact name goes before a wildcard, which stands for one label (RFC 6125, section 6.4.3);
/// who asks for no name, or for one that no certificate has, is shown the first.
#[derive(Debug)]
pub(super) struct ByName {
    first: Arc<CertifiedKey>,
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By the name that the wildcard is below.
    below: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl ByName {
    /// None where there are no certificates at all.
    pub(super) fn new<'a>(pairs: impl Iterator<Item = &'a Pair> + Clone) -> Option<Self> {
        let first = Arc::clone(&pairs.clone().next()?.key);
        let (mut exact, mut below) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for pair in pairs {
            for name in &pair.names {
                let (of, name) = name.strip_prefix("*.").map_or((&mut exact, name.as_str()), |rest| (&mut below, rest));
                of.entry(name.to_owned()).or_default().push(Arc::clone(&pair.key));
            }
        }
        Some(Self { first, exact, below })
    }

    /// The certificates for a name, in lower case, in the order of the configuration.
    fn find(&self, name: &str) -> Option<&[Arc<CertifiedKey>]> {
        let wildcard = || self.below.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(wildcard).map(Vec::as_slice)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().and_then(|name| self.find(&name.to_ascii_lowercase()));
        let Some(found) = found else { return Some(Arc::clone(&self.first)) };
        // The same name may have an ECDSA and an RSA certificate: the first that the client can verify.
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        found.iter().find(fits).or_else(|| found.first()).map(Arc::clone)
    }
}
