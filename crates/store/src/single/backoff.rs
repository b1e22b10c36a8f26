//! How long to wait before connecting again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// After a connection that worked.
const FIRST: Duration = Duration::from_millis(50);
/// Recovery is promised within 2 s of the server's return: this and one attempt fit.
const LONGEST: Duration = Duration::from_secs(1);

pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    pub(super) fn reset(&mut self) {
        self.0 = FIRST;
    }

    /// The time to wait now: twice the last, up to a second; a random quarter less, so that the workers of many
    /// pods do not come back in step.
    pub(super) fn next(&mut self) -> Duration {
        let full = self.0;
        self.0 = (full * 2).min(LONGEST);
        let random = u8::try_from(RandomState::new().hash_one(()) >> 56).unwrap_or(0);
        full.saturating_sub(full / 4 * u32::from(random) / 256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_a_second_and_starts_over() {
        let mut backoff = Backoff::new();
        for full in [50, 100, 200, 400, 800, 1000, 1000] {
            let (wait, full) = (backoff.next(), Duration::from_millis(full));
            assert!(wait <= full && wait >= full * 3 / 4, "{wait:?} of {full:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
