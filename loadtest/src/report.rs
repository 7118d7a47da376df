//! What a load found, in figures and in words.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::figures::{count, percentage, time};

/// Responses of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VersionReport {
    /// Response heads that came.
    pub responses: u64,
    /// Those of them with status 500 or above, or without a complete body.
    pub failed: u64,
}

/// What a load found. `sent = answered + failed + timeouts + unfinished`, once it is over.
#[derive(Debug, Clone)]
pub struct LoadReport {
    /// How long the schedule lasted; 0 while it runs.
    pub lasted: Duration,
    /// Requests sent.
    pub sent: u64,
    /// Complete responses, whatever their status.
    pub answered: u64,
    /// Complete responses with status 500 or above.
    pub server_errors: u64,
    /// Requests without a complete response: refused, reset, cut or not HTTP.
    pub failed: u64,
    /// The same by reason.
    pub failed_by_reason: BTreeMap<&'static str, u64>,
    /// Requests whose client left.
    pub timeouts: u64,
    /// Requests that had no end when the load's grace was over, or when it was dropped.
    pub unfinished: u64,
    /// Requests that were due and could not be sent, because too many were in flight or no socket was left.
    pub not_sent: u64,
    /// Complete responses by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Responses by the value of `x-version`: `-` without one, `(others)` beyond the first 8.
    pub by_version: BTreeMap<String, VersionReport>,
    /// How many clients there were; 0 for anonymous ones.
    pub clients: u64,
    /// Different clients that got a failure or a 5xx, or left.
    pub clients_hurt: u64,
    /// Microseconds from the moment a request was meant to be sent to the last byte of its response. Those that timed
    /// out or had no end are in it at the age they reached.
    pub latency: Histogram<u64>,
    /// How late the generator itself was at worst. Where this is large, the latencies say more about the machine than
    /// about the server.
    pub behind_schedule_max: Duration,
}

/// How many requests failed, of those that were sent. 0 means that each of them got a complete response with a status
/// below 500.
#[must_use]
pub const fn failures(report: &LoadReport) -> u64 {
    report.server_errors + report.failed + report.timeouts + report.unfinished
}

impl LoadReport {
    /// The latency that a fraction `q` (0 to 1) of the requests is at or below.
    #[must_use]
    pub fn latency_at(&self, q: f64) -> Duration {
        Duration::from_micros(self.latency.value_at_quantile(q))
    }

    /// Requests sent a second, over the schedule; 0 while it runs.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.lasted.is_zero() { 0.0 } else { self.sent as f64 / self.lasted.as_secs_f64() }
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: u64, words: &str| {
            let text = format!("{name:<16}{:>12}   {words}", count(value));
            writeln!(f, "{}", text.trim_end())
        };
        let rate = self.rate().round() as u64;
        line("sent", self.sent, &format!("in {}, {} a second", time(self.lasted), count(rate)))?;
        line("answered", self.answered, &percentage(self.answered, self.sent))?;
        for (status, answers) in &self.by_status {
            line(&format!("  status {status}"), *answers, "")?;
        }
        line("failed", self.failed, "without a complete response")?;
        for (reason, requests) in &self.failed_by_reason {
            line("", *requests, reason)?;
        }
        line("timed out", self.timeouts, "the client left")?;
        line("unfinished", self.unfinished, "still waiting at the end")?;
        line("not sent", self.not_sent, "too many in flight, or no socket left")?;
        if self.clients > 0 {
            let of = format!("of {} saw a failure", count(self.clients));
            line("clients", self.clients_hurt, &of)?;
        }
        for (version, found) in &self.by_version {
            let share = percentage(found.failed, found.responses);
            let words = format!("responses, {} failed ({share})", count(found.failed));
            line(&format!("version {version}"), found.responses, &words)?;
        }
        let at = |q| time(self.latency_at(q));
        let max = time(Duration::from_micros(self.latency.max()));
        writeln!(
            f,
            "latency         median {}, p90 {}, p99 {}, p99.9 {}, max {max}",
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999)
        )?;
        write!(f, "generator       at most {} behind its schedule", time(self.behind_schedule_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> LoadReport {
        let mut latency = Histogram::new(3).unwrap();
        latency.record_n(1_250, 9_900).unwrap();
        latency.record_n(40_000, 95).unwrap();
        LoadReport {
            lasted: Duration::from_secs(2),
            sent: 10_000,
            answered: 9_990,
            server_errors: 50,
            failed: 5,
            failed_by_reason: BTreeMap::from([("connection refused", 2), ("connection reset", 3)]),
            timeouts: 4,
            unfinished: 1,
            not_sent: 7,
            by_status: BTreeMap::from([(200, 9_940), (500, 50)]),
            by_version: BTreeMap::from([
                ("v1".to_owned(), VersionReport { responses: 9_490, failed: 0 }),
                ("v2".to_owned(), VersionReport { responses: 500, failed: 50 }),
            ]),
            clients: 300,
            clients_hurt: 48,
            latency,
            behind_schedule_max: Duration::from_micros(900),
        }
    }

    #[test]
    fn a_failure_is_whatever_was_sent_and_got_no_complete_response_below_500() {
        assert_eq!(failures(&report()), 50 + 5 + 4 + 1);
        let good = LoadReport { server_errors: 0, failed: 0, timeouts: 0, unfinished: 0, ..report() };
        assert_eq!(failures(&good), 0);
    }

    #[test]
    fn a_stranger_can_read_the_report() {
        let expected = "\
sent                  10 000   in 2.00 s, 5 000 a second
answered               9 990   99.90 %
  status 200           9 940
  status 500              50
failed                     5   without a complete response
                           2   connection refused
                           3   connection reset
timed out                  4   the client left
unfinished                 1   still waiting at the end
not sent                   7   too many in flight, or no socket left
clients                   48   of 300 saw a failure
version v1             9 490   responses, 0 failed (0.00 %)
version v2               500   responses, 50 failed (10.00 %)
latency         median 1.25 ms, p90 1.25 ms, p99 1.25 ms, p99.9 40.0 ms, max 40.0 ms
generator       at most 900 µs behind its schedule";
        assert_eq!(report().to_string(), expected);
    }
}
