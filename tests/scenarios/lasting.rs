//! What lasts on a version that left, under 500 requests a second of others: once the plan's `drain` is over it ends in a way
//! that its client comes again, and finds stable.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;

use loadtest::{RunningLoad, failures};
use tonic::Code;

use crate::grpc::origin::{Client, GrpcOrigin, words};
use crate::patience::{LONG, until_true};
use crate::shop::{Place, Server, Shop};

const PLAN: &str = "{ drain: 1s }";

/// A client as a browser's `EventSource`: it reads events until the stream breaks, and connects again.
struct EventSource {
    response: BufReader<TcpStream>,
    /// Who answers.
    version: String,
    /// The number of the last event.
    last: String,
}

impl EventSource {
    /// Connects; `last`: what it heard before, where it did.
    fn open(address: SocketAddr, last: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let last = last.map(|last| format!("last-event-id: {last}\r\n")).unwrap_or_default();
        let head = format!("GET /sse HTTP/1.1\r\nhost: shop\r\naccept: text/event-stream\r\n{last}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let (mut response, mut version) = (BufReader::new(stream), None);
        loop {
            let mut line = String::new();
            assert!(response.read_line(&mut line).unwrap() > 0, "there is a head");
            let line = line.trim_end().to_lowercase();
            if line.is_empty() {
                break;
            }
            version = line.strip_prefix("x-version: ").map(ToOwned::to_owned).or(version);
        }
        Self { response, version: version.unwrap(), last: String::new() }
    }

    /// Hears one more event. False where the stream broke: no last chunk says that it is whole.
    fn hears(&mut self) -> bool {
        let mut line = String::new();
        loop {
            line.clear();
            if self.response.read_line(&mut line).unwrap_or(0) == 0 {
                return false;
            }
            assert_ne!(line.trim_end(), "0", "what is cut looks like a stream that has ended");
            if let Some(number) = line.trim_end().strip_prefix("id: ") {
                number.clone_into(&mut self.last);
            }
            if line.starts_with("data: ") {
                return true;
            }
        }
    }
}

/// All of the traffic goes to v2, or none.
fn weigh(server: &Server, weight: u16) {
    assert_eq!(server.admin.set_weight("shop", "v2", weight).status, 200);
}

/// Others who use the shop meanwhile.
fn others(server: &Server) -> RunningLoad {
    let load = server.load(500.0).start().unwrap();
    until_true("traffic", || load.live().answered > 100);
    load
}

/// How many of a version were ended.
fn ended(server: &Server, version: &str) -> u64 {
    server.admin.counted("tidegate_long_lived_ended_total", &[("service", "shop"), ("version", version)])
}

#[test]
fn an_event_source_on_a_version_that_left_is_cut_when_its_time_is_over_and_comes_again_to_stable() {
    let shop = Shop::open(PLAN);
    let load = others(&shop.server);
    let mut on_stable = EventSource::open(shop.server.address, None);
    weigh(&shop.server, 10_000);
    let mut on_canary = EventSource::open(shop.server.address, None);
    assert_eq!((on_stable.version.as_str(), on_canary.version.as_str()), ("v1", "v2"));
    assert!(on_canary.hears());

    weigh(&shop.server, 0);

    // It goes on for as long as the plan lets it.
    assert!(on_canary.hears());
    // An event each 100 ms: half a minute of them.
    assert!((0..300).any(|_| !on_canary.hears()), "nobody ended it");
    let mut again = EventSource::open(shop.server.address, Some(&on_canary.last));
    assert_eq!(again.version, "v1");
    assert!(again.hears() && on_stable.hears(), "what is on stable goes on");
    until_true("the cut to be counted", || ended(&shop.server, "v2") == 1);
    assert_eq!(ended(&shop.server, "v1"), 0);
    let service = shop.admin().service("shop");
    let failed: u64 = service.versions.iter().map(|version| version.failed).sum();
    assert_eq!(failed, 0, "nobody is charged with it: {service:?}");
    drop((again, on_stable));
    let report = load.stop();
    assert_eq!((failures(&report), report.not_sent), (0, 0), "{report}");
    shop.server.stop();
}

/// A shop whose versions speak gRPC.
fn serve_grpc(v1: &GrpcOrigin, v2: &GrpcOrigin) -> (Server, Place) {
    let place = Place::new();
    let version = |name, at: &GrpcOrigin| format!("      {name}: {{ endpoints: ['{}'], protocol: h2c }}\n", at.address);
    let (v1, v2) = (version("v1", v1), version("v2", v2));
    place.write(&format!("{}  shop:\n    stable: v1\n    versions:\n{v1}{v2}    plan: {PLAN}\n", place.head()));
    (place.serve(), place)
}

/// What a server streams to a client, told as it comes: each reply, and the status that it ended with.
fn streamed(
    runtime: &tokio::runtime::Runtime,
    client: &Client,
) -> mpsc::Receiver<Result<String, Option<(Code, String)>>> {
    let (tell, told) = mpsc::channel();
    let mut client = client.clone();
    runtime.spawn(async move {
        // A first reply, and then nothing: the server keeps it open.
        let mut replies = client.count(words("hang")).await.unwrap();
        loop {
            let said = match replies.message().await {
                Ok(Some(reply)) => Ok(reply.text),
                Ok(None) => Err(None),
                Err(status) => Err(Some((status.code(), status.message().to_owned()))),
            };
            let is_over = said.is_err();
            if tell.send(said).is_err() || is_over {
                return;
            }
        }
    });
    told
}

#[test]
fn a_stream_of_a_grpc_server_on_a_version_that_left_ends_as_unavailable_and_its_client_finds_stable() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let [v1, v2] = ["v1", "v2"].map(|name| runtime.block_on(GrpcOrigin::start(name)));
    let (server, _place) = serve_grpc(&v1, &v2);
    // All streams of this client are on one connection.
    let client = {
        let _here = runtime.enter();
        Client::to(server.address)
    };
    let heard = |told: &mpsc::Receiver<_>| told.recv_timeout(LONG).unwrap();
    let on_stable = streamed(&runtime, &client);
    assert_eq!(heard(&on_stable), Ok("v1: begin".to_owned()));
    weigh(&server, 10_000);
    let on_canary = streamed(&runtime, &client);
    assert_eq!(heard(&on_canary), Ok("v2: begin".to_owned()));
    // Others call meanwhile, at no fixed rate: each as soon as it was answered.
    let (ends, ended_by) = mpsc::channel::<()>();
    let (caller, handle) = (client.clone(), runtime.handle().clone());
    let calls = thread::spawn(move || {
        let mut calls = 0_u64;
        while ended_by.try_recv() == Err(mpsc::TryRecvError::Empty) {
            let together = (0..8).map(|_| {
                let mut caller = caller.clone();
                async move { caller.say(words("hello")).await }
            });
            for answer in handle.block_on(futures::future::join_all(together)) {
                answer.unwrap();
                calls += 1;
            }
        }
        calls
    });

    weigh(&server, 0);

    let Err(Some((code, _))) = heard(&on_canary) else { panic!("the stream ended without a status") };
    assert_eq!(code, Code::Unavailable, "its client may try again");
    let again = streamed(&runtime, &client);
    assert_eq!(heard(&again), Ok("v1: begin".to_owned()));
    assert_eq!(on_stable.try_recv(), Err(mpsc::TryRecvError::Empty), "the other stream of its connection goes on");
    until_true("the end to be counted", || ended(&server, "v2") == 1);
    assert_eq!(ended(&server, "v1"), 0);
    drop(ends);
    assert!(calls.join().unwrap() > 100, "others were served meanwhile, all of them");
    drop((on_stable, again, client));
    drop(runtime);
    server.stop();
}
