//! A request with a body and one without take different ways through the proxy (docs/decisions/0044): whatever a client
//! says or an endpoint answers, both come to the same, for clients of HTTP/1.1 and of HTTP/2.

use std::collections::BTreeSet;

use bytes::Bytes;
use loadtest::{RawAnswer, RawOrigin, Then, When};
use meter::Class;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::fixture::{LONG, Shop, http2, judged, nobody, status};
use crate::raw_http2::{END_HEADERS, END_STREAM, HEADERS, Raw, Seen, fields, frame};
use crate::ways::{Answer, Way};

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What an endpoint answers to a request, and what is to come of it.
struct Case {
    method: &'static str,
    says: String,
    then: Then,
    when: When,
    status: u16,
    /// None where it does not come whole.
    body: Option<&'static str>,
    class: Class,
    /// The next request finds the same connection.
    is_kept: bool,
}

impl Case {
    /// An answer that is passed on as it is.
    fn well(says: &str, status: u16, body: &'static str) -> Self {
        let class = Class::of_status(status);
        let (method, when, then) = ("GET", When::AfterBody, Then::KeepOpen);
        Self { method, says: says.to_owned(), then, when, status, body: Some(body), class, is_kept: true }
    }

    /// One that is not passed on.
    fn broken(says: &str, class: Class) -> Self {
        Self { status: 502, body: None, class, is_kept: false, ..Self::well(says, 200, "") }
    }

    const fn to(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    /// Its endpoint closes behind it, or says so.
    const fn closed(mut self, then: Then) -> Self {
        (self.then, self.is_kept) = (then, false);
        self
    }

    /// It is cut behind its head.
    const fn cut(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// It comes before its endpoint has the body.
    const fn early(mut self) -> Self {
        self.when = When::AfterHead;
        self
    }
}

fn cases() -> Vec<Case> {
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(3);
    let hops = "connection: keep-alive, x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nproxy-authenticate: Basic\r\n\
                trailer: x\r\nte: trailers\r\nupgrade: h2c\r\ntidegate-version: evil\r\nset-cookie: a=b\r\n\
                set-cookie: c=d\r\nx-public: \u{e9}\r\n";
    let well = Case::well;
    let reset = |says| Case::broken(says, Class::Reset).closed(Then::Close);
    let broken = |says| Case::broken(says, Class::ProtocolError);
    vec![
        well(GOOD, 200, "ok"),
        well("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, ""),
        well("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, "ok"),
        well("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 200, ""),
        well(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;a=b\r\no\r\n1\r\nk\r\n0\r\nx: y\r\n\r\n",
            200,
            "ok",
        ),
        well("HTTP/1.1 200 OK\r\n\r\nall of it", 200, "all of it").closed(Then::Close),
        well("HTTP/1.1 200 OK\r\n\r\n", 200, "").closed(Then::Close),
        // What HTTP/1.0 leaves open, and what it keeps.
        well("HTTP/1.0 200 OK\r\n\r\nold", 200, "old").closed(Then::Close),
        well("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nold", 200, "old").closed(Then::KeepOpen),
        well("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 3\r\n\r\nold", 200, "old"),
        well("HTTP/1.0 304 Not Modified\r\nconnection: keep-alive\r\n\r\n", 304, ""),
        // Connections that end, however that is said.
        well("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", 200, "ok").closed(Then::KeepOpen),
        well("HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 2\r\n\r\nok", 200, "ok")
            .closed(Then::KeepOpen),
        well("HTTP/1.1 200 OK\r\nconnection: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", 200, "ok")
            .closed(Then::KeepOpen),
        well(
            "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
            200,
            "ok",
        )
        .closed(Then::KeepOpen),
        // Statuses without content, and methods.
        well("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        well("HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\netag: \"x\"\r\n\r\n", 304, ""),
        well("HTTP/1.1 204 No Content\r\n\r\npoison", 204, "").closed(Then::KeepOpen),
        well("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", 200, "").to("HEAD"),
        well("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 200, "").to("HEAD"),
        well("HTTP/1.1 200 OK\r\n\r\n", 200, "").to("HEAD"),
        well("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison", 200, "").to("HEAD").closed(Then::KeepOpen),
        well(GOOD, 200, "ok").to("DELETE"),
        well(GOOD, 200, "ok").to("POST"),
        well("HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n", 205, ""),
        well(&format!("{GOOD} and more"), 200, "ok").closed(Then::KeepOpen),
        well(&format!("HTTP/1.1 200 OK\r\n{hops}content-length: 2\r\n\r\nok"), 200, "ok"),
        well("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno", 404, "no"),
        well("HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\nno", 500, "no"),
        well("HTTP/1.1 503 Later\r\nretry-after: 5\r\ncontent-length: 2\r\n\r\nno", 503, "no"),
        well("HTTP/1.1 413 Too Much\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno", 413, "no")
            .closed(Then::KeepOpen)
            .early(),
        // Heads before the head.
        well(&format!("HTTP/1.1 100 Continue\r\n\r\n{GOOD}"), 200, "ok"),
        well(&format!("{interim}{GOOD}"), 200, "ok"),
        well(&format!("HTTP/1.1 102 Processing\r\ncontent-length: 9\r\n\r\n{GOOD}"), 200, "ok"),
        broken(&format!("{}{GOOD}", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(17))),
        broken("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello"),
        broken("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n"),
        // What is malformed, before the head and behind it.
        broken("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok"),
        broken("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        broken("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        broken("HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\nok"),
        broken("HTTP/1.1 200 OK\nx: a\n\n"),
        broken("HTTP/1.1 600 What\r\ncontent-length: 0\r\n\r\n"),
        broken("HTTP/1.1 103 Early Hints\r\nx y: z\r\n\r\n"),
        broken("SSH-2.0-OpenSSH_9.9\r\n"),
        broken(&format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(40_000))),
        // Ends too early.
        reset(""),
        Case { then: Then::Reset, ..reset("") },
        reset("HTTP/1.1 200 OK\r\ncontent-len"),
        reset("HTTP/1.1 103 Early Hints\r\n\r\n"),
        reset("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf").cut(200),
        reset("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n").cut(200),
        reset("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n").cut(200),
        reset("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf").cut(200),
        reset("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n").cut(200),
    ]
}

/// What a client is to see alike, whichever way it asked: not what belongs to its connection.
fn seen(answer: &Answer) -> Vec<(String, String)> {
    let of_one_hop = |name: &str| matches!(name, "connection" | "transfer-encoding" | "date");
    let mut fields: Vec<_> = answer.fields.iter().filter(|(name, _)| !of_one_hop(name)).cloned().collect();
    fields.sort();
    fields
}

#[tokio::test]
async fn whatever_an_endpoint_answers_comes_to_the_same_with_a_body_and_without() {
    for case in cases() {
        let shown = &case.says[..case.says.len().min(120)];
        let mut first: Option<Vec<(String, String)>> = None;
        for way in Way::ALL {
            let what = format!("{way:?}, {} {shown:?}", case.method);
            let answer = RawAnswer { bytes: Bytes::from(case.says.clone()), when: case.when, then: case.then };
            let origin = RawOrigin::start(vec![answer, RawAnswer::new(GOOD)]).await.unwrap();
            let shop = Shop::open_on(1, &[origin.address()], &[nobody()]);
            let answer = way.ask(shop.address(), case.method, &[]).await;
            assert_eq!(answer.status, case.status, "{what}: {answer:?}");
            if !way.http2 {
                assert!(answer.line.starts_with("HTTP/1.1 "), "{what}: {answer:?}");
            }
            match case.body {
                Some(body) => {
                    assert_eq!((&*answer.body, answer.is_whole), (body.as_bytes(), true), "{what}: {answer:?}");
                }
                None => assert!(answer.status == 502 || !answer.is_whole, "{what}: {answer:?}"),
            }
            let interim = case.says.matches("HTTP/1.1 10").count();
            assert!(answer.interim.len() <= if way.http2 { 0 } else { interim }, "{what}: {answer:?}");
            if case.body.is_some() && !way.http2 {
                assert_eq!(answer.interim.len(), interim, "{what}: {answer:?}");
            }
            let fields = seen(&answer);
            assert_eq!(first.get_or_insert_with(|| fields.clone()), &fields, "{what}");

            let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
            assert_eq!(judged(&tally, case.class), 1, "{what}: {:?}", tally.judged);
            assert_eq!(tally.bad(), u64::from(case.class.is_bad()), "{what}: {:?}", tally.judged);
            shop.idle("v1").await;
            let next = way.get(shop.address()).await;
            assert_eq!((next.status, &*next.body), (200, &b"ok"[..]), "{what}: {next:?}");
            let connections = origin.connections().len();
            assert_eq!(connections, if case.is_kept { 1 } else { 2 }, "{what}: connections");
        }
    }
}

/// The fields of the last request in these bytes, but for those that frame it or are random.
fn told(received: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(received);
    let head = text.split("\r\n\r\n").find(|head| head.contains(" HTTP/1.1\r\n")).unwrap().to_owned();
    let is_own = |line: &&str| {
        !["content-length", "transfer-encoding", "traceparent", "tidegate-passes"]
            .iter()
            .any(|name| line.to_lowercase().starts_with(name))
    };
    head.lines().filter(is_own).map(str::to_owned).collect()
}

#[tokio::test]
async fn an_origin_is_told_the_same_of_a_request_with_a_body_and_of_one_without() {
    let hostile = [
        ("x-forwarded-for", "1.1.1.1"),
        ("forwarded", "for=1.1.1.1"),
        ("x-real-ip", "1.1.1.1"),
        ("client-cert", ":MIIB:"),
        ("proxy-authorization", "Basic x"),
        ("tidegate-version", "v2"),
        ("tidegate-weight", "100"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("x-public", "1"),
        ("cookie", "a=b"),
        ("cookie", "c=d"),
        ("accept", "*/*"),
    ];
    let of_http1 = [
        ("connection", "x-mine, Host, X-Forwarded-For, Authorization, a, b, c, d, e, f, g, h, keep-alive"),
        ("x-mine", "1"),
        ("authorization", "Bearer x"),
        ("keep-alive", "timeout=9"),
        ("proxy-connection", "keep-alive"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
    ];
    for http2 in [false, true] {
        let mut seen = Vec::new();
        for body in [false, true] {
            let origin = RawOrigin::start(vec![RawAnswer::new(GOOD)]).await.unwrap();
            let shop = Shop::open_on(1, &[origin.address()], &[nobody()]);
            let fields = if http2 { hostile.to_vec() } else { [&hostile[..], &of_http1].concat() };
            let answer = Way { http2, body }.ask(shop.address(), "PUT", &fields).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            seen.push(told(&origin.connections()[0].received));
        }
        assert_eq!(seen[0], seen[1], "HTTP/2: {http2}");
        let lines: Vec<String> = seen[0].iter().map(|line| line.to_lowercase()).collect();
        for gone in [
            "connection:",
            "x-mine:",
            "keep-alive:",
            "proxy-connection:",
            "proxy-authorization:",
            "te:",
            "trailer:",
            "upgrade:",
            "http2-settings:",
            "x-real-ip:",
            "client-cert:",
        ] {
            assert!(!lines.iter().any(|line| line.starts_with(gone)), "{gone} {lines:?}");
        }
        for kept in ["put / http/1.1", "host: shop", "x-public: 1", "x-forwarded-for: 127.0.0.1", "accept: */*"] {
            assert!(lines.iter().any(|line| line == kept), "{kept} {lines:?}");
        }
        assert!(!lines.iter().any(|line| line.contains("1.1.1.1") || line.contains("evil")), "{lines:?}");
    }
}

/// How far an endpoint is when its client leaves.
const STAGES: [&str; 5] = [
    "",
    "HTTP/1.1 103 Early Hints\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
];

/// An endpoint that says this to the first request, tells when it has, and when that connection has ended; then well.
async fn endpoint(says: &'static str) -> (std::net::SocketAddr, oneshot::Receiver<()>, oneshot::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ((said, has_said), (ended, has_ended)) = (oneshot::channel(), oneshot::channel());
    drop(tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        let mut heard = Vec::new();
        while !(heard.ends_with(b"\r\n\r\n") || heard.ends_with(b"hi") || heard.ends_with(b"2\r\nhi\r\n0\r\n\r\n")) {
            let count = stream.read(&mut buffer).await.unwrap();
            heard.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(says.as_bytes()).await.unwrap();
        said.send(()).unwrap();
        // A body may come yet.
        while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
        ended.send(()).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut buffer).await.unwrap();
            stream.write_all(GOOD.as_bytes()).await.unwrap();
        }
    }));
    (address, has_said, has_ended)
}

#[tokio::test]
async fn a_client_that_leaves_at_any_moment_is_counted_once_and_its_endpoint_let_go() {
    for says in STAGES {
        for way in Way::ALL {
            let what = format!("{way:?}, {says:?}");
            let (address, has_said, has_ended) = endpoint(says).await;
            let shop = Shop::open_on(1, &[address], &[nobody()]);
            if way.http2 {
                let mut client = http2(shop.address()).await;
                let asked = client.send_request(way.request("GET", &[]));
                let asked = tokio::spawn(async move {
                    let answer = asked.await;
                    // As far as it came, and no further.
                    let answer = answer.unwrap();
                    std::future::pending::<()>().await;
                    drop(answer);
                });
                timeout(LONG, has_said).await.expect("the endpoint is asked").unwrap();
                asked.abort();
                timeout(LONG, has_ended).await.expect(&what).unwrap();
                // Its connection goes on.
                let next = timeout(LONG, client.send_request(way.request("GET", &[]))).await.unwrap().unwrap();
                assert_eq!(next.status(), 200, "{what}");
            } else {
                let mut client = TcpStream::connect(shop.address()).await.unwrap();
                client.write_all(&way.bytes("GET", &[])).await.unwrap();
                timeout(LONG, has_said).await.expect("the endpoint is asked").unwrap();
                drop(client);
                timeout(LONG, has_ended).await.expect(&what).unwrap();
                assert_eq!(way.get(shop.address()).await.status, 200, "{what}");
            }
            let tally = shop.tally_until("v1", |tally| tally.requests() == 2).await;
            let came_to = (judged(&tally, Class::ClientAbort), judged(&tally, Class::Success), tally.bad());
            assert_eq!(came_to, (1, 1, 0), "{what}: {:?}", tally.judged);
            shop.idle("v1").await;
            assert_eq!(shop.responses(Class::ClientAbort), 1, "{what}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_closes_under_a_request_is_stale_for_those_that_may_be_sent_again() {
    // As when a keep-alive time runs out in the moment in which the request is sent.
    let closes = RawAnswer { then: Then::Close, ..RawAnswer::new("") };
    for way in Way::ALL {
        // The method counts, and not whether there is a body.
        for (method, wanted) in [("GET", (200, 2, 0, 3)), ("POST", (502, 1, 1, 2)), ("PUT", (200, 2, 0, 3))] {
            let mut tries = 0;
            loop {
                let good = RawAnswer::new(GOOD);
                let origin = RawOrigin::start(vec![good.clone(), closes.clone(), good]).await.unwrap();
                let shop = Shop::open_on(1, &[origin.address()], &[nobody()]);
                assert_eq!(way.get(shop.address()).await.status, 200);
                shop.idle("v1").await;
                let answer = way.ask(shop.address(), method, &[]).await;
                let tally = shop.tally_until("v1", |tally| tally.requests() == 2).await;
                let all: Vec<u8> =
                    origin.connections().into_iter().flat_map(|connection| connection.received).collect();
                let heard = String::from_utf8_lossy(&all).matches(" / HTTP/1.1\r\n").count();
                let came_to = (answer.status, judged(&tally, Class::Success), tally.bad(), heard);
                if came_to == wanted {
                    break;
                }
                // On a machine that is busy it may end too late to pass for one that was stale.
                tries += 1;
                assert!(tries < 5, "{way:?} {method}: {came_to:?} {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_turn_whichever_way_each_takes() {
    let answers = ["a", "b", "c", "d"].map(|body| {
        RawAnswer::new(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{body}\r\n0\r\n\r\n"))
    });
    let origin = RawOrigin::start(answers.to_vec()).await.unwrap();
    let shop = Shop::open_on(1, &[origin.address()], &[nobody()]);
    let (bare, with_body) = (Way { http2: false, body: false }, Way { http2: false, body: true });
    let row = [
        bare.bytes("GET", &[]),
        with_body.bytes("GET", &[]),
        bare.bytes("DELETE", &[]),
        with_body.bytes("POST", &[("connection", "close")]),
        bare.bytes("GET", &[]),
    ];
    let answer = crate::fixture::exchange(shop.address(), &row.concat()).await;
    let bodies: Vec<&str> = answer.split("\r\n1\r\n").skip(1).map(|rest| &rest[..1]).collect();
    assert_eq!((status(&answer), bodies), (200, vec!["a", "b", "c", "d"]), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 4, "{answer}");
}

/// In HTTP/2 a request ends without a word of its length. Some servers of HTTP/1.1 refuse such a POST (411).
#[tokio::test]
async fn an_origin_of_http1_is_told_that_a_post_has_no_body_where_it_might_have_one() {
    for (method, wanted) in [("POST", 1), ("PUT", 1), ("PATCH", 1), ("GET", 0), ("DELETE", 0)] {
        let origin = RawOrigin::start(vec![RawAnswer::new(GOOD)]).await.unwrap();
        let shop = Shop::open_on(1, &[origin.address()], &[nobody()]);
        let head = fields(&[(":method", method), (":scheme", "http"), (":path", "/"), (":authority", "shop")]);
        let mut client = Raw::connect(&shop).await;
        client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &head)).await;
        assert_eq!(client.next().await, Some(Seen::Response(1, 200)), "{method}");
        let received = String::from_utf8_lossy(&origin.connections()[0].received).to_lowercase();
        assert_eq!(received.matches("content-length: 0\r\n").count(), wanted, "{method}: {received}");
    }
}
