//! The services of one host, by the longest path prefix.

use std::collections::HashMap;

use super::Asked;
use super::condition::Condition;

/// Prefixes without a trailing slash (the root is empty), to the places of their services.
#[derive(Debug, Default)]
pub(super) struct PathTable {
    /// The more specific service first.
    places: HashMap<Box<str>, Vec<usize>>,
    /// The lengths of the prefixes, the longest first: no more of a path is looked at than these, however long a client
    /// makes it.
    lengths: Vec<usize>,
}

impl PathTable {
    /// Adds a service's prefix. `conditions` are those of all services.
    pub(super) fn insert(&mut self, prefix: &str, place: usize, conditions: &[Condition]) {
        if let Err(at) = self.lengths.binary_search_by(|length| prefix.len().cmp(length)) {
            self.lengths.insert(at, prefix.len());
        }
        let places = self.places.entry(prefix.into()).or_default();
        // Behind those of its own rank: where a request could match both, the first of the file is the one.
        let at = places.partition_point(|other| conditions[*other].rank() >= conditions[place].rank());
        places.insert(at, place);
    }

    /// The service of the longest prefix, among those whose conditions are met.
    pub(super) fn find(&self, asked: &Asked<'_>, conditions: &[Condition]) -> Option<usize> {
        let path = asked.path;
        let first = self.lengths.partition_point(|length| *length > path.len());
        self.lengths[first..].iter().find_map(|length| {
            // Prefixes are of whole segments. Before a slash and at its end, a path is always cut between characters.
            if !matches!(path.as_bytes().get(*length), None | Some(b'/')) {
                return None;
            }
            let places = self.places.get(&path[..*length])?;
            places.iter().copied().find(|place| conditions[*place].is_met(asked.method, asked.headers))
        })
    }
}
