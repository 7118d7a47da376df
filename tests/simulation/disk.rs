//! A disk in memory that fails, hangs, crashes and forgets what was not synced.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use control::journal::Storage;

/// How a disk behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Does what it is told.
    Fine,
    /// Takes no more bytes.
    Full,
    /// Takes bytes and fails at some syncs and renames.
    Flaky,
}

/// A disk. Clones are the same disk, so that it outlives the process that uses it.
#[derive(Debug, Clone)]
pub(crate) struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug)]
struct Platter {
    /// What the journal is for everyone who reads it.
    journal: Vec<u8>,
    /// What a power loss leaves for certain.
    synced: Vec<u8>,
    evidence: Vec<u8>,
    background: Vec<u8>,
    mood: Mood,
    random: fastrand::Rng,
}

impl Disk {
    /// An empty disk.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Platter {
            journal: Vec::new(),
            synced: Vec::new(),
            evidence: Vec::new(),
            background: Vec::new(),
            mood: Mood::Fine,
            random: fastrand::Rng::with_seed(seed),
        })))
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.platter().mood = mood;
    }

    /// What a power loss now would leave for certain.
    pub(crate) fn synced(&self) -> Vec<u8> {
        self.platter().synced.clone()
    }

    /// The power fails: of what was not synced, any prefix survives.
    pub(crate) fn lose_power(&self) {
        let mut platter = self.platter();
        let Platter { journal, synced, random, .. } = &mut *platter;
        if let Some(unsynced) = journal.strip_prefix(synced.as_slice()) {
            let survives = random.usize(..=unsynced.len());
            synced.extend(&unsynced[..survives]);
        }
        platter.journal = platter.synced.clone();
    }

    /// A disk of its own with these bytes as its journal.
    pub(crate) fn of(journal: Vec<u8>) -> Self {
        let disk = Self::new(0);
        disk.platter().synced.clone_from(&journal);
        disk.platter().journal = journal;
        disk
    }
}

fn refused<T>(kind: io::ErrorKind) -> io::Result<T> {
    Err(kind.into())
}

impl Storage for Disk {
    fn load(&mut self) -> io::Result<Option<Vec<u8>>> {
        let journal = self.platter().journal.clone();
        Ok((!journal.is_empty()).then_some(journal))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut platter = self.platter();
        if platter.mood == Mood::Full {
            let fits = platter.random.usize(..bytes.len());
            platter.journal.extend(&bytes[..fits]);
            return refused(io::ErrorKind::StorageFull);
        }
        platter.journal.extend(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut platter = self.platter();
        if platter.mood == Mood::Flaky && platter.random.bool() {
            return refused(io::ErrorKind::Other);
        }
        platter.synced = platter.journal.clone();
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).unwrap();
        self.platter().journal.truncate(length);
        Ok(())
    }

    fn rewrite(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut platter = self.platter();
        if platter.mood == Mood::Full {
            return refused(io::ErrorKind::StorageFull);
        }
        if platter.mood == Mood::Flaky && platter.random.bool() {
            // The error may come before the name changed hands, after it, or after that was on disk.
            match platter.random.u8(..3) {
                0 => {}
                1 => platter.journal = bytes.to_vec(),
                _ => {
                    platter.journal = bytes.to_vec();
                    platter.synced = bytes.to_vec();
                }
            }
            return refused(io::ErrorKind::Other);
        }
        platter.journal = bytes.to_vec();
        platter.synced = bytes.to_vec();
        Ok(())
    }

    fn set_aside(&mut self, _bytes: &[u8]) -> io::Result<String> {
        Ok("journal.corrupt-1".to_owned())
    }

    fn load_evidence(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.platter().evidence.clone())
    }

    fn write_evidence(&mut self, bytes: &[u8], _synced: bool) -> io::Result<()> {
        let mut platter = self.platter();
        if platter.mood == Mood::Full {
            return refused(io::ErrorKind::StorageFull);
        }
        platter.evidence = bytes.to_vec();
        Ok(())
    }

    fn load_background(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.platter().background.clone())
    }

    fn write_background(&mut self, bytes: &[u8], _synced: bool) -> io::Result<()> {
        let mut platter = self.platter();
        if platter.mood == Mood::Full {
            return refused(io::ErrorKind::StorageFull);
        }
        platter.background = bytes.to_vec();
        Ok(())
    }
}
