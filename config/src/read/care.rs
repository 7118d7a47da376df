//! What keeps users whole where endpoints fail: what versions and services say of it.

mod balance;
mod ejection;
mod health;
mod retries;

use std::ops::RangeInclusive;
use std::time::Duration;

use self::balance::balance;
use self::ejection::ejection;
pub(super) use self::health::ForAll;
use self::health::health;
pub(super) use self::retries::retries;
use crate::cursor::{Cursor, Fields, Report};
use crate::keys::{self, Keys};
use crate::literal::{is_ip, time_within, whole_number};
use crate::model::{Balance, Ejection, Endpoint, HealthCheck, InFlightLimits, Protocol, Version};
use crate::problem::{did_you_mean, quoted};

/// What a version says of the care for its endpoints.
pub(super) struct Care {
    pub(super) health: Option<HealthCheck>,
    pub(super) ejection: Option<Ejection>,
    pub(super) balance: Balance,
    pub(super) slow_start: Duration,
    pub(super) warm_start: u32,
    pub(super) limits: InFlightLimits,
}

/// What is known of the version that is cared for.
#[derive(Clone, Copy)]
pub(super) struct Endpoints {
    /// What is spoken to them, where it can be read.
    pub(super) protocol: Option<Protocol>,
    /// Whether TLS is spoken to them, where it can be read.
    pub(super) speak_tls: Option<bool>,
    /// How many there are, where that can be known: a name may have several addresses, each of which is an endpoint.
    pub(super) count: Option<usize>,
}

/// How many endpoints these are, where no name among them could have several addresses.
pub(super) fn counted<'a>(endpoints: impl IntoIterator<Item = &'a Endpoint>) -> Option<usize> {
    endpoints.into_iter().try_fold(0, |count, endpoint| match endpoint {
        Endpoint::Tcp { host, .. } => is_ip(host).then_some(count + 1),
        Endpoint::Unix(_) => Some(count + 1),
    })
}

impl Care {
    /// Reads what is written beside the endpoints of a version.
    pub(super) fn read(
        fields: &Fields<'_>,
        endpoints: Endpoints,
        for_all: Option<&ForAll>,
        report: &mut Report,
    ) -> Option<Self> {
        let health = match (fields.get("health"), for_all) {
            (Some(written), _) => health(written, endpoints, report),
            (None, Some(for_all)) => for_all.of(fields, endpoints, report),
            (None, None) => Some(None),
        };
        let usual = Some(Ejection::default());
        let ejection = fields.or("ejection", usual, |written| ejection(written, endpoints.count, report));
        let balance = fields.or("balance", Balance::default(), |written| balance(written, report));
        let slow_start = fields.or("slow_start", Version::SLOW_START, |written| slow_start(written, report));
        let warm_start = fields.or("warm_start", Version::WARM_START, |written| warm_start(written, report));
        let limits = fields.or("limits", InFlightLimits::default(), |written| limits(written, report));
        let (slow_start, warm_start) = (slow_start?, warm_start?);
        Some(Self { health: health?, ejection: ejection?, balance: balance?, slow_start, warm_start, limits: limits? })
    }
}

fn slow_start(written: &Cursor<'_>, report: &mut Report) -> Option<Duration> {
    time(written, "a time, like 10s, or 0s for none", Duration::ZERO..=Duration::from_secs(3600), report)
}

fn warm_start(written: &Cursor<'_>, report: &mut Report) -> Option<u32> {
    let number =
        written.literal(report, "a whole number of connections, like 4, or 0 for none", |text| match text {
            "false" => Ok(0),
            number => whole_number(number, 0..=16),
        })?;
    u32::try_from(number).ok()
}

fn limits(written: &Cursor<'_>, report: &mut Report) -> Option<InFlightLimits> {
    let fields = written.fields(report, &keys::VERSION_LIMITS)?;
    let mut limit = |key| fields.if_written(key, |written| number(written, 1..=1_000_000, report));
    let (requests, per_endpoint) = (limit("requests")?, limit("requests_per_endpoint")?);
    if let (Some(requests), Some(per_endpoint)) = (requests, per_endpoint)
        && per_endpoint > requests
        && let Some(written) = fields.get("requests_per_endpoint")
    {
        let message = format!("is more than `requests` in the whole version, {requests}, so it does nothing");
        report.warning(written.place, &written.path, message);
    }
    Some(InFlightLimits { requests, per_endpoint })
}

/// A whole number within what is legal for it.
fn number(written: &Cursor<'_>, legal: RangeInclusive<u32>, report: &mut Report) -> Option<u32> {
    let legal = u64::from(*legal.start())..=u64::from(*legal.end());
    let number = written.literal(report, "a whole number, like 3", |text| whole_number(text, legal))?;
    u32::try_from(number).ok()
}

/// A time within what is legal for it.
fn time(written: &Cursor<'_>, what: &str, legal: RangeInclusive<Duration>, report: &mut Report) -> Option<Duration> {
    written.literal(report, what, |text| time_within(text, legal))
}

/// The fields of a mapping in whose stead `off` may stand; none where it does. Anything else is a problem.
fn fields_or_off<'a>(
    written: &Cursor<'a>,
    keys: &Keys,
    example: &str,
    report: &mut Report,
) -> Option<Option<Fields<'a>>> {
    let Some(word) = written.word() else {
        if written.is_list() || written.is_empty() {
            written.expected(report, &format!("`off` or a mapping, like {example}"));
            return None;
        }
        return written.fields(report, keys).map(Some);
    };
    let near = match word {
        "off" => return Some(None),
        "false" | "no" | "none" | "never" | "disabled" | "0" => "; did you mean `off`?".to_owned(),
        "true" | "yes" | "on" | "default" | "enabled" => "; leave it out for the defaults".to_owned(),
        other => did_you_mean(other, ["off"]),
    };
    written
        .wrong(report, format!("{} is written here; legal is `off` or a mapping, like {example}{near}", quoted(word)));
    None
}
