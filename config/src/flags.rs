//! The configuration of `tidegate run` without a file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use crate::literal::{Illegal, address, is_ip};
use crate::model::{Admin, Canary, Configuration, Dns, Endpoint, EndpointTls, Listener, Name, Service, Version};
use crate::problem::{Problem, Problems, quoted};
use crate::read::{Read, clash, without_token};
use crate::units::Weight;

const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);

/// The configuration of `tidegate run --stable HOST:PORT [--canary HOST:PORT] [--weight 10%] [--listen ADDRESS]
/// [--admin-address ADDRESS] [--state DIRECTORY]`: one service `default` with the versions `stable` and `canary`, for every
/// host and path. What is not given has the defaults of a file; a canary without a weight waits for a rollout.
///
/// # Errors
/// Everything that is wrong, at once; each problem names its flag in place of a file.
pub fn without_file(
    stable: &str,
    canary: Option<&str>,
    weight: Option<&str>,
    listen: Option<&str>,
    admin: Option<&str>,
    state: Option<&str>,
) -> Result<Read, Problems> {
    let mut flags = Flags::default();
    let stable: Option<Endpoint> = flags.read("--stable", Some(stable), endpoint);
    let canary_endpoint: Option<Endpoint> = flags.read("--canary", canary, endpoint);
    let weight: Option<Weight> = flags.read("--weight", weight, |text| match canary {
        Some(_) => text.parse(),
        None => Err(Illegal::new("is a canary's weight, and there is no canary; add --canary HOST:PORT")),
    });
    let listener = flags.read("--listen", listen, address).unwrap_or(DEFAULT_ADDRESS);
    let admin_address = flags.read("--admin-address", admin, address).unwrap_or(Admin::default().address);
    let state = flags.read("--state", state, directory).unwrap_or_else(|| PathBuf::from(Configuration::DEFAULT_STATE));
    flags.check_addresses(listener, admin_address, admin.is_some());
    if let (Some(stable), Some(canary)) = (&stable, &canary_endpoint)
        && stable.identity() == canary.identity()
    {
        flags.warn("--canary", format!("`{canary}` is the endpoint of --stable as well; both versions are the same"));
    }
    let Flags { problems, warnings } = flags;
    match (Problems::new(problems), stable) {
        (None, Some(stable)) => {
            let configuration = Configuration {
                listeners: vec![Listener::plain(listener)],
                rules: Arc::default(),
                admin: Admin { address: admin_address, tokens: None },
                state,
                dns: Dns::default(),
                services: vec![only_service(stable, canary_endpoint, weight)],
                plans: Vec::new(),
            };
            Ok(Read { configuration, warnings })
        }
        (Some(problems), _) => Err(problems),
        // Never reached: a stable that cannot be read is a problem.
        (None, None) => Err(Problem::without_place("--stable", "cannot be read").into()),
    }
}

fn only_service(stable: Endpoint, canary: Option<Endpoint>, weight: Option<Weight>) -> Service {
    let version = |name: &str, endpoint: Endpoint| Version {
        tls: endpoint.speaks_tls().then(EndpointTls::default),
        ..Version::plain(Name::given(name), vec![endpoint])
    };
    let versions = std::iter::once(version("stable", stable)).chain(canary.map(|canary| version("canary", canary)));
    Service {
        canary: weight.map(|weight| Canary { version: Name::given("canary"), weight }),
        ..Service::plain(Name::given("default"), Name::given("stable"), versions.collect())
    }
}

/// An endpoint for which nothing more need be written.
fn endpoint(text: &str) -> Result<Endpoint, Illegal> {
    let endpoint: Endpoint = text.parse()?;
    if let Endpoint::Tcp { host, tls: true, .. } = &endpoint
        && is_ip(host)
    {
        return Err(Illegal::new(format!(
            "`{endpoint}` is an address, and a certificate is verified by its name; write the name, or a file with `tls: {{ \
             server_name: NAME }}`"
        )));
    }
    Ok(endpoint)
}

fn directory(text: &str) -> Result<PathBuf, Illegal> {
    if text.is_empty() || text.contains('\0') {
        return Err(Illegal::new(format!("{} is no path; legal is the path of a directory", quoted(text))));
    }
    Ok(PathBuf::from(text))
}

/// Collects what is wrong with the flags.
#[derive(Debug, Default)]
struct Flags {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Flags {
    fn read<T>(&mut self, flag: &str, text: Option<&str>, read: impl FnOnce(&str) -> Result<T, Illegal>) -> Option<T> {
        let wrong = |illegal: Illegal| self.problems.push(Problem::without_place(flag, illegal.to_string()));
        text.and_then(|text| read(text).map_err(wrong).ok())
    }

    fn warn(&mut self, flag: &str, message: String) {
        self.warnings.push(Problem::without_place(flag, message));
    }

    fn check_addresses(&mut self, listener: SocketAddr, admin: SocketAddr, admin_given: bool) {
        if clash(listener, admin) {
            let flag = if admin_given { "--admin-address" } else { "--listen" };
            let message = format!(
                "clients connect to `{listener}` and operators to `{admin}`, which cannot both be bound; write another port"
            );
            self.problems.push(Problem::without_place(flag, message));
        }
        if !admin.ip().is_loopback() {
            self.warn("--admin-address", without_token(admin));
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::parse;

    #[test]
    fn the_flags_are_the_configuration_that_a_file_would_be() {
        let file = r#"
            listeners: [{ address: "127.0.0.1:7000" }]
            admin: { address: "127.0.0.1:7001" }
            state: /tmp/state
            services:
              default:
                stable: stable
                canary: canary
                weight: 10%
                versions:
                  stable: { endpoints: ["10.0.0.1:80"] }
                  canary: { endpoints: ["[::1]:80"] }
        "#;
        let flags = without_file(
            "10.0.0.1:80",
            Some("[::1]:80"),
            Some("10%"),
            Some("127.0.0.1:7000"),
            Some("127.0.0.1:7001"),
            Some("/tmp/state"),
        );
        assert_eq!(flags, parse(file, "f"));
        assert!(flags.is_ok(), "{flags:?}");
    }

    #[test]
    fn stable_alone_is_enough() {
        let file = "services: { default: { versions: { stable: { endpoints: ['shop:80'] } } } }";
        assert_eq!(without_file("shop:80", None, None, None, None, None), parse(file, "f"));
    }

    #[test]
    fn a_canary_without_a_weight_waits_for_a_rollout() {
        let read = without_file("a:80", Some("b:80"), None, None, None, None).unwrap();
        let service = &read.configuration.services[0];
        assert_eq!((service.canary.as_ref(), service.versions.len()), (None, 2));
    }

    #[test]
    fn every_problem_names_its_flag() {
        let problems =
            without_file("nonsense", Some(":80"), Some("10"), Some("8080"), Some("x"), Some("")).unwrap_err();
        expect![[r#"
            --stable: `nonsense` has no port; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
            --canary: `:80` has no host; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
            --weight: `10` has no %; a weight is written like 10%; did you mean `10%`?
            --listen: `8080` is no address to listen on; legal is IP:PORT, like 0.0.0.0:8080 or [::]:8080; did you mean `0.0.0.0:8080`?
            --admin-address: `x` is no address to listen on; legal is IP:PORT, like 0.0.0.0:8080 or [::]:8080
            --state: `` is no path; legal is the path of a directory"#]]
        .assert_eq(&problems.to_string());
    }

    #[test]
    fn flags_that_do_not_fit_together_are_refused() {
        let problems = without_file("a:80", None, Some("10%"), Some("0.0.0.0:9900"), None, None).unwrap_err();
        expect![[r#"
            --weight: is a canary's weight, and there is no canary; add --canary HOST:PORT
            --listen: clients connect to `0.0.0.0:9900` and operators to `127.0.0.1:9900`, which cannot both be bound; write another port"#]]
        .assert_eq(&problems.to_string());
    }

    #[test]
    fn flags_that_are_perhaps_not_meant_are_warned_of() {
        let read = without_file("a:80", Some("A:80"), None, None, Some("0.0.0.0:9900"), None).unwrap();
        let warnings: Vec<String> = read.warnings.iter().map(ToString::to_string).collect();
        expect![[r#"
            --admin-address: `0.0.0.0:9900` is not loopback and no `tokens` file is named; `tidegate run` refuses to start unless TIDEGATE_TOKEN holds the token
            --canary: `A:80` is the endpoint of --stable as well; both versions are the same"#]]
        .assert_eq(&warnings.join("\n"));
    }
}
