//! Warnings of endpoints that lead back to this process.

use std::net::{IpAddr, SocketAddr};

use crate::cursor::{Cursor, Report};
use crate::model::{Endpoint, ListenAddress};

/// Warns of an endpoint that is a listener of the same file.
pub(super) fn warn_of(endpoint: &Endpoint, written: &Cursor<'_>, report: &mut Report) {
    if let Some(listener) = report.listening.iter().find(|listener| leads_to(endpoint, listener)) {
        let message = format!(
            "`{endpoint}` is this process itself, which listens on {listener}: requests come back until they are refused \
             (508); write where the service listens"
        );
        report.warning(written.place, &written.path, message);
    }
    if let Some(admin) = report.admin.filter(|admin| leads_to(endpoint, &ListenAddress::Tcp(*admin))) {
        let message = format!(
            "`{endpoint}` is the control API of this process itself ({admin}), which users would reach so; write where the \
             service listens, or another `admin.address`"
        );
        report.warning(written.place, &written.path, message);
    }
}

fn leads_to(endpoint: &Endpoint, listener: &ListenAddress) -> bool {
    match (endpoint, listener) {
        (Endpoint::Tcp { host, port, .. }, ListenAddress::Tcp(listener)) => {
            listener.port() == *port && is_of_this_machine(host, *listener)
        }
        (Endpoint::Unix(path), ListenAddress::Unix(listener)) => path == listener,
        (Endpoint::Tcp { .. }, ListenAddress::Unix(_)) | (Endpoint::Unix(_), ListenAddress::Tcp(_)) => false,
    }
}

/// Whether a host leads to a listener of the same port for certain. What another name resolves to is not known here.
fn is_of_this_machine(host: &str, listener: SocketAddr) -> bool {
    let ip = listener.ip();
    match host.parse::<IpAddr>() {
        Ok(host) => host == ip || ip.is_unspecified() && (host.is_loopback() || host.is_unspecified()),
        Err(_) => host.eq_ignore_ascii_case("localhost") && (ip.is_unspecified() || ip.is_loopback()),
    }
}
