//! The services of one host, by the longest path prefix.

use std::collections::HashMap;

use super::candidates::Candidates;
use super::condition::Condition;
use super::{Asked, is_within};

/// So many prefixes are compared one after the other: what lies side by side is read faster than a hash map.
const FEW: usize = 8;

/// Prefixes without a trailing slash (the root is empty), to their services. No more of a path is looked at than the
/// longest of them, however long a client makes it.
#[derive(Debug)]
pub(super) enum PathTable {
    /// At most [`FEW`], the longest first.
    Few(Vec<(Box<str>, Candidates)>),
    Many {
        by_prefix: HashMap<Box<str>, Candidates>,
        /// The lengths of the prefixes, the longest first.
        lengths: Vec<usize>,
    },
}

impl Default for PathTable {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl PathTable {
    /// Adds a service's prefix.
    pub(super) fn insert(&mut self, prefix: &str, place: usize, condition: Condition) {
        match self {
            Self::Few(few) => {
                if let Some((_, candidates)) = few.iter_mut().find(|(known, _)| **known == *prefix) {
                    return candidates.add(place, condition);
                }
                let at = few.partition_point(|(known, _)| known.len() >= prefix.len());
                few.insert(at, (prefix.into(), Candidates::new(place, condition)));
                if few.len() > FEW {
                    let mut lengths: Vec<_> = few.iter().map(|(known, _)| known.len()).collect();
                    lengths.dedup();
                    *self = Self::Many { by_prefix: few.drain(..).collect(), lengths };
                }
            }
            Self::Many { by_prefix, lengths } => {
                if let Some(candidates) = by_prefix.get_mut(prefix) {
                    return candidates.add(place, condition);
                }
                by_prefix.insert(prefix.into(), Candidates::new(place, condition));
                if let Err(at) = lengths.binary_search_by(|length| prefix.len().cmp(length)) {
                    lengths.insert(at, prefix.len());
                }
            }
        }
    }

    /// All are added.
    pub(super) fn finish(&mut self) {
        match self {
            Self::Few(few) => few.iter_mut().for_each(|(_, candidates)| candidates.finish()),
            Self::Many { by_prefix, .. } => by_prefix.values_mut().for_each(Candidates::finish),
        }
    }

    /// The service of the longest prefix, among those whose conditions are met.
    #[inline]
    pub(super) fn find(&self, asked: &Asked<'_>) -> Option<usize> {
        let path = asked.path;
        match self {
            Self::Few(few) => {
                few.iter().filter(|(prefix, _)| is_within(path, prefix)).find_map(|(_, of)| of.find(asked))
            }
            Self::Many { by_prefix, lengths } => {
                let first = lengths.partition_point(|length| *length > path.len());
                // Prefixes are of whole segments. Before a slash and at its end, a path is cut between characters.
                let cuts =
                    lengths[first..].iter().filter(|length| matches!(path.as_bytes().get(**length), None | Some(b'/')));
                cuts.filter_map(|length| by_prefix.get(&path[..*length])).find_map(|candidates| candidates.find(asked))
            }
        }
    }
}
