//! What keeps users whole where endpoints fail.

use super::at::At;
use super::{Telling, written};
use crate::model::{Balance, Ejection, HashKey, HealthCheck, HealthQuestion, InFlightLimits, Retries, Version};

/// What a version says of it.
pub(super) fn tell(version: &Version, at: &At<'_>, telling: &mut Telling<'_>) {
    match &version.health {
        Some(health) => tell_health(health, &at.key("health"), telling),
        None => telling.value(&at.key("health"), "(none)"),
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

fn tell_health(health: &HealthCheck, at: &At<'_>, telling: &mut Telling<'_>) {
    let HealthCheck { ask, interval, jitter, timeout, unhealthy, healthy } = health;
    match ask {
        HealthQuestion::Http { path, host, status: (least, most) } => {
            telling.value(&at.key("path"), written::text(path));
            telling.if_some(&at.key("host"), host.as_deref().map(written::text), "each endpoint's own");
            let one = least == most;
            telling.value(&at.key("status"), if one { least.to_string() } else { format!("{least}-{most}") });
        }
        HealthQuestion::Grpc(service) => telling.value(&at.key("grpc"), written::text(service)),
        HealthQuestion::Connect => telling.value(&at.key("connect"), true),
    }
    telling.time(&at.key("interval"), *interval);
    telling.time(&at.key("timeout"), *timeout);
    telling.value(&at.key("jitter"), jitter);
    telling.value(&at.key("healthy"), healthy);
    telling.value(&at.key("unhealthy"), unhealthy);
}

fn tell_ejection(ejection: Option<Ejection>, at: &At<'_>, telling: &mut Telling<'_>) {
    let Some(Ejection { failures, first, most, by_success_rate }) = ejection else {
        return telling.value(at, "off");
    };
    telling.value(&at.key("failures"), failures);
    telling.time(&at.key("first"), first);
    telling.value(&at.key("most"), most);
    telling.value(&at.key("success_rate"), by_success_rate);
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

/// What a service tries again.
pub(super) fn tell_retries(retries: Retries, at: &At<'_>, telling: &mut Telling<'_>) {
    if retries == Retries::off() {
        return telling.value(at, "off");
    }
    let Retries { most, budget, floor, unavailable, broken } = retries;
    telling.value(&at.key("most"), most);
    telling.value(&at.key("budget"), budget);
    telling.value(&at.key("floor"), floor);
    let on = [(unavailable, "unavailable"), (broken, "broken")];
    let on: Vec<String> = on.into_iter().filter(|(on, _)| *on).map(|(_, word)| word.to_owned()).collect();
    telling.value(&at.key("on"), written::list(&on));
}
