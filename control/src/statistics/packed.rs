//! Numbers as short text: the state of a rollout's tests is written once a second, and most of it is numbers.
//!
//! Digits of six bits, in the order of the alphabet of base64url. Exact: what is unpacked has the same bits.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// A floating-point number has so many digits.
const FLOAT_DIGITS: usize = 11;
/// A count's digits have five bits each; this one says that more follow.
const MORE: u64 = 32;

/// Text that holds no such numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("packed numbers are damaged")]
pub(crate) struct Damaged;

/// Floating-point numbers, bit by bit.
pub(crate) fn pack_floats(numbers: &[f64]) -> String {
    let mut text = String::with_capacity(numbers.len() * FLOAT_DIGITS);
    for number in numbers {
        let bits = number.to_bits();
        (0..FLOAT_DIGITS).for_each(|digit| push(&mut text, bits >> (6 * digit)));
    }
    text
}

/// The numbers that were packed.
pub(crate) fn unpack_floats(text: &str) -> Result<Vec<f64>, Damaged> {
    let chunks = text.as_bytes().chunks_exact(FLOAT_DIGITS);
    if !chunks.remainder().is_empty() {
        return Err(Damaged);
    }
    let number = |digits: &[u8]| {
        let mut bits = 0;
        for (place, digit) in digits.iter().enumerate() {
            let value = value(*digit)?;
            // The last digit has four bits left.
            if place + 1 == FLOAT_DIGITS && value >= 16 {
                return Err(Damaged);
            }
            bits |= value << (6 * place);
        }
        Ok(f64::from_bits(bits))
    };
    chunks.map(number).collect()
}

/// Counts, most of them small or 0: a run of zeros is a 0 and its length, and the last run is left out.
pub(crate) fn pack_counts(counts: &[u64]) -> String {
    let (mut text, mut zeros) = (String::new(), 0);
    for count in counts {
        if *count == 0 {
            zeros += 1;
            continue;
        }
        if zeros > 0 {
            push_count(&mut text, 0);
            push_count(&mut text, zeros);
            zeros = 0;
        }
        push_count(&mut text, *count);
    }
    text
}

/// The counts that were packed, as many as there is room for in `counts`, which is overwritten.
pub(crate) fn unpack_counts(text: &str, counts: &mut [u64]) -> Result<(), Damaged> {
    counts.fill(0);
    let (mut digits, mut place) = (text.bytes(), 0_usize);
    while let Some(count) = next_count(&mut digits)? {
        if count == 0 {
            let zeros = next_count(&mut digits)?.ok_or(Damaged)?;
            place = usize::try_from(zeros).ok().and_then(|zeros| place.checked_add(zeros)).ok_or(Damaged)?;
        } else {
            *counts.get_mut(place).ok_or(Damaged)? = count;
            place += 1;
        }
    }
    Ok(())
}

fn push(text: &mut String, bits: u64) {
    text.push(char::from(DIGITS[(bits % 64) as usize]));
}

fn push_count(text: &mut String, mut count: u64) {
    while count >= MORE {
        push(text, MORE | (count % MORE));
        count /= MORE;
    }
    push(text, count);
}

fn next_count(digits: &mut impl Iterator<Item = u8>) -> Result<Option<u64>, Damaged> {
    let (mut count, mut shift) = (0_u64, 0);
    loop {
        let Some(digit) = digits.next() else { return if shift == 0 { Ok(None) } else { Err(Damaged) } };
        let value = value(digit)?;
        let part = (value % MORE).checked_shl(shift).filter(|part| part >> shift == value % MORE).ok_or(Damaged)?;
        count |= part;
        if value < MORE {
            return Ok(Some(count));
        }
        shift += 5;
    }
}

fn value(digit: u8) -> Result<u64, Damaged> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return Err(Damaged),
    };
    Ok(u64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unpacked(text: &str, room: usize) -> Result<Vec<u64>, Damaged> {
        let mut counts = vec![7; room];
        unpack_counts(text, &mut counts).map(|()| counts)
    }

    proptest! {
        #[test]
        fn floats_are_unpacked_to_the_same_bits(numbers in prop::collection::vec(any::<u64>(), 0..20)) {
            let numbers: Vec<f64> = numbers.into_iter().map(f64::from_bits).collect();
            let bits = |numbers: &[f64]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&unpack_floats(&pack_floats(&numbers)).unwrap()), bits(&numbers));
        }

        #[test]
        fn counts_are_unpacked_to_the_same_ones(
            counts in prop::collection::vec(prop_oneof![Just(0), 0u64..100, any::<u64>()], 0..60),
        ) {
            prop_assert_eq!(unpacked(&pack_counts(&counts), counts.len()), Ok(counts));
        }

        #[test]
        fn whatever_the_text_it_is_numbers_or_damaged(text in "[A-Za-z0-9_.-]{0,40}") {
            let _ = unpack_floats(&text);
            if let Ok(counts) = unpacked(&text, 12) {
                prop_assert_eq!(unpacked(&pack_counts(&counts), 12), Ok(counts));
            }
        }
    }

    #[test]
    fn runs_of_zeros_take_no_room() {
        assert_eq!(pack_counts(&[0; 2_560]), "");
        let mut counts = [0; 2_560];
        counts[2_000] = 5;
        assert_eq!(pack_counts(&counts).len(), 5, "a zero, its three digits, and the five");
    }

    #[test]
    fn what_does_not_fit_is_damaged() {
        assert_eq!(unpacked(&pack_counts(&[1, 2, 3]), 2), Err(Damaged));
        for text in ["A", "g", "!", "g____________P"] {
            assert_eq!(unpacked(text, 9), Err(Damaged), "{text}");
        }
        assert_eq!(unpack_floats("AAAAAAAAAA"), Err(Damaged));
        assert_eq!(unpack_floats("AAAAAAAAAAQ"), Err(Damaged));
    }
}
