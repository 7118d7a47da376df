//! `tidegate status`, for people.

use std::io;

use config::Weight;
use control::judge::Copies;
use control::plane::{EndpointHealth, MirrorAnswer};
use control::process::{DrainView, PredecessorView, ProcessPhase, ProcessView, UpgradeView};
use control::view::{
    EndpointView, MatchView, Matched, MirrorSampleView, NotCopied, Phase, RolloutView, ServiceView, VersionView,
};

use super::screen::{Screen, Tone, plain};
use super::{gates, names};

/// The columns of a service's versions.
const COLUMNS: [&str; 9] = ["VERSION", "ROLE", "WEIGHT", "REQ/S", "ERRORS", "P50", "P99", "HEALTHY", "IN FLIGHT"];

/// Of so many endpoints of a version it is said what is the matter; all are in the JSON.
const MOST_ENDPOINTS: usize = 10;

/// Of so many versions it is said what a process that handed over still has; more are in the JSON.
const MOST_LEFT: usize = 10;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// What stands now.
    Brief,
    /// Also what is to be expected.
    Whole,
}

/// Prints what the process does apart from serving, if anything.
pub(super) fn process(process: &ProcessView, screen: &mut Screen<'_>) -> io::Result<()> {
    if process.phase == ProcessPhase::Upgrading {
        let label = screen.toned(Tone::Heed, "upgrading:");
        screen.line(&format!("{label} a new process gets ready to take over from process {}", process.pid))?;
    }
    if let Some(DrainView { connections, requests, left_s }) = &process.drain {
        let label = screen.toned(Tone::Heed, "draining:");
        let mut left = vec![format!("{connections} connections")];
        left.extend(requests.iter().map(|(service, there)| format!("{there} of {}", plain(service))));
        screen.line(&format!("{label} {} left; what is left in {} is cut", left.join(", "), seconds(*left_s)))?;
    }
    for old in &process.predecessors {
        predecessor(old, screen)?;
    }
    if let Some(UpgradeView { at, failed: Some(why) }) = &process.last_upgrade {
        let label = screen.toned(Tone::Bad, "the last upgrade failed:");
        screen.line(&format!("{label} {} ({})", plain(why), plain(at)))?;
    }
    Ok(())
}

/// Prints what a process that handed over still has, and when it ends.
fn predecessor(old: &PredecessorView, screen: &mut Screen<'_>) -> io::Result<()> {
    let label = screen.toned(Tone::Heed, "before the upgrade:");
    let counted = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let there = old.requests.iter().flat_map(|(service, versions)| {
        versions.iter().map(move |(version, left)| (left.in_flight.max(left.long_lived), service, version))
    });
    let mut there: Vec<_> = there.filter(|(count, ..)| *count > 0).collect();
    there.sort_by_key(|(count, ..)| std::cmp::Reverse(*count));
    let mut left = vec![counted(old.connections, "connection")];
    let told = there.iter().take(MOST_LEFT);
    left.extend(told.map(|(count, service, version)| format!("{count} of {} {}", plain(service), plain(version))));
    if there.len() > MOST_LEFT {
        left.push(counted((there.len() - MOST_LEFT) as u64, "more version"));
    }
    screen.line(&format!(
        "{label} process {} still has {}; it ends in {} at the latest",
        old.pid,
        left.join(", "),
        seconds(old.left_s)
    ))
}

/// Prints a service: its versions, its rollout, and what an operator should know.
pub(super) fn service(service: &ServiceView, detail: Detail, screen: &mut Screen<'_>) -> io::Result<()> {
    let name = screen.toned(Tone::Strong, &plain(&service.service));
    screen.line(&format!("{name}  (generation {})", service.generation))?;
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    rows.extend(service.versions.iter().map(|version| row(service, version)));
    let widths: [usize; COLUMNS.len()] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default());
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .enumerate()
            // Words stand to the left, figures to the right.
            .map(
                |(column, (cell, width))| {
                    if column < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        screen.line(&format!("  {}", cells.join("  ")))?;
    }
    for version in &service.versions {
        endpoints(version, screen)?;
        if detail == Detail::Whole {
            names::of(version, screen)?;
        }
    }
    for line in service.versions.iter().flat_map(|version| copies(version).into_iter().chain(long_lived(version))) {
        screen.line(&format!("  {line}"))?;
    }
    if let Some(it) = &service.rollout {
        rollout(it, "  ", detail, screen)?;
    }
    if detail == Detail::Whole && service.estimates.iter().any(gates::says_something) {
        screen.line("  a rollout at this traffic, step by step:")?;
        for estimate in &service.estimates {
            screen.line(&format!("    {}", gates::estimate(estimate)))?;
        }
    }
    for difference in &service.differs_from_file {
        let label = screen.toned(Tone::Heed, "differs from the file:");
        screen.line(&format!("  {label} {}", plain(difference)))?;
    }
    for version in service.versions.iter().filter(|version| version.saved > 0) {
        let (name, saved) = (plain(&version.name), version.saved);
        let requests = if saved == 1 { "request" } else { "requests" };
        screen.line(&format!("  shield: {saved} {requests} of {name} answered by another version in its stead"))?;
    }
    for warning in &service.warnings {
        let label = screen.toned(Tone::Heed, "warning:");
        screen.line(&format!("  {label} {}", plain(warning)))?;
    }
    Ok(())
}

/// Prints what is the matter with a version's endpoints, if anything is.
fn endpoints(version: &VersionView, screen: &mut Screen<'_>) -> io::Result<()> {
    let name = plain(&version.name);
    if version.panic {
        let label = screen.toned(Tone::Bad, "too few endpoints are well:");
        let is_left_out = |it: &EndpointView| matches!(it.state, EndpointHealth::Unhealthy | EndpointHealth::Ejected);
        let then = if version.endpoints.len() == 1 {
            format!("{name} has one, and it is tried all the same")
        } else if version.endpoints.iter().any(is_left_out) {
            format!("the unhealthy and ejected ones of {name} are used, too")
        } else {
            format!("the others of {name} cannot be connected to")
        };
        screen.line(&format!("  {label} {then}"))?;
    }
    // What begins slowly leaves its share to others that are well; where there are none it has everything.
    let well = version.endpoints.iter().filter(|it| it.state == EndpointHealth::Well).count();
    let is_slow = |it: &EndpointView| it.share < 1.0 && well > 1;
    let noteworthy = || version.endpoints.iter().filter(|it| it.state != EndpointHealth::Well || is_slow(it));
    for endpoint in noteworthy().take(MOST_ENDPOINTS) {
        let resolved = endpoint.resolved.as_ref().map_or_else(String::new, |at| format!(" ({})", plain(at)));
        let address = format!("{}{resolved}", plain(&endpoint.address));
        let since = endpoint.since.as_ref().map_or_else(String::new, |at| format!(", since {}", plain(at)));
        let stands = match endpoint.state {
            EndpointHealth::Well => format!("begins slowly, with {:.0} % of its share{since}", endpoint.share * 100.0),
            EndpointHealth::Unhealthy | EndpointHealth::Ejected | EndpointHealth::Down => {
                let state = screen.toned(Tone::Bad, endpoint.state.word());
                let reason = endpoint.reason.as_ref().map_or_else(String::new, |why| format!(": {}", plain(why)));
                let next =
                    endpoint.next_try.as_ref().map_or_else(String::new, |at| format!(", next try {}", plain(at)));
                format!("{state}{reason}{since}{next}")
            }
        };
        screen.line(&format!("  {address} of {name} {stands}"))?;
    }
    match noteworthy().count().saturating_sub(MOST_ENDPOINTS) {
        0 => Ok(()),
        more => screen.line(&format!("  and {more} more endpoints of {name}")),
    }
}

/// So many copied requests whose answers differed are told; all that are kept are in the JSON.
const MOST_SAMPLES: usize = 3;

/// What became of the copies that a version was sent, if it was sent any.
fn copies(version: &VersionView) -> Vec<String> {
    let Some(it) = &version.mirror else { return Vec::new() };
    let name = plain(&version.name);
    let mut lines = vec![format!(
        "copies to {name}: {} sent, {} compared with stable's answer: {} with another status, {} with another body; {} \
         failed that stable did not",
        it.sent, it.compared, it.status, it.body, it.failed
    )];
    let NotCopied { full, too_large, streamed, method, conditional } = it.not_copied;
    let reasons = [
        (full, "as many were under way as may be"),
        (too_large, "their body is too long"),
        (streamed, "they are streams or upgrades"),
        (method, "their method is not copied"),
        (conditional, "their answer depends on what their client has"),
    ];
    let reasons: Vec<_> =
        reasons.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count}: {why}")).collect();
    if !reasons.is_empty() {
        lines.push(format!("  not copied: {}", reasons.join(", ")));
    }
    lines.extend(it.samples.iter().take(MOST_SAMPLES).map(|sample| format!("  {}", told(sample))));
    lines
}

/// `GET /cart: stable answered 200, the copy 500 (status)`.
fn told(sample: &MirrorSampleView) -> String {
    let answer = |answer: &MirrorAnswer| match (answer.status, &answer.failure) {
        (Some(status), _) => status.to_string(),
        (None, Some(why)) => format!("nothing ({})", plain(why)),
        (None, None) => "nothing".to_owned(),
    };
    let MirrorSampleView { method, path, stable, canary, differs_in, .. } = sample;
    let (method, path, differs_in) = (plain(method), plain(path), plain(differs_in));
    format!(
        "{method} {path}: stable answered {}, the copy {} (differs in: {differs_in})",
        answer(stable),
        answer(canary)
    )
}

/// What is still there of a version that has left.
fn long_lived(version: &VersionView) -> Option<String> {
    let leaving = version.leaving.as_ref().filter(|_| version.long_lived > 0)?;
    let connections = if version.long_lived == 1 { "connection" } else { "connections" };
    let ends = match (leaving.asked_in_s, leaving.asked) {
        (Some(time), _) => format!("asked to end in {}", seconds(time)),
        (None, true) => "asked to end".to_owned(),
        (None, false) => "which may stay".to_owned(),
    };
    Some(format!("{}: {} long-lived {connections}, {ends}", plain(&version.name), version.long_lived))
}

fn row(service: &ServiceView, version: &VersionView) -> [String; COLUMNS.len()] {
    let role = if version.name == service.stable {
        "stable"
    } else if service.canary.as_ref() == Some(&version.name) {
        "canary"
    } else if running(service).is_some_and(|rollout| rollout.baseline.as_ref() == Some(&version.name)) {
        "baseline"
    } else {
        "-"
    };
    let healthy = version.endpoints.iter().filter(|endpoint| endpoint.healthy).count();
    [
        plain(&version.name),
        role.to_owned(),
        weight(version.weight),
        format!("{:.1}", version.requests_per_second),
        version.error_rate.map_or_else(|| "-".to_owned(), |rate| format!("{:.2}%", rate * 100.0)),
        milliseconds(version.latency_p50_ms),
        milliseconds(version.latency_p99_ms),
        format!("{healthy}/{}", version.endpoints.len()),
        version.in_flight.to_string(),
    ]
}

/// The service's rollout, while it runs.
fn running(service: &ServiceView) -> Option<&RolloutView> {
    service.rollout.as_ref().filter(|rollout| !rollout.phase.has_ended())
}

/// Prints a rollout, each line behind `indent`.
pub(super) fn rollout(rollout: &RolloutView, indent: &str, detail: Detail, screen: &mut Screen<'_>) -> io::Result<()> {
    let phase = screen.toned(tone(rollout.phase), rollout.phase.word());
    let canary = plain(&rollout.canary);
    let stands = if rollout.phase.has_ended() {
        format!("canary {}", weight(rollout.weight))
    } else {
        let held = match rollout.step_hold_s {
            Some(hold) => format!("held {} of {}", seconds(rollout.step_elapsed_s), seconds(hold)),
            None => format!("for {}", seconds(rollout.step_elapsed_s)),
        };
        format!("step {} of {}, canary {}, {held}", rollout.step, rollout.steps, weight(rollout.weight))
    };
    screen.line(&format!("{indent}rollout of {canary} (plan {}): {phase}, {stands}", plain(&rollout.plan)))?;
    if let Some(reason) = &rollout.reason {
        screen.line(&format!("{indent}  {}", plain(reason)))?;
    }
    if rollout.dry_run {
        let label = screen.toned(Tone::Heed, "dry run:");
        let times = match rollout.would_have_rolled_back {
            0 => "would not have rolled back".to_owned(),
            1 => "would have rolled back once".to_owned(),
            several => format!("would have rolled back {several} times"),
        };
        screen.line(&format!("{indent}  {label} {times}"))?;
    }
    let (requests, failed) = (rollout.requests, rollout.failed);
    let stable = match rollout.baseline.as_deref() {
        None => "stable".to_owned(),
        Some("equal") => "an equal slice of stable".to_owned(),
        Some(version) => format!("the baseline {}", plain(version)),
    };
    screen.line(&format!(
        "{indent}  judged: {} requests on {stable} ({} failed), {} on {canary} ({} failed)",
        requests.stable, failed.stable, requests.canary, failed.canary
    ))?;
    for line in matched(rollout).into_iter().chain(mirrored(rollout)) {
        screen.line(&format!("{indent}  {line}"))?;
    }
    for line in gates::lines(&rollout.gates, screen) {
        screen.line(&format!("{indent}  {line}"))?;
    }
    if rollout.phase.has_ended() {
        return Ok(());
    }
    if !rollout.gates.is_empty() {
        screen.line(&format!("{indent}  {}", gates::dispersion(rollout.dispersion)))?;
    }
    let shown = if detail == Detail::Whole { rollout.estimates.len() } else { 1 };
    for estimate in rollout.estimates.iter().take(shown).filter(|estimate| gates::says_something(estimate)) {
        screen.line(&format!("{indent}  at this traffic, {}", gates::estimate(estimate)))?;
    }
    Ok(())
}

/// Who goes to the canary whatever its weight, and what they got there; none where nobody did.
fn matched(rollout: &RolloutView) -> Option<String> {
    let Matched { requests, failed } = rollout.matched;
    let canary = plain(&rollout.canary);
    let got = format!("{requests} requests ({failed} failed), judged by limits and the breaker alone");
    let Some(MatchView { headers, judged }) = &rollout.matching else {
        return (requests > 0).then(|| format!("matched: {got}"));
    };
    let who: Vec<_> = headers.iter().map(|(name, value)| format!("{}: {}", plain(name), plain(value))).collect();
    let got = if *judged { "judged as all others are" } else { got.as_str() };
    Some(format!("match: whoever has {} goes to {canary}: {got}", who.join(", ")))
}

/// What the canary gets copies of, and what became of them; none where its plan sends none.
fn mirrored(rollout: &RolloutView) -> Option<String> {
    let Copies { ended, compared, failed, status, body } = rollout.copies?;
    let canary = plain(&rollout.canary);
    let now = match rollout.mirror {
        Some(share) => format!("mirror: {canary} gets copies of {} of stable's requests", weight(share)),
        None => "mirror".to_owned(),
    };
    (rollout.mirror.is_some() || ended > 0).then(|| {
        format!("{now}: {compared} of {ended} compared, {status} with another status, {body} with another body, {failed} failed that stable did not")
    })
}

/// The tone that a phase is told in.
pub(super) const fn tone(phase: Phase) -> Tone {
    match phase {
        Phase::Progressing | Phase::Promoting => Tone::Strong,
        Phase::Promoted => Tone::Good,
        Phase::Paused | Phase::AwaitingApproval | Phase::Superseded => Tone::Heed,
        Phase::RolledBack | Phase::Aborted => Tone::Bad,
    }
}

/// A weight as the operator writes it.
pub(super) fn weight(basis_points: u16) -> String {
    Weight::from_basis_points(basis_points).map_or_else(|_| format!("{basis_points} bp"), |weight| weight.to_string())
}

fn milliseconds(latency: Option<f64>) -> String {
    match latency {
        None => "-".to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.1} ms"),
        Some(ms) if ms < 10_000.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.1} s", ms / 1_000.0),
    }
}

/// A time in words as short as they may be: `31 s`, `2 min 5 s`, `3 h 4 min`.
pub(super) fn seconds(time: f64) -> String {
    let whole = time.max(0.0) as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3_600 if whole.is_multiple_of(60) => format!("{} min", whole / 60),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        _ if whole % 3_600 < 60 => format!("{} h", whole / 3_600),
        _ => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
    }
}
