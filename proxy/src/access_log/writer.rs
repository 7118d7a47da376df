//! The one thread that writes the log.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{info, warn};

use super::target::Target;
use super::{Shared, Turn, Waiting};

/// How long lines are gathered before they are written: the first wakes the writer, the next ones need not.
const GATHER: Duration = Duration::from_millis(20);
/// How long is waited after a failure. Lines are kept meanwhile, as many as there is room for.
const BACK_OFF: Duration = Duration::from_millis(500);

/// Writes what comes until the end.
pub(super) fn write_all(shared: &Shared) {
    let mut writer = Writer { shared, target: None, failing: None, told: 0 };
    let mut lines = Vec::new();
    loop {
        lines.clear();
        // A burst once is no reason to hold its room for ever.
        lines.shrink_to(1 << 20);
        let (turns, ends) = writer.next(&mut lines);
        let mut from = 0;
        for (before, turn) in turns {
            writer.put(&lines[from..before]);
            writer.turn(turn);
            from = before;
        }
        writer.put(&lines[from..]);
        if ends {
            break;
        }
    }
    shared.waiting.lock().over = true;
    shared.ended.notify_all();
}

struct Writer<'a> {
    shared: &'a Shared,
    target: Option<Target>,
    /// Lines that were lost since writing began to fail; none while it does not.
    failing: Option<u64>,
    /// Dropped lines that were told of.
    told: u64,
}

impl Writer<'_> {
    /// Waits for lines, or for something to do, and takes both; and whether this is the end.
    fn next(&mut self, lines: &mut Vec<u8>) -> (Vec<(usize, Turn)>, bool) {
        let is_asked = |waiting: &Waiting| !waiting.turns.is_empty() || waiting.ends;
        let mut waiting = self.shared.waiting.lock();
        self.shared.asked.wait_while(&mut waiting, |waiting| waiting.lines.is_empty() && !is_asked(waiting));
        let gather = if self.failing.is_some() { BACK_OFF } else { GATHER };
        self.shared.asked.wait_while_for(&mut waiting, |waiting| !is_asked(waiting), gather);
        std::mem::swap(lines, &mut waiting.lines);
        (std::mem::take(&mut waiting.turns), waiting.ends)
    }

    fn put(&mut self, lines: &[u8]) {
        let Some(target) = self.target.as_mut().filter(|_| !lines.is_empty()) else { return };
        let dropped = &self.shared.dropped;
        match target.write(lines) {
            Ok(()) => {
                let dropped = dropped.load(Ordering::Relaxed);
                let since = dropped - self.told;
                if let Some(lost) = self.failing.take() {
                    info!(lost, "the access log can be written again");
                } else if since > 0 {
                    warn!(lines = since, "the access log dropped lines: its target takes them too slowly");
                }
                self.told = dropped;
            }
            Err((lost, error)) => {
                dropped.fetch_add(lost, Ordering::Relaxed);
                if self.failing.is_none() {
                    warn!(%error, "the access log cannot be written; lines are dropped and counted until it can");
                }
                *self.failing.get_or_insert(0) += lost;
            }
        }
    }

    fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::To(target) => {
                self.target = target;
                self.failing = None;
            }
            Turn::Reopen => {
                let Some(target) = &mut self.target else { return };
                match target.reopen() {
                    Ok(()) => info!("the access log was opened again"),
                    Err(error) => warn!(%error, "the access log cannot be opened again; the old file stays in use"),
                }
            }
        }
    }
}
