//! What is tried again after a failure, and where: on the same version, or on stable in its stead (the shield).
//!
//! Everything here is about what the user gets. What the version drawn is charged with was decided before: its first
//! attempt, whatever became of the others. How far the rules go: `docs/decisions/0026-shield-and-retries.md`.

mod budget;

use config::Retries;

pub(crate) use self::budget::Budget;

/// The most attempts that one request may have, whatever is written; pingora's own limit. Five retries, the one on
/// stable, and the one after a stale connection are fewer.
pub(crate) const ATTEMPTS: usize = 16;

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection: nothing was sent.
    Unreachable,
    /// The endpoint says that it has not touched the request.
    Unprocessed,
    /// The connection broke, or what came was no response.
    Broken,
    /// Nothing came in time.
    Late,
    /// Its endpoint hangs, and was left before the time was over. Its retry is counted already.
    Left,
    /// This status.
    Answered(u16),
}

/// Where the next attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Place {
    /// On the version drawn, while it has a share.
    #[default]
    Version,
    /// On stable.
    Stable,
}

/// What is done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It is passed on.
    PassOn,
    /// Another attempt, which costs no endpoint anything: nothing was sent.
    Elsewhere(Place),
    /// Another attempt on the same version, if the budget allows it.
    Retry,
    /// Stable answers in the version's stead.
    Shield,
}

/// The attempt that failed, and its request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case<'a> {
    /// What the service's operator wrote.
    pub(crate) rules: &'a Retries,
    /// The attempt was on the version that is stable now.
    pub(crate) on_stable: bool,
    /// Stable may answer in the stead of another version.
    pub(crate) shield: bool,
    /// The method means the same however often it is sent (RFC 9110, section 9.2.2).
    pub(crate) idempotent: bool,
    /// Its body can be sent again, the client has seen nothing of a response, and there is time left.
    pub(crate) repeatable: bool,
}

/// What was tried again so far, for one request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tries {
    /// Retries, without the shield's and what followed a stale connection.
    retries: u32,
    /// Where the next attempt is made.
    pub(crate) next: Place,
    /// The next attempt may be made where the last one failed, if there is no other endpoint.
    pub(crate) may_return: bool,
}

impl Tries {
    /// What is to be done about a failure.
    pub(crate) fn after(&self, failure: Failure, case: &Case<'_>) -> Then {
        let has_left = self.retries < case.rules.most;
        let shields = case.shield && !case.on_stable;
        let retry = |wanted: bool| if wanted && has_left { Then::Retry } else { Then::PassOn };
        match failure {
            Failure::Unreachable => self.elsewhere(case),
            _ if !case.repeatable => Then::PassOn,
            Failure::Unprocessed if shields => Then::Shield,
            Failure::Unprocessed => retry(true),
            _ if !case.idempotent => Then::PassOn,
            Failure::Broken | Failure::Late | Failure::Left if shields => Then::Shield,
            Failure::Broken | Failure::Late | Failure::Left => retry(case.rules.broken),
            Failure::Answered(500..) if shields => Then::Shield,
            Failure::Answered(status) => retry(case.rules.unavailable && matches!(status, 502..=504)),
        }
    }

    /// Where nothing was sent: another endpoint, and at last stable.
    const fn elsewhere(&self, case: &Case<'_>) -> Then {
        let most = case.rules.most;
        if case.on_stable {
            return if self.retries < most { Then::Elsewhere(Place::Stable) } else { Then::PassOn };
        }
        if self.retries + 1 < most {
            Then::Elsewhere(Place::Version)
        } else if most > 0 || case.shield {
            Then::Elsewhere(Place::Stable)
        } else {
            Then::PassOn
        }
    }

    /// Another attempt will be made.
    pub(crate) fn go_on(&mut self, then: Then) {
        match then {
            Then::PassOn => {}
            Then::Elsewhere(place) => {
                self.retries += 1;
                self.next = place;
                self.may_return = false;
            }
            Then::Retry => {
                self.retries += 1;
                self.may_return = true;
            }
            Then::Shield => {
                self.next = Place::Stable;
                self.may_return = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn case(rules: &Retries) -> Case<'_> {
        Case { rules, on_stable: false, shield: true, idempotent: true, repeatable: true }
    }

    #[test]
    fn whatever_a_canary_does_that_can_be_hidden_stable_answers_in_its_stead() {
        let rules = Retries::default();
        for failure in [
            Failure::Broken,
            Failure::Late,
            Failure::Left,
            Failure::Unprocessed,
            Failure::Answered(500),
            Failure::Answered(503),
            Failure::Answered(599),
        ] {
            assert_eq!(Tries::default().after(failure, &case(&rules)), Then::Shield, "{failure:?}");
        }
        assert_eq!(Tries::default().after(Failure::Answered(404), &case(&rules)), Then::PassOn);
    }

    #[test]
    fn the_shield_needs_no_retries() {
        let none = Retries { most: 0, unavailable: false, broken: false, ..Retries::default() };
        assert_eq!(Tries::default().after(Failure::Broken, &case(&none)), Then::Shield);
        assert_eq!(Tries::default().after(Failure::Unreachable, &case(&none)), Then::Elsewhere(Place::Stable));
        let stable = Case { on_stable: true, ..case(&none) };
        assert_eq!(Tries::default().after(Failure::Unreachable, &stable), Then::PassOn);
    }

    #[test]
    fn what_may_have_done_something_is_not_sent_again() {
        let rules = Retries::default();
        let post = Case { idempotent: false, ..case(&rules) };
        for failure in [Failure::Broken, Failure::Late, Failure::Answered(503)] {
            assert_eq!(Tries::default().after(failure, &post), Then::PassOn, "{failure:?}");
        }
        assert_eq!(Tries::default().after(Failure::Unprocessed, &post), Then::Shield);
        assert_eq!(Tries::default().after(Failure::Unreachable, &post), Then::Elsewhere(Place::Version));
        let half_sent = Case { repeatable: false, ..case(&rules) };
        for failure in [Failure::Broken, Failure::Late, Failure::Answered(503), Failure::Unprocessed] {
            assert_eq!(Tries::default().after(failure, &half_sent), Then::PassOn, "{failure:?}");
        }
    }

    #[test]
    fn stable_is_tried_again_as_far_as_its_rules_go() {
        let rules = Retries::default();
        let stable = |rules| Case { on_stable: true, ..case(rules) };
        for (failure, then) in [
            (Failure::Broken, Then::Retry),
            (Failure::Late, Then::Retry),
            (Failure::Left, Then::Retry),
            (Failure::Unprocessed, Then::Retry),
            (Failure::Answered(500), Then::PassOn),
            (Failure::Answered(501), Then::PassOn),
            (Failure::Answered(502), Then::Retry),
            (Failure::Answered(503), Then::Retry),
            (Failure::Answered(504), Then::Retry),
            (Failure::Answered(505), Then::PassOn),
        ] {
            assert_eq!(Tries::default().after(failure, &stable(&rules)), then, "{failure:?}");
        }
        let only_broken = Retries { unavailable: false, ..rules };
        assert_eq!(Tries::default().after(Failure::Answered(503), &stable(&only_broken)), Then::PassOn);
        let only_unavailable = Retries { broken: false, ..rules };
        assert_eq!(Tries::default().after(Failure::Broken, &stable(&only_unavailable)), Then::PassOn);
    }

    #[test]
    fn a_request_has_no_more_retries_than_are_written() {
        let rules = Retries { most: 2, ..Retries::default() };
        let stable = Case { on_stable: true, ..case(&rules) };
        let mut tries = Tries::default();
        tries.go_on(Then::Shield);
        assert_eq!((tries.next, tries.after(Failure::Broken, &stable)), (Place::Stable, Then::Retry));
        tries.go_on(Then::Retry);
        tries.go_on(tries.after(Failure::Unreachable, &stable));
        assert_eq!(tries.after(Failure::Broken, &stable), Then::PassOn);
        assert_eq!(tries.after(Failure::Unreachable, &stable), Then::PassOn);
    }

    #[test]
    fn the_last_retry_after_a_connect_failure_is_stables() {
        let rules = Retries { most: 3, ..Retries::default() };
        let mut tries = Tries::default();
        let mut places = Vec::new();
        while let Then::Elsewhere(place) =
            tries.after(Failure::Unreachable, &Case { on_stable: tries.next == Place::Stable, ..case(&rules) })
        {
            places.push(place);
            tries.go_on(Then::Elsewhere(place));
        }
        assert_eq!(places, [Place::Version, Place::Version, Place::Stable]);
    }
}
