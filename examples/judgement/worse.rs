//! How soon a canary that is worse than stable is taken back.

use config::Plan;
use control::judge::Background;

use crate::bound::{Bound, Stream};
use crate::crew::Crew;
use crate::failing::Failures;
use crate::gates::{default_plan, judged, tolerating_nothing, without_warmup};
use crate::rival::Threshold;
use crate::service::{Scene, Service, Traffic};
use crate::swaying::{Sway, Timing};
use crate::table::{Goal, Table, Times, factor, figure, times};
use crate::timing::Latency;
use crate::watch::{Outcome, PLAIN_ALPHA, Plain, Watcher, contest};

/// Rows with a bound below this measure the tick and the cap rather than the statistics.
const SHORTEST_BOUND: f64 = 3.0;
/// The goals: so many times the bound, for a test alone and in the family.
const PLAIN_GOAL: f64 = 1.6;
const FAMILY_GOAL: f64 = 2.2;

/// No rollout is followed for longer than so many seconds.
const LONGEST: f64 = 7_200.0;

/// One point of the plot of delays.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) bound: f64,
    pub(crate) plain: f64,
    pub(crate) family: f64,
    pub(crate) errors: bool,
}

/// What is found out about one kind of harm.
struct Found {
    plain: Times,
    family: Times,
    default: Times,
}

impl Found {
    fn of(outcomes: &[Vec<Outcome>], from: f64) -> Self {
        let [plain, family, default] =
            [0, 1, 2].map(|watcher| Times::of(outcomes.iter().filter_map(|each| each.get(watcher)), from));
        Self { plain, family, default }
    }

    fn cells(&self, bound: f64, within: f64) -> Vec<String> {
        vec![
            self.plain.text(within),
            times(self.plain.mean().filter(|_| self.plain.always()), bound),
            self.family.text(within),
            times(self.family.mean().filter(|_| self.family.always()), bound),
            self.family.requests().map_or_else(|| "-".to_owned(), |requests| format!("{requests:.0}")),
            self.default.text(within),
        ]
    }

    fn goals(&self, name: &str, bound: Bound, goals: &mut Vec<Goal>) {
        if bound.two_sample <= SHORTEST_BOUND {
            return;
        }
        let alone = ("mean delay over the two-sample bound, the test alone", &self.plain, PLAIN_GOAL);
        let family = ("mean delay over the two-sample bound, in the family", &self.family, FAMILY_GOAL);
        for (what, found, limit) in [alone, family] {
            let came = found.mean().filter(|_| found.always()).map(|mean| mean / bound.two_sample);
            goals.push(Goal { what, row: name.to_owned(), limit, came, written: factor });
        }
    }

    fn point(&self, bound: Bound, errors: bool) -> Option<Point> {
        let (plain, family) = (self.plain.mean()?, self.family.mean()?);
        let whole = self.plain.always() && self.family.always() && bound.two_sample > 0.1;
        whole.then_some(Point { bound: bound.two_sample, plain, family, errors })
    }
}

const STREAM: Stream = Stream { rate: 1_000.0, weight: 0.05, alpha: PLAIN_ALPHA };

const OF_ERRORS: [(&str, f64, f64); 5] = [
    ("0.1 % → 0.5 %", 0.001, 0.005),
    ("0.1 % → 1 %", 0.001, 0.01),
    ("1 % → 2 %", 0.01, 0.02),
    ("1 % → 5 %", 0.01, 0.05),
    ("0 % → 100 %", 0.0, 1.0),
];

/// A judge without warm-up in each of the two plans, and the plain test before them.
fn watchers(plain: Box<dyn Watcher>, plans: &[Plan; 2], background: &Background) -> Vec<Box<dyn Watcher>> {
    vec![plain, judged(&plans[0], background), judged(&plans[1], background)]
}

fn plans() -> [Plan; 2] {
    [tolerating_nothing(), default_plan()].map(without_warmup)
}

/// Errors from the first request on.
pub(crate) fn in_errors(crew: &Crew, goals: &mut Vec<Goal>, points: &mut Vec<Point>) -> anyhow::Result<Table> {
    let heads = ["errors", "bound: known, two-sample", "T1 alone", "× bound", "**in the family**", "× bound"];
    let heads = heads.into_iter().chain(["canary requests", "default tolerance"]);
    let mut table = Table::new(heads.chain(RIVALS.map(|rival| Threshold::ALL[rival].name)));
    for (name, stable, canary) in OF_ERRORS {
        let bound = STREAM.of_errors(stable, canary);
        let failures = Failures::Alone { stable, canary, from: 0.0 };
        let timing = Some(Timing::alike(Latency::log_normal()));
        let scene = Scene { service: Service::USUAL, failures, timing, history: crew.seconds(600.0) as u32 };
        let within = crew.seconds(600.0);
        let plans = plans();
        let outcomes = crew.simulate(name, 500, |chance| {
            let (mut traffic, background) = Traffic::begin(scene, chance);
            contest(&mut traffic, &mut watchers(Box::new(Plain::errors()), &plans, &background), within)
        })?;
        let found = Found::of(&outcomes, 0.0);
        found.goals(name, bound, goals);
        points.extend(found.point(bound, true));
        let bounds = format!("{}, {}", figure(bound.known), figure(bound.two_sample));
        let mut cells = vec![name.to_owned(), bounds];
        cells.extend(found.cells(bound.two_sample, within));
        cells.extend(rivals(crew, name, failures)?);
        table.row(cells);
    }
    Ok(table)
}

/// Which of the other tools' rules are timed, too.
const RIVALS: [usize; 4] = [0, 2, 3, 4];

fn rivals(crew: &Crew, name: &str, failures: Failures) -> anyhow::Result<Vec<String>> {
    let within = crew.seconds(1_800.0);
    let scene = Scene { service: Service::USUAL.by_the_second(), failures, timing: None, history: 0 };
    let outcomes = crew.simulate(&format!("{name}, other tools"), 300, |chance| {
        let (mut traffic, _) = Traffic::begin(scene, chance);
        let mut watchers = RIVALS.map(|rival| Box::new(Threshold::ALL[rival].watcher()) as Box<dyn Watcher>);
        contest(&mut traffic, &mut watchers, within)
    })?;
    let of = |watcher| Times::of(outcomes.iter().filter_map(move |each: &Vec<Outcome>| each.get(watcher)), 0.0);
    Ok((0..RIVALS.len()).map(|watcher| of(watcher).text(within)).collect())
}

/// Errors after ten good minutes.
pub(crate) fn late_errors(crew: &Crew) -> anyhow::Result<Table> {
    let good = crew.seconds(600.0);
    let within = crew.seconds(900.0);
    let heads =
        ["errors, after 10 good minutes", "two-sample bound", "T1 alone", "× bound", "**in the family**", "× bound"];
    let mut table = Table::new(heads.into_iter().chain(["canary requests since", "default tolerance"]));
    for (name, stable, canary) in OF_ERRORS {
        let failures = Failures::Alone { stable, canary, from: good };
        let scene = Scene { service: Service::USUAL, failures, timing: None, history: good as u32 };
        let plans = plans();
        let outcomes = crew.simulate(&format!("{name}, late"), 300, |chance| {
            let (mut traffic, background) = Traffic::begin(scene, chance);
            let mut watchers = watchers(Box::new(Plain::errors()), &plans, &background);
            let mut outcomes = contest(&mut traffic, &mut watchers, good + within);
            // Only what came since the turn is counted.
            let before = good * scene.service.rate * scene.service.share();
            for alarm in outcomes.iter_mut().filter_map(|outcome| outcome.alarm.as_mut()) {
                alarm.requests = alarm.requests.saturating_sub(before as u64);
            }
            outcomes
        })?;
        let bound = STREAM.of_errors(stable, canary).two_sample;
        let mut cells = vec![name.to_owned(), figure(bound)];
        cells.extend(Found::of(&outcomes, good).cells(bound, within));
        table.row(cells);
    }
    Ok(table)
}

/// Latency from the first request on.
pub(crate) fn in_latency(crew: &Crew, goals: &mut Vec<Goal>, points: &mut Vec<Point>) -> anyhow::Result<Table> {
    let heads =
        ["latency", "bound: known, two-sample, on levels", "T2 alone", "× bound", "**in the family**", "× bound"];
    let mut table = Table::new(heads.into_iter().chain(["canary requests", "default tolerance (5 %)"]));
    for (name, stable, canary) in of_latency() {
        let bound = STREAM.of_latencies(&stable, &canary);
        // Looked at ten times a second where that matters.
        let quick = bound.two_sample < 20.0;
        let service = if quick { Service::USUAL } else { Service::USUAL.by_the_second() };
        let timing = Some(Timing { stable, canary, sway: Sway::None });
        let history = crew.seconds(600.0) as u32;
        let scene = Scene { service, failures: Failures::alike(0.001), timing, history };
        let within = crew.seconds((30.0 * bound.two_sample).clamp(300.0, LONGEST));
        let plans = plans();
        let outcomes = crew.simulate(&name, 200, |chance| {
            let (mut traffic, background) = Traffic::begin(scene, chance);
            let plain = Box::new(Plain::latency().knowing(&traffic.past));
            contest(&mut traffic, &mut watchers(plain, &plans, &background), within)
        })?;
        let found = Found::of(&outcomes, 0.0);
        found.goals(&name, bound, goals);
        points.extend(found.point(bound, false));
        let levels = STREAM.of_levels(&stable, &canary).two_sample;
        let bounds = format!("{}, {}, {}", figure(bound.known), figure(bound.two_sample), figure(levels));
        let mut cells = vec![format!("{name}{}", if quick { "" } else { " ¹" }), bounds];
        cells.extend(found.cells(bound.two_sample, within));
        table.row(cells);
    }
    Ok(table)
}

fn of_latency() -> Vec<(String, Latency, Latency)> {
    type Change = fn(Latency, f64) -> Latency;
    let kinds: [(&str, Latency, Change); 4] = [
        ("log-normal, all", Latency::log_normal(), Latency::slower),
        ("log-normal, p99", Latency::log_normal(), Latency::longer_tail),
        ("bimodal, all", Latency::bimodal(), Latency::slower),
        ("bimodal, slow path", Latency::bimodal(), Latency::slower_path),
    ];
    let of = |(name, stable, change): (&str, Latency, Change)| {
        [0.05, 0.1, 0.25, 1.0].map(|by| (format!("{name} + {:.0} %", 100.0 * by), stable, change(stable, by)))
    };
    let more = |share: f64| {
        let name = format!("bimodal, slow path 2 % → {:.0} % of requests", 100.0 * share);
        (name, Latency::bimodal(), Latency::bimodal().slow_share(share))
    };
    kinds.into_iter().flat_map(of).chain([more(0.03), more(0.04)]).collect()
}
