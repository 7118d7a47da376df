//! What was read from files, and is kept when they change for the worse.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use super::pem::Unusable;

/// The last good value of some files.
#[derive(Debug)]
pub(super) struct Kept<T> {
    pub(super) good: T,
    stamps: Vec<Stamp>,
    pub(super) trouble: Option<Trouble>,
}

/// Why the files are not what is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong with them.
    pub why: Unusable,
    /// Since when.
    pub since: SystemTime,
}

/// What a look at the files brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing new.
    None,
    /// Another good value.
    Renewed,
    /// They cannot be used, for a reason that is new; what was good is kept.
    Failed,
}

/// What tells a file from another version of itself: none where it is not there. The time of its last change of any
/// kind is looked at as well, since a tool may set back the time of its writing.
type Stamp = Option<[i64; 6]>;

fn stamps(files: &[&Path]) -> Vec<Stamp> {
    let stamp = |file: &&Path| {
        // Links are followed: that is how Kubernetes and certbot replace files.
        let data = std::fs::metadata(file).ok()?;
        let size_and_inode = [data.size().cast_signed(), data.ino().cast_signed()];
        let [size, inode] = size_and_inode;
        Some([size, inode, data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec()])
    };
    files.iter().map(stamp).collect()
}

impl<T> Kept<T> {
    /// Reads them for the first time.
    pub(super) fn read(files: &[&Path], read: impl FnOnce() -> Result<T, Unusable>) -> Result<Self, Unusable> {
        // Before the files: a change while they are read is seen at the next look.
        let stamps = stamps(files);
        Ok(Self { good: read()?, stamps, trouble: None })
    }

    /// Reads them again where they changed, or were in trouble: a disk may recover without a change.
    pub(super) fn look(
        &mut self,
        files: &[&Path],
        read: impl FnOnce() -> Result<T, Unusable>,
        now: SystemTime,
    ) -> Change {
        let stamps = stamps(files);
        if stamps == self.stamps && self.trouble.is_none() {
            return Change::None;
        }
        self.stamps = stamps;
        match read() {
            Ok(good) => {
                self.good = good;
                self.trouble = None;
                Change::Renewed
            }
            Err(why) => {
                let before = self.trouble.take();
                let change = if before.as_ref().is_some_and(|trouble| trouble.why == why) {
                    Change::None
                } else {
                    Change::Failed
                };
                self.trouble = Some(Trouble { why, since: before.map_or(now, |trouble| trouble.since) });
                change
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn trouble_is_told_once_and_ends_with_the_first_look_that_goes_well_though_no_file_has_changed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let files = [file.path()];
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let unusable = |why: &str| Unusable::Refused { file: "a.pem".into(), why: why.to_owned() };
        let mut kept = Kept::read(&files, || Ok(1)).unwrap();
        assert_eq!(kept.look(&files, || panic!("nothing has changed"), at(1)), Change::None);
        std::fs::write(file.path(), "x").unwrap();
        assert_eq!(kept.look(&files, || Err(unusable("torn")), at(2)), Change::Failed);
        assert_eq!(kept.look(&files, || Err(unusable("torn")), at(3)), Change::None);
        assert_eq!(kept.look(&files, || Err(unusable("empty")), at(4)), Change::Failed);
        assert_eq!((kept.good, &kept.trouble), (1, &Some(Trouble { why: unusable("empty"), since: at(2) })));
        assert_eq!(kept.look(&files, || Ok(2), at(5)), Change::Renewed);
        assert_eq!((kept.good, kept.trouble), (2, None));
    }
}
