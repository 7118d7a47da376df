//! The state directory: one directory, one process.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::journal::is_at;

/// A state directory that no other process uses while this lives.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    /// The directory itself, held for its lock: a file in it could be deleted, and its lock with it. None where the
    /// file system has no locks.
    lock: Option<File>,
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
         'state'; to delete the file 'lock' does not help. If it serves after an upgrade (USR2), whoever started this \
         process does not follow upgrades (docs/operating.md)",
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
        Self::open_with(path, None)
    }

    /// The same with a lock that another process hands over, or an earlier holder in this one ([`lock`](Self::lock)).
    /// Where it is not this directory's, it is of no use and let go.
    pub fn open_with(path: &Path, held: Option<File>) -> Result<(Self, Vec<String>), UnusableStateDirectory> {
        if let Err(error) = fs::create_dir_all(path) {
            return Err(UnusableStateDirectory::NotCreated { path: path.to_owned(), error });
        }
        let unreadable = |error| UnusableStateDirectory::Unreadable { path: path.to_owned(), error };
        let _entries = fs::read_dir(path).map_err(unreadable)?;
        let mut warnings = Vec::new();
        let held = held.filter(|held| is_at(held, path).unwrap_or(false));
        let directory = held.map_or_else(|| File::open(path), Ok).map_err(unreadable)?;
        // Of a lock that is held already this changes nothing but whose number is told.
        let lock = lock(path, directory, &mut warnings)?;
        Ok((Self { path: path.to_owned(), lock }, warnings))
    }

    /// Another descriptor of the lock, for whoever is to hold the directory next: it is locked until all of them are
    /// closed. None where the file system has no locks.
    ///
    /// # Errors
    /// Where the system has no further descriptor.
    pub fn lock(&self) -> io::Result<Option<File>> {
        self.lock.as_ref().map(File::try_clone).transpose()
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(path: &Path, directory: File, warnings: &mut Vec<String>) -> Result<Option<File>, UnusableStateDirectory> {
    // Only tells a person who holds the lock; the lock itself is the system's.
    let pid = path.join("lock");
    match directory.try_lock() {
        Ok(()) => {
            let _ = fs::write(pid, std::process::id().to_string());
            Ok(Some(directory))
        }
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let read = File::open(pid).and_then(|file| file.take(32).read_to_string(&mut text));
            let holder = read.ok().and_then(|_| text.trim().parse().ok());
            Err(UnusableStateDirectory::InUse { path: path.to_owned(), holder })
        }
        Err(TryLockError::Error(error)) => {
            warnings.push(format!(
                "the state directory {} cannot be locked ({error}): see that no other process uses it",
                path.display()
            ));
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_refused(path: &Path, told: &[&str]) {
        let refused = StateDirectory::open(path).unwrap_err().to_string();
        for told in told {
            assert!(refused.contains(told), "{told}: {refused}");
        }
    }

    #[test]
    fn a_directory_is_one_process_s_until_it_lets_go() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/state");
        let (held, warnings) = StateDirectory::open(&path).unwrap();
        assert_eq!((held.path(), warnings.len()), (path.as_path(), 0));

        assert_refused(&path, &["in use", &format!("process {}", std::process::id()), "does not help"]);

        drop(held);
        assert!(path.join("lock").exists());
        StateDirectory::open(&path).unwrap();
    }

    #[test]
    fn a_lock_that_is_handed_over_is_never_free_between_its_holders() {
        let place = tempfile::tempdir().unwrap();
        let (held, _) = StateDirectory::open(place.path()).unwrap();
        let lock = held.lock().unwrap();
        drop(held);
        assert_refused(place.path(), &["in use by another tidegate"]);

        let (next, warnings) = StateDirectory::open_with(place.path(), lock).unwrap();

        assert_eq!(warnings, Vec::<String>::new());
        assert_refused(place.path(), &["in use by another tidegate"]);
        drop(next);
        StateDirectory::open(place.path()).unwrap();
    }

    #[test]
    fn the_lock_of_another_directory_is_of_no_use_and_let_go() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (held, _) = StateDirectory::open(old.path()).unwrap();
        let lock = held.lock().unwrap();
        drop(held);

        let (_next, _) = StateDirectory::open_with(new.path(), lock).unwrap();

        assert_refused(new.path(), &["in use by another tidegate"]);
        StateDirectory::open(old.path()).unwrap();
    }

    #[test]
    fn without_the_file_lock_a_directory_in_use_is_refused_all_the_same() {
        let place = tempfile::tempdir().unwrap();
        let (_held, _) = StateDirectory::open(place.path()).unwrap();
        fs::remove_file(place.path().join("lock")).unwrap();

        assert_refused(place.path(), &["in use by another tidegate;"]);
    }

    #[test]
    fn a_directory_where_no_number_can_be_left_is_locked_all_the_same() {
        let place = tempfile::tempdir().unwrap();
        // Something that cannot be written: root, who may run this test, is not stopped by modes.
        fs::create_dir(place.path().join("lock")).unwrap();

        let (_held, warnings) = StateDirectory::open(place.path()).unwrap();

        assert_eq!(warnings, Vec::<String>::new());
        assert_refused(place.path(), &["in use by another tidegate;"]);
    }
}
