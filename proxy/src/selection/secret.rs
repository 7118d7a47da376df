//! Secrets that let their sender choose the version.

use std::fmt;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use config::Configuration;
use http::HeaderValue;
use thiserror::Error;

use crate::tls::in_words;

/// The longest file that is taken for one with a secret, in bytes.
const LONGEST_FILE: u64 = 64 * 1024;

/// A secret of a service. Never shown.
#[derive(Clone)]
pub(crate) struct Secret(Arc<[u8]>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What is wrong with the file of a secret.
#[derive(Debug, Error)]
pub(crate) enum BadSecret {
    #[error("cannot be read: {}", in_words(.0))]
    Unreadable(#[from] io::Error),
    #[error("is longer than 64 KiB; write the secret alone into it")]
    Long,
    #[error("holds no secret; write it as the first line that is neither empty nor begins with #")]
    Empty,
    #[error("holds a secret that no header can carry; legal are visible ASCII characters")]
    NoHeader,
}

impl Secret {
    /// Reads the first line that is neither empty nor begins with `#`.
    pub(crate) fn read(file: &Path) -> Result<Self, BadSecret> {
        let mut text = String::new();
        let length = File::open(file)?.take(LONGEST_FILE + 1).read_to_string(&mut text)?;
        if length as u64 > LONGEST_FILE {
            return Err(BadSecret::Long);
        }
        let secret = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        let secret = secret.ok_or(BadSecret::Empty)?;
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadSecret::NoHeader);
        }
        Ok(Self(secret.as_bytes().into()))
    }

    /// Whether this is what was said. Takes as long for one wrong guess as for another of its length.
    pub(super) fn is(&self, said: &HeaderValue) -> bool {
        let (secret, said) = (&*self.0, said.as_bytes());
        let differing = secret.iter().zip(said).fold(0, |differing, (a, b)| black_box(differing | (a ^ b)));
        secret.len() == said.len() && differing == 0
    }
}

/// What is wrong with the files of secrets, each with its key and in plain words; nothing where all can be used.
#[must_use]
pub fn check(configuration: &Configuration) -> Vec<String> {
    let mut problems = Vec::new();
    for service in &configuration.services {
        let Some(file) = service.forced.as_ref().and_then(|rule| rule.secret.as_ref()) else { continue };
        if let Err(bad) = Secret::read(file) {
            problems.push(format!("services.{}.forced.secret: {} {bad}", service.name, file.display()));
        }
    }
    problems
}
