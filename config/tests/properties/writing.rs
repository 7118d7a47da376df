//! A configuration as a file would say it, nothing left to defaults but what cannot be written.

use std::time::Duration;

use config::{
    Advance, Affinity, Baseline, CertificateFiles, Configuration, Dns, Forced, Gate, GateRole, GateRule, GrpcCodes,
    Handling, IpFamily, LatencyMargin, LatencyOf, Limits, Listener, LogTarget, OnDeadline, Plan, Protocol, Rules,
    Service, Step, Timeouts, TlsVersion, Tolerance, Version,
};
use serde_json::{Map, Value, json};

use crate::care::{write_care, written_retries};

pub(crate) fn written(configuration: &Configuration) -> Value {
    let services = configuration.services.iter().map(|service| (service.name.to_string(), written_service(service)));
    let plans = configuration.plans.iter().map(|(name, plan)| (name.to_string(), written_plan(plan)));
    let mut admin = json!({ "address": configuration.admin.address });
    if let Some(tokens) = &configuration.admin.tokens {
        admin["tokens"] = json!(tokens);
    }
    let mut whole = json!({
        "listeners": configuration.listeners.iter().map(written_listener).collect::<Vec<_>>(),
        "admin": admin,
        "state": configuration.state,
        "services": services.collect::<Map<_, _>>(),
        "plans": plans.collect::<Map<_, _>>(),
    });
    let Dns { servers, at_least, at_most, timeout, prefer } = &configuration.dns;
    let family = match prefer {
        IpFamily::V4 => "ipv4",
        IpFamily::V6 => "ipv6",
    };
    let times = [at_least, at_most, timeout].map(|length| time(*length));
    whole["dns"] = json!({ "at_least": times[0], "at_most": times[1], "timeout": times[2], "prefer": family });
    put_some(&mut whole["dns"], "servers", servers);
    write_rules(&configuration.rules, &mut whole);
    whole
}

fn texts<T: ToString>(items: &[T]) -> Value {
    items.iter().map(|item| json!(item.to_string())).collect()
}

/// Writes a key where there is a value.
pub(crate) fn put(entry: &mut Value, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        entry[key] = value;
    }
}

/// Writes a list where it is not empty; an empty one is not legal there.
fn put_some<T: ToString>(entry: &mut Value, key: &str, items: &[T]) {
    put(entry, key, (!items.is_empty()).then(|| texts(items)));
}

pub(crate) fn time(duration: Duration) -> Value {
    json!(milliseconds(duration))
}

fn files(CertificateFiles { cert, key }: &CertificateFiles) -> Value {
    json!({ "cert": cert, "key": key })
}

fn written_listener(Listener { address, tls, proxy_protocol, redirect }: &Listener) -> Value {
    let mut entry = json!({ "address": address.to_string() });
    put_some(&mut entry, "proxy_protocol", proxy_protocol);
    put(&mut entry, "redirect", redirect.map(|port| json!({ "https": port })));
    put(
        &mut entry,
        "tls",
        tls.as_ref().map(|tls| {
            let mut written = json!({
                "certificates": tls.certificates.iter().map(files).collect::<Vec<_>>(),
                "oldest": match tls.oldest { TlsVersion::V12 => "1.2", TlsVersion::V13 => "1.3" },
            });
            let clients = tls.clients.as_ref().map(|clients| json!({ "ca": clients.ca, "optional": clients.optional }));
            put(&mut written, "clients", clients);
            let hsts = tls.hsts.map(|hsts| {
            json!({ "max_age": milliseconds(hsts.max_age), "subdomains": hsts.subdomains, "preload": hsts.preload })
        });
            put(&mut written, "hsts", hsts);
            written
        }),
    );
    entry
}

fn write_rules(Rules { timeouts, limits, requests, trusted, access_log, drain }: &Rules, whole: &mut Value) {
    whole["timeouts"] = written_timeouts(timeouts);
    whole["limits"] = written_limits(limits);
    let word = |handling| match handling {
        Handling::Refuse => "refuse",
        Handling::Pass => "pass",
    };
    whole["requests"] = json!({
        "underscores": word(requests.underscores),
        "encoded_slashes": word(requests.encoded_slashes),
    });
    whole["drain"] = json!({ "grace": time(drain.grace), "deadline": time(drain.deadline) });
    put_some(whole, "trusted", trusted);
    put(
        whole,
        "access_log",
        access_log.as_ref().map(|log| {
            let to = match &log.to {
                LogTarget::Stdout => json!("stdout"),
                LogTarget::File(path) => json!(path),
            };
            json!({ "to": to, "sample": percent(log.sample.get()) })
        }),
    );
}

fn written_timeouts(timeouts: &Timeouts) -> Value {
    let Timeouts {
        handshake,
        head,
        body,
        connect,
        first_byte,
        response,
        write,
        keepalive,
        http2_idle,
        tunnel,
        connection,
        upstream_idle,
        total,
    } = *timeouts;
    let mut entry = json!({
        "handshake": time(handshake),
        "head": time(head),
        "body": time(body),
        "connect": time(connect),
        "first_byte": time(first_byte),
        "response": time(response),
        "write": time(write),
        "keepalive": time(keepalive),
        "http2_idle": time(http2_idle),
        "tunnel": time(tunnel),
        "connection": time(connection),
        "upstream_idle": time(upstream_idle),
    });
    put(&mut entry, "total", total.map(time));
    entry
}

fn written_limits(limits: &Limits) -> Value {
    let Limits {
        connections,
        connections_per_client,
        requests_per_client,
        request_line,
        head,
        headers,
        body,
        http2_streams,
        http2_header_list,
        http2_resets,
        http2_glitches,
    } = *limits;
    let mut entry = json!({
        "connections": connections,
        "connections_per_client": connections_per_client,
        "requests_per_client": requests_per_client,
        "request_line": request_line.to_string(),
        "head": head.to_string(),
        "headers": headers,
        "http2_streams": http2_streams,
        "http2_header_list": http2_header_list.to_string(),
        "http2_resets": http2_resets,
        "http2_glitches": http2_glitches,
    });
    put(&mut entry, "body", body.map(|body| json!(body.to_string())));
    entry
}

fn written_service(service: &Service) -> Value {
    let versions = service.versions.iter().map(|version| (version.name.to_string(), written_version(version)));
    let codes = (0..17).filter(|code| service.grpc_errors.contains(*code));
    let codes: Vec<&str> = codes.map(|code| GrpcCodes::NAMES[code as usize]).collect();
    let mut entry = json!({
        "path": service.path.as_str(),
        "affinity": written_affinity(&service.affinity),
        "version_header": service.version_header,
        "upgrades": service.upgrades,
        "grpc_errors": codes,
        "retries": written_retries(&service.retries),
        "shield": service.shield,
        "mirror": {
            "methods": service.mirror.methods,
            "body": service.mirror.body.to_string(),
            "in_flight": service.mirror.in_flight,
            "timeout": time(service.mirror.timeout),
        },
        "stable": service.stable.as_str(),
        "versions": versions.collect::<Map<_, _>>(),
        "plan": written_plan(&service.plan),
    });
    let hosts: Vec<&str> = service.hosts.iter().map(config::HostName::as_str).collect();
    put_some(&mut entry, "hosts", &hosts);
    put_some(&mut entry, "methods", &service.methods);
    let headers = service.headers.iter();
    let headers = headers.map(|header| (header.name.clone(), json!(header.value.as_deref().unwrap_or("*"))));
    put(&mut entry, "headers", (!service.headers.is_empty()).then(|| headers.collect()));
    put(&mut entry, "forced", service.forced.as_ref().map(written_forced));
    put(&mut entry, "body", service.body.map(|body| json!(body.to_string())));
    let own = &service.timeouts;
    let mut timeouts = json!({});
    put(&mut timeouts, "first_byte", own.first_byte.map(time));
    put(&mut timeouts, "response", own.response.map(time));
    put(&mut timeouts, "tunnel", own.tunnel.map(time));
    put(&mut timeouts, "total", own.total.map(time));
    entry["timeouts"] = timeouts;
    if let Some(canary) = &service.canary {
        entry["canary"] = json!(canary.version.as_str());
        entry["weight"] = json!(canary.weight.to_string());
    }
    entry
}

fn written_affinity(affinity: &Affinity) -> Value {
    match affinity {
        Affinity::Random => json!("random"),
        Affinity::Cookie { name, issue: None } => json!({ "cookie": name, "issue": false }),
        Affinity::Cookie { name, issue: Some(age) } => json!({ "cookie": name, "issue": { "max_age": time(*age) } }),
        Affinity::User(name) => json!({ "user": name }),
        Affinity::Header(name) => json!({ "header": name }),
        Affinity::ClientAddress => json!("client-address"),
    }
}

fn written_forced(Forced { header, cookie, from, secret, judged }: &Forced) -> Value {
    let mut entry = json!({ "judged": judged });
    put(&mut entry, "header", header.as_ref().map(|header| json!(header)));
    put(&mut entry, "cookie", cookie.as_ref().map(|cookie| json!(cookie)));
    put_some(&mut entry, "from", from);
    put(&mut entry, "secret", secret.as_ref().map(|secret| json!(secret)));
    entry
}

fn written_version(version: &Version) -> Value {
    let Version { endpoints, protocol, tls, .. } = version;
    let protocol = match protocol {
        Protocol::H1 => "h1",
        Protocol::H2 => "h2",
        Protocol::H2c => "h2c",
    };
    let mut entry = json!({ "endpoints": texts(endpoints), "protocol": protocol });
    put(
        &mut entry,
        "tls",
        tls.as_ref().map(|tls| {
            let mut written = tls.certificate.as_ref().map_or_else(|| json!({}), files);
            put(&mut written, "server_name", tls.server_name.as_ref().map(|name| json!(name)));
            put(&mut written, "ca", tls.ca.as_ref().map(|ca| json!(ca)));
            written
        }),
    );
    write_care(version, &mut entry);
    entry
}

pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.10}%", fraction * 100.0)
}

fn milliseconds(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

/// A plan as a file would say it. What the plan says for all steps is said at each.
pub(crate) fn written_plan(plan: &Plan) -> Value {
    let mut entry = json!({
        "alpha": percent(plan.alpha.get()),
        "beta": percent(plan.beta.get()),
        "min_requests": plan.min_requests,
        "warmup": milliseconds(plan.warmup),
        "advance": match plan.advance { Advance::Time => "time", Advance::Proof => "proof" },
        "baseline": match &plan.baseline {
            Baseline::Stable => "stable",
            Baseline::Equal => "equal",
            Baseline::Version(version) => version.as_str(),
        },
        "dry_run": plan.dry_run,
        "drain": plan.drain.map_or_else(|| "never".to_owned(), milliseconds),
        "steps": plan.steps.iter().map(written_step).collect::<Vec<_>>(),
    });
    if plan.gates != Plan::built_in().gates {
        entry["gates"] = plan.gates.iter().map(written_gate).collect();
    }
    entry
}

fn written_step(step: &Step) -> Value {
    match step {
        Step::Weight { weight, hold, early, deadline } => {
            let mut written = json!({ "weight": weight.to_string(), "hold": milliseconds(*hold), "early": early });
            if let Some(deadline) = deadline {
                written["deadline"] = json!(milliseconds(deadline.after));
                written["on_deadline"] = json!(match deadline.then {
                    OnDeadline::Hold => "hold",
                    OnDeadline::Promote => "promote",
                    OnDeadline::RollBack => "roll-back",
                });
            }
            written
        }
        Step::Match { who, hold } => match who {
            Some(who) => {
                let wanted: Map<_, _> = who.wanted().map(|(name, value)| (name.to_owned(), json!(value))).collect();
                json!({ "match": wanted, "hold": milliseconds(*hold), "judged": who.judged })
            }
            None => json!({ "match": "nobody", "hold": milliseconds(*hold) }),
        },
        Step::Mirror { share, hold } => json!({ "mirror": share.to_string(), "hold": milliseconds(*hold) }),
        Step::Approval => json!({ "approval": true }),
    }
}

fn written_gate(gate: &Gate) -> Value {
    let parts = |harm: Tolerance| json!({ "ratio": harm.ratio, "points": percent(harm.points.get()) });
    let word = |of| match of {
        LatencyOf::Head => "head",
        LatencyOf::Total => "total",
    };
    let mut written = match gate.rule {
        GateRule::Errors { tolerance, margin } => {
            json!({ "errors": { "tolerance": parts(tolerance), "margin": parts(margin) } })
        }
        GateRule::ErrorLimit { limit } => json!({ "errors": { "limit": percent(limit.get()) } }),
        GateRule::LatencyLimit { quantile, limit, of } => {
            json!({ "latency": { "limit": milliseconds(limit), "quantile": quantile.to_string(), "of": word(of) } })
        }
        GateRule::Latency { quantile, tolerance, margin, of } => {
            let mut latency = json!({ "tolerance": percent(tolerance.get()), "of": word(of) });
            if let Some(quantile) = quantile {
                latency["quantile"] = json!(quantile.to_string());
            }
            // Two margins cannot be written: they are those where none is.
            if margin != LatencyMargin::usual(tolerance) {
                assert_eq!(margin.body, margin.tail);
                latency["margin"] = json!(percent(margin.body.get()));
            }
            json!({ "latency": latency })
        }
        GateRule::Mirror(limits) => {
            let parts: Map<_, _> =
                limits.parts().map(|(part, limit)| (part.word().to_owned(), json!(percent(limit.get())))).collect();
            json!({ "mirror": parts })
        }
    };
    written["name"] = json!(gate.name.as_str());
    written["role"] = json!(match gate.role {
        GateRole::Guardrail => "guardrail",
        GateRole::Signal => "signal",
    });
    if let Some(path) = &gate.path {
        written["path"] = json!(path.as_str());
    }
    written
}
