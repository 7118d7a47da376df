//! The journal as files in a directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::Storage;

const JOURNAL: &str = "journal";
const EVIDENCE: &str = "evidence.json";
/// How many damaged journals are kept.
const KEPT_CORRUPT: u32 = 5;
/// More than any journal grows to; a file beyond it is not read into memory.
const READABLE: u64 = 1 << 30;

/// Files in a state directory.
#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
    /// The journal, open for appending; none until it is needed, and after a rewrite.
    journal: Option<File>,
}

impl Files {
    /// The files of this directory, which exists.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, journal: None }
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

    /// Replaces a file whole: a reader, or a crash, finds the old bytes or the new ones.
    fn replace(&self, name: &str, bytes: &[u8], synced: bool) -> io::Result<()> {
        let temporary = self.path(&format!("{name}.new"));
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        if synced {
            file.sync_all()?;
        }
        fs::rename(&temporary, self.path(name))?;
        if synced {
            // The name is on disk only when the directory is.
            File::open(&self.directory)?.sync_all()?;
        }
        Ok(())
    }
}

impl Storage for Files {
    fn load(&mut self) -> io::Result<Vec<u8>> {
        read_or_empty(&self.path(JOURNAL))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.journal()?.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.journal()?.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.journal()?.set_len(length)
    }

    fn rewrite(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Whatever comes of it, the next append opens the file that then has the name.
        self.journal = None;
        self.replace(JOURNAL, bytes, true)
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
        self.replace(EVIDENCE, bytes, synced)
    }
}

fn read_or_empty(path: &Path) -> io::Result<Vec<u8>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(READABLE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > READABLE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than 1 GiB"));
    }
    Ok(bytes)
}
