//! Who gets which version, with a real client: routes, cookies, and versions that are asked for.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use control::view::Phase;
use loadtest::{Fraction, Origin};

use crate::connection::KeptConnection;
use crate::patience::until_true;
use crate::process::Signal;
use crate::shop::{Place, Server, origin};

const PLAN: &str = "{ steps: [{ weight: 5%, hold: 10m }] }";

/// What curl got: the response's head and body.
#[derive(Debug)]
pub(crate) struct Answer {
    text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let pairs = self.text.lines().filter_map(|line| line.split_once(": "));
        pairs.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    pub(crate) fn status(&self) -> u16 {
        self.text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn version(&self) -> &str {
        self.header("tidegate-version").unwrap_or("none")
    }
}

/// Asks with curl.
pub(crate) fn curl(server: &Server, arguments: &[&str]) -> Answer {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--include", "--max-time", "20"]).args(arguments);
    if !arguments.iter().any(|argument| argument.contains("://")) {
        command.arg(format!("http://{}/", server.address));
    }
    let out = command.output().unwrap();
    assert!(out.status.success(), "{arguments:?}: {out:?}");
    Answer { text: String::from_utf8(out.stdout).unwrap() }
}

/// Two versions and these further lines.
fn shop_with(place: &Place, v1: &Origin, v2: &Origin, more: &str) -> Server {
    let (v1, v2) = (v1.address(), v2.address());
    place.write(&format!(
        "{}  shop:\n    stable: v1\n    versions:\n      v1: {{ endpoints: ['{v1}'] }}\n      v2: {{ endpoints: ['{v2}'] }}\n    plan: {PLAN}\n{more}\n",
        place.head()
    ));
    place.serve()
}

#[test]
fn hosts_wildcards_methods_and_headers_lead_where_the_file_says() {
    let (place, names) = (Place::new(), ["every", "exact", "below", "deep", "post", "beta"]);
    let origins = names.map(origin);
    let keys = [
        "",
        "hosts: [shop.example.com], ",
        "hosts: ['*.example.com'], ",
        "hosts: ['*.eu.example.com'], path: /eu, ",
        "hosts: [shop.example.com], methods: [POST], ",
        "hosts: [shop.example.com], headers: { x-beta: '1' }, ",
    ];
    let services: String = (names.iter().zip(&origins).zip(keys))
        .map(|((name, origin), keys)| {
            format!("  {name}: {{ {keys}versions: {{ {name}: {{ endpoints: ['{}'] }} }} }}\n", origin.address())
        })
        .collect();
    place.write(&(place.head() + &services));
    let server = place.serve();
    let served = |host: &str, path: &str, more: &[&str]| {
        let (host, url) = (format!("host: {host}"), format!("http://{}{path}", server.address));
        curl(&server, &[&["-H", &host, &url], more].concat()).version().to_owned()
    };

    assert_eq!(served("shop.example.com", "/", &[]), "exact");
    assert_eq!(served("SHOP.Example.com.:8080", "/", &[]), "exact");
    assert_eq!(served("shop.example.com", "/", &["-X", "POST"]), "post");
    assert_eq!(served("shop.example.com", "/", &["-H", "x-beta: 1"]), "beta");
    assert_eq!(served("shop.example.com", "/", &["-H", "x-beta: 2"]), "exact");
    assert_eq!(served("www.example.com", "/", &[]), "below");
    assert_eq!(served("a.eu.example.com", "/eu/x", &[]), "deep");
    assert_eq!(served("a.eu.example.com", "/europe", &[]), "below", "a less specific host");
    assert_eq!(served("example.com", "/", &[]), "every");
    assert_eq!(served("[::1]:80", "/", &[]), "every");
    server.stop();
}

#[test]
fn a_browser_with_our_cookie_keeps_its_version_while_the_weight_grows_and_returns_when_it_is_nothing() {
    let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
    let server = shop_with(&place, &v1, &v2, "    affinity: { cookie: tidegate, issue: true }");
    assert_eq!(server.admin.set_weight("shop", "v2", 3_000).status, 200);
    let mut browsers: Vec<(String, bool)> = (0..12)
        .map(|number| {
            let jar = place.file().with_file_name(format!("jar-{number}")).to_str().unwrap().to_owned();
            let first = curl(&server, &["--cookie-jar", &jar]);
            let cookie = first.header("set-cookie").unwrap();
            let (value, attributes) = cookie.split_once("; ").unwrap();
            assert_eq!(value.len(), "tidegate=".len() + 32, "{cookie}");
            assert_eq!(attributes, "Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax");
            (jar, first.version() == "v2")
        })
        .collect();
    for weight in [3_000, 6_000, 9_000, 10_000, 0] {
        assert_eq!(server.admin.set_weight("shop", "v2", weight).status, 200);
        for (jar, on_canary) in &mut browsers {
            let answer = curl(&server, &["--cookie", jar, "--cookie-jar", jar]);
            assert_eq!(answer.header("set-cookie"), None, "{answer:?}");
            let now = answer.version() == "v2";
            assert!(now || !*on_canary || weight == 0, "{jar} left the canary as it grew to {weight}");
            *on_canary = now;
        }
        assert!(!matches!(weight, 0 | 10_000) || browsers.iter().all(|(_, now)| *now == (weight == 10_000)));
    }
    server.stop();
}

#[test]
fn a_user_of_the_canary_is_on_stable_with_the_next_request_after_a_rollback_on_the_same_connection() {
    let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
    let server = shop_with(&place, &v1, &v2, "    affinity: { cookie: tidegate, issue: true }");
    assert_eq!(server.admin.start("shop", "v2").status, 201);
    assert_eq!(server.admin.set_weight("shop", "v2", 5_000).status, 200);
    let cookie = (0..100).find_map(|_| {
        let answer = curl(&server, &[]);
        let cookie = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next());
        cookie.filter(|_| answer.version() == "v2").map(|cookie| format!("cookie: {cookie}\r\n"))
    });
    let cookie = cookie.expect("one of a hundred browsers is on the canary");
    let mut user = KeptConnection::open(server.address);
    assert_eq!([user.version_with(&cookie), user.version_with(&cookie)], ["v2", "v2"]);

    let load = server.load(300.0).start().unwrap();
    v2.dial().set_errors(Fraction::ONE);
    server.admin.until_phase("shop", Phase::RolledBack);

    assert_eq!([user.version_with(&cookie), user.version_with(&cookie)], ["v1", "v1"]);
    let report = load.stop();
    assert!(report.answered > 0, "{report}");
    server.stop();
}

#[test]
fn who_may_ask_gets_the_version_it_asks_for_and_leaves_the_gates_alone() {
    let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
    let more = "    canary: v2\n    weight: 0%\n    forced: { header: x-version, cookie: version, from: [127.0.0.1] }";
    let server = shop_with(&place, &v1, &v2, more);
    let ask = |arguments: &[&str]| curl(&server, arguments).version().to_owned();

    assert_eq!(ask(&["-H", "x-version: always"]), "v2", "before any rollout");
    assert_eq!(ask(&["-H", "cookie: a=b; version=v2"]), "v2");
    assert_eq!(ask(&["-H", "x-version: never", "-H", "cookie: version=v2"]), "v1", "the header goes first");
    assert_eq!(ask(&["-H", "x-version: v9", "-H", "cookie: version=v2"]), "v2", "what means nothing is passed over");
    assert_eq!(ask(&[]), "v1");

    // When a rollout runs, and people look at the canary.
    assert_eq!(server.admin.start("shop", "v2").status, 201);
    for _ in 0..30 {
        assert_eq!(ask(&["-H", "x-version: always"]), "v2");
    }
    until_true("that they are counted", || {
        let metrics = curl(&server, &[&format!("{}/metrics", server.admin.url())]).text;
        let counter = "tidegate_attempts_total{service=\"shop\",version=\"v2\",kind=\"first\",class=\"2xx\"} ";
        let counted = metrics.lines().find_map(|line| line.strip_prefix(counter)?.trim().parse::<u64>().ok());
        counted.is_some_and(|counted| counted >= 30)
    });
    let rollout = server.admin.rollout("shop");
    assert_eq!(rollout.requests.canary, 0, "counted, and nothing to judge: {rollout:?}");

    // When it was taken back.
    assert_eq!(server.admin.act("shop", "abort").status, 200);
    assert_eq!(ask(&["-H", "x-version: always"]), "v1", "there is no canary");
    assert_eq!(ask(&["-H", "x-version: v2"]), "v2", "somebody looks what was wrong");
    server.stop();
}

#[test]
fn from_elsewhere_a_version_is_refused_to_whoever_lacks_the_secret() {
    let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
    let secret = place.file().with_file_name("secret");
    fs::write(&secret, "# for testers\nopen-sesame\n").unwrap();
    let more = |file: &Path| {
        format!("    forced: {{ header: tidegate-version, from: [192.0.2.0/24], secret: '{}' }}", file.display())
    };
    let server = shop_with(&place, &v1, &v2, &more(&secret));
    let ask = |server: &Server, secret: &str| {
        let header = format!("tidegate-secret: {secret}");
        curl(server, &["-H", "tidegate-version: v2", "-H", &header]).version().to_owned()
    };

    assert_eq!(curl(&server, &["-H", "tidegate-version: v2"]).version(), "v1");
    assert_eq!((ask(&server, "open-sesame"), ask(&server, "open-sesam")), ("v2".to_owned(), "v1".to_owned()));

    // A reload takes the new secret, and one without a secret changes nothing.
    fs::write(&secret, "another\n").unwrap();
    assert_eq!(server.tidegate(&["reload"]).code, Some(0));
    assert_eq!((ask(&server, "open-sesame"), ask(&server, "another")), ("v1".to_owned(), "v2".to_owned()));
    fs::write(&secret, "# nothing\n").unwrap();
    let refused = server.tidegate(&["reload"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("forced.secret") && refused.err.contains("holds no secret"));
    assert_eq!(ask(&server, "another"), "v2");
    server.process.signal(Signal::Term);
    let end = server.process.end();
    assert_eq!(end.code, Some(0));
    assert!(!end.err.contains("sesame") && !end.err.contains("another"), "no secret is logged: {end:?}");
}

#[test]
fn without_a_service_for_a_method_there_is_nothing_here() {
    let (v1, place) = (origin("v1"), Place::new());
    let service = format!("  s: {{ methods: [GET], versions: {{ v1: {{ endpoints: ['{}'] }} }} }}\n", v1.address());
    place.write(&(place.head() + &service));
    let server = place.serve();
    let refused = curl(&server, &["-X", "POST"]);
    assert_eq!((refused.status(), refused.header("allow")), (404, None), "{refused:?}");
    assert_eq!(curl(&server, &[]).status(), 200);
    server.stop();
}

#[test]
fn our_cookie_is_for_https_alone_on_a_listener_with_tls_and_behind_a_trusted_hop_that_has_it() {
    let (v1, place) = (origin("v1"), Place::new());
    let (cert, key) = (place.file().with_file_name("shop.pem"), place.file().with_file_name("shop.key"));
    let made = rcgen::generate_simple_self_signed(["shop.example.com".to_owned()]).unwrap();
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = format!(
        "{{ address: '127.0.0.1:0', tls: {{ certificates: [{{ cert: '{}', key: '{}' }}] }} }}",
        cert.display(),
        key.display()
    );
    let head = place.head().replace("listeners: [", "trusted: ['127.0.0.1']\nlisteners: [");
    let head = head.replace("{ address: '127.0.0.1:0' }]", &format!("{{ address: '127.0.0.1:0' }}, {tls}]"));
    let service = format!(
        "  shop: {{ affinity: {{ cookie: tidegate, issue: true }}, versions: {{ v1: {{ endpoints: ['{}'] }} }} }}\n",
        v1.address()
    );
    place.write(&(head + &service));
    let mut server = place.serve();
    let plain = server.address.to_string();
    let secure: SocketAddr = server.process.said("where it serves TLS", |line| {
        line.split_once("serving address=")?.1.split_whitespace().next().filter(|at| *at != plain)?.parse().ok()
    });
    let is_secure = |arguments: &[&str]| curl(&server, arguments).header("set-cookie").unwrap().ends_with("; Secure");

    assert!(is_secure(&["--insecure", &format!("https://{secure}/")]));
    assert!(is_secure(&["-H", "x-forwarded-proto: https"]), "a trusted hop has it by HTTPS");
    assert!(!is_secure(&[]));
    server.stop();
}
