//! A walk through the tree that knows its path and collects what is wrong on the way.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::keys::Keys;
use crate::literal::Illegal;
use crate::model::{ListenAddress, Strictness};
use crate::problem::{Problem, did_you_mean, listed, nearest, quoted, shown};
use crate::tree::{Key, Node, Place, Value};

/// Where problems and warnings are collected while the tree is read.
#[derive(Debug)]
pub(crate) struct Report {
    file: String,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
    /// What requests are refused for, where that is known: what asks for such a one is warned of.
    pub(crate) strictness: Option<Strictness>,
    /// Whether any peer is believed about where requests come from, where that is known.
    pub(crate) trusts: Option<bool>,
    /// Where clients connect, as far as that is known: an endpoint there is warned of.
    pub(crate) listening: Vec<ListenAddress>,
    /// Where the control API of the same file listens, once that is known.
    pub(crate) admin: Option<SocketAddr>,
}

impl Report {
    pub(crate) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            problems: Vec::new(),
            warnings: Vec::new(),
            strictness: None,
            trusts: None,
            listening: Vec::new(),
            admin: None,
        }
    }

    pub(crate) fn problem(&mut self, place: Place, path: &str, message: impl Into<String>) {
        let problem = self.at(place, path, message.into());
        self.problems.push(problem);
    }

    pub(crate) fn warning(&mut self, place: Place, path: &str, message: impl Into<String>) {
        let warning = self.at(place, path, message.into());
        self.warnings.push(warning);
    }

    fn at(&self, Place { line, column }: Place, path: &str, message: String) -> Problem {
        Problem { file: self.file.clone(), line, column, path: path.to_owned(), message }
    }

    /// A place in words, for problems that concern two.
    pub(crate) fn place(&self, place: Place) -> String {
        format!("{}:{}:{}", self.file, place.line, place.column)
    }
}

/// A value, its path, and where problems with it are shown.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    node: &'a Node,
    /// The value's place, or its key's where the value is empty and so stands nowhere in particular.
    pub(crate) place: Place,
    pub(crate) path: String,
    /// The place of its key, where it has one.
    key: Option<Place>,
}

/// A mapping's entry under a name that the operator chose.
#[derive(Debug, Clone)]
pub(crate) struct Entry<'a> {
    pub(crate) key: &'a Key,
    pub(crate) value: Cursor<'a>,
}

impl<'a> Cursor<'a> {
    pub(crate) fn root(node: &'a Node) -> Self {
        Self { node, place: node.place, path: String::new(), key: None }
    }

    /// Reports a problem with this value.
    pub(crate) fn wrong(&self, report: &mut Report, message: impl Into<String>) {
        report.problem(self.place, &self.path, message);
    }

    /// Whether nothing is written here: no value, `~` or `null`.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.node.value {
            Value::Scalar { text, plain: true } => matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"),
            Value::Scalar { plain: false, .. } | Value::List(_) | Value::Map(_) => false,
        }
    }

    /// Whether a list is written here.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// What is written here, in words.
    fn kind(&self) -> String {
        match &self.node.value {
            Value::Scalar { .. } if self.is_empty() => "nothing".to_owned(),
            Value::Scalar { text, .. } => quoted(text),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    /// Reports that something else belongs here.
    pub(crate) fn expected(&self, report: &mut Report, legal: &str) {
        self.wrong(report, format!("{} is written here; legal is {legal}", self.kind()));
    }

    /// The text of a single value. Anything else is a problem; `legal` says what belongs here.
    pub(crate) fn text(&self, report: &mut Report, legal: &str) -> Option<&'a str> {
        if let Some(text) = self.word() {
            return Some(text);
        }
        self.expected(report, legal);
        None
    }

    /// A single value, read from its text. What cannot be read is a problem; `legal` says what belongs here.
    pub(crate) fn literal<T>(
        &self,
        report: &mut Report,
        legal: &str,
        read: impl FnOnce(&str) -> Result<T, Illegal>,
    ) -> Option<T> {
        let text = self.text(report, legal)?;
        read(text).map_err(|illegal| self.wrong(report, illegal.to_string())).ok()
    }

    /// One of a few words. Any other is a problem; `wrong` says what it is not.
    pub(crate) fn choice<T: Copy>(&self, report: &mut Report, wrong: &str, words: &[(&str, T)]) -> Option<T> {
        let legal = || words.iter().map(|(word, _)| *word);
        let text = self.text(report, &listed(legal()))?;
        let chosen = words.iter().find(|(word, _)| *word == text).map(|(_, chosen)| *chosen);
        if chosen.is_none() {
            let near = did_you_mean(text, legal());
            self.wrong(report, format!("{} {wrong}; legal is {}{near}", quoted(text), listed(legal())));
        }
        chosen
    }

    /// Yes or no, as YAML and JSON both say it.
    pub(crate) fn switch(&self, report: &mut Report) -> Option<bool> {
        self.choice(report, "is no truth value", &[("true", true), ("false", false)])
    }

    /// The text of a single value, where this is one.
    pub(crate) fn word(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, .. } if !self.is_empty() => Some(text),
            Value::Scalar { .. } | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The entries of a list. Anything else is a problem.
    pub(crate) fn items(&self, report: &mut Report, legal: &str) -> Option<Vec<Self>> {
        let Value::List(nodes) = &self.node.value else {
            self.expected(report, legal);
            return None;
        };
        let item = |(number, node): (usize, &'a std::rc::Rc<Node>)| Self {
            node,
            place: node.place,
            path: format!("{}[{number}]", self.path),
            key: None,
        };
        Some(nodes.iter().enumerate().map(item).collect())
    }

    /// The entries of a list that has at most so many of `what`. Anything else is a problem; what is too much is not
    /// looked at.
    pub(crate) fn few_items(&self, report: &mut Report, legal: &str, what: &str, most: usize) -> Option<Vec<Self>> {
        let items = self.items(report, legal)?;
        let Some(first_too_many) = items.get(most) else { return Some(items) };
        let written = items.len();
        first_too_many
            .wrong(report, format!("is one {what} too many; a plan has at most {most}, and this one {written}"));
        None
    }

    /// The entries of a mapping, each key once; a key written again is a problem. So is anything but a mapping.
    pub(crate) fn entries(&self, report: &mut Report, legal: &str) -> Option<Vec<Entry<'a>>> {
        let Value::Map(nodes) = &self.node.value else {
            self.expected(report, legal);
            return None;
        };
        let mut first: HashMap<&str, Place> = HashMap::new();
        let mut entries = Vec::new();
        for (key, node) in nodes {
            let path = match self.path.as_str() {
                "" => shown(&key.text),
                path => format!("{path}.{}", shown(&key.text)),
            };
            if let Some(first) = first.get(key.text.as_str()) {
                let first = report.place(*first);
                report.problem(key.place, &path, format!("is written twice; keep one, the other is at {first}"));
                continue;
            }
            first.insert(&key.text, key.place);
            let mut value = Self { node, place: node.place, path, key: Some(key.place) };
            if value.is_empty() {
                value.place = key.place;
            }
            entries.push(Entry { key, value });
        }
        Some(entries)
    }

    /// The entries of a mapping with fixed keys. An unknown key is a problem, and so is one that is not built yet.
    pub(crate) fn fields(&self, report: &mut Report, keys: &Keys) -> Option<Fields<'a>> {
        let legal = format!("a mapping with {}", listed(keys.known.iter().copied()));
        let entries = self.entries(report, &legal)?;
        let mut meant = Vec::new();
        for Entry { key, value } in &entries {
            let name = key.text.as_str();
            if !keys.known.contains(&name) {
                report.problem(key.place, &value.path, unknown_key(name, keys));
                meant.push(Meant::by(name, keys));
            }
        }
        Some(Fields { place: self.key.unwrap_or(self.place), path: self.path.clone(), entries, meant })
    }
}

fn unknown_key(name: &str, keys: &Keys) -> String {
    let quoted = quoted(name);
    if keys.later.contains(&name) {
        return format!("{quoted} is known and not built yet; leave it out for now");
    }
    if let Some((_, instead)) = keys.elsewhere.iter().find(|(key, _)| *key == name) {
        return format!("{quoted} is no key of {}; {instead}", keys.of);
    }
    if name == "<<" {
        return "merge keys are not read; write the keys here, or use an alias for the whole value".to_owned();
    }
    let legal = listed(keys.known.iter().copied());
    let near = did_you_mean(name, keys.known.iter().chain(keys.later).copied());
    format!("{quoted} is no key of {}; legal keys are {legal}{}{near}", keys.of, keys.more)
}

/// What an unknown key was perhaps meant to be, so that one slip is not told twice.
#[derive(Debug, PartialEq)]
enum Meant {
    /// A near miss of this key.
    Key(&'static str),
    /// Any key, from another mapping.
    Merged,
    /// None of these keys: nothing is near, or it is known to be something else.
    Nothing,
}

impl Meant {
    fn by(name: &str, keys: &Keys) -> Self {
        if name == "<<" {
            return Self::Merged;
        }
        if keys.later.contains(&name) || keys.elsewhere.iter().any(|(key, _)| *key == name) {
            return Self::Nothing;
        }
        nearest(name, keys.known.iter().copied()).map_or(Self::Nothing, Self::Key)
    }
}

/// A mapping whose keys have been checked.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    /// The place of the mapping's key, where it has one: a mapping of several lines is known by it.
    place: Place,
    path: String,
    entries: Vec<Entry<'a>>,
    meant: Vec<Meant>,
}

impl<'a> Fields<'a> {
    /// The value under a key, where it is written.
    pub(crate) fn get(&self, key: &str) -> Option<&Cursor<'a>> {
        self.entries.iter().find(|entry| entry.key.text == key).map(|entry| &entry.value)
    }

    /// What is read under a key, or what holds where it is not written; none where what is written is wrong.
    pub(crate) fn or<T>(&self, key: &str, usual: T, read: impl FnOnce(&Cursor<'a>) -> Option<T>) -> Option<T> {
        self.get(key).map_or(Some(usual), read)
    }

    /// What is read under a key where it is written; none where what is written is wrong.
    pub(crate) fn if_written<T>(&self, key: &str, read: impl FnOnce(&Cursor<'a>) -> Option<T>) -> Option<Option<T>> {
        self.get(key).map_or(Some(None), |written| read(written).map(Some))
    }

    /// Whether a key is written.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The value under a key that must be written. Without it a problem, unless it is one already that the key is
    /// misspelt.
    pub(crate) fn need(&self, report: &mut Report, key: &str, legal: &str) -> Option<&Cursor<'a>> {
        let value = self.get(key);
        let told = || {
            self.meant.iter().any(|meant| *meant == Meant::Merged || matches!(meant, Meant::Key(near) if *near == key))
        };
        if value.is_none() && !told() {
            self.wrong(report, format!("{} is missing; write {legal}", quoted(key)));
        }
        value
    }

    /// Reports that none of several keys is written, unless it is a problem already that something unknown is written in
    /// their stead: that one says what is legal.
    pub(crate) fn chooses_none(&self, report: &mut Report, message: impl Into<String>) {
        if self.meant.is_empty() {
            self.wrong(report, message);
        }
    }

    /// Reports a problem with the mapping.
    pub(crate) fn wrong(&self, report: &mut Report, message: impl Into<String>) {
        report.problem(self.place, &self.path, message);
    }
}
