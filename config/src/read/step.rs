//! The steps of a plan.

use std::time::Duration;

use crate::cursor::{Cursor, Fields, Report};
use crate::keys;
use crate::literal::{self, Illegal, spelt};
use crate::model::{Deadline, Match, OnDeadline, Plan, Step};
use crate::problem::{did_you_mean, listed, quoted};
use crate::read::headers::{Wanted, wanted};
use crate::tree::Place;
use crate::units::Weight;

/// What is written of a key: nothing, something wrong, or a value and where it stands.
enum Said<'a, T> {
    Nothing,
    Wrong,
    Value(T, Cursor<'a>),
}

impl<'a, T: Copy> Said<'a, T> {
    fn read(fields: &Fields<'a>, key: &str, read: impl FnOnce(&Cursor<'a>) -> Option<T>) -> Self {
        let Some(written) = fields.get(key) else { return Self::Nothing };
        read(written).map_or(Self::Wrong, |value| Self::Value(value, written.clone()))
    }

    /// The value, or what holds where nothing is written; none where something wrong is.
    fn or(&self, usual: T) -> Option<T> {
        match self {
            Self::Nothing => Some(usual),
            Self::Wrong => None,
            Self::Value(value, _) => Some(*value),
        }
    }
}

/// How a step may end otherwise than by its hold.
struct Ending<'a> {
    early: Said<'a, bool>,
    deadline: Said<'a, Duration>,
    on_deadline: Said<'a, OnDeadline>,
}

impl<'a> Ending<'a> {
    const UNSAID: Self = Self { early: Said::Nothing, deadline: Said::Nothing, on_deadline: Said::Nothing };

    fn read(fields: &Fields<'a>, report: &mut Report) -> Self {
        const WORDS: [(&str, OnDeadline); 3] =
            [("hold", OnDeadline::Hold), ("promote", OnDeadline::Promote), ("roll-back", OnDeadline::RollBack)];
        Self {
            early: Said::read(fields, "early", |written| written.switch(report)),
            deadline: Said::read(fields, "deadline", |written| written.literal(report, "a time, like 1h", deadline)),
            on_deadline: Said::read(fields, "on_deadline", |written| {
                written.choice(report, "cannot be done at a deadline", &WORDS)
            }),
        }
    }
}

fn deadline(text: &str) -> Result<Duration, Illegal> {
    let deadline = literal::duration(text)?;
    if deadline.is_zero() {
        return Err(Illegal::new(format!(
            "{} is over at once; legal is above 0s, and at least the hold",
            quoted(text)
        )));
    }
    Ok(deadline)
}

/// What a plan says for those of its weight steps that do not say it themselves.
pub(super) struct Usual<'a>(Ending<'a>);

impl<'a> Usual<'a> {
    pub(super) fn read(plan: &Fields<'a>, report: &mut Report) -> Self {
        Self(Ending::read(plan, report))
    }
}

/// What of the plan decides how soon a step can be proven.
#[derive(Clone, Copy)]
pub(super) struct ProofAt {
    /// Whether every step waits for proof.
    pub(super) always: bool,
    /// Nothing is proven while the canary warms up, which it does in the first step.
    pub(super) warmup: Duration,
    /// How long the service waits for the head of a response: before that nothing is proven in any step.
    pub(super) first_byte: Duration,
}

impl ProofAt {
    /// Nothing is proven in this time of a step, when what stable and canary have in flight is still of the step before.
    const PATIENCE: Duration = Duration::from_secs(15);

    /// For how long at least a step is not proven.
    fn least(self, is_first: bool) -> Duration {
        let least = self.first_byte.max(Self::PATIENCE);
        if is_first { self.warmup.max(least) } else { least }
    }

    /// The key that makes it so long, in parentheses; nothing where none does.
    fn why(self, least: Duration) -> &'static str {
        if least <= Self::PATIENCE {
            ""
        } else if least == self.first_byte {
            " (`timeouts.first_byte`)"
        } else {
            " (`warmup`)"
        }
    }
}

/// The steps as written, or the built-in ones, each with what the plan says for all. `proof` is none in a dry run, which
/// waits for no proof.
pub(super) fn steps(
    written: Option<&Cursor<'_>>,
    usual: &Usual<'_>,
    proof: Option<ProofAt>,
    report: &mut Report,
) -> Option<Vec<Step>> {
    let mut reading = Reading {
        usual,
        proof,
        highest: None,
        matches: false,
        longest: Duration::ZERO,
        deadlines: false,
        vain: Vec::new(),
    };
    let steps = match written {
        Some(written) => reading.written(written, report),
        None => reading.built_in(),
    };
    let steps = steps?;
    if !reading.fits_usual(report) {
        return None;
    }
    for (place, path, message) in reading.vain {
        report.warning(place, &path, message);
    }
    Some(steps)
}

/// What is known of the steps so far.
struct Reading<'a> {
    usual: &'a Usual<'a>,
    proof: Option<ProofAt>,
    /// The last weight, and where it stands.
    highest: Option<(Weight, Place)>,
    /// Whether anybody goes to the canary whatever its weight.
    matches: bool,
    /// The longest hold among the steps that take the plan's deadline.
    longest: Duration,
    /// Whether a step has a deadline of its own.
    deadlines: bool,
    /// What does nothing, and deadlines that leave no time for the proof that is awaited: where each is written, and why.
    vain: Vec<(Place, String, String)>,
}

const NO_DEADLINE: &str =
    "says what happens at a deadline, and there is none; write one beside it, like `deadline: 1h`, or leave it out";

impl Reading<'_> {
    fn built_in(&mut self) -> Option<Vec<Step>> {
        let steps = Step::built_in().into_iter().enumerate().map(|(number, step)| match step {
            Step::Weight { weight, hold, .. } => self.step(weight, hold, &Ending::UNSAID, number == 0),
            Step::Match { .. } | Step::Mirror { .. } | Step::Approval => Some(step),
        });
        steps.collect()
    }

    fn written(&mut self, written: &Cursor<'_>, report: &mut Report) -> Option<Vec<Step>> {
        let legal = "a list of steps, like [{ weight: 5%, hold: 10m }, { approval: true }]";
        let items = written.few_items(report, legal, "step", Plan::MOST_STEPS)?;
        let read: Vec<_> = items.iter().map(|item| self.item(item, report)).collect();
        let steps: Vec<Step> = read.into_iter().collect::<Option<_>>()?;
        if self.highest.is_none() {
            let message = "no step gives the canary a weight; write at least one, like { weight: 5%, hold: 10m }, or leave \
                           `steps` out for 1%, 5%, 25% and 50%";
            written.wrong(report, message);
            return None;
        }
        Some(steps)
    }

    fn item(&mut self, item: &Cursor<'_>, report: &mut Report) -> Option<Step> {
        const LEGAL: &str = "{ weight: 5%, hold: 10m }, { match: { x-beta: \"1\" }, hold: 10m }, { mirror: 10%, hold: 5m } \
                             or { approval: true }";
        const KINDS: [&str; 4] = ["weight", "match", "mirror", "approval"];
        let fields = item.fields(report, &keys::STEP)?;
        let mut kinds = KINDS.into_iter().filter_map(|kind| Some((kind, fields.get(kind)?)));
        let Some((kind, written)) = kinds.next() else {
            fields.chooses_none(report, format!("is no step; legal is {LEGAL}"));
            return None;
        };
        if let Some((_, second)) = kinds.next_back() {
            let message =
                format!("a step is a weight, a match, a mirror or an approval; write two steps, each {LEGAL}");
            second.wrong(report, message);
            return None;
        }
        match kind {
            "weight" => self.weight_step(written, &fields, report),
            "match" => self.match_step(written, &fields, report),
            "mirror" => self.mirror_step(written, &fields, report),
            _ => approval_step(written, &fields, report),
        }
    }

    fn weight_step(&mut self, weight: &Cursor<'_>, fields: &Fields<'_>, report: &mut Report) -> Option<Step> {
        if let Some(judged) = fields.get("judged") {
            judged.wrong(report, "is for a match, and those who draw the canary are always judged; leave it out");
            return None;
        }
        let is_first = self.highest.is_none();
        let weight = step_weight(weight, &mut self.highest, report);
        let hold = Said::read(fields, "hold", |hold| hold.literal(report, "a time, like 10m", literal::duration));
        let hold = hold.or(Step::HOLD);
        let own = Ending::read(fields, report);
        if let (Some(hold), Said::Value(deadline, written)) = (hold, &own.deadline)
            && *deadline < hold
        {
            let (deadline, hold) = (spelt(*deadline), spelt(hold));
            written.wrong(
                report,
                format!("{deadline} is shorter than this step's hold of {hold}; legal is {hold} or more"),
            );
            return None;
        }
        if let (Said::Nothing, Said::Nothing, Said::Value(_, written)) =
            (&own.deadline, &self.usual.0.deadline, &own.on_deadline)
        {
            written.wrong(report, NO_DEADLINE);
            return None;
        }
        self.deadlines |= !matches!(own.deadline, Said::Nothing);
        self.step(weight?, hold?, &own, is_first)
    }

    fn match_step(&mut self, written: &Cursor<'_>, fields: &Fields<'_>, report: &mut Report) -> Option<Step> {
        const LEGAL: &str = "a mapping from each header's name to its value, like { x-beta: \"1\" }, where `\"*\"` is any \
                             value and { cookie: beta=1 } one cookie; or `nobody`";
        if let Some(word) = written.word().filter(|word| *word != "nobody") {
            let near = did_you_mean(word, ["nobody"]);
            written.wrong(report, format!("{} is written here; legal is {LEGAL}{near}", quoted(word)));
            return None;
        }
        let vain = ["early", "deadline", "on_deadline"].into_iter().filter(|key| fields.has(key));
        let vain: Vec<&str> = vain.collect();
        if !vain.is_empty() {
            let message = format!("a match ends by its `hold` alone, without proof; leave {} out", listed(vain));
            fields.wrong(report, message);
            return None;
        }
        let hold = Said::read(fields, "hold", |hold| hold.literal(report, "a time, like 10m", literal::duration));
        if written.word().is_some() {
            return self.match_of_nobody(written, &hold, fields, report);
        }
        let judged = fields.or("judged", false, |written| written.switch(report));
        let Wanted { headers, cookie } = wanted(written, LEGAL, report)?;
        self.matches = true;
        let who = Match { headers, cookie, judged: judged? };
        Some(Step::Match { who: Some(who), hold: hold.or(Step::HOLD)? })
    }

    /// Copies are for a canary that has no users yet: once it has a weight, its own traffic says more.
    fn mirror_step(&mut self, written: &Cursor<'_>, fields: &Fields<'_>, report: &mut Report) -> Option<Step> {
        let vain = ["early", "deadline", "on_deadline", "judged"].into_iter().filter(|key| fields.has(key));
        let vain: Vec<&str> = vain.collect();
        if !vain.is_empty() {
            let message = format!(
                "a mirror ends by its `hold`, and by the proof that `advance` wants; leave {} out",
                listed(vain)
            );
            fields.wrong(report, message);
            return None;
        }
        let share: Option<Weight> = written.literal(report, "a share of stable's requests, like 10%", str::parse);
        let hold = Said::read(fields, "hold", |hold| hold.literal(report, "a time, like 5m", literal::duration));
        if let Some((weight, place)) = self.highest {
            let message = format!(
                "the canary has {weight} since the step at {}, and copies are for one without users; write the mirror before \
                 the first weight",
                report.place(place)
            );
            written.wrong(report, message);
            return None;
        }
        let share = share?;
        if share == Weight::ZERO {
            written.wrong(report, "`0%` copies nothing; legal is above 0%, up to 100%");
            return None;
        }
        Some(Step::Mirror { share, hold: hold.or(Step::HOLD)? })
    }

    /// From here on nobody goes to the canary but by its weight. There is nothing to wait for.
    fn match_of_nobody(
        &mut self,
        written: &Cursor<'_>,
        hold: &Said<'_, Duration>,
        fields: &Fields<'_>,
        report: &mut Report,
    ) -> Option<Step> {
        if let Some(judged) = fields.get("judged") {
            judged.wrong(report, "nobody matches, so there is nobody to judge; leave it out");
            return None;
        }
        if !std::mem::take(&mut self.matches) {
            let message = "nobody matches before this step either; leave it out".to_owned();
            self.vain.push((written.place, written.path.clone(), message));
        }
        Some(Step::Match { who: None, hold: hold.or(Duration::ZERO)? })
    }

    /// A step that says this of its ending, and the rest as the plan does.
    fn step(&mut self, weight: Weight, hold: Duration, own: &Ending<'_>, is_first: bool) -> Option<Step> {
        let usual = &self.usual.0;
        if matches!(own.deadline, Said::Nothing) {
            self.longest = self.longest.max(hold);
        }
        let early = own.early.or(usual.early.or(false)?)?;
        let after = match (&own.deadline, &usual.deadline) {
            (Said::Wrong, _) | (Said::Nothing, Said::Wrong) => return None,
            (Said::Value(after, _), _) | (Said::Nothing, Said::Value(after, _)) => Some(*after),
            (Said::Nothing, Said::Nothing) => None,
        };
        if let (Said::Value(after, written), _) | (Said::Nothing, Said::Value(after, written)) =
            (&own.deadline, &usual.deadline)
        {
            self.note_in_vain(weight, *after, early, is_first, written);
        }
        let then = own.on_deadline.or(usual.on_deadline.or(OnDeadline::default())?)?;
        Some(Step::Weight { weight, hold, early, deadline: after.map(|after| Deadline { after, then }) })
    }

    /// Notes a deadline that does nothing, or leaves no time for the proof that the step waits for. One that is written
    /// for all steps is noted once.
    fn note_in_vain(&mut self, weight: Weight, after: Duration, early: bool, is_first: bool, written: &Cursor<'_>) {
        let message = match self.proof {
            None => "a dry run has no deadlines: its steps end by time; this one does nothing".to_owned(),
            Some(proof) if (proof.always || early) && after <= proof.least(is_first) => {
                let least = proof.least(is_first);
                let why = proof.why(least);
                let (after, least) = (spelt(after), spelt(least));
                format!(
                    "the step at {weight} cannot be proven before its deadline of {after}: nothing is proven in its first \
                     {least}{why}; write a deadline that leaves time for the proof"
                )
            }
            Some(_) => return,
        };
        if !self.vain.iter().any(|(place, ..)| *place == written.place) {
            self.vain.push((written.place, written.path.clone(), message));
        }
    }

    /// Whether what the plan says for all steps fits those that take it.
    fn fits_usual(&self, report: &mut Report) -> bool {
        let usual = &self.usual.0;
        match (&usual.deadline, &usual.on_deadline) {
            (Said::Value(deadline, written), _) if *deadline < self.longest => {
                let (deadline, hold) = (spelt(*deadline), spelt(self.longest));
                let message = format!(
                    "{deadline} is shorter than the longest hold of a step without a deadline of its own, {hold}; \
                     legal is {hold} or more"
                );
                written.wrong(report, message);
                false
            }
            (Said::Nothing, Said::Value(_, written)) if !self.deadlines => {
                written.wrong(report, NO_DEADLINE);
                false
            }
            _ => true,
        }
    }
}

fn approval_step(approval: &Cursor<'_>, fields: &Fields<'_>, report: &mut Report) -> Option<Step> {
    let vain = keys::STEP.known.iter().copied().filter(|key| *key != "approval" && fields.has(key));
    let vain: Vec<&str> = vain.collect();
    if !vain.is_empty() {
        let message = format!("an approval waits for a person, however long; leave {} out", listed(vain));
        fields.wrong(report, message);
        return None;
    }
    let text = approval.text(report, "`true`")?;
    if text == "true" {
        return Some(Step::Approval);
    }
    approval.wrong(report, format!("{} is written here; legal is `true`, or leave the step out", quoted(text)));
    None
}

fn step_weight(written: &Cursor<'_>, highest: &mut Option<(Weight, Place)>, report: &mut Report) -> Option<Weight> {
    let weight: Weight = written.literal(report, "a weight, like 5%", str::parse)?;
    if weight == Weight::ZERO {
        written.wrong(report, "`0%` gives the canary nothing; legal is above 0% and below 100%");
        return None;
    }
    if weight == Weight::FULL {
        written.wrong(
            report,
            "`100%` leaves no stable traffic to compare with; legal is above 0% and below 100% (after its last step the \
             canary is promoted by itself)",
        );
        return None;
    }
    if let Some((before, place)) = highest.filter(|(before, _)| weight < *before) {
        let message = format!(
            "{weight} is below the {before} of an earlier step at {}; legal is {before} or more (weights never fall)",
            report.place(place)
        );
        written.wrong(report, message);
        return None;
    }
    *highest = Some((weight, written.place));
    Some(weight)
}
