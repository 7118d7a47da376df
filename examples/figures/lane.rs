//! One service under load, and what is measured on it.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use control::view::{Phase, RolloutView};
use jiff::Timestamp;
use loadtest::{Fraction, Load, Origin, Rate, RunningLoad};

use crate::served::{Served, until};

/// Requests a second.
const RATE: f64 = 1_000.0;
/// Errors of both versions, as in life.
const BACKGROUND: f64 = 0.001;
/// Errors of a canary that turns bad slowly.
const WORSE: f64 = 0.05;
/// No rollback that is measured here takes longer.
const LONGEST: Duration = Duration::from_secs(120);
/// Good traffic before a canary turns wholly bad; up to a tick more, so that runs differ in where in a tick it breaks.
const GOOD_BEFORE: Duration = Duration::from_secs(2);

/// One service under load.
pub(crate) struct Lane<'a> {
    served: &'a Served,
    service: String,
    v2: &'a Origin,
    load: RunningLoad,
    random: fastrand::Rng,
}

/// What a canary that turned wholly bad cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WhollyBad {
    /// From its first bad answer to the last request that it got.
    pub(crate) span: Duration,
    /// Requests that reached it after its first bad answer.
    pub(crate) requests: u64,
}

impl<'a> Lane<'a> {
    /// Puts the service of this number under load.
    pub(crate) fn open(served: &'a Served, number: u32) -> anyhow::Result<Self> {
        let (v1, v2) = served.origins.get(number as usize).context("there is no such lane")?;
        for origin in [v1, v2] {
            origin.dial().set_errors(Fraction::new(BACKGROUND)?);
        }
        let service = Served::service(number);
        let (rate, host) = (Rate::per_second(RATE)?, service.clone());
        let seed = u64::from(number) + 1;
        let load = Load { rate, host, seed, ..Load::new(served.address) }.start()?;
        until("the first answers", LONGEST, || Ok((load.live().answered >= 500).then_some(())))?;
        Ok(Self { served, service, v2, load, random: fastrand::Rng::with_seed(seed) })
    }

    /// Ends the load. An error where it was not what it should have been.
    pub(crate) fn close(self) -> anyhow::Result<()> {
        let report = self.load.stop();
        ensure!(report.not_sent == 0, "the machine could not keep the rate, so the figures say nothing:\n{report}");
        ensure!(report.failed == 0, "requests were lost, which no change of weight may do:\n{report}");
        Ok(())
    }

    /// A canary whose every answer is an error from some moment on.
    pub(crate) fn turn_wholly_bad(&mut self) -> anyhow::Result<WhollyBad> {
        self.set_errors(BACKGROUND)?;
        let begun = self.served.release(&self.service)?;
        let good = GOOD_BEFORE + Duration::from_millis(self.random.u64(0..100));
        self.good_until(&begun, good)?;
        self.v2.begin_incident();
        self.set_errors(1.0)?;
        self.rolled_back(&begun)?;
        until("the last requests to it", LONGEST, || Ok((self.v2.arrivals().in_progress == 0).then_some(())))?;
        let incident = self.v2.arrivals().incident.context("the canary never answered with an error")?;
        Ok(WhollyBad { span: incident.span(), requests: incident.requests_after })
    }

    /// A canary that is worse than stable from its first request on: how long it was exposed.
    pub(crate) fn bad_from_the_first_request(&mut self) -> anyhow::Result<Duration> {
        self.set_errors(WORSE)?;
        let begun = self.served.release(&self.service)?;
        let ended = self.rolled_back(&begun)?;
        between(begun.started_at.parse()?, &ended)
    }

    /// A canary that becomes worse than stable after so much good traffic: how long it was exposed from then on.
    pub(crate) fn bad_after(&mut self, good: Duration) -> anyhow::Result<Duration> {
        self.set_errors(BACKGROUND)?;
        let begun = self.served.release(&self.service)?;
        self.good_until(&begun, good)?;
        self.set_errors(WORSE)?;
        #[expect(clippy::disallowed_methods, reason = "the other end of this time is another process's wall clock")]
        let turned = Timestamp::now();
        let ended = self.rolled_back(&begun)?;
        between(turned, &ended)
    }

    fn set_errors(&self, rate: f64) -> anyhow::Result<()> {
        self.v2.dial().set_errors(Fraction::new(rate)?);
        Ok(())
    }

    /// Waits until the canary was exposed for so long.
    fn good_until(&self, begun: &RolloutView, exposed: Duration) -> anyhow::Result<()> {
        until("good traffic", exposed + LONGEST, || {
            let rollout = self.served.rollout(&self.service)?;
            if rollout.id != begun.id || rollout.phase != Phase::Progressing {
                bail!("a good canary was {}: {}", rollout.phase.word(), rollout.reason.unwrap_or_default());
            }
            Ok((rollout.step_elapsed_s >= exposed.as_secs_f64()).then_some(()))
        })
    }

    fn rolled_back(&self, begun: &RolloutView) -> anyhow::Result<RolloutView> {
        let ended = until("the rollback", LONGEST, || {
            let rollout = self.served.rollout(&self.service)?;
            Ok((rollout.id == begun.id && rollout.phase.has_ended()).then_some(rollout))
        })?;
        ensure!(ended.phase == Phase::RolledBack, "the canary was {}", ended.phase.word());
        Ok(ended)
    }
}

fn between(from: Timestamp, ended: &RolloutView) -> anyhow::Result<Duration> {
    let at: Timestamp = ended.ended_at.as_ref().context("an ended rollout has an end")?.parse()?;
    Duration::try_from(at.duration_since(from)).context("it ended before it began")
}
