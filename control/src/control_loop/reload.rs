//! A new configuration, taken whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::{Configuration, Name};
use tokio::sync::oneshot;

use super::Now;
use super::core::{Before, ControlCore};
use super::evidence::Evidence;
use super::request::OWN_PLAN;
use super::served::Reply;
use crate::command::{Refused, Reloaded};
use crate::plane::Resolved;
use crate::rollout::{Event, State};

/// How many services that the file no longer has are remembered: more than a file has that was cut short by mistake.
const RETIRED: usize = 16_384;

/// A reload whose raised weights wait for the disk.
#[derive(Debug)]
pub(super) struct Reloading {
    waits: usize,
    refused: Option<Refused>,
    taken: Reloaded,
    reply: oneshot::Sender<Result<Reloaded, Refused>>,
}

impl ControlCore {
    pub(super) fn reload(
        &mut self,
        now: Now,
        mut resolved: Resolved,
        reply: oneshot::Sender<Result<Reloaded, Refused>>,
    ) {
        if let Err(refused) = self.may_reload(now, &resolved.configuration) {
            self.reload_failed(now, &[refused.to_string()]);
            return self.say(reply, Err(refused));
        }
        let needs_restart = self.booted.restart_needed(&resolved.configuration);
        let mut taken = Reloaded { needs_restart, notes: std::mem::take(&mut resolved.notes) };
        let number = self.reloads.keys().max().map_or(0, |last| last + 1);
        let waits = self.take_configuration(now, resolved, number, &mut taken.notes);
        self.last_reload_success = true;
        self.tell(now, None, "reload", "the configuration was taken over".to_owned());
        if waits == 0 {
            return self.say(reply, Ok(taken));
        }
        self.reloads.insert(number, Reloading { waits, refused: None, taken, reply });
    }

    /// What is in force stays in force.
    pub(super) fn reload_failed(&mut self, now: Now, problems: &[String]) {
        self.last_reload_success = false;
        let first = problems.first().map_or("no reason was given", String::as_str);
        let more = match problems.len() {
            0 | 1 => String::new(),
            several => format!(" (and {} more)", several - 1),
        };
        self.tell(now, None, "reload", format!("the reload changed nothing: {first}{more}"));
    }

    /// Asks every service before any of them changes.
    fn may_reload(&self, now: Now, configuration: &Configuration) -> Result<(), Refused> {
        let moment = self.moment(now);
        let by_name: BTreeMap<&Name, &config::Service> =
            configuration.services.iter().map(|service| (&service.name, service)).collect();
        let refusals: Vec<Refused> = self
            .services
            .iter()
            .filter_map(|(name, served)| served.release.may_become(&moment, by_name.get(name).copied()).err())
            .collect();
        match refusals.as_slice() {
            [] => Ok(()),
            [only] => Err(only.clone()),
            several => {
                let detail = several.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                Err(Refused::Conflict { detail, present: None })
            }
        }
    }

    /// How many services wait for the disk with a raised weight.
    fn take_configuration(&mut self, now: Now, resolved: Resolved, number: u64, notes: &mut Vec<String>) -> usize {
        self.resolved = resolved;
        self.installing = true;
        let services = self.resolved.configuration.services.clone();
        let kept: BTreeSet<&Name> = services.iter().map(|service| &service.name).collect();
        let gone: Vec<Name> = self.services.keys().filter(|name| !kept.contains(name)).cloned().collect();
        if !gone.is_empty() {
            let first: Vec<&str> = gone.iter().take(5).map(Name::as_str).collect();
            let more = if gone.len() > first.len() { ", ..." } else { "" };
            let text = format!("{} gone from the file: {}{more}; what they were is kept", gone.len(), first.join(", "));
            self.tell(now, None, "reload", text);
        }
        for name in gone {
            self.retire(now, &name);
        }
        let mut waits = 0;
        // Service by service they are taken in below; which plan each rollout has is asked of what the file says now.
        let named = self.resolved.configuration.plans.clone();
        for service in services {
            let name = service.name.clone();
            if !self.services.contains_key(&name) {
                self.admit(now, Arc::new(service), Before::Known { pause: None }, &mut Evidence::default());
                continue;
            }
            let moment = self.moment(now);
            let Some(served) = self.services.get_mut(&name) else { continue };
            if let Some(rollout) = served.release.state().running() {
                let own = (rollout.plan_name == OWN_PLAN).then_some(&service.plan);
                let now = own.or_else(|| {
                    named.iter().find(|(plan, _)| plan.as_str() == rollout.plan_name).map(|(_, plan)| plan)
                });
                if now != Some(&rollout.plan) {
                    notes.push(format!(
                        "{name}: the running rollout of {} keeps the plan it began with",
                        rollout.canary
                    ));
                }
            }
            let Ok(change) = served.release.transition(&moment, Event::FileChanged(Arc::new(service))) else {
                continue;
            };
            if let Some(revision) = change.waits_for {
                served.waiting.push((revision, Reply::Reload(number)));
                waits += 1;
            }
            self.perform(now, &name, change);
        }
        self.install(now);
        waits
    }

    /// The file no longer has this service. What it was is kept, should it come back.
    fn retire(&mut self, now: Now, name: &Name) {
        let Some(mut served) = self.services.remove(name) else { return };
        for (_, reply) in std::mem::take(&mut served.waiting) {
            let detail = format!("{name}: the service was removed from the configuration");
            self.answer(now, name, reply, Err(Refused::Conflict { detail, present: None }));
        }
        self.cached.remove(name.as_str());
        if self.retired.len() >= RETIRED {
            self.retired.pop_first();
        }
        let state: State = served.release.state().clone();
        self.retired.insert(name.clone(), state);
    }

    /// One of the services that a reload waits for is settled.
    pub(super) fn reload_settled(&mut self, number: u64, result: Result<(), Refused>) {
        let Some(reloading) = self.reloads.get_mut(&number) else { return };
        reloading.waits -= 1;
        reloading.refused = result.err().or(reloading.refused.take());
        if reloading.waits > 0 {
            return;
        }
        if let Some(done) = self.reloads.remove(&number) {
            let answer = done.refused.map_or(Ok(done.taken), Err);
            self.say(done.reply, answer);
        }
    }
}
