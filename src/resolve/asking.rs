//! One name: what the system knows of it, and then what the servers say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use config::{Dns, IpFamily};
use hickory_proto::rr::Name;
use tokio::time::timeout;

use super::system::System;
use super::wire::{self, Said, Silent};

/// Aliases that lead from one to the next; more are taken for a circle.
const MOST_ALIASES: usize = 8;

/// What a name resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// At least one, in order, none twice.
    pub(super) addresses: Arc<[IpAddr]>,
    /// For how long that holds; none for what the system knows by itself.
    pub(super) ttl: Option<Duration>,
}

/// Why a name did not resolve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoAnswer {
    /// In a fixed word.
    pub(super) result: Outcome,
    /// In words, with whom that is from.
    pub(super) reason: Arc<str>,
}

/// What resolving a name came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has addresses.
    Answered,
    /// There is no such name.
    NoSuchName,
    /// It has no address that can be used.
    Empty,
    /// No server answered in time.
    Late,
    /// No server could be reached, or none wanted to answer.
    Failed,
}

impl Outcome {
    pub(super) const ALL: [Self; 5] = [Self::Answered, Self::NoSuchName, Self::Empty, Self::Late, Self::Failed];

    /// The word in metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::NoSuchName => "no_such_name",
            Self::Empty => "empty",
            Self::Late => "timeout",
            Self::Failed => "failed",
        }
    }
}

/// Asks for names, by one configuration and what the system knew when this was made.
#[derive(Debug)]
pub(super) struct Asker {
    dns: Dns,
    system: System,
    servers: Vec<SocketAddr>,
    /// The place of the server that answered last: one that is dead is not waited for again with every name.
    first: AtomicUsize,
}

impl Asker {
    pub(super) fn new(dns: Dns, system: System) -> Self {
        let servers = if dns.servers.is_empty() { system.servers.clone() } else { dns.servers.clone() };
        Self { dns, system, servers, first: AtomicUsize::new(0) }
    }

    pub(super) const fn dns(&self) -> &Dns {
        &self.dns
    }

    /// What this name resolves to now. Takes at most [`longest`](Self::longest).
    pub(super) async fn resolve(&self, name: &str) -> Result<Answer, NoAnswer> {
        if let Some(known) = self.known(name) {
            return Ok(Answer { addresses: known, ttl: None });
        }
        timeout(self.longest(), self.ask(name)).await.unwrap_or_else(|_| {
            let reason = format!("{}: no answer in time", self.names_of_servers()).into();
            Err(NoAnswer { result: Outcome::Late, reason })
        })
    }

    /// How long a name may take, whatever servers do.
    fn longest(&self) -> Duration {
        // Both kinds of addresses.
        2 * self.dns.timeout * u32::try_from(self.servers.len()).unwrap_or(1)
    }

    /// What the system knows of a name without asking anybody.
    fn known(&self, name: &str) -> Option<Arc<[IpAddr]>> {
        let name = name.to_ascii_lowercase();
        if let Some(addresses) = self.system.hosts.get(&name) {
            return self.preferred(addresses);
        }
        // Never asked for, so that nobody else says where this machine is (RFC 6761, section 6.3).
        let is_here = name == "localhost" || name.ends_with(".localhost");
        is_here.then(|| self.preferred(&[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]))?
    }

    /// Those of the kind that goes first, or else of the other one.
    fn preferred(&self, addresses: &[IpAddr]) -> Option<Arc<[IpAddr]>> {
        let of = |family| usable(addresses.iter().copied().filter(|address| family_of(*address) == family));
        of(self.dns.prefer).or_else(|| of(other(self.dns.prefer)))
    }

    /// Asks for whole names only, and for the next only where the one before does not exist: a server that fails must
    /// not make a name another one.
    async fn ask(&self, name: &str) -> Result<Answer, NoAnswer> {
        let mut exists = false;
        for candidate in self.candidates(name) {
            match self.of_one(&candidate).await? {
                Found::Answer(answer) => return Ok(answer),
                Found::Nothing => exists = true,
                Found::NoSuchName => {}
            }
        }
        let (result, what) = if exists {
            (Outcome::Empty, "it has no address that can be used")
        } else {
            (Outcome::NoSuchName, "there is no such name")
        };
        let server = self.servers[self.first.load(Ordering::Relaxed)];
        Err(NoAnswer { result, reason: format!("{server}: {what}").into() })
    }

    /// The whole names that this one may stand for, in the order of the C library.
    fn candidates(&self, name: &str) -> Vec<Name> {
        let whole = Name::from_ascii(format!("{name}.")).ok();
        let within = |domain: &Name| Name::from_ascii(format!("{name}.{domain}")).ok();
        let searched = self.system.search.iter().filter_map(within);
        if name.matches('.').count() >= self.system.ndots {
            whole.into_iter().chain(searched).collect()
        } else {
            searched.chain(whole).collect()
        }
    }

    async fn of_one(&self, name: &Name) -> Result<Found, NoAnswer> {
        let first = self.of_family(name, self.dns.prefer).await?;
        match first {
            Found::Answer(_) | Found::NoSuchName => Ok(first),
            Found::Nothing => self.of_family(name, other(self.dns.prefer)).await,
        }
    }

    async fn of_family(&self, name: &Name, family: IpFamily) -> Result<Found, NoAnswer> {
        let (mut name, mut ttl) = (name.clone(), Duration::MAX);
        for _ in 0..MOST_ALIASES {
            match self.of_servers(&name, family).await? {
                Said::Addresses(addresses, own_ttl) => {
                    let ttl = Some(ttl.min(own_ttl));
                    return Ok(
                        usable(addresses).map_or(Found::Nothing, |addresses| Found::Answer(Answer { addresses, ttl }))
                    );
                }
                Said::Alias(alias, own_ttl) => (name, ttl) = (alias, ttl.min(own_ttl)),
                Said::Nothing => return Ok(Found::Nothing),
                Said::NoSuchName => return Ok(Found::NoSuchName),
            }
        }
        let server = self.servers[self.first.load(Ordering::Relaxed)];
        let reason = format!("{server}: more than {MOST_ALIASES} aliases in a row").into();
        Err(NoAnswer { result: Outcome::Failed, reason })
    }

    /// Asks one server after the other, from the one that answered last.
    async fn of_servers(&self, name: &Name, family: IpFamily) -> Result<Said, NoAnswer> {
        let first = self.first.load(Ordering::Relaxed);
        let mut silent = Vec::new();
        for place in (0..self.servers.len()).map(|step| (first + step) % self.servers.len()) {
            match wire::ask(self.servers[place], name, family, self.dns.timeout).await {
                Ok(said) => {
                    self.first.store(place, Ordering::Relaxed);
                    return Ok(said);
                }
                Err(why) => silent.push((self.servers[place], why)),
            }
        }
        let is_late = silent.iter().all(|(_, why)| matches!(why, Silent::Late(_)));
        let result = if is_late { Outcome::Late } else { Outcome::Failed };
        let reason: Vec<String> = silent.iter().map(|(server, why)| format!("{server}: {why}")).collect();
        Err(NoAnswer { result, reason: reason.join("; ").into() })
    }

    fn names_of_servers(&self) -> String {
        self.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// What was found of a whole name.
enum Found {
    Answer(Answer),
    Nothing,
    NoSuchName,
}

const fn family_of(address: IpAddr) -> IpFamily {
    match address {
        IpAddr::V4(_) => IpFamily::V4,
        IpAddr::V6(_) => IpFamily::V6,
    }
}

const fn other(family: IpFamily) -> IpFamily {
    match family {
        IpFamily::V4 => IpFamily::V6,
        IpFamily::V6 => IpFamily::V4,
    }
}

/// Those that a connection can be made to, in order and each once; none where there are none. An unspecified address
/// means this machine to the system, and a name that was blocked to those who answer with it.
fn usable(addresses: impl IntoIterator<Item = IpAddr>) -> Option<Arc<[IpAddr]>> {
    let is_usable = |address: &IpAddr| {
        let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
        !address.is_unspecified() && !address.is_multicast() && !is_broadcast
    };
    let mut addresses: Vec<IpAddr> = addresses.into_iter().filter(is_usable).collect();
    addresses.sort_unstable();
    addresses.dedup();
    (!addresses.is_empty()).then(|| addresses.into())
}
