//! Where output goes, and whether it may be coloured.

use std::env;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// A place to print to. A pipe that its reader closed is an error of kind `BrokenPipe`.
pub struct Screen<'a> {
    out: &'a mut dyn Write,
    colour: bool,
}

/// What a coloured word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// Harm.
    Bad,
    /// Worth a look.
    Heed,
    /// A heading.
    Strong,
}

impl<'a> Screen<'a> {
    /// Prints to `out` without colour.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, colour: false }
    }

    /// Prints to `out`, coloured if standard output is a terminal, unless `NO_COLOR` is set or the terminal is dumb.
    pub fn as_standard_output(out: &'a mut dyn Write) -> Self {
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
        let colour = io::stdout().is_terminal() && !refused && !dumb;
        Self { out, colour }
    }

    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// Prints a value as indented JSON.
    pub(super) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
        self.line(&text)
    }

    /// Prints a value as one line of JSON.
    pub(super) fn json_line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(value).map_err(io::Error::other)?;
        self.line(&text)
    }

    /// A text in a tone, where there are colours.
    pub(super) fn toned(&self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => 32,
            Tone::Bad => 31,
            Tone::Heed => 33,
            Tone::Strong => 1,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// A text of somebody else's as one line of printable characters: a reason may not steer the terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
