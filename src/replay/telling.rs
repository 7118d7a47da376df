//! What a replay says to people: a line where something happens, and a summary.

use std::io::{self, Write};

use config::Weight;
use control::record::{Compared, Header, Line, Mark, Tallied, Why};
use control::view::{GateView, Role, Verdict};

use super::course::Course;
use super::printable::printable;

/// Tells a replay.
#[derive(Debug)]
pub(super) struct Telling {
    header: Header,
    weight: Option<u16>,
    verdicts: Vec<(String, Verdict)>,
    said: [Option<String>; 3],
    exact: bool,
    harms: u64,
    ended: bool,
}

impl Telling {
    pub(super) const fn new(header: Header) -> Self {
        let said = [const { None }; 3];
        Self { header, weight: None, verdicts: Vec::new(), said, exact: true, harms: 0, ended: false }
    }

    pub(super) fn begin(&mut self, course: &Course, out: &mut dyn Write) -> io::Result<()> {
        let (Header { stable, canary, .. }, plan) = (&self.header, course.replay().plan());
        let of =
            |what: &str, text: &Option<String>| text.as_ref().map_or_else(String::new, |text| format!("{what}{text}"));
        let (rollout, service) = (of(" ", &self.header.rollout), of(" of ", &self.header.service));
        let began = of(", begun ", &self.header.started_at);
        writeln!(out, "{}", printable(&format!("rollout{rollout}{service}: {canary} against {stable}{began}")))?;
        let whose = match (course.replay().has_same_gates(), &self.header.plan) {
            (true, Some(_)) => "its own gates",
            (true, None) => "the default gates",
            (false, _) => "other gates",
        };
        let gates: Vec<&str> = plan.gates.iter().map(|gate| gate.name.as_str()).collect();
        let gates = if gates.is_empty() { "none".to_owned() } else { gates.join(", ") };
        let compared = match Compared::of(&plan.baseline) {
            Compared::Stable => format!("all of {stable}"),
            Compared::Slice => format!("a slice of {stable} of the same size"),
            Compared::Version(name) => name,
        };
        // Rounded to the finest digit that is legal.
        let alpha = (plan.alpha.get() * 1e6).round() / 1e4;
        let dry = if plan.dry_run { "; a dry run" } else { "" };
        writeln!(out, "judged by {whose}: {gates}; alpha {alpha} %; compared with {compared}{dry}")?;
        for note in course.replay().notes() {
            writeln!(out, "note: {}", printable(note))?;
        }
        self.verdicts = verdicts(course.gates());
        writeln!(out)
    }

    pub(super) fn after(&mut self, line: &Line, course: &Course, out: &mut dyn Write) -> io::Result<()> {
        let at = course.seconds();
        let mut tell = |what: &str| writeln!(out, "{:>10}  {}", clock(at), printable(what));
        self.happened(line, &mut tell)?;
        let exact = course.replay().is_exact();
        if exact != self.exact {
            self.exact = exact;
            tell(if exact { "exact from here on" } else { "approximate from here on, until a checkpoint" })?;
        }
        let now = verdicts(course.gates());
        for ((gate, verdict), view) in now.iter().zip(course.gates()) {
            let before = self.verdicts.iter().find(|(name, _)| name == gate).map(|(_, verdict)| *verdict);
            // Harm is told below, and once.
            let harmed = course.judgement().harm.as_ref().is_some_and(|harm| harm.gate == *gate);
            if before != Some(*verdict) && !(harmed && *verdict == Verdict::Fail) {
                tell(&changed(view))?;
            }
        }
        self.verdicts = now;
        let judgement = course.judgement();
        if course.harms() > self.harms
            && let Some(harm) = &judgement.harm
        {
            tell(&format!("ROLL BACK by {}: {}", harm.gate, harm.explain))?;
        }
        self.harms = course.harms();
        let says = [
            judgement.signal.as_ref().map(|harm| format!("PAUSE by {}: {}", harm.gate, harm.explain)),
            judgement.traffic.as_ref().map(|explain| format!("PAUSE by traffic: {explain}")),
            judgement.hold.as_ref().map(|explain| format!("HOLD: {explain}")),
        ];
        for (said, says) in self.said.iter_mut().zip(says) {
            if let (None, Some(says)) = (&*said, &says) {
                tell(says)?;
            }
            *said = says;
        }
        Ok(())
    }

    /// What the line itself says.
    fn happened(&mut self, line: &Line, tell: &mut impl FnMut(&str) -> io::Result<()>) -> io::Result<()> {
        match line {
            Line::Counted(counted) => {
                if let Some(weight) = counted.weight.filter(|weight| Some(*weight) != self.weight) {
                    self.weight = Some(weight);
                    let weight = Weight::from_basis_points(weight).map_or_else(|_| String::new(), |w| w.to_string());
                    tell(&format!("{} at {weight}", self.header.canary))?;
                }
                Ok(())
            }
            Line::Marked(_, mark) => tell(match mark {
                Mark::NewStep => "a step begins",
                Mark::Acknowledge => "a person saw what was signalled, and went on",
                Mark::BeginAnew => "the dry run's tests begin anew",
                Mark::WarmUpAgain => "the canary has more endpoints and warms up again",
                Mark::ClockSetBack => "the clock was set back",
            }),
            Line::Checkpoint(checkpoint) => match checkpoint.why {
                Why::Restart => tell("the process began anew, with the evidence that it had saved"),
                Why::Routine | Why::Gap => Ok(()),
            },
            Line::Gap(windows) => tell(&format!("{windows} windows are missing")),
            Line::End(_, outcome) => {
                self.ended = true;
                tell(&format!("the rollout ended: {}", outcome.map_or("how is not known", |outcome| outcome.word())))
            }
        }
    }

    /// `only_to` is the last line that was judged, where the one behind it cannot be read.
    pub(super) fn end(&self, course: &Course, only_to: Option<u64>, out: &mut dyn Write) -> io::Result<()> {
        let judgement = course.judgement();
        writeln!(out)?;
        table(course.gates(), out)?;
        let dispersion = course.replay().judge().dispersion();
        let dispersion = dispersion.map_or("unmeasured".to_owned(), |of| {
            format!("errors {:.1}, latency {:.1} (1 is independence)", of.errors, of.latency)
        });
        let (requests, failed) = (judgement.requests, judgement.failed);
        writeln!(
            out,
            "requests: baseline {}, {} failed; {} {}, {} failed; dispersion: {dispersion}",
            requests.stable, failed.stable, self.header.canary, requests.canary, failed.canary
        )?;
        let Tallied { windows, merged, missing, checkpoints: (same, different), restarts } = course.replay().tallied();
        write!(out, "windows: {windows} over {}", clock(course.seconds()))?;
        for (count, what) in [
            (merged, "merged by thinning"),
            (missing, "missing"),
            (restarts, "restarts"),
            (same, "checkpoints the same to the last bit"),
            (different, "checkpoints different: another Tidegate judged otherwise, or the record was changed"),
        ] {
            if count > 0 {
                write!(out, "; {count} {what}")?;
            }
        }
        writeln!(out, "{}", if self.ended { "" } else { "; the record has no end" })?;
        if merged > 0 && !course.replay().has_same_gates() {
            writeln!(out, "approximate: merged windows are judged as if all in them came at once")?;
        }
        let whose = if course.replay().has_same_gates() { "the gates" } else { "these gates" };
        if windows == 0 || (only_to.is_none() && !course.has_judged()) {
            return writeln!(out, "verdict: none; nothing was judged");
        }
        // What stands below an unreadable line is not known, so this is no last word.
        match only_to {
            Some(line) => write!(out, "as far as line {line}: ")?,
            None => write!(out, "verdict: ")?,
        }
        match course.first_harm() {
            Some((at, harm)) => {
                let times = match course.harms() {
                    0 | 1 => String::new(),
                    times => format!(", {times} times in all"),
                };
                let after = clock(at.after);
                let why = format!("{}: {}", harm.gate, harm.explain);
                let how = if at.exact { "" } else { " (where the evidence is approximate)" };
                writeln!(out, "{whose} roll back after {after}{how}{times}, by {}", printable(&why))
            }
            None if judgement.proven => writeln!(out, "{whose} pass"),
            None => writeln!(out, "{whose} do not roll back; not everything is proven"),
        }?;
        if let (Some((at, why)), None) = (course.first_pause(), course.first_harm()) {
            let after = clock(at.after);
            writeln!(out, "a person would have been asked after {after}: {}", printable(why))?;
        }
        Ok(())
    }
}

fn verdicts(gates: &[GateView]) -> Vec<(String, Verdict)> {
    gates.iter().map(|gate| (gate.name.clone(), gate.verdict)).collect()
}

fn changed(gate: &GateView) -> String {
    match gate.verdict {
        Verdict::Fail | Verdict::Pass => format!("{}: {}: {}", gate.name, word(gate.verdict), gate.explain),
        Verdict::NoData | Verdict::Inconclusive => format!("{}: {}", gate.name, word(gate.verdict)),
    }
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fail => "fail",
        Verdict::NoData => "no-data",
        Verdict::Inconclusive => "inconclusive",
        Verdict::Pass => "pass",
    }
}

fn table(gates: &[GateView], out: &mut dyn Write) -> io::Result<()> {
    if gates.is_empty() {
        return Ok(());
    }
    let width = gates.iter().map(|gate| gate.name.len()).max().unwrap_or(0).max(4);
    writeln!(out, "{:width$}  ROLE       VERDICT       EVIDENCE        PROOF  COUNTED", "GATE")?;
    for gate in gates {
        let role = match gate.role {
            Role::Guardrail => "guardrail",
            Role::Signal => "signal",
        };
        let evidence = gate.log_evidence.map_or("-".to_owned(), |nats| format!("{nats:.2} of {:.2}", gate.threshold));
        let proof = gate.proof.map_or("-".to_owned(), |proof| format!("{:.0} %", 100.0 * proof));
        let counted = gate.counts.map_or("-".to_owned(), |counts| {
            let (events, requests) = (counts.events, counts.requests);
            format!("{} of {} against {} of {}", events.canary, requests.canary, events.stable, requests.stable)
        });
        let verdict = word(gate.verdict);
        writeln!(out, "{:width$}  {role:9}  {verdict:12}  {evidence:14}  {proof:>5}  {counted}", gate.name)?;
    }
    Ok(())
}

/// Minutes, seconds and tenths.
fn clock(seconds: f64) -> String {
    let sign = if seconds < 0.0 { "-" } else { "" };
    let tenths = (seconds.abs() * 10.0).round() as u64;
    let (hours, minutes, tenths) = (tenths / 36_000, tenths / 600 % 60, tenths % 600);
    let (whole, tenth) = (tenths / 10, tenths % 10);
    if hours > 0 {
        format!("{sign}{hours}:{minutes:02}:{whole:02}.{tenth}")
    } else {
        format!("{sign}{minutes}:{whole:02}.{tenth}")
    }
}
