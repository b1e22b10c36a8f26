//! How many further tries a rule may make: a retry helps where one request in a hundred fails, and hurts where nearly
//! all do.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// In tenths of a token, as all that follows.
const TOKENS: u32 = 1000;
const FAILURE: u32 = 10;
const ANSWER: u32 = 1;

/// Retries by gRPC's rule (gRFC A6): each failure takes a token away, each answer brings a tenth of one, and there are
/// retries while more than half are there.
///
/// It is a rule's and not an upstream's: one that waits so briefly that it always fails takes no retries from others
/// whose requests go to the same place.
#[derive(Debug, Default)]
pub(crate) struct RetryBudget {
    /// What is not there.
    spent: AtomicU32,
}

impl RetryBudget {
    /// Whether a request that has failed may be sent once more.
    pub(crate) fn has_some(&self) -> bool {
        self.spent.load(Relaxed) < TOKENS / 2
    }

    pub(crate) fn failed(&self) {
        self.change(|spent| (spent + FAILURE).min(TOKENS));
    }

    /// Costs a load where all tokens are there.
    pub(crate) fn answered(&self) {
        if self.spent.load(Relaxed) > 0 {
            self.change(|spent| spent.saturating_sub(ANSWER));
        }
    }

    fn change(&self, change: impl Fn(u32) -> u32) {
        // It always gives a new value.
        let _ = self
            .spent
            .fetch_update(Relaxed, Relaxed, |spent| Some(change(spent)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_end_where_most_fail_and_come_back() {
        let budget = RetryBudget::default();
        let retries = (0..1000).filter(|_| {
            let has_some = budget.has_some();
            budget.failed();
            has_some
        });
        assert_eq!(retries.count(), 50);
        (0..600).for_each(|_| budget.answered());
        assert!(budget.has_some());
    }

    #[test]
    fn one_in_eleven_that_fails_is_always_tried_again() {
        let budget = RetryBudget::default();
        for number in 0..10_000 {
            if number % 11 == 0 {
                assert!(budget.has_some());
                budget.failed();
            } else {
                budget.answered();
            }
        }
    }

    #[test]
    fn there_are_never_more_tokens_than_at_first() {
        let budget = RetryBudget::default();
        (0..1000).for_each(|_| budget.answered());
        assert_eq!(budget.spent.load(Relaxed), 0);
        (0..1000).for_each(|_| budget.failed());
        assert_eq!(budget.spent.load(Relaxed), TOKENS);
    }
}
