//! How soon a good canary passes, and how often one passes that is as bad as the margin.

use config::{Plan, Stretch};

use crate::crew::Crew;
use crate::failing::Failures;
use crate::gates::{ERRORS_AT_MARGIN, at_the_margin, default_plan, judge, latency_at};
use crate::service::{Scene, Service, Traffic};
use crate::swaying::{Sway, Timing};
use crate::table::{Goal, Table, Times, percent, seconds};
use crate::timing::Latency;

/// The goal: seconds at the median.
const GOAL: f64 = 180.0;
/// Seconds that a healthy canary is given.
const PATIENCE: f64 = 1_200.0;

fn scene(crew: &Crew, rates: (f64, f64), timing: Timing) -> Scene {
    let failures = Failures::Alone { stable: rates.0, canary: rates.1, from: 0.0 };
    let history = crew.seconds(600.0) as u32;
    Scene { service: Service::USUAL.by_the_second(), failures, timing: Some(timing), history }
}

/// What became of one rollout.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// Every gate passed, so many seconds after it began.
    Passed(f64),
    TakenBack,
    Neither,
}

fn part(ends: &[End], which: impl Fn(&End) -> bool) -> f64 {
    ends.iter().filter(|end| which(end)).count() as f64 / ends.len().max(1) as f64
}

fn ends(crew: &Crew, row: &str, rollouts: u64, plan: &Plan, scene: Scene) -> anyhow::Result<Vec<End>> {
    let patience = crew.seconds(PATIENCE);
    crew.simulate(row, rollouts, |chance| {
        let (mut traffic, background) = Traffic::begin(scene, chance);
        let mut judge = judge(plan, &background);
        while traffic.elapsed() < patience {
            traffic.show(&mut judge);
            let said = judge.judgement();
            if said.harm.is_some() {
                return End::TakenBack;
            }
            if said.proven {
                return End::Passed(traffic.elapsed());
            }
        }
        End::Neither
    })
}

/// Healthy canaries under the default plan, warm-up included.
pub(crate) fn of_health(crew: &Crew, goals: &mut Vec<Goal>) -> anyhow::Result<Table> {
    let heads = ["healthy canary, 50 requests/s", "passes after: median", "p95", "passed in 20 min", "taken back"];
    let mut table = Table::new(heads);
    let latencies = [("log-normal", Latency::log_normal()), ("bimodal", Latency::bimodal())];
    for (shape, latency) in latencies {
        for rate in [0.0, 0.001, 0.01] {
            let name = format!("errors {}, latency {shape}", percent(rate));
            let scene = scene(crew, (rate, rate), Timing::alike(latency));
            let ends = ends(crew, &name, 300, &default_plan(), scene)?;
            let back = part(&ends, |end| *end == End::TakenBack);
            let at = |end: &End| if let End::Passed(at) = end { Some(*at) } else { None };
            let times = Times::from_seconds(ends.iter().filter_map(at).collect(), ends.len());
            let quantile = |q| times.quantile(q).map_or_else(|| "-".to_owned(), seconds);
            table.row(vec![name.clone(), quantile(0.5), quantile(0.95), percent(times.part()), percent(back)]);
            let what = "a healthy canary passes, at the median";
            goals.push(Goal { what, row: name, limit: GOAL, came: times.quantile(0.5), written: seconds });
        }
    }
    Ok(table)
}

/// Canaries exactly as bad as the margin: each gate alone, and all under the default plan.
pub(crate) fn of_harm(crew: &Crew) -> anyhow::Result<Table> {
    let mut table =
        Table::new(["canary as bad as the margin", "wrongly passed in 20 min", "taken back", "allowed to pass"]);
    let log_normal = Latency::log_normal();
    let at_margin = |rate: f64| (rate, 1.5 * rate + 0.001);
    let slower = Timing { canary: log_normal.slower(0.25), ..Timing::alike(log_normal) };
    let quarter = Stretch::new(0.25).unwrap_or(Stretch::ZERO);
    let alike = Timing::alike(log_normal);
    let rows = [
        ("errors gate alone, stable 0.1 %", at_the_margin(ERRORS_AT_MARGIN), at_margin(0.001), alike),
        ("errors gate alone, stable 1 %", at_the_margin(ERRORS_AT_MARGIN), at_margin(0.01), alike),
        ("latency gate alone, all 25 % slower", at_the_margin(latency_at(quarter)), (0.001, 0.001), slower),
        ("default plan, errors at their margin (0.1 %)", default_plan(), at_margin(0.001), alike),
        ("default plan, all 25 % slower", default_plan(), (0.001, 0.001), Timing { sway: Sway::None, ..slower }),
    ];
    for (name, plan, rates, timing) in rows {
        let ends = ends(crew, name, 1_000, &plan, scene(crew, rates, timing))?;
        let passed = part(&ends, |end| matches!(end, End::Passed(_)));
        let back = part(&ends, |end| *end == End::TakenBack);
        let cells = [passed, back, plan.beta.get()].map(percent);
        table.row(std::iter::once(name.to_owned()).chain(cells).collect());
    }
    Ok(table)
}
