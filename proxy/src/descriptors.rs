//! The process's file descriptors, and who may have the last of them.
//!
//! The system gives each new descriptor the lowest number that is free. So a line between numbers divides them: who keeps
//! none at or above it can never take what is there, however much it asks for, and nobody has to count. The highest are
//! for what must work when all others are taken: the control API, health checks, the state, the logs. Below them are those
//! that clients may have, and connections to endpoints may not: whoever comes then can still be told (decision 0045).

use std::os::fd::RawFd;

use rustix::process::{Resource, getrlimit};

/// How many there may be at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptors(u64);

impl Descriptors {
    /// As many as the process may have now.
    pub(crate) fn of_this_process() -> Self {
        Self(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
    }

    /// How many there may be.
    pub(crate) const fn all(self) -> u64 {
        self.0
    }

    /// Whether a client's connection may keep this one.
    pub(crate) fn is_for_a_client(self, descriptor: RawFd) -> bool {
        is_below(descriptor, self.0 - self.part())
    }

    /// Whether a connection to an endpoint may keep this one.
    pub(crate) fn is_for_an_endpoint(self, descriptor: RawFd) -> bool {
        is_below(descriptor, self.of_endpoints())
    }

    /// Requests that one client may have under way, whatever the rules allow: half of what there is for connections to
    /// endpoints.
    pub(crate) const fn of_one_client(self) -> u64 {
        self.of_endpoints() / 2
    }

    const fn of_endpoints(self) -> u64 {
        self.0 - 2 * self.part()
    }

    /// What is kept back of all, once for what must work and once for clients: an eighth, and no more than suffices for
    /// 256 connections to the control API, as many health checks, and files.
    const fn part(self) -> u64 {
        let eighth = self.0 / 8;
        if eighth > 512 { 512 } else { eighth }
    }
}

/// Of a descriptor that is none, nobody keeps anything.
fn is_below(descriptor: RawFd, line: u64) -> bool {
    u64::try_from(descriptor).is_ok_and(|descriptor| descriptor < line)
}

/// The process may have no further descriptor for this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the last file descriptors are kept for other things")]
pub(crate) struct KeptBack;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_for_what_must_work_and_those_before_for_clients() {
        for (all, endpoints, clients) in [(64, 48, 56), (1_024, 768, 896), (20_000, 18_976, 19_488)] {
            let descriptors = Descriptors(all);
            let last = |may: &dyn Fn(RawFd) -> bool| (0..RawFd::MAX).position(|fd| !may(fd)).unwrap() as u64;
            assert_eq!(last(&|fd| descriptors.is_for_an_endpoint(fd)), endpoints, "{all}");
            assert_eq!(last(&|fd| descriptors.is_for_a_client(fd)), clients, "{all}");
            assert_eq!(descriptors.of_one_client(), endpoints / 2, "{all}");
        }
        for all in [0, 1, 7, u64::MAX] {
            let descriptors = Descriptors(all);
            assert!(descriptors.is_for_a_client(0) == (all > 0) && !descriptors.is_for_an_endpoint(-1), "{all}");
        }
    }
}
