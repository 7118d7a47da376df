//! One record on the disk.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ulid::Ulid;

use super::read::Reader;
use super::thin::thinned;

/// A record longer than this is thinned.
pub(super) const LONGEST: u64 = 8 << 20;
/// How long it is then at most.
pub(super) const THINNED: usize = 6 << 20;
/// How many records of a service are kept: as many as rollouts in its history.
const KEPT: usize = 20;

/// The file of one record.
#[derive(Debug)]
pub(super) struct RecordFile {
    path: PathBuf,
    rollout: String,
    /// How long it is, as far as it is written well.
    size: u64,
}

impl RecordFile {
    /// The record of this rollout below `folder`, whether it exists or not.
    pub(super) fn new(folder: &Path, service: &str, rollout: &str) -> Self {
        let path = folder.join(service).join(format!("{rollout}.jsonl"));
        Self { path, rollout: rollout.to_owned(), size: 0 }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the record is there and can go on. What a crash left of a last line is cut off.
    pub(super) fn open_again(&mut self) -> io::Result<bool> {
        let file = match OpenOptions::new().read(true).write(true).open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let whole = whole_lines(&file)?;
        let ours = Reader::begin(BufReader::new(&file))
            .is_ok_and(|reader| reader.header().rollout.as_deref() == Some(self.rollout.as_str()));
        if !ours || whole == 0 {
            self.set_aside()?;
            return Ok(false);
        }
        file.set_len(whole)?;
        self.size = whole;
        self.thin()?;
        Ok(true)
    }

    /// Begins the record with this first line. The oldest of the service's records make room for it.
    pub(super) fn create(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            // The state directory itself is not created here: it is the journal's to claim.
            for folder in [folder.parent(), Some(folder)].into_iter().flatten() {
                match DirBuilder::new().mode(0o700).create(folder) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
            prune(folder)?;
        }
        self.replace(bytes)
    }

    /// Adds lines. After an error none of them is there.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        let length = file.metadata()?.len();
        if length < self.size {
            return Err(io::Error::other("the record was changed while it was written"));
        }
        if length > self.size {
            // The rest of a write that failed.
            file.set_len(self.size)?;
        }
        if let Err(error) = file.write_all(bytes) {
            // Where this fails too, the next append does it.
            let _ = file.set_len(self.size);
            return Err(error);
        }
        self.size += bytes.len() as u64;
        self.thin()
    }

    /// Thins a record that has grown too long.
    fn thin(&mut self) -> io::Result<()> {
        if self.size <= LONGEST {
            return Ok(());
        }
        let bytes = fs::read(&self.path)?;
        match thinned(&bytes, THINNED) {
            Ok(thinned) => self.replace(&thinned),
            Err(unreadable) => {
                // Somebody wrote into it. It is kept for whoever wants to know, and a fresh one begins.
                self.set_aside()?;
                Err(io::Error::new(io::ErrorKind::InvalidData, unreadable))
            }
        }
    }

    /// Replaces the file whole.
    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        let fresh = self.path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        let written = file.write_all(bytes).and_then(|()| fs::rename(&fresh, &self.path));
        if let Err(error) = written {
            let _ = fs::remove_file(&fresh);
            return Err(error);
        }
        self.size = bytes.len() as u64;
        Ok(())
    }

    fn set_aside(&self) -> io::Result<()> {
        let aside = self.path.with_extension("damaged");
        tracing::warn!(kept = %aside.display(), "a record of a rollout is damaged; it is kept aside, and a fresh one begins");
        fs::rename(&self.path, aside)
    }
}

/// How many bytes the whole lines of a file take.
fn whole_lines(mut file: &File) -> io::Result<u64> {
    const CHUNK: u64 = 64 << 10;
    let mut end = file.metadata()?.len();
    let mut chunk = Vec::new();
    while end > 0 {
        let begin = end.saturating_sub(CHUNK);
        file.seek(SeekFrom::Start(begin))?;
        chunk.clear();
        file.take(end - begin).read_to_end(&mut chunk)?;
        if let Some(place) = chunk.iter().rposition(|byte| *byte == b'\n') {
            file.rewind()?;
            return Ok(begin + place as u64 + 1);
        }
        end = begin;
    }
    file.rewind()?;
    Ok(0)
}

/// Whether a file is named like a record, one that was set aside, or what is left of one that was being replaced.
pub(super) fn is_record(path: &Path) -> bool {
    let kind = path.extension().and_then(OsStr::to_str);
    // As this program writes identifiers: in capitals.
    let identifies = |stem: &str| Ulid::from_string(stem).is_ok_and(|id| id.to_string() == stem);
    kind.is_some_and(|kind| matches!(kind, "jsonl" | "damaged" | "new"))
        && path.file_stem().and_then(OsStr::to_str).is_some_and(identifies)
}

/// Deletes the oldest records of a service, so that there is room for one more. Identifiers of rollouts, which name
/// them, grow with time. What else people keep in the folder is left alone.
fn prune(folder: &Path) -> io::Result<()> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let records = entries.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let mut paths: Vec<PathBuf> = records.map(fs::DirEntry::path).filter(|path| is_record(path)).collect();
    paths.sort_unstable();
    let surplus = (paths.len() + 1).saturating_sub(KEPT);
    for path in &paths[..surplus] {
        fs::remove_file(path)?;
    }
    Ok(())
}
