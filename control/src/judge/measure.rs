//! Ticks become batches: of the whole service, and of each path that gates judge by itself. Where the plan gives the
//! canary people whom the gates that compare leave out, limits judge each of these with them.
//!
//! Each of these gathers for itself, so that a quiet path loses no evidence to a busy service. What decides how a
//! batch is counted (the edges of latencies, whether the canary is warm) is settled while the batch is empty, from
//! what came before, and stays until it closes.

use serde::{Deserialize, Serialize};

use super::background::{Background, REFRESH_SECONDS, Recent};
use super::counting::{Ascending, Counted, Edges, TickLatencies, Traffic};
use super::profile::Profile;
use super::settings::{GateSetting, Rule, Settings, Sight};
use super::sightings::{add, pair};
use super::{FRESH_SECONDS, Tick};
use crate::statistics::{Batch, Batcher};
use crate::view::Arms;

/// The population of all requests of the service; those of the paths follow it. Where people are left out, as many follow
/// that have them, in the same order.
pub(super) const SERVICE: usize = 0;

/// Everything that gathers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Measure {
    /// The whole service, then the paths in their order; then, where people are left out, the same with them.
    populations: Vec<Population>,
    lenses: Vec<Lens>,
    /// One a gate.
    gauges: Vec<Gauge>,
}

/// Requests that are gathered together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Population {
    batcher: Batcher,
    /// Whether the canary was warm when the open batch began.
    pub(super) warm: bool,
    /// Whether it could prove anything then.
    pub(super) proves: bool,
    /// When each version last had a request.
    #[serde(with = "pair")]
    seen_at: Arms<Option<u64>>,
    /// When a batch last closed.
    batch_at: Option<u64>,
    /// Requests since the step began.
    #[serde(with = "pair")]
    in_step: Arms<u64>,
}

/// Latencies that gates compare.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Lens {
    sight: Sight,
    /// Where the baseline's lie; none where that is known of stable from before the rollout.
    own: Option<Recent>,
    /// When edges were last looked for, and whether there were enough latencies.
    looked_at: Option<u64>,
    found: bool,
    #[serde(skip)]
    tick: TickLatencies,
    /// Of the open batch.
    #[serde(with = "pair")]
    open: Arms<Profile>,
    /// Of the batches of the present step.
    #[serde(with = "pair")]
    step: Arms<Profile>,
}

/// When a tick comes: how many seconds there were, and what the canary's state is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) seconds: u64,
    /// Whether latencies are compared.
    pub(super) warm: bool,
    /// Whether anything may be proven.
    pub(super) proves: bool,
}

/// What one gate counts of the open batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Gauge {
    edges: Option<Edges>,
    open: Counted,
}

/// The population that a gate judges; for one that judges copies of requests, none of them.
pub(super) fn population_of(settings: &Settings, gate: &GateSetting) -> usize {
    if gate.rule.is_of_copies() {
        return populations(settings);
    }
    let of_drawn = population_on(gate.path);
    if settings.leaves_out && gate.rule.has_limit() { of_drawn + populations_of_drawn(settings) } else { of_drawn }
}

/// Whether a population has those whom the gates that compare leave out.
pub(super) const fn has_everybody(settings: &Settings, place: usize) -> bool {
    place >= populations_of_drawn(settings)
}

/// Whether a gate judges those, too, whom the gates that compare leave out.
pub(super) fn judges_everybody(settings: &Settings, gate: &GateSetting) -> bool {
    !gate.rule.is_of_copies() && has_everybody(settings, population_of(settings, gate))
}

const fn populations_of_drawn(settings: &Settings) -> usize {
    1 + settings.paths.len()
}

fn populations(settings: &Settings) -> usize {
    populations_of_drawn(settings) * (1 + usize::from(settings.leaves_out))
}

/// The path of a population; none for the whole service.
const fn path_of(settings: &Settings, place: usize) -> Option<usize> {
    (place % populations_of_drawn(settings)).checked_sub(1)
}

const fn population_on(path: Option<usize>) -> usize {
    match path {
        None => SERVICE,
        Some(path) => path + 1,
    }
}

impl Measure {
    pub(super) fn new(settings: &Settings) -> Self {
        let lens = |sight: Sight| {
            let profiles = || Arms { stable: sight.profile(), canary: sight.profile() };
            Lens {
                sight,
                own: (sight != Sight::SERVICE).then(Recent::coarse),
                looked_at: None,
                found: false,
                tick: TickLatencies::default(),
                open: profiles(),
                step: profiles(),
            }
        };
        let gauge = |gate: &GateSetting| Gauge { edges: None, open: Counted::nothing(&gate.rule) };
        Self {
            populations: vec![Population::default(); populations(settings)],
            lenses: settings.sights().into_iter().map(lens).collect(),
            gauges: settings.gates.iter().map(gauge).collect(),
        }
    }

    /// Whether it is of these settings.
    pub(super) fn fits(&self, settings: &Settings) -> bool {
        let gate = |(gauge, gate): (&Gauge, &GateSetting)| {
            let edges = match (&gauge.edges, &gate.rule) {
                (None, _) | (Some(Edges::Shape { .. }), Rule::Shape { .. }) => true,
                (Some(Edges::Quantile { .. }), Rule::Quantile { .. }) => true,
                (Some(_), _) => false,
            };
            edges && gauge.open.fits(&gate.rule)
        };
        let lens = |(lens, sight): (&Lens, Sight)| {
            let own = lens.own.as_ref().map(Recent::is_coarse);
            let mut profiles = [&lens.open, &lens.step].into_iter().flat_map(|of| [&of.stable, &of.canary]);
            lens.sight == sight
                && own == (sight != Sight::SERVICE).then_some(true)
                && profiles.all(|profile| profile.is_like(&sight.profile()))
        };
        let sights = settings.sights();
        self.populations.len() == populations(settings)
            && self.lenses.len() == sights.len()
            && self.lenses.iter().zip(sights).all(lens)
            && self.gauges.len() == settings.gates.len()
            && self.gauges.iter().zip(&settings.gates).all(gate)
    }

    /// Whether any gate compares latencies.
    pub(super) const fn compares_latencies(&self) -> bool {
        !self.lenses.is_empty()
    }

    /// How many populations there are.
    pub(super) const fn populations(&self) -> usize {
        self.populations.len()
    }

    pub(super) fn population(&self, place: usize) -> &Population {
        &self.populations[place]
    }

    /// Counts a tick of one population, in which the canary's window is that of this population; gives the batch that it closed, if it closed one.
    pub(super) fn gather(
        &mut self,
        settings: &Settings,
        place: usize,
        tick: &Tick<'_>,
        background: &Background,
        Now { seconds, warm, proves }: Now,
    ) -> Option<Batch> {
        let path = path_of(settings, place);
        let of_drawn = !has_everybody(settings, place);
        let population = &mut self.populations[place];
        if population.is_empty() {
            (population.warm, population.proves) = (warm, proves);
            if of_drawn {
                self.look(settings, path, background, seconds);
            }
        }
        let traffic = traffic_of(tick, path);
        if of_drawn {
            self.compare(settings, path, traffic);
        }
        self.count_over(settings, place, traffic);
        self.populations[place].gather(traffic, seconds)
    }

    /// Looks where latencies lie, where that is due. Nothing is counted at the edges of before: the batch is empty.
    fn look(&mut self, settings: &Settings, path: Option<usize>, background: &Background, seconds: u64) {
        for lens in self.lenses.iter_mut().filter(|lens| lens.sight.path == path) {
            if !lens.is_due(seconds) {
                continue;
            }
            lens.looked_at = Some(seconds);
            let Some(latencies) = lens.recent(background).enough() else { continue };
            for (gauge, gate) in self.gauges.iter_mut().zip(&settings.gates) {
                if gate.sight() == Some(lens.sight) {
                    gauge.edges = Edges::of(&gate.rule, latencies);
                    gauge.open = Counted::nothing(&gate.rule);
                }
            }
            lens.found = true;
        }
    }

    fn compare(&mut self, settings: &Settings, path: Option<usize>, traffic: Arms<Traffic<'_>>) {
        let warm = self.populations[population_on(path)].warm;
        for lens in self.lenses.iter_mut().filter(|lens| lens.sight.path == path) {
            let Lens { tick, open, sight, .. } = lens;
            tick.take(traffic, sight.of);
            if !lens.found || !warm {
                continue;
            }
            open.stable.add(&tick.latencies.stable, tick.timeouts.stable);
            open.canary.add(&tick.latencies.canary, tick.timeouts.canary);
            for (gauge, gate) in self.gauges.iter_mut().zip(&settings.gates) {
                if let Some(edges) = gauge.edges.as_ref().filter(|_| gate.sight() == Some(*sight)) {
                    gauge.open.count_latencies(tick, edges);
                }
            }
        }
    }

    fn count_over(&mut self, settings: &Settings, place: usize, traffic: Arms<Traffic<'_>>) {
        // Those with everybody are not what the lenses saw.
        let seen = if has_everybody(settings, place) { &[] } else { self.lenses.as_slice() };
        let of_place = |(_, gate): &(&mut Gauge, &GateSetting)| population_of(settings, gate) == place;
        for (gauge, gate) in self.gauges.iter_mut().zip(&settings.gates).filter(of_place) {
            if let Rule::LatencyLimit { limit_us, of, .. } = gate.rule {
                let lens = seen.iter().find(|lens| lens.sight == Sight { path: gate.path, of });
                gauge.open.count_over(traffic, lens.map(|lens| &lens.tick), (limit_us, of));
            }
        }
    }

    /// Gives what there is of a population, if there is anything: for a change of weights.
    pub(super) fn flush(&mut self, place: usize, seconds: u64) -> Option<Batch> {
        let population = &mut self.populations[place];
        let batch = population.batcher.flush().filter(|batch| batch.requests != Arms::default())?;
        population.closed(&batch, seconds);
        Some(batch)
    }

    /// The batch of this population was judged: what it counted is over.
    pub(super) fn close(&mut self, settings: &Settings, place: usize) {
        for (gauge, gate) in self.gauges.iter_mut().zip(&settings.gates) {
            if population_of(settings, gate) == place {
                gauge.open = Counted::nothing(&gate.rule);
            }
        }
        for lens in self.lenses.iter_mut().filter(|lens| population_on(lens.sight.path) == place) {
            let Lens { open, step, .. } = lens;
            step.stable.merge(&open.stable);
            step.canary.merge(&open.canary);
            open.stable.clear();
            open.canary.clear();
        }
    }

    /// Remembers where the baseline's latencies lie. After the tick was judged: edges are of the past alone.
    pub(super) fn observe(&mut self) {
        for Lens { own, tick, .. } in &mut self.lenses {
            if let Some(own) = own {
                own.observe_all(tick.latencies.stable.iter());
            }
        }
    }

    /// The latencies of all of the baseline's requests, to the head of the response, in the present tick; none where no
    /// gate compares them.
    pub(super) fn of_baseline(&self) -> Option<&Ascending> {
        self.lenses.iter().find(|lens| lens.sight == Sight::SERVICE).map(|lens| &lens.tick.latencies.stable)
    }

    /// A second is over.
    pub(super) fn end_second(&mut self) {
        self.lenses.iter_mut().filter_map(|lens| lens.own.as_mut()).for_each(Recent::end_second);
    }

    /// A step begins.
    pub(super) fn begin_step(&mut self) {
        self.populations.iter_mut().for_each(|population| population.in_step = Arms::default());
        for lens in &mut self.lenses {
            lens.step.stable.clear();
            lens.step.canary.clear();
        }
    }

    /// What follows is no proof: nor are the open batches, which it is added to.
    pub(super) fn prove_nothing(&mut self) {
        self.populations.iter_mut().for_each(|population| population.proves = false);
    }

    /// The canary is cold again: latencies of open batches are not compared, and nothing is proven by them.
    pub(super) fn cool(&mut self, settings: &Settings) {
        for population in &mut self.populations {
            (population.warm, population.proves) = (false, false);
        }
        for (gauge, gate) in self.gauges.iter_mut().zip(&settings.gates).filter(|(_, gate)| gate.sight().is_some()) {
            gauge.open = Counted::nothing(&gate.rule);
        }
        for lens in &mut self.lenses {
            lens.open.stable.clear();
            lens.open.canary.clear();
        }
    }

    /// What the gate at this place counted of the open batch.
    pub(super) fn counted(&self, gate: usize) -> &Counted {
        &self.gauges[gate].open
    }

    /// The latencies that a gate compares.
    pub(super) fn lens(&self, gate: &GateSetting) -> Option<&Lens> {
        let sight = gate.sight()?;
        self.lenses.iter().find(|lens| lens.sight == sight)
    }

    /// When a population last had requests of both versions, and whether that is so long ago that there is no data.
    pub(super) fn has_data(&self, place: usize, seconds: u64) -> bool {
        self.populations[place].batch_at.is_some_and(|at| seconds.saturating_sub(at) < FRESH_SECONDS)
    }
}

impl Sight {
    /// What people are told of such latencies: nothing yet.
    pub(super) fn profile(self) -> Profile {
        if self.path.is_some() { Profile::coarse() } else { Profile::default() }
    }
}

impl Lens {
    fn is_due(&self, seconds: u64) -> bool {
        let patience = if self.found { REFRESH_SECONDS } else { 1 };
        self.looked_at.is_none_or(|at| seconds.saturating_sub(at) >= patience)
    }

    /// The latencies by which the edges are chosen.
    pub(super) const fn recent<'a>(&'a self, background: &'a Background) -> &'a Recent {
        match &self.own {
            Some(own) => own,
            None => background.latencies(),
        }
    }

    /// Whether there were ever enough latencies to compare any.
    pub(super) const fn has_edges(&self) -> bool {
        self.found
    }

    /// Of the open batch.
    pub(super) const fn open(&self) -> &Arms<Profile> {
        &self.open
    }

    /// Of the batches of the present step.
    pub(super) const fn step(&self) -> &Arms<Profile> {
        &self.step
    }
}

impl Population {
    fn is_empty(&self) -> bool {
        self.batcher.open().is_none_or(|open| open.requests == Arms::default())
    }

    fn gather(&mut self, traffic: Arms<Traffic<'_>>, seconds: u64) -> Option<Batch> {
        let requests = Arms { stable: traffic.stable.requests(), canary: traffic.canary.requests() };
        let bad = Arms { stable: traffic.stable.bad(), canary: traffic.canary.bad() };
        if requests.stable > 0 {
            self.seen_at.stable = Some(seconds);
        }
        if requests.canary > 0 {
            self.seen_at.canary = Some(seconds);
        }
        add(&mut self.in_step, requests);
        let batch = self.batcher.push(Batch { requests, bad })?;
        self.closed(&batch, seconds);
        Some(batch)
    }

    fn closed(&mut self, batch: &Batch, seconds: u64) {
        if batch.requests.stable > 0 && batch.requests.canary > 0 {
            self.batch_at = Some(seconds);
        }
    }

    /// Requests that wait for the batch to close.
    pub(super) fn open(&self) -> Arms<u64> {
        self.batcher.open().map(|open| open.requests).unwrap_or_default()
    }

    /// Requests since the step began.
    pub(super) const fn in_step(&self) -> Arms<u64> {
        self.in_step
    }

    /// For how many seconds each version had no request.
    pub(super) fn unseen_for(&self, seconds: u64) -> Arms<Option<u64>> {
        let since = |at: Option<u64>| at.map(|at| seconds.saturating_sub(at));
        Arms { stable: since(self.seen_at.stable), canary: since(self.seen_at.canary) }
    }
}

fn traffic_of<'a>(tick: &Tick<'a>, path: Option<usize>) -> Arms<Traffic<'a>> {
    Arms { stable: Traffic::of(tick.baseline, path), canary: Traffic::of(tick.canary, path) }
}
