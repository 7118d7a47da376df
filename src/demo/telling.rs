//! How the demo is told: a timeline in plain lines, and a live line below it on a terminal.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use control::events::EventLog;
use control::view::RolloutView;
use indicatif::{ProgressBar, ProgressStyle};
use loadtest::LiveCounts;

/// What a rollback cost.
pub(super) struct Incident {
    /// From the first bad response to the last request.
    pub(super) took: Duration,
    /// Requests to the version that failed.
    pub(super) requests: u64,
    /// How many of them stable answered in its stead.
    pub(super) saved: u64,
}

/// Writes the timeline.
pub(super) struct Telling<'a> {
    out: &'a mut dyn Write,
    began: Instant,
    /// The last event that was told.
    told: Option<u64>,
    live: ProgressBar,
}

impl<'a> Telling<'a> {
    #[expect(clippy::disallowed_methods, reason = "the demo is a shell: its timeline counts from here")]
    pub(super) fn begin(out: &'a mut dyn Write) -> Self {
        let live = if io::stderr().is_terminal() && io::stdout().is_terminal() {
            ProgressBar::new_spinner().with_style(
                ProgressStyle::with_template("  {spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
            )
        } else {
            ProgressBar::hidden()
        };
        Self { out, began: Instant::now(), told: None, live }
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        let out = &mut self.out;
        self.live.suspend(|| writeln!(out, "{text}").and_then(|()| out.flush()))
    }

    /// A line of the timeline, with the time since the beginning.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        let at = self.began.elapsed().as_secs_f64();
        self.line(&format!("{at:6.1} s  {text}"))
    }

    pub(super) fn opening(&mut self, service: SocketAddr, admin: SocketAddr, rate: u32, users: u32) -> io::Result<()> {
        self.line("Tidegate demo: a service named shop behind a real proxy, in one process. It takes about 15 s.")?;
        self.line(&format!(
            "{rate} requests a second from {users} users go to http://{service}; the control API is http://{admin}."
        ))?;
        self.line("One request in a thousand fails whatever the version, as in life.")
    }

    pub(super) fn chapter(&mut self, title: &str) -> io::Result<()> {
        self.line("")?;
        self.line(title)
    }

    /// Tells what the control loop announced of a rollout since the last call.
    pub(super) fn events(&mut self, log: &EventLog, rollout: &str) -> io::Result<()> {
        let (events, _) = log.follow(self.told);
        for event in events {
            self.told = Some(event.id);
            if event.rollout.as_ref().is_some_and(|about| about.id == rollout) {
                self.say(&event.text)?;
            }
        }
        Ok(())
    }

    pub(super) fn progress(&self, rollout: &RolloutView, load: &LiveCounts) {
        let evidence = rollout.gates.iter().map(|gate| gate.progress).fold(0.0, f64::max);
        self.live.set_message(format!(
            "{} at {} %, {} of its requests seen, evidence of harm {:.0} %; {} requests answered, {} users saw an error",
            rollout.canary,
            f64::from(rollout.weight) / 100.0,
            rollout.requests.canary,
            evidence * 100.0,
            load.answered,
            load.clients_hurt,
        ));
        self.live.tick();
    }

    pub(super) fn incident(&mut self, incident: &Incident) -> io::Result<()> {
        let Incident { took, requests, saved } = incident;
        self.line(&format!(
            "          how fast   {} ms from its first bad answer to the last request it got",
            took.as_millis()
        ))?;
        let hurt = requests - saved;
        self.line(&format!(
            "          the price  v2 failed {requests} requests, of which stable answered {saved} in its stead: {hurt} users got an error"
        ))
    }

    pub(super) fn promoted(&mut self, rollout: &RolloutView, load: &LiveCounts) -> io::Result<()> {
        for gate in &rollout.gates {
            self.line(&format!("          gate {:6} {}", gate.name, gate.explain))?;
        }
        self.line(&format!(
            "          the price  0 requests lost by any change of weight, of {} sent since the beginning",
            load.sent
        ))
    }

    pub(super) fn moral(&mut self) -> io::Result<()> {
        self.live.finish_and_clear();
        self.line("")?;
        self.say("The story went as told: the bad version was taken back by itself, the good one serves everybody.")
    }

    pub(super) fn failed(&mut self, problem: &anyhow::Error) -> io::Result<()> {
        self.live.finish_and_clear();
        self.say(&format!("The story did not go as told: {problem:#}"))
    }

    pub(super) fn by_hand(&mut self, service: SocketAddr, admin: SocketAddr) -> io::Result<()> {
        let option = if admin.port() == 9900 { String::new() } else { format!(" --admin http://{admin}") };
        let program = std::env::args().next().unwrap_or_else(|| "tidegate".to_owned());
        self.line("")?;
        self.line(
            "It goes on serving; Ctrl-C ends it. Try it from another terminal (v2 is still broken, v1 is well):",
        )?;
        for command in [
            format!("curl http://{service}/"),
            format!("{program} status{option}"),
            format!("{program} rollout start shop --canary v2 --wait{option}"),
            format!("{program} rollout start shop --canary v1 --wait{option}"),
            format!("{program} weight shop v1=10%{option}"),
            format!("curl http://{admin}/metrics"),
        ] {
            self.line(&format!("  {command}"))?;
        }
        Ok(())
    }
}
