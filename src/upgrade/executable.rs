//! The executable of this process, to be started again: found by its path, so that a file that was replaced is the new
//! one.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What this process was started from, and with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable {
    path: PathBuf,
    arguments: Vec<OsString>,
}

/// Why an executable is not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStarted {
    #[error("the executable {path} cannot be started: {error}", path = .0.display(), error = .1)]
    Refused(PathBuf, io::Error),
    #[error("{path} is not executable", path = .0.display())]
    NotExecutable(PathBuf),
    #[error("{path} is no program: it may have been written in part only", path = .0.display())]
    NoProgram(PathBuf),
}

impl Executable {
    /// As the process was called: links are not followed now, so that one which leads elsewhere by then is followed
    /// then. To be asked for at the start, while the file is still the one that runs.
    ///
    /// # Errors
    /// Where the system does not tell.
    pub fn of_this_process() -> io::Result<Self> {
        let mut arguments = env::args_os();
        let called = arguments.next().map(PathBuf::from).unwrap_or_default();
        let runs = fs::metadata("/proc/self/exe")?;
        let path = found(&called, env::var_os("PATH"), &runs).map_or_else(whole_name, Ok)?;
        Ok(Self { path, arguments: arguments.collect() })
    }

    /// Starts it with the arguments of this process, and with this variable beside its environment.
    pub(super) fn start(&self, variable: &str, value: &Path) -> Result<Child, NotStarted> {
        let path = &self.path;
        let refused = |error| NotStarted::Refused(path.clone(), error);
        let there = fs::metadata(path).map_err(refused)?;
        if !there.is_file() || there.permissions().mode() & 0o111 == 0 {
            return Err(NotStarted::NotExecutable(path.clone()));
        }
        // The system's own start would give what is no program to a shell.
        let mut first = [0; 4];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut first));
        if read.is_ok() && first != *b"\x7fELF" && !first.starts_with(b"#!")
            || read.is_err_and(|error| is_short(&error))
        {
            return Err(NotStarted::NoProgram(path.clone()));
        }
        Command::new(path).args(&self.arguments).env(variable, value).stdin(Stdio::null()).spawn().map_err(refused)
    }
}

/// Whether a file ended too early. One that may be started and not read is another matter.
fn is_short(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// The file that was called by this name, where it is the one that runs.
fn found(called: &Path, folders: Option<OsString>, runs: &Metadata) -> Option<PathBuf> {
    let is_it = |path: &PathBuf| fs::metadata(path).is_ok_and(|it| (it.dev(), it.ino()) == (runs.dev(), runs.ino()));
    if called.components().count() > 1 {
        return std::path::absolute(called).ok().filter(is_it);
    }
    let folders = folders.unwrap_or_default();
    env::split_paths(&folders).filter_map(|folder| std::path::absolute(folder.join(called)).ok()).find(is_it)
}

/// What the system calls the file that runs. One that was replaced already has a mark behind its name.
fn whole_name() -> io::Result<PathBuf> {
    let path = env::current_exe()?;
    let unmarked = path.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(PathBuf::from);
    Ok(unmarked.filter(|_| !path.exists()).unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn executable(path: &Path, text: &str) -> Executable {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        Executable { path: path.into(), arguments: vec!["a b".into(), "c".into()] }
    }

    #[test]
    fn a_link_is_kept_as_it_was_called_and_a_name_that_leads_elsewhere_is_not() {
        let place = tempfile::tempdir().unwrap();
        let (file, link, other) = (place.path().join("v1"), place.path().join("tidegate"), place.path().join("other"));
        fs::write(&file, "").unwrap();
        fs::write(&other, "").unwrap();
        symlink(&file, &link).unwrap();
        let runs = fs::metadata(&file).unwrap();
        assert_eq!(found(&link, None, &runs), Some(link.clone()));
        assert_eq!(found(&other, None, &runs), None);
        let folders = env::join_paths([Path::new("/nowhere"), place.path()]).unwrap();
        assert_eq!(found(Path::new("tidegate"), Some(folders.clone()), &runs), Some(link));
        assert_eq!(found(Path::new("other"), Some(folders), &runs), None);
    }

    #[test]
    fn it_is_started_with_the_same_arguments_and_told_where_to_come() {
        let place = tempfile::tempdir().unwrap();
        let said = place.path().join("said");
        let script = format!("#!/bin/sh\necho \"$THERE|$1|$2\" > '{}'\n", said.display());
        let mut child = executable(&place.path().join("new"), &script).start("THERE", Path::new("/run/there")).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(fs::read_to_string(said).unwrap(), "/run/there|a b|c\n");
    }

    #[test]
    fn what_cannot_be_started_says_why_and_is_given_to_no_shell() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("new");
        let why = |it: &Executable| it.start("THERE", Path::new("/")).unwrap_err().to_string();
        for broken in ["", "x", "touch /tmp/never"] {
            assert!(why(&executable(&path, broken)).contains("no program"), "{broken}");
        }
        assert!(why(&executable(&path, "\u{7f}ELF, and no more")).contains("cannot be started"));
        let it = executable(&path, "#!/bin/sh\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(why(&it).contains("not executable"));
        fs::remove_file(&path).unwrap();
        assert!(why(&it).contains("cannot be started"));
    }
}
