//! A release under test, with a disk that does as it is told.

use config::Configuration;

use super::*;
use crate::judge::{Copies, Harm};
use crate::view::{Arms, Matched, Role};

pub(super) const VERSIONS: &str =
    "versions: { v1: { endpoints: ['a:1'] }, v2: { endpoints: ['b:1'] }, v3: { endpoints: ['c:1'] } }";
pub(super) const PLAN: &str = "plan: { steps: [{ weight: 1%, hold: 10s }, { weight: 10%, hold: 10s }, { approval: true }, \
                    { weight: 50%, hold: 10s }] }";

pub(super) fn configuration(shop: &str) -> Configuration {
    config::parse(&format!("services: {{ shop: {{ {shop} }} }}"), "test.yaml").unwrap().configuration
}

pub(super) fn service(split: &str) -> Arc<Service> {
    let shop = format!("{split}, {VERSIONS}, {PLAN}");
    Arc::new(configuration(&shop).services.remove(0))
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn weight(basis_points: u16) -> Weight {
    Weight::from_basis_points(basis_points).unwrap()
}

/// One release and the disk under it, which is as quick or as slow as a test wants.
pub(super) struct World {
    pub(super) release: Release,
    pub(super) seconds: u64,
    pub(super) problem: Option<Arc<str>>,
    /// Every state that was sent to the journal, oldest first.
    pub(super) journal: Vec<State>,
    pub(super) effects: Vec<Effect>,
    pub(super) ids: u32,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with("stable: v1")
    }

    pub(super) fn with(split: &str) -> Self {
        Self::of(service(split))
    }

    /// A rollout of v2 under this plan, at its first step.
    pub(super) fn under(plan: &str) -> Self {
        let shop = format!("stable: v1, {VERSIONS}, plan: {{ {plan} }}");
        let mut world = Self::of(Arc::new(configuration(&shop).services.remove(0)));
        world.start("v2").unwrap();
        world.sync();
        world.effects.clear();
        world
    }

    pub(super) fn of(service: Arc<Service>) -> Self {
        let (release, _) = Release::begin(service, &moment(0, None));
        Self { release, seconds: 0, problem: None, journal: Vec::new(), effects: Vec::new(), ids: 0 }
    }

    pub(super) fn event(&mut self, event: Event) -> Result<Option<u64>, Refused> {
        let change = self.release.transition(&moment(self.seconds, self.problem.clone()), event)?;
        self.note(change.effects);
        Ok(change.waits_for)
    }

    pub(super) fn note(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if let Effect::Journal { state, .. } = &effect {
                self.journal.push((**state).clone());
            }
            self.effects.push(effect);
        }
    }

    /// The disk takes everything that was sent.
    pub(super) fn sync(&mut self) {
        let revisions: Vec<u64> = self.journal.iter().map(|state| state.revision).collect();
        for revision in revisions {
            self.event(Event::Journalled { revision }).unwrap();
        }
    }

    pub(super) fn start(&mut self, canary: &str) -> Result<Option<u64>, Refused> {
        self.ids += 1;
        let plan = self.release.service().plan.clone();
        let start = Start {
            id: format!("rollout-{}", self.ids),
            canary: name(canary),
            plan_name: "default".into(),
            plan,
            reason: None,
            idempotency_key: None,
        };
        self.event(Event::Start(Box::new(start)))
    }

    pub(super) fn act(&mut self, action: Action) -> Result<Option<u64>, Refused> {
        self.ids += 1;
        self.event(Event::Act { action, reason: None, id: format!("rollout-{}", self.ids) })
    }

    pub(super) fn set_weight(&mut self, version: &str, basis_points: u16) -> Result<Option<u64>, Refused> {
        let (version, weight) = (Some(name(version)), weight(basis_points));
        self.event(Event::SetWeight { version, weight, if_generation: None, reason: None })
    }

    pub(super) fn judged(&mut self, judgement: Judgement) {
        self.event(Event::Judged { judgement, exhibit: None }).unwrap();
    }

    /// The tests spoke, and these are the gates that they show.
    pub(super) fn shown(&mut self, judgement: Judgement, gates: Vec<GateView>) {
        let exhibit = Some(Exhibit { gates, dispersion: None });
        self.event(Event::Judged { judgement, exhibit }).unwrap();
    }

    pub(super) fn count(&self, wanted: &Effect) -> usize {
        self.effects.iter().filter(|effect| *effect == wanted).count()
    }

    /// What people were told.
    pub(super) fn told(&self) -> Vec<String> {
        let text = |effect: &'_ Effect| {
            let Effect::Announce { text, .. } = effect else { return None };
            Some(text.clone())
        };
        self.effects.iter().filter_map(text).collect()
    }

    pub(super) fn rollout(&self) -> &Rollout {
        self.release.state().rollout.as_ref().unwrap()
    }

    pub(super) fn step(&self) -> usize {
        self.rollout().step + 1
    }

    /// So many seconds of good traffic pass.
    pub(super) fn pass(&mut self, seconds: u64) {
        self.seconds += seconds;
        self.judged(good());
    }

    /// A rollout of v2 in the phase.
    pub(super) fn in_phase(phase: Phase) -> Self {
        let mut world = Self::new();
        world.start("v2").unwrap();
        world.sync();
        match phase {
            Phase::Progressing => {}
            Phase::Paused => _ = world.act(Action::Pause).unwrap(),
            Phase::AwaitingApproval => {
                world.act(Action::Skip).unwrap();
                world.sync();
                world.act(Action::Skip).unwrap();
            }
            Phase::Promoting | Phase::Promoted => _ = world.act(Action::Promote).unwrap(),
            Phase::RolledBack => world.judged(bad()),
            Phase::Aborted => _ = world.act(Action::Abort).unwrap(),
            Phase::Superseded => {
                world.start("v3").unwrap();
                let revision = world.release.proposed().unwrap().revision;
                world.event(Event::JournalFailed { revision, problem: "full".into() }).unwrap();
            }
        }
        if phase != Phase::Promoting {
            world.sync();
        }
        assert_eq!(world.release.phase(), Some(phase));
        world
    }

    pub(super) fn weight(&self, version: &str) -> u16 {
        self.release.state().weight_of(&name(version)).basis_points()
    }

    pub(super) fn phase(&self) -> Phase {
        self.release.phase().unwrap()
    }

    pub(super) fn reason(&self) -> String {
        self.release.rollout_view(&moment(self.seconds, None)).and_then(|view| view.reason).unwrap_or_default()
    }

    pub(super) fn restart(&self, journalled: &State, split: &str) -> Self {
        let (release, change) = Release::restore(service(split), journalled.clone(), None, &moment(self.seconds, None));
        let mut world =
            Self { release, seconds: self.seconds, problem: None, journal: Vec::new(), effects: Vec::new(), ids: 100 };
        world.note(change.effects);
        world
    }
}

pub(super) fn moment(seconds: u64, journal_problem: Option<Arc<str>>) -> Moment {
    let elapsed = Duration::from_secs(seconds);
    let wall = Timestamp::from_second(1_795_310_400 + i64::try_from(seconds).unwrap()).unwrap();
    Moment { elapsed, wall, journal_problem }
}

pub(super) fn good() -> Judgement {
    let enough = Arms { stable: 1_000, canary: 1_000 };
    Judgement {
        signal: None,
        traffic: None,
        proven: false,
        harm: None,
        hold: None,
        suspicion: false,
        requests: enough,
        failed: Arms::default(),
        step_requests: enough,
        left_in_step: Arms::default(),
        matched: Matched::default(),
        matched_in_step: 0,
        copies: Copies::default(),
        copies_in_step: Copies::default(),
        has_data: true,
        warms_up_for: 0,
        uncompared: None,
        beyond: None,
        unanswered: None,
        is_short: false,
    }
}

pub(super) fn bad() -> Judgement {
    Judgement { harm: Some(Harm { gate: "errors".into(), explain: "v2 fails 9 %".into() }), ..good() }
}

pub(super) fn proven() -> Judgement {
    Judgement { proven: true, ..good() }
}

pub(super) fn gate(name: &str, verdict: Verdict, proof: Option<f64>) -> GateView {
    GateView {
        name: name.into(),
        role: Role::Guardrail,
        verdict,
        log_evidence: None,
        threshold: 4.7,
        progress: 0.0,
        explain: String::new(),
        path: None,
        proof,
        counts: None,
        estimate: None,
        ratio: None,
    }
}
