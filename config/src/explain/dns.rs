//! How the names of endpoints are resolved.

use super::at::At;
use super::{Telling, written};
use crate::model::{Dns, IpFamily};

pub(super) fn tell(dns: &Dns, at: &At<'_>, telling: &mut Telling<'_>) {
    let Dns { servers, at_least, at_most, timeout, prefer } = dns;
    let servers = servers.iter().map(|server| written::text(&server.to_string()));
    telling.list(&at.key("servers"), servers, "those of /etc/resolv.conf");
    telling.time(&at.key("at_least"), *at_least);
    telling.time(&at.key("at_most"), *at_most);
    telling.time(&at.key("timeout"), *timeout);
    let prefer = match prefer {
        IpFamily::V4 => "ipv4",
        IpFamily::V6 => "ipv6",
    };
    telling.value(&at.key("prefer"), prefer);
}
