//! How soon a canary that fails all the time is taken back where stable had a bad hour.

use control::judge::Background;

use crate::crew::Crew;
use crate::failing::Failures;
use crate::gates::{default_plan, judged, judged_without_blocks};
use crate::service::{Scene, Service, Traffic};
use crate::table::{Goal, Table, Times, figure, seconds};
use crate::watch::{Outcome, contest};

/// Rollouts of each row.
const ROLLOUTS: u64 = 200;
/// How long each is followed after it broke.
const WITHIN: f64 = 1_800.0;
/// The goal for the mean of each row, in seconds.
const GOAL: f64 = 240.0;

/// 100 requests a second, three instances of stable and one of the canary, which has 5 %.
const SMALL: Service = Service { rate: 100.0, weight: 500, stable_pods: 3, canary_pods: 1, ticks_a_second: 1 };

const SERVICES: [(&str, Service); 2] =
    [("1 000 requests/s, 19 endpoints", Service::USUAL.by_the_second()), ("100 requests/s, 3 endpoints", SMALL)];

/// How often the canary fails, and from which second on.
const HARMS: [(&str, f64, f64); 4] =
    [("2 %", 0.02, 0.0), ("5 %", 0.05, 0.0), ("25 %", 0.25, 0.0), ("5 % after 10 good minutes", 0.05, 600.0)];

/// Simulates the rows; gives the table, and adds to the goals.
pub(crate) fn after_a_bad_hour(crew: &Crew, goals: &mut Vec<Goal>) -> anyhow::Result<Table> {
    let heads = ["stable, one of whose endpoints failed", "canary fails", "dispersion", "**Tidegate**", "without blocks"];
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
                let mut watchers: [Box<dyn crate::watch::Watcher>; 2] =
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

fn dispersion(background: &Background) -> f64 {
    background.dispersion().map_or(1.0, |dispersion| dispersion.errors)
}
