//! Where clients connect.

use std::collections::HashMap;

use crate::cursor::{Cursor, Fields, Report};
use crate::keys;
use crate::literal::{self, Illegal};
use crate::model::{
    AddressRange, CertificateFiles, ClientCertificates, Hsts, ListenAddress, Listener, ListenerTls, TlsVersion,
};
use crate::problem::{listed, quoted};
use crate::read::place::Taken;
use crate::read::{file_path, ranges, seconds_of};

const ADDRESS: &str = "an address to listen on, like \"0.0.0.0:8080\"";

pub(super) fn listeners(written: Option<&Cursor<'_>>, taken: &mut Taken, report: &mut Report) -> Option<Vec<Listener>> {
    let Some(written) = written else { return Some(vec![Listener::DEFAULT]) };
    let items = written.items(report, "a list of listeners, like [{ address: \"0.0.0.0:8080\" }]")?;
    if items.is_empty() {
        let message = "no listener is written here; write at least one, or leave `listeners` out for 0.0.0.0:8080";
        written.wrong(report, message);
        return None;
    }
    let read: Vec<_> = items.iter().map(|item| listener(item, taken, report)).collect();
    let listeners: Vec<Listener> = read.into_iter().collect::<Option<_>>()?;
    if listeners.iter().all(|listener| listener.redirect.is_some()) {
        let message =
            "every listener redirects, so no service can be reached; write one without `redirect`, with `tls`";
        report.warning(written.place, &written.path, message);
    }
    Some(listeners)
}

fn listener(item: &Cursor<'_>, taken: &mut Taken, report: &mut Report) -> Option<Listener> {
    let fields = item.fields(report, &keys::LISTENER)?;
    let address = fields.need(report, "address", ADDRESS).and_then(|written| address(written, taken, report));
    let tls = fields.if_written("tls", |written| tls(written, report));
    let proxy_protocol = fields.or("proxy_protocol", Vec::new(), |written| proxy_protocol(written, &address, report));
    let redirect = fields.if_written("redirect", |written| redirect(written, &address, report));
    if let (Some(written), true) = (fields.get("redirect"), fields.has("tls")) {
        let message = "leads to HTTPS, which this listener speaks already (`tls`); write another listener for it";
        written.wrong(report, message);
        return None;
    }
    Some(Listener { address: address?, tls: tls?, proxy_protocol: proxy_protocol?, redirect: redirect? })
}

fn address(written: &Cursor<'_>, taken: &mut Taken, report: &mut Report) -> Option<ListenAddress> {
    let address: ListenAddress = written.literal(report, ADDRESS, str::parse)?;
    if let Some((other, first)) = taken.by(&address) {
        let another = match address {
            ListenAddress::Tcp(_) => "port",
            ListenAddress::Unix(_) => "path",
        };
        let message = format!("`{address}` is taken by `{other}` at {}; write another {another}", report.place(first));
        written.wrong(report, message);
    }
    taken.take(address.clone(), written.place);
    Some(address)
}

fn proxy_protocol(
    written: &Cursor<'_>,
    address: &Option<ListenAddress>,
    report: &mut Report,
) -> Option<Vec<AddressRange>> {
    let ranges = ranges(written, "proxy_protocol", "name any client", report);
    if let Some(ListenAddress::Unix(_)) = address {
        let message = "the peers of a Unix socket have no address, so no header would ever be read; leave it out";
        written.wrong(report, message);
        return None;
    }
    ranges
}

/// The port that clients are sent to.
fn redirect(written: &Cursor<'_>, address: &Option<ListenAddress>, report: &mut Report) -> Option<u16> {
    const LEGAL: &str = "`https` (port 443) or { https: PORT }";
    let (port, at) = if let Some(word) = written.word() {
        if word != "https" {
            written.wrong(report, format!("{} is no redirect; legal is {LEGAL}", quoted(word)));
            return None;
        }
        (443, written.clone())
    } else if written.is_list() || written.is_empty() {
        written.expected(report, LEGAL);
        return None;
    } else {
        let fields = written.fields(report, &keys::REDIRECT)?;
        let at = fields.need(report, "https", "the port of a listener with TLS, like https: 8443")?.clone();
        let port = at.literal(report, "a port, like 8443", |text| literal::whole_number(text, 1..=65_535))?;
        (u16::try_from(port).ok()?, at)
    };
    if address.as_ref().and_then(ListenAddress::tcp).is_some_and(|address| address.port() == port) {
        let message =
            format!("port {port} is this listener's own, which speaks no TLS: clients would come back for ever");
        report.warning(at.place, &at.path, message);
    }
    Some(port)
}

fn tls(written: &Cursor<'_>, report: &mut Report) -> Option<ListenerTls> {
    let fields = written.fields(report, &keys::LISTENER_TLS)?;
    let certificates = fields
        .need(report, "certificates", "at least one, like certificates: [{ cert: shop.pem, key: shop.key }]")
        .and_then(|written| certificates(written, report));
    let clients = fields.if_written("clients", |written| clients(written, report));
    let oldest = fields.or("oldest", TlsVersion::V12, |written| oldest(written, report));
    let hsts = fields.if_written("hsts", |written| hsts(written, report));
    Some(ListenerTls { certificates: certificates?, clients: clients?, oldest: oldest?, hsts: hsts? })
}

fn certificates(written: &Cursor<'_>, report: &mut Report) -> Option<Vec<CertificateFiles>> {
    const LEGAL: &str = "a list of certificates, like [{ cert: shop.pem, key: shop.key }]";
    let items = written.items(report, LEGAL)?;
    if items.is_empty() {
        written.wrong(
            report,
            "no certificate is written here; write at least one, like { cert: shop.pem, key: shop.key }",
        );
        return None;
    }
    let mut first = HashMap::new();
    let read: Vec<_> = items
        .iter()
        .map(|item| {
            let files = certificate_files(&item.fields(report, &keys::CERTIFICATE)?, report)?;
            if let Some(first) = first.get(&files) {
                let first = report.place(*first);
                item.wrong(report, format!("is written twice; keep one, the other is at {first}"));
                return None;
            }
            first.insert(files.clone(), item.place);
            Some(files)
        })
        .collect();
    read.into_iter().collect()
}

/// A certificate and its key, both of which must be written.
pub(super) fn certificate_files(fields: &Fields<'_>, report: &mut Report) -> Option<CertificateFiles> {
    let (cert_is, key_is) =
        ("the path of a PEM file with the certificate and its chain", "the path of a PEM file with the key");
    let cert = fields.need(report, "cert", cert_is).and_then(|written| file_path(written, cert_is, report));
    let key = fields.need(report, "key", key_is).and_then(|written| file_path(written, key_is, report));
    Some(CertificateFiles { cert: cert?, key: key? })
}

fn clients(written: &Cursor<'_>, report: &mut Report) -> Option<ClientCertificates> {
    const CA: &str = "the path of a PEM file with the authorities of client certificates";
    let fields = written.fields(report, &keys::CLIENTS)?;
    let ca = fields.need(report, "ca", CA).and_then(|written| file_path(written, CA, report));
    let optional = fields.or("optional", false, |written| written.switch(report));
    Some(ClientCertificates { ca: ca?, optional: optional? })
}

fn oldest(written: &Cursor<'_>, report: &mut Report) -> Option<TlsVersion> {
    const WORDS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::V12), ("1.3", TlsVersion::V13)];
    let legal = listed(WORDS.iter().map(|(word, _)| *word));
    written.literal(report, &legal, |text| {
        if let Some((_, version)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(*version);
        }
        let meant = WORDS.iter().find(|(word, _)| text.ends_with(word) && text.to_ascii_lowercase().starts_with("tls"));
        let near = meant.map_or_else(String::new, |(word, _)| format!("; did you mean `{word}`?"));
        Err(Illegal::new(format!("{} is no version of TLS that is spoken; legal is {legal}{near}", quoted(text))))
    })
}

fn hsts(written: &Cursor<'_>, report: &mut Report) -> Option<Hsts> {
    let fields = written.fields(report, &keys::HSTS)?;
    let max_age = fields
        .need(report, "max_age", "for how long browsers remember it, like max_age: 8760h")
        .and_then(|written| seconds_of(written, report));
    let subdomains = fields.or("subdomains", false, |written| written.switch(report));
    let preload = fields.or("preload", false, |written| written.switch(report));
    let hsts = Hsts { max_age: max_age?, subdomains: subdomains?, preload: preload? };
    if let (Some(preload), true) = (fields.get("preload"), hsts.preload)
        && !(hsts.subdomains && hsts.max_age >= Hsts::LEAST_PRELOADED)
    {
        let message = "browsers ship with a host only where `subdomains` is `true` and `max_age` is 8760h or more";
        report.warning(preload.place, &preload.path, message);
    }
    Some(hsts)
}
