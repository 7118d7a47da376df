//! What Tidegate's own work costs: CPU a request, beside a bare pass-through on the same pingora.
//!
//! ```text
//! cargo bench --bench overhead [-- --rounds 7 --seconds 4]
//! ```
//!
//! Closed loop, 64 keep-alive connections, small bodies. The two proxies take turns, round after round, on one core
//! (pinned where `taskset` is found); origin and load are on the other. What is counted is the user and system time of
//! the proxy's process a request: on a machine that others use, the ratio of neighbouring rounds says more than any
//! rate. Tidegate splits 90 to 10 over two versions, measures both, and judges a rollout that is under way.

#![expect(clippy::disallowed_methods, reason = "a measurement: it reads the clock and waits for real processes")]

#[path = "ground/pinned.rs"]
mod pinned;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use loadtest::{Origin, OriginOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::pinned::{Proxy, Turn, free_address, leave_first_core, on_core, say};

const CONNECTIONS: usize = 64;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: bench.example\r\nuser-agent: overhead\r\naccept: */*\r\n\r\n";

/// CPU a request of Tidegate beside that of a bare pass-through on pingora
#[derive(Debug, Parser)]
struct Arguments {
    /// How often the two take turns
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each turn is measured
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let pass_through = build_pass_through()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    leave_first_core();
    runtime.block_on(compare(&arguments, &pass_through))
}

async fn compare(arguments: &Arguments, pass_through: &Path) -> anyhow::Result<()> {
    let state = tempfile::tempdir()?;
    let v1 = Origin::start("v1", OriginOptions::default()).await?;
    let v2 = Origin::start("v2", OriginOptions::default()).await?;
    let mut pairs = Vec::new();
    say(&format!("{:>5} {:>16} {:>16} {:>8}", "round", "pass-through", "tidegate", "ratio"));
    for round in 1..=arguments.rounds {
        let (listen, admin) = (free_address()?, free_address()?);
        let bare = on_core(0, pass_through).args([listen.to_string(), v1.address().to_string()]).turn()?;
        let bare = measured(bare, listen, arguments.seconds).await.context("the pass-through")?;
        let (listen, file) = (free_address()?, state.path().join(format!("{round}.yaml")));
        let (v1, v2) = (v1.address(), v2.address());
        std::fs::write(
            &file,
            format!(
                "listeners: [{{ address: \"{listen}\" }}]\nadmin: {{ address: \"{admin}\" }}\nstate: {}\n\
                 services: {{ shop: {{ stable: v1, versions: {{ v1: {{ endpoints: [\"{v1}\"] }}, v2: {{ endpoints: \
                 [\"{v2}\"] }} }}, plan: {{ steps: [{{ weight: 10%, hold: 1h }}] }} }} }}\n",
                state.path().join(round.to_string()).display()
            ),
        )?;
        let tidegate = env!("CARGO_BIN_EXE_tidegate");
        let serving = on_core(0, Path::new(tidegate)).args(["run", "-c"]).arg(&file).turn()?;
        answers(admin).await?;
        let started = Command::new(tidegate)
            .args(["rollout", "start", "shop", "--canary", "v2", "--admin", &format!("http://{admin}")])
            .output()?;
        ensure!(started.status.success(), "no rollout: {}", String::from_utf8_lossy(&started.stderr));
        let ours = measured(serving, listen, arguments.seconds).await.context("tidegate")?;
        say(&format!("{round:>5} {:>13.2} us {:>13.2} us {:>8.3}", bare, ours, ours / bare));
        pairs.push((bare, ours));
    }
    let median = |mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let bare = median(pairs.iter().map(|pair| pair.0).collect());
    let ours = median(pairs.iter().map(|pair| pair.1).collect());
    let ratio = median(pairs.iter().map(|pair| pair.1 / pair.0).collect());
    say(&format!("{:>5} {bare:>13.2} us {ours:>13.2} us {ratio:>8.3}   (goal: at most 1.05)", "median"));
    Ok(())
}

/// CPU time in microseconds a request of a proxy at `address`, which is ended afterwards.
async fn measured(proxy: Proxy, address: SocketAddr, seconds: u64) -> anyhow::Result<f64> {
    answers(address).await?;
    load(address, Duration::from_secs(1)).await?;
    let before = proxy.cpu()?;
    let requests = load(address, Duration::from_secs(seconds)).await?;
    let after = proxy.cpu()?;
    ensure!(requests > 0, "no request was answered");
    Ok((after - before).as_secs_f64() * 1e6 / requests as f64)
}

/// Waits until something listens there.
async fn answers(address: SocketAddr) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).await.is_err() {
        ensure!(Instant::now() < until, "nothing listens on {address}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Sends requests on each connection, one after the other, for so long. How many were answered, all with 200.
async fn load(address: SocketAddr, length: Duration) -> anyhow::Result<u64> {
    let until = Instant::now() + length;
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        connections.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (mut answer, mut requests) = (vec![0; 16 * 1024], 0);
            while Instant::now() < until {
                stream.write_all(REQUEST).await?;
                let mut filled = 0;
                // The origin's body is `v1` or `v2` and a line feed.
                while !(answer[..filled].ends_with(b"v1\n") || answer[..filled].ends_with(b"v2\n")) {
                    let read = stream.read(&mut answer[filled..]).await?;
                    ensure!(read > 0, "a connection was closed, or an answer is too long");
                    filled += read;
                }
                ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..filled]));
                requests += 1;
            }
            Ok(requests)
        });
    }
    connections.join_all().await.into_iter().sum()
}

fn build_pass_through() -> anyhow::Result<PathBuf> {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--package", "proxy", "--example", "passthrough"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    ensure!(built.success(), "the pass-through could not be built");
    let tidegate = Path::new(env!("CARGO_BIN_EXE_tidegate"));
    Ok(tidegate.with_file_name("examples").join("passthrough"))
}
