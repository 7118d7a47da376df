//! PEM files: certificates with their chains, keys, and bundles of authorities. What is wrong with one, in plain words.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// No certificate, key or bundle is larger; what is, is another file.
const MOST: u64 = 4 * 1024 * 1024;

/// Why a file, or a pair of files, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It cannot be read.
    #[error("cannot read {}: {why}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        why: String,
    },
    /// It is no PEM file, or a damaged one.
    #[error("{} is not good PEM: {why}", file.display())]
    NotPem {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It holds something else.
    #[error("{} holds {found} and no {wanted}{hint}", file.display())]
    Lacks {
        /// The file.
        file: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// What it holds.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// A certificate that cannot be understood.
    #[error("{}: its certificate {place} cannot be understood: {why}", file.display())]
    BadCertificate {
        /// The file.
        file: PathBuf,
        /// Which one of the file, from 1.
        place: usize,
        /// What is wrong.
        why: String,
    },
    /// A key that cannot be used.
    #[error("{}: its private key cannot be used: {why}; RSA (2048 to 8192 bits), ECDSA (P-256, P-384, P-521) and Ed25519 can", file.display())]
    BadKey {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// They do not belong together.
    #[error(
        "the key in {} does not belong to the first certificate in {}; the server's own certificate must come first, and the key must be the one that it was made with",
        key.display(), cert.display()
    )]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The library refuses it.
    #[error("{}: {why}", file.display())]
    Refused {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
}

/// The certificates of a file, in its order; never empty.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let sections = sections(file)?;
    let found = found(&sections.known);
    let certificates: Vec<_> = sections
        .known
        .into_iter()
        .filter(|(kind, _)| *kind == SectionKind::Certificate)
        .map(|(_, der)| CertificateDer::from(der))
        .collect();
    if certificates.is_empty() {
        let is_key = found.contains("private key");
        let hint = if is_key { "; are the files for `cert` and `key` swapped?" } else { "" };
        return Err(Unusable::Lacks { file: file.into(), wanted: "certificate", found, hint });
    }
    Ok(certificates)
}

/// The first private key of a file.
pub(super) fn key(file: &Path) -> Result<PrivateKeyDer<'static>, Unusable> {
    let sections = sections(file)?;
    let found = found(&sections.known);
    let key = sections.known.into_iter().find_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der));
    key.ok_or_else(|| {
        let (found, hint) = if sections.encrypted {
            ("an encrypted private key".to_owned(), "; decrypt it: openssl pkey -in FILE -out FILE.plain")
        } else if found.contains("certificate") {
            (found, "; are the files for `cert` and `key` swapped?")
        } else {
            (found, "")
        };
        Unusable::Lacks { file: file.into(), wanted: "private key that can be read", found, hint }
    })
}

struct Sections {
    known: Vec<(SectionKind, Vec<u8>)>,
    encrypted: bool,
}

fn sections(file: &Path) -> Result<Sections, Unusable> {
    let bytes = read(file).map_err(|error| Unusable::Unreadable { file: file.into(), why: in_words(&error) })?;
    let text = String::from_utf8_lossy(&bytes);
    // The second is how older keys say it, within a section of a usual kind, whose content is no base64 then.
    let encrypted = text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED");
    let known = match <(SectionKind, Vec<u8>)>::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
        Ok(known) => known,
        Err(_) if encrypted => Vec::new(),
        Err(error) => return Err(Unusable::NotPem { file: file.into(), why: of_pem(&error) }),
    };
    if known.is_empty() && !encrypted {
        let why = if bytes.first() == Some(&0x30) {
            "it is DER, which is binary; make it PEM: openssl x509 -inform der -in FILE -out FILE.pem (a key: openssl pkey)"
        } else if bytes.is_empty() {
            "it is empty"
        } else {
            "no line in it begins with -----BEGIN"
        };
        return Err(Unusable::NotPem { file: file.into(), why: why.into() });
    }
    let known = if encrypted { known.into_iter().filter(|(kind, _)| !is_key(kind)).collect() } else { known };
    Ok(Sections { known, encrypted })
}

fn is_key(kind: &SectionKind) -> bool {
    matches!(kind, SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey)
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        return Err(io::Error::other("it is larger than 4 MiB, which no certificate is"));
    }
    Ok(bytes)
}

/// What a file holds, in words.
fn found(sections: &[(SectionKind, Vec<u8>)]) -> String {
    let mut words: Vec<&str> = sections.iter().map(|(kind, _)| word_for(kind)).collect();
    words.dedup();
    if words.is_empty() { "something else".into() } else { words.join(", ") }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's kinds of sections are open")]
fn word_for(kind: &SectionKind) -> &'static str {
    match kind {
        SectionKind::Certificate => "a certificate",
        SectionKind::PublicKey => "a public key",
        SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => "a private key",
        SectionKind::Crl => "a revocation list",
        SectionKind::Csr => "a certificate request",
        _ => "something else",
    }
}

/// Why a file cannot be read, and what to do.
#[expect(clippy::wildcard_enum_match_arm, reason = "the standard library's kinds of errors are open")]
pub(crate) fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::PermissionDenied => {
            "permission denied; the user that Tidegate runs as must be able to read it".into()
        }
        _ => error.to_string(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's errors are open")]
fn of_pem(error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::MissingSectionEnd { end_marker } => {
            format!("the line {} is missing; was the file cut short?", String::from_utf8_lossy(end_marker).trim())
        }
        Error::IllegalSectionStart { line } => format!("`{}` begins nothing", String::from_utf8_lossy(line).trim()),
        Error::Base64Decode(_) => "what stands between BEGIN and END is no base64".into(),
        _ => error.to_string(),
    }
}
