//! Which endpoint a request goes to.

mod hashing;
mod latency;
mod load;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use config::{Balance, HashKey, InFlightLimits};

use self::hashing::{Slots, mixed};
pub(super) use self::latency::{Latency, Moment};
pub(super) use self::load::Room;
use self::load::{Census, Load, enter_below};
use super::{Endpoint, InFlight};

/// Of so few endpoints each is looked at for every request. Of more, some at random.
const FEW: usize = 2;
/// So many are counted whenever that is needed. More are not: a version of which many are down would pay for a count with
/// every request.
const COUNTED: usize = 16;
/// How many of many endpoints are looked at before all are.
const DRAWS: usize = 8;
/// How often a choice is made again where others took what was left of an endpoint's limit in between.
const RACES: usize = 4;
/// So few requests in flight are too much for no endpoint, however they are spread: a browser alone has a dozen at once, and
/// its session is to stay where it is.
const NEVER_TOO_MUCH: u64 = 32;
/// Costs that differ by less than this factor are the same: latencies vary by as much for no reason, and of two endpoints
/// that do equally well neither should have all of the traffic.
const ALIKE: f32 = 1.25;
/// Latencies below this, in microseconds, are the same.
const FASTEST_US: f32 = 1_000.0;

/// How a version chooses among its endpoints, and what is under way there.
#[derive(Debug, Clone)]
pub struct Balancer {
    balance: Balance,
    limits: InFlightLimits,
    slots: Option<Arc<Slots>>,
    load: Arc<Load>,
}

/// What is asked of a version.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The hash of the key that the request goes by, where it has one.
    pub key: Option<u64>,
    /// The endpoint that could not be reached: not the next choice.
    pub avoid: Option<&'a Endpoint>,
    /// Another attempt of the request was in vain: it goes where that is least likely to happen again.
    pub repeats: bool,
    /// When.
    pub now: Instant,
}

/// Whom a choice is among: as far as is known of connections to them.
#[derive(Debug, Clone, Copy)]
enum Among {
    /// Those to which the last connection was made.
    Reached,
    /// Those to which none failed.
    Untroubled,
    /// Those that are up.
    Up,
    /// Those that are down, when their back-off is over.
    Due,
}

impl Ask<'_> {
    /// Whom the choice is among, and whom next where there is none of them. So nobody tries an endpoint that is down while
    /// another may be had, and nobody who was in vain somewhere tries what nobody has tried (docs/decisions/0061).
    const fn among(&self) -> &'static [Among] {
        let all = &[Among::Reached, Among::Untroubled, Among::Up, Among::Due];
        if self.repeats { all } else { all.split_at(2).1 }
    }
}

/// Why a version takes no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// No endpoint may be tried.
    Down,
    /// As many requests are under way as may be, in the version or at each endpoint that may be tried.
    Full,
}

impl Balancer {
    /// As a version asks for it, with these endpoints. What is under way is `known`'s.
    #[must_use]
    pub fn new(version: &config::Version, endpoints: &[Arc<Endpoint>], known: Option<&Self>, now: Instant) -> Self {
        let slots = match version.balance {
            Balance::Hash(_) => Some(Slots::of(endpoints, known.and_then(|known| known.slots.as_ref()))),
            Balance::PeakEwma | Balance::LeastRequests => None,
        };
        let load = known.map_or_else(|| Arc::new(Load::new(now)), |known| Arc::clone(&known.load));
        Self { balance: version.balance.clone(), limits: version.limits, slots, load }
    }

    /// This one where the version has these endpoints instead. What is under way is the same.
    pub(crate) fn among(&self, endpoints: &[Arc<Endpoint>]) -> Self {
        let slots = self.slots.as_ref().map(|slots| Slots::of(endpoints, Some(slots)));
        Self { slots, ..self.clone() }
    }

    /// What requests are given their endpoint by, where that is a key of theirs.
    #[must_use]
    pub fn key(&self) -> Option<&HashKey> {
        match &self.balance {
            Balance::Hash(key) => Some(key),
            Balance::PeakEwma | Balance::LeastRequests => None,
        }
    }

    /// A request found no room, and goes elsewhere or nowhere.
    pub(crate) fn overflowed(&self) {
        self.load.overflowed();
    }

    /// How often a request found no room, since the version came to be.
    #[must_use]
    pub fn overflows(&self) -> u64 {
        self.load.overflows()
    }

    /// The endpoint for the next request, of those that are up, well and below their limit.
    ///
    /// - Without a key: of two at random, the one that costs less ("power of two choices", Mitzenmacher 2001).
    /// - With one: the one that the key belongs to; where that has more than 1.25 times the average in flight, and more than
    ///   32, or may not be tried, another that the key always comes to next (consistent hashing with bounded loads, Mirrokni et al. 2018).
    /// - An endpoint that is down is no choice while another is one. Where none is, one whose back-off is over is claimed by
    ///   the one request that tries it: the others go on avoiding it until that try has succeeded.
    /// - A request that was in vain somewhere goes to one that was connected to, while there is one.
    /// - One that came back takes part in a part of the choices alone, at first (slow start).
    /// - Where fewer than half are well, all that may be connected to are used ([`is_panicking`]).
    ///
    /// # Errors
    /// Where there is none.
    pub fn pick(&self, endpoints: &[Arc<Endpoint>], ask: &Ask<'_>) -> Result<InFlight, Unavailable> {
        let Some(mut room) = self.load.enter(self.limits.requests) else { return Err(Unavailable::Full) };
        let choice = Choice { balancer: self, endpoints, ask, panics: Cell::new(None) };
        for _ in 0..RACES {
            let Some(chosen) = ask.among().iter().find_map(|among| choice.chosen(*among)) else { break };
            let tries = !chosen.is_up();
            match self.enter(chosen, tries, room, ask.now) {
                Ok(at) => {
                    if tries {
                        chosen.is_tried(ask.now);
                    }
                    return Ok(at);
                }
                Err(back) => room = back,
            }
        }
        if endpoints.iter().any(|endpoint| choice.may_be_tried(endpoint)) {
            Err(Unavailable::Full)
        } else {
            Err(Unavailable::Down)
        }
    }

    /// Any endpoint, for a version that must be tried although there is none to pick: another than the one to avoid, a well
    /// one before others, and then the one that is due first.
    ///
    /// # Errors
    /// Where it has no endpoint, or as much is under way as may be.
    pub fn pick_any(&self, endpoints: &[Arc<Endpoint>], ask: &Ask<'_>) -> Result<InFlight, Unavailable> {
        let now = ask.now;
        let Some(room) = self.load.enter(self.limits.requests) else { return Err(Unavailable::Full) };
        let with_room = endpoints.iter().filter(|endpoint| self.has_room(endpoint));
        let is_avoided = |endpoint: &Endpoint| ask.avoid.is_some_and(|other| other.is_same_place(endpoint));
        let first =
            with_room.min_by_key(|endpoint| (is_avoided(endpoint), !endpoint.is_fit(now), endpoint.known.health.due()));
        let at = first.and_then(|endpoint| self.enter(endpoint, false, room, now).ok());
        at.ok_or(if endpoints.is_empty() { Unavailable::Down } else { Unavailable::Full })
    }

    /// Gives back the room where the endpoint has reached its limit.
    fn enter(&self, endpoint: &Arc<Endpoint>, tries: bool, room: Room, now: Instant) -> Result<InFlight, Room> {
        let in_flight = &endpoint.known.in_flight;
        match self.limits.per_endpoint {
            Some(most) if !enter_below(in_flight, u64::from(most)) => return Err(room),
            Some(_) => {}
            None => {
                in_flight.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(InFlight { at: Arc::clone(endpoint), tries, began: now, room: Some(room), is_lasting: false })
    }

    fn has_room(&self, endpoint: &Endpoint) -> bool {
        self.limits.per_endpoint.is_none_or(|most| endpoint.in_flight() < u64::from(most))
    }
}

/// One choice of an endpoint.
struct Choice<'a> {
    balancer: &'a Balancer,
    endpoints: &'a [Arc<Endpoint>],
    ask: &'a Ask<'a>,
    /// Asked for where an endpoint is not well, which is seldom.
    panics: Cell<Option<bool>>,
}

impl<'a> Choice<'a> {
    fn chosen(&self, among: Among) -> Option<&'a Arc<Endpoint>> {
        match (self.ask.key, &self.balancer.slots) {
            (Some(key), Some(slots)) => self.by_key(key, slots, among),
            (Some(_) | None, Some(_) | None) => self.least_of_two(among),
        }
    }

    fn may_be_tried(&self, endpoint: &Endpoint) -> bool {
        endpoint.may_be_tried(self.ask.now) && self.is_wanted(endpoint)
    }

    /// Whether nothing but connections to it speaks against it.
    fn is_wanted(&self, endpoint: &Endpoint) -> bool {
        (endpoint.is_fit(self.ask.now) || self.panics())
            && self.ask.avoid.is_none_or(|other| !other.is_same_place(endpoint))
    }

    fn is_eligible(&self, endpoint: &Endpoint, among: Among) -> bool {
        let health = &endpoint.known.health;
        let is_among = match among {
            Among::Reached => health.is_reached(),
            Among::Untroubled => health.is_untroubled(),
            Among::Up => health.is_up(),
            Among::Due => health.may_be_tried(self.ask.now),
        };
        is_among && self.is_wanted(endpoint) && self.balancer.has_room(endpoint)
    }

    fn panics(&self) -> bool {
        self.panics.get().unwrap_or_else(|| {
            let panics = self.census().panics;
            self.panics.set(Some(panics));
            panics
        })
    }

    /// Exact for some endpoints; for more, of a moment ago.
    fn census(&self) -> Census {
        let count = || census(self.endpoints, self.ask.now);
        if self.endpoints.len() <= COUNTED { count() } else { self.balancer.load.census(self.ask.now, count) }
    }

    fn least_of_two(&self, among: Among) -> Option<&'a Arc<Endpoint>> {
        let all = self.endpoints;
        if all.len() > FEW
            && let Some(first) = self.drawn(None, among)
            && let Some(second) = self.drawn(Some(first), among)
        {
            return Some(self.lighter(&all[first], &all[second]));
        }
        let least = |two: [Option<&'a Arc<Endpoint>>; 2]| {
            two.into_iter().flatten().reduce(|one, other| self.lighter(one, other))
        };
        let eligible = || all.iter().filter(|endpoint| self.is_eligible(endpoint, among));
        least(two_of(eligible().filter(|endpoint| self.takes_part(endpoint)))).or_else(|| least(two_of(eligible())))
    }

    /// The place of one at random, other than this. None where the first few were of no use: then all are looked at.
    fn drawn(&self, other: Option<usize>, among: Among) -> Option<usize> {
        (0..DRAWS).map(|_| fastrand::usize(..self.endpoints.len())).find(|place| {
            let endpoint = &self.endpoints[*place];
            Some(*place) != other && self.is_eligible(endpoint, among) && self.takes_part(endpoint)
        })
    }

    /// Whether it takes part in this choice. In a panic all do: nobody is spared where so few are left.
    fn takes_part(&self, endpoint: &Endpoint) -> bool {
        endpoint.takes_part(self.ask.now) || self.panics()
    }

    /// The one that costs less; of two that cost about the same the first, which is either of them. One that turns nearly
    /// everything away, where the other does not, costs no less for having done so at once: it gets its part, and no more.
    fn lighter<'e>(&self, one: &'e Arc<Endpoint>, other: &'e Arc<Endpoint>) -> &'e Arc<Endpoint> {
        if other.turns_away() && !one.turns_away() {
            return one;
        }
        let is_other = match self.balancer.balance {
            Balance::LeastRequests => other.load() < one.load(),
            // A request without the key has nothing else to go by.
            Balance::PeakEwma | Balance::Hash(_) => {
                let latencies = one.latency_us(self.ask.now).zip(other.latency_us(self.ask.now));
                // Of one that is new nothing is known: it is taken for as fast as the other, and gets its part at once.
                let (one_us, other_us) = latencies.unwrap_or((FASTEST_US, FASTEST_US));
                let cost = |endpoint: &Endpoint, us: f32| us.max(FASTEST_US) * (endpoint.load() + 1) as f32;
                cost(other, other_us) * ALIKE < cost(one, one_us)
            }
        };
        if is_other { other } else { one }
    }

    /// Where a key comes to: first where it belongs, then where each of a row of further hashes belongs, so that what
    /// cannot go to one endpoint is spread over all others.
    fn by_key(&self, key: u64, slots: &Slots, among: Among) -> Option<&'a Arc<Endpoint>> {
        let of_all = self.bound(self.endpoints.len() as u64);
        for jump in 0..DRAWS as u64 {
            let hash = if jump == 0 { key } else { mixed(key, jump) };
            let Some(endpoint) = slots.owner(hash).and_then(|place| self.endpoints.get(place)) else { continue };
            let is_under_bound = || {
                let load = endpoint.load();
                load < of_all || load < self.bound(self.census().live)
            };
            let takes_key = || endpoint.takes_key(key, self.ask.now) || self.panics();
            if self.is_eligible(endpoint, among) && takes_key() && is_under_bound() {
                return Some(endpoint);
            }
        }
        let eligible: Vec<bool> = self.endpoints.iter().map(|endpoint| self.is_eligible(endpoint, among)).collect();
        let bound = self.bound(eligible.iter().filter(|is| **is).count() as u64);
        let place = slots
            .owner_among(key, |place| eligible[place] && self.endpoints[place].load() < bound)
            // All that is left are busy with what came in between.
            .or_else(|| slots.owner_among(key, |place| eligible[place]));
        self.endpoints.get(place?)
    }

    /// How many requests may be in flight at each of so many endpoints: 1.25 times the average, this one included, and a few
    /// in any case. Those that last are not counted.
    fn bound(&self, endpoints: u64) -> u64 {
        (self.balancer.load.without_lasting() * 5).div_ceil(endpoints.max(1) * 4).max(NEVER_TOO_MUCH)
    }
}

/// Whether fewer than half of these endpoints are up and well: then health checks and ejections are ignored, since what
/// is wrong with so many is more likely wrong with the checks, or with all, and a few would not bear all of the traffic
/// (Envoy's panic threshold). Endpoints that cannot be connected to are left alone all the same.
#[must_use]
pub fn is_panicking(endpoints: &[Arc<Endpoint>], now: Instant) -> bool {
    census(endpoints, now).panics
}

fn census(endpoints: &[Arc<Endpoint>], now: Instant) -> Census {
    let count = |is: &dyn Fn(&Endpoint) -> bool| endpoints.iter().filter(|endpoint| is(endpoint)).count();
    let well = count(&|endpoint| endpoint.is_up() && endpoint.is_fit(now));
    let panics = well * 2 < endpoints.len();
    let live = if panics { count(&Endpoint::is_up) } else { well };
    Census { live: live as u64, panics }
}

/// Two of them at random, in random order; fewer where there are fewer. One pass, so that an endpoint which goes down
/// meanwhile changes nothing (reservoir sampling, Vitter's algorithm R).
fn two_of<T>(all: impl Iterator<Item = T>) -> [Option<T>; 2] {
    let mut two = [None, None];
    for (seen, one) in all.enumerate() {
        match seen {
            0 => two[0] = Some(one),
            1 if fastrand::bool() => two[1] = Some(one),
            1 => two[1] = two[0].replace(one),
            _ => {
                let place = fastrand::usize(0..=seen);
                if place < 2 {
                    two[place] = Some(one);
                }
            }
        }
    }
    two
}

/// The choice of a version that has everything at its default.
#[cfg(test)]
pub(super) fn pick(endpoints: &[Arc<Endpoint>], avoid: Option<&Endpoint>, now: Instant) -> Option<InFlight> {
    Balancer::usual(now).pick(endpoints, &Ask { key: None, avoid, repeats: avoid.is_some(), now }).ok()
}

/// A request at this endpoint, whatever is known of it.
#[cfg(test)]
pub(super) fn enter(endpoint: &Arc<Endpoint>, tries: bool, now: Instant) -> InFlight {
    endpoint.known.in_flight.fetch_add(1, Ordering::Relaxed);
    InFlight { at: Arc::clone(endpoint), tries, began: now, room: None, is_lasting: false }
}

#[cfg(test)]
impl Balancer {
    fn usual(now: Instant) -> Self {
        let (balance, limits) = (Balance::default(), InFlightLimits::default());
        Self { balance, limits, slots: None, load: Arc::new(Load::new(now)) }
    }
}

#[cfg(test)]
mod tests;
