//! Kinds of characters in HTTP/1.1, and words of them. Pure.

/// The beginning of a word, as much as tells it from others.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Word {
    bytes: [u8; 20],
    /// Of the whole word.
    length: usize,
}

impl Word {
    pub(super) const fn clear(&mut self) {
        self.length = 0;
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let kept = self.length.min(self.bytes.len());
        let room = &mut self.bytes[kept..];
        let count = room.len().min(bytes.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.length = self.length.saturating_add(bytes.len());
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length.min(self.bytes.len())]
    }

    pub(super) const fn length(&self) -> usize {
        self.length
    }

    pub(super) fn is(&self, word: &[u8]) -> bool {
        self.length == word.len() && self.bytes() == word
    }

    pub(super) fn begins(&self, word: &[u8]) -> bool {
        word.starts_with(self.bytes())
    }
}

/// How many bytes at the beginning are so.
pub(crate) fn run(bytes: &[u8], is: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|b| !is(*b)).unwrap_or(bytes.len())
}

/// How many bytes at the beginning are of a field's value ([`is_value`]). Mostly looked at sixteen at a time.
pub(crate) fn value_run(bytes: &[u8]) -> usize {
    let (chunks, _) = bytes.as_chunks::<16>();
    // Without branches, so that the compiler does all of a chunk at once. A tab is legal as well, and rare.
    let is_plain = |chunk: &&[u8; 16]| chunk.iter().fold(true, |plain, b| plain & (*b >= b' ') & (*b != 0x7f));
    let plain = chunks.iter().take_while(is_plain).count() * 16;
    plain + run(&bytes[plain..], is_value)
}

pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// A character of a token (RFC 9110, section 5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    KINDS[byte as usize] & TOKEN != 0
}

/// A character of a field's value: visible, a space or tab, or beyond ASCII (RFC 9110, section 5.5).
pub(crate) const fn is_value(byte: u8) -> bool {
    KINDS[byte as usize] & VALUE != 0
}

/// A character of a target that all parsers behind us take for the same.
pub(crate) const fn is_target(byte: u8) -> bool {
    KINDS[byte as usize] & TARGET != 0
}

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;

static KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let is_punctuation = matches!(
            b,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
        if b.is_ascii_alphanumeric() || is_punctuation {
            kinds[byte] |= TOKEN;
        }
        if b == b'\t' || (b >= b' ' && b != 0x7f) {
            kinds[byte] |= VALUE;
        }
        if b.is_ascii_graphic() && !matches!(b, b'#' | b'"' | b'<' | b'>' | b'`') {
            kinds[byte] |= TARGET;
        }
        byte += 1;
    }
    kinds
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_ends_where_its_first_illegal_byte_is(
            value in prop::collection::vec(prop_oneof![20 => 0x20_u8..0x7f, 2 => 0x80_u8.., 1 => Just(b'\t'), 1 => any::<u8>()], 0..80)
        ) {
            prop_assert_eq!(value_run(&value), run(&value, is_value));
        }
    }
}
