//! The executable as a child process: what it says, how it ends, and that it never outlives its test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::patience::{LONG, found_within, until};

/// A command of the executable under test, in an environment that says nothing to it.
pub(crate) fn tidegate() -> Command {
    quiet(Command::new(env!("CARGO_BIN_EXE_tidegate")))
}

/// The same, begun by a shell that does something first. The shell becomes the executable, so its number is the
/// executable's.
pub(crate) fn tidegate_after(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{script}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_tidegate")]);
    quiet(command)
}

fn quiet(mut command: Command) -> Command {
    for variable in ["TIDEGATE_ADMIN", "TIDEGATE_TOKEN", "TIDEGATE_LOG"] {
        command.env_remove(variable);
    }
    command
}

/// A signal that a person may send.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signal {
    Term,
    Int,
    Hup,
    Usr1,
    Usr2,
    Kill,
    Cont,
}

/// A child process. It is killed when this is dropped; what it said is shown where its test fails.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    out: Lines,
    err: Lines,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct End {
    /// None where a signal killed it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped());
        Self::start_as_is(command)
    }

    /// The same, with the standard output that the command has; what it prints there is not seen here.
    pub(crate) fn start_as_is(mut command: Command) -> Self {
        let command = command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = child.stdout.take().map_or_else(Lines::none, Lines::of);
        let err = Lines::of(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it said on standard error so far.
    pub(crate) fn errors(&self) -> String {
        self.err.text()
    }

    /// Waits for a line on standard error in which `find` finds something.
    pub(crate) fn said<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let found = found_within(LONG, || {
            let found = self.err.find(&find);
            // A process that has ended says nothing more; what it said last is looked at once more.
            if found.is_none() && self.child.try_wait().unwrap().is_some() {
                self.err.finish();
                return Some(self.err.find(&find));
            }
            found.map(Some)
        });
        found.flatten().unwrap_or_else(|| panic!("the process did not say {what}:\n{}", self.errors()))
    }

    /// Everything that follows this label, up to the next blank, in the order in which it was said so far.
    pub(crate) fn all_said(&self, label: &str) -> Vec<String> {
        let after = |line: &str| Some(line.split_once(label)?.1.split_whitespace().next()?.to_owned());
        self.errors().lines().filter_map(after).collect()
    }

    /// Waits until it has said this on standard error.
    pub(crate) fn has_said(&mut self, text: &str) {
        self.said(text, |line| line.contains(text).then_some(()));
    }

    /// Waits until it has said this on standard output.
    pub(crate) fn has_printed(&self, text: &str) {
        until(&format!("{text:?} to be printed"), || self.out.find(&|line| line.contains(text).then_some(())));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(signal, self.id());
    }

    /// The processes that it and its successors started to take over from them, in order.
    pub(crate) fn started(&self) -> Vec<u32> {
        let pids = self.all_said("the new process is started pid=");
        pids.iter().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Waits for its end, though processes that it started go on; its exit code.
    pub(crate) fn leaves(&mut self) -> Option<i32> {
        let status = found_within(LONG, || self.child.try_wait().unwrap());
        status.unwrap_or_else(|| panic!("the process did not end within {} s", LONG.as_secs())).code()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub(crate) fn end(self) -> End {
        self.end_within(LONG)
    }

    /// Waits for its end for so long.
    pub(crate) fn end_within(mut self, longest: Duration) -> End {
        let status = found_within(longest, || self.child.try_wait().unwrap());
        let status = status.unwrap_or_else(|| panic!("the process did not end within {} s", longest.as_secs()));
        self.out.finish();
        self.err.finish();
        End { code: status.code(), out: self.out.text(), err: self.err.text() }
    }
}

/// Sends a signal to the process of this number.
pub(crate) fn send(signal: Signal, pid: u32) {
    let name = match signal {
        Signal::Term => "TERM",
        Signal::Int => "INT",
        Signal::Hup => "HUP",
        Signal::Usr1 => "USR1",
        Signal::Usr2 => "USR2",
        Signal::Kill => "KILL",
        Signal::Cont => "CONT",
    };
    // The shell's own kill, which every system has.
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap();
    assert!(sent.success(), "{name} could not be sent to {pid}");
}

/// Whether the process of this number runs; one that has ended and that nobody asked for its end does not.
pub(crate) fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "a failing test talks to whoever runs it")]
    fn drop(&mut self) {
        // What it started outlives it, and this is the only one who knows. Each has this one's output for its own.
        for pid in self.started().into_iter().filter(|pid| runs(*pid)) {
            send(Signal::Kill, pid);
        }
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let (out, err) = (self.out.text(), self.err.text());
            eprintln!("--- process {} printed:\n{out}--- and on standard error:\n{err}---", self.child.id());
        }
    }
}

/// The lines that a process has written to one of its outputs, gathered as they come.
#[derive(Debug)]
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    gathering: Option<JoinHandle<()>>,
}

impl Lines {
    fn of(output: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let gathered = Arc::clone(&lines);
        let gathering = thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                gathered.lock().unwrap().push(line);
            }
        });
        Self { lines, gathering: Some(gathering) }
    }

    fn none() -> Self {
        Self { lines: Arc::default(), gathering: None }
    }

    fn find<T>(&self, find: &impl Fn(&str) -> Option<T>) -> Option<T> {
        self.lines.lock().unwrap().iter().find_map(|line| find(line))
    }

    /// After the end of the process: waits for what is still in the pipe.
    fn finish(&mut self) {
        if let Some(gathering) = self.gathering.take() {
            gathering.join().unwrap();
        }
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap().iter().map(|line| format!("{line}\n")).collect()
    }
}
