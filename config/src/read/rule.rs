//! What gates judge.

use std::time::Duration;

use crate::cursor::{Cursor, Fields, Report};
use crate::keys;
use crate::literal::{self, Illegal};
use crate::model::{GateRule, LatencyMargin, LatencyOf, Tolerance};
use crate::problem::quoted;
use crate::read::gate::LEGAL;
use crate::units::{Fraction, Quantile, Stretch};

/// The fields of a rule. `errors:` without a value may be a rule that was never finished, so it is none.
fn rule_fields<'a>(written: &Cursor<'a>, keys: &keys::Keys, report: &mut Report) -> Option<Fields<'a>> {
    if written.is_empty() {
        written.expected(report, &format!("a mapping, like {LEGAL}"));
        return None;
    }
    written.fields(report, keys)
}

/// Whether a limit stands alone, as it must: what compares with stable is another gate.
fn stands_alone(limit: &Cursor<'_>, fields: &Fields<'_>, two: &str, report: &mut Report) -> bool {
    if fields.has("tolerance") {
        limit.wrong(report, format!("`tolerance` stands in the same gate; write two gates: {two}"));
        return false;
    }
    if let Some(margin) = fields.get("margin") {
        margin.wrong(
            report,
            "`limit` stands in the same gate, and is its own margin: the gate passes below it; leave `margin` out",
        );
        return false;
    }
    true
}

pub(super) fn errors_rule(written: &Cursor<'_>, report: &mut Report) -> Option<GateRule> {
    let fields = rule_fields(written, &keys::ERRORS, report)?;
    if let Some(limit) = fields.get("limit") {
        let two = "{ errors: { tolerance: 0.1% } } and { errors: { limit: 5% } }";
        let alone = stands_alone(limit, &fields, two, report);
        let limit = limit.literal(report, "a percentage, like 5%", error_limit)?;
        return alone.then_some(GateRule::ErrorLimit { limit });
    }
    let tolerance = fields.or("tolerance", Tolerance::DEFAULT, |written| {
        let nothing = Tolerance { ratio: 1.0, points: Fraction::ZERO };
        parts(written, &TOLERANCE, report).map(|parts| parts.or(nothing))
    });
    let margin = fields.if_written("margin", |written| Some((written.clone(), parts(written, &MARGIN, report)?)));
    let (tolerance, margin) = (tolerance?, margin?);
    let Some((written, parts)) = margin else {
        return Some(GateRule::Errors { tolerance, margin: tolerance.usual_margin() });
    };
    let margin = parts.or(tolerance);
    if !margin.is_more_than(tolerance) {
        written.wrong(report, too_small(parts, margin, tolerance));
        return None;
    }
    Some(GateRule::Errors { tolerance, margin })
}

fn error_limit(text: &str) -> Result<Fraction, Illegal> {
    let limit: Fraction = text.parse()?;
    if limit.get() > 0.0 && limit.get() < 1.0 {
        return Ok(limit);
    }
    Err(Illegal::new(format!("{} cannot be a limit; legal is above 0% and below 100%", quoted(text))))
}

/// What is special about a tolerance, or about a margin, where they are read alike.
struct Kind {
    keys: keys::Keys,
    /// What `{}` says, which is nothing.
    empty: &'static str,
    /// The largest ratio.
    most: f64,
    /// How points are read.
    points: fn(&str) -> Result<Fraction, Illegal>,
}

const TOLERANCE: Kind = Kind {
    keys: keys::TOLERANCE,
    empty: "tolerates nothing in particular; legal is 0.1%, { ratio: 1.5 } or { ratio: 1.5, points: 0.1% }",
    most: 1_000.0,
    points: tolerated_points,
};

const MARGIN: Kind = Kind {
    keys: keys::MARGIN,
    empty: "rules nothing in particular out; legal is 0.3%, { ratio: 2 } or { ratio: 2, points: 0.3% }",
    most: 10_000.0,
    points: |text| text.parse(),
};

fn tolerated_points(text: &str) -> Result<Fraction, Illegal> {
    let points: Fraction = text.parse()?;
    if points.get() < 1.0 {
        return Ok(points);
    }
    Err(Illegal::new(format!("{} tolerates everything; legal is 0% or more, below 100%", quoted(text))))
}

/// A ratio and points, as far as they are written.
#[derive(Clone, Copy)]
struct Parts {
    ratio: Option<f64>,
    points: Option<Fraction>,
}

impl Parts {
    /// These, and of `others` what is not written.
    fn or(self, others: Tolerance) -> Tolerance {
        Tolerance { ratio: self.ratio.unwrap_or(others.ratio), points: self.points.unwrap_or(others.points) }
    }
}

fn parts(written: &Cursor<'_>, kind: &Kind, report: &mut Report) -> Option<Parts> {
    const POINTS: &str = "points above stable, like 0.1%";
    if written.word().is_some() {
        let points = written.literal(report, POINTS, kind.points)?;
        return Some(Parts { ratio: None, points: Some(points) });
    }
    let fields = written.fields(report, &kind.keys)?;
    if !fields.has("ratio") && !fields.has("points") {
        fields.chooses_none(report, kind.empty);
        return None;
    }
    let ratio = fields
        .if_written("ratio", |written| written.literal(report, "a number, like 1.5", |text| ratio(text, kind.most)));
    let points = fields.if_written("points", |written| written.literal(report, POINTS, kind.points));
    Some(Parts { ratio: ratio?, points: points? })
}

fn ratio(text: &str, most: f64) -> Result<f64, Illegal> {
    let wrong = |near: &str| {
        Illegal::new(format!(
            "{} is no ratio; legal is 1 to {most}, like 1.5 (half again of stable's errors){near}",
            quoted(text)
        ))
    };
    if text.ends_with('%') {
        return Err(wrong("; points are written as `points:`"));
    }
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|ratio| plain && (1.0..=most).contains(ratio)).ok_or_else(|| wrong(""))
}

/// Why a margin is none beside its tolerance.
fn too_small(written: Parts, margin: Tolerance, tolerance: Tolerance) -> String {
    let ratios = margin.ratio > 1.0 || tolerance.ratio > 1.0;
    let shown = |Tolerance { ratio, points }: Tolerance| {
        if ratios { format!("a ratio of {ratio} and {points}") } else { points.to_string() }
    };
    let Tolerance { ratio, points } = tolerance;
    let legal = match (written.ratio, written.points) {
        (None, _) => format!("above {points}"),
        (Some(_), None) => format!("a ratio above {ratio}"),
        (Some(_), Some(_)) => format!("a ratio of {ratio} or more and {points} or more, one of them more"),
    };
    let (margin, tolerance) = (shown(margin), shown(tolerance));
    format!("{margin} is not more than the tolerance, {tolerance}; legal is {legal}")
}

const QUANTILE: &str = "a quantile, like p99";

pub(super) fn latency_rule(written: &Cursor<'_>, report: &mut Report) -> Option<GateRule> {
    let fields = rule_fields(written, &keys::LATENCY, report)?;
    let of = fields.or("of", LatencyOf::default(), |written| {
        written.choice(report, "is no end of a latency", &[("head", LatencyOf::Head), ("total", LatencyOf::Total)])
    });
    if let Some(limit) = fields.get("limit") {
        let two = "{ latency: { tolerance: 10% } } and { latency: { limit: 300ms } }";
        let alone = stands_alone(limit, &fields, two, report);
        let quantile = fields.or("quantile", Quantile::P99, |written| written.literal(report, QUANTILE, str::parse));
        let limit = limit.literal(report, "a time, like 300ms", latency_limit);
        let rule = GateRule::LatencyLimit { quantile: quantile?, limit: limit?, of: of? };
        return alone.then_some(rule);
    }
    let quantile = fields.if_written("quantile", |written| written.literal(report, QUANTILE, compared_quantile));
    let tolerance = fields.or("tolerance", Stretch::TOLERATED, |written| {
        written.literal(report, "a percentage of stable's latency, like 10%", tolerated_stretch)
    });
    let margin = match fields.get("margin") {
        Some(written) => stretch_margin(written, tolerance, report),
        None => tolerance.map(LatencyMargin::usual),
    };
    Some(GateRule::Latency { quantile: quantile?, tolerance: tolerance?, margin: margin?, of: of? })
}

fn stretch_margin(written: &Cursor<'_>, tolerance: Option<Stretch>, report: &mut Report) -> Option<LatencyMargin> {
    let margin: Stretch = written.literal(report, "a percentage of stable's latency, like 25%", str::parse)?;
    let tolerance = tolerance?;
    if margin <= tolerance {
        let message =
            format!("{margin} is not more than the tolerance, {tolerance}; legal is above {tolerance}, up to 10000%");
        written.wrong(report, message);
        return None;
    }
    Some(LatencyMargin { body: margin, tail: margin })
}

fn tolerated_stretch(text: &str) -> Result<Stretch, Illegal> {
    let tolerance: Stretch = text.parse()?;
    if tolerance.get() <= 10.0 {
        return Ok(tolerance);
    }
    Err(Illegal::new(format!("{} is out of range; legal is 0% to 1000%", quoted(text))))
}

/// A quantile that can be compared with stable's. Beyond these, too few requests lie on one of its sides.
fn compared_quantile(text: &str) -> Result<Quantile, Illegal> {
    const LEGAL: &str = "legal is p10 to p99.9 (p1 to p99.99 beside a `limit`)";
    // Its own words would name the range that holds beside a limit.
    let Ok(quantile) = text.parse::<Quantile>() else {
        return Err(Illegal::new(format!("{} is not a quantile; {LEGAL}, like p99", quoted(text))));
    };
    if (0.1..=0.999).contains(&quantile.get()) {
        return Ok(quantile);
    }
    Err(Illegal::new(format!("{} cannot be compared with stable; {LEGAL}", quoted(text))))
}

fn latency_limit(text: &str) -> Result<Duration, Illegal> {
    // A number without a unit that cannot be seconds was meant as milliseconds.
    if text.parse::<u64>().is_ok_and(|number| number > 60) {
        let message =
            format!("{} has no unit; legal is 1ms to 60s, like 300ms; did you mean `{text}ms`?", quoted(text));
        return Err(Illegal::new(message));
    }
    let limit = literal::duration(text)?;
    if (Duration::from_millis(1)..=Duration::from_secs(60)).contains(&limit) {
        return Ok(limit);
    }
    Err(Illegal::new(format!("{} cannot be a limit; legal is 1ms to 60s", quoted(text))))
}
