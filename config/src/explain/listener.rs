//! Where clients connect.

use super::at::At;
use super::{Telling, written};
use crate::model::{Listener, ListenerTls, TlsVersion};

pub(super) fn tell(listeners: &[Listener], at: &At<'_>, telling: &mut Telling<'_>) {
    for (number, listener) in listeners.iter().enumerate() {
        let Listener { address, tls, proxy_protocol, redirect } = listener;
        let at = at.item(number);
        telling.value(&at.key("address"), written::text(&address.to_string()));
        match tls {
            Some(tls) => tell_tls(tls, &at.key("tls"), telling),
            None => telling.value(&at.key("tls"), "(none)"),
        }
        let peers = proxy_protocol.iter().map(|range| written::text(&range.to_string()));
        telling.list(&at.key("proxy_protocol"), peers, "nobody");
        let port = redirect.map(|port| written::mapping([("https", port.to_string())]));
        telling.if_some(&at.key("redirect"), port, "none");
    }
}

fn tell_tls(tls: &ListenerTls, at: &At<'_>, telling: &mut Telling<'_>) {
    let ListenerTls { certificates, clients, oldest, hsts } = tls;
    for (number, files) in certificates.iter().enumerate() {
        let at = at.key("certificates").item(number);
        telling.value(&at.key("cert"), written::path(&files.cert));
        telling.value(&at.key("key"), written::path(&files.key));
    }
    let clients_at = at.key("clients");
    match clients {
        Some(clients) => {
            telling.value(&clients_at.key("ca"), written::path(&clients.ca));
            telling.value(&clients_at.key("optional"), clients.optional);
        }
        None => telling.value(&clients_at, "(none)"),
    }
    let oldest = match oldest {
        TlsVersion::V12 => "1.2",
        TlsVersion::V13 => "1.3",
    };
    telling.value(&at.key("oldest"), oldest);
    let hsts_at = at.key("hsts");
    match hsts {
        Some(hsts) => {
            telling.time(&hsts_at.key("max_age"), hsts.max_age);
            telling.value(&hsts_at.key("subdomains"), hsts.subdomains);
            telling.value(&hsts_at.key("preload"), hsts.preload);
        }
        None => telling.value(&hsts_at, "(none)"),
    }
}
