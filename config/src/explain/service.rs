//! Services and versions.

use super::at::At;
use super::{Telling, care, plan, written};
use crate::literal::spelt;
use crate::model::{
    Affinity, EndpointTls, Forced, GrpcCodes, HeaderMatch, MirrorRules, Protocol, Rules, Service, ServiceTimeouts,
    Version,
};

/// A service. What it leaves to the rules for all is told as it holds here.
pub(super) fn tell(service: &Service, rules: &Rules, at: &At<'_>, root: &At<'_>, telling: &mut Telling<'_>) {
    tell_route(service, at, telling);
    tell_affinity(&service.affinity, &at.key("affinity"), telling);
    match &service.forced {
        Some(forced) => tell_forced(forced, &at.key("forced"), telling),
        None => telling.value(&at.key("forced"), "(nobody)"),
    }
    telling.value(&at.key("version_header"), service.version_header);
    let upgrades: Vec<String> = service.upgrades.iter().map(|protocol| written::text(protocol)).collect();
    telling.value(&at.key("upgrades"), written::list(&upgrades));
    telling.value(&at.key("grpc_errors"), grpc_errors(service.grpc_errors));
    telling.own_or(&at.key("body"), service.body.or(rules.limits.body), &root.key("limits").key("body"));
    tell_timeouts(&service.timeouts, rules, &at.key("timeouts"), &root.key("timeouts"), telling);
    care::tell_retries(service.retries, &at.key("retries"), telling);
    telling.value(&at.key("shield"), service.shield);
    tell_mirror(&service.mirror, &at.key("mirror"), telling);
    telling.value(&at.key("stable"), written::text(service.stable.as_str()));
    let canary = service.canary.as_ref();
    telling.if_some(&at.key("canary"), canary.map(|canary| written::text(canary.version.as_str())), "none");
    telling.if_some(&at.key("weight"), canary.map(|canary| canary.weight), "none");
    for version in &service.versions {
        tell_version(version, &at.key("versions").named(version.name.as_str()), telling);
    }
    plan::tell(&service.plan, &at.key("plan"), telling);
}

fn tell_mirror(rules: &MirrorRules, at: &At<'_>, telling: &mut Telling<'_>) {
    let MirrorRules { methods, body, in_flight, timeout } = rules;
    let methods: Vec<String> = methods.iter().map(|method| written::text(method)).collect();
    telling.value(&at.key("methods"), written::list(&methods));
    telling.value(&at.key("body"), body);
    telling.value(&at.key("in_flight"), in_flight);
    telling.time(&at.key("timeout"), *timeout);
}

fn tell_route(service: &Service, at: &At<'_>, telling: &mut Telling<'_>) {
    let hosts = service.hosts.iter().map(|host| written::text(host.as_str()));
    telling.list(&at.key("hosts"), hosts, "every host");
    telling.value(&at.key("path"), written::text(service.path.as_str()));
    let methods = service.methods.iter().map(|method| written::text(method));
    telling.list(&at.key("methods"), methods, "every method");
    let headers = service.headers.iter().map(|HeaderMatch { name, value }| {
        // An asterisk alone is any value; there is no other way to write that.
        (name.as_str(), value.as_ref().map_or_else(|| "\"*\"".to_owned(), |value| written::text(value)))
    });
    let headers = (!service.headers.is_empty()).then(|| written::mapping(headers));
    telling.if_some(&at.key("headers"), headers, "none");
}

fn tell_affinity(affinity: &Affinity, at: &At<'_>, telling: &mut Telling<'_>) {
    match affinity {
        Affinity::Random => telling.value(at, "random"),
        Affinity::ClientAddress => telling.value(at, "client-address"),
        Affinity::Header(name) => telling.value(&at.key("header"), written::text(name)),
        Affinity::User(name) => telling.value(&at.key("user"), written::text(name)),
        Affinity::Cookie { name, issue } => {
            telling.value(&at.key("cookie"), written::text(name));
            match issue {
                Some(max_age) => telling.time(&at.key("issue").key("max_age"), *max_age),
                None => telling.value(&at.key("issue"), false),
            }
        }
    }
}

fn tell_forced(forced: &Forced, at: &At<'_>, telling: &mut Telling<'_>) {
    let Forced { header, cookie, from, secret, judged } = forced;
    telling.if_some(&at.key("header"), header.as_deref().map(written::text), "none");
    telling.if_some(&at.key("cookie"), cookie.as_deref().map(written::text), "none");
    telling.list(&at.key("from"), from.iter().map(|range| written::text(&range.to_string())), "nobody");
    telling.if_some(&at.key("secret"), secret.as_deref().map(written::path), "none");
    telling.value(&at.key("judged"), judged);
}

fn grpc_errors(codes: GrpcCodes) -> String {
    let names = (0_u32..).zip(GrpcCodes::NAMES).filter(|(code, _)| codes.contains(*code));
    written::list(&names.map(|(_, name)| name.to_owned()).collect::<Vec<_>>())
}

fn tell_timeouts(own: &ServiceTimeouts, rules: &Rules, at: &At<'_>, all_at: &At<'_>, telling: &mut Telling<'_>) {
    let (ServiceTimeouts { first_byte, response, tunnel, total }, all) = (own, &rules.timeouts);
    for (key, time) in [
        ("first_byte", first_byte.or(Some(all.first_byte))),
        ("response", response.or(Some(all.response))),
        ("tunnel", tunnel.or(Some(all.tunnel))),
        ("total", total.or(all.total)),
    ] {
        telling.own_or(&at.key(key), time.map(spelt), &all_at.key(key));
    }
}

fn tell_version(version: &Version, at: &At<'_>, telling: &mut Telling<'_>) {
    let endpoints: Vec<String> =
        version.endpoints.iter().map(|endpoint| written::text(&endpoint.to_string())).collect();
    telling.value(&at.key("endpoints"), written::list(&endpoints));
    let protocol = match version.protocol {
        Protocol::H1 => "h1",
        Protocol::H2 => "h2",
        Protocol::H2c => "h2c",
    };
    telling.value(&at.key("protocol"), protocol);
    match &version.tls {
        Some(tls) => tell_tls(tls, &at.key("tls"), telling),
        None => telling.value(&at.key("tls"), "(none)"),
    }
    care::tell(version, at, telling);
}

fn tell_tls(EndpointTls { server_name, ca, certificate }: &EndpointTls, at: &At<'_>, telling: &mut Telling<'_>) {
    let own_host = "each endpoint's own host";
    telling.if_some(&at.key("server_name"), server_name.as_deref().map(written::text), own_host);
    telling.if_some(&at.key("ca"), ca.as_deref().map(written::path), "the system's");
    let files = certificate.as_ref();
    telling.if_some(&at.key("cert"), files.map(|files| written::path(&files.cert)), "none");
    telling.if_some(&at.key("key"), files.map(|files| written::path(&files.key)), "none");
}
