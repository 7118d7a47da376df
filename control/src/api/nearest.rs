//! Which legal word somebody may have meant.

use std::fmt::Write;

/// How many legal words a sentence lists.
const LISTED: usize = 20;

/// The candidate that `word` most likely is a slip of, if one is near enough.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Names are short; a longer word is near nothing, and the distance would cost its length squared.
    if word.len() > 64 {
        return None;
    }
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A tail for a sentence about an unknown word: the near miss, if any, and what is legal.
pub(super) fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
    legal_are: &str,
) -> String {
    let mut tail = String::new();
    if let Some(near) = nearest(word, candidates.clone()) {
        // Writing to a String cannot fail.
        let _ = write!(tail, "; did you mean {near:?}?");
    }
    let mut candidates = candidates.into_iter();
    let listed: Vec<&str> = candidates.by_ref().take(LISTED).collect();
    let left_off = candidates.count();
    if !listed.is_empty() {
        let _ = write!(tail, "; {legal_are} {}", listed.join(", "));
        if left_off > 0 {
            let _ = write!(tail, " and {left_off} more");
        }
    }
    tail
}

/// A word as a message quotes it: escaped, and cut where it is long.
pub(super) fn quoted(word: &str) -> String {
    let mut cut: String = word.chars().take(64).collect();
    if cut.len() < word.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_word_and_another_word_does_not() {
        assert_eq!(nearest("chekcout", ["shop", "checkout"]), Some("checkout"));
        assert_eq!(nearest("weigth", ["canary", "weight"]), Some("weight"));
        assert_eq!(nearest("billing", ["shop", "checkout"]), None);
    }

    #[test]
    fn a_long_list_of_legal_words_is_cut_and_says_so() {
        let names: Vec<String> = (0..25).map(|n| format!("service-number-{n}")).collect();
        let tail = did_you_mean("x", names.iter().map(String::as_str), "the services are");
        assert!(tail.ends_with("service-number-19 and 5 more"), "{tail}");
    }
}
