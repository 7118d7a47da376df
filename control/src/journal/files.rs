//! The journal as files in a directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Storage;

const JOURNAL: &str = "journal";
const EVIDENCE: &str = "evidence.json";
const BACKGROUND: &str = "background.json";
/// How many damaged journals are kept.
const KEPT_CORRUPT: u32 = 5;
/// More than any journal grows to; a file beyond it is not read into memory.
const READABLE: u64 = 1 << 30;

/// Files in a state directory.
#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
    /// The directory itself, to notice another one in its place. Held for the lock too, where this is not the one
    /// that was locked at the start.
    opened: Option<File>,
    /// The journal, open for appending, for as long as it is the one that was read or written here: so the system
    /// gives its number to no other file. None after an error.
    journal: Option<File>,
}

impl Files {
    /// The files of this directory, which exists.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        let opened = File::open(&directory).ok();
        Self { directory, opened, journal: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn journal(&mut self) -> io::Result<&mut File> {
        let file = match self.journal.take() {
            Some(file) => file,
            None => OpenOptions::new().append(true).open(self.path(JOURNAL))?,
        };
        Ok(self.journal.insert(file))
    }

    /// Creates the directory where it was deleted. One that is not the one that was locked is used only with its
    /// lock: another process may have created it.
    fn claim_directory(&mut self) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        if let Some(opened) = &self.opened
            && is_at(opened, &self.directory)?
        {
            return Ok(());
        }
        let found = File::open(&self.directory)?;
        if let Err(TryLockError::WouldBlock) = found.try_lock() {
            let problem = "the directory was replaced, and another tidegate uses the new one";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, problem));
        }
        self.opened = Some(found);
        Ok(())
    }

    /// Replaces a file whole: a reader, or a crash, finds the old bytes or the new ones. Gives the file, open for
    /// appending.
    fn replace(&self, name: &str, bytes: &[u8], synced: bool) -> io::Result<File> {
        let temporary = self.path(&format!("{name}.new"));
        let mut file = OpenOptions::new().append(true).create(true).open(&temporary)?;
        file.set_len(0)?;
        file.write_all(bytes)?;
        if synced {
            file.sync_all()?;
        }
        fs::rename(&temporary, self.path(name))?;
        if synced {
            // The name is on disk only when the directory is.
            File::open(&self.directory)?.sync_all()?;
        }
        Ok(file)
    }
}

impl Storage for Files {
    fn load(&mut self) -> io::Result<Option<Vec<u8>>> {
        // Where it may only be read, the first write says so.
        self.journal = OpenOptions::new().append(true).open(self.path(JOURNAL)).ok();
        read(&self.path(JOURNAL))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.journal()?.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let path = self.path(JOURNAL);
        let journal = self.journal()?;
        journal.sync_data()?;
        // A file without a name takes all that is written to it, and is gone with the process.
        if !is_at(journal, &path)? {
            let problem = "the journal was deleted or replaced while in use";
            return Err(io::Error::new(io::ErrorKind::NotFound, problem));
        }
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.journal()?.set_len(length)
    }

    fn rewrite(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.journal = None;
        self.claim_directory()?;
        self.journal = Some(self.replace(JOURNAL, bytes, true)?);
        Ok(())
    }

    fn set_aside(&mut self, bytes: &[u8]) -> io::Result<String> {
        let mut kept: Vec<u32> = fs::read_dir(&self.directory)?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("journal.corrupt-")?.parse().ok())
            .collect();
        kept.sort_unstable();
        let number = kept.last().map_or(1, |last| last.saturating_add(1));
        let name = format!("journal.corrupt-{number}");
        self.replace(&name, bytes, true)?;
        kept.push(number);
        let surplus = kept.len().saturating_sub(KEPT_CORRUPT as usize);
        for old in &kept[..surplus] {
            fs::remove_file(self.path(&format!("journal.corrupt-{old}")))?;
        }
        Ok(name)
    }

    fn load_evidence(&mut self) -> io::Result<Vec<u8>> {
        read_or_empty(&self.path(EVIDENCE))
    }

    fn write_evidence(&mut self, bytes: &[u8], synced: bool) -> io::Result<()> {
        self.replace(EVIDENCE, bytes, synced).map(drop)
    }

    fn load_background(&mut self) -> io::Result<Vec<u8>> {
        read_or_empty(&self.path(BACKGROUND))
    }

    fn write_background(&mut self, bytes: &[u8], synced: bool) -> io::Result<()> {
        self.replace(BACKGROUND, bytes, synced).map(drop)
    }
}

/// Whether this open file is the one that has this name.
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let named = match fs::metadata(path) {
        Ok(named) => named,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let open = file.metadata()?;
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
}

fn read_or_empty(path: &Path) -> io::Result<Vec<u8>> {
    read(path).map(Option::unwrap_or_default)
}

/// None where there is no such file.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(READABLE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > READABLE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than 1 GiB"));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A journal of one line in a directory of its own, in use.
    fn in_use() -> (tempfile::TempDir, PathBuf, Files) {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("state");
        let mut files = Files::new(directory.clone());
        files.rewrite(b"one\n").unwrap();
        (place, directory, files)
    }

    fn write(files: &mut Files, line: &str) -> io::Result<()> {
        files.append(line.as_bytes()).and_then(|()| files.sync())
    }

    fn assert_refused(written: io::Result<()>) {
        let text = written.unwrap_err().to_string();
        assert!(text.contains("deleted or replaced while in use"), "{text}");
    }

    #[test]
    fn what_is_appended_follows_what_was_written_and_read() {
        let (_place, directory, mut files) = in_use();
        write(&mut files, "two\n").unwrap();
        let mut next = Files::new(directory.clone());
        assert_eq!(next.load().unwrap().unwrap(), b"one\ntwo\n");
        write(&mut next, "three\n").unwrap();
        next.truncate(4).unwrap();
        write(&mut next, "four\n").unwrap();
        assert_eq!(fs::read(directory.join(JOURNAL)).unwrap(), b"one\nfour\n");
    }

    #[test]
    fn a_journal_that_was_deleted_takes_nothing_until_it_is_written_anew() {
        let (_place, directory, mut files) = in_use();
        fs::remove_file(directory.join(JOURNAL)).unwrap();

        assert_refused(write(&mut files, "two\n"));

        files.rewrite(b"anew\n").unwrap();
        write(&mut files, "three\n").unwrap();
        assert_eq!(fs::read(directory.join(JOURNAL)).unwrap(), b"anew\nthree\n");
    }

    #[test]
    fn a_journal_that_was_replaced_is_noticed_by_the_first_write_after_it_was_read_or_written() {
        let (_place, directory, written) = in_use();
        let mut read = Files::new(directory.clone());
        read.load().unwrap();
        fs::write(directory.join("copy"), "one\n").unwrap();
        fs::rename(directory.join("copy"), directory.join(JOURNAL)).unwrap();

        for mut files in [read, written] {
            assert_refused(write(&mut files, "two\n"));
        }

        assert_eq!(fs::read(directory.join(JOURNAL)).unwrap(), b"one\n", "the other file is left as it is");
    }

    #[test]
    fn a_directory_that_was_deleted_is_created_and_locked_again() {
        let (_place, directory, mut files) = in_use();
        fs::remove_dir_all(&directory).unwrap();
        assert_refused(write(&mut files, "two\n"));

        files.rewrite(b"anew\n").unwrap();

        assert_eq!(fs::read(directory.join(JOURNAL)).unwrap(), b"anew\n");
        let locked = File::open(&directory).unwrap().try_lock();
        assert!(matches!(locked, Err(TryLockError::WouldBlock)), "{locked:?}");
    }

    #[test]
    fn a_directory_in_place_of_the_deleted_one_that_another_process_uses_is_left_alone() {
        let (_place, directory, mut files) = in_use();
        fs::remove_dir_all(&directory).unwrap();
        fs::create_dir(&directory).unwrap();
        let other = File::open(&directory).unwrap();
        other.try_lock().unwrap();

        let refused = files.rewrite(b"anew\n").unwrap_err().to_string();

        assert!(refused.contains("another tidegate uses"), "{refused}");
        assert!(!directory.join(JOURNAL).exists());
        drop(other);
        files.rewrite(b"anew\n").unwrap();
    }
}
