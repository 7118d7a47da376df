//! The Prometheus text format, as it is written.

use std::fmt::{Display, Write};

/// What kind of family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets, a sum and a count.
    Histogram,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A page of families. A family's head is written with its first sample, so one without samples leaves no trace.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    family: &'static str,
    head: Option<(Kind, &'static str)>,
}

impl Page {
    /// Begins a family. Its samples follow before the next one begins.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) {
        self.family = name;
        self.head = Some((kind, help));
    }

    /// A sample of the present family; `suffix` is `_bucket`, `_sum` or `_count` for histograms and empty otherwise.
    pub(super) fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let family = self.family;
        // Writing to a String cannot fail.
        if let Some((kind, help)) = self.head.take() {
            let _ = write!(self.text, "# HELP {family} {help}\n# TYPE {family} {}\n", kind.word());
        }
        let _ = write!(self.text, "{family}{suffix}");
        for (place, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{label}=\"", if place == 0 { '{' } else { ',' });
            escape(&mut self.text, value);
            self.text.push('"');
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

fn escape(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            plain => text.push(plain),
        }
    }
}
