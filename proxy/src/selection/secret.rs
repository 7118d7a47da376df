//! Secrets that let their sender choose the version.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::Configuration;
use http::HeaderValue;
use parking_lot::Mutex;
use thiserror::Error;

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
enum BadSecret {
    #[error("cannot be read: {0}")]
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
    fn read(file: &Path) -> Result<Self, BadSecret> {
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

/// The secrets of a configuration's services, by their files. Read where a configuration is made real, and taken by
/// the [`Publisher`](crate::Publisher) when that configuration comes into force. Cheap to clone; every clone is the
/// same.
#[derive(Debug, Clone, Default)]
pub struct Secrets(Arc<Mutex<HashMap<PathBuf, Secret>>>);

impl Secrets {
    /// Reads the file of every secret. Blocks as long as the disk does. The error names each file that holds none;
    /// then nothing changes.
    pub fn read(&self, configuration: &Configuration) -> Result<(), Vec<String>> {
        let mut secrets = HashMap::new();
        let mut problems = Vec::new();
        for service in &configuration.services {
            let Some(file) = service.forced.as_ref().and_then(|rule| rule.secret.as_ref()) else { continue };
            match Secret::read(file) {
                Ok(secret) => drop(secrets.insert(file.clone(), secret)),
                Err(bad) => {
                    problems.push(format!("services.{}.forced.secret: {} {bad}", service.name, file.display()));
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        *self.0.lock() = secrets;
        Ok(())
    }

    /// The secret of a service; none where it has none, or where its file was not read.
    pub(crate) fn of(&self, service: &config::Service) -> Option<Secret> {
        self.0.lock().get(service.forced.as_ref()?.secret.as_ref()?).cloned()
    }
}
