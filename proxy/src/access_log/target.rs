//! Where a log goes: standard output, or a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use config::LogTarget;

use super::CannotLog;

/// A target, open or yet to be opened.
#[derive(Debug)]
pub(super) struct Target {
    place: LogTarget,
    /// None while it is closed.
    file: Option<File>,
    /// A line was written in part: the next one must not be taken for its end.
    torn: bool,
}

impl Target {
    /// Opens a target. Blocks as long as the disk does.
    pub(super) fn open(place: &LogTarget) -> Result<Self, CannotLog> {
        let mut target = Self::closed(place.clone());
        target.reopen().map_err(|error| match place {
            LogTarget::File(path) => {
                CannotLog::File { file: path.display().to_string(), reason: why_not(path, &error) }
            }
            LogTarget::Stdout => CannotLog::File { file: "standard output".into(), reason: error.to_string() },
        })?;
        Ok(target)
    }

    /// A target that is opened when something is written.
    pub(super) const fn closed(place: LogTarget) -> Self {
        Self { place, file: None, torn: false }
    }

    pub(super) const fn place(&self) -> &LogTarget {
        &self.place
    }

    /// Opens the file of this name anew. Where that fails the old one stays in use.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.file = Some(match &self.place {
            LogTarget::File(path) => {
                self.torn = false;
                append_to(path)?
            }
            // Without the buffer that the standard library puts before it: what was written must be known.
            LogTarget::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        });
        Ok(())
    }

    /// Writes whole lines; where that fails in between, says how many were not written whole.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), (u64, io::Error)> {
        let mut sent = 0;
        let written = self.write_from(lines, &mut sent);
        written.map_err(|error| {
            self.torn |= sent > 0 && lines[sent - 1] != b'\n';
            (lines[sent..].iter().filter(|byte| **byte == b'\n').count() as u64, error)
        })
    }

    /// Writes lines, and counts the bytes that were written.
    fn write_from(&mut self, lines: &[u8], sent: &mut usize) -> io::Result<()> {
        if self.file.is_none() {
            self.reopen()?;
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        if self.torn {
            file.write_all(b"\n")?;
            self.torn = false;
        }
        while *sent < lines.len() {
            match file.write(&lines[*sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => *sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Why a log could not be begun there, as far as can be said without creating a file: the user who checks may be another
/// than the one who serves.
pub(super) fn look(place: &LogTarget) -> Result<(), CannotLog> {
    let LogTarget::File(path) = place else { return Ok(()) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let found = match fs::metadata(path) {
        Ok(file) if file.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::metadata(folder).map(drop),
        Err(error) => Err(error),
    };
    found.map_err(|error| CannotLog::File { file: path.display().to_string(), reason: why_not(path, &error) })
}

/// A file to append to, or a device.
fn append_to(path: &Path) -> io::Result<File> {
    // Without waiting: a pipe that nobody reads must not keep a reload from its end.
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).custom_flags(nix::libc::O_NONBLOCK).mode(0o640).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_fifo() || kind.is_socket() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, NO_PIPE));
    }
    Ok(file)
}

const NO_PIPE: &str = "it is a pipe, and legal is a file; to pipe the log, write it to stdout";

/// Why a file cannot be written to, and what to do.
#[expect(clippy::wildcard_enum_match_arm, reason = "the standard library's kinds of errors are open")]
fn why_not(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.map_or_else(|| ".".into(), |folder| folder.display().to_string());
            format!("there is no folder {folder}; create it, or choose another file")
        }
        io::ErrorKind::PermissionDenied => {
            "not permitted; give the user that runs tidegate the right to write there, or choose another file".into()
        }
        io::ErrorKind::IsADirectory => "it is a folder; write the name of a file in it".into(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only; choose another file".into(),
        // What opening a pipe without a reader says.
        _ if error.raw_os_error() == Some(nix::libc::ENXIO) => NO_PIPE.into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A target that takes what fits into a socket's buffer, and its other end.
    fn small() -> (Target, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        (Target { place: LogTarget::Stdout, file: Some(File::from(OwnedFd::from(ours))), torn: false }, theirs)
    }

    /// What was written and not read yet.
    fn written(end: &mut UnixStream) -> String {
        let mut written = Vec::new();
        assert_eq!(end.read_to_end(&mut written).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn of_lines_that_do_not_fit_those_are_lost_that_were_not_written_whole_and_the_next_stands_by_itself() {
        let (mut target, mut end) = small();
        let too_long = "x".repeat(4 << 20);
        let (lost, error) = target.write(format!("one\ntwo\n{too_long}\nfour\n").as_bytes()).unwrap_err();
        assert_eq!((lost, error.kind()), (2, io::ErrorKind::WouldBlock));
        let torn = written(&mut end);
        assert!(torn.starts_with("one\ntwo\nx") && torn.ends_with('x'), "{} bytes", torn.len());
        target.write(b"five\n").unwrap();
        assert_eq!(written(&mut end), "\nfive\n");
        target.write(b"six\n").unwrap();
        assert_eq!(written(&mut end), "six\n");
    }
}
