//! What is wrong with a configuration, told all at once, each problem with its place.

use std::fmt;

use serde::Serialize;

/// One thing that is wrong, or that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file as it was named, or the flag (`--stable`).
    pub file: String,
    /// The line, counted from 1; 0 where the problem has no place in a text.
    pub line: usize,
    /// The column in characters, counted from 1; 0 where the problem has no place in a text.
    pub column: usize,
    /// Where in the configuration (`services.shop.versions.v2.endpoints[0]`); empty for the whole of it.
    pub path: String,
    /// What is wrong; what is legal; did you mean.
    pub message: String,
}

impl Problem {
    /// A problem that has no place in a text: an unreadable file, a flag.
    pub(crate) fn without_place(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0, path: String::new(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    /// `file:line:col: path: message`, without what is not known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Everything that is wrong, in the order of the text. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems in the order of the text; `None` where there are none.
    pub(crate) fn new(mut problems: Vec<Problem>) -> Option<Self> {
        sort(&mut problems);
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// The problems, in the order of the text.
    #[must_use]
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Problems {
    /// One a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Brings problems into the order of the text, and of their finding where they share a place.
pub(crate) fn sort(problems: &mut [Problem]) {
    problems.sort_by_key(|problem| (problem.line, problem.column));
}

/// The operator's own text, safe to print in a line: control characters escaped, long text cut.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown = String::new();
    for (number, character) in text.chars().enumerate() {
        if number == LONGEST {
            shown.push_str("...");
            break;
        }
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}') {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// The operator's own text in backquotes.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", shown(text))
}

/// The one candidate that is near enough for the text to be a slip of the pen; none where two are as near.
pub(crate) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Long texts are no slip, and the distance costs the product of the lengths.
    if text.len() > 100 {
        return None;
    }
    let text = text.to_lowercase();
    let mut near: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&text, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count() / 3)
        .collect();
    near.sort_by_key(|(distance, _)| *distance);
    match near.as_slice() {
        [(first, _), (second, _), ..] if first == second => None,
        [(_, nearest), ..] => Some(nearest),
        [] => None,
    }
}

/// `; did you mean ...?` where one of the candidates is near; else nothing.
pub(crate) fn did_you_mean<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(text, candidates).map_or_else(String::new, |nearest| format!("; did you mean {}?", quoted(nearest)))
}

/// `a, b and c`, each in backquotes.
pub(crate) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(quoted).collect();
    match words.split_last() {
        None => "none".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_stand_in_the_order_of_the_text() {
        let at = |line, column| Problem { line, column, ..Problem::without_place("f", "wrong") };
        let problems = Problems::new(vec![at(2, 1), at(1, 9), at(1, 3)]).unwrap();
        assert_eq!(problems.to_string(), "f:1:3: wrong\nf:1:9: wrong\nf:2:1: wrong");
    }

    #[test]
    fn no_problems_are_no_error() {
        assert_eq!(Problems::new(Vec::new()), None);
    }

    #[test]
    fn text_of_the_operator_never_breaks_the_line() {
        assert_eq!(quoted("a\nb\u{1b}[31m"), "`a\\nb\\u{1b}[31m`");
        assert_eq!(shown(&"x".repeat(100)), format!("{}...", "x".repeat(60)));
    }

    #[test]
    fn a_slip_of_the_pen_is_met_with_the_word_meant() {
        assert_eq!(did_you_mean("stabel", ["stable", "canary"]), "; did you mean `stable`?");
        assert_eq!(did_you_mean("V1", ["v1", "v2"]), "; did you mean `v1`?");
        assert_eq!(did_you_mean("web3", ["web1", "web2"]), "");
        assert_eq!(did_you_mean("something", ["stable", "canary"]), "");
    }
}
