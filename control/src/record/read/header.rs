//! The first line, proven.

use config::{Name, PathPrefix};
use jiff::Timestamp;

use super::plan;
use crate::record::form::{BoundsForm, HeaderForm};
use crate::record::header::{Compared, Header, LatencyBounds, OWN_BOUNDS, wants_totals};

/// What the first line says, where it is as documented; in words what is not.
pub(super) fn proven(form: HeaderForm) -> Result<Header, String> {
    let plan = match form.plan {
        None => None,
        Some(value) => Some(plan::proven(&value).map_err(|what| format!("`plan`: {what}"))?),
    };
    if form.state.is_some() && plan.is_none() {
        return Err("a `state` needs the `plan` that it is of".to_owned());
    }
    for (key, name) in [("stable", &form.stable), ("canary", &form.canary)] {
        named(key, name)?;
    }
    for (key, name) in [("rollout", &form.rollout), ("service", &form.service)] {
        name.as_ref().map_or(Ok(()), |name| named(key, name))?;
    }
    if let Some(text) = form.started_at.as_ref().filter(|text| !is_time(text)) {
        return Err(format!(
            "`started_at` is {text:?}, which is no time; legal is RFC 3339, like 2026-11-22T01:20:00Z"
        ));
    }
    if form.stable == form.canary {
        return Err(format!("`stable` and `canary` are both {:?}; they are two versions", form.stable));
    }
    let compared = match (form.baseline, &plan) {
        (None, None) => Compared::Stable,
        (None, Some(plan)) => Compared::of(&plan.baseline),
        (Some(word), _) if word == "stable" || word == form.stable => Compared::Stable,
        (Some(word), _) if word == "equal" => Compared::Slice,
        (Some(name), _) if name == form.canary => return Err("`baseline` is the canary itself".to_owned()),
        (Some(name), _) => {
            named("baseline", &name)?;
            Compared::Version(name)
        }
    };
    let totals = match form.latency_of {
        None => plan.as_ref().is_some_and(wants_totals),
        Some(words) => match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["head"] => false,
            ["head", "total"] => true,
            _ => return Err("`latency_of`: legal are [\"head\"] and [\"head\", \"total\"]".to_owned()),
        },
    };
    let paths = match form.paths {
        None => plan.as_ref().map_or_else(Vec::new, config::Plan::paths),
        Some(paths) => proven_paths(&paths)?,
    };
    Ok(Header {
        rollout: form.rollout,
        service: form.service,
        stable: form.stable,
        canary: form.canary,
        compared,
        started_at: form.started_at,
        plan,
        paths,
        totals,
        bounds: bounds(form.latency_bounds)?,
        state: form.state,
    })
}

fn named(key: &str, name: &str) -> Result<(), String> {
    match Name::new(name) {
        Some(_) => Ok(()),
        None => Err(format!("`{key}` is {name:?}, which is no name; legal is {}", Name::LEGAL)),
    }
}

/// RFC 3339, which is shown to people as it is written.
fn is_time(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"-:.+TtZz ".contains(&byte));
    plain && text.parse::<Timestamp>().is_ok()
}

fn proven_paths(written: &[String]) -> Result<Vec<PathPrefix>, String> {
    let most = config::Plan::MOST_PATHS;
    if written.len() > most {
        return Err(format!("`paths` has {} entries; legal are at most {most}", written.len()));
    }
    let mut paths: Vec<PathPrefix> = Vec::new();
    for text in written {
        let path = PathPrefix::new(text);
        let Some(path) = path.filter(|path| path.as_str() == text && !paths.contains(path)) else {
            return Err(format!("`paths`: {text:?} is no path prefix like /checkout, or is there twice"));
        };
        paths.push(path);
    }
    Ok(paths)
}

fn bounds(form: Option<BoundsForm>) -> Result<LatencyBounds, String> {
    const LEGAL: &str = "where each bucket begins, in whole microseconds, ascending, like [0, 1000, 5000]";
    match form {
        None => Ok(LatencyBounds::Own),
        Some(BoundsForm::Named(name)) if name == OWN_BOUNDS => Ok(LatencyBounds::Own),
        Some(BoundsForm::Named(name)) => {
            Err(format!("`latency_bounds`: {name:?} is not known; legal is {OWN_BOUNDS:?}, or {LEGAL}"))
        }
        Some(BoundsForm::Given(lower_us)) => {
            LatencyBounds::beginning_at(&lower_us).ok_or(format!("`latency_bounds`: legal is {LEGAL}"))
        }
    }
}
