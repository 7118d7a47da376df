//! Few file descriptors, and clients that want them all.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::hardening::{GET, head_of_http2, http2};
use crate::patience::{LONG, until_true};
use crate::process::tidegate_after;
use crate::shop::{Place, Server, origin};

/// What the process may have.
const DESCRIPTORS: usize = 512;
/// What one client may have under way: half of six eighths.
const OF_ONE_CLIENT: usize = 192;
/// Streams of an HTTP/2 connection.
const STREAMS: usize = 100;

/// An endpoint that takes every connection and says nothing.
struct Silent {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<TcpStream>>>,
}

impl Silent {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, taken) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<TcpStream>>>::default());
        let all = Arc::clone(&taken);
        drop(thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                all.lock().unwrap().push(stream);
            }
        }));
        Self { address, taken }
    }

    fn taken(&self) -> usize {
        self.taken.lock().unwrap().len()
    }
}

/// A client of this address, as the load balancer in front names it.
fn connect(server: &Server, client: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(format!("PROXY TCP4 {client} 192.0.2.99 1000 80\r\n").as_bytes()).unwrap();
    stream
}

/// So many connections of HTTP/2 with as many streams as they may have, to the endpoint that is silent.
fn flood(server: &Server, client: &str, connections: usize) -> Vec<TcpStream> {
    let head = head_of_http2(GET);
    let ids = (0..STREAMS).map(|place| u32::try_from(2 * place + 1).unwrap());
    let frames: Vec<(u8, u8, u32, &[u8])> = ids.map(|id| (1, 5, id, &head[..])).collect();
    let connect = |_| {
        let mut stream = connect(server, client);
        stream.write_all(&http2(&frames)).unwrap();
        stream
    };
    (0..connections).map(connect).collect()
}

/// What somebody else gets, on a connection of its own.
fn ask(server: &Server, client: &str, host: &str) -> String {
    let mut stream = connect(server, client);
    stream.write_all(format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.to_lowercase()
}

#[test]
fn clients_that_want_all_descriptors_keep_nobody_out_and_harm_no_endpoint() {
    let (silent, fast) = (Silent::start(), origin("ok"));
    let place = Place::new();
    let head = place.head().replacen("0' }]", "0', proxy_protocol: [127.0.0.0/8] }]", 1);
    let health = "health: { connect: true, interval: 200ms, unhealthy: 2 }";
    place.write(&format!(
        "timeouts: {{ first_byte: 30s }}\n{head}  shop:\n    hosts: [shop]\n    versions: {{ v1: {{ warm_start: 0, endpoints: ['{}'] }} }}\n  \
         fast:\n    hosts: [fast]\n    versions: {{ v1: {{ warm_start: 0, endpoints: ['{}'], {health} }} }}\n",
        silent.address,
        fast.address(),
    ));
    let mut command = tidegate_after(&format!("ulimit -n {DESCRIPTORS}"));
    command.arg("run").arg("-c").arg(place.file());
    let mut server = Server::start(command);

    // One client has its share, and hears so; others have theirs.
    let first = flood(&server, "192.0.2.1", 5);
    let refused = || server.admin.counted("tidegate_responses_total", &[("service", "-"), ("class", "local")]);
    let beyond = 5 * STREAMS - OF_ONE_CLIENT;
    until_true("what is too much to be refused", || refused() == beyond as u64);
    assert!(silent.taken() <= OF_ONE_CLIENT, "{}", silent.taken());
    assert!(ask(&server, "192.0.2.1", "fast").starts_with("http/1.1 429 "));
    let served = ask(&server, "192.0.2.2", "fast");
    assert!(served.starts_with("http/1.1 200 "), "{served}");
    server
        .process
        .has_said("192.0.2.1 has 192 under way, and one client may have no more (`limits.requests_per_client`");

    // Several have all that there is for connections to endpoints. Who needs another hears so at once.
    let others: Vec<_> = ["192.0.2.3", "192.0.2.4"].iter().flat_map(|client| flood(&server, client, 2)).collect();
    server.process.has_said("out of file descriptors or local ports");
    for _ in 0..20 {
        let answer = ask(&server, "192.0.2.2", "fast");
        let is_told = answer.starts_with("http/1.1 503 ") && answer.contains("\r\nretry-after: 1\r\n");
        // A connection that waits there may serve.
        assert!(is_told || answer.starts_with("http/1.1 200 "), "{answer}");
    }
    assert!(ask(&server, "192.0.2.2", "shop").starts_with("http/1.1 503 "));
    // Nothing of it is any endpoint's fault; health checks and the control API go on.
    let checks = || server.admin.counted("tidegate_health_checks_total", &[("service", "fast"), ("result", "passed")]);
    let before = checks();
    until_true("further health checks", || checks() >= before + 5);
    for service in ["shop", "fast"] {
        assert_eq!(server.admin.counted("tidegate_endpoint_healthy", &[("service", service)]), 1, "{service}");
        let failed = server.admin.service(service).versions.iter().map(|version| version.failed).sum::<u64>();
        assert_eq!(failed, 0, "{service}");
    }

    // It ends with those who did it, and both is said once.
    drop((first, others));
    until_true("everybody to be served", || ask(&server, "192.0.2.2", "fast").starts_with("http/1.1 200 "));
    server.process.has_said("there are file descriptors and local ports again");
    let said = server.process.errors();
    assert_eq!(said.matches("out of file descriptors").count(), 1, "{said}");
    assert!(!said.contains("takes no requests") && !said.contains("cannot accept"), "{said}");
    server.stop();
}
