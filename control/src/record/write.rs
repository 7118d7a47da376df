//! Writes the lines of a record. By hand, because a line is written at each tick of each rollout, on the thread that
//! decides.

use std::sync::LazyLock;

use meter::{Class, Clients, Drawn, GroupCounts, LATENCY_BUCKETS, LatencyCounts, PathTally, Window};
use serde_json::Value;

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

/// An object that is being written.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    before: u8,
}

impl<'a> Object<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Self {
        Self { out, before: b'{' }
    }

    /// Writes the key, which needs no escapes; its value is to follow.
    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        self.out.push(self.before);
        self.before = b',';
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    fn end(self) {
        if self.before == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
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

/// The beginnings of tuples that begin with the number of a bucket, with the comma before them: `,[700,`. Most of a line
/// is made of them.
static BEGINNINGS: LazyLock<Vec<Beginning>> = LazyLock::new(|| (0..LATENCY_BUCKETS).map(Beginning::of).collect());

/// Text of at most seven bytes, and how many.
#[derive(Debug, Clone, Copy)]
struct Beginning([u8; 8]);

const _: () = assert!(LATENCY_BUCKETS <= 10_000, "four digits, two commas and a bracket");

impl Beginning {
    fn of(bucket: usize) -> Self {
        let text = format!(",[{bucket},");
        let mut bytes = [0; 8];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        bytes[7] = text.len() as u8;
        Self(bytes)
    }
}

/// Tuples of a bucket and a count, put together aside and copied many at once.
struct Tuples {
    beginnings: &'static [Beginning],
    text: [u8; Self::ROOM],
    length: usize,
    first: bool,
}

impl Tuples {
    const ROOM: usize = 512;
    /// A beginning with what lies behind it, a count, and a bracket.
    const LONGEST: usize = 8 + MOST_DIGITS + 1;

    fn begin() -> Self {
        Self { beginnings: &BEGINNINGS, text: [0; Self::ROOM], length: 0, first: true }
    }

    fn add(&mut self, out: &mut Vec<u8>, bucket: usize, count: u64) {
        if self.length > Self::ROOM - Self::LONGEST {
            self.end(out);
        }
        let Some(Beginning(beginning)) = self.beginnings.get(bucket) else { return };
        let Self { text, length, .. } = self;
        text[*length..*length + 8].copy_from_slice(beginning);
        *length += usize::from(beginning[7]);
        if count < 10 {
            text[*length] = b'0' + count as u8;
            *length += 1;
        } else {
            let mut room = [0; MOST_DIGITS];
            let first = digits(count, &mut room, MOST_DIGITS);
            let digits = &room[first..];
            text[*length..*length + digits.len()].copy_from_slice(digits);
            *length += digits.len();
        }
        text[*length] = b']';
        *length += 1;
    }

    /// Copies what was put together.
    fn end(&mut self, out: &mut Vec<u8>) {
        // No comma is before the first of all.
        let from = usize::from(std::mem::take(&mut self.first) && self.length > 0);
        out.extend_from_slice(&self.text[from..self.length]);
        self.length = 0;
    }
}

/// A list of small tuples: each is put together aside and copied once.
struct List {
    before: u8,
}

impl List {
    /// A tuple has at most so many numbers.
    const MOST: usize = 6;

    const fn begin() -> Self {
        Self { before: b'[' }
    }

    /// Writes a tuple of at least one number; numbers beyond [`MOST`](Self::MOST) are left out.
    fn tuple(&mut self, out: &mut Vec<u8>, numbers: &[u64]) {
        let mut text = [0; 3 + Self::MOST * (MOST_DIGITS + 1)];
        // From its end to its beginning, as digits come.
        let mut first = text.len() - 1;
        text[first] = b']';
        for number in numbers.iter().take(Self::MOST).rev() {
            first = digits(*number, &mut text, first) - 1;
            text[first] = b',';
        }
        text[first] = b'[';
        first -= 1;
        text[first] = self.before;
        self.before = b',';
        out.extend_from_slice(&text[first..]);
    }

    fn end(self, out: &mut Vec<u8>) {
        if self.before == b'[' {
            out.push(b'[');
        }
        out.push(b']');
    }
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

/// Writes a number in digits.
fn number(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        return out.push(b'0' + value as u8);
    }
    let mut text = [0; MOST_DIGITS];
    let first = digits(value, &mut text, MOST_DIGITS);
    out.extend_from_slice(&text[first..]);
}

/// As many as the largest number has.
const MOST_DIGITS: usize = 20;

/// Writes the digits of a number that end before `end`; gives the place of the first.
fn digits(mut value: u64, text: &mut [u8], end: usize) -> usize {
    let mut first = end;
    loop {
        first -= 1;
        text[first] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return first;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_written_as_everybody_writes_them(value: u64) {
            let mut out = Vec::new();
            number(&mut out, value);
            prop_assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }

        #[test]
        fn latencies_are_written_as_everybody_writes_them(
            held in prop::collection::btree_map(0..LATENCY_BUCKETS, prop_oneof![1u64..20, any::<u64>()], 1..200),
        ) {
            let mut counts = LatencyCounts::default();
            held.iter().for_each(|(bucket, count)| counts.add(*bucket, (*count).max(1)));
            let mut out = Vec::new();
            let mut object = Object::begin(&mut out);
            latency(&mut object, "latency", &counts);
            object.end();
            let expected: Vec<(usize, u64)> = counts.iter().collect();
            prop_assert_eq!(out, serde_json::to_vec(&serde_json::json!({ "latency": expected })).unwrap());
        }

        #[test]
        fn a_list_is_written_as_everybody_writes_it(
            tuples in prop::collection::vec(prop::collection::vec(any::<u64>(), 1..=List::MOST), 0..5),
        ) {
            let (mut out, mut list) = (Vec::new(), List::begin());
            tuples.iter().for_each(|tuple| list.tuple(&mut out, tuple));
            list.end(&mut out);
            prop_assert_eq!(out, serde_json::to_vec(&tuples).unwrap());
        }
    }
}
