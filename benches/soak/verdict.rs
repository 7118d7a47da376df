//! What a run has shown: what is flat and what grows, who was lost, and whether anybody was failed without an excuse.

use std::time::Duration;

use crate::crowd::Found;
use crate::faults::Done;
use crate::vitals::Vitals;

/// The last third may be larger than the second by this much, and a figure grow by as much over the whole run.
const FLAT: f64 = 0.10;
/// And by this many bytes in any case: what an allocator keeps of a peak.
const SLACK_BYTES: f64 = 12e6;
/// Descriptors that may be left when everybody has gone.
const SLACK_DESCRIPTORS: u64 = 40;

/// Everything that was seen, in order.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Looks at the process, each with when it was.
    pub(crate) looks: Vec<(Duration, Vitals)>,
    /// The first process before anybody came, and the last one a while after everybody had gone.
    pub(crate) before_and_after: Option<(Vitals, Vitals)>,
    /// Processes that were taken over from and run still.
    pub(crate) draining: usize,
    /// Processes that cut something at the end of their drain.
    pub(crate) cuts: usize,
}

/// Whether as many descriptors are open as before anybody came.
pub(crate) fn is_empty(before: &Vitals, after: &Vitals) -> bool {
    after.descriptors <= before.descriptors + SLACK_DESCRIPTORS
}

/// One thing that was to be shown.
pub(crate) struct Finding {
    pub(crate) holds: bool,
    pub(crate) words: String,
}

impl Seen {
    /// What this run has shown.
    pub(crate) fn verdict(&self, found: &Found, done: &Done) -> Vec<Finding> {
        let last = self.last();
        let mut findings = vec![self.memory(), self.descriptors()];
        findings.extend(workers(last));
        findings.extend(self.upgrades(done));
        let answered: u64 = found.reasons.iter().filter(|(why, _)| why.starts_with("status")).map(|(_, of)| of).sum();
        let broken = found.failed - answered;
        findings.push(Finding {
            holds: broken <= done.excusable,
            words: format!(
                "replies: {broken} of {} broke off; {} had begun when their endpoint cut them or was killed",
                found.requests, done.excusable
            ),
        });
        findings.push(Finding {
            holds: answered == 0,
            words: format!("answers: {answered} of {} were errors, for which there is no excuse", found.requests),
        });
        findings.push(Finding {
            holds: done.bad_promoted == 0,
            words: format!(
                "canaries that were broken: {} promoted, {} held at their share for 20 s and then aborted by hand",
                done.bad_promoted, done.held
            ),
        });
        findings.push(Finding {
            holds: found.sockets_failed == 0 && found.sockets > 0,
            words: format!(
                "websockets: {} of {} were cut, of endpoints that are well",
                found.sockets_failed, found.sockets
            ),
        });
        findings.push(Finding {
            holds: found.not_sent == 0,
            words: format!("generator: {} requests could not be sent", found.not_sent),
        });
        findings
    }

    /// Whether memory is flat, but for what open connections take: of each half minute the least counts, and of that what is
    /// left when each descriptor's part is taken away. That part is what explains the most of all looks together with a
    /// steady growth in time (least squares), so that neither can hide the other.
    fn memory(&self) -> Finding {
        let calm = calm(self.last());
        let each = bytes_for_each_descriptor(&calm[calm.len() / 3..]);
        let least = calm.iter().map(|(_, vitals)| vitals.descriptors).min().unwrap_or_default();
        let mut finding = flat(&calm, "memory with nobody in a crowd", "MB", 1e-6, SLACK_BYTES, |vitals| {
            vitals.resident as f64 - each * (vitals.descriptors - least) as f64
        });
        let gone = self.before_and_after.as_ref().map_or(0, |(_, after)| after.resident);
        finding.words += &format!(
            " ({:.0} kB taken for each descriptor over {least}; {:.1} MB when all had gone)",
            each * 1e-3,
            gone as f64 * 1e-6
        );
        finding
    }

    /// Whether descriptors are closed in the end. How many are open meanwhile says how many clients there are.
    fn descriptors(&self) -> Finding {
        let most = self.looks.iter().map(|(_, vitals)| vitals.descriptors).max().unwrap_or_default();
        match &self.before_and_after {
            None => Finding { holds: false, words: "descriptors: nobody looked".to_owned() },
            Some((before, after)) => Finding {
                holds: is_empty(before, after),
                words: format!(
                    "descriptors: {} before anybody came, at most {most}, {} when all had gone",
                    before.descriptors, after.descriptors
                ),
            },
        }
    }

    /// What was seen of the process that served last.
    fn last(&self) -> &[(Duration, Vitals)] {
        let Some((_, last)) = self.looks.last() else { return &[] };
        let others = self.looks.iter().rposition(|(_, vitals)| vitals.process != last.process);
        &self.looks[others.map_or(0, |place| place + 1)..]
    }

    /// Whether each process that was taken over from let everybody go in time, and ended.
    fn upgrades(&self, done: &Done) -> Option<Finding> {
        (done.upgrades > 0).then(|| Finding {
            holds: self.draining == 0 && self.cuts == 0,
            words: format!(
                "upgrades: {}, {} of the old processes run still, {} cut what was under way at the end of their drain",
                done.upgrades, self.draining, self.cuts
            ),
        })
    }
}

/// Of each half minute the look that found least memory: what a thousand connections of an incident take while they are
/// open is no growth, and what stays of them is.
fn calm(looks: &[(Duration, Vitals)]) -> Vec<(Duration, Vitals)> {
    let spans = looks.chunk_by(|(one, _), (next, _)| one.as_secs() / 30 == next.as_secs() / 30);
    spans.filter_map(|span| span.iter().min_by_key(|(_, vitals)| vitals.resident)).cloned().collect()
}

/// Whether a figure is flat, from the second third of the run on: what is opened and kept at the start is no growth.
fn flat(
    looks: &[(Duration, Vitals)],
    name: &str,
    unit: &str,
    scale: f64,
    slack: f64,
    figure: impl Fn(&Vitals) -> f64,
) -> Finding {
    let figures: Vec<(f64, f64)> = looks.iter().map(|(at, vitals)| (at.as_secs_f64(), figure(vitals))).collect();
    let third = figures.len() / 3;
    let (second, last) = (&figures[third..2 * third], &figures[2 * third..]);
    let (was, is, a_second) = (mean(second), mean(last), slope(&figures[third..]));
    let length = figures.last().map_or(0.0, |last| last.0) - figures.get(third).map_or(0.0, |first| first.0);
    let allowed = (was * FLAT).max(slack);
    Finding {
        holds: is - was <= allowed && a_second * length <= allowed,
        words: format!(
            "{name}: {:.1} {unit} in the second third, {:.1} in the last; {:+.2} an hour by its slope",
            was * scale,
            is * scale,
            a_second * 3_600.0 * scale
        ),
    }
}

/// Whether every worker that was there at the start is still there, and has worked in each tenth of the run.
fn workers(looks: &[(Duration, Vitals)]) -> Vec<Finding> {
    let (Some((_, first)), Some((_, last))) = (looks.first(), looks.last()) else { return Vec::new() };
    let of = |vitals: &Vitals| vitals.threads.clone();
    let lost: Vec<String> = of(first)
        .into_iter()
        // The one that follows old processes is over once none of them is left.
        .filter(|(_, (name, _))| name.starts_with("tidegate-") && name != "tidegate-elders")
        .filter(|(id, _)| !last.threads.contains_key(id))
        .map(|(_, (name, _))| name)
        .collect();
    let step = (looks.len() / 10).max(1);
    let looks: Vec<&Vitals> = looks.iter().step_by(step).map(|(_, vitals)| vitals).collect();
    let mut idle = Vec::new();
    for (id, (name, _)) in of(first).iter().filter(|(_, (name, _))| name.starts_with("tidegate-core")) {
        let ran = |vitals: &Vitals| vitals.threads.get(id).map(|(_, ran)| *ran);
        if looks.windows(2).any(|two| ran(two[1]) <= ran(two[0])) {
            idle.push(name.clone());
        }
    }
    let cores = first.threads.values().filter(|(name, _)| name.starts_with("tidegate-core")).count();
    vec![
        Finding {
            holds: lost.is_empty(),
            words: format!("threads: {} at first, {} now, lost: {lost:?}", first.threads.len(), last.threads.len()),
        },
        Finding {
            holds: idle.is_empty() && cores > 0,
            words: format!("cores: {cores}, each of which worked all the time but for {idle:?}"),
        },
    ]
}

/// How many bytes go with a descriptor where memory is explained by descriptors and by time: not below 0.
fn bytes_for_each_descriptor(looks: &[(Duration, Vitals)]) -> f64 {
    let of = |figure: &dyn Fn(&(Duration, Vitals)) -> f64| {
        let figures: Vec<f64> = looks.iter().map(figure).collect();
        let mean = figures.iter().sum::<f64>() / figures.len().max(1) as f64;
        figures.into_iter().map(|figure| figure - mean).collect::<Vec<f64>>()
    };
    let (at, open) = (of(&|(at, _)| at.as_secs_f64()), of(&|(_, vitals)| vitals.descriptors as f64));
    let bytes = of(&|(_, vitals)| vitals.resident as f64);
    let sum = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(one, other)| one * other).sum::<f64>();
    let (both, time, crowd) = (sum(&at, &open), sum(&at, &at), sum(&open, &open));
    let below = crowd * time - both * both;
    // Where descriptors go with time, or are always as many, nothing can be told apart: all is growth.
    if below <= 1e-9 * crowd * time {
        return 0.0;
    }
    ((sum(&open, &bytes) * time - sum(&at, &bytes) * both) / below).max(0.0)
}

fn mean(figures: &[(f64, f64)]) -> f64 {
    figures.iter().map(|(_, figure)| figure).sum::<f64>() / figures.len().max(1) as f64
}

/// By how much the figure grows a second (least squares).
fn slope(figures: &[(f64, f64)]) -> f64 {
    let count = figures.len().max(1) as f64;
    let (x, y) = (figures.iter().map(|(at, _)| at).sum::<f64>() / count, mean(figures));
    let (mut above, mut below) = (0.0, 0.0);
    for (at, figure) in figures {
        above += (at - x) * (figure - y);
        below += (at - x).powi(2);
    }
    if below > 0.0 { above / below } else { 0.0 }
}
