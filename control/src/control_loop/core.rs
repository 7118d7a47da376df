//! The control loop without its threads, clock and disk: what simulations drive with a virtual clock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use config::{Configuration, Name};
use meter::{LatencyCounts, latency_bounds_us};
use tokio::sync::oneshot;
use ulid::Ulid;

use super::evidence::{self, Evidence, Restored};
use super::judged::{Judged, Recording};
use super::known::Known;
use super::link::{Link, Told};
use super::looking::{Windows, exhibit};
use super::reload::Reloading;
use super::request::Remembered;
use super::saving::Saving;
use super::served::Served;
use super::{Now, TICK};
use crate::command::Command;
use crate::events::EventLog;
use crate::journal::{Answer, Replayed, Request};
use crate::plane::{ClientTls, DataPlane, Names, Resolved};
use crate::rollout::{Event, Moment, Release, State};
use crate::view::{ServiceSnapshot, Snapshot};

/// How long an orderly end waits for the disk.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);
/// Ticks that are so far apart say that the process did not run.
const STANDSTILL: Duration = Duration::from_secs(2);

/// The deciding part of the control loop. It owns the data plane and is the only one to publish splits.
pub struct ControlCore {
    pub(super) plane: Box<dyn DataPlane>,
    pub(super) resolved: Resolved,
    /// Whether the process before this one ended without saving everything.
    after_a_crash: bool,
    /// Whether a second is over since the figures were last shown.
    all_due: bool,
    /// What the process began with: addresses and the state directory stay as they were then.
    pub(super) booted: Arc<Configuration>,
    pub(super) services: BTreeMap<Name, Served>,
    /// Services that the file no longer has, as they were: a service that comes back is where it was.
    pub(super) retired: BTreeMap<Name, State>,
    pub(super) link: Link,
    pub(super) remembered: VecDeque<Remembered>,
    pub(super) reloads: HashMap<u64, Reloading>,
    pub(super) last_reload_success: bool,
    pub(super) warnings: Vec<String>,
    /// How TLS towards clients does, as of the last full second.
    pub(super) client_tls: Arc<ClientTls>,
    /// How names are resolved, as of the last full second.
    pub(super) names: Arc<Names>,
    pub(super) cached: BTreeMap<String, Arc<ServiceSnapshot>>,
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    /// While a configuration is being installed, its splits are published with it and not one by one.
    pub(super) installing: bool,
    pub(super) events: Arc<EventLog>,
    pub(super) first_event: u64,
    random: fastrand::Rng,
    last_second: Duration,
    /// When the last tick was.
    last_tick: Duration,
    /// Counts ticks: whose turn it is to be estimated.
    pub(super) ticks: usize,
    pub(super) bounds_us: Vec<u64>,
    /// For sums of latencies, whoever's turn it is.
    pub(super) scratch: LatencyCounts,
    pub(super) windows: Windows,
    pub(super) saving: Saving,
    pub(super) recording: Recording,
    pub(super) stopping: Option<Stopping>,
    /// Answers that wait for the snapshot to be published.
    pub(super) answers: Vec<Box<dyn FnOnce() + Send>>,
}

/// What is known of the time before a service is served.
#[derive(Debug, Clone, Copy)]
pub(super) enum Before<'a> {
    /// All that is in the journal.
    Known {
        /// Why running rollouts are to be paused.
        pause: Option<&'a str>,
    },
    /// Nothing, and there was something to know.
    Lost,
}

/// An orderly end that was asked for.
#[derive(Debug)]
pub(super) struct Stopping {
    replies: Vec<oneshot::Sender<()>>,
    since: Duration,
    closed: bool,
    over: bool,
}

impl std::fmt::Debug for ControlCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlCore")
            .field("services", &self.services)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl ControlCore {
    /// Continues where the journal stands, and installs the configuration with the splits in force. `seed` is for the
    /// identifiers of rollouts alone.
    #[must_use]
    pub fn new(
        plane: Box<dyn DataPlane>,
        resolved: Resolved,
        replayed: Replayed,
        mut evidence: Evidence,
        recording: Recording,
        seed: u64,
        now: Now,
    ) -> Self {
        let link = Link::new(replayed.last_seq, replayed.size, replayed.problem);
        let mut core = Self {
            plane,
            after_a_crash: !replayed.ended_well,
            all_due: false,
            booted: Arc::clone(&resolved.configuration),
            resolved,
            services: BTreeMap::new(),
            retired: replayed.records.into_iter().map(|(name, record)| (name, record.state)).collect(),
            link,
            remembered: VecDeque::new(),
            reloads: HashMap::new(),
            last_reload_success: true,
            warnings: replayed.warnings,
            client_tls: Arc::default(),
            names: Arc::default(),
            cached: BTreeMap::new(),
            snapshot: Arc::default(),
            installing: true,
            events: Arc::default(),
            // Identifiers of events grow over restarts, so that a reader who resumes misses nothing.
            first_event: u64::try_from(now.wall.as_microsecond()).unwrap_or(1),
            random: fastrand::Rng::with_seed(seed),
            last_second: now.elapsed,
            last_tick: now.elapsed,
            ticks: 0,
            bounds_us: latency_bounds_us(),
            scratch: LatencyCounts::default(),
            windows: Windows::default(),
            saving: Saving::new(),
            recording,
            stopping: None,
            answers: Vec::new(),
        };
        for warning in core.warnings.clone() {
            tracing::warn!(warning, "state replayed");
            core.tell(now, None, "warning", warning);
        }
        let before = if replayed.lost { Before::Lost } else { Before::Known { pause: replayed.corrupt.as_deref() } };
        for service in core.resolved.configuration.services.clone() {
            core.admit(now, Arc::new(service), before, &mut evidence);
        }
        core.install(now);
        core.publish(now, true);
        core
    }

    /// How long a service waits for the head of a response.
    pub(super) fn first_byte(&self, service: &config::Service) -> Duration {
        service.timeouts.first_byte.unwrap_or(self.resolved.configuration.rules.timeouts.first_byte)
    }

    /// Begins to serve a service, from where the journal or an earlier configuration left it.
    pub(super) fn admit(
        &mut self,
        now: Now,
        service: Arc<config::Service>,
        before: Before<'_>,
        evidence: &mut Evidence,
    ) {
        let (name, moment) = (service.name.clone(), self.moment(now));
        let (mut release, change) = match (self.retired.remove(&name), before) {
            (Some(state), Before::Known { pause }) => Release::restore(service, state, pause, &moment),
            (Some(state), Before::Lost) => Release::restore(service, state, None, &moment),
            (None, Before::Known { .. }) => Release::begin(service, &moment),
            (None, Before::Lost) => Release::begin_anew(service, &moment),
        };
        let stable = release.state().stable.clone();
        let mut known = match evidence.take_background(name.as_str()) {
            Some(saved) => Known::restored(stable, saved),
            None => Known::nothing(stable),
        };
        let first_byte = self.first_byte(release.service());
        let mut lost = None;
        let judged = release.state().running().map(|rollout| match evidence.take(&rollout.id) {
            Some(mut restored) => {
                let missing =
                    if self.after_a_crash { restored.catch_up(&self.recording, &name, &rollout.id) } else { 0 };
                let Restored { mut judge, at, .. } = restored;
                // Nobody knows what was in flight while no process watched.
                judge.settle();
                let stopped = self.recording.written_at(name.as_str(), &rollout.id);
                lost = at.filter(|_| self.after_a_crash).and_then(|at| evidence::lost(&name, &rollout.canary, at, stopped));
                Judged::resume(&self.recording, &name, rollout, now.wall, judge, missing)
            }
            None => {
                lost = Some(format!(
                    "{name}: the evidence for the rollout of {} did not survive: its tests begin anew, and its alpha is \
                     spent again",
                    rollout.canary
                ));
                Judged::begin(&self.recording, &name, rollout, now.wall, known.lend(), first_byte)
            }
        });
        if let Some(judged) = &judged {
            release.show(&judged.judge().judgement(), Some(exhibit(judged.judge())));
        }
        self.services.insert(name.clone(), Served { judged, lost: lost.clone(), ..Served::new(release, known) });
        if let Some(text) = lost {
            tracing::warn!(service = %name, text, "evidence lost");
            self.tell(now, Some(&name), "warning", text);
        }
        self.perform(now, &name, change);
    }

    /// Publishes the configuration with all splits in force, in one step.
    pub(super) fn install(&mut self, now: Now) {
        let splits =
            self.services.iter().map(|(name, served)| (name.clone(), served.release.state().split())).collect();
        self.plane.install(&self.resolved, &splits);
        self.installing = false;
        for served in self.services.values_mut() {
            served.count_instances(&self.resolved.addresses);
            served.read_counts(self.plane.as_ref());
            served.changed = true;
        }
        tracing::info!(services = splits.len(), at = %now.wall, "configuration installed");
    }

    /// What reads see; the same for as long as the core lives.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<ArcSwap<Snapshot>> {
        &self.snapshot
    }

    /// What happened; the same for as long as the core lives.
    #[must_use]
    pub fn events(&self) -> &Arc<EventLog> {
        &self.events
    }

    /// What the journal is to do, in order. To be asked for after each call.
    #[must_use]
    pub fn take_requests(&mut self) -> Vec<Request> {
        self.link.take_requests()
    }

    /// Whether the loop is over: a stop was asked for, and the journal has ended or did not in time.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| stopping.over)
    }

    /// Whether the journal has ended in good order.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| stopping.closed)
    }

    /// The release of a service.
    #[must_use]
    pub fn release(&self, service: &str) -> Option<&Release> {
        self.services.get(service).map(|served| &served.release)
    }

    /// How many bytes of records wait for the disk.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        self.recording.unwritten()
    }

    /// The loop is over: the data plane, what was in force there, and what the process began with.
    pub(super) fn into_parts(self) -> (Box<dyn DataPlane>, Resolved, Arc<Configuration>) {
        (self.plane, self.resolved, self.booted)
    }

    /// The loop is over: what was recorded is written.
    pub fn end_recording(&mut self) {
        self.recording.close();
    }

    pub(super) fn moment(&self, now: Now) -> Moment {
        Moment { elapsed: now.elapsed, wall: now.wall, journal_problem: self.link.problem().cloned() }
    }

    pub(super) fn fresh_id(&mut self, now: Now) -> String {
        let milliseconds = u64::try_from(now.wall.as_millisecond()).unwrap_or(0);
        Ulid::from_parts(milliseconds, self.random.u128(..)).to_string()
    }

    /// Takes a command, or an answer of the journal.
    pub fn handle(&mut self, now: Now, command: Command) {
        match command {
            Command::Journal(answer) => self.journal_answered(now, answer),
            Command::Stop { reply } => self.stop(now, reply),
            // A loop that ends takes nothing more; the dropped reply says so.
            _ if self.stopping.is_some() => {}
            command @ Command::Start { .. } => self.start(now, command),
            Command::Act { service, action, reason, reply } => self.act(now, &service, action, reason, reply),
            command @ Command::SetWeight { .. } => self.set_weight(now, command),
            Command::Reload { resolved, reply } => self.reload(now, resolved, reply),
            Command::Readdress { changed, reply } => self.readdress(now, changed, reply),
            Command::ReloadFailed { problems } => self.reload_failed(now, &problems),
        }
    }

    /// Shows what came of the calls since the last one, and answers who asked. To be called after each, once what
    /// [`take_requests`](Self::take_requests) gave is on its way to the disk: nobody is told of what is not written.
    pub fn show(&mut self, now: Now) {
        let all = std::mem::take(&mut self.all_due);
        self.publish(now, all);
        self.answers.drain(..).for_each(|answer| answer());
    }

    /// Looks at the traffic, and at the time.
    pub fn tick(&mut self, now: Now) {
        let second_over = now.elapsed.saturating_sub(self.last_second) >= SECOND;
        self.notice_standstill(now);
        if let Some(told) = self.link.notice_stall(now.elapsed) {
            self.told(now, told);
        }
        // Nothing changes any more in a loop that ends: its last word is on the way to the disk.
        if self.stopping.is_none() {
            self.judge_all(now, second_over);
        }
        if second_over {
            self.look_at_the_others(now);
            self.end_what_has_left(now);
        }
        self.estimate_in_turn(second_over);
        if second_over {
            self.last_second = now.elapsed;
            self.save(now);
        }
        if self.stopping.is_none() {
            self.rewrite_when_wanted(now);
        }
        if let Some(stopping) = &mut self.stopping
            && now.elapsed.saturating_sub(stopping.since) >= STOP_PATIENCE
            && !stopping.over
        {
            tracing::warn!("the journal did not end in time");
            stopping.over = true;
            stopping.replies.drain(..).for_each(|reply| _ = reply.send(()));
        }
        self.all_due |= second_over;
    }

    /// A process that was stopped, or had no processor, has seen nothing meanwhile: that is no time in which a canary was
    /// looked at.
    fn notice_standstill(&mut self, now: Now) {
        let since = now.elapsed.saturating_sub(std::mem::replace(&mut self.last_tick, now.elapsed));
        if since < STANDSTILL {
            return;
        }
        let lost = since.saturating_sub(TICK);
        let mut running = 0;
        for served in self.services.values_mut() {
            running += u32::from(served.release.stood_still(lost));
        }
        if running > 0 {
            tracing::warn!(
                "nobody looked at the traffic for {:.1} s (this process was stopped, or the machine was busy): the steps of \
                 running rollouts last so much longer",
                lost.as_secs_f64()
            );
        }
    }

    fn journal_answered(&mut self, now: Now, answer: Answer) {
        if answer == Answer::Closed
            && let Some(stopping) = &mut self.stopping
        {
            stopping.closed = true;
            stopping.over = true;
            stopping.replies.drain(..).for_each(|reply| _ = reply.send(()));
        }
        self.saving.answered(&answer);
        for told in self.link.answered(answer) {
            self.told(now, told);
        }
        // A tick may find a change under way each time, where changes follow one another; then a journal would only grow.
        if self.stopping.is_none() && self.link.problem().is_none() {
            self.rewrite_when_wanted(now);
        }
    }

    fn told(&mut self, now: Now, told: Told) {
        let (name, event) = match told {
            Told::Journalled(name, revision) => (name, Event::Journalled { revision }),
            Told::Failed(name, revision, problem) => (name, Event::JournalFailed { revision, problem }),
            Told::Lost(problem) => {
                let text = format!("the journal cannot be written, so no step forward is taken: {problem}");
                self.tell(now, None, "journal", text);
                return self.all_changed();
            }
            Told::Unsaved(text) => {
                tracing::warn!(text, "not saved");
                self.tell(now, None, "warning", text);
                return self.all_changed();
            }
            Told::SavedAgain(text) => {
                self.tell(now, None, "journal", text.to_owned());
                return self.all_changed();
            }
            Told::Regained => {
                self.tell(now, None, "journal", "the journal can be written again".to_owned());
                return self.all_changed();
            }
        };
        let moment = self.moment(now);
        let Some(served) = self.services.get_mut(&name) else { return };
        if let Ok(change) = served.release.transition(&moment, event) {
            self.perform(now, &name, change);
        }
    }

    fn all_changed(&mut self) {
        self.services.values_mut().for_each(|served| served.changed = true);
    }

    fn rewrite_when_wanted(&mut self, now: Now) {
        if self.link.wants_rewrite(now.elapsed) {
            let live = self.services.iter().map(|(name, served)| (name, served.release.state())).chain(&self.retired);
            self.link.rewrite(now.elapsed, now.wall, live);
        }
    }

    fn stop(&mut self, now: Now, reply: oneshot::Sender<()>) {
        match &mut self.stopping {
            Some(stopping) => stopping.replies.push(reply),
            None => {
                let (evidence, background) = self.saved_whole(now);
                self.rewrite_when_wanted(now);
                self.link.close(evidence, background);
                self.stopping = Some(Stopping { replies: vec![reply], since: now.elapsed, closed: false, over: false });
                tracing::info!("control loop stops");
            }
        }
    }
}
