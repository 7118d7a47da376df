//! The lines of a record as they are written, before anything in them is believed.

use meter::{Class, Clients, Drawn, GROUPS, GroupCounts, LatencyCounts, PathTally, Window};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::count::{Count, Named, Object};
use super::header::LatencyBounds;
use crate::judge::Copies;

/// Every key that a line other than the first may have; which of them belong together is the reader's business.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LineForm {
    pub(super) t: Option<f64>,
    pub(super) generation: Option<Count>,
    pub(super) weight: Option<Count>,
    pub(super) times: Option<Count>,
    pub(super) span: Option<Count>,
    pub(super) draws: Option<Object<DrawsForm>>,
    pub(super) copies: Option<Object<CopiesForm>>,
    pub(super) endpoints: Option<Object<EndpointsForm>>,
    pub(super) compared: Option<String>,
    pub(super) versions: Option<Named<Object<VersionForm>>>,
    pub(super) slice: Option<Object<VersionForm>>,
    pub(super) matched: Option<Object<VersionForm>>,
    pub(super) mark: Option<String>,
    pub(super) why: Option<String>,
    pub(super) checkpoint: Option<Value>,
    pub(super) gap: Option<Count>,
    pub(super) end: Option<String>,
}

impl LineForm {
    /// The keys that are there.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static str> {
        [
            ("t", self.t.is_some()),
            ("generation", self.generation.is_some()),
            ("weight", self.weight.is_some()),
            ("times", self.times.is_some()),
            ("span", self.span.is_some()),
            ("draws", self.draws.is_some()),
            ("copies", self.copies.is_some()),
            ("endpoints", self.endpoints.is_some()),
            ("compared", self.compared.is_some()),
            ("versions", self.versions.is_some()),
            ("slice", self.slice.is_some()),
            ("matched", self.matched.is_some()),
            ("mark", self.mark.is_some()),
            ("why", self.why.is_some()),
            ("checkpoint", self.checkpoint.is_some()),
            ("gap", self.gap.is_some()),
            ("end", self.end.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, there)| there.then_some(key))
    }
}

/// The first line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderForm {
    /// Looked at before the rest is.
    #[serde(rename = "tidegate_record")]
    _version: Value,
    pub(super) rollout: Option<String>,
    pub(super) service: Option<String>,
    pub(super) stable: String,
    pub(super) canary: String,
    pub(super) baseline: Option<String>,
    pub(super) started_at: Option<String>,
    pub(super) latency_of: Option<Vec<String>>,
    #[serde(default, deserialize_with = "bounds")]
    pub(super) latency_bounds: Option<BoundsForm>,
    pub(super) paths: Option<Vec<String>>,
    pub(super) plan: Option<Value>,
    pub(super) state: Option<Value>,
}

/// What the numbers of buckets mean: a name, or where each bucket begins, in microseconds.
#[derive(Debug)]
pub(super) enum BoundsForm {
    Named(String),
    Given(Vec<u64>),
}

fn bounds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<BoundsForm>, D::Error> {
    let wrong = || {
        D::Error::custom(
            "`latency_bounds` is neither a name nor where each bucket begins, in whole microseconds, like [0, 1000, 5000]",
        )
    };
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::String(name) => Ok(Some(BoundsForm::Named(name))),
        Value::Array(given) => {
            let given = given.iter().map(Value::as_u64).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
            Ok(Some(BoundsForm::Given(given)))
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(wrong()),
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DrawsForm {
    pub(super) weight: Count,
    pub(super) canary: Count,
    pub(super) all: Count,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CopiesForm {
    ended: Count,
    compared: Count,
    failed: Count,
    status: Count,
    body: Count,
}

impl CopiesForm {
    /// A part may come a window before what it is a part of, as both are counted while they are read: so nothing here has
    /// to add up.
    pub(super) const fn proven(self) -> Copies {
        let Self { ended: Count(ended), compared: Count(compared), failed: Count(failed), .. } = self;
        let Self { status: Count(status), body: Count(body), .. } = self;
        Copies { ended, compared, failed, status, body }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndpointsForm {
    pub(super) stable: Count,
    pub(super) canary: Count,
}

/// What one version did, or the requests on one path.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct VersionForm {
    requests: Option<Count>,
    errors: Option<Count>,
    by_class: Option<Named<Count>>,
    latency: Vec<(Count, Count)>,
    latency_failed: Vec<(Count, Count)>,
    total: Option<Vec<(Count, Count)>>,
    total_failed: Option<Vec<(Count, Count)>>,
    by_key: Vec<Vec<Count>>,
    by_endpoint: Vec<Vec<Count>>,
    clients: Option<(Count, Count)>,
    drawn: Option<Object<DrawnForm>>,
    paths: Option<Named<Object<Self>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DrawnForm {
    all: Count,
    at_random: Count,
    ended: Count,
    lost: Count,
}

/// How the counts of a record are to be understood.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lens<'a> {
    pub(super) bounds: &'a LatencyBounds,
    pub(super) totals: bool,
    pub(super) paths: &'a [config::PathPrefix],
}

impl VersionForm {
    /// Writes what is counted here over `window`; in words what does not add up.
    pub(super) fn fill(&self, lens: Lens<'_>, window: &mut Window) -> Result<(), String> {
        window.clear();
        window.judged = self.judged()?;
        let (requests, errors) = (window.requests(), window.bad());
        let good = requests - errors;
        latencies(lens, "latency", &self.latency, good, &mut window.latency_good)?;
        latencies(lens, "latency_failed", &self.latency_failed, errors, &mut window.latency_bad)?;
        latencies(lens, "total", self.of_total(lens, &self.total)?, good, &mut window.total_good)?;
        latencies(lens, "total_failed", self.of_total(lens, &self.total_failed)?, errors, &mut window.total_bad)?;
        groups("by_key", &self.by_key, requests, errors, &mut window.groups)?;
        groups("by_endpoint", &self.by_endpoint, requests, errors, &mut window.endpoints)?;
        if let Some((Count(seen), Count(bad))) = self.clients {
            window.clients = clients(seen, bad)?;
        }
        if let Some(Object(drawn)) = &self.drawn {
            window.drawn = drawn.proven()?;
        }
        self.fill_paths(lens, window)
    }

    fn fill_paths(&self, lens: Lens<'_>, window: &mut Window) -> Result<(), String> {
        if window.paths.len() < lens.paths.len() {
            window.paths.resize_with(lens.paths.len(), PathTally::default);
        }
        let Some(Named(paths)) = &self.paths else { return Ok(()) };
        let requests = window.requests();
        for (name, Object(form)) in paths {
            let place = lens.paths.iter().position(|path| path.as_str() == name);
            let Some(tally) = place.and_then(|place| window.paths.get_mut(place)) else {
                let known = listed(lens.paths.iter().map(config::PathPrefix::as_str));
                return Err(format!("the path {name:?} is none of those in the first line's `paths` ({known})"));
            };
            form.fill_path(lens, tally).map_err(|wrong| format!("`paths`, {name:?}: {wrong}"))?;
            if tally.requests() > requests {
                let of_path = tally.requests();
                return Err(format!("`paths`, {name:?}: {of_path} requests are more than the version's {requests}"));
            }
        }
        Ok(())
    }

    fn fill_path(&self, lens: Lens<'_>, tally: &mut PathTally) -> Result<(), String> {
        if !self.by_key.is_empty()
            || !self.by_endpoint.is_empty()
            || self.drawn.is_some()
            || self.paths.is_some()
            || self.clients.is_some()
        {
            return Err(
                "has a key that only a version has (`by_key`, `by_endpoint`, `clients`, `drawn`, `paths`)".to_owned()
            );
        }
        tally.judged = self.judged()?;
        let (requests, errors) = (tally.requests(), tally.bad());
        let good = requests - errors;
        latencies(lens, "latency", &self.latency, good, &mut tally.latency_good)?;
        latencies(lens, "latency_failed", &self.latency_failed, errors, &mut tally.latency_bad)?;
        latencies(lens, "total", self.of_total(lens, &self.total)?, good, &mut tally.total_good)?;
        latencies(lens, "total_failed", self.of_total(lens, &self.total_failed)?, errors, &mut tally.total_bad)
    }

    fn judged(&self) -> Result<[u64; Class::ALL.len()], String> {
        let mut judged = [0; Class::ALL.len()];
        match &self.by_class {
            Some(Named(classes)) => {
                for (label, Count(count)) in classes {
                    let Some(class) = Class::ALL.into_iter().find(|class| class.label() == label) else {
                        let legal = listed(Class::ALL.into_iter().map(Class::label));
                        return Err(format!("{label:?} is no class; legal are {legal}"));
                    };
                    judged[class as usize] = *count;
                }
            }
            None => {
                let Count(errors) = self.errors.unwrap_or_default();
                let Count(requests) = self.requests.unwrap_or_default();
                let Some(good) = requests.checked_sub(errors) else {
                    return Err(format!("`errors` ({errors}) are more than `requests` ({requests})"));
                };
                judged[Class::Success as usize] = good;
                judged[Class::ServerError as usize] = errors;
            }
        }
        let sum: u64 = judged.iter().sum();
        let bad: u64 = Class::ALL.into_iter().filter(|class| class.is_bad()).map(|class| judged[class as usize]).sum();
        for (key, written, counted) in [("requests", self.requests, sum), ("errors", self.errors, bad)] {
            if let Some(Count(written)) = written.filter(|Count(written)| *written != counted) {
                return Err(format!("`{key}` is {written} and `by_class` adds up to {counted}"));
            }
        }
        Ok(judged)
    }

    #[expect(clippy::unused_self, reason = "reads as a part of the version")]
    fn of_total<'a>(
        &'a self,
        lens: Lens<'_>,
        counts: &'a Option<Vec<(Count, Count)>>,
    ) -> Result<&'a [(Count, Count)], String> {
        match counts {
            None => Ok(&[]),
            Some(counts) if lens.totals => Ok(counts),
            Some(_) => Err("latencies to the last byte (`total`) need \"latency_of\": [\"head\", \"total\"] in the \
                            first line"
                .to_owned()),
        }
    }
}

/// Bit masks over the groups of clients.
fn clients(seen: u64, bad: u64) -> Result<Clients, String> {
    let legal = || {
        let most = (1u64 << GROUPS) - 1;
        format!(
            "`clients` is [{seen},{bad}]; legal are two bit masks of {GROUPS} groups, 0 to {most}, the second part of the first"
        )
    };
    match (u16::try_from(seen), u16::try_from(bad)) {
        (Ok(seen), Ok(bad)) if bad & !seen == 0 => Ok(Clients { seen, bad }),
        (Ok(_) | Err(_), Ok(_) | Err(_)) => Err(legal()),
    }
}

fn latencies(
    lens: Lens<'_>,
    key: &str,
    counts: &[(Count, Count)],
    most: u64,
    into: &mut LatencyCounts,
) -> Result<(), String> {
    let mut last = None;
    let mut sum = 0_u64;
    for (Count(bucket), Count(count)) in counts {
        let Some(own) = lens.bounds.own(*bucket) else {
            let most = lens.bounds.count().saturating_sub(1);
            return Err(format!("`{key}`: there is no bucket {bucket}; legal are 0 to {most}"));
        };
        if last.is_some_and(|last| last >= bucket) {
            return Err(format!("`{key}`: bucket {bucket} does not follow the one before it; buckets ascend"));
        }
        last = Some(bucket);
        sum = sum.saturating_add(*count);
        // A bucket without a request would be touched, which costs time and says nothing.
        if *count > 0 {
            into.add(own, *count);
        }
    }
    if sum > most {
        return Err(format!("`{key}` has {sum} requests, and there are only {most} of that kind"));
    }
    Ok(())
}

fn groups(
    key: &str,
    forms: &[Vec<Count>],
    requests: u64,
    errors: u64,
    into: &mut [GroupCounts; GROUPS],
) -> Result<(), String> {
    let (mut of_requests, mut of_errors) = (0_u64, 0_u64);
    let mut last = None;
    for form in forms {
        const LEGAL: &str = "[number, requests, errors, timed, over the first latency, over the second], where zeros \
                             at the end may be left out";
        let [Count(place), figures @ ..] = form.as_slice() else {
            return Err(format!("`{key}`: an empty group; legal is {LEGAL}"));
        };
        let Some(group) = usize::try_from(*place).ok().and_then(|place| into.get_mut(place)) else {
            return Err(format!("`{key}`: there is no group {place}; legal are 0 to {}", GROUPS - 1));
        };
        if last.is_some_and(|last| last >= place) || figures.len() > 5 {
            return Err(format!("`{key}`: group {place} is no group, or out of order; legal is {LEGAL}, ascending"));
        }
        last = Some(place);
        let figure = |at: usize| figures.get(at).map_or(0, |Count(figure)| *figure);
        *group = GroupCounts { requests: figure(0), bad: figure(1), timed: figure(2), over: [figure(3), figure(4)] };
        let GroupCounts { requests, bad, timed, over } = *group;
        if bad > requests || timed > requests || over.iter().any(|over| *over > timed) {
            return Err(format!("`{key}`: group {place} has more of a kind than of what the kind is a part of"));
        }
        of_requests = of_requests.saturating_add(requests);
        of_errors = of_errors.saturating_add(bad);
    }
    if of_requests > requests || of_errors > errors {
        return Err(format!(
            "`{key}` adds up to {of_requests} requests and {of_errors} errors, and there are only {requests} and {errors}"
        ));
    }
    Ok(())
}

impl DrawnForm {
    fn proven(&self) -> Result<Drawn, String> {
        let Self { all: Count(all), at_random: Count(at_random), ended: Count(ended), lost: Count(lost) } = *self;
        if at_random > all || lost > ended {
            return Err(format!(
                "`drawn`: {at_random} at random of {all}, {lost} lost of {ended} that ended: a part is more than the whole"
            ));
        }
        Ok(Drawn { all, at_random, ended, lost })
    }
}

/// Words with commas between them.
pub(super) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.into_iter().collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
