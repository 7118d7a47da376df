//! A configuration explained: every value in force, where it is from, and what it means.
//!
//! What a value means is said by the schema, so that editors and people read the same sentence. Each value is told as the
//! operator would write it: put together, the explanation is a configuration again, and the same one.

mod at;
mod care;
mod dns;
mod listener;
mod places;
mod plan;
mod rules;
mod service;
mod written;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use self::at::At;
use self::places::Places;
use crate::literal::{self, spelt};
use crate::model::Configuration;
use crate::problem::{Problem, Problems};
use crate::read::{Read, parse, text_of};
use crate::schema::json_schema;

/// A value in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Where it stands or could stand: `services.shop.timeouts.total`.
    pub path: String,
    /// The value as it is written, its unit included. In parentheses what holds without a value, like `(none)`.
    pub value: String,
    /// Where it is from.
    pub source: Source,
    /// The default, where it is another value than what is written.
    pub usual: Option<String>,
    /// What it means, in a sentence.
    pub meaning: String,
}

/// Where a value is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It is written in this line of the file, counted from 1.
    Line(usize),
    /// Nothing is written.
    Default,
    /// Nothing is written, and this other key says it.
    As(String),
}

impl fmt::Display for Source {
    /// `line 7`, `default` or `as limits.body`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Default => f.write_str("default"),
            Self::As(path) => write!(f, "as {path}"),
        }
    }
}

/// A configuration that was read, and where each of its values stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The configuration, and what its author should know about it.
    pub read: Read,
    file: String,
    places: Places,
}

impl Explained {
    /// Every value in force, in the order of the documentation.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        settings(&self.read.configuration, &self.places)
    }

    /// A problem that shows only outside of the file, as with a file that it names; `path` says with which value.
    #[must_use]
    pub fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        let mut problem = Problem::without_place(&self.file, message);
        path.clone_into(&mut problem.path);
        if let Some(place) = self.places.nearest(path) {
            (problem.line, problem.column) = (place.line, place.column);
        }
        problem
    }
}

/// Reads the configuration in the file at `path`, and explains it.
///
/// # Errors
/// As [`read_file`](crate::read_file).
pub fn explain_file(path: &Path) -> Result<Explained, Problems> {
    explain(&text_of(path)?, &path.display().to_string())
}

/// Reads a configuration from `text`, and explains it. `file` is the name that problems carry.
///
/// # Errors
/// As [`parse`].
pub fn explain(text: &str, file: &str) -> Result<Explained, Problems> {
    Ok(Explained { read: parse(text, file)?, file: file.to_owned(), places: Places::of(text) })
}

fn settings(configuration: &Configuration, places: &Places) -> Vec<Setting> {
    let schema = json_schema();
    let root = At::root(&schema);
    let mut telling = Telling { places, told: Vec::new() };
    listener::tell(&configuration.listeners, &root.key("listeners"), &mut telling);
    let admin = root.key("admin");
    telling.value(&admin.key("address"), written::text(&configuration.admin.address.to_string()));
    telling.if_some(&admin.key("tokens"), configuration.admin.tokens.as_deref().map(written::path), "none");
    telling.value(&root.key("state"), written::path(&configuration.state));
    dns::tell(&configuration.dns, &root.key("dns"), &mut telling);
    rules::tell(&configuration.rules, &root, &mut telling);
    for service in &configuration.services {
        let at = root.key("services").named(service.name.as_str());
        service::tell(service, &configuration.rules, &at, &root, &mut telling);
    }
    for (name, plan) in &configuration.plans {
        plan::tell(plan, &root.key("plans").named(name.as_str()), &mut telling);
    }
    telling.told
}

/// What was told so far.
struct Telling<'a> {
    places: &'a Places,
    told: Vec<Setting>,
}

impl Telling<'_> {
    /// A value, which is written at its place or is the default.
    fn value(&mut self, at: &At<'_>, value: impl fmt::Display) {
        let source = self.places.line(at.path()).map_or(Source::Default, Source::Line);
        self.tell(at, value.to_string(), source);
    }

    /// A value that may be none; `none` says what that means.
    fn if_some(&mut self, at: &At<'_>, value: Option<impl fmt::Display>, none: &str) {
        match value {
            Some(value) => self.value(at, value),
            None => self.value(at, format_args!("({none})")),
        }
    }

    /// Several values; `none` says what it means that there are none.
    fn list(&mut self, at: &At<'_>, values: impl IntoIterator<Item = String>, none: &str) {
        let values: Vec<String> = values.into_iter().collect();
        self.if_some(at, (!values.is_empty()).then(|| written::list(&values)), none);
    }

    /// A time.
    fn time(&mut self, at: &At<'_>, time: Duration) {
        self.value(at, spelt(time));
    }

    /// A value that is written at its place, or else is what another key says.
    fn own_or(&mut self, at: &At<'_>, value: Option<impl fmt::Display>, other: &At<'_>) {
        let value = value.map_or_else(|| "(none)".to_owned(), |value| value.to_string());
        let source = self.places.line(at.path()).map_or_else(|| Source::As(other.path().to_owned()), Source::Line);
        self.tell(at, value, source);
    }

    /// A value that is written at its place, or at another, or is the default.
    fn own_or_written(&mut self, at: &At<'_>, value: Option<impl fmt::Display>, other: &At<'_>) {
        let value = value.map_or_else(|| "(none)".to_owned(), |value| value.to_string());
        let line = self.places.line(at.path()).or_else(|| self.places.line(other.path()));
        self.tell(at, value, line.map_or(Source::Default, Source::Line));
    }

    /// Whether something is written at its place.
    fn is_written(&self, at: &At<'_>) -> bool {
        self.places.line(at.path()).is_some()
    }

    fn tell(&mut self, at: &At<'_>, value: String, source: Source) {
        // A default may be written otherwise than it is told here: 75s is 1m15s.
        let usual = at.usual().map(|usual| literal::duration(&usual).map_or(usual, spelt));
        let usual = usual.filter(|usual| *usual != value && matches!(source, Source::Line(_)));
        self.told.push(Setting { path: at.path().to_owned(), value, source, usual, meaning: at.meaning() });
    }
}
