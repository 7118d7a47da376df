//! Saves many states a little at a time: what a second costs is bounded, however many there are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// So many bytes are encoded in a second, and written as often as that fills the file.
const EACH_SECOND: usize = 1 << 20;

/// States by key, encoded in rounds. When a round is over, all of them make one file.
#[derive(Debug)]
pub(super) struct Rounds {
    /// Rounds begin at least so long after each other.
    each: Duration,
    began: Option<Duration>,
    /// Whose turn is still to come in this round.
    pending: VecDeque<String>,
    encoded: BTreeMap<String, Vec<u8>>,
    /// Whether the file would differ from the last one.
    changed: bool,
}

impl Rounds {
    pub(super) const fn new(each: Duration) -> Self {
        Self { each, began: None, pending: VecDeque::new(), encoded: BTreeMap::new(), changed: false }
    }

    /// The next round begins with the next second.
    pub(super) fn hasten(&mut self) {
        self.began = None;
    }

    /// The last file was not written: another one follows, whether or not something changes.
    pub(super) fn again(&mut self) {
        self.changed = true;
    }

    /// Goes on for a second's worth. Gives the file where a round is over and something changed. `keys` are all that
    /// are to be in it; what `encode` does not know stays as it was.
    pub(super) fn go_on<'a>(
        &mut self,
        elapsed: Duration,
        keys: impl Iterator<Item = &'a str>,
        mut encode: impl FnMut(&str) -> Option<Vec<u8>>,
    ) -> Option<Vec<u8>> {
        if self.pending.is_empty() {
            if self.began.is_some_and(|began| elapsed.saturating_sub(began) < self.each) {
                return None;
            }
            self.began = Some(elapsed);
            let keys: BTreeSet<&str> = keys.collect();
            let before = self.encoded.len();
            self.encoded.retain(|key, _| keys.contains(key.as_str()));
            self.changed |= self.encoded.len() != before;
            self.pending = keys.into_iter().map(str::to_owned).collect();
        }
        let mut bytes = 0;
        while bytes < EACH_SECOND
            && let Some(key) = self.pending.pop_front()
        {
            let Some(state) = encode(&key) else { continue };
            bytes += state.len();
            if self.encoded.get(&key) != Some(&state) {
                self.encoded.insert(key, state);
                self.changed = true;
            }
        }
        let over = self.pending.is_empty() && std::mem::take(&mut self.changed);
        over.then(|| file(self.encoded.iter().map(|(key, state)| (key.as_str(), state.as_slice()))))
    }

    /// The file with everything as it is now, whatever that costs: for an orderly end.
    pub(super) fn finish<'a>(
        &mut self,
        keys: impl Iterator<Item = &'a str>,
        mut encode: impl FnMut(&str) -> Option<Vec<u8>>,
    ) -> Vec<u8> {
        let now: BTreeMap<&str, Vec<u8>> =
            keys.filter_map(|key| Some((key, encode(key).or_else(|| self.encoded.remove(key))?))).collect();
        file(now.iter().map(|(key, state)| (*key, state.as_slice())))
    }
}

/// A JSON object of these values, which are JSON themselves.
fn file<'a>(states: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut bytes = vec![b'{'];
    for (key, state) in states {
        if bytes.len() > 1 {
            bytes.push(b',');
        }
        // A string always serialises.
        bytes.extend(serde_json::to_vec(key).unwrap_or_default());
        bytes.push(b':');
        bytes.extend(state);
    }
    bytes.push(b'}');
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn read(bytes: &[u8]) -> HashMap<String, usize> {
        let states: HashMap<String, String> = serde_json::from_slice(bytes).unwrap();
        states.into_iter().map(|(key, text)| (key, text.len())).collect()
    }

    fn state(length: usize) -> Option<Vec<u8>> {
        serde_json::to_vec(&"x".repeat(length)).ok()
    }

    #[test]
    fn a_few_small_states_are_a_file_in_every_round_that_changes_something() {
        let mut rounds = Rounds::new(MINUTE);
        let mut go = |second, length| rounds.go_on(at(second), ["a", "b\""].into_iter(), |_| state(length));
        assert_eq!(read(&go(0, 3).unwrap()), HashMap::from([("a".to_owned(), 3), ("b\"".to_owned(), 3)]));
        assert_eq!(go(59, 4), None, "not yet due");
        assert!(go(60, 4).is_some());
        assert_eq!(go(120, 4), None, "nothing changed");
    }

    #[test]
    fn many_large_states_take_as_many_seconds_as_their_bytes_need() {
        let mut rounds = Rounds::new(at(1));
        let keys: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        let mut encoded = Vec::new();
        for second in 0..20 {
            let mut now = 0;
            let file = rounds.go_on(at(second), keys.iter().map(String::as_str), |_| {
                now += 1;
                state(EACH_SECOND / 2 + usize::try_from(second).unwrap())
            });
            encoded.push((now, file.is_some()));
        }
        // Two a second are a MiB; the fifth second ends the round.
        let round = [(2, false), (2, false), (2, false), (2, false), (2, true)];
        assert_eq!(encoded, round.repeat(4));
    }

    #[test]
    fn what_is_gone_leaves_the_file_and_what_is_not_known_stays() {
        let mut rounds = Rounds::new(at(1));
        rounds.go_on(at(0), ["a", "b"].into_iter(), |_| state(1));
        let file = rounds.go_on(at(1), ["b"].into_iter(), |_| None).unwrap();
        assert_eq!(read(&file), HashMap::from([("b".to_owned(), 1)]));
        let file = rounds.finish(["b", "c"].into_iter(), |key| (key == "c").then(|| state(2)).flatten());
        assert_eq!(read(&file), HashMap::from([("b".to_owned(), 1), ("c".to_owned(), 2)]));
    }

    #[test]
    fn a_file_that_was_not_written_is_given_again_in_the_next_round() {
        let mut rounds = Rounds::new(MINUTE);
        let go = |rounds: &mut Rounds, second| rounds.go_on(at(second), ["a"].into_iter(), |_| state(1));
        let file = go(&mut rounds, 0).unwrap();
        rounds.again();
        assert_eq!((go(&mut rounds, 59), go(&mut rounds, 60)), (None, Some(file)));
        assert_eq!(go(&mut rounds, 120), None, "it was written this time");
    }

    #[test]
    fn a_round_that_is_hastened_begins_with_the_next_second() {
        let mut rounds = Rounds::new(MINUTE);
        rounds.go_on(at(0), ["a"].into_iter(), |_| state(1));
        rounds.hasten();
        assert!(rounds.go_on(at(1), ["a"].into_iter(), |_| state(2)).is_some());
    }
}
