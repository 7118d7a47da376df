//! Figures, and the tables that they are shown in.

use std::fmt::{self, Display};

use crate::watch::Outcome;

/// A table in Markdown.
pub(crate) struct Table {
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heads: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { heads: heads.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| {} |", self.heads.join(" | "))?;
        writeln!(f, "|{}|", vec!["---"; self.heads.len()].join("|"))?;
        self.rows.iter().try_for_each(|row| writeln!(f, "| {} |", row.join(" | ")))
    }
}

/// What was hoped for of one row, and what came.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    /// What is asked of several rows.
    pub(crate) what: &'static str,
    /// The row.
    pub(crate) row: String,
    /// At most this.
    pub(crate) limit: f64,
    /// What came; none where the thing did not always happen.
    pub(crate) came: Option<f64>,
    /// How such a figure is written.
    pub(crate) written: fn(f64) -> String,
}

impl Goal {
    /// Whether it is met. Figures are held to the goal as they are shown.
    fn met(&self) -> bool {
        self.came.is_some_and(|came| came <= self.limit || (self.written)(came) == (self.written)(self.limit))
    }

    fn figure(&self) -> String {
        self.came.map_or_else(|| "not always".to_owned(), self.written)
    }
}

/// Goals as a table: for each the worst row, and the rows that missed it.
pub(crate) fn goals(goals: &[Goal]) -> Table {
    let mut table = Table::new(["goal", "at most", "rows", "worst", "", "missed by"]);
    let mut asked: Vec<&'static str> = Vec::new();
    for goal in goals {
        if asked.contains(&goal.what) {
            continue;
        }
        asked.push(goal.what);
        let rows: Vec<&Goal> = goals.iter().filter(|other| other.what == goal.what).collect();
        let by_figure =
            |a: &&&Goal, b: &&&Goal| a.came.unwrap_or(f64::INFINITY).total_cmp(&b.came.unwrap_or(f64::INFINITY));
        let worst = rows.iter().max_by(by_figure).map(|worst| format!("{} ({})", worst.figure(), worst.row));
        let missed: Vec<_> = rows.iter().filter(|row| !row.met()).collect();
        let by: Vec<_> = missed.iter().map(|row| format!("{}: {}", row.row, row.figure())).collect();
        table.row(vec![
            goal.what.to_owned(),
            (goal.written)(goal.limit),
            rows.len().to_string(),
            worst.unwrap_or_default(),
            if missed.is_empty() {
                "met".to_owned()
            } else {
                format!("**missed** by {} of {}", missed.len(), rows.len())
            },
            by.join("; "),
        ]);
    }
    table
}

/// How long something took over many rollouts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times {
    /// Of those in which it happened, ascending.
    times: Vec<f64>,
    /// Canary requests until then, of each in no order.
    requests: Vec<f64>,
    of: usize,
}

impl Times {
    /// The time to the alarm of one watcher, from `from` seconds on; an alarm before that is left out of the times.
    pub(crate) fn of<'a>(outcomes: impl Iterator<Item = &'a Outcome> + Clone, from: f64) -> Self {
        let after = outcomes.clone().filter_map(|outcome| outcome.alarm.as_ref()).filter(|alarm| alarm.at > from);
        let early = outcomes.clone().filter_map(|outcome| outcome.alarm.as_ref()).filter(|alarm| alarm.at <= from);
        let of = outcomes.count() - early.count();
        let (times, requests) = after.map(|alarm| (alarm.at - from, alarm.requests as f64)).unzip();
        Self { requests, ..Self::from_seconds(times, of) }
    }

    /// So many of `of` took these times, in seconds.
    pub(crate) fn from_seconds(mut times: Vec<f64>, of: usize) -> Self {
        times.sort_by(f64::total_cmp);
        Self { times, requests: Vec::new(), of }
    }

    /// Whether it always happened.
    pub(crate) fn always(&self) -> bool {
        self.times.len() == self.of
    }

    /// In which part of the rollouts it happened.
    pub(crate) fn part(&self) -> f64 {
        self.times.len() as f64 / self.of.max(1) as f64
    }

    /// The mean of those in which it happened; none where it never did.
    pub(crate) fn mean(&self) -> Option<f64> {
        mean(&self.times)
    }

    /// The mean number of canary requests.
    pub(crate) fn requests(&self) -> Option<f64> {
        mean(&self.requests)
    }

    /// The time within which so many happened, over all rollouts; none where fewer did.
    pub(crate) fn quantile(&self, q: f64) -> Option<f64> {
        let place = ((q * self.of as f64).ceil() as usize).max(1) - 1;
        self.times.get(place).copied()
    }

    /// Mean and p95, or how often it happened at all within so many seconds.
    pub(crate) fn text(&self, within: f64) -> String {
        match (self.always(), self.mean(), self.quantile(0.95)) {
            (true, Some(mean), Some(p95)) => format!("{} ({})", figure(mean), figure(p95)),
            _ if self.times.is_empty() => "never".to_owned(),
            _ => format!("{} in {}", percent(self.part()), minutes(within)),
        }
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// A number with about three digits.
pub(crate) fn figure(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { (2 - value.abs().log10().floor() as i32).clamp(0, 2) as usize };
    format!("{value:.digits$}")
}

/// A part as a percentage.
pub(crate) fn percent(part: f64) -> String {
    let percent = format!("{:.1}", 100.0 * part);
    format!("{} %", percent.strip_suffix(".0").unwrap_or(&percent))
}

/// A span in seconds.
pub(crate) fn seconds(seconds: f64) -> String {
    format!("{} s", figure(seconds))
}

/// A factor.
pub(crate) fn factor(factor: f64) -> String {
    format!("{factor:.1} ×")
}

/// How many times as long as the bound.
pub(crate) fn times(mean: Option<f64>, bound: f64) -> String {
    mean.filter(|_| bound > 0.01).map_or_else(|| "-".to_owned(), |mean| format!("{:.1}", mean / bound))
}

/// A span in words.
pub(crate) fn minutes(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_counts_rollouts_in_which_nothing_happened() {
        let times = Times::from_seconds(vec![3.0, 1.0, 2.0], 4);
        assert_eq!((times.quantile(0.5), times.quantile(0.75), times.quantile(0.95)), (Some(2.0), Some(3.0), None));
        assert_eq!((times.mean(), times.part(), times.always()), (Some(2.0), 0.75, false));
        assert_eq!(times.text(120.0), "75 % in 2 min");
    }

    #[test]
    fn figures_have_three_digits() {
        let shown = [0.0, 0.126, 2.345, 22.71, 345.6].map(figure);
        assert_eq!(shown, ["0", "0.13", "2.35", "22.7", "346"]);
    }
}
