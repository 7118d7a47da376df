//! Heads of which a part has come and a part has not: their connections are not idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};

/// How often it is looked whether the last head has come, as a core drains.
const LOOK: Duration = Duration::from_millis(10);

/// How many heads of a core's connections have begun and not ended.
#[derive(Debug, Clone, Default)]
pub struct BegunHeads(Arc<AtomicUsize>);

impl BegunHeads {
    /// Returns when there is none, or after so long.
    pub(crate) async fn none(&self, longest: Duration) {
        let none = async {
            while self.0.load(Ordering::Relaxed) > 0 {
                sleep(LOOK).await;
            }
        };
        // An error means that clients take longer than they may.
        let _ = timeout(longest, none).await;
    }
}

/// Whether the head of one connection has begun.
#[derive(Debug, Default)]
pub(super) struct Begun {
    heads: BegunHeads,
    is: bool,
}

impl Begun {
    pub(super) fn among(heads: BegunHeads) -> Self {
        Self { heads, is: false }
    }

    pub(super) fn set(&mut self, is: bool) {
        if self.is == is {
            return;
        }
        self.is = is;
        let BegunHeads(count) = &self.heads;
        if is {
            count.fetch_add(1, Ordering::Relaxed);
        } else {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_counts_once_from_its_beginning_to_its_end_or_that_of_its_connection() {
        let heads = BegunHeads::default();
        let count = || heads.0.load(Ordering::Relaxed);
        let (mut one, mut other) = (Begun::among(heads.clone()), Begun::among(heads.clone()));
        one.set(true);
        one.set(true);
        other.set(true);
        assert_eq!(count(), 2);
        one.set(false);
        one.set(false);
        assert_eq!(count(), 1);
        drop(other);
        assert_eq!(count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_never_ends_is_waited_for_as_long_as_it_may_take() {
        let heads = BegunHeads::default();
        let mut one = Begun::among(heads.clone());
        heads.none(Duration::MAX).await;
        one.set(true);
        heads.none(Duration::from_secs(10)).await;
        assert!(one.is, "given up");
    }
}
