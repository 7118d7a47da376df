//! The body of a request, gathered as it goes by.

use bytes::{Bytes, BytesMut};

/// Pieces shorter than this are put together: kept each for itself, a body that comes in single bytes would take many
/// times its length.
const SMALL: usize = 1024;

/// What came of a body so far.
#[derive(Debug, Default)]
pub(super) struct Body {
    pieces: Vec<Bytes>,
    /// Small pieces that came last.
    tail: BytesMut,
    length: u64,
}

impl Body {
    /// A piece came. False where the body is longer than `most`: then it is of no use any more.
    pub(super) fn take(&mut self, piece: &Bytes, most: u64) -> bool {
        self.length = self.length.saturating_add(piece.len() as u64);
        if self.length > most {
            *self = Self { length: self.length, ..Self::default() };
            return false;
        }
        if piece.len() < SMALL {
            self.tail.extend_from_slice(piece);
        } else {
            self.end_tail();
            self.pieces.push(piece.clone());
        }
        true
    }

    /// Bytes so far.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// All of it.
    pub(super) fn whole(mut self) -> Vec<Bytes> {
        self.end_tail();
        self.pieces
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(self.tail.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_body_stays_what_it_was_however_it_is_cut(sizes in prop::collection::vec(0usize..3_000, 0..40)) {
            let mut body = Body::default();
            let mut sent = Vec::new();
            for (place, size) in sizes.iter().enumerate() {
                let piece = vec![place as u8; *size];
                sent.extend_from_slice(&piece);
                prop_assert!(body.take(&piece.into(), 200_000));
            }
            let pieces = body.whole();
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
            prop_assert_eq!(pieces.concat(), sent);
        }
    }

    #[test]
    fn a_body_may_be_as_long_as_is_allowed_and_no_longer() {
        let mut body = Body::default();
        assert!(body.take(&vec![1; 60_000].into(), 65_536) && body.take(&vec![2; 5_536].into(), 65_536));
        assert!(!body.take(&vec![3; 1].into(), 65_536));
        assert!(body.pieces.is_empty() && body.tail.is_empty(), "nothing is held of it");
    }

    #[test]
    fn a_body_of_single_bytes_takes_no_more_than_its_length() {
        let mut body = Body::default();
        assert!((0..65_536).all(|_| body.take(&Bytes::from_static(b"x"), 65_536)));
        assert_eq!(body.whole().len(), 1);
    }

    #[test]
    fn large_pieces_are_shared_and_not_copied() {
        let (mut body, piece) = (Body::default(), Bytes::from(vec![7; SMALL]));
        assert!(body.take(&piece, 65_536));
        assert_eq!(body.whole()[0].as_ptr(), piece.as_ptr());
    }
}
