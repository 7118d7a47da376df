//! Does what the state machine asks for, and answers whoever asked for it.

use config::Name;
use tokio::sync::oneshot;

use super::Now;
use super::core::ControlCore;
use super::estimates::Estimates;
use super::judged::Judged;
use super::looking::exhibit;
use super::served::Reply;
use crate::command::Refused;
use crate::rollout::{Change, Effect};
use crate::view::{self, RolloutView};

impl ControlCore {
    /// Does what a change of a release asks for.
    pub(super) fn perform(&mut self, now: Now, name: &Name, change: Change) {
        for effect in change.effects {
            let Some(served) = self.services.get_mut(name) else { return };
            served.changed = true;
            match effect {
                Effect::Steer if self.installing => {}
                Effect::Steer => {
                    served.estimates.due = true;
                    self.plane.steer(name, &served.release.state().split());
                }
                Effect::Journal { state, cause } => {
                    // A step forward is on disk before it happens: meanwhile connections are opened.
                    self.plane.prepare(name, &state.split());
                    self.link.append(name, *state, cause, now.elapsed, now.wall);
                }
                Effect::BeginJudge => self.begin_judge(now, name),
                Effect::NewStep { fell } => {
                    served.estimates.due = true;
                    served.tell_judge(|judged| judged.new_step(now.wall));
                    if fell {
                        self.begin_exposure(name);
                    }
                }
                Effect::Acknowledge => served.tell_judge(|judged| judged.acknowledge(now.wall)),
                Effect::BeginAnew => served.tell_judge(|judged| judged.begin_anew(now.wall)),
                Effect::WarmUpAgain => served.tell_judge(|judged| judged.warm_up_again(now.wall)),
                Effect::EndJudge => self.end_judge(now, name),
                Effect::Announce { kind, text } => self.tell(now, Some(name), kind, text),
                Effect::Settle { revision, result } => self.settle(now, name, revision, &result),
            }
        }
    }

    fn begin_judge(&mut self, now: Now, name: &Name) {
        self.begin_exposure(name);
        let Some(first_byte) = self.services.get(name).map(|served| self.first_byte(served.release.service())) else {
            return;
        };
        let Some(served) = self.services.get_mut(name) else { return };
        let Some(rollout) = served.release.state().running() else { return };
        served.known.follow(&rollout.stable);
        let judged = Judged::begin(&self.recording, name, rollout, now.wall, served.known.lend(), first_byte);
        served.release.show(&judged.judge().judgement(), Some(exhibit(judged.judge())));
        served.judged = Some(judged);
        // Those of a rollout that goes on are of its steps.
        served.estimates = Estimates::default();
    }

    fn end_judge(&mut self, now: Now, name: &Name) {
        let Some(served) = self.services.get_mut(name) else { return };
        let Some(judged) = served.judged.take() else { return };
        let rollout = served.release.state().rollout.as_ref();
        let outcome = rollout.map(|rollout| rollout.phase).filter(|phase| phase.has_ended());
        served.lost = None;
        let background = judged.end(now.wall, outcome);
        if let Some(rollout) = rollout {
            served.known.keep(&rollout.stable, background);
        }
        served.estimates = Estimates::default();
        self.saving.hasten();
    }

    fn settle(&mut self, now: Now, name: &Name, revision: u64, result: &Result<(), Refused>) {
        let Some(served) = self.services.get_mut(name) else { return };
        let settled: Vec<_> = served.waiting.extract_if(.., |(waited, _)| *waited == revision).collect();
        for (_, reply) in settled {
            self.answer(now, name, reply, result.clone());
        }
    }

    /// Answers whoever asked.
    pub(super) fn answer(&mut self, now: Now, name: &Name, reply: Reply, result: Result<(), Refused>) {
        match reply {
            Reply::Rollout(reply) => {
                let answer = result.and_then(|()| self.rollout_view(now, name));
                self.say(reply, answer);
            }
            Reply::Service(reply) => {
                let present = self.service_view(now, name);
                let answer = match (result, present) {
                    (Ok(()), present) => present,
                    (Err(Refused::Conflict { detail, .. }), present) => {
                        Err(Refused::Conflict { detail, present: present.ok().map(Box::new) })
                    }
                    (Err(refused), _) => Err(refused),
                };
                self.say(reply, answer);
            }
            Reply::Reload(number) => self.reload_settled(number, result),
        }
    }

    /// Answers once the snapshot shows what is answered: whoever reads after the answer sees what it said.
    pub(super) fn say<T: Send + 'static>(&mut self, reply: oneshot::Sender<T>, answer: T) {
        // Nobody may be there any more.
        self.answers.push(Box::new(move || drop(reply.send(answer))));
    }

    pub(super) fn rollout_view(&self, now: Now, name: &Name) -> Result<RolloutView, Refused> {
        let release = self.services.get(name).map(|served| &served.release);
        let view = release.and_then(|release| release.rollout_view(&self.moment(now)));
        view.ok_or_else(|| Refused::Unknown(format!("{name}: there was no rollout yet")))
    }

    /// Tells people.
    pub(super) fn tell(&self, now: Now, name: Option<&Name>, kind: &'static str, text: String) {
        let rollout = name.and_then(|name| self.rollout_view(now, name).ok());
        tracing::info!(service = name.map(Name::as_str), kind, text, "event");
        let (service, at) = (name.map(ToString::to_string), now.wall.to_string());
        self.events.append(view::Event { id: self.first_event, at, service, kind: kind.to_owned(), text, rollout });
    }
}
