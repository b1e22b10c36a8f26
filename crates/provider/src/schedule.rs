//! When a document is fetched again.

use std::time::{Duration, Instant};

/// The first wait after a failure; it doubles from there …
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// … up to this.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// How soon a hint may hasten a fetch: some providers answer 404 for reasons of their own.
const HINT_INTERVAL: Duration = Duration::from_secs(60);

/// The times of one document.
#[derive(Debug)]
pub(crate) struct Timer {
    due: Instant,
    /// Failures in a row.
    failures: u32,
    tried_at: Option<Instant>,
}

impl Timer {
    /// Due at once.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            due: now,
            failures: 0,
            tried_at: None,
        }
    }

    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.due <= now
    }

    /// Due now, whatever was planned.
    pub(crate) fn hasten(&mut self, now: Instant) {
        self.due = self.due.min(now);
    }

    /// Due now on a hint, unless it was fetched within the last minute.
    pub(crate) fn hasten_unless_recent(&mut self, now: Instant) {
        if self
            .tried_at
            .is_none_or(|at| now.saturating_duration_since(at) >= HINT_INTERVAL)
        {
            self.hasten(now);
        }
    }

    /// `chance` is in 0..1.
    pub(crate) fn succeeded(&mut self, now: Instant, interval: Duration, chance: f64) {
        self.failures = 0;
        self.tried_at = Some(now);
        self.due = now + spread(interval, chance);
    }

    /// `chance` is in 0..1.
    pub(crate) fn failed(&mut self, now: Instant, chance: f64) {
        let backoff = FIRST_BACKOFF
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST_BACKOFF);
        self.failures = self.failures.saturating_add(1);
        self.tried_at = Some(now);
        self.due = now + spread(backoff, chance);
    }
}

/// Up to a tenth more or less, so that many pods do not ask in step.
fn spread(duration: Duration, chance: f64) -> Duration {
    duration.mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backs_off_from_one_second_to_thirty() {
        let now = Instant::now();
        let mut timer = Timer::new(now);
        assert!(timer.is_due(now));
        let mut waits = Vec::new();
        for _ in 0..100 {
            timer.failed(now, 0.5);
            waits.push((timer.due() - now).as_millis());
        }
        assert_eq!(waits[..7], [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(waits[99], 30_000);
        timer.succeeded(now, Duration::from_secs(600), 0.5);
        assert_eq!(timer.due() - now, Duration::from_secs(600));
        timer.failed(now, 0.5);
        assert_eq!(timer.due() - now, Duration::from_secs(1));
    }

    #[test]
    fn spreads_by_a_tenth() {
        let now = Instant::now();
        let mut timer = Timer::new(now);
        for (chance, millis) in [(0.0, 900), (1.0, 1100), (7.0, 1100)] {
            timer.succeeded(now, Duration::from_secs(1), chance);
            assert_eq!((timer.due() - now).as_millis(), millis);
        }
    }

    #[test]
    fn hasten_never_delays() {
        let now = Instant::now();
        let mut timer = Timer::new(now);
        timer.succeeded(now, Duration::from_secs(1), 0.5);
        timer.hasten(now + Duration::from_secs(5));
        assert_eq!(timer.due(), now + Duration::from_secs(1));
        timer.hasten(now);
        assert!(timer.is_due(now));
    }

    #[test]
    fn hints_hasten_once_a_minute() {
        let now = Instant::now();
        let mut timer = Timer::new(now);
        timer.succeeded(now, Duration::from_secs(3600), 0.5);
        timer.hasten_unless_recent(now + Duration::from_secs(59));
        assert!(!timer.is_due(now + Duration::from_secs(59)));
        timer.hasten_unless_recent(now + HINT_INTERVAL);
        assert!(timer.is_due(now + HINT_INTERVAL));
    }
}
