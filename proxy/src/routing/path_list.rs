//! Paths whose traffic is counted by itself.

use config::PathPrefix;

use crate::routes::{is_within, without_last_slash};

/// The paths of a split, each with a bit of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathList {
    prefixes: Box<[String]>,
}

impl PathList {
    /// The list of these prefixes. More than 16 have no bits: those after the sixteenth count nothing.
    #[must_use]
    pub fn new(paths: &[PathPrefix]) -> Self {
        let prefix = |path: &PathPrefix| without_last_slash(path.as_str()).to_owned();
        Self { prefixes: paths.iter().take(u16::BITS as usize).map(prefix).collect() }
    }

    /// On which of them a request's path (without query) is: bit `n` stands for the `n`-th. As with the paths of
    /// services, whole segments count.
    #[inline]
    #[must_use]
    pub fn mask(&self, path: &str) -> u16 {
        let bit = |(place, prefix): (usize, &String)| u16::from(is_within(path, prefix)) << place;
        self.prefixes.iter().enumerate().map(bit).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::tests::prefix;

    fn mask(prefixes: &[&str], path: &str) -> u16 {
        PathList::new(&prefixes.iter().map(|text| prefix(text)).collect::<Vec<_>>()).mask(path)
    }

    #[test]
    fn a_request_is_on_every_path_that_it_begins_with_whole_segments_of() {
        let prefixes = ["/", "/shop", "/shop/cart", "/other"];
        assert_eq!(mask(&prefixes, "/shop/cart/7"), 0b0111);
        assert_eq!(mask(&prefixes, "/shop/cart"), 0b0111);
        assert_eq!(mask(&prefixes, "/shop/carts"), 0b0011);
        assert_eq!(mask(&prefixes, "/shop/"), 0b0011);
        assert_eq!(mask(&prefixes, "/shopping"), 0b0001);
        assert_eq!(mask(&prefixes, "/"), 0b0001);
        assert_eq!(mask(&prefixes, "*"), 0);
        assert_eq!(mask(&[], "/shop"), 0);
    }

    #[test]
    fn the_sixteenth_path_has_a_bit_and_the_seventeenth_none() {
        let texts: Vec<_> = (0..17).map(|number| format!("/p{number}")).collect();
        let prefixes: Vec<_> = texts.iter().map(String::as_str).collect();
        assert_eq!(mask(&prefixes, "/p15"), 1 << 15);
        assert_eq!(mask(&prefixes, "/p16"), 0);
    }
}
