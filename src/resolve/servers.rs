//! Which of several servers is asked: always the first that can answer, as the C library does, and not one that happened
//! to answer last. One that is silent rests for a while, so that not every name waits for it, and is then asked again by
//! one question (docs/decisions/0049).

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// For so long a server that was silent is passed over; twice as long each further time in a row.
const FIRST_REST: Duration = Duration::from_secs(1);
/// And never for longer.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// Who answered in this time is slow where it is silent, and not dead: others do not say in its stead what there is not.
const LIVELY: Duration = Duration::from_secs(300);
/// Silent so often in a row is told.
const TOLD_AT: u32 = 3;

/// How the servers do, by their place in the row.
#[derive(Debug)]
pub(super) struct Servers(Mutex<Vec<Standing>>);

#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    /// When it answered last.
    answered: Option<Instant>,
    /// Until when it is passed over.
    rests_until: Option<Instant>,
    /// How often it was silent in a row.
    silences: u32,
}

/// In which order servers are asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// These first.
    pub(super) now: Vec<usize>,
    /// These, which rest, where none of those knows the name.
    pub(super) then: Vec<usize>,
}

/// What an operator is to hear of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It has been silent a few times.
    Silent,
    /// It answers again after that.
    Again,
}

impl Servers {
    pub(super) fn new(count: usize) -> Self {
        Self(Mutex::new(vec![Standing::default(); count]))
    }

    /// Whom to ask now. Of those whose rest is over each is asked by one question at a time, which takes so long at most.
    pub(super) fn order(&self, now: Instant, patience: Duration) -> Order {
        let mut order = Order { now: Vec::new(), then: Vec::new() };
        for (place, standing) in self.0.lock().iter_mut().enumerate() {
            match standing.rests_until {
                Some(until) if now < until => order.then.push(place),
                Some(_) => {
                    standing.rests_until = Some(now + patience);
                    order.now.push(place);
                }
                None => order.now.push(place),
            }
        }
        order
    }

    /// This one gave an answer.
    pub(super) fn answered(&self, place: usize, now: Instant) -> Option<Heard> {
        let mut all = self.0.lock();
        let standing = all.get_mut(place)?;
        let was_told = standing.silences >= TOLD_AT;
        *standing = Standing { answered: Some(now), ..Standing::default() };
        was_told.then_some(Heard::Again)
    }

    /// This one gave none.
    pub(super) fn was_silent(&self, place: usize, now: Instant, patience: Duration) -> Option<Heard> {
        let mut all = self.0.lock();
        let standing = all.get_mut(place)?;
        // Questions that were under way together are one silence.
        let is_another = standing.rests_until.is_none_or(|until| until <= now + patience);
        if is_another {
            standing.silences = standing.silences.saturating_add(1);
            let doubled = FIRST_REST.saturating_mul(1 << (standing.silences - 1).min(5));
            standing.rests_until = Some(now + doubled.min(LONGEST_REST).max(patience + patience));
        }
        (is_another && standing.silences == TOLD_AT).then_some(Heard::Silent)
    }

    /// Whether this one answered not long ago, so that it is slow at most.
    pub(super) fn is_lively(&self, place: usize, now: Instant) -> bool {
        let answered = self.0.lock().get(place).and_then(|standing| standing.answered);
        answered.is_some_and(|at| now.saturating_duration_since(at) < LIVELY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(500);

    fn order(servers: &Servers, now: Instant) -> (Vec<usize>, Vec<usize>) {
        let Order { now, then } = servers.order(now, PATIENCE);
        (now, then)
    }

    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn the_first_is_asked_first_and_again_soon_after_a_silence() {
        let (servers, began) = (Servers::new(2), start());
        let at = |ms| began + Duration::from_millis(ms);
        assert_eq!(order(&servers, at(0)), (vec![0, 1], vec![]));
        servers.was_silent(0, at(500), PATIENCE);
        servers.answered(1, at(500));
        assert_eq!(order(&servers, at(600)), (vec![1], vec![0]));
        assert_eq!(order(&servers, at(1_500)), (vec![0, 1], vec![]), "one question tries it");
        assert_eq!(order(&servers, at(1_501)), (vec![1], vec![0]), "and no other meanwhile");
        servers.answered(0, at(1_510));
        assert_eq!(order(&servers, at(1_511)), (vec![0, 1], vec![]));
    }

    #[test]
    fn one_that_stays_silent_is_asked_every_thirty_seconds_and_told_once() {
        let (servers, began) = (Servers::new(2), start());
        let (mut now, mut rests, mut heard) = (began, Vec::new(), Vec::new());
        for _ in 0..8 {
            heard.extend(servers.was_silent(0, now, PATIENCE));
            let asked = (1..=60).map(Duration::from_secs).find(|rest| order(&servers, now + *rest).0.contains(&0));
            rests.push(asked.unwrap().as_secs());
            now += asked.unwrap();
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(heard, [Heard::Silent]);
        assert_eq!(servers.answered(0, now), Some(Heard::Again));
        assert_eq!(servers.answered(0, now), None);
    }

    #[test]
    fn questions_that_wait_together_are_one_silence() {
        let (servers, began) = (Servers::new(1), start());
        for question in 0..32 {
            let heard = servers.was_silent(0, began + Duration::from_millis(question), PATIENCE);
            assert_eq!(heard, None);
        }
        assert!(order(&servers, began + Duration::from_millis(1_100)).0.contains(&0));
    }

    #[test]
    fn who_answered_in_the_last_five_minutes_is_slow_and_not_dead() {
        let (servers, began) = (Servers::new(1), start());
        assert!(!servers.is_lively(0, began));
        servers.answered(0, began);
        assert!(servers.is_lively(0, began + Duration::from_secs(299)));
        assert!(!servers.is_lively(0, began + Duration::from_secs(300)));
    }
}
