//! Bodies larger than the memory that they may cost.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::patience::until_true;
use crate::shop::{Place, shop};

const MIB: usize = 1024 * 1024;
/// The size of each body.
const WHOLE: usize = 256 * MIB;
/// What the process may have more than at its beginning while such a body passes.
const ALLOWED: usize = 48 * MIB;

/// An origin that takes a body of any size and then sends one of `WHOLE` bytes, on each connection once.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            drop(thread::spawn(move || exchange(stream)));
        }
    }));
    address
}

fn exchange(mut stream: TcpStream) {
    let Some((head, already)) = head_of(&mut stream) else { return };
    let length = length_in(&head);
    // Ends where the client gave up.
    if take(&mut stream, length - already).is_err() {
        return;
    }
    if write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {WHOLE}\r\n\r\n").is_ok() {
        let _ = give(&mut stream, WHOLE);
    }
}

/// A head, and how many bytes of the body came with it.
fn head_of(stream: &mut TcpStream) -> Option<(String, usize)> {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        seen.extend_from_slice(&buffer[..count]);
        if let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
            let already = seen.len() - end - 4;
            return Some((String::from_utf8_lossy(&seen[..end]).to_lowercase(), already));
        }
    }
}

fn length_in(head: &str) -> usize {
    head.lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.trim().parse().unwrap())
}

fn give(stream: &mut TcpStream, mut length: usize) -> std::io::Result<()> {
    let piece = vec![b'x'; MIB];
    while length > 0 {
        let count = length.min(piece.len());
        stream.write_all(&piece[..count])?;
        length -= count;
    }
    Ok(())
}

fn take(stream: &mut TcpStream, length: usize) -> std::io::Result<u64> {
    std::io::copy(&mut stream.take(length as u64), &mut std::io::sink())
}

/// The memory of a process in bytes, and the most that it ever had.
fn memory(process: u32) -> (usize, usize) {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let of = |name: &str| -> usize {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    };
    (of("VmRSS:"), of("VmHWM:"))
}

fn place() -> Place {
    let place = Place::new();
    place.write(&(place.head() + &shop("v1", &[("v1", &[origin()])], "{}")));
    place
}

#[test]
fn a_body_of_a_quarter_of_a_gigabyte_passes_each_way_in_little_memory() {
    let server = place().serve();
    let (before, _) = memory(server.process.id());
    let mut stream = TcpStream::connect(server.address).unwrap();
    write!(stream, "POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: {WHOLE}\r\n\r\n").unwrap();
    give(&mut stream, WHOLE).unwrap();
    let (head, already) = head_of(&mut stream).unwrap();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(length_in(&head), WHOLE);
    assert_eq!(take(&mut stream, WHOLE - already).unwrap(), (WHOLE - already) as u64);
    let (_, most) = memory(server.process.id());
    assert!(most < before + ALLOWED, "{} MiB more than the {} MiB before", (most - before) / MIB, before / MIB);
    server.stop();
}

#[test]
fn what_a_client_does_not_take_is_left_with_the_origin() {
    let server = place().serve();
    let (before, _) = memory(server.process.id());
    // Eight clients that ask for two gigabytes together, and read nothing but the head.
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            write!(stream, "GET / HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
            assert!(head_of(&mut stream).is_some());
            stream
        })
        .collect();
    // No more comes in: its memory stays as it is for a while.
    let mut last = 0;
    let mut same = 0;
    until_true("memory that no longer grows", || {
        let (now, _) = memory(server.process.id());
        same = if now == last { same + 1 } else { 0 };
        last = now;
        same >= 20
    });
    let (_, most) = memory(server.process.id());
    assert!(most < before + ALLOWED, "{} MiB more than the {} MiB before", (most - before) / MIB, before / MIB);
    drop(clients);
    server.process.kill();
}
