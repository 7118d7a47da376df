//! Requests that wait for their answer, by the second in which they were drawn.

/// So many seconds back are told apart, the present one among them: as long as a version may take by default.
const SECONDS: usize = 16;

/// The second in which a request was drawn, by its meter's count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DrawnAt(u32);

/// How many were drawn in each of the last seconds, and how many of them still wait. What was drawn before that is
/// forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Waiting {
    second: u32,
    drawn: [u32; SECONDS],
    waiting: [u32; SECONDS],
}

impl Waiting {
    /// A request is drawn.
    #[inline]
    pub(crate) fn begin(&mut self) -> DrawnAt {
        let place = place(self.second);
        self.drawn[place] = self.drawn[place].saturating_add(1);
        self.waiting[place] = self.waiting[place].saturating_add(1);
        DrawnAt(self.second)
    }

    /// Its answer is there, or none will come.
    #[inline]
    pub(crate) fn answered(&mut self, DrawnAt(second): DrawnAt) {
        if self.second.wrapping_sub(second) < SECONDS as u32 {
            let waiting = &mut self.waiting[place(second)];
            *waiting = waiting.saturating_sub(1);
        }
    }

    /// It is this second now, counted from anywhere. A second that is over does not come again.
    pub(crate) fn turn(&mut self, second: u32) {
        for passed in 1..=second.saturating_sub(self.second).min(SECONDS as u32) {
            let place = place(self.second.wrapping_add(passed));
            (self.drawn[place], self.waiting[place]) = (0, 0);
        }
        self.second = self.second.max(second);
    }

    /// Adds what another counted up to the same second.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.turn(other.second);
        let add = |mine: &mut [u32; SECONDS], theirs: &[u32; SECONDS]| {
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine = mine.saturating_add(*theirs));
        };
        add(&mut self.drawn, &other.drawn);
        add(&mut self.waiting, &other.waiting);
    }

    /// From the present second back: how many were drawn in each, and how many of them still wait.
    pub fn back(&self) -> impl Iterator<Item = (u32, u32)> {
        (0..SECONDS as u32).map(|ago| {
            let place = place(self.second.wrapping_sub(ago));
            (self.drawn[place], self.waiting[place])
        })
    }
}

const fn place(second: u32) -> usize {
    second as usize % SECONDS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(waiting: &Waiting) -> Vec<(u32, u32)> {
        waiting.back().take(4).collect()
    }

    #[test]
    fn who_waits_is_known_by_the_second_in_which_they_were_drawn() {
        let mut waiting = Waiting::default();
        waiting.turn(7);
        let (first, _second) = (waiting.begin(), waiting.begin());
        waiting.turn(8);
        let third = waiting.begin();
        waiting.turn(9);
        assert_eq!(back(&waiting), [(0, 0), (1, 1), (2, 2), (0, 0)]);
        waiting.answered(first);
        waiting.answered(third);
        assert_eq!(back(&waiting), [(0, 0), (1, 0), (2, 1), (0, 0)]);
    }

    #[test]
    fn what_was_drawn_too_long_ago_is_forgotten_and_its_answer_disturbs_nobody() {
        let mut waiting = Waiting::default();
        let old = waiting.begin();
        waiting.turn(16);
        let new = waiting.begin();
        waiting.answered(old);
        assert_eq!(back(&waiting)[0], (1, 1));
        waiting.turn(1_000);
        assert!(waiting.back().all(|both| both == (0, 0)));
        waiting.answered(new);
        // A clock that goes back takes nothing with it.
        let last = waiting.begin();
        waiting.turn(3);
        waiting.answered(last);
        assert_eq!(back(&waiting)[0], (1, 0));
    }

    #[test]
    fn cores_are_added_second_by_second() {
        let (mut one, mut other, mut sum) = (Waiting::default(), Waiting::default(), Waiting::default());
        one.turn(4);
        one.begin();
        one.turn(5);
        other.turn(5);
        other.begin();
        sum.merge(&one);
        sum.merge(&other);
        assert_eq!(back(&sum), [(1, 1), (1, 1), (0, 0), (0, 0)]);
    }
}
