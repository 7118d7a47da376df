//! A small DNS server that says what it is told to say, by UDP and by TCP. It writes its bytes by itself, so that whoever
//! is tested with it shares none of its mistakes.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

/// How often its threads look whether it is over.
const LOOK: Duration = Duration::from_millis(20);
/// Ports that are tried until one is free for both UDP and TCP.
const TRIES: u32 = 100;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// What is said of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It has these addresses, for so many seconds. None: it exists, and has no address.
    Addresses(Vec<IpAddr>, u32),
    /// The same, which does not fit into a datagram: who asks by TCP is told.
    Truncated(Vec<IpAddr>, u32),
    /// It is an alias of the first of these names, that of the next, and the last one has these addresses: all in one
    /// answer.
    Chain(Vec<String>, Vec<IpAddr>, u32),
    /// It is an alias of this name, and no more is said.
    Alias(String, u32),
    /// There is no such name.
    NoSuchName,
    /// The first where addresses of IPv4 are asked for, the second where those of IPv6 are.
    Either(Box<Self>, Box<Self>),
    /// The server cannot or will not say: this code (2 is SERVFAIL, 5 is REFUSED).
    Code(u8),
    /// These bytes behind the number of the question.
    Nonsense(Vec<u8>),
    /// Nothing at all.
    Silence,
}

#[derive(Debug, Default)]
struct Told {
    replies: HashMap<String, Reply>,
    /// Questions for addresses of IPv4, by name.
    asked: HashMap<String, u64>,
    by_tcp: u64,
    is_over: bool,
}

/// A DNS server on 127.0.0.1. It knows no name at first. Dropping it ends it: its port refuses from then on.
#[derive(Debug)]
pub struct Nameserver {
    told: Arc<Mutex<Told>>,
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

impl Nameserver {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// Where the system has no port or thread left.
    pub fn start() -> io::Result<Self> {
        Self::at(0)
    }

    /// Starts one on this port; 0 picks a free one.
    ///
    /// # Errors
    /// Where the port is taken, or the system has no thread left.
    pub fn at(port: u16) -> io::Result<Self> {
        let (udp, tcp) = sockets(port)?;
        udp.set_read_timeout(Some(LOOK))?;
        tcp.set_nonblocking(true)?;
        let (address, told) = (udp.local_addr()?, Arc::new(Mutex::new(Told::default())));
        let (of_udp, of_tcp) = (Arc::clone(&told), Arc::clone(&told));
        let threads = vec![
            thread::Builder::new().name("nameserver-udp".to_owned()).spawn(move || serve_udp(&udp, &of_udp))?,
            thread::Builder::new().name("nameserver-tcp".to_owned()).spawn(move || serve_tcp(&tcp, &of_tcp))?,
        ];
        Ok(Self { told, address, threads })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this is said of a name (lower case, without a dot at its end).
    pub fn say(&self, name: &str, reply: Reply) {
        self.told.lock().replies.insert(name.to_owned(), reply);
    }

    /// How often somebody asked for the IPv4 addresses of a name, by either way.
    #[must_use]
    pub fn asked(&self, name: &str) -> u64 {
        self.told.lock().asked.get(name).copied().unwrap_or(0)
    }

    /// How often somebody asked by TCP.
    #[must_use]
    pub fn asked_by_tcp(&self) -> u64 {
        self.told.lock().by_tcp
    }
}

impl Drop for Nameserver {
    fn drop(&mut self) {
        self.told.lock().is_over = true;
        for thread in self.threads.drain(..) {
            // A panic there has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

/// One port, by both ways.
fn sockets(port: u16) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = 0;
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
        match TcpListener::bind(udp.local_addr()?) {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if port != 0 || tries == TRIES => return Err(error),
            Err(_) => tries += 1,
        }
    }
}

fn serve_udp(socket: &UdpSocket, told: &Mutex<Told>) {
    let mut buffer = [0; 4096];
    while !told.lock().is_over {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        if let Some(answer) = answer(&buffer[..length], told, false) {
            // Whoever asked may be gone.
            let _ = socket.send_to(&answer, from);
        }
    }
}

fn serve_tcp(listener: &TcpListener, told: &Mutex<Told>) {
    while !told.lock().is_over {
        match listener.accept() {
            // One that breaks off is its own affair.
            Ok((stream, _)) => drop(serve_one(stream, told)),
            Err(_) => thread::park_timeout(LOOK),
        }
    }
}

fn serve_one(mut stream: TcpStream, told: &Mutex<Told>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut question)?;
    told.lock().by_tcp += 1;
    if let Some(answer) = answer(&question, told, true) {
        let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
        stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat())?;
    }
    Ok(())
}

/// The answer to a question; none where nothing is said.
fn answer(question: &[u8], told: &Mutex<Told>, by_tcp: bool) -> Option<Vec<u8>> {
    let (name, kind, end) = asked(question)?;
    let reply = {
        let told = &mut *told.lock();
        if kind == A {
            *told.asked.entry(name.clone()).or_default() += 1;
        }
        match told.replies.get(&name) {
            Some(Reply::Either(four, six)) => Reply::clone(if kind == A { four } else { six }),
            reply => reply.cloned().unwrap_or(Reply::NoSuchName),
        }
    };
    let (mut records, mut code, mut is_cut) = (Vec::new(), 0, false);
    match reply {
        Reply::Addresses(addresses, ttl) => records = of_kind(&name, &addresses, kind, ttl),
        Reply::Truncated(addresses, ttl) if by_tcp => records = of_kind(&name, &addresses, kind, ttl),
        Reply::Truncated(..) => is_cut = true,
        Reply::Chain(aliases, addresses, ttl) => {
            let mut last = name;
            for alias in aliases {
                records.push(record(&last, CNAME, ttl, &wire(&alias)));
                last = alias;
            }
            records.extend(of_kind(&last, &addresses, kind, ttl));
        }
        Reply::Alias(alias, ttl) => records.push(record(&name, CNAME, ttl, &wire(&alias))),
        // One within the other is none.
        Reply::NoSuchName | Reply::Either(..) => code = 3,
        Reply::Code(other) => code = other,
        Reply::Nonsense(bytes) => return Some([&question[..2], bytes.as_slice()].concat()),
        Reply::Silence => return None,
    }
    let count = u16::try_from(records.len()).ok()?.to_be_bytes();
    // A response, with recursion wished for and to be had.
    let flags = [0x81 | if is_cut { 0x02 } else { 0 }, 0x80 | code];
    let head = [&question[..2], &flags, &[0, 1], &count, &[0, 0, 0, 0]].concat();
    Some([head, question[12..end].to_vec(), records.concat()].concat())
}

/// The name in lower case, the kind of records, and where the question ends.
fn asked(question: &[u8]) -> Option<(String, u16, usize)> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*question.get(at)?, *question.get(at + 1)?]);
    (question.len() >= at + 4).then(|| (labels.join("."), kind, at + 4))
}

fn of_kind(name: &str, addresses: &[IpAddr], kind: u16, ttl: u32) -> Vec<Vec<u8>> {
    let data = addresses.iter().filter_map(|address| match address {
        IpAddr::V4(address) => (kind == A).then(|| address.octets().to_vec()),
        IpAddr::V6(address) => (kind == AAAA).then(|| address.octets().to_vec()),
    });
    data.map(|data| record(name, kind, ttl, &data)).collect()
}

fn record(name: &str, kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    [&wire(name), &kind.to_be_bytes()[..], &[0, 1], &ttl.to_be_bytes(), &length.to_be_bytes(), data].concat()
}

/// A name as it is sent.
fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| {
        let length = u8::try_from(label.len()).unwrap_or(63);
        std::iter::once(length).chain(label.bytes())
    });
    labels.chain([0]).collect()
}
