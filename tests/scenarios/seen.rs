//! The access log of a real process: files that are moved away, standard output that nobody reads, and reloads.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use loadtest::{Fraction, Length, Load, Origin, RawAnswer, RawOrigin, Then};
use serde_json::Value;

use crate::patience::{LONG, until, until_true};
use crate::process::{Process, Signal};
use crate::shop::{Place, Server, configuration, now, origin, shop};

const PLAN: &str = "{ steps: [{ weight: 5%, hold: 10m }] }";

/// Two origins, and a place for files. Dropped last.
struct Site {
    v1: Origin,
    v2: Origin,
    place: Place,
}

impl Site {
    fn new() -> Self {
        Self { v1: origin("v1"), v2: origin("v2"), place: Place::new() }
    }

    fn log(&self) -> PathBuf {
        self.place.file().with_file_name("access.log")
    }

    /// Writes a configuration that logs as told.
    fn write(&self, access_log: &str) {
        let shop = configuration(&self.place, &self.v1, &self.v2, PLAN);
        self.place.write(&format!("access_log: {access_log}\n{shop}"));
    }

    fn serve(&self, access_log: &str) -> Server {
        self.write(access_log);
        self.place.serve()
    }
}

/// Sends bytes on a connection of their own, and returns the answer's status; 0 where there is none.
fn send(address: SocketAddr, request: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is no concern here.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// A GET of this path.
fn get(address: SocketAddr, path: &str) -> u16 {
    send(address, &format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"))
}

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text.lines().take(text.matches('\n').count());
    whole.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The line of a path, once it is there.
fn line_of(file: &Path, path: &str) -> Value {
    until(&format!("{path} in {}", file.display()), || lines(file).into_iter().find(|line| line["url.path"] == path))
}

fn dropped(server: &Server) -> u64 {
    let metrics = server.admin.text("/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix("tidegate_access_log_dropped_total "));
    line.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("it is not counted:\n{metrics}"))
}

#[test]
fn every_request_has_a_line_and_no_secret_is_in_it() {
    let site = Site::new();
    let server = site.serve(&format!("{{ to: '{}' }}", site.log().display()));
    let request = "GET /cart?id=7 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: test/1\r\nCookie: session=hidden\r\n\
                   Authorization: Bearer hidden\r\nTidegate-Secret: hidden\r\nConnection: close\r\n\
                   traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";
    assert_eq!(send(server.address, request), 200);

    let line = line_of(&site.log(), "/cart");

    let known = [
        ("http.request.method", "GET"),
        ("url.query", "id=7"),
        ("url.domain", "shop.example"),
        ("http.version", "1.1"),
        ("user_agent.original", "test/1"),
        ("client.ip", "127.0.0.1"),
        ("event.outcome", "success"),
        ("service.name", "shop"),
        ("tidegate.version", "v1"),
        ("tidegate.decision", "weight"),
        ("tidegate.class", "2xx"),
        ("trace.id", "0af7651916cd43dd8448eb211c80319c"),
    ];
    for (name, value) in known {
        assert_eq!(line[name], value, "{line}");
    }
    assert_eq!((&line["http.response.status_code"], &line["tidegate.attempts"]), (&200.into(), &1.into()), "{line}");
    assert_eq!(line["tidegate.upstream"], site.v1.address().to_string());
    assert!(line["event.duration"].as_u64() > line["tidegate.upstream_us"].as_u64(), "{line}");
    assert!(!line.to_string().contains("hidden"), "{line}");
    // What reaches no service, and what is no request at all.
    assert_eq!(send(server.address, "GET /no-host HTTP/1.1\r\nConnection: close\r\n\r\n"), 400);
    assert_eq!(send(server.address, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"), 400);
    until_true("two lines without a service", || {
        lines(&site.log()).iter().filter(|line| line["http.response.status_code"] == 400).count() == 2
    });
    assert!(lines(&site.log()).iter().all(|line| line["source.address"] == "127.0.0.1"));
    server.stop();
}

#[test]
fn a_line_says_why_its_version_served_it_and_what_of_it_passed() {
    let site = Site::new();
    // Bound and closed again: the system does not give the port to anybody else soon.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoints = |address: SocketAddr| format!("{{ endpoints: ['{address}'] }}");
    let (v1, v2, dead) = (endpoints(site.v1.address()), endpoints(site.v2.address()), endpoints(nobody));
    let service = |name: &str, canary: &str, more: &str| {
        format!(
            "  {name}: {{ path: /{name}, stable: v1, canary: v2, weight: 100%, \
             versions: {{ v1: {v1}, v2: {canary} }}{more} }}\n"
        )
    };
    let services = [
        service("drawn", &v2, ""),
        service("keyed", &v2, ", affinity: { cookie: session }"),
        service("asked", &v2, ", forced: { header: x-version, from: [127.0.0.1] }"),
        service("dead", &dead, ""),
        service("failing", &v2, ""),
    ];
    site.place.write(&format!(
        "access_log: {{ to: '{}' }}\n{}{}",
        site.log().display(),
        site.place.head(),
        services.concat()
    ));
    let server = site.place.serve();
    let ask = |path: &str, more: &str| {
        let head = format!("{path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n{more}");
        assert_eq!(send(server.address, &format!("GET {head}\r\n")), 200, "{path}");
        let body = format!("PUT {}", head.replacen(" HTTP", "/body HTTP", 1));
        assert_eq!(send(server.address, &format!("{body}Content-Length: 5\r\n\r\nhello")), 200, "{path}");
    };
    ask("/drawn", "");
    ask("/keyed", "Cookie: session=u\r\n");
    ask("/asked", "X-Version: never\r\n");
    // As many attempts as it takes until nobody is live there.
    for n in 0..5 {
        ask(&format!("/dead/{n}"), "");
    }
    site.v2.dial().set_errors(Fraction::ONE);
    ask("/failing", "");

    let sent = |line: &Value| line["http.response.body.bytes"].as_u64().unwrap();
    for (path, decision, version, drawn, attempts) in [
        ("/drawn", "weight", "v2", Value::Null, 1),
        ("/keyed", "affinity", "v2", Value::Null, 1),
        ("/asked", "forced", "v1", Value::Null, 1),
        ("/dead/4", "fall-through", "v1", "v2".into(), 1),
        ("/failing", "shield", "v1", "v2".into(), 2),
    ] {
        for (path, read) in [(path.to_owned(), 0), (format!("{path}/body"), 5)] {
            let line = line_of(&site.log(), &path);
            let said = (&line["tidegate.decision"], &line["tidegate.version"], &line["tidegate.drawn"]);
            assert_eq!(said, (&decision.into(), &version.into(), &drawn), "{line}");
            assert_eq!(
                (&line["tidegate.attempts"], &line["tidegate.weight"]),
                (&attempts.into(), &10_000.into()),
                "{line}"
            );
            assert_eq!(line["http.request.body.bytes"], read, "{line}");
            assert_eq!((sent(&line), &line["tidegate.class"]), (3, &"2xx".into()), "{line}");
            assert!(line["tidegate.upstream_us"].as_u64() < line["event.duration"].as_u64(), "{line}");
        }
    }
    server.stop();
}

#[test]
fn a_line_says_what_became_of_a_response_that_was_cut() {
    let (site, half) = (Site::new(), "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf");
    let closes = RawAnswer { then: Then::Close, ..RawAnswer::new(half) };
    let v1 = now(RawOrigin::start(vec![RawAnswer::new(half), closes, RawAnswer::new("")])).unwrap();
    let versions = format!("versions: {{ v1: {{ endpoints: ['{}'], ejection: off }} }}", v1.address());
    site.place.write(&format!(
        "access_log: {{ to: '{}' }}\ntimeouts: {{ first_byte: 300ms, response: 300ms }}\n{}  shop: {{ retries: off, {versions} }}\n",
        site.log().display(),
        site.place.head(),
    ));
    let server = site.place.serve();
    for (path, status, class, why) in [
        ("/silent", 200, "timeout", "the response fell silent"),
        ("/closed", 200, "reset", "the service ended the connection before the end of its response"),
        ("/hung", 504, "timeout", "no response head in time"),
    ] {
        assert_eq!(get(server.address, path), status, "{path}");
        let line = line_of(&site.log(), path);
        assert_eq!((&line["event.outcome"], &line["tidegate.class"]), (&"failure".into(), &class.into()), "{line}");
        assert!(line["error.message"].as_str().is_some_and(|said| said.contains(why)), "{line}");
    }
    server.stop();
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew_on_usr1() {
    let site = Site::new();
    let server = site.serve(&format!("{{ to: '{}' }}", site.log().display()));
    let moved = site.log().with_file_name("access.log.1");
    assert_eq!(get(server.address, "/before"), 200);
    line_of(&site.log(), "/before");

    fs::rename(site.log(), &moved).unwrap();
    assert_eq!(get(server.address, "/moved"), 200);
    line_of(&moved, "/moved");
    server.process.signal(Signal::Usr1);
    until_true("a new file", || site.log().exists());
    assert_eq!(get(server.address, "/after"), 200);

    line_of(&site.log(), "/after");
    assert_eq!(lines(&site.log()).len(), 1);
    assert_eq!(lines(&moved).len(), 2);
    server.stop();
}

#[test]
fn usr1_does_no_harm_where_nothing_is_logged() {
    let site = Site::new();
    site.place.write(&configuration(&site.place, &site.v1, &site.v2, PLAN));
    let mut server = site.place.serve();
    server.process.signal(Signal::Usr1);
    assert_eq!(server.answers(20)("v1"), 20);
    assert!(server.process.is_running());
    server.stop();
}

#[test]
fn failed_requests_are_logged_whatever_the_share() {
    let site = Site::new();
    let server = site.serve(&format!("{{ to: '{}', sample: 0% }}", site.log().display()));
    for _ in 0..20 {
        assert_eq!(get(server.address, "/good"), 200);
    }
    site.v1.dial().set_errors(Fraction::new(1.0).unwrap());
    assert_eq!(get(server.address, "/bad"), 500);
    let line = line_of(&site.log(), "/bad");
    assert_eq!((&line["event.outcome"], &line["tidegate.class"]), (&"failure".into(), &"5xx".into()), "{line}");
    assert_eq!(lines(&site.log()).len(), 1);
    server.stop();
}

#[test]
fn standard_output_has_the_lines_and_the_last_ones_are_there_at_the_end() {
    let site = Site::new();
    let server = site.serve("{ to: stdout }");
    assert_eq!(get(server.address, "/printed"), 200);
    server.process.has_printed("\"url.path\":\"/printed\"");
    assert_eq!(get(server.address, "/last"), 200);
    server.process.signal(Signal::Term);
    let end = server.process.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    let lines: Vec<Value> = end.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{end:?}");
}

#[test]
fn a_reader_that_does_not_read_stalls_no_request_and_what_is_dropped_is_counted() {
    let site = Site::new();
    site.write("{ to: stdout }");
    let mut command = site.place.command();
    // A pipe that nobody reads; the test holds its other end.
    let (held, pipe) = std::io::pipe().unwrap();
    command.stdout(Stdio::from(pipe));
    let server = Server::of(Process::start_as_is(command));
    // Long lines, so that what may wait is soon used up.
    let path = format!("/{}?{}", "p".repeat(2_000), "q".repeat(2_000));
    let load = || Load { length: Length::Count(1_000), path: path.clone(), ..server.load(2_000.0) };
    until_true("dropped lines", || {
        let report = load().start().unwrap().wait();
        assert_eq!((loadtest::failures(&report), report.answered), (0, 1_000), "{report}");
        dropped(&server) > 0
    });
    assert_eq!(get(server.address, "/"), 200);
    // It does not wait for that reader at its end either.
    server.stop();
    drop(held);
}

#[test]
fn a_reload_moves_the_log_and_one_that_cannot_be_written_is_refused() {
    let site = Site::new();
    let mut server = site.serve(&format!("{{ to: '{}' }}", site.log().display()));
    let other = site.log().with_file_name("other.log");
    site.write(&format!("{{ to: '{}' }}", other.display()));
    server.process.signal(Signal::Hup);
    server.process.has_said("configuration reloaded");
    assert_eq!(get(server.address, "/moved"), 200);
    line_of(&other, "/moved");
    assert_eq!(lines(&site.log()).len(), 0);

    let missing = site.log().with_file_name("no-such-folder").join("access.log");
    site.write(&format!("{{ to: '{}' }}", missing.display()));
    let refused = server.tidegate(&["reload"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("access_log: cannot write to") && refused.err.contains("no folder"), "{refused:?}");
    assert_eq!(get(server.address, "/still"), 200);
    line_of(&other, "/still");
    server.stop();
    let end = Process::start(site.place.command()).end();
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(end.err.contains("access_log: cannot write to"), "{end:?}");
}

/// Some of the lines are the library's, and are made of bytes that anybody may have sent.
#[test]
fn the_finest_log_may_be_asked_for_whatever_an_endpoint_says() {
    let answer = RawAnswer::new(&b"HTTP/1.1 200 \xe4\r\nx-a: \xe4\xff\r\ncontent-length: 2\r\n\r\nok"[..]);
    let v1 = now(RawOrigin::start(vec![answer])).unwrap();
    let place = Place::new();
    place.write(&(place.head() + &shop("v1", &[("v1", &[v1.address()])], "{ gates: [] }")));
    let mut command = place.command();
    command.env("TIDEGATE_LOG", "trace");
    let server = Server::start(command);
    for request in ["GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\ncontent-length: 0\r\n"] {
        let mut client = TcpStream::connect(server.address).unwrap();
        client.write_all(format!("{request}host: shop\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert!(answer.ends_with(b"ok"), "{request}: {:?}", String::from_utf8_lossy(&answer));
    }
}
