//! One name: what the system knows of it, and then what the servers say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use config::{Dns, IpFamily};
use hickory_proto::rr::Name;
use tokio::time::timeout;

use super::now;
use super::servers::{Heard, Order, Servers};
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
    /// Why nobody said whether it has addresses of the kind that goes first, where these are of the other one.
    pub(super) lacks: Option<Arc<str>>,
}

impl Answer {
    /// Whether it is to be used in place of these addresses. Which kind of addresses a name has does not change because a
    /// server failed for one of them: perhaps only that kind has a route from here.
    pub(super) fn replaces(&self, last: &[IpAddr]) -> bool {
        let is_of_same_kind = |last: &IpAddr| self.addresses.iter().all(|new| new.is_ipv4() == last.is_ipv4());
        self.lacks.is_none() || last.iter().all(is_of_same_kind)
    }
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
    /// How they do: one that is dead is not waited for again with every name.
    standing: Servers,
}

impl Asker {
    pub(super) fn new(dns: Dns, system: System) -> Self {
        let servers = if dns.servers.is_empty() { system.servers.clone() } else { dns.servers.clone() };
        Self { dns, system, standing: Servers::new(servers.len()), servers }
    }

    pub(super) const fn dns(&self) -> &Dns {
        &self.dns
    }

    /// What this name resolves to now. Takes at most [`longest`](Self::longest).
    pub(super) async fn resolve(&self, name: &str) -> Result<Answer, NoAnswer> {
        if let Some(known) = self.known(name) {
            return Ok(Answer { addresses: known, ttl: None, lacks: None });
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
        let (mut exists, mut by) = (false, None);
        for candidate in self.candidates(name) {
            match self.of_one(&candidate).await? {
                Found::Answer(answer) => return Ok(answer),
                Found::Nothing(server) => (exists, by) = (true, Some(server)),
                Found::NoSuchName(server) => by = Some(server),
            }
        }
        let (result, what) = if exists {
            (Outcome::Empty, "it has no address that can be used")
        } else {
            (Outcome::NoSuchName, "there is no such name")
        };
        let server = by.map_or_else(|| self.names_of_servers(), |server| server.to_string());
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
        match self.of_family(name, self.dns.prefer).await {
            Ok(Found::Nothing(_)) => self.of_family(name, other(self.dns.prefer)).await,
            Ok(found @ (Found::Answer(_) | Found::NoSuchName(_))) => Ok(found),
            // Who is silent will be so again, and takes as long.
            Err(no) if no.result == Outcome::Late => Err(no),
            // Who fails for one kind may know the other: what there is, is used, and soon asked for again.
            Err(no) => match self.of_family(name, other(self.dns.prefer)).await {
                Ok(Found::Answer(answer)) => Ok(Found::Answer(Answer { lacks: Some(no.reason), ..answer })),
                Ok(Found::Nothing(_) | Found::NoSuchName(_)) | Err(_) => Err(no),
            },
        }
    }

    async fn of_family(&self, name: &Name, family: IpFamily) -> Result<Found, NoAnswer> {
        let (mut name, mut ttl, mut server) = (name.clone(), Duration::MAX, None);
        for _ in 0..MOST_ALIASES {
            let (by, said) = self.of_servers(&name, family).await?;
            match said {
                Said::Addresses(addresses, own_ttl) => {
                    let ttl = Some(ttl.min(own_ttl));
                    let answer =
                        usable(addresses).map(|addresses| Found::Answer(Answer { addresses, ttl, lacks: None }));
                    return Ok(answer.unwrap_or(Found::Nothing(by)));
                }
                Said::Alias(alias, own_ttl) => (name, ttl, server) = (alias, ttl.min(own_ttl), Some(by)),
                Said::Nothing => return Ok(Found::Nothing(by)),
                Said::NoSuchName => return Ok(Found::NoSuchName(by)),
            }
        }
        let server = server.map_or_else(|| self.names_of_servers(), |server| server.to_string());
        let reason = format!("{server}: more than {MOST_ALIASES} aliases in a row").into();
        Err(NoAnswer { result: Outcome::Failed, reason })
    }

    /// Asks one server after the other, in the order in which they are written; those that rest last. What there is not, by
    /// one further down, is believed where nobody before it knows better and is only slow: the first may be the only one
    /// that knows internal names.
    async fn of_servers(&self, name: &Name, family: IpFamily) -> Result<(SocketAddr, Said), NoAnswer> {
        let Order { now: first, then: resting } = self.standing.order(now().at, self.dns.timeout);
        let (mut silent, mut denied) = (Vec::new(), None);
        for place in first.into_iter().chain(resting) {
            // Of those that rest only one that knows better can add anything to a denial.
            if denied.as_ref().is_some_and(|(by, _)| place > *by || !self.standing.is_lively(place, now().at)) {
                continue;
            }
            match self.of_server(place, name, family).await {
                Ok(said @ (Said::Addresses(..) | Said::Alias(..))) => return Ok((self.servers[place], said)),
                Ok(said @ (Said::Nothing | Said::NoSuchName)) => denied = Some((place, said)),
                Err(why) => silent.push((place, why)),
            }
        }
        if let Some((by, said)) = denied {
            let at = now().at;
            let is_slow = |(place, _): &(usize, Silent)| *place < by && self.standing.is_lively(*place, at);
            if !silent.iter().any(is_slow) {
                return Ok((self.servers[by], said));
            }
            let what = "it knows no such address, and one before it answered not long ago";
            let reason = format!("{}; {}: {what}", self.told(&silent), self.servers[by]);
            return Err(NoAnswer { result: Outcome::Late, reason: reason.into() });
        }
        let is_late = silent.iter().all(|(_, why)| matches!(why, Silent::Late(_)));
        let result = if is_late { Outcome::Late } else { Outcome::Failed };
        Err(NoAnswer { result, reason: self.told(&silent).into() })
    }

    async fn of_server(&self, place: usize, name: &Name, family: IpFamily) -> Result<Said, Silent> {
        let (server, patience) = (self.servers[place], self.dns.timeout);
        let said = wire::ask(server, name, family, patience).await;
        let heard = match &said {
            // Who refuses one name, or talks nonsense of it, keeps nobody waiting.
            Ok(_) | Err(Silent::Refused(_) | Silent::Nonsense(_)) => self.standing.answered(place, now().at),
            Err(Silent::Late(_) | Silent::Unreachable(_)) => self.standing.was_silent(place, now().at, patience),
        };
        match heard {
            Some(Heard::Silent) => tracing::warn!(%server, "DNS server does not answer: others are asked in its stead"),
            Some(Heard::Again) => tracing::info!(%server, "DNS server answers again"),
            None => {}
        }
        said
    }

    fn told(&self, silent: &[(usize, Silent)]) -> String {
        silent.iter().map(|(place, why)| format!("{}: {why}", self.servers[*place])).collect::<Vec<_>>().join("; ")
    }

    fn names_of_servers(&self) -> String {
        self.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// What was found of a whole name.
enum Found {
    Answer(Answer),
    /// As this server says.
    Nothing(SocketAddr),
    /// As this server says.
    NoSuchName(SocketAddr),
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
