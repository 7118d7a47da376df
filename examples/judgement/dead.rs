//! How soon a canary that turns wholly bad is taken back by the breaker.

use crate::crew::Crew;
use crate::failing::Failures;
use crate::gates::{default_plan, judge};
use crate::service::{Scene, Service, Traffic};
use crate::table::{Goal, Table, Times, percent, seconds};

/// The goal, in seconds on average.
const GOAL: f64 = 0.2;

/// One dead canary.
struct Death {
    /// Seconds from its first bad answer to its last.
    to_last: f64,
    /// Seconds from its first bad answer to the verdict.
    to_verdict: f64,
    bad: u64,
    /// Whether it was the breaker.
    breaker: bool,
}

/// Times from the first bad answer to the verdict.
pub(crate) fn canaries(crew: &Crew, goals: &mut Vec<Goal>) -> anyhow::Result<Table> {
    let heads = ["0.1 % → 100 %, 50 canary requests/s", "first bad answer to the last, s", "to the verdict, s"];
    let heads = heads.into_iter().chain(["bad answers", "by the breaker"]);
    let mut table = Table::new(heads);
    for good in [0.0, 4.0, 60.0, 600.0] {
        let good = crew.seconds(good);
        let name = format!("after {good:.0} good seconds");
        let deaths = crew.simulate(&name, 500, |mut chance| {
            let from = good + 0.1 * chance.uniform();
            let failures = Failures::Alone { stable: 0.001, canary: 1.0, from };
            let scene = Scene { service: Service::USUAL, failures, timing: None, history: crew.seconds(600.0) as u32 };
            let (mut traffic, background) = Traffic::begin(scene, chance);
            let mut judge = judge(&default_plan(), &background);
            let (mut first, mut bad) = (None, 0);
            while traffic.elapsed() < from + 30.0 {
                traffic.show(&mut judge);
                let (now, new) = (traffic.elapsed(), traffic.canary.bad());
                // Those of this tick came at moments of their own, in its part that was bad.
                let began = from.max(now - 0.1);
                let moments: Vec<f64> = (0..new).map(|_| began + (now - began) * traffic.chance().uniform()).collect();
                if now > from && new > 0 {
                    bad += new;
                    first = first.or_else(|| moments.iter().copied().reduce(f64::min));
                }
                if let Some(harm) = judge.judgement().harm {
                    let last = moments.into_iter().reduce(f64::max)?;
                    let first = first?;
                    return Some(Death {
                        to_last: last - first,
                        to_verdict: now - first,
                        bad,
                        breaker: harm.gate == "breaker",
                    });
                }
            }
            None
        })?;
        let of = |figure: fn(&Death) -> f64| {
            Times::from_seconds(deaths.iter().flatten().map(figure).collect(), deaths.len())
        };
        let to_last = of(|death| death.to_last);
        table.row(vec![
            name.clone(),
            to_last.text(30.0),
            of(|death| death.to_verdict).text(30.0),
            of(|death| death.bad as f64).text(30.0),
            percent(of(|death| f64::from(u8::from(death.breaker))).mean().unwrap_or_default()),
        ]);
        let mean = to_last.mean().filter(|_| to_last.always());
        let what = "a dead canary: first bad answer to the last, on average";
        goals.push(Goal { what, row: name, limit: GOAL, came: mean, written: seconds });
    }
    Ok(table)
}
