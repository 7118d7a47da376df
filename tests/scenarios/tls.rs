//! Listeners as clients meet them: curl against the executable, and certificates that change while it serves.

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::authority::Authority;
use crate::edge::{Edge, head, listener};
use crate::patience::until_true;
use crate::process::{Process, tidegate};
use crate::shop::{Place, shop};

/// What curl says: its exit code, and what it prints of the exchange by `format`.
fn curl(address: SocketAddr, host: &str, format: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20", "--output", "/dev/null", "--write-out", format]);
    command.args(["--resolve", &format!("{host}:{}:{}", address.port(), address.ip())]).args(arguments);
    let scheme = if arguments.iter().any(|it| it.starts_with("--cacert")) { "https" } else { "http" };
    let output = command.arg(format!("{scheme}://{host}:{}/", address.port())).output().expect("curl is installed");
    let text = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

const EXCHANGE: &str = "%{http_code} %{http_version}";

#[test]
fn curl_speaks_both_versions_of_tls_and_of_http_and_is_shown_the_certificate_of_the_name() {
    let place = Place::new();
    let ca = Authority::new(&place);
    ca.write("shop", &["shop.test"]);
    ca.write("wild", &["*.shop.test"]);
    let both = [ca.certificate("shop"), ca.certificate("wild")];
    let edge = Edge::serve(place, &[listener(&both, ""), listener(&both, ", oldest: '1.3'")]);
    let (plain, secure, modern) = (edge.address(0), edge.address(1), edge.address(2));
    let cacert = ["--cacert", &ca.path("ca.pem")];
    let asked = |address, host, more: &[&str]| curl(address, host, EXCHANGE, &[&cacert[..], more].concat());

    for version in [["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3", "--tls-max", "1.3"]] {
        for (http, answer) in [("--http1.1", "200 1.1"), ("--http2", "200 2"), ("--no-alpn", "200 1.1")] {
            let said = asked(secure, "shop.test", &[&version[..], &[http]].concat());
            assert_eq!(said, (Some(0), answer.to_owned()), "{version:?} {http}");
        }
    }
    // Without TLS: HTTP/1.1, and HTTP/2 for a client that knows beforehand. An offer to change over (`Upgrade: h2c`) is
    // not taken.
    for (http, answer) in [("--http1.1", "200 1.1"), ("--http2-prior-knowledge", "200 2"), ("--http2", "200 1.1")] {
        assert_eq!(curl(plain, "shop.test", EXCHANGE, &[http]), (Some(0), answer.to_owned()), "{http}");
    }
    // A name that the certificate shown does not have is refused by curl (60).
    assert_eq!(asked(secure, "a.shop.test", &[]).0, Some(0));
    assert_eq!(asked(secure, "a.b.shop.test", &[]).0, Some(60));
    assert_eq!(asked(modern, "shop.test", &[]).0, Some(0));
    assert_eq!(asked(modern, "shop.test", &["--tls-max", "1.2"]).0, Some(35));
    edge.server.stop();
}

#[test]
fn a_client_with_a_certificate_is_let_in_and_one_without_is_not() {
    let place = Place::new();
    let ca = Authority::new(&place);
    ca.write("shop", &["shop.test"]);
    ca.write("client", &[]);
    let clients = format!(", clients: {{ ca: '{}' }}", ca.path("ca.pem"));
    let edge = Edge::serve(place, &[listener(&[ca.certificate("shop")], &clients)]);
    let address = edge.address(1);
    let (cacert, cert, key) = (ca.path("ca.pem"), ca.path("client.pem"), ca.path("client.key"));
    let with = curl(address, "shop.test", EXCHANGE, &["--cacert", &cacert, "--cert", &cert, "--key", &key]);
    assert_eq!(with, (Some(0), "200 2".to_owned()));
    let without = curl(address, "shop.test", EXCHANGE, &["--cacert", &cacert]);
    assert!(without.0 != Some(0) && without.1.contains("certificate required"), "{without:?}");
    edge.server.stop();
}

#[test]
fn curl_is_redirected_reaches_a_unix_socket_and_announces_itself() {
    let place = Place::new();
    let socket = place.file().with_file_name("edge.sock");
    let socket = socket.to_str().unwrap().to_owned();
    let edge = Edge::serve(
        place,
        &[
            "{ address: '127.0.0.1:0', redirect: https }".to_owned(),
            "{ address: '127.0.0.1:0', proxy_protocol: ['127.0.0.1'] }".to_owned(),
            format!("{{ address: 'unix:{socket}' }}"),
        ],
    );
    let (plain, redirecting, announced) = (edge.address(0), edge.address(1), edge.address(2));

    let sent = curl(redirecting, "shop.test", "%{http_code} %{redirect_url}", &[]);
    assert_eq!(sent, (Some(0), "308 https://shop.test/".to_owned()));
    assert_eq!(curl(plain, "shop.test", EXCHANGE, &["--unix-socket", &socket]), (Some(0), "200 1.1".to_owned()));
    let v1 = curl(announced, "shop.test", EXCHANGE, &["--haproxy-protocol"]);
    assert_eq!(v1, (Some(0), "200 1.1".to_owned()));
    assert_eq!(curl(announced, "shop.test", EXCHANGE, &[]).0, Some(52), "a connection without a header is closed");
    assert_eq!(curl(plain, "shop.test", EXCHANGE, &["--haproxy-protocol"]).1, "400 1.1");
    let mut stream = TcpStream::connect(announced).unwrap();
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x7f\0\0\x01\x30\x39\0\x50";
    stream.write_all(&[&v2[..], b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    edge.server.stop();
    assert!(!PathBuf::from(socket).exists());
}

/// A whole handshake and a request; the certificate that was shown.
fn fresh(address: SocketAddr, client: &Arc<ClientConfig>) -> std::io::Result<CertificateDer<'static>> {
    let session = ClientConnection::new(Arc::clone(client), ServerName::try_from("shop.test").unwrap()).unwrap();
    let mut stream = StreamOwned::new(session, TcpStream::connect(address)?);
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if !answer.starts_with("HTTP/1.1 200 ") {
        return Err(std::io::Error::other(answer));
    }
    Ok(stream.conn.peer_certificates().unwrap()[0].clone().into_owned())
}

/// What happened to clients while certificates changed.
#[derive(Default)]
struct Seen {
    handshakes: u64,
    failed: Vec<std::io::Error>,
    /// The different certificates that were shown.
    shown: HashSet<CertificateDer<'static>>,
}

/// One new connection after the other until it is over.
fn connect_until(over: &AtomicBool, address: SocketAddr, client: &Arc<ClientConfig>) -> Seen {
    let mut seen = Seen::default();
    while !over.load(Ordering::Relaxed) {
        match fresh(address, client) {
            Ok(certificate) => drop(seen.shown.insert(certificate)),
            Err(error) => seen.failed.push(error),
        }
        seen.handshakes += 1;
    }
    seen
}

#[test]
fn certificates_change_under_load_without_a_failed_handshake_and_a_bad_pair_changes_nothing() {
    /// How often a good pair takes the place of another.
    const SWAPS: usize = 6;
    /// Files that are of no use, each in another way, and what is said of them.
    const BAD: [(&str, &str); 2] = [("", "it is empty"), ("no PEM at all", "no line in it begins with -----BEGIN")];
    let place = Place::new();
    let ca = Authority::new(&place);
    ca.write("shop", &["shop.test"]);
    let mut edge = Edge::serve(place, &[listener(&[ca.certificate("shop")], "")]);
    let (address, over) = (edge.address(1), AtomicBool::new(false));
    let client = ca.client(&rustls::version::TLS13);
    let older = ca.client(&rustls::version::TLS12);

    let seen: Vec<Seen> = thread::scope(|scope| {
        let load = |client: &Arc<ClientConfig>| {
            let (client, over) = (Arc::clone(client), &over);
            scope.spawn(move || connect_until(over, address, &client))
        };
        let clients = [load(&client), load(&client), load(&older)];
        let another = |before: &CertificateDer<'_>| {
            until_true("another certificate", || fresh(address, &client).unwrap() != *before);
        };
        for swap in 0..SWAPS {
            let before = fresh(address, &client).unwrap();
            if let Some((bad, said)) = BAD.get(swap) {
                fs::write(ca.path("shop.pem"), bad).unwrap();
                edge.server.process.has_said(said);
                assert_eq!(fresh(address, &client).unwrap(), before);
            }
            ca.write("shop", &["shop.test"]);
            another(&before);
        }
        // Half a renewal: a certificate without its key.
        let before = fresh(address, &client).unwrap();
        let (lonely, key) = ca.made(&["shop.test"]);
        fs::write(ca.path("shop.pem"), lonely).unwrap();
        edge.server.process.has_said("does not belong to the first certificate");
        assert_eq!(fresh(address, &client).unwrap(), before);
        // Who reloads meanwhile is told.
        let reloaded = edge.server.tidegate(&["reload"]);
        assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
        let note = "note: listeners[1].tls.certificates[0]: ";
        assert!(reloaded.out.contains(note) && reloaded.out.contains("a start would be refused"), "{reloaded:?}");
        fs::write(ca.path("shop.key"), key).unwrap();
        another(&before);
        over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });

    for Seen { handshakes, failed, shown } in seen {
        assert_eq!(failed.len(), 0, "{failed:?}");
        assert!(handshakes > 100, "there was no load: {handshakes}");
        // The first, and each that came after it. The last may have come too late for some.
        assert!(shown.len() > SWAPS, "only {} of the pairs were shown", shown.len());
    }
    edge.server.stop();
}

#[test]
fn operators_are_told_of_certificates_that_end_and_of_handshakes_that_fail() {
    let place = Place::new();
    let ca = Authority::new(&place);
    ca.write_old("shop", &["shop.test"]);
    let file = ca.path("shop.pem");
    let mut edge = Edge::serve(place, &[listener(&[ca.certificate("shop")], "")]);
    edge.server.process.has_said("it expired on 2020-01-01");
    // Refused by curl (60), which says so; and HTTP on a port that speaks TLS.
    let address = edge.address(1);
    assert_eq!(curl(address, "shop.test", EXCHANGE, &["--cacert", &ca.path("ca.pem")]).0, Some(60));
    assert_eq!(curl(address, "shop.test", EXCHANGE, &[]).1, "400 1.1");

    let expiry = "tidegate_certificate_expiry_timestamp_seconds";
    let failed = "tidegate_tls_handshakes_failed_total";
    for wanted in [
        format!("{expiry}{{listener=\"127.0.0.1:0\",certificate=\"{file}\"}} 1577836800\n"),
        format!("{failed}{{listener=\"127.0.0.1:0\",reason=\"not_tls\"}} 1\n"),
        format!("{failed}{{listener=\"127.0.0.1:0\",reason=\"refused_by_client\"}} 1\n"),
    ] {
        until_true(&wanted, || edge.server.admin.text("/metrics").contains(&wanted));
    }
    let status = edge.server.tidegate(&["status", "shop"]);
    assert!(status.out.contains(&file) && status.out.contains("it expired on 2020-01-01"), "{}", status.out);
    edge.server.stop();
}

#[test]
fn what_is_wrong_with_certificates_is_said_by_a_check_and_at_the_start() {
    let place = Place::new();
    let ca = Authority::new(&place);
    ca.write("shop", &["shop.test"]);
    fs::write(ca.path("shop.key"), ca.made(&["shop.test"]).1).unwrap();
    let head = head(&place, &[listener(&[ca.certificate("shop")], "")]);
    place.write(&(head + &shop("v1", &[("v1", &["127.0.0.1:9".parse().unwrap()])], "{}")));

    let mut check = tidegate();
    check.arg("check").arg("-c").arg(place.file());
    let (checked, started) = (Process::start(check).end(), Process::start(place.command()).end());

    for (end, said) in [(&checked, &checked.out), (&started, &started.err)] {
        assert_eq!(end.code, Some(1), "{end:?}");
        let told = ["listeners[1].tls.certificates[0]", "shop.key", "does not belong"];
        assert!(told.iter().all(|word| said.contains(word)), "{said}");
    }
    assert!(!place.state().exists(), "a start that fails touched the state directory");
}
