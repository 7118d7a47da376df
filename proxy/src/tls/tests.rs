//! Real handshakes over a pair of sockets, with certificates made for each test.

mod authority;

use std::fs;
use std::io;
use std::time::Duration;

use config::Listener;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;

use self::authority::Authority;
use super::*;
use crate::connection::TlsFacts;
use crate::transport::{Secured, Socket, Wire};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;
const LONG: Duration = Duration::from_secs(20);

fn open(listener: &Listener) -> Tls {
    Tls::open("listeners[0]", listener, NOW).unwrap().unwrap()
}

/// What a handshake comes to: for the client the certificate that it was shown, and for us what we know of it.
async fn handshake(
    tls: &Tls,
    name: &str,
    client: &Arc<ClientConfig>,
) -> (io::Result<CertificateDer<'static>>, Result<(TlsFacts, Option<String>), String>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let accepting = async {
        let accepted = tls.accept(Socket::new(Wire::Unix(ours)), LONG).await.map_err(|error| error.to_string())?;
        let (mut secured, facts, name): (Box<Secured>, _, _) = accepted;
        // Tickets come with the first bytes.
        secured.stream.write_all(b"x").await.map_err(|error| error.to_string())?;
        secured.stream.flush().await.map_err(|error| error.to_string())?;
        Ok((facts, name))
    };
    let connecting = async {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut stream = TlsConnector::from(Arc::clone(client)).connect(name, theirs).await?;
        // A server that wants a certificate refuses after the client's last word.
        stream.read_exact(&mut [0]).await?;
        Ok(stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned())
    };
    let (accepted, connected) = tokio::join!(accepting, connecting);
    (connected, accepted)
}

/// The certificate that a client is shown.
async fn shown(tls: &Tls, name: &str, client: ClientConfig) -> CertificateDer<'static> {
    handshake(tls, name, &Arc::new(client)).await.0.unwrap()
}

#[tokio::test]
async fn a_certificate_is_chosen_by_name_an_exact_one_before_a_wildcard() {
    let ca = Authority::new();
    let first = ca.write("first", &["first.test"]);
    let wild = ca.write("wild", &["*.shop.test"]);
    let exact = ca.write("exact", &["a.shop.test"]);
    let tls = ca.open(&["first", "wild", "exact"]);
    assert_eq!(shown(&tls, "first.test", ca.client()).await, first);
    assert_eq!(shown(&tls, "b.shop.test", ca.client()).await, wild);
    assert_eq!(shown(&tls, "a.shop.test", ca.client()).await, exact);
    // A wildcard is one label: not none, not two. Such names, and no name at all, get the first.
    for name in ["shop.test", "x.b.shop.test", "elsewhere.test", "192.0.2.1"] {
        let (connected, accepted) = handshake(&tls, name, &Arc::new(anything(&ca))).await;
        assert_eq!(connected.unwrap(), first, "{name}");
        let asked = accepted.unwrap().1;
        assert_eq!(asked.as_deref(), Some(name).filter(|name| !name.starts_with("192")));
    }
}

/// A client that takes any certificate, to see which one it is shown.
fn anything(ca: &Authority) -> ClientConfig {
    let mut client = ca.client();
    client.dangerous().set_certificate_verifier(Arc::new(Credulous));
    client
}

#[derive(Debug)]
struct Credulous;

impl rustls::client::danger::ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.verify_tls12_signature(message, certificate, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn the_oldest_version_is_what_the_listener_says() {
    let ca = Authority::new();
    ca.write("a", &["a.test"]);
    let old = || {
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&version::TLS12]);
        Arc::new(builder.unwrap().with_root_certificates(ca.roots()).with_no_client_auth())
    };
    let facts = handshake(&ca.open(&["a"]), "a.test", &old()).await.1.unwrap().0;
    assert_eq!((facts.version, facts.cipher.as_str()), ("1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"));
    let facts = handshake(&ca.open(&["a"]), "a.test", &Arc::new(ca.client())).await.1.unwrap().0;
    assert_eq!((facts.version, facts.cipher.as_str(), facts.resumed), ("1.3", "TLS_AES_256_GCM_SHA384", false));

    let mut listener = ca.listener(&["a"]);
    listener.tls.as_mut().unwrap().oldest = TlsVersion::V13;
    assert!(handshake(&open(&listener), "a.test", &old()).await.0.is_err());
}

#[tokio::test]
async fn a_pair_that_does_not_fit_keeps_the_last_good_one_and_says_why_and_since_when() {
    let ca = Authority::new();
    let (one, two) = (ca.write("a", &["a.test"]), ca.write("b", &["b.test"]));
    let tls = ca.open(&["a", "b"]);

    // Another certificate, the old key; the other pair changes for the good at the same time.
    let renewed = ca.write("new", &["a.test"]);
    fs::copy(ca.path("new.pem"), ca.path("a.pem")).unwrap();
    let other = ca.write("b", &["b.test"]);
    let noticed = NOW + Duration::from_secs(10);
    tls.look(noticed);

    assert_eq!(shown(&tls, "a.test", ca.client()).await, one);
    assert_eq!(shown(&tls, "b.test", ca.client()).await, other);
    assert_ne!(two, other);
    tls.look(noticed + LONG);
    let state = tls.state();
    let trouble = state[0].trouble.as_ref().unwrap();
    assert_eq!((trouble.since, &state[1].trouble), (noticed, &None));
    let why = trouble.why.to_string();
    assert!(why.contains("does not belong") && why.contains("a.key") && why.contains("a.pem"), "{why}");

    // The key follows.
    fs::copy(ca.path("new.key"), ca.path("a.key")).unwrap();
    tls.look(noticed + LONG);

    assert_eq!(shown(&tls, "a.test", ca.client()).await, renewed);
    assert_eq!(tls.state()[0].trouble, None);

    // Files that are gone change nothing either.
    fs::remove_file(ca.path("a.pem")).unwrap();
    tls.look(noticed + LONG);
    assert_eq!(shown(&tls, "a.test", ca.client()).await, renewed);
    let why = tls.state()[0].trouble.as_ref().unwrap().why.to_string();
    assert!(why.contains("there is no such file"), "{why}");
}

#[test]
fn a_certificate_is_told_of_two_weeks_before_its_end_three_days_before_it_and_at_it() {
    const DAY: u64 = 24 * 3_600;
    let ca = Authority::new();
    let mut params = Authority::params(&["a.test"]);
    params.not_before = rcgen::date_time_ymd(1970, 1, 1);
    params.not_after = rcgen::date_time_ymd(1970, 3, 2);
    ca.write_with("a", &params);
    let tls = ca.open(&["a"]);
    let at = |days| NOW + Duration::from_secs(days * DAY);
    for (days, said) in [
        (1, None),
        (45, None),
        (46, Some("it expires on 1970-03-02, in 14 days; renew it")),
        (56, Some("it expires on 1970-03-02, in 4 days; renew it")),
        (59, Some("it expires on 1970-03-02, in 1 day; renew it")),
        (60, Some("it expired on 1970-03-02; clients will refuse it")),
        (99, Some("it expired on 1970-03-02; clients will refuse it")),
    ] {
        tls.look(at(days));
        let state = &tls.state()[0];
        assert_eq!(state.warning.as_deref(), said, "after {days} days");
        assert_eq!(state.warnings().len(), usize::from(said.is_some()));
        assert_eq!(state.expires, at(60));
    }
    let told = |days| tls.files.lock().pairs[0].good.stage(at(days));
    let stages = [Stage::Good, Stage::EndsSoon, Stage::EndsSoon, Stage::EndsVerySoon, Stage::Over];
    assert_eq!([45, 46, 56, 57, 60].map(told), stages);
}

#[tokio::test]
async fn a_handshake_ends_as_it_began_while_its_certificate_is_replaced() {
    let ca = Authority::new();
    let before = ca.write("a", &["a.test"]);
    let tls = ca.open(&["a"]);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut socket = Socket::new(Wire::Unix(ours));
    let connecting = tokio::spawn(
        TlsConnector::from(Arc::new(ca.client())).connect(ServerName::try_from("a.test").unwrap(), theirs),
    );
    assert!(socket.read_early().await.unwrap() > 0);
    let (secured, certificate) = {
        let accepting = tls.accept(socket, LONG);
        tokio::pin!(accepting);
        // The greeting is read and answered; then the files change.
        assert!(futures::poll!(&mut accepting).is_pending());
        ca.write("a", &["a.test"]);
        tls.look(NOW);
        let (accepted, connected) = tokio::join!(accepting, connecting);
        let certificate = connected.unwrap().unwrap().get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
        (accepted.unwrap().0, certificate)
    };
    assert_eq!(certificate, before);
    assert!(!secured.http2);
    assert_ne!(shown(&tls, "a.test", ca.client()).await, before);
}

#[tokio::test]
async fn a_client_proves_who_it_is_or_is_refused_and_where_it_may_it_stays_unknown() {
    let (ca, stranger) = (Authority::new(), Authority::new());
    ca.write("a", &["a.test"]);
    let required = open(&ca.asking_clients(&["a"], false));
    let optional = open(&ca.asking_clients(&["a"], true));
    let known = Arc::new(ca.client_named("reporting"));
    let mut foreign = stranger.client_named("mallory");
    foreign.dangerous().set_certificate_verifier(Arc::new(Credulous));
    let foreign = Arc::new(foreign);

    let facts = handshake(&required, "a.test", &known).await.1.unwrap().0;
    let client = facts.client.unwrap();
    assert!(client.subject.contains("CN=reporting"), "{}", client.subject);
    assert_eq!(client.sha256.len(), 64);
    assert!(handshake(&required, "a.test", &Arc::new(ca.client())).await.0.is_err());
    assert!(handshake(&required, "a.test", &foreign).await.0.is_err());
    assert!(handshake(&optional, "a.test", &foreign).await.0.is_err());
    let facts = handshake(&optional, "a.test", &Arc::new(ca.client())).await.1.unwrap().0;
    assert_eq!(facts.client, None);
}

#[tokio::test]
async fn sessions_are_resumed_after_a_new_certificate_and_not_under_other_authorities() {
    let ca = Authority::new();
    ca.write("a", &["a.test"]);
    let tls = open(&ca.asking_clients(&["a"], false));
    let client = Arc::new(ca.client_named("reporting"));
    let facts = handshake(&tls, "a.test", &client).await.1.unwrap().0;
    assert!(!facts.resumed);
    let facts = handshake(&tls, "a.test", &client).await.1.unwrap().0;
    assert!(facts.resumed && facts.client.is_some());

    ca.write("a", &["a.test"]);
    tls.look(NOW);
    assert!(handshake(&tls, "a.test", &client).await.1.unwrap().0.resumed);

    // Whoever was believed before is not any more, whatever ticket it has.
    fs::write(ca.path("ca.pem"), Authority::new().issuer.pem()).unwrap();
    tls.look(NOW);
    assert!(handshake(&tls, "a.test", &client).await.0.is_err());

    // A bundle that cannot be read keeps the present one.
    fs::write(ca.path("ca.pem"), "nothing").unwrap();
    tls.look(NOW);
    assert!(handshake(&tls, "a.test", &client).await.0.is_err());
    fs::write(ca.path("ca.pem"), ca.issuer.pem()).unwrap();
    tls.look(NOW);
    assert!(!handshake(&tls, "a.test", &client).await.1.unwrap().0.resumed);
}

#[tokio::test]
async fn a_ticket_of_one_listener_opens_no_other() {
    let ca = Authority::new();
    ca.write("a", &["a.test"]);
    let (open_to_all, closed) = (ca.open(&["a"]), open(&ca.asking_clients(&["a"], false)));
    let client = Arc::new(ca.client());
    assert!(handshake(&open_to_all, "a.test", &client).await.0.is_ok());
    assert!(handshake(&open_to_all, "a.test", &client).await.1.unwrap().0.resumed);
    assert!(handshake(&closed, "a.test", &client).await.0.is_err());
}

#[tokio::test]
async fn http_on_the_port_is_told_to_speak_tls() {
    let ca = Authority::new();
    ca.write("a", &["a.test"]);
    let tls = ca.open(&["a"]);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await.unwrap();
    let refused = tls.accept(Socket::new(Wire::Unix(ours)), LONG).await;
    assert!(matches!(refused, Err(HandshakeFailed::NotTls)));
    let mut answer = String::new();
    // A reset after the answer is no concern here.
    let _ = theirs.read_to_string(&mut answer).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 ") && head.contains(&format!("content-length: {}", body.len())), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_stops_halfway_is_given_up() {
    let ca = Authority::new();
    ca.write("a", &["a.test"]);
    let tls = ca.open(&["a"]);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(&[0x16, 3, 1]).await.unwrap();
    let refused = tls.accept(Socket::new(Wire::Unix(ours)), Duration::from_secs(10)).await;
    assert!(matches!(refused, Err(HandshakeFailed::TimedOut)));
}

/// What a check says of a listener with these files.
fn said(ca: &Authority, files: CertificateFiles, now: SystemTime) -> Vec<(bool, String)> {
    let mut listener = ca.listener(&[]);
    listener.tls.as_mut().unwrap().certificates = vec![files];
    check(&[Listener::DEFAULT, listener], now).iter().map(|it| (it.fatal, it.to_string())).collect()
}

#[test]
fn what_is_wrong_with_files_is_said_in_plain_words_and_with_its_place() {
    let ca = Authority::new();
    let der = ca.write("a", &["a.test"]);
    ca.write("b", &["b.test"]);
    fs::write(ca.path("empty.pem"), "").unwrap();
    fs::write(ca.path("text.pem"), "hello").unwrap();
    fs::write(ca.path("a.der"), &der).unwrap();
    fs::write(ca.path("cut.pem"), &fs::read(ca.path("a.pem")).unwrap()[..200]).unwrap();
    fs::write(ca.path("junk.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    fs::write(
        ca.path("locked.key"),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    let older = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0123456789ABCDEF0123456789ABCDEF\n\nAAAA";
    fs::write(
        ca.path("older.key"),
        format!("-----BEGIN RSA PRIVATE KEY-----\n{older}\n-----END RSA PRIVATE KEY-----\n"),
    )
    .unwrap();
    fs::write(ca.path("junk.key"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    for (cert, key, words) in [
        ("none.pem", "a.key", &["cannot read", "none.pem", "no such file"][..]),
        ("empty.pem", "a.key", &["empty.pem", "it is empty"]),
        ("text.pem", "a.key", &["text.pem", "-----BEGIN"]),
        ("a.der", "a.key", &["DER", "openssl x509 -inform der"]),
        ("cut.pem", "a.key", &["cut.pem", "cut short"]),
        ("junk.pem", "a.key", &["junk.pem", "cannot be understood"]),
        ("a.key", "a.pem", &["holds a private key and no certificate", "swapped"]),
        ("a.pem", "a.pem", &["holds a certificate and no private key", "swapped"]),
        ("a.pem", "locked.key", &["encrypted", "openssl pkey"]),
        ("a.pem", "older.key", &["encrypted", "openssl pkey"]),
        ("a.pem", "junk.key", &["junk.key", "cannot be used", "Ed25519"]),
        ("a.pem", "b.key", &["b.key", "does not belong", "a.pem"]),
    ] {
        let said = said(&ca, CertificateFiles { cert: ca.path(cert), key: ca.path(key) }, NOW);
        let [(true, text)] = &said[..] else { panic!("{cert} with {key}: {said:?}") };
        assert!(text.starts_with("listeners[1].tls.certificates[0]: "), "{text}");
        assert!(words.iter().all(|word| text.contains(word)), "{cert} with {key}: {text}");
    }
}

#[test]
fn a_certificate_that_clients_will_refuse_is_warned_of() {
    let ca = Authority::new();
    let mut params = Authority::params(&["a.test"]);
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2026, 3, 1), rcgen::date_time_ymd(2026, 6, 1));
    ca.write_with("a", &params);
    params.subject_alt_names.clear();
    ca.write_with("nameless", &params);
    let at = |date| SystemTime::from(rcgen::date_time_ymd(2026, date, 1));
    let warned = |name: &str, month, words: &[&str]| {
        let said = said(&ca, ca.files(name), at(month));
        let [(false, text)] = &said[..] else { panic!("{said:?}") };
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    warned("a", 2, &["not valid before 2026-03-01"]);
    warned("a", 7, &["expired on 2026-06-01"]);
    warned("nameless", 4, &["names no host"]);
    assert_eq!(said(&ca, ca.files("a"), at(4)), []);
}
