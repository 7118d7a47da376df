//! How often a canary that is as good as stable is taken back.

use crate::crew::Crew;
use crate::failing::Failures;
use crate::gates::{default_plan, judged, tolerating_nothing};
use crate::rival::{MannWhitneyOfLatencies, RepeatedMannWhitney, RepeatedZ, Threshold};
use crate::service::{Scene, Service, Traffic};
use crate::swaying::{Sway, Timing};
use crate::table::{Goal, Table, percent};
use crate::timing::Latency;
use crate::watch::{Outcome, Plain, Turn, Watcher, contest_in_steps};

/// Rollouts of each row.
const ROLLOUTS: u64 = 1_000;

/// How much of a false alarm a row may have.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Requests fail by themselves, or with both versions: alpha holds.
    Shared,
    /// Requests fail together in instances or sessions: what is measured on stable must do.
    Bursty,
}

impl Kind {
    fn what(self) -> &'static str {
        match self {
            Self::Shared => "false rollbacks, each request by itself or shared incidents",
            Self::Bursty => "false rollbacks, failures that come in bursts",
        }
    }

    fn goal(self) -> f64 {
        match self {
            Self::Shared => 0.01,
            Self::Bursty => 0.02,
        }
    }
}

struct Row {
    name: &'static str,
    kind: Kind,
    scene: Scene,
    seconds: f64,
    turns: &'static [Turn],
}

/// The canary's weight grows from 1 % over 5 and 20 to 50 %.
const GROWS: [Turn; 3] =
    [Turn { at: 250.0, weight: 500 }, Turn { at: 500.0, weight: 2_000 }, Turn { at: 750.0, weight: 5_000 }];
/// Where it does.
const GROWING: Service = Service { weight: 100, stable_pods: 16, canary_pods: 4, ..Service::USUAL };

impl Row {
    fn errors(name: &'static str, kind: Kind, failures: Failures, history: u32) -> Self {
        let scene = Scene { service: Service::USUAL, failures, timing: None, history };
        Self { name, kind, scene, seconds: 1_000.0, turns: &[] }
    }

    /// In steps, of four instances.
    fn in_steps(mut self) -> Self {
        self.scene.service = Service { ticks_a_second: self.scene.service.ticks_a_second, ..GROWING };
        self.turns = &GROWS;
        self
    }

    fn of(mut self, service: Service) -> Self {
        self.scene.service = service;
        self
    }

    fn trickle(name: &'static str, service: Service, seconds: f64) -> Self {
        let scene = Scene { service, failures: Failures::alike(0.01), timing: None, history: 3_600 };
        Self { name, kind: Kind::Shared, scene, seconds, turns: &[] }
    }

    fn latency(name: &'static str, kind: Kind, latency: Latency, sway: Sway) -> Self {
        let timing = Some(Timing { sway, ..Timing::alike(latency) });
        let service = Service::USUAL.by_the_second();
        let scene = Scene { service, failures: Failures::alike(0.001), timing, history: 600 };
        Self { name, kind, scene, seconds: 1_000.0, turns: &[] }
    }
}

fn rows_of_errors() -> Vec<Row> {
    use Failures::{Diurnal, Incidents, PodBlips, PodSway, PodsDiffer, Sticky};
    use Kind::{Bursty, Shared};
    let slow = Service { rate: 10.0, weight: 500, stable_pods: 3, canary_pods: 1, ticks_a_second: 1 };
    vec![
        Row::errors("each by itself, 0.1 %", Shared, Failures::alike(0.001), 600),
        Row::errors("each by itself, 1 %", Shared, Failures::alike(0.01), 600),
        Row::errors("each by itself, 2 %", Shared, Failures::alike(0.02), 600),
        Row::errors("diurnal, 0.1 % to 1 %", Shared, Diurnal, 600),
        Row::errors("shared incidents, 30 %", Shared, Incidents, 600),
        Row::errors("1-5-20-50 % in steps, 1 %", Shared, Failures::alike(0.01), 600).in_steps(),
        Row::errors("1-5-20-50 % in steps, shared incidents", Shared, Incidents, 600).in_steps(),
        Row::trickle("1 request/s, 10 % canary, 8 h", Service { rate: 1.0, weight: 1_000, ..slow }, 28_800.0),
        Row::trickle("10 requests/s, 5 % canary, 4 h", slow, 14_400.0),
        Row::errors("sticky sessions, 6 failures each", Bursty, Sticky, 600),
        Row::errors("instances sway (AR(1))", Bursty, PodSway, 600),
        Row::errors("the same, one instance has 50 %", Bursty, PodSway, 600)
            .of(Service { weight: 5_000, ..Service::USUAL }),
        Row::errors("instances blip, each in 200 s", Bursty, PodBlips { every: 200.0 }, 3_600),
        Row::errors("instances blip, each in 2 000 s", Bursty, PodBlips { every: 2_000.0 }, 3_600),
        Row::errors("instances differ for good", Bursty, PodsDiffer, 600),
    ]
}

fn rows_of_latency() -> Vec<Row> {
    use Kind::{Bursty, Shared};
    vec![
        Row::latency("log-normal", Shared, Latency::log_normal(), Sway::None),
        Row::latency("bimodal", Shared, Latency::bimodal(), Sway::None),
        Row::latency("1-5-20-50 % in steps, log-normal", Shared, Latency::log_normal(), Sway::None).in_steps(),
        Row::latency("drift, ± 50 %", Shared, Latency::log_normal(), Sway::Drift),
        Row::latency("shared incidents, 4 × as slow", Shared, Latency::log_normal(), Sway::Incidents),
        Row::latency("instances sway by 5 %", Bursty, Latency::log_normal(), Sway::Pods { sd: 0.05 }),
    ]
}

/// Simulates the rows of errors; gives the table, and adds to the goals.
pub(crate) fn of_errors(crew: &Crew, goals: &mut Vec<Goal>) -> anyhow::Result<Table> {
    let heads = ["both versions alike", "**Tidegate**", "nothing tolerated", "T1 alone, untempered"];
    let rivals = Threshold::ALL.iter().map(|rule| rule.name).chain(["z-test, 5 %", "Mann-Whitney, 2 %"]);
    let mut table = Table::new(heads.into_iter().chain(rivals));
    for row in rows_of_errors() {
        let (default, strict) = (default_plan(), tolerating_nothing());
        let outcomes = simulate(crew, &row, |_, background| {
            let mut watchers: Vec<Box<dyn Watcher>> =
                vec![judged(&default, background), judged(&strict, background), Box::new(Plain::errors())];
            watchers.extend(Threshold::ALL.map(|rule| Box::new(rule.watcher()) as Box<dyn Watcher>));
            watchers.push(Box::new(RepeatedZ::default()));
            watchers.push(Box::new(RepeatedMannWhitney::default()));
            watchers
        })?;
        report(&row, &outcomes, &mut table, goals);
    }
    Ok(table)
}

/// Simulates the rows of latency; gives the table, and adds to the goals.
pub(crate) fn of_latency(crew: &Crew, goals: &mut Vec<Goal>) -> anyhow::Result<Table> {
    let heads =
        ["both versions alike", "**Tidegate**", "nothing tolerated", "T2 alone, untempered", "Mann-Whitney, 2 %"];
    let mut table = Table::new(heads);
    for row in rows_of_latency() {
        let (default, strict) = (default_plan(), tolerating_nothing());
        let outcomes = simulate(crew, &row, |traffic, background| {
            vec![
                judged(&default, background),
                judged(&strict, background),
                Box::new(Plain::latency().knowing(&traffic.past)),
                Box::new(MannWhitneyOfLatencies::default()),
            ]
        })?;
        report(&row, &outcomes, &mut table, goals);
    }
    Ok(table)
}

fn simulate(
    crew: &Crew,
    row: &Row,
    watchers: impl Fn(&Traffic, &control::judge::Background) -> Vec<Box<dyn Watcher>> + Sync,
) -> anyhow::Result<Vec<Vec<Outcome>>> {
    let seconds = crew.seconds(row.seconds);
    let scene = Scene { history: crew.seconds(f64::from(row.scene.history)) as u32, ..row.scene };
    crew.simulate(row.name, ROLLOUTS, |chance| {
        let (mut traffic, background) = Traffic::begin(scene, chance);
        let mut watchers = watchers(&traffic, &background);
        contest_in_steps(&mut traffic, &mut watchers, seconds, row.turns)
    })
}

fn report(row: &Row, outcomes: &[Vec<Outcome>], table: &mut Table, goals: &mut Vec<Goal>) {
    let watchers = outcomes.first().map_or(0, Vec::len);
    let part = |watcher: usize, of: &dyn Fn(&Outcome) -> bool| {
        outcomes.iter().filter(|each| each.get(watcher).is_some_and(of)).count() as f64 / outcomes.len().max(1) as f64
    };
    let alarms: Vec<f64> = (0..watchers).map(|watcher| part(watcher, &|outcome| outcome.alarm.is_some())).collect();
    let bold = |(watcher, part): (usize, &f64)| {
        if watcher == 0 { format!("**{}**", percent(*part)) } else { percent(*part) }
    };
    table.row(std::iter::once(row.name.to_owned()).chain(alarms.iter().enumerate().map(bold)).collect());
    for (watcher, came) in alarms.iter().take(2).enumerate() {
        let row_name = if watcher == 0 { row.name.to_owned() } else { format!("{}, nothing tolerated", row.name) };
        let goal = |what, limit, came| Goal { what, row: row_name.clone(), limit, came: Some(came), written: percent };
        goals.push(goal(row.kind.what(), row.kind.goal(), *came));
        let paused = part(watcher, &|outcome| outcome.paused);
        goals.push(goal("both versions alike: rollouts paused to ask a person", 0.01, paused));
    }
}
