//! What keeps users whole where endpoints fail.

use super::at::At;
use super::{Telling, written};
use crate::literal::spelt;
use crate::model::{Balance, Ejection, HashKey, HealthCheck, HealthQuestion, InFlightLimits, Retries, Version};

/// What a version says of it; of its health check also the service or the whole file, the nearest first.
pub(super) fn tell(version: &Version, at: &At<'_>, for_all: &[At<'_>], telling: &mut Telling<'_>) {
    let own = at.key("health");
    let from = std::iter::once(&own).chain(for_all).find(|at| telling.is_written(at)).unwrap_or(&own);
    match &version.health {
        Some(health) => tell_health(health, &own, from, telling),
        None => telling.own_or_written(&own, Some("(none)"), from),
    }
    tell_ejection(version.ejection, &at.key("ejection"), telling);
    tell_balance(&version.balance, &at.key("balance"), telling);
    telling.time(&at.key("slow_start"), version.slow_start);
    telling.value(&at.key("warm_start"), version.warm_start);
    let InFlightLimits { requests, per_endpoint } = version.limits;
    let at = at.key("limits");
    telling.if_some(&at.key("requests"), requests, "none");
    telling.if_some(&at.key("requests_per_endpoint"), per_endpoint, "none");
}

/// A health check that is written at `from`.
fn tell_health(health: &HealthCheck, at: &At<'_>, from: &At<'_>, telling: &mut Telling<'_>) {
    let HealthCheck { ask, interval, jitter, timeout, unhealthy, healthy } = health;
    let mut tell = |key, value: String| telling.own_or_written(&at.key(key), Some(value), &from.key(key));
    match ask {
        HealthQuestion::Http { path, host, status: (least, most) } => {
            tell("path", written::text(path));
            tell("host", host.as_deref().map_or_else(|| "(each endpoint's own)".to_owned(), written::text));
            let one = least == most;
            tell("status", if one { least.to_string() } else { format!("{least}-{most}") });
        }
        HealthQuestion::Grpc(service) => tell("grpc", written::text(service)),
        HealthQuestion::Connect => tell("connect", true.to_string()),
    }
    tell("interval", spelt(*interval));
    tell("timeout", spelt(*timeout));
    tell("jitter", jitter.to_string());
    tell("healthy", healthy.to_string());
    tell("unhealthy", unhealthy.to_string());
}

fn tell_ejection(ejection: Option<Ejection>, at: &At<'_>, telling: &mut Telling<'_>) {
    let Some(Ejection { failures, first, most, by_success_rate, hang }) = ejection else {
        return telling.value(at, "off");
    };
    telling.value(&at.key("failures"), failures);
    telling.time(&at.key("first"), first);
    telling.value(&at.key("most"), most);
    telling.value(&at.key("success_rate"), by_success_rate);
    telling.value(&at.key("hang"), hang.map_or_else(|| "off".to_owned(), spelt));
}

fn tell_balance(balance: &Balance, at: &At<'_>, telling: &mut Telling<'_>) {
    let key = match balance {
        Balance::PeakEwma => return telling.value(at, "peak_ewma"),
        Balance::LeastRequests => return telling.value(at, "least_requests"),
        Balance::Hash(key) => key,
    };
    let at = at.key("hash");
    match key {
        HashKey::Header(name) => telling.value(&at.key("header"), written::text(name)),
        HashKey::Cookie(name) => telling.value(&at.key("cookie"), written::text(name)),
        HashKey::ClientAddress => telling.value(&at, "client_address"),
        HashKey::Path => telling.value(&at, "path"),
    }
}

/// What a service tries again, by its own rules or those of the whole file.
pub(super) fn tell_retries(retries: Retries, at: &At<'_>, of_file: &At<'_>, telling: &mut Telling<'_>) {
    let from = if telling.is_written(at) { at } else { of_file };
    if retries == Retries::off() {
        return telling.own_or_written(at, Some("off"), from);
    }
    let Retries { most, budget, floor, unavailable, broken } = retries;
    let mut tell = |key, value: String| telling.own_or_written(&at.key(key), Some(value), &from.key(key));
    tell("most", most.to_string());
    tell("budget", budget.to_string());
    tell("floor", floor.to_string());
    let on = [(unavailable, "unavailable"), (broken, "broken")];
    let on: Vec<String> = on.into_iter().filter(|(on, _)| *on).map(|(_, word)| word.to_owned()).collect();
    tell("on", written::list(&on));
}
