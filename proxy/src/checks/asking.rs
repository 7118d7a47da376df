//! One check of one endpoint. Whatever it answers, it is read no further than its head, and at most 64 KiB of that.

use config::HealthQuestion;
use config::Protocol;
use meter::Class;
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::{ALPN, Stream};
use pingora_error::{Error, ErrorType};

use super::bounded::Bounded;
use super::{grpc, http1, http2};
use crate::attempt::class_of_connect;
use crate::endpoint::{Endpoint, Unreachable};
use crate::upstream_stream::For;

/// The longest reason that is kept, in characters.
const LONGEST_REASON: usize = 160;

/// What is asked of whom, in the words of HTTP.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) scheme: &'static str,
    pub(super) host: String,
    pub(super) path: &'a str,
}

/// Why a check did not pass.
#[derive(Debug)]
pub(super) enum Unwell {
    /// The endpoint is not well, in a few words.
    Its(String),
    /// Nobody was asked, for our own want of descriptors or ports.
    Ours(Box<Error>),
}

impl From<String> for Unwell {
    fn from(why: String) -> Self {
        Self::Its(why)
    }
}

/// Asks an endpoint as its version's requests are sent: the same protocol, the same TLS, on a connection of its own. Takes
/// as long as the endpoint takes.
pub(super) async fn ask(
    at: &Endpoint,
    question: &HealthQuestion,
    connector: &TransportConnector,
) -> Result<(), Unwell> {
    let stream = connect(at, connector).await.map_err(|error| {
        if class_of_connect(&error) == Class::Local { Unwell::Ours(error) } else { no_connection(&error).into() }
    })?;
    converse(stream, at, question).await.map_err(Unwell::Its)
}

/// Makes a connection as its version's requests do.
pub(super) async fn connect(at: &Endpoint, connector: &TransportConnector) -> Result<Stream, Box<Error>> {
    let mut peer = at.peer();
    peer.options.custom_l4 = Some(For::Checks.connector());
    connector.new_stream(&*peer).await.map_err(Error::into_up)
}

async fn converse(stream: Stream, at: &Endpoint, question: &HealthQuestion) -> Result<(), String> {
    match question {
        HealthQuestion::Connect => Ok(()),
        HealthQuestion::Http { path, host, status } => {
            let asked = asked(at, host.as_deref(), path);
            let got = match at.protocol() {
                Protocol::H1 => http1::status(Bounded::new(stream), &asked).await?,
                Protocol::H2 | Protocol::H2c => http2::status(agreed(stream, at)?, &asked).await?,
            };
            judge(got, *status)
        }
        HealthQuestion::Grpc(service) => match at.protocol() {
            Protocol::H1 => Err("gRPC needs HTTP/2, which this version does not speak".to_owned()),
            Protocol::H2 | Protocol::H2c => {
                let asked = asked(at, None, "/grpc.health.v1.Health/Check");
                grpc::serves(agreed(stream, at)?, &asked, service).await
            }
        },
    }
}

/// What may be kept and shown: what cannot be printed is replaced, and the rest cut off.
pub(super) fn plain(why: &str) -> String {
    let printable = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    why.chars().take(LONGEST_REASON).map(printable).collect()
}

fn asked<'a>(at: &Endpoint, host: Option<&str>, path: &'a str) -> Asked<'a> {
    let (own, is_secure) = match &at.written {
        config::Endpoint::Tcp { host, port, tls } => {
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            let usual = if *tls { 443 } else { 80 };
            (if *port == usual { host } else { format!("{host}:{port}") }, *tls)
        }
        config::Endpoint::Unix(_) => ("localhost".to_owned(), false),
    };
    let scheme = if is_secure { "https" } else { "http" };
    Asked { scheme, host: host.map_or(own, str::to_owned), path }
}

fn judge(got: u16, (lowest, highest): (u16, u16)) -> Result<(), String> {
    match got {
        _ if (lowest..=highest).contains(&got) => Ok(()),
        300..400 => Err(format!("it answered {got}, a redirect, which is not followed ({lowest} to {highest} pass)")),
        _ => Err(format!("it answered {got} ({lowest} to {highest} pass)")),
    }
}

/// The stream of an endpoint that has agreed on HTTP/2, where TLS is spoken.
fn agreed(stream: Stream, at: &Endpoint) -> Result<Bounded<Stream>, String> {
    if at.written.speaks_tls() && stream.selected_alpn_proto() != Some(ALPN::H2) {
        return Err("it does not speak HTTP/2".to_owned());
    }
    Ok(Bounded::new(stream))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "pingora's error types are open: what is not known has its own words"
)]
fn no_connection(error: &Error) -> String {
    let cause = match error.etype() {
        ErrorType::ConnectRefused => "refused".to_owned(),
        ErrorType::ConnectTimedout => "not made in time".to_owned(),
        ErrorType::ConnectNoRoute => "no route there".to_owned(),
        ErrorType::TLSHandshakeFailure if Unreachable::of(error) != Unreachable::Other => {
            return Unreachable::of(error).words().to_owned();
        }
        _ => {
            let root = error.root_cause();
            // An error of pingora's own as its root has no other words.
            root.downcast_ref::<Error>().map_or_else(|| root.to_string(), |own| own.etype().as_str().to_owned())
        }
    };
    format!("no connection: {cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_passes_within_its_bounds_alone_and_a_redirect_is_called_one() {
        assert!(judge(200, (200, 299)).is_ok() && judge(299, (200, 299)).is_ok());
        assert!(judge(302, (200, 399)).is_ok(), "where the operator says so");
        assert_eq!(judge(503, (200, 299)).unwrap_err(), "it answered 503 (200 to 299 pass)");
        assert!(judge(302, (200, 299)).unwrap_err().contains("redirect"));
    }

    #[test]
    fn what_is_kept_of_a_failure_is_short_and_can_be_printed() {
        let kept = plain(&"\u{1b}[31mé\n".repeat(1_000));
        assert_eq!(kept.len(), LONGEST_REASON);
        assert!(kept.starts_with("?[31m??"), "{kept}");
    }
}
