//! Writes the lines of a record. By hand, because a line is written at each tick of each rollout, on the thread that
//! decides.

mod json;

use meter::{Class, Clients, Drawn, GroupCounts, LatencyCounts, PathTally, Window};
use serde_json::Value;

use self::json::{List, Object, Tuples, number};
use super::header::{Compared, Header};
use super::lines::{Mark, Why};
use super::moment::Moment;
use crate::judge::{Copies, Draws};
use crate::view::{Arms, Phase};

/// The names that lines of one record carry, as JSON strings.
#[derive(Debug)]
pub(super) struct Names {
    stable: String,
    canary: String,
    /// Another version that is the baseline.
    baseline: Option<String>,
    paths: Vec<String>,
    /// Whether latencies to the last byte are written.
    totals: bool,
}

impl Names {
    pub(super) fn of(header: &Header) -> Self {
        let json = |text: &str| Value::from(text).to_string();
        Self {
            stable: json(&header.stable),
            canary: json(&header.canary),
            baseline: match &header.compared {
                Compared::Stable | Compared::Slice => None,
                Compared::Version(name) => Some(json(name)),
            },
            paths: header.paths.iter().map(|path| json(path.as_str())).collect(),
            totals: header.totals,
        }
    }
}

/// All that a window's line says beside counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) at: Moment,
    pub(super) generation: Option<u64>,
    /// The canary's, in basis points.
    pub(super) weight: Option<u16>,
    /// So many ticks in a row had these counts, which are nothing.
    pub(super) times: u32,
    /// Merged from windows of so many seconds.
    pub(super) span: Option<u64>,
    pub(super) draws: Option<Draws>,
    /// What became of copies of requests; none where none were sent.
    pub(super) copies: Option<Copies>,
    /// Where it is another than before.
    pub(super) endpoints: Option<Arms<u32>>,
}

/// What was counted in a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts<'a> {
    pub(super) stable: &'a Window,
    pub(super) canary: &'a Window,
    /// Whom the canary was compared with, where that is not all of stable.
    pub(super) baseline: Option<&'a Window>,
    /// Those on the canary whom the gates that compare leave out.
    pub(super) matched: Option<&'a Window>,
}

impl Counts<'_> {
    /// Whether nothing at all happened.
    pub(super) fn are_nothing(&self) -> bool {
        let beside = [self.baseline, self.matched].into_iter().flatten().all(is_nothing);
        is_nothing(self.stable) && is_nothing(self.canary) && beside
    }
}

fn is_nothing(window: &Window) -> bool {
    window.drawn == Drawn::default() && window.requests() == 0
}

/// Writes the line of a window. `compares` is whom the record compares the canary with.
pub(super) fn window(out: &mut Vec<u8>, names: &Names, compares: &Compared, frame: &Frame, counts: &Counts<'_>) {
    out.extend_from_slice(b"{\"t\":");
    moment(out, frame.at);
    field(out, "generation", frame.generation);
    field(out, "weight", frame.weight.map(u64::from));
    field(out, "times", (frame.times > 1).then_some(u64::from(frame.times)));
    field(out, "span", frame.span);
    if let Some(Draws { weight, canary, all }) = frame.draws {
        numbers(out, ",\"draws\":{\"weight\":", u64::from(weight), &[(",\"canary\":", canary), (",\"all\":", all)]);
        out.push(b'}');
    }
    if let Some(copies) = frame.copies {
        copied(out, copies);
    }
    if let Some(Arms { stable, canary }) = frame.endpoints {
        numbers(out, ",\"endpoints\":{\"stable\":", u64::from(stable), &[(",\"canary\":", u64::from(canary))]);
        out.push(b'}');
    }
    let of_version = match (compares, counts.baseline) {
        (Compared::Slice | Compared::Version(_), None) => {
            out.extend_from_slice(b",\"compared\":\"stable\"");
            None
        }
        (Compared::Version(_), Some(window)) => names.baseline.as_deref().map(|name| (name, window)),
        (Compared::Stable, _) | (Compared::Slice, Some(_)) => None,
    };
    let versions =
        [Some((names.stable.as_str(), counts.stable)), Some((names.canary.as_str(), counts.canary)), of_version];
    let mut seen = versions.into_iter().flatten().filter(|(_, window)| !is_nothing(window)).peekable();
    if seen.peek().is_some() {
        let mut before = ",\"versions\":{";
        for (name, window) in seen {
            out.extend_from_slice(before.as_bytes());
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            version(out, names, window);
            before = ",";
        }
        out.push(b'}');
    }
    if let (Compared::Slice, Some(slice)) = (compares, counts.baseline)
        && !is_nothing(slice)
    {
        out.extend_from_slice(b",\"slice\":");
        version(out, names, slice);
    }
    if let Some(matched) = counts.matched.filter(|matched| !is_nothing(matched)) {
        out.extend_from_slice(b",\"matched\":");
        version(out, names, matched);
    }
    out.extend_from_slice(b"}\n");
}

/// What became of copies of requests. Nothing is said, too: that copies were sent and none ended.
fn copied(out: &mut Vec<u8>, Copies { ended, compared, failed, status, body }: Copies) {
    out.extend_from_slice(b",\"copies\":");
    let mut counts = Object::begin(out);
    let figures = [("ended", ended), ("compared", compared), ("failed", failed), ("status", status), ("body", body)];
    for (key, count) in figures.into_iter().filter(|(_, count)| *count > 0) {
        number(counts.key(key), count);
    }
    counts.end();
}

fn version(out: &mut Vec<u8>, names: &Names, window: &Window) {
    let mut object = Object::begin(out);
    by_class(&mut object, &window.judged);
    latency(&mut object, "latency", &window.latency_good);
    latency(&mut object, "latency_failed", &window.latency_bad);
    if names.totals {
        latency(&mut object, "total", &window.total_good);
        latency(&mut object, "total_failed", &window.total_bad);
    }
    groups(&mut object, "by_key", &window.groups);
    groups(&mut object, "by_endpoint", &window.endpoints);
    if window.clients != Clients::default() {
        let Clients { seen, bad } = window.clients;
        let out = object.key("clients");
        out.push(b'[');
        number(out, u64::from(seen));
        out.push(b',');
        number(out, u64::from(bad));
        out.push(b']');
    }
    drawn(&mut object, &window.drawn);
    paths(&mut object, names, &window.paths);
    object.end();
}

fn by_class(object: &mut Object<'_>, judged: &[u64; Class::ALL.len()]) {
    if judged.iter().all(|count| *count == 0) {
        return;
    }
    let mut classes = Object::begin(object.key("by_class"));
    for class in Class::ALL.into_iter().filter(|class| judged[*class as usize] > 0) {
        number(classes.key(class.label()), judged[class as usize]);
    }
    classes.end();
}

fn latency(object: &mut Object<'_>, key: &str, counts: &LatencyCounts) {
    if counts.is_empty() {
        return;
    }
    let out = object.key(key);
    out.push(b'[');
    let mut tuples = Tuples::begin();
    for (bucket, count) in counts.iter() {
        tuples.add(out, bucket, count);
    }
    tuples.end(out);
    out.push(b']');
}

/// Groups that counted something: number, requests, failed, timed, and over each of the watched latencies. Zeros at the
/// end are left out.
fn groups(object: &mut Object<'_>, key: &str, groups: &[GroupCounts]) {
    let counted = |group: &GroupCounts| *group != GroupCounts::default();
    if !groups.iter().any(counted) {
        return;
    }
    let out = object.key(key);
    let mut list = List::begin();
    for (place, group) in groups.iter().enumerate().filter(|(_, group)| counted(group)) {
        let GroupCounts { requests, bad, timed, over } = *group;
        let figures = [place as u64, requests, bad, timed, over[0], over[1]];
        let length = figures.iter().rposition(|figure| *figure > 0).map_or(1, |last| last + 1);
        list.tuple(out, &figures[..length]);
    }
    list.end(out);
}

fn drawn(object: &mut Object<'_>, drawn: &Drawn) {
    if *drawn == Drawn::default() {
        return;
    }
    let mut counts = Object::begin(object.key("drawn"));
    let Drawn { all, at_random, ended, lost } = *drawn;
    for (key, count) in [("all", all), ("at_random", at_random), ("ended", ended), ("lost", lost)] {
        if count > 0 {
            number(counts.key(key), count);
        }
    }
    counts.end();
}

fn paths(object: &mut Object<'_>, names: &Names, paths: &[PathTally]) {
    let mut seen = names.paths.iter().zip(paths).filter(|(_, path)| path.requests() > 0).peekable();
    if seen.peek().is_none() {
        return;
    }
    let out = object.key("paths");
    let mut before = b'{';
    for (name, path) in seen {
        out.push(before);
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        let mut counts = Object::begin(out);
        by_class(&mut counts, &path.judged);
        latency(&mut counts, "latency", &path.latency_good);
        latency(&mut counts, "latency_failed", &path.latency_bad);
        if names.totals {
            latency(&mut counts, "total", &path.total_good);
            latency(&mut counts, "total_failed", &path.total_bad);
        }
        counts.end();
        before = b',';
    }
    out.push(b'}');
}

/// Writes the line of a mark.
pub(super) fn mark(out: &mut Vec<u8>, at: Moment, mark: Mark) {
    out.extend_from_slice(b"{\"t\":");
    moment(out, at);
    out.extend_from_slice(b",\"mark\":\"");
    out.extend_from_slice(mark.word().as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// Writes the line of a checkpoint. `state` is JSON.
pub(super) fn checkpoint(out: &mut Vec<u8>, at: Moment, why: Why, state: &[u8]) {
    out.extend_from_slice(b"{\"t\":");
    moment(out, at);
    out.extend_from_slice(b",\"why\":\"");
    out.extend_from_slice(why.word().as_bytes());
    out.extend_from_slice(b"\",\"checkpoint\":");
    out.extend_from_slice(state);
    out.extend_from_slice(b"}\n");
}

/// Writes the line that says that so many windows are missing here.
pub(super) fn gap(out: &mut Vec<u8>, windows: u64) {
    out.extend_from_slice(b"{\"gap\":");
    number(out, windows);
    out.extend_from_slice(b"}\n");
}

/// Writes the last line.
pub(super) fn end(out: &mut Vec<u8>, at: Moment, outcome: Option<Phase>) {
    out.extend_from_slice(b"{\"t\":");
    moment(out, at);
    out.extend_from_slice(b",\"end\":\"");
    out.extend_from_slice(outcome.map_or("unknown", Phase::word).as_bytes());
    out.extend_from_slice(b"\"}\n");
}

fn field(out: &mut Vec<u8>, key: &str, value: Option<u64>) {
    if let Some(value) = value {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":");
        number(out, value);
    }
}

fn numbers(out: &mut Vec<u8>, key: &str, value: u64, more: &[(&str, u64)]) {
    out.extend_from_slice(key.as_bytes());
    number(out, value);
    for (key, value) in more {
        out.extend_from_slice(key.as_bytes());
        number(out, *value);
    }
}

fn moment(out: &mut Vec<u8>, at: Moment) {
    number(out, at.second().unsigned_abs());
    let millisecond = at.millisecond();
    out.push(b'.');
    out.extend([100, 10, 1].map(|unit| b'0' + (millisecond / unit % 10) as u8));
}

#[cfg(test)]
mod tests;
