//! Where clients and operators connect.

use std::net::SocketAddr;

use crate::cursor::{Cursor, Report};
use crate::keys;
use crate::literal;
use crate::model::{Admin, Listener};
use crate::read::file_path;
use crate::tree::Place;

/// The addresses that are taken so far, and where they are written; the admin address may stand nowhere.
#[derive(Debug, Default)]
pub(super) struct Taken(Vec<(SocketAddr, Place)>);

impl Taken {
    /// Whom an address cannot be bound beside.
    fn by(&self, address: SocketAddr) -> Option<(SocketAddr, Place)> {
        self.0.iter().find(|(other, _)| clash(*other, address)).copied()
    }
}

/// Whether two addresses cannot both be bound: the same one, or one that takes the port on every address of its family.
pub(crate) fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() != 0
        && one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

/// What to know of an admin address that is not loopback and has no token in the configuration.
pub(crate) fn without_token(address: SocketAddr) -> String {
    format!(
        "`{address}` is not loopback and no `tokens` file is named; `tidegate run` refuses to start unless \
         TIDEGATE_TOKEN holds the token"
    )
}

const LISTENER: &str = "an address to listen on, like \"0.0.0.0:8080\"";

pub(super) fn listeners(written: Option<&Cursor<'_>>, taken: &mut Taken, report: &mut Report) -> Option<Vec<Listener>> {
    let Some(written) = written else { return Some(vec![Listener::DEFAULT]) };
    let items = written.items(report, "a list of listeners, like [{ address: \"0.0.0.0:8080\" }]")?;
    if items.is_empty() {
        let message = "no listener is written here; write at least one, or leave `listeners` out for 0.0.0.0:8080";
        written.wrong(report, message);
        return None;
    }
    let read: Vec<_> = items
        .iter()
        .map(|item| {
            let fields = item.fields(report, &keys::LISTENER)?;
            let written = fields.need(report, "address", LISTENER)?;
            let address = written.literal(report, LISTENER, literal::address)?;
            if let Some((other, first)) = taken.by(address) {
                let first = report.place(first);
                written.wrong(report, format!("`{address}` is taken by `{other}` at {first}; write another port"));
            }
            taken.0.push((address, written.place));
            Some(Listener::plain(address))
        })
        .collect();
    read.into_iter().collect()
}

pub(super) fn admin(written: Option<&Cursor<'_>>, taken: &mut Taken, report: &mut Report) -> Option<Admin> {
    let Some(admin) = written else { return default_admin(taken, report) };
    let fields = admin.fields(report, &keys::ADMIN)?;
    let tokens = match fields.get("tokens") {
        Some(tokens) => Some(file_path(tokens, "the path of a file that holds the token", report)?),
        None => None,
    };
    let Some(written) = fields.get("address") else {
        return Some(Admin { tokens, ..default_admin(taken, report)? });
    };
    let address = written.literal(report, "an address, like \"127.0.0.1:9900\"", literal::address)?;
    if let Some((other, first)) = taken.by(address) {
        let first = report.place(first);
        written.wrong(report, format!("`{address}` is taken by listener `{other}` at {first}; write another port"));
    }
    if !address.ip().is_loopback() && tokens.is_none() {
        report.warning(written.place, &written.path, without_token(address));
    }
    Some(Admin { address, tokens })
}

/// The admin address where none is written. It stands nowhere, so a clash is shown at the listener.
fn default_admin(taken: &Taken, report: &mut Report) -> Option<Admin> {
    let admin = Admin::default();
    if let Some((listener, place)) = taken.by(admin.address) {
        let message = format!(
            "`{listener}` is taken by the admin address, {} where none is written; write another port here, or \
             `admin: {{ address: ... }}`",
            admin.address
        );
        report.problem(place, "listeners", message);
        return None;
    }
    Some(admin)
}
