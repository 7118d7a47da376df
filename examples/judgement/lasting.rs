//! How soon a canary that fails all the time is taken back where stable had a bad hour.

use control::judge::Background;

use crate::crew::Crew;
use crate::failing::{BESIDE_BAD_HOUR, Failures};
use crate::gates::{default_plan, judged, judged_without_blocks};
use crate::service::{Scene, Service, Traffic};
use crate::table::{Goal, Table, Times, figure, percent, seconds};
use crate::watch::{Outcome, Watcher, contest};

/// Rollouts of each row.
const ROLLOUTS: u64 = 200;
/// How long each is followed after it broke.
const WITHIN: f64 = 1_800.0;
/// The goal for the mean of each row, in seconds.
const GOAL: f64 = 300.0;

/// 100 requests a second, three instances of stable and one of the canary, which has 5 %.
const SMALL: Service = Service { rate: 100.0, weight: 500, stable_pods: 3, canary_pods: 1, ticks_a_second: 1 };

const SERVICES: [(&str, Service); 2] =
    [("1 000 requests/s, 19 endpoints", Service::USUAL.by_the_second()), ("100 requests/s, 3 endpoints", SMALL)];

/// How often the canary fails, and from which second on.
const HARMS: [(&str, f64, f64); 4] =
    [("2 %", 0.02, 0.0), ("5 %", 0.05, 0.0), ("25 %", 0.25, 0.0), ("5 % after 10 good minutes", 0.05, 600.0)];

/// Simulates the rows; gives the table, and adds to the goals.
pub(crate) fn after_a_bad_hour(crew: &Crew, goals: &mut Vec<Goal>) -> anyhow::Result<Table> {
    let heads =
        ["stable, one of whose endpoints failed", "canary fails", "dispersion", "**Tidegate**", "without blocks"];
    let mut table = Table::new(heads);
    for (name, service) in SERVICES {
        for (harm, rate, from) in HARMS {
            let from = crew.seconds(from);
            let failures = Failures::BadHour { canary: rate, from };
            let scene = Scene { service, failures, timing: None, history: crew.seconds(3_600.0) as u32 };
            let row = format!("{name}, {harm}");
            let within = crew.seconds(WITHIN);
            let plan = default_plan();
            let runs = crew.simulate(&row, ROLLOUTS, |chance| {
                let (mut traffic, background) = Traffic::begin(scene, chance);
                let mut watchers: [Box<dyn Watcher>; 2] =
                    [judged(&plan, &background), judged_without_blocks(&plan, &background)?];
                Ok((dispersion(&background), contest(&mut traffic, &mut watchers, from + within)))
            })?;
            let runs: Vec<(f64, Vec<Outcome>)> = runs.into_iter().collect::<anyhow::Result<_>>()?;
            let (mut dispersions, outcomes): (Vec<f64>, Vec<Vec<Outcome>>) = runs.into_iter().unzip();
            dispersions.sort_by(f64::total_cmp);
            let of = |watcher: usize| Times::of(outcomes.iter().filter_map(move |each| each.get(watcher)), from);
            let found = of(0);
            if rate >= 0.05 {
                goals.push(Goal {
                    what: "a canary that fails 5 % or more after a bad hour of stable is taken back, on average",
                    row: row.clone(),
                    limit: GOAL,
                    came: found.mean().filter(|_| found.always()),
                    written: seconds,
                });
            }
            table.row(vec![
                name.to_owned(),
                harm.to_owned(),
                dispersions.get(dispersions.len() / 2).map_or_else(String::new, |phi| figure(*phi)),
                found.text(within),
                of(1).text(within),
            ]);
        }
    }
    Ok(table)
}

/// Rollouts of each row in which both versions are alike.
const ROLLOUTS_ALIKE: u64 = 500;
/// What may be taken back of them.
const GOAL_ALIKE: f64 = 0.02;

/// Laws by which both versions fail alike, in bursts and otherwise.
fn laws() -> Vec<(&'static str, Service, Failures)> {
    use Failures::{Incidents, PodBlips, PodIncidents, PodSway, PodsDiffer, Sticky};
    let [(_, large), (_, small)] = SERVICES;
    let even = Service { weight: 5_000, stable_pods: 2, canary_pods: 2, ..small };
    let bad_hour = Failures::BadHour { canary: BESIDE_BAD_HOUR, from: 0.0 };
    let hourly = PodIncidents { every: 3_600.0 };
    vec![
        ("each by itself, 1 %, few requests", small, Failures::alike(0.01)),
        ("shared incidents, 30 %", large, Incidents),
        ("sticky sessions, 6 failures each", large, Sticky),
        ("instances sway (AR(1))", large, PodSway),
        ("instances blip, each in 200 s", large, PodBlips { every: 200.0 }),
        ("instances blip, each in 2 000 s", large, PodBlips { every: 2_000.0 }),
        ("the same, 2 instances against 2", even, PodBlips { every: 2_000.0 }),
        ("instances differ for good", large, PodsDiffer),
        ("incidents of 20 to 60 s, each in an hour", large, hourly),
        ("the same, 1 instance against 3", small, hourly),
        ("the same, 2 instances against 2", even, hourly),
        ("after a bad hour of one endpoint", large, bad_hour),
        ("the same, 1 instance against 3", small, bad_hour),
    ]
}

/// How often a canary that is as good as stable is taken back, with blocks of time and without.
pub(crate) fn alike(crew: &Crew, goals: &mut Vec<Goal>) -> anyhow::Result<Table> {
    let mut table = Table::new(["both versions alike, for half an hour", "**Tidegate**", "without blocks"]);
    for (number, (name, service, failures)) in laws().into_iter().enumerate() {
        let scene = Scene { service, failures, timing: None, history: crew.seconds(3_600.0) as u32 };
        let within = crew.seconds(WITHIN);
        let plan = default_plan();
        let runs = crew.simulate(&format!("{name}, {number}"), ROLLOUTS_ALIKE, |chance| {
            let (mut traffic, background) = Traffic::begin(scene, chance);
            let mut watchers: [Box<dyn Watcher>; 2] =
                [judged(&plan, &background), judged_without_blocks(&plan, &background)?];
            Ok(contest(&mut traffic, &mut watchers, within))
        })?;
        let outcomes = runs.into_iter().collect::<anyhow::Result<Vec<Vec<Outcome>>>>()?;
        let [with, without] = [0, 1].map(|watcher| {
            let back = outcomes.iter().filter(|each| each.get(watcher).is_some_and(|of| of.alarm.is_some()));
            back.count() as f64 / outcomes.len().max(1) as f64
        });
        goals.push(Goal {
            what: "false rollbacks in half an hour, with blocks of time",
            row: name.to_owned(),
            limit: GOAL_ALIKE,
            came: Some(with),
            written: percent,
        });
        table.row(vec![name.to_owned(), format!("**{}**", percent(with)), percent(without)]);
    }
    Ok(table)
}

fn dispersion(background: &Background) -> f64 {
    background.dispersion().map_or(1.0, |dispersion| dispersion.errors)
}
