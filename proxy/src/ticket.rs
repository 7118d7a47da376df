//! The ticket: which version a request draws.
//!
//! A ticket below the canary's weight goes to the canary, so raising the weight only adds users and lowering it only
//! removes them. A baseline that has a weight of its own has the highest tickets, so the same holds for it.

use config::Weight;
use meter::GROUPS;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A number in 0 to 9 999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u16);

/// What a service's tickets are salted with, so that the users who try one canary first are not those who try every
/// canary of every service first. Stable over restarts and machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt(u64);

impl Salt {
    /// The salt of a service's canary.
    #[must_use]
    pub fn new(service: &str, canary: &str) -> Self {
        // Names hold no NUL, so no two pairs run together.
        Self(xxh3_64([service.as_bytes(), b"\0", canary.as_bytes()].concat().as_slice()))
    }
}

impl Ticket {
    const COUNT: u64 = Weight::FULL.basis_points() as u64;

    /// The ticket of an affinity key: the same key always draws the same.
    #[must_use]
    pub fn of_key(salt: Salt, key: &[u8]) -> Self {
        // The high half of a 64 x 64 bit product maps the hash evenly onto 0..COUNT.
        let scaled = (u128::from(xxh3_64_with_seed(key, salt.0)) * u128::from(Self::COUNT)) >> 64;
        Self(u16::try_from(scaled).unwrap_or_default())
    }

    /// A ticket at random.
    #[must_use]
    pub fn random() -> Self {
        Self(fastrand::u16(0..Weight::FULL.basis_points()))
    }

    /// Whether this ticket goes to a canary of this weight.
    #[must_use]
    pub const fn is_below(self, weight: Weight) -> bool {
        self.0 < weight.basis_points()
    }

    /// Whether this ticket goes to a baseline of this weight.
    #[must_use]
    pub const fn is_among_highest(self, weight: Weight) -> bool {
        self.0 >= weight.complement().basis_points()
    }
}

/// The hash group of an affinity key or client address, for the spread of errors over groups. Not salted: a user
/// stays in a group whatever the canary.
#[must_use]
pub fn group_of(key: &[u8]) -> u8 {
    (xxh3_64(key) % GROUPS as u64) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weight(basis_points: u16) -> Weight {
        Weight::from_basis_points(basis_points).unwrap()
    }

    proptest! {
        #[test]
        fn raising_the_weight_never_moves_a_ticket_away_from_the_canary(
            key in prop::collection::vec(any::<u8>(), 0..40),
            low in 0u16..=10_000,
            high in 0u16..=10_000,
        ) {
            let (low, high) = (low.min(high), low.max(high));
            let ticket = Ticket::of_key(Salt::new("shop", "v2"), &key);
            prop_assert!(!ticket.is_below(weight(low)) || ticket.is_below(weight(high)));
            prop_assert!(!ticket.is_below(Weight::ZERO));
            prop_assert!(ticket.is_below(Weight::FULL));
        }

        #[test]
        fn raising_the_weight_never_moves_a_ticket_away_from_the_baseline_nor_into_the_canary(
            key in prop::collection::vec(any::<u8>(), 0..40),
            low in 0u16..=5_000,
            high in 0u16..=5_000,
        ) {
            let (low, high) = (low.min(high), low.max(high));
            let ticket = Ticket::of_key(Salt::new("shop", "v2"), &key);
            prop_assert!(!ticket.is_among_highest(weight(low)) || ticket.is_among_highest(weight(high)));
            prop_assert!(!ticket.is_among_highest(weight(high)) || !ticket.is_below(weight(high)));
            prop_assert!(!ticket.is_among_highest(Weight::ZERO));
            prop_assert!(ticket.is_among_highest(Weight::FULL));
        }

        #[test]
        fn the_same_key_draws_the_same_ticket(key in prop::collection::vec(any::<u8>(), 0..40)) {
            let draw = || Ticket::of_key(Salt::new("shop", "v2"), &key);
            prop_assert_eq!(draw(), draw());
        }
    }

    #[test]
    fn keys_spread_evenly_over_the_tickets() {
        let salt = Salt::new("shop", "v2");
        let below =
            (0..100_000u32).filter(|key| Ticket::of_key(salt, &key.to_le_bytes()).is_below(weight(1_000))).count();
        // Ten thousand expected, with a standard deviation of 95.
        assert!((9_500..=10_500).contains(&below), "{below}");
    }

    #[test]
    fn random_tickets_cover_the_whole_range_and_nothing_beyond() {
        fastrand::seed(7);
        let below = (0..100_000).filter(|_| Ticket::random().is_below(weight(1_000))).count();
        assert!((9_500..=10_500).contains(&below), "{below}");
        assert!((0..100_000).all(|_| Ticket::random().is_below(Weight::FULL)));
    }

    #[test]
    fn users_who_try_one_canary_are_not_those_who_try_the_next() {
        let (one, other) = (Salt::new("shop", "v2"), Salt::new("shop", "v3"));
        let tenth = weight(1_000);
        let both = (0..100_000u32)
            .filter(|key| {
                let key = key.to_le_bytes();
                Ticket::of_key(one, &key).is_below(tenth) && Ticket::of_key(other, &key).is_below(tenth)
            })
            .count();
        // One per cent expected if the draws are independent.
        assert!((800..=1_200).contains(&both), "{both}");
    }

    #[test]
    fn a_ticket_is_the_same_on_every_machine_and_release() {
        // Known by heart: a change of hash would move every user at an upgrade.
        assert_eq!(Ticket::of_key(Salt::new("shop", "v2"), b"user-1"), Ticket(1578));
    }
}
