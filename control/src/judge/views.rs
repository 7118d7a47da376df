//! What the tests say, as users and the state machine see it.

use libm::log;

use super::background::ENOUGH_LATENCIES;
use super::beyond::BURSTY;
use super::copies::Copied;
use super::family::Reading;
use super::leaving;
use super::measure::{Lens, SERVICE, judges_everybody, population_of};
use super::record::{Established, GateRecord};
use super::settings::GateSetting;
use super::sightings::Sighting;
use super::words::{Compared, CopiesSeen, InBlocks, LookAt, ProofWaits, Told, Words};
use super::{BREAKER, Harm, Judge, Judgement, Rule, SUSPICION};
use crate::statistics::Blocks;
use crate::statistics::ratio::Between;
use crate::view::{Arms, Dispersion, GateView, RatioView, Role, Verdict};

/// A gate with what its tests say.
#[derive(Debug, Clone, Copy)]
struct Shown<'a> {
    place: usize,
    gate: &'a GateSetting,
    reading: &'a Reading,
    record: &'a GateRecord,
}

impl Judge {
    /// What the tests say now.
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        let record = &self.record;
        let left = Sighting { requests: record.step_requests, events: record.left_in_step };
        // Where clients end whatever they like whenever they like (streams), they do so on both versions.
        let uncounted = if leaving::leaves_more(left) { left.events } else { Arms::default() };
        Judgement {
            harm: record.established.as_ref().map(|harm| self.harm_of(harm.gate, &harm.explain)),
            hold: self.shown().find(|shown| self.is_over_limit_too(*shown)).map(|shown| self.over_limit_too(shown)),
            signal: self.signal(),
            traffic: self.mistrust(),
            proven: self.is_proven(),
            suspicion: record.established.is_some() || self.evidence_now() >= log(SUSPICION) || record.looks_broken(),
            requests: record.total.requests,
            failed: record.total.events,
            step_requests: Arms {
                stable: record.step_requests.stable.saturating_sub(uncounted.stable),
                canary: record.step_requests.canary.saturating_sub(uncounted.canary),
            },
            left_in_step: uncounted,
            matched: record.matched,
            matched_in_step: record.matched_in_step,
            copies: self.copies.as_ref().map(Copied::total).unwrap_or_default(),
            copies_in_step: self.copies.as_ref().map(Copied::in_step).unwrap_or_default(),
            has_data: self.has_data(),
            uncompared: self.uncompared(),
            beyond: self.beyond(),
            unanswered: None,
            is_short: false,
            warms_up_for: if self.record.was_cold_again() { self.warms_up_for() } else { 0 },
        }
    }

    /// The gates as users see them. The breaker is among them once it fired, the baseline once it was found worse than
    /// stable, the traffic check once it has anything to go by.
    #[must_use]
    pub fn gates(&self) -> Vec<GateView> {
        let mut gates: Vec<GateView> = self.shown().map(|shown| self.view(shown)).collect();
        gates.extend(self.breaker_view());
        gates.extend(self.baseline.as_ref().and_then(|check| check.view(&self.settings)));
        gates.extend(self.leaving.view(&self.settings));
        gates.extend(self.traffic.view(&self.settings));
        gates
    }

    /// How bursty stable's events are, up to the last full second; none before it was measured.
    #[must_use]
    pub fn dispersion(&self) -> Option<Dispersion> {
        let [errors, latency] = self.bursts.phi();
        self.background.is_measured().then_some(Dispersion { errors, latency })
    }

    /// The evidence of the guardrails that can still gain or lose some: what gates saw of copies stands as it was when the
    /// last of them was sent, and holds no later step back.
    fn evidence_now(&self) -> f64 {
        if !self.settings.copies || self.sends_copies() {
            return self.family.log_evidence(Role::Guardrail);
        }
        let gates = &self.settings.gates;
        self.family.log_evidence_of(Role::Guardrail, |place| !gates[place].rule.is_of_copies())
    }

    /// What a person is asked about: what a gate that signals says, and that clients leave the canary. Whoever looks at
    /// one sees the other.
    fn signal(&self) -> Option<Harm> {
        let of_gates = self.record.signalled.as_ref().map(|harm| self.harm_of(harm.gate, &harm.explain));
        let leaving =
            self.leaving.found().map(|explain| Harm { gate: leaving::NAME.to_owned(), explain: explain.to_owned() });
        match (of_gates, leaving) {
            (Some(Harm { gate, explain }), Some(leaving)) => {
                let explain = format!("{explain}; {}: {}", leaving.gate, leaving.explain);
                Some(Harm { gate, explain })
            }
            (of_gates, leaving) => of_gates.or(leaving),
        }
    }

    /// Why what is measured cannot be trusted.
    fn mistrust(&self) -> Option<String> {
        let found: Vec<&str> = self.unfit_baseline().into_iter().chain(self.traffic.found()).collect();
        (!found.is_empty()).then(|| found.join("; "))
    }

    /// That the version in stable's place is worse than stable.
    fn unfit_baseline(&self) -> Option<&str> {
        self.baseline.as_ref()?.found()
    }

    fn breaker_view(&self) -> Option<GateView> {
        let harm = self.record.established.as_ref().filter(|harm| harm.gate.is_none())?;
        Some(GateView {
            name: BREAKER.to_owned(),
            role: Role::Guardrail,
            verdict: Verdict::Fail,
            log_evidence: Some(harm.log_evidence),
            threshold: self.breaker_threshold(),
            progress: 1.0,
            explain: harm.explain.clone(),
            path: None,
            proof: None,
            counts: None,
            estimate: None,
            ratio: None,
        })
    }

    fn view(&self, shown: Shown<'_>) -> GateView {
        let Shown { place, gate, reading, record } = shown;
        let verdict = self.verdict(shown);
        let was_fed = record.counts.requests.canary > 0 || record.counts.requests.stable > 0;
        // Where it failed, the figures are those of then, as its sentence is.
        let harm = self.failed(place).map_or(reading.harm, |harm| harm.log_evidence);
        let log_evidence = was_fed.then_some(harm);
        let way = log_evidence.map_or(0.0, |nats| (nats / reading.threshold).clamp(0.0, 1.0));
        let proven = self.family.proven(place);
        let proof = (proven.log_evidence / log(1.0 / self.settings.beta)).clamp(0.0, 1.0);
        GateView {
            name: gate.name.clone(),
            role: gate.role,
            verdict,
            log_evidence,
            threshold: reading.threshold,
            progress: if verdict == Verdict::Fail { 1.0 } else { way },
            explain: self.explain(shown, verdict),
            path: gate.path.and_then(|path| self.settings.paths.get(path)).cloned(),
            proof: proven.fed.then_some(proof),
            counts: was_fed.then(|| record.counts.into()),
            estimate: record.estimate,
            ratio: self.ratios.between(place, self.settings.alpha).filter(says_something).map(|between| RatioView {
                low: between.low,
                high: between.high,
                confidence: 1.0 - self.settings.alpha,
                explain: self.words_of(gate).ratio(between, self.settings.alpha),
            }),
        }
    }

    /// Fail stays; without data nothing is said; suspicion, of harm or that a limit is broken, outweighs what is proven.
    fn verdict(&self, shown: Shown<'_>) -> Verdict {
        let Shown { place, gate, reading, .. } = shown;
        if self.failed(place).is_some() {
            return Verdict::Fail;
        }
        if !self.has_data_of(gate) {
            return Verdict::NoData;
        }
        let proven = self.family.proven(place).log_evidence >= log(1.0 / self.settings.beta);
        let suspected = |nats: f64| nats >= log(SUSPICION);
        let over_limit = reading.over_limit.is_some_and(suspected) || self.is_over_limit_too(shown);
        let doubted = suspected(reading.harm) || over_limit;
        let unfit = self.unfit_baseline().is_some() && !gate.rule.is_of_copies();
        if proven && !doubted && !unfit { Verdict::Pass } else { Verdict::Inconclusive }
    }

    /// How a gate failed, as a guardrail or as a signal.
    fn failed(&self, place: usize) -> Option<&Established> {
        let harms = [&self.record.established, &self.record.signalled];
        harms.into_iter().flatten().find(|harm| harm.gate == Some(place))
    }

    fn explain(&self, shown: Shown<'_>, verdict: Verdict) -> String {
        let Shown { place, gate, reading, record } = shown;
        let words = self.words_of(gate);
        match verdict {
            Verdict::Fail => self.failed(place).map(|harm| harm.explain.clone()).unwrap_or_default(),
            Verdict::NoData if gate.rule.is_of_copies() => words.no_copies(self.copies_seen()),
            Verdict::NoData => {
                let population = self.measure.population(population_of(&self.settings, gate));
                words.no_data(gate, population.unseen_for(self.record.seconds), population.open())
            }
            Verdict::Pass => words.passes(self.told_of_step(shown)),
            Verdict::Inconclusive if self.is_over_limit_too(shown) => self.over_limit_too(shown),
            Verdict::Inconclusive if reading.harm >= log(SUSPICION) => {
                let seconds = self.record.seconds_since(record.rises.harm.since);
                // Once one test has established harm nothing more is established, and the evidence of the others goes on.
                let enough = reading.harm >= reading.threshold;
                let suspicion = words.suspicion(self.risen(place), seconds, enough);
                suspicion + &self.and_blocks(place)
            }
            Verdict::Inconclusive if gate.rule.is_of_copies() => {
                words.well(self.told(shown), self.copies_wait(), self.bursts_of(gate))
            }
            Verdict::Inconclusive if self.unfit_baseline().is_some() => words.no_standard(self.told(shown)),
            Verdict::Inconclusive => {
                let well = || {
                    let well = words.well(self.told(shown), self.proof_waits(), self.bursts_of(gate));
                    well + &self.and_blocks(place)
                };
                self.waits(shown).unwrap_or_else(well)
            }
        }
    }

    /// The dispersion of what a gate counts, where it is so large that a verdict takes much longer.
    fn bursts_of(&self, gate: &GateSetting) -> Option<f64> {
        let Dispersion { errors, latency } = self.dispersion()?;
        let phi = match gate.rule {
            Rule::Errors { .. } | Rule::ErrorLimit { .. } | Rule::Copies { .. } => errors,
            Rule::Shape { .. } | Rule::Quantile { .. } => latency,
            Rule::LatencyLimit { .. } => errors.max(latency),
        };
        Some(phi).filter(|phi| *phi >= BURSTY)
    }

    /// What a gate of errors saw in blocks of time.
    pub(super) fn in_blocks(&self, place: usize) -> Option<InBlocks> {
        let ratio = self.bursts.temper(self.record.size()).ratio;
        let of = |blocks: &Blocks| InBlocks { run: blocks.run(), far_more: blocks.far_more(ratio) };
        self.family.blocks(place).map(of)
    }

    fn and_blocks(&self, place: usize) -> String {
        let words = self.words_of(&self.settings.gates[place]);
        self.in_blocks(place).map(|seen| words.and_blocks(seen)).unwrap_or_default()
    }

    /// What a gate that compares latencies waits for, where it waits for anything.
    fn waits(&self, shown: Shown<'_>) -> Option<String> {
        let lens = self.measure.lens(shown.gate)?;
        match self.record.cold_for(self.settings.warmup_seconds) {
            Some(cold_for) if cold_for > 0 => return Some(self.words().warms_up(shown.gate, cold_for)),
            Some(_) | None => {}
        }
        let total = || lens.recent(&self.background).total();
        (!lens.has_edges()).then(|| self.words().too_few_latencies(shown.gate, total()))
    }

    /// What the first guardrail says that compares latencies and knows too few of stable's, where they would come.
    fn uncompared(&self) -> Option<String> {
        self.shown().filter(|shown| shown.gate.role == Role::Guardrail).find_map(|shown| {
            let lens = self.measure.lens(shown.gate).filter(|lens| !lens.has_edges())?;
            let total = lens.recent(&self.background).total();
            let asked = self.measure.population(population_of(&self.settings, shown.gate)).in_step().stable;
            let would_come = total >= 1.0 && 2.0 * total >= asked as f64;
            (would_come && total < ENOUGH_LATENCIES).then(|| self.words().too_few_latencies(shown.gate, total))
        })
    }

    /// Whether a batch of what a gate judges closed lately.
    fn has_data_of(&self, gate: &GateSetting) -> bool {
        let seconds = self.record.seconds;
        if gate.rule.is_of_copies() {
            return self.copies.as_ref().is_some_and(|copied| copied.has_data(seconds));
        }
        self.measure.has_data(population_of(&self.settings, gate), seconds)
    }

    /// What there is of copies while there is nothing to judge.
    fn copies_seen(&self) -> CopiesSeen {
        match &self.copies {
            Some(copied) if copied.is_on() => {
                CopiesSeen::Waiting { unseen_for: copied.unseen_for(self.record.seconds), open: copied.open() }
            }
            Some(_) | None => CopiesSeen::NoneSent,
        }
    }

    /// For how many seconds latencies are not compared yet, where any gate compares some.
    fn warms_up_for(&self) -> u64 {
        let compares = self.measure.compares_latencies();
        self.record.cold_for(self.settings.warmup_seconds).filter(|_| compares).unwrap_or(0)
    }

    /// Why copies prove nothing yet.
    fn copies_wait(&self) -> Option<ProofWaits> {
        let restarted = self.record.has_settled_in_step();
        let patience = self.record.patience();
        let waits = if restarted { ProofWaits::Restart { patience } } else { ProofWaits::NewStep { patience } };
        (!self.record.is_steady()).then_some(waits)
    }

    /// Why nothing can be proven yet.
    fn proof_waits(&self) -> Option<ProofWaits> {
        let warmup = self.settings.warmup_seconds;
        let (cold_for, unproven_for) = (self.record.cold_for(warmup)?, self.record.unproven_for(warmup)?);
        let patience = self.record.patience();
        match (cold_for, unproven_for) {
            (_, 0) => None,
            (cold_for, unproven_for) if cold_for == unproven_for => Some(ProofWaits::WarmUp { seconds: cold_for }),
            (_, _) if self.record.has_settled_in_step() => Some(ProofWaits::Restart { patience }),
            (_, _) => Some(ProofWaits::NewStep { patience }),
        }
    }

    /// What a gate saw over its whole time.
    fn told<'a>(&'a self, shown: Shown<'a>) -> Told<'a> {
        self.told_with(shown, shown.record.counts, LookAt::Shape)
    }

    /// What a gate saw since the step began.
    fn told_of_step<'a>(&'a self, shown: Shown<'a>) -> Told<'a> {
        self.told_with(shown, shown.record.in_step, LookAt::Proven)
    }

    fn told_with<'a>(&'a self, Shown { gate, .. }: Shown<'a>, seen: Sighting, shape: LookAt) -> Told<'a> {
        let latencies = self.measure.lens(gate).map(Lens::step);
        let latencies = latencies.filter(|latencies| latencies.canary.total() > 0);
        let compared = latencies.map(|latencies| Compared { latencies, look_at: look_at(&gate.rule, shape) });
        Told { gate, seen, compared }
    }

    /// What a gate saw in the time in which its evidence for harm rose.
    pub(super) fn risen(&self, place: usize) -> Told<'_> {
        let (gate, rises) = (&self.settings.gates[place], &self.record.gates[place].rises);
        let compared = rises.latencies.as_ref().map(|risen| Compared {
            latencies: &risen.profiles,
            look_at: look_at(&gate.rule, LookAt::Moved(risen.moved())),
        });
        Told { gate, seen: rises.harm.seen, compared }
    }

    /// Whether the canary is over this gate's limit and harm is not established.
    fn is_over_limit_too(&self, shown: Shown<'_>) -> bool {
        let Reading { over_limit, threshold, .. } = shown.reading;
        self.record.established.is_none() && over_limit.is_some_and(|nats| nats >= *threshold)
    }

    fn over_limit_too(&self, shown: Shown<'_>) -> String {
        let rise = shown.record.rises.over_limit.unwrap_or_default();
        let told = Told { gate: shown.gate, seen: rise.seen, compared: None };
        self.words_of(shown.gate).over_limit_too(told, self.record.seconds_since(rise.since))
    }

    /// Every gate that judges in the present step passes, and the breaker is quiet. A signal that has nothing to judge is
    /// not waited for; where no gate passes nothing is proven.
    fn is_proven(&self) -> bool {
        let passes = |shown| self.verdict(shown) == Verdict::Pass;
        let quiet = self.record.established.is_none() && self.family.breaker().log_evidence() < log(SUSPICION);
        let judges = || self.shown().filter(|shown| shown.gate.rule.is_of_copies() == self.sends_copies());
        let warm = self.sends_copies() || self.warms_up_for() == 0;
        quiet && warm && judges().any(passes) && judges().all(|shown| passes(shown) || self.is_idle_signal(shown))
    }

    /// Whether it is a signal without data, now or in this step.
    fn is_idle_signal(&self, shown: Shown<'_>) -> bool {
        let Arms { stable, canary } = self.in_step_of(shown.gate);
        let idle = || stable == 0 || canary == 0 || self.verdict(shown) == Verdict::NoData;
        shown.gate.role == Role::Signal && idle()
    }

    /// Whether a batch closed lately: of copies, where the step sends them; else of the service, and of each path that a
    /// guardrail judges.
    fn has_data(&self) -> bool {
        if let Some(copied) = self.copies.as_ref().filter(|copied| copied.is_on()) {
            return copied.has_data(self.record.seconds);
        }
        let of_users = |gate: &&GateSetting| gate.role == Role::Guardrail && !gate.rule.is_of_copies();
        let guardrails = self.settings.gates.iter().filter(of_users);
        let populations = guardrails.map(|gate| population_of(&self.settings, gate));
        std::iter::once(SERVICE).chain(populations).all(|place| self.measure.has_data(place, self.record.seconds))
    }

    fn shown(&self) -> impl Iterator<Item = Shown<'_>> {
        let gates = self.settings.gates.iter().zip(&self.record.gates).enumerate();
        gates.map(|(place, (gate, record))| Shown { place, gate, reading: self.family.reading(place), record })
    }

    fn harm_of(&self, place: Option<usize>, explain: &str) -> Harm {
        let gate = place.and_then(|place| self.settings.gates.get(place)).map_or(BREAKER, |gate| &gate.name);
        Harm { gate: gate.to_owned(), explain: explain.to_owned() }
    }

    pub(super) fn words(&self) -> Words<'_> {
        Words::new(&self.settings)
    }

    /// As [`words`](Self::words), of what this gate compares the canary with: where it judges everybody, all of stable.
    pub(super) fn words_of(&self, gate: &GateSetting) -> Words<'_> {
        let words = self.words();
        let beside_all = gate.rule.is_of_copies() || judges_everybody(&self.settings, gate);
        if beside_all { words.beside_all() } else { words }
    }
}

/// That the canary fails more than 0.02 times as often says nothing to anybody.
fn says_something(between: &Between) -> bool {
    between.high.is_some() || between.low.is_some_and(|low| low >= 1.0)
}

fn look_at(rule: &Rule, shape: LookAt) -> LookAt {
    match *rule {
        Rule::Quantile { quantile, .. } => LookAt::Quantile(quantile),
        Rule::Shape { .. }
        | Rule::Errors { .. }
        | Rule::ErrorLimit { .. }
        | Rule::LatencyLimit { .. }
        | Rule::Copies { .. } => shape,
    }
}
