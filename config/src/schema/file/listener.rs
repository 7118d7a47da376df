//! Listeners.

use schemars::JsonSchema;

use super::{FilePath, ListenAddress, Ranges, Time};

/// An address that clients connect to.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
pub(super) enum Listener {
    /// One that serves.
    Serving {
        /// Where it listens: `IP:PORT` or `unix:/path`.
        address: ListenAddress,
        /// TLS; HTTP/2 and HTTP/1.1 are offered. Without TLS by default.
        tls: Option<ListenerTls>,
        /// Peers that must begin each connection with a PROXY protocol header (version 1 or 2), which names the client.
        proxy_protocol: Option<Ranges>,
    },
    /// One that sends every client to HTTPS.
    Redirecting {
        /// Where it listens: `IP:PORT` or `unix:/path`.
        address: ListenAddress,
        /// Peers that must begin each connection with a PROXY protocol header (version 1 or 2), which names the client.
        proxy_protocol: Option<Ranges>,
        /// Every request is answered with a redirect to the same place over HTTPS.
        redirect: Redirect,
    },
}

/// Where a redirect leads.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
pub(super) enum Redirect {
    /// `https`: port 443.
    Word(RedirectWord),
    /// Another port.
    Port {
        /// The port.
        #[schemars(range(min = 1, max = 65_535))]
        https: u64,
    },
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum RedirectWord {
    Https,
}

/// TLS of a listener.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ListenerTls {
    /// The certificates; the first is shown to a client that names no server or an unknown one. Changed files are read
    /// again by themselves.
    #[schemars(length(min = 1))]
    certificates: Vec<Certificate>,
    /// Certificates that clients must show; none by default.
    clients: Option<Clients>,
    /// The oldest version of TLS that is spoken.
    #[schemars(extend("default" = "1.2"))]
    oldest: Option<Oldest>,
    /// `Strict-Transport-Security`; not sent by default.
    hsts: Option<Hsts>,
}

/// A certificate and its key.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Certificate {
    /// A PEM file with the certificate and its chain.
    cert: FilePath,
    /// A PEM file with the private key.
    key: FilePath,
}

/// Certificates of clients.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Clients {
    /// A PEM file with the authorities that may have signed them.
    ca: FilePath,
    /// Whether a client without one is let in.
    #[schemars(extend("default" = false))]
    optional: Option<bool>,
}

/// `1.2` or `1.3`.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Oldest {
    /// In quotes.
    Word(#[schemars(extend("enum" = ["1.2", "1.3"]))] String),
    /// Without quotes.
    Number(#[schemars(extend("enum" = [1.2, 1.3]))] f64),
}

/// What browsers are told to remember: only HTTPS for this host (RFC 6797).
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Hsts {
    /// For how long, in whole seconds; `0s` tells them to forget.
    max_age: Time,
    /// For names below the host, too.
    #[schemars(extend("default" = false))]
    subdomains: Option<bool>,
    /// Browsers may ship with it.
    #[schemars(extend("default" = false))]
    preload: Option<bool>,
}
