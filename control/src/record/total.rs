//! How much room all records of a state directory may take together.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::file::is_record;

/// So many bytes are all records at most, as far as those of ended rollouts can make room.
pub(super) const MOST: u64 = 1 << 30;

/// What was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Freed {
    pub(super) files: usize,
    pub(super) bytes: u64,
}

/// A file that is a record, or was one.
#[derive(Debug)]
struct Found {
    path: PathBuf,
    bytes: u64,
}

/// Deletes the oldest records below `folder`, of whichever service, until all of them are at most `most` bytes long.
/// Those in `running` count, and are never deleted; nor is anything that is no record.
pub(super) fn prune_all(folder: &Path, running: &HashSet<PathBuf>, most: u64) -> io::Result<Freed> {
    let mut found = Vec::new();
    for service in entries(folder)? {
        if service.file_type().is_ok_and(|kind| kind.is_dir()) {
            find(&service.path(), &mut found)?;
        }
    }
    let mut total: u64 = found.iter().map(|file| file.bytes).sum();
    // Identifiers of rollouts, which name them, grow with time.
    found.sort_unstable_by(|a, b| a.path.file_name().cmp(&b.path.file_name()));
    let mut freed = Freed::default();
    for Found { path, bytes } in found {
        if total <= most {
            break;
        }
        if running.contains(&path.with_extension("jsonl")) {
            continue;
        }
        fs::remove_file(path)?;
        total -= bytes;
        freed.files += 1;
        freed.bytes += bytes;
    }
    Ok(freed)
}

fn find(service: &Path, found: &mut Vec<Found>) -> io::Result<()> {
    for entry in entries(service)? {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_file()) && is_record(&path) {
            found.push(Found { bytes: entry.metadata()?.len(), path });
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use ulid::Ulid;

    use super::*;

    /// A record of a hundred bytes.
    fn record(folder: &Path, service: &str, number: u64, kind: &str) -> PathBuf {
        let id = Ulid::from_parts(1_795_305_600_000 + number, 7);
        let path = folder.join(service).join(format!("{id}.{kind}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, [b'x'; 100]).unwrap();
        path
    }

    #[test]
    fn the_oldest_of_all_services_go_and_running_ones_and_what_is_no_record_stay() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        let running = record(folder, "shop", 0, "jsonl");
        let aside = record(folder, "shop", 0, "damaged");
        let gone = [record(folder, "cart", 1, "jsonl"), record(folder, "shop", 2, "damaged")];
        let kept = [record(folder, "shop", 3, "jsonl"), record(folder, "cart", 4, "jsonl")];
        let foreign = [record(folder, "shop", 1, "txt"), folder.join("notes.jsonl")];
        fs::write(&foreign[1], [b'x'; 1_000]).unwrap();

        let running_ones = HashSet::from([running.clone()]);
        let freed = prune_all(folder, &running_ones, 400).unwrap();

        assert_eq!(freed, Freed { files: 2, bytes: 200 });
        assert!(gone.iter().all(|path| !path.exists()), "{gone:?}");
        let stay = [running, aside].into_iter().chain(kept).chain(foreign);
        stay.for_each(|path| assert!(path.exists(), "{}", path.display()));
        assert_eq!(prune_all(folder, &running_ones, 400).unwrap(), Freed::default());
        assert_eq!(prune_all(folder, &running_ones, 0).unwrap().files, 2, "running ones are never deleted");
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_records() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(prune_all(&place.path().join("records"), &HashSet::new(), 0).unwrap(), Freed::default());
    }
}
