//! What is kept of a response's body: a hash of its beginning, and how long that is.

use xxhash_rust::xxh3::Xxh3;

/// What is looked at of a body: longer ones are compared as far as this, 8 MiB.
pub(super) const LOOKED_AT: u64 = 8 * 1024 * 1024;

/// The print of a body that goes by.
pub(super) struct Print {
    hash: Box<Xxh3>,
    /// At most one more than is looked at.
    length: u64,
}

/// The print of a body. Two that are equal are of bodies that are the same as far as was looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Printed {
    /// XXH3 (64 bits) of the first 8 MiB. No protection against somebody who looks for two bodies with the same one.
    pub(super) hash: u64,
    /// Bytes of the body; one above 8 MiB stands for all that are longer.
    pub(super) length: u64,
}

impl Print {
    /// Of an empty body.
    pub(super) fn new() -> Self {
        Self { hash: Box::new(Xxh3::new()), length: 0 }
    }

    /// A piece of the body.
    pub(super) fn take(&mut self, piece: &[u8]) {
        let room = LOOKED_AT.saturating_sub(self.length);
        let taken = usize::try_from(room).unwrap_or(usize::MAX).min(piece.len());
        self.hash.update(&piece[..taken]);
        self.length = self.length.saturating_add(piece.len() as u64).min(LOOKED_AT + 1);
    }

    /// Bytes so far; at most one more than is looked at.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// The print of what came.
    pub(super) fn printed(&self) -> Printed {
        Printed { hash: self.hash.digest(), length: self.length }
    }
}

impl std::fmt::Debug for Print {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.printed().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print_of(pieces: &[&[u8]]) -> Printed {
        let mut print = Print::new();
        for piece in pieces {
            print.take(piece);
        }
        print.printed()
    }

    #[test]
    fn a_print_is_that_of_the_body_however_it_is_cut() {
        let body: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        assert_eq!(print_of(&[&body]), print_of(&[&body[..1], &body[1..70_000], &[], &body[70_000..]]));
        assert_ne!(print_of(&[&body]), print_of(&[&body[1..]]));
        assert_ne!(print_of(&[b"ab"]), print_of(&[b"ba"]));
        assert_eq!(print_of(&[]), print_of(&[b""]));
    }

    #[test]
    fn of_a_long_body_the_beginning_counts_and_that_there_is_more() {
        let long = vec![0; LOOKED_AT as usize];
        let exact = print_of(&[&long]);
        assert_eq!(exact.length, LOOKED_AT);
        let (one, more) = (print_of(&[&long, b"x"]), print_of(&[&long, b"yz"]));
        assert_eq!(one, more, "what lies behind is not looked at");
        assert_ne!(exact, one, "but that there is something is");
        assert_eq!(more.length, LOOKED_AT + 1);
    }
}
