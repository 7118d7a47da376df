//! What it costs a request to be told of: the headers that an origin gets, its trace, and its line in the access log.
//! Allocations are shown beside the times. Run with `cargo bench -p proxy --bench seen`.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has failed")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use config::Rules;
use divan::{AllocProfiler, Bencher, black_box};
use http::request::Parts;
use pingora_http::RequestHeader;
use proxy::access_log::Line;
use proxy::connection::Connection;
use proxy::forwarded;
use proxy::told::Told;
use proxy::trace::Trace;

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// A browser's request, with room for a few more headers as a clone for an attempt has it.
fn request() -> RequestHeader {
    let mut request = RequestHeader::build_no_case("GET", b"/cart?id=7", None).unwrap();
    for (name, value) in [
        ("Host", "shop.example.com"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("Accept-Language", "en-US,en;q=0.5"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Cookie", "session=0123456789abcdef"),
        ("Sec-Fetch-Mode", "navigate"),
    ] {
        request.append_header(name, value).unwrap();
    }
    request
}

#[expect(clippy::disallowed_methods, reason = "connections begin their lives now")]
fn connection(peer: [u8; 4]) -> Connection {
    let peer = Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(peer)), 4711));
    let (listener, ends) = (Arc::new(config::Listener::DEFAULT), Instant::now());
    Connection { peer, announced: None, listener, secure: true, server_name: None, tls: None, ends }
}

fn rules() -> Rules {
    Rules { trusted: vec!["10.0.0.0/8".parse().unwrap()], ..Rules::default() }
}

/// From a stranger.
#[divan::bench]
fn to_origin(bencher: Bencher<'_, '_>) {
    let (rules, connection, request) = (rules(), connection([203, 0, 113, 9]), Parts::from(request()));
    bencher.with_inputs(|| request.clone()).bench_local_refs(|request| {
        let mut told = Told::nothing();
        forwarded::to_origin(&mut told, request, Some(&connection), None, &rules, None);
        told
    });
}

/// Behind two trusted hops.
#[divan::bench]
fn to_origin_behind_hops(bencher: Bencher<'_, '_>) {
    let (rules, connection, mut request) = (rules(), connection([10, 0, 0, 1]), request());
    request.insert_header("X-Forwarded-For", "203.0.113.9, 10.0.0.2").unwrap();
    request.insert_header("X-Forwarded-Proto", "https").unwrap();
    let request = Parts::from(request);
    bencher.with_inputs(|| request.clone()).bench_local_refs(|request| {
        let mut told = Told::nothing();
        forwarded::to_origin(&mut told, request, Some(&connection), None, &rules, None);
        told
    });
}

#[divan::bench]
fn a_trace_that_begins(bencher: Bencher<'_, '_>) {
    let asked = request();
    let request = Parts::from(asked.clone());
    bencher.with_inputs(|| request.clone()).bench_local_refs(|request| {
        let mut told = Told::nothing();
        Trace::of(&asked).to_origin(&mut told, request);
        told
    });
}

fn line(request: &RequestHeader) -> Line<'_> {
    let mut line = Line::default();
    line.began = Duration::new(1_795_330_251, 731_042_000);
    line.lasted = Duration::from_micros(8_412);
    line.source = Some([10, 0, 0, 7].into());
    line.client = Some([203, 0, 113, 9].into());
    line.method = request.method.as_str();
    line.domain = "shop.example.com";
    line.path = request.uri.path();
    line.query = request.uri.query();
    line.http = Some("1.1");
    line.status = Some(200);
    line.response_bytes = 1_520;
    line.user_agent = request.headers.get("user-agent").map(|agent| agent.as_bytes());
    line.trace = Some(Trace::begin().id);
    line
}

/// As it is done: written where the request ends, into a buffer that is used again.
#[divan::bench]
fn a_line_is_written(bencher: Bencher<'_, '_>) {
    let request = request();
    let line = line(&request);
    let mut into = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        into.clear();
        black_box(&line).write(&mut into);
        into.len()
    });
}

/// As it is not done: what the line says is copied, and another thread would write it.
#[divan::bench]
fn its_facts_are_sent_instead(bencher: Bencher<'_, '_>) {
    let request = request();
    let line = line(&request);
    let (sender, receiver) = sync_channel(1024);
    bencher.bench_local(|| {
        let line = black_box(&line);
        let texts: Vec<Option<Vec<u8>>> = vec![
            Some(line.method.into()),
            Some(line.domain.into()),
            Some(line.path.into()),
            line.query.map(Into::into),
            line.user_agent.map(Into::into),
        ];
        let numbers = (line.began, line.lasted, line.source, line.client, line.status, line.response_bytes);
        let _ = sender.try_send((texts, numbers));
        // Its memory is given back elsewhere; here, so that the queue stays short.
        receiver.try_recv().is_ok()
    });
}
