//! A load that runs.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use fastrand::Rng;
use tokio::sync::mpsc;
use tokio::time;

use super::Load;
use super::client::Client;
use super::exchange::Exchange;
use super::pacer::Pacer;
use super::passage::Passage;
use super::request::Template;
use super::schedule::{Rate, Schedule};
use super::tallies::{LiveCounts, Tallies};
use crate::background::{Background, Stop};
use crate::report::LoadReport;

/// A load that runs on its own threads. Dropping it ends it at once.
#[derive(Debug)]
pub struct RunningLoad {
    tallies: Arc<Tallies>,
    pacer: Arc<Pacer>,
    pacing: Option<JoinHandle<()>>,
    background: Background,
}

impl RunningLoad {
    pub(super) fn start(load: Load) -> anyhow::Result<Self> {
        let exchange = Arc::new(Exchange {
            template: Template::new(&load)?,
            client: Client::new(load.target, load.protocol, load.idle_connections),
            timeout: load.timeout,
        });
        let clients = load.clients.map(|clients| clients.population.get());
        let (departures, due) = mpsc::unbounded_channel();
        let (alive, all_over) = mpsc::channel(1);
        let background = Background::start("load".to_owned(), move |stop| async move {
            dispatch(exchange, due, all_over, load.grace, stop).await;
        })
        .context("the load cannot start")?;

        let begin = Instant::now();
        let tallies = Arc::new(Tallies::new(begin, clients));
        let pacer = Arc::new(Pacer::new(load.rate));
        let schedule = Schedule::new(load.rate, load.spacing, load.length, load.seed);
        let bound = load.in_flight as u64;
        // Another stream of numbers than the schedule's.
        let rng = Rng::with_seed(load.seed ^ 0x5eed_c11e_u64);
        let (pace, count) = (Arc::clone(&pacer), Arc::clone(&tallies));
        let pacing = thread::Builder::new().name("load-pacer".to_owned()).spawn(move || {
            pace.run(schedule, begin, clients.unwrap_or(1), rng, |due| {
                if let Some(passage) = Passage::admit(&count, due, bound, &alive) {
                    // Where nobody receives any more, the request is dropped and so counted as unfinished.
                    drop(departures.send(passage));
                }
            });
            count.schedule_over();
        });
        let pacing = Some(pacing.context("the load cannot start")?);
        Ok(Self { tallies, pacer, pacing, background })
    }

    /// What was counted so far. Cheap enough for every tick.
    #[must_use]
    pub fn live(&self) -> LiveCounts {
        self.tallies.live()
    }

    /// What was counted so far, latencies included.
    #[must_use]
    pub fn report(&self) -> LoadReport {
        self.tallies.report()
    }

    /// Changes the rate for what is not yet due.
    pub fn set_rate(&self, rate: Rate) {
        self.pacer.set_rate(rate);
    }

    /// Whether the schedule is over and every request has its end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.background.is_over()
    }

    /// Returns once the schedule is over and every request has its end. Then [`stop`](Self::stop) does not block.
    pub async fn over(&self) {
        self.background.over().await;
    }

    /// Ends the schedule now, waits for what is in flight (the load's `grace` at most) and reports. Blocks.
    #[must_use]
    pub fn stop(self) -> LoadReport {
        self.pacer.stop();
        self.wait()
    }

    /// Waits until the schedule is over and what is in flight has its end (the load's `grace` at most), and reports.
    /// Blocks; for ever where the load has no length.
    #[must_use]
    pub fn wait(mut self) -> LoadReport {
        self.join_pacer();
        self.background.join();
        self.tallies.report()
    }

    fn join_pacer(&mut self) {
        if let Some(pacing) = self.pacing.take() {
            // A panic on the thread was printed there; what it had counted is still worth reading.
            drop(pacing.join());
        }
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        self.pacer.stop();
        self.join_pacer();
    }
}

/// Sends what is due, each request on a task of its own, and waits for the last ones.
async fn dispatch(
    exchange: Arc<Exchange>,
    mut due: mpsc::UnboundedReceiver<Passage>,
    mut all_over: mpsc::Receiver<()>,
    grace: Duration,
    mut stop: Stop,
) {
    let work = async {
        while let Some(passage) = due.recv().await {
            let exchange = Arc::clone(&exchange);
            tokio::spawn(async move { exchange.perform(passage).await });
        }
        // What is not over by then is dropped with the runtime, and so counted as unfinished.
        drop(time::timeout(grace, all_over.recv()).await);
    };
    tokio::select! {
        () = work => (),
        () = stop.wanted() => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_load_leaves_no_pacer_behind() {
        let running = Load::new("127.0.0.1:1".parse().unwrap()).start().unwrap();
        let pacer = Arc::downgrade(&running.pacer);
        drop(running);
        assert!(pacer.upgrade().is_none(), "its thread still holds it");
    }
}
