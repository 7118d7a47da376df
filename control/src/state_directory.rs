//! The state directory: one directory, one process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A state directory that no other process uses while this lives.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    /// Held for its lock. None where the directory is read-only and has no lock file.
    _lock: Option<File>,
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableStateDirectory {
    /// It does not exist and cannot be created.
    #[error("the state directory {path} cannot be created: {error}", path = path.display())]
    NotCreated {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It cannot be read.
    #[error(
        "the state directory {path} cannot be read: {error}; it must be a directory that this user can read and write",
        path = path.display()
    )]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process uses it.
    #[error(
        "the state directory {path} is in use by another tidegate{holder}; stop it first, or give this one another \
         'state'",
        path = path.display(),
        holder = holder.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other process, where it left its number.
        holder: Option<u32>,
    },
}

impl StateDirectory {
    /// Creates the directory where it does not exist, and takes its lock. With it come warnings for the operator.
    pub fn open(path: &Path) -> Result<(Self, Vec<String>), UnusableStateDirectory> {
        if let Err(error) = fs::create_dir_all(path) {
            return Err(UnusableStateDirectory::NotCreated { path: path.to_owned(), error });
        }
        let unreadable = |error| UnusableStateDirectory::Unreadable { path: path.to_owned(), error };
        let _entries = fs::read_dir(path).map_err(unreadable)?;
        let mut warnings = Vec::new();
        let lock = lock(path, &mut warnings)?;
        Ok((Self { path: path.to_owned(), _lock: lock }, warnings))
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(directory: &Path, warnings: &mut Vec<String>) -> Result<Option<File>, UnusableStateDirectory> {
    let path = directory.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    // A directory that is read-only now may still be shared with a process that could write: its lock file counts.
    let mut file = match options.open(&path).or_else(|_| File::open(&path)) {
        Ok(file) => file,
        Err(error) => {
            warnings.push(format!(
                "the state directory {} has no lock and none can be created ({error}): see that no other process uses \
                 it",
                directory.display()
            ));
            return Ok(None);
        }
    };
    match file.try_lock() {
        Ok(()) => {
            // Only tells a person who holds the lock; the lock itself is the system's.
            let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
            Ok(Some(file))
        }
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let read = (&file).take(32).read_to_string(&mut text);
            let holder = read.ok().and_then(|_| text.trim().parse().ok());
            Err(UnusableStateDirectory::InUse { path: directory.to_owned(), holder })
        }
        Err(TryLockError::Error(error)) => {
            warnings.push(format!("the state directory {} cannot be locked: {error}", directory.display()));
            Ok(None)
        }
    }
}
