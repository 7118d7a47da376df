//! The fields of a head, of a request or a response, up to the empty line that ends it: one set of rules for both.
//! Pure.

use super::characters::{Word, is_space, is_token, run, value_run};
use super::field_check::FieldCheck;
use super::head_check::{BARE_LF, Refused, bad};

/// Reads the fields of one head.
#[derive(Debug)]
pub(crate) struct FieldLines {
    /// As many as there may be.
    most: usize,
    state: State,
    fields: usize,
    /// The field's name, as far as it is told apart.
    word: Word,
    /// The field's value is one that is looked at.
    is_telling: bool,
    /// What those fields say.
    pub(crate) check: FieldCheck,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Name,
    Gap,
    Value,
    ValueLf,
    EndLf,
    Done,
}

impl FieldLines {
    /// Begins to read fields, at most so many.
    pub(crate) fn new(most: usize, check: FieldCheck) -> Self {
        Self { most, state: State::Start, fields: 0, word: Word::default(), is_telling: false, check }
    }

    /// How many there were so far.
    pub(crate) const fn fields(&self) -> usize {
        self.fields
    }

    /// Whether the head is whole.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Reads as much as one state takes, and says how much that was; 0 where only the state has changed. `part` is not
    /// empty.
    pub(crate) fn step(&mut self, part: &[u8]) -> Result<usize, Refused> {
        let first = part[0];
        match self.state {
            State::Start => match self.line(part)? {
                0 => self.start(first),
                used => Ok(used),
            },
            State::Name => self.name(part),
            State::Gap => {
                let spaces = run(part, is_space);
                if spaces < part.len() {
                    self.state = State::Value;
                }
                Ok(spaces)
            }
            State::Value if !self.is_telling => self.value(part),
            State::Value => {
                for (at, byte) in part.iter().enumerate() {
                    if self.check.push(*byte)? {
                        return Ok(at + self.now(State::ValueLf));
                    }
                }
                Ok(part.len())
            }
            State::ValueLf => self.line_end(first, State::Start),
            State::EndLf => self.line_end(first, State::Done),
            State::Done => Ok(0),
        }
    }

    /// One byte was read, and this comes next.
    const fn now(&mut self, next: State) -> usize {
        self.state = next;
        self.word.clear();
        1
    }

    const fn line_end(&mut self, byte: u8, next: State) -> Result<usize, Refused> {
        if byte == b'\n' { Ok(self.now(next)) } else { Err(BARE_CR) }
    }

    /// Reads a field that is there as a whole, as nearly all are, in one go; 0 where it is read by its parts: it is not
    /// whole or not well formed.
    fn line(&mut self, part: &[u8]) -> Result<usize, Refused> {
        let token = run(part, is_token);
        let is_name = token > 0 && part.get(token) == Some(&b':');
        if !is_name || self.fields >= self.most {
            return Ok(0);
        }
        let after = &part[token + 1..];
        let value = value_run(after);
        if !after[value..].starts_with(b"\r\n") {
            return Ok(0);
        }
        self.fields += 1;
        if self.check.is_telling(&part[..token]) {
            self.word.clear();
            self.word.push(&part[..token]);
            self.check.begin(&self.word)?;
            self.check.read(&after[..value])?;
            self.now(State::Start);
        }
        Ok(token + 1 + value + 2)
    }

    fn start(&mut self, byte: u8) -> Result<usize, Refused> {
        self.check.begin_line();
        match byte {
            b'\r' => Ok(self.now(State::EndLf)),
            b'\n' => Err(BARE_LF),
            b' ' | b'\t' => Err(bad("a header is continued on a second line")),
            b':' => Err(bad("a header has no name")),
            _ if self.fields >= self.most => Err(Refused { status: 431, why: "there are too many headers" }),
            _ => {
                self.fields += 1;
                self.word.clear();
                self.state = State::Name;
                Ok(0)
            }
        }
    }

    fn name(&mut self, part: &[u8]) -> Result<usize, Refused> {
        let token = run(part, is_token);
        self.word.push(&part[..token]);
        match part.get(token) {
            None => Ok(token),
            Some(b':') => {
                self.is_telling = self.check.begin(&self.word)?;
                Ok(token + self.now(State::Gap))
            }
            Some(b' ' | b'\t') => Err(bad("a header has a space before its colon")),
            Some(b'\r' | b'\n') => Err(bad("a header has no colon")),
            Some(_) => Err(bad("the name of a header has a character that is not allowed")),
        }
    }

    fn value(&mut self, part: &[u8]) -> Result<usize, Refused> {
        let value = value_run(part);
        match part.get(value) {
            None => Ok(value),
            // Mostly both are there.
            Some(b'\r') if part.get(value + 1) == Some(&b'\n') => Ok(value + 1 + self.now(State::Start)),
            Some(b'\r') => Ok(value + self.now(State::ValueLf)),
            Some(b'\n') => Err(BARE_LF),
            Some(_) => Err(bad("the value of a header has a control character")),
        }
    }
}

pub(crate) const BARE_CR: Refused = bad("a line ends with a bare CR");
