//! The images of the document.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::chance::Chance;
use crate::failing::Failures;
use crate::gates::{default_plan, judge};
use crate::service::{Scene, Service, Traffic};
use crate::swaying::{Sway, Timing};
use crate::timing::Latency;
use crate::worse::Point;

/// A light panel with dark ink: the same on a light page and on a dark one.
const PAPER: RGBColor = RGBColor(250, 250, 247);
const INK: RGBColor = RGBColor(40, 44, 52);
const FAINT: RGBColor = RGBColor(218, 220, 224);
const GREEN: RGBColor = RGBColor(46, 125, 50);
const TEAL: RGBColor = RGBColor(0, 131, 143);
const RED: RGBColor = RGBColor(198, 40, 40);
const AMBER: RGBColor = RGBColor(178, 98, 0);
const SIZE: (u32, u32) = (840, 440);
const FONT: &str = "sans-serif";
/// Seconds that the evidence is shown for.
const SHOWN: f64 = 120.0;

/// The evidence of one gate in one rollout.
struct Curve {
    label: &'static str,
    colour: RGBColor,
    /// Seconds, and evidence in percent of what a rollback needs.
    points: Vec<(f64, f64)>,
    /// Whether it ends with a rollback.
    taken_back: bool,
}

/// Draws the evidence of a good, a bad and a slow canary.
pub(crate) fn evidence(seed: u64, folder: &Path) -> anyhow::Result<()> {
    let log_normal = Latency::log_normal();
    let alike = Timing::alike(log_normal);
    let slow = Timing { canary: log_normal.slower(0.15), sway: Sway::None, ..alike };
    let bad = Failures::Alone { stable: 0.001, canary: 0.005, from: 0.0 };
    let good = Failures::alike(0.001);
    let curves = [
        curve(seed, "good canary, errors gate", GREEN, "errors", good, alike),
        curve(seed, "good canary, latency gate", TEAL, "latency", good, alike),
        curve(seed, "0.1 % → 0.5 % errors, errors gate", RED, "errors", bad, alike),
        curve(seed, "15 % slower, latency gate", AMBER, "latency", good, slow),
    ];
    draw(&folder.join("evidence.svg"), |area| draw_evidence(area, &curves))
}

fn curve(seed: u64, label: &'static str, colour: RGBColor, gate: &str, failures: Failures, timing: Timing) -> Curve {
    let scene = Scene { service: Service::USUAL, failures, timing: Some(timing), history: 300 };
    let (mut traffic, background) = Traffic::begin(scene, Chance::of(seed, label, 0));
    let mut judge = judge(&default_plan(), &background);
    let mut points = vec![(0.0, 0.0)];
    let mut taken_back = false;
    while traffic.elapsed() < SHOWN && !taken_back {
        traffic.show(&mut judge);
        taken_back = judge.judgement().harm.is_some();
        if traffic.second_ends() || taken_back {
            let gates = judge.gates();
            let shown = gates.iter().find(|shown| shown.name == gate);
            let evidence = shown.and_then(|shown| Some(100.0 * shown.log_evidence? / shown.threshold));
            points.push((traffic.elapsed(), evidence.unwrap_or_default()));
        }
    }
    Curve { label, colour, points, taken_back }
}

type Svg<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Draws into a file. Nothing is left half drawn.
fn draw(path: &Path, draw: impl Fn(&Svg<'_>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        area.fill(&PAPER)?;
        draw(&area)?;
        area.present()?;
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn text(size: i32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

type Chart<'a, 'b, X, Y> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<<X as AsRangedCoord>::CoordDescType, <Y as AsRangedCoord>::CoordDescType>,
>;

fn chart<'a, 'b, X, Y>(
    area: &'a Svg<'b>,
    x: X,
    y: Y,
    titles: [&str; 2],
    ticks: [usize; 2],
) -> anyhow::Result<Chart<'a, 'b, X, Y>>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut builder = ChartBuilder::on(area);
    builder.margin(14).margin_right(24).x_label_area_size(46).y_label_area_size(64);
    let mut chart = builder.build_cartesian_2d(x, y)?;
    let plain = |value: &f64| format!("{value}");
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(titles[0]).y_desc(titles[1]).x_labels(ticks[0]).y_labels(ticks[1]);
    mesh.x_label_formatter(&plain).y_label_formatter(&plain);
    mesh.axis_style(INK).bold_line_style(FAINT).light_line_style(TRANSPARENT);
    mesh.label_style(text(14)).axis_desc_style(text(15));
    mesh.draw()?;
    Ok(chart)
}

fn draw_evidence(area: &Svg<'_>, curves: &[Curve]) -> anyhow::Result<()> {
    let titles = ["seconds since the rollout began", "evidence of harm, % of what a rollback needs"];
    let mut chart = chart(area, 0.0..SHOWN, -50.0..125.0, titles, [13, 8])?;
    chart.draw_series(DashedLineSeries::new([(0.0, 100.0), (SHOWN, 100.0)], 7, 5, INK.stroke_width(1)))?;
    let above = text(14).pos(Pos::new(HPos::Right, VPos::Bottom));
    chart.draw_series([Text::new("the canary is taken back", (SHOWN - 1.0, 102.0), above)])?;
    for Curve { label, colour, points, taken_back } in curves {
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
        chart
            .draw_series(line)?
            .label(*label)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
        let end = points.last().filter(|_| *taken_back);
        chart.draw_series(end.map(|end| Circle::new(*end, 5, colour.filled())))?;
    }
    let mut legend = chart.configure_series_labels();
    legend.position(SeriesLabelPosition::Coordinate(500, 185)).background_style(PAPER).border_style(FAINT);
    legend.label_font(text(14)).margin(8);
    legend.draw()?;
    Ok(())
}

/// Draws how long harm took to find against how long it must take.
pub(crate) fn delays(points: &[Point], folder: &Path) -> anyhow::Result<()> {
    let longest = points.iter().map(|point| point.family.max(point.bound)).fold(100.0, f64::max);
    draw(&folder.join("delay.svg"), |area| draw_delays(area, points, 1.4 * longest))
}

fn draw_delays(area: &Svg<'_>, points: &[Point], longest: f64) -> anyhow::Result<()> {
    let titles = ["shortest mean delay that any test could have (two-sample bound), seconds", "mean delay, seconds"];
    let range = || (0.1..longest).log_scale();
    let mut chart = chart(area, range(), range(), titles, [5, 5])?;
    for (factor, label, colour) in
        [(1.0, "the bound", INK), (1.6, "1.6 × the bound", GREEN), (2.2, "2.2 × the bound", AMBER)]
    {
        let line = LineSeries::new([(0.1, 0.1 * factor), (longest / factor, longest)], colour.stroke_width(1));
        chart
            .draw_series(line)?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(1)));
    }
    let kinds = [
        ("errors, the test alone", RED, true, false),
        ("errors, in the family", RED, true, true),
        ("latency, the test alone", TEAL, false, false),
        ("latency, in the family", TEAL, false, true),
    ];
    for (label, colour, errors, family) in kinds {
        let style = if family { colour.filled() } else { colour.stroke_width(2) };
        let mine = points.iter().filter(|point| point.errors == errors);
        let at = |point: &Point| (point.bound, if family { point.family } else { point.plain });
        chart
            .draw_series(mine.map(|point| Circle::new(at(point), 5, style)))?
            .label(label)
            .legend(move |(x, y)| Circle::new((x + 9, y), 5, style));
    }
    let mut legend = chart.configure_series_labels();
    legend.position(SeriesLabelPosition::LowerRight).background_style(PAPER).border_style(FAINT);
    legend.label_font(text(14)).margin(8);
    legend.draw().map_err(|error| anyhow!("cannot draw the legend: {error}"))
}
