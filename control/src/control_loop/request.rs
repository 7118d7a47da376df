//! Commands about one service.

use config::{Name, Plan};
use tokio::sync::oneshot;

use super::Now;
use super::core::ControlCore;
use super::looking::exhibit;
use super::served::Reply;
use crate::command::{Action, Command, Refused};
use crate::rollout::{Change, Event, Start};
use crate::view::{RolloutView, ServiceView};

/// How many keys that make a start safe to repeat are remembered.
const REMEMBERED: usize = 64;
/// A reason is a sentence or two; it is kept in every record of the rollout.
const LONGEST_REASON: usize = 1_000;
const LONGEST_KEY: usize = 255;
/// The name under which the service's own plan is asked for.
pub(super) const OWN_PLAN: &str = "default";

/// A start that a key makes safe to repeat.
#[derive(Debug)]
pub(super) struct Remembered {
    service: Name,
    key: String,
    canary: Name,
    rollout: String,
}

impl ControlCore {
    pub(super) fn start(&mut self, now: Now, command: Command) {
        let Command::Start { service, canary, plan, reason, idempotency_key, reply } = command else { return };
        if let Some(key) = &idempotency_key {
            match self.repeated(now, &service, &canary, key) {
                Ok(None) => {}
                Ok(Some(Repeated::View(view))) => return self.say(reply, Ok(*view)),
                Ok(Some(Repeated::Waits(revision))) => {
                    if let Some(served) = self.services.get_mut(&service) {
                        served.waiting.push((revision, Reply::Rollout(reply)));
                    }
                    return;
                }
                Err(refused) => return self.say(reply, Err(refused)),
            }
        }
        let id = self.fresh_id(now);
        let event = reason_is_short(reason.as_deref())
            .and_then(|()| key_is_short(idempotency_key.as_deref()))
            .and_then(|()| self.plan(&service, plan.as_deref()))
            .map(|(plan_name, plan)| {
                let (id, canary, key) = (id.clone(), canary.clone(), idempotency_key.clone());
                Event::Start(Box::new(Start { id, canary, plan_name, plan, reason, idempotency_key: key }))
            });
        let changed = event.and_then(|event| self.transition(now, &service, event));
        if let (Ok(_), Some(key)) = (&changed, idempotency_key) {
            self.remembered.truncate(REMEMBERED - 1);
            self.remembered.push_front(Remembered { service: service.clone(), key, canary, rollout: id });
        }
        self.changed(now, &service, Reply::Rollout(reply), changed);
    }

    pub(super) fn act(
        &mut self,
        now: Now,
        service: &Name,
        action: Action,
        reason: Option<String>,
        reply: oneshot::Sender<Result<RolloutView, Refused>>,
    ) {
        let id = self.fresh_id(now);
        let changed = reason_is_short(reason.as_deref())
            .and_then(|()| self.transition(now, service, Event::Act { action, reason, id }));
        self.changed(now, service, Reply::Rollout(reply), changed);
    }

    pub(super) fn set_weight(&mut self, now: Now, command: Command) {
        let Command::SetWeight { service, version, weight, if_generation, reason, reply } = command else { return };
        let changed = reason_is_short(reason.as_deref())
            .and_then(|()| self.transition(now, &service, Event::SetWeight { version, weight, if_generation, reason }));
        self.changed(now, &service, Reply::Service(reply), changed);
    }

    fn transition(&mut self, now: Now, service: &Name, event: Event) -> Result<Change, Refused> {
        let moment = self.moment(now);
        let Self { services, plane, .. } = self;
        match services.get_mut(service) {
            Some(served) => {
                // Whatever a person ends is kept with the evidence as it is now.
                if let Some(judged) = &served.judged {
                    served.release.show(&judged.judge().judgement(), Some(exhibit(judged.judge())));
                }
                // Where a step back leads to.
                let ill = served.ill_stable(plane.as_ref());
                served.release.sees_stable(ill);
                // Of a rollout that begins, whose canary may be another.
                let begins = match &event {
                    Event::Start(start) => Some(start.canary.clone()),
                    Event::Act { action: Action::Retry, .. } => {
                        served.release.state().rollout.as_ref().map(|rollout| rollout.canary.clone())
                    }
                    Event::Act { .. }
                    | Event::SetWeight { .. }
                    | Event::Judged { .. }
                    | Event::Journalled { .. }
                    | Event::JournalFailed { .. }
                    | Event::FileChanged(_) => None,
                };
                // And of the version that an undo leads to, which serves everybody then.
                let undoes = matches!(&event, Event::Act { action: Action::Undo, .. });
                let leads_to = served.release.state().rollout.as_ref().filter(|_| undoes);
                let looked_at = begins.or_else(|| leads_to.map(|rollout| rollout.stable.clone()));
                let before = looked_at.map(|version| {
                    let readiness = served.readiness_of(&version, plane.as_ref());
                    served.release.sees(readiness)
                });
                let changed = served.release.transition(&moment, event);
                if let Some(before) = before.filter(|_| undoes || changed.is_err()) {
                    served.release.sees(before);
                }
                changed
            }
            None => Err(self.unknown_service(service)),
        }
    }

    /// Does what was accepted, and answers now or when it is on disk.
    fn changed(&mut self, now: Now, service: &Name, reply: Reply, changed: Result<Change, Refused>) {
        let change = match changed {
            Ok(change) => change,
            Err(refused) => return self.answer(now, service, reply, Err(refused)),
        };
        match (change.waits_for, self.services.get_mut(service)) {
            (Some(revision), Some(served)) => {
                served.waiting.push((revision, reply));
                self.perform(now, service, change);
            }
            (_, _) => {
                self.perform(now, service, change);
                self.answer(now, service, reply, Ok(()));
            }
        }
    }

    fn unknown_service(&self, service: &Name) -> Refused {
        let known = self.services.keys().map(Name::as_str).collect::<Vec<_>>().join(", ");
        Refused::Unknown(format!("there is no service {service}; there are: {known}"))
    }

    pub(super) fn service_view(&self, now: Now, service: &Name) -> Result<ServiceView, Refused> {
        super::snapshot::view_of(self, now, service).ok_or_else(|| self.unknown_service(service))
    }

    /// A plan by name: the service's own, or one that the configuration names.
    fn plan(&self, service: &Name, name: Option<&str>) -> Result<(String, Plan), Refused> {
        let served = self.services.get(service).ok_or_else(|| self.unknown_service(service))?;
        let name = name.unwrap_or(OWN_PLAN);
        if name == OWN_PLAN {
            return Ok((OWN_PLAN.to_owned(), served.release.service().plan.clone()));
        }
        let plans = &self.resolved.configuration.plans;
        match plans.iter().find(|(known, _)| known.as_str() == name) {
            Some((known, plan)) => Ok((known.to_string(), plan.clone())),
            None => {
                let known: String = plans.iter().map(|(known, _)| format!(", {known}")).collect();
                Err(Refused::Invalid(format!("there is no plan {name:?}; there are: {OWN_PLAN}{known}")))
            }
        }
    }

    /// The rollout that the same key began before.
    fn repeated(&self, now: Now, service: &Name, canary: &Name, key: &str) -> Result<Option<Repeated>, Refused> {
        let Some(served) = self.services.get(service) else { return Ok(None) };
        let release = &served.release;
        let same = |began: &Name| {
            if began == canary {
                return Ok(());
            }
            Err(Refused::Invalid(format!(
                "{service}: this Idempotency-Key began a rollout of {began}, not of {canary}: use a fresh key"
            )))
        };
        let waits = release.proposed().and_then(|next| Some((next.revision, next.rollout.as_ref()?)));
        if let Some((revision, rollout)) = waits
            && rollout.idempotency_key.as_deref() == Some(key)
            && release.state().rollout.as_ref().is_none_or(|in_force| in_force.id != rollout.id)
        {
            same(&rollout.canary)?;
            return Ok(Some(Repeated::Waits(revision)));
        }
        if let Some(rollout) = &release.state().rollout
            && rollout.idempotency_key.as_deref() == Some(key)
        {
            same(&rollout.canary)?;
            return Ok(Some(Repeated::View(Box::new(self.rollout_view(now, service)?))));
        }
        let known = self.remembered.iter().find(|known| known.service == *service && known.key == key);
        let ended = known.and_then(|known| {
            let ended = release.state().history.iter().find(|ended| ended.id == known.rollout)?;
            Some((known, ended))
        });
        match ended {
            Some((known, ended)) => {
                same(&known.canary)?;
                Ok(Some(Repeated::View(Box::new(RolloutView::clone(ended)))))
            }
            None => Ok(None),
        }
    }
}

/// What the first start with a key came to.
enum Repeated {
    View(Box<RolloutView>),
    /// It still waits for the disk, as this revision.
    Waits(u64),
}

fn reason_is_short(reason: Option<&str>) -> Result<(), Refused> {
    match reason.map(|reason| reason.chars().count()) {
        Some(length) if length > LONGEST_REASON => {
            Err(Refused::Invalid(format!("the reason is {length} characters long; legal are at most {LONGEST_REASON}")))
        }
        Some(_) | None => Ok(()),
    }
}

fn key_is_short(key: Option<&str>) -> Result<(), Refused> {
    match key.map(str::len) {
        Some(length) if length > LONGEST_KEY => Err(Refused::Invalid(format!(
            "the Idempotency-Key is {length} bytes long; legal are at most {LONGEST_KEY}"
        ))),
        Some(_) | None => Ok(()),
    }
}
