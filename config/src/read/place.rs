//! Where operators connect, and which addresses are taken.

use std::net::SocketAddr;

use crate::cursor::{Cursor, Report};
use crate::keys;
use crate::literal;
use crate::model::{Admin, ListenAddress};
use crate::read::file_path;
use crate::tree::Place;

/// The addresses that are taken so far, and where they are written; the admin address may stand nowhere.
#[derive(Debug, Default)]
pub(super) struct Taken(Vec<(ListenAddress, Place)>);

impl Taken {
    /// Whom an address cannot be bound beside.
    pub(super) fn by(&self, address: &ListenAddress) -> Option<(&ListenAddress, Place)> {
        let taken = |other: &ListenAddress| match (other, address) {
            (ListenAddress::Tcp(other), ListenAddress::Tcp(address)) => clash(*other, *address),
            (ListenAddress::Unix(other), ListenAddress::Unix(address)) => other == address,
            (ListenAddress::Tcp(_), ListenAddress::Unix(_)) | (ListenAddress::Unix(_), ListenAddress::Tcp(_)) => false,
        };
        self.0.iter().find(|(other, _)| taken(other)).map(|(other, place)| (other, *place))
    }

    pub(super) fn take(&mut self, address: ListenAddress, place: Place) {
        self.0.push((address, place));
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
    if let Some((other, first)) = taken.by(&ListenAddress::Tcp(address)) {
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
    if let Some((listener, place)) = taken.by(&ListenAddress::Tcp(admin.address)) {
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
