//! What is known of the names in use, and when each is asked for again. Time is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use config::Dns;
use control::plane::{NameFailing, NameState};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::asking::{Answer, NoAnswer, Outcome};

/// More addresses of one name are not used.
pub(super) const MOST_ADDRESSES: usize = 64;
/// A name that fails is asked for again after at most so long.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// An answer that lacks the addresses of the kind that goes first holds for at most so long.
const LACKING: Duration = Duration::from_secs(5);

/// A moment, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) at: Instant,
    pub(super) wall: SystemTime,
}

/// What asking for a name came to, and when.
#[derive(Debug, Clone)]
pub(super) struct Learned {
    pub(super) came_of_it: Result<Answer, NoAnswer>,
    pub(super) now: Now,
}

/// What people should hear of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// It begins not to resolve; last it did then, where it ever did.
    Failing(Arc<str>, Option<SystemTime>),
    /// It does not resolve, and nothing is known of it from before.
    Unknown(Arc<str>),
    /// It resolves again, which it did not since then.
    Resolves(SystemTime),
    /// It has these addresses from now on.
    Moved(Arc<[IpAddr]>),
}

/// The names in use.
#[derive(Debug)]
pub(super) struct Book {
    names: HashMap<Arc<str>, Entry>,
    /// Whom to ask for when; names that are being asked for are not among them.
    due: BTreeSet<(Instant, Arc<str>)>,
    counts: [u64; Outcome::ALL.len()],
    /// By which every process chooses among very many addresses for itself.
    seed: u64,
}

#[derive(Debug)]
struct Entry {
    /// The last good answer; empty where there never was one.
    addresses: Arc<[IpAddr]>,
    /// What whoever uses the name was last told.
    in_use: Arc<[IpAddr]>,
    answered: Option<SystemTime>,
    failing: Option<Failing>,
    due: Option<Instant>,
}

#[derive(Debug)]
struct Failing {
    reason: Arc<str>,
    since: SystemTime,
    /// In a row, beyond the first.
    tries: u32,
}

impl Book {
    pub(super) fn new(seed: u64) -> Self {
        Self { names: HashMap::new(), due: BTreeSet::new(), counts: [0; Outcome::ALL.len()], seed }
    }

    /// From now on these names are in use, with these addresses, and no others. `fresh` holds what asking for them came to
    /// a moment ago; `chance` gives numbers from 0 to 1.
    pub(super) fn follow(
        &mut self,
        in_use: HashMap<Arc<str>, Arc<[IpAddr]>>,
        fresh: &mut HashMap<Arc<str>, Learned>,
        dns: &Dns,
        now: Now,
        mut chance: impl FnMut() -> f64,
    ) -> Vec<(Arc<str>, News)> {
        let mut before = std::mem::take(&mut self.names);
        self.due.clear();
        let mut news = Vec::new();
        for (name, addresses) in in_use {
            let entry = match before.remove(&name) {
                Some(entry) => {
                    let learned = fresh.remove(&name);
                    let (entry, told) = entry.goes_on(&addresses, learned, self.seed, dns, now, chance());
                    news.extend(told.into_iter().map(|told| (Arc::clone(&name), told)));
                    entry
                }
                None => {
                    let (entry, told) = Entry::new(addresses, fresh.remove(&name), dns, now, chance());
                    news.extend(told.map(|told| (Arc::clone(&name), told)));
                    entry
                }
            };
            self.due.extend(entry.due.map(|due| (due, Arc::clone(&name))));
            self.names.insert(name, entry);
        }
        fresh.clear();
        news
    }

    /// When somebody is to be asked for next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// A name that is to be asked for now, which is not due again before it is [`learned`](Self::learned) of.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Arc<str>> {
        if self.next_due()? > now {
            return None;
        }
        let (_, name) = self.due.pop_first()?;
        if let Some(entry) = self.names.get_mut(&name) {
            entry.due = None;
        }
        Some(name)
    }

    /// What was known is in doubt: every name is to be asked for now.
    pub(super) fn ask_all(&mut self, now: Instant) {
        self.due.clear();
        for (name, entry) in &mut self.names {
            // One that is being asked for is asked by what was known before; it is soon due again.
            if entry.due.is_some() {
                entry.due = Some(now);
                self.due.insert((now, Arc::clone(name)));
            }
        }
    }

    /// A name was asked for, and this came of it. What fails keeps the last addresses. One that is no longer in use
    /// changes nothing.
    pub(super) fn learned(
        &mut self,
        name: &Arc<str>,
        came_of_it: Result<Answer, NoAnswer>,
        dns: &Dns,
        now: Now,
        chance: f64,
    ) -> Vec<News> {
        self.count(&came_of_it);
        let seed = self.seed;
        let Some(entry) = self.names.get_mut(name) else { return Vec::new() };
        let (news, wait) = entry.came(came_of_it, seed, dns, now);
        if let Some(due) = entry.due {
            self.due.remove(&(due, Arc::clone(name)));
        }
        let due = now.at + spread(wait, chance);
        entry.due = Some(due);
        self.due.insert((due, Arc::clone(name)));
        news
    }

    /// A name was asked for, whoever uses it.
    pub(super) fn count(&mut self, came_of_it: &Result<Answer, NoAnswer>) {
        let outcome = came_of_it.as_ref().map_or_else(|no| no.result, |_| Outcome::Answered);
        self.counts[outcome as usize] += 1;
    }

    /// As many of these addresses as are used.
    pub(super) fn few(&self, addresses: Arc<[IpAddr]>) -> Arc<[IpAddr]> {
        few(addresses, self.seed)
    }

    /// The names that have other addresses than whoever uses them was told. Asked once, they count as told.
    pub(super) fn take_moved(&mut self) -> HashMap<Arc<str>, Arc<[IpAddr]>> {
        let moved = self.names.iter_mut().filter(|(_, entry)| entry.addresses != entry.in_use);
        let tell = |(name, entry): (&Arc<str>, &mut Entry)| {
            entry.in_use = Arc::clone(&entry.addresses);
            (Arc::clone(name), Arc::clone(&entry.addresses))
        };
        moved.map(tell).collect()
    }

    /// Whether a name is in use, whatever is known of it.
    pub(super) fn is_in_use(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// The last good answer for a name.
    pub(super) fn addresses_of(&self, name: &str) -> Option<Arc<[IpAddr]>> {
        self.names.get(name).map(|entry| Arc::clone(&entry.addresses)).filter(|known| !known.is_empty())
    }

    /// Every name in use that ever had a good answer, with the last one.
    pub(super) fn addresses(&self) -> BTreeMap<Arc<str>, Arc<[IpAddr]>> {
        let known = self.names.iter().filter(|(_, entry)| !entry.addresses.is_empty());
        known.map(|(name, entry)| (Arc::clone(name), Arc::clone(&entry.addresses))).collect()
    }

    /// How often what came of asking.
    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        Outcome::ALL.iter().map(|outcome| (outcome.label(), self.counts[*outcome as usize])).collect()
    }

    /// Every name in use, for people.
    pub(super) fn states(&self) -> BTreeMap<Arc<str>, NameState> {
        let state = |entry: &Entry| NameState {
            addresses: Arc::clone(&entry.addresses),
            answered: entry.answered,
            failing: entry
                .failing
                .as_ref()
                .map(|failing| NameFailing { reason: Arc::clone(&failing.reason), since: failing.since }),
        };
        self.names.iter().map(|(name, entry)| (Arc::clone(name), state(entry))).collect()
    }
}

impl Entry {
    /// One that is used with these addresses from now on. The first time is anywhere in the time that its answer holds,
    /// so that names which were learned together are not asked for together.
    fn new(in_use: Arc<[IpAddr]>, fresh: Option<Learned>, dns: &Dns, now: Now, chance: f64) -> (Self, Option<News>) {
        let mut entry =
            Self { addresses: Arc::clone(&in_use), in_use, answered: None, failing: None, due: Some(now.at) };
        match fresh {
            Some(Learned { came_of_it: Ok(answer), now: then }) if answer.replaces(&entry.addresses) => {
                entry.answered = Some(then.wall);
                entry.due = Some(then.at + hold(&answer, dns).mul_f64(chance).max(dns.at_least));
                (entry, None)
            }
            Some(Learned { came_of_it, now: then }) => {
                let reason = came_of_it.map_or_else(|no| no.reason, |answer| answer.lacks.unwrap_or_default());
                let (news, wait) = entry.failed(reason, dns, then);
                entry.due = Some(then.at + spread(wait, chance));
                (entry, news.into_iter().next())
            }
            None => (entry, None),
        }
    }

    /// One that was in use before and is used with these addresses from now on.
    fn goes_on(
        mut self,
        in_use: &Arc<[IpAddr]>,
        fresh: Option<Learned>,
        seed: u64,
        dns: &Dns,
        now: Now,
        chance: f64,
    ) -> (Self, Vec<News>) {
        self.in_use = Arc::clone(in_use);
        match fresh {
            // What was learned since then is newer.
            Some(learned) if self.answered.is_some_and(|answered| answered > learned.now.wall) => (self, Vec::new()),
            Some(Learned { came_of_it, now: then }) => {
                let (news, wait) = self.came(came_of_it, seed, dns, then);
                // One that is being asked for just now is due when that is over.
                self.due = self.due.map(|_| then.at + spread(wait, chance));
                (self, news)
            }
            // Which of the two is right is soon known.
            None => {
                self.due = self.due.map(|due| if self.addresses == *in_use { due } else { now.at });
                (self, Vec::new())
            }
        }
    }

    /// What is to be told of an answer, and how long to wait before the next.
    fn came(&mut self, came_of_it: Result<Answer, NoAnswer>, seed: u64, dns: &Dns, now: Now) -> (Vec<News>, Duration) {
        match came_of_it {
            Ok(answer) if answer.replaces(&self.addresses) => {
                let wait = hold(&answer, dns);
                (self.succeeded(few(answer.addresses, seed), now), wait)
            }
            Ok(answer) => self.failed(answer.lacks.unwrap_or_default(), dns, now),
            Err(NoAnswer { reason, .. }) => self.failed(reason, dns, now),
        }
    }

    fn succeeded(&mut self, addresses: Arc<[IpAddr]>, now: Now) -> Vec<News> {
        let again = self.failing.take().map(|failing| News::Resolves(failing.since));
        self.answered = Some(now.wall);
        let moved = (self.addresses != addresses).then(|| News::Moved(Arc::clone(&addresses)));
        self.addresses = addresses;
        again.into_iter().chain(moved).collect()
    }

    /// What is to be told, and how long to wait: longer each time in a row.
    fn failed(&mut self, reason: Arc<str>, dns: &Dns, now: Now) -> (Vec<News>, Duration) {
        let wait = |tries: u32| {
            let longest = LONGEST_RETRY.min(dns.at_most).max(dns.at_least);
            dns.at_least.saturating_mul(1 << tries.min(16)).min(longest)
        };
        if let Some(failing) = &mut self.failing {
            failing.reason = reason;
            failing.tries = failing.tries.saturating_add(1);
            return (Vec::new(), wait(failing.tries));
        }
        let news = match self.addresses.is_empty() {
            true => News::Unknown(Arc::clone(&reason)),
            false => News::Failing(Arc::clone(&reason), self.answered),
        };
        self.failing = Some(Failing { reason, since: now.wall, tries: 0 });
        (vec![news], wait(0))
    }
}

/// How long an answer holds.
fn hold(answer: &Answer, dns: &Dns) -> Duration {
    let most = if answer.lacks.is_some() { LACKING.min(dns.at_most) } else { dns.at_most };
    answer.ttl.unwrap_or(dns.at_most).clamp(dns.at_least, most.max(dns.at_least))
}

/// A tenth more or less, so that names which were asked for together come apart.
fn spread(wait: Duration, chance: f64) -> Duration {
    wait.mul_f64(0.9 + 0.2 * chance)
}

/// As many of these addresses as are used: of very many some at random, and the same ones again while they are there.
fn few(addresses: Arc<[IpAddr]>, seed: u64) -> Arc<[IpAddr]> {
    if addresses.len() <= MOST_ADDRESSES {
        return addresses;
    }
    let mut drawn = addresses.to_vec();
    drawn.sort_by_key(|address| xxh3_64_with_seed(address.to_string().as_bytes(), seed));
    drawn.truncate(MOST_ADDRESSES);
    drawn.sort_unstable();
    drawn.into()
}

#[cfg(test)]
mod tests;
