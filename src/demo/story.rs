//! What happens in the demo, and whether it went as told.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use config::Name;
use control::command::Command;
use control::handle::Handle;
use control::view::{Phase, RolloutView, VersionView};
use loadtest::Fraction;
use tokio::sync::oneshot;

use super::Stage;
use super::telling::{Incident, Telling};

/// Nothing in the story takes longer; the whole of it ends within 45 s.
const LONGEST: Duration = Duration::from_secs(20);
/// How often the story looks.
const LOOK: Duration = Duration::from_millis(20);

pub(super) struct Story<'a, 'b> {
    pub(super) stage: &'a Stage,
    pub(super) telling: &'a mut Telling<'b>,
}

impl Story<'_, '_> {
    /// Tells it. An error says what did not go as told.
    pub(super) fn tell(mut self) -> anyhow::Result<()> {
        self.quiet_beginning()?;
        self.bad_canary()?;
        self.good_canary()
    }

    fn quiet_beginning(&mut self) -> anyhow::Result<()> {
        self.telling.say("v1 serves everybody.")?;
        let answered = |story: &Self| story.stage.load.live().answered >= 1_000;
        self.until("the first thousand answers", answered)?;
        ensure!(self.stage.load.live().failed == 0, "requests failed before anything was released");
        Ok(())
    }

    /// v2 is released, breaks, and is taken back.
    fn bad_canary(&mut self) -> anyhow::Result<()> {
        self.telling.chapter("v2 is released: 5 %, then 25 %, then 50 % of the users")?;
        let started = self.start("v2")?;
        self.follow_until(&started.id, |rollout| rollout.step_elapsed_s >= 2.0)?;
        self.stage.v2.begin_incident();
        self.stage.v2.dial().set_errors(Fraction::ONE);
        self.telling.say("v2 breaks: from now on every answer of it is an error.")?;
        let ended = self.follow_until(&started.id, |rollout| rollout.phase.has_ended())?;
        ensure!(ended.phase == Phase::RolledBack, "v2 was {} and not rolled back", ended.phase.word());
        // What was on its way to v2 when it was taken back arrives in a moment.
        self.until("the last requests to v2", |story| story.stage.v2.arrivals().in_progress == 0)?;
        let arrivals = self.stage.v2.arrivals();
        let incident = arrivals.incident.ok_or_else(|| anyhow!("v2 never answered with an error"))?;
        // What was answered in the last moment is counted with the next tick.
        let is_counted = |v2: &VersionView| v2.failed >= incident.bad && v2.in_flight == 0;
        self.until("the last answers of v2", |story| story.version("v2").is_some_and(|v2| is_counted(&v2)))?;
        let saved = self.version("v2").map_or(0, |v2| v2.saved);
        self.telling.incident(&Incident {
            took: incident.last_request_at.saturating_sub(incident.first_bad_at),
            requests: incident.bad,
            // One in a thousand of those before it broke failed as well.
            saved: saved.min(incident.bad),
        })?;
        ensure!(ended.weight == 0, "v2 still has weight after its rollback");
        ensure!(
            incident.bad <= 60,
            "{} requests reached v2 after it broke: more than a rollback should need",
            incident.bad
        );
        Ok(())
    }

    /// v3 is released and promoted.
    fn good_canary(&mut self) -> anyhow::Result<()> {
        self.telling.chapter("v3 is released, and v3 is good")?;
        let transport_before = self.stage.load.live().failed;
        let started = self.start("v3")?;
        let ended = self.follow_until(&started.id, |rollout| rollout.phase.has_ended())?;
        ensure!(ended.phase == Phase::Promoted, "v3 was {} and not promoted", ended.phase.word());
        let live = self.stage.load.live();
        ensure!(
            live.failed == transport_before,
            "{} requests were lost by the changes of weight",
            live.failed - transport_before
        );
        ensure!(live.not_sent == 0, "the load could not keep its rate");
        self.telling.promoted(&ended, &live)?;
        Ok(())
    }

    fn start(&self, canary: &str) -> anyhow::Result<RolloutView> {
        let name = |text: &str| Name::new(text).with_context(|| format!("{text} is no name"));
        let (reply, answer) = oneshot::channel();
        let command = Command::Start {
            service: name("shop")?,
            canary: name(canary)?,
            plan: None,
            reason: Some("the demo".to_owned()),
            idempotency_key: None,
            reply,
        };
        self.control()?.commands.send(command).map_err(|_| anyhow!("the control loop has ended"))?;
        Ok(answer.blocking_recv().context("the control loop has ended")??)
    }

    /// Tells the events of a rollout as they come, until it is as wanted.
    fn follow_until(&mut self, id: &str, wanted: impl Fn(&RolloutView) -> bool) -> anyhow::Result<RolloutView> {
        let until = deadline();
        loop {
            let control = self.control()?.clone();
            let snapshot = control.snapshot.load_full();
            let rollout = snapshot.services.get("shop").and_then(|shop| shop.view.rollout.clone());
            self.telling.events(&control.events, id)?;
            if let Some(rollout) = rollout.filter(|rollout| rollout.id == id) {
                self.telling.progress(&rollout, &self.stage.load.live());
                if wanted(&rollout) {
                    self.telling.events(&control.events, id)?;
                    return Ok(rollout);
                }
                if rollout.phase.has_ended() {
                    bail!("{} was {}: {}", rollout.canary, rollout.phase.word(), rollout.reason.unwrap_or_default());
                }
            }
            look_again("the rollout", until)?;
        }
    }

    fn control(&self) -> anyhow::Result<&Handle> {
        self.stage.tidegate.handle().context("the control loop has ended")
    }

    fn version(&self, name: &str) -> Option<VersionView> {
        let snapshot = self.control().ok()?.snapshot.load();
        snapshot.services.get("shop")?.view.versions.iter().find(|version| version.name == name).cloned()
    }

    fn until(&self, what: &str, wanted: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let until = deadline();
        while !wanted(self) {
            look_again(what, until)?;
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "the demo is a shell: it gives up after a time")]
fn deadline() -> Instant {
    Instant::now() + LONGEST
}

#[expect(clippy::disallowed_methods, reason = "a bounded poll of counters that nothing announces")]
fn look_again(what: &str, until: Instant) -> anyhow::Result<()> {
    ensure!(Instant::now() < until, "{what}: waited for {} s", LONGEST.as_secs());
    std::thread::sleep(LOOK);
    Ok(())
}
