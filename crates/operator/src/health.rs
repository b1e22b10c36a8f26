//! How a watch goes, and who is told.

use std::{
    sync::atomic::AtomicI64,
    time::{Duration, Instant},
};

use prometheus_client::metrics::gauge::Gauge;
use splittoken_runtime::{Readiness, ReadyGuard};

/// How long a watch may fail before the process is not ready any more: an API server that restarts is no fault.
const PATIENCE: Duration = Duration::from_secs(60);
/// A watch that is begun anew is refused at once, if it is. Where nothing changes, that it works shows in nothing else.
const TRIAL: Duration = Duration::from_secs(10);
/// Until what failed is tried again: twice as long each time…
const FIRST: Duration = Duration::from_secs(1);
/// …but at least so often.
pub(crate) const LONGEST: Duration = Duration::from_secs(10);

/// The state of one watch.
pub(crate) struct Health {
    readiness: Readiness,
    /// 1 while it fails.
    failing: Gauge<i64, AtomicI64>,
    /// Keeps the process unready: before the first list, and when it has failed for long.
    guard: Option<ReadyGuard>,
    was_listed: bool,
    /// Since when it fails.
    since: Option<Instant>,
    /// Until when it must not fail to be well again.
    trial: Option<Instant>,
    wait: Duration,
}

impl Health {
    /// Of a watch that was not listed yet, which `what` says.
    pub(crate) fn new(readiness: &Readiness, what: String, failing: Gauge<i64, AtomicI64>) -> Self {
        Self {
            guard: Some(readiness.guard(what)),
            readiness: readiness.clone(),
            failing,
            was_listed: false,
            since: None,
            trial: None,
            wait: FIRST,
        }
    }

    /// It has failed, as `what` says. Gives how long to wait until the next try.
    pub(crate) fn failed(&mut self, what: String, now: Instant) -> Duration {
        self.failing.set(1);
        self.trial = None;
        let since = *self.since.get_or_insert(now);
        match &self.guard {
            Some(guard) => guard.explain(what),
            None if now.saturating_duration_since(since) >= PATIENCE => {
                self.guard = Some(self.readiness.guard(what));
            }
            None => {}
        }
        let wait = self.wait;
        self.wait = LONGEST.min(wait * 2);
        wait
    }

    /// A list is complete, or a watch goes on where it was.
    pub(crate) fn begins(&mut self, now: Instant) {
        self.trial = self.since.map(|_| now + TRIAL);
    }

    /// A list is being read: how long that takes says nothing.
    pub(crate) fn lists(&mut self) {
        self.trial = None;
    }

    /// What was listed is on its way to be looked at.
    pub(crate) fn listed(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.was_listed, true) {
            self.guard = None;
        }
        self.begins(now);
    }

    /// When it is well again unless it fails before.
    pub(crate) fn trial(&self) -> Option<Instant> {
        self.trial
    }

    /// It is well. Says whether that is news.
    pub(crate) fn is_well(&mut self) -> bool {
        self.failing.set(0);
        self.trial = None;
        self.wait = FIRST;
        if self.was_listed {
            self.guard = None;
        }
        self.since.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(readiness: &Readiness) -> (Health, Gauge<i64, AtomicI64>) {
        let failing = Gauge::default();
        let health = Health::new(readiness, "services not listed yet".to_owned(), failing.clone());
        (health, failing)
    }

    #[test]
    fn what_is_missing_at_the_start_is_said_at_once_and_a_list_ends_it() {
        let (readiness, now) = (Readiness::default(), Instant::now());
        let (mut health, failing) = health(&readiness);
        assert_eq!(failing.get(), 0);
        health.failed("not allowed".to_owned(), now);
        assert_eq!(readiness.report(), ["not allowed"]);
        health.listed(now);
        assert!(readiness.report().is_empty());
        assert_eq!(failing.get(), 1, "the watch may still be refused");
        assert!(health.is_well() && !health.is_well());
        assert_eq!(failing.get(), 0);
    }

    #[test]
    fn a_watch_that_fails_later_is_said_in_a_minute_and_until_it_is_well() {
        let (readiness, start) = (Readiness::default(), Instant::now());
        let (mut health, failing) = health(&readiness);
        health.listed(start);
        assert_eq!(health.trial(), None, "nothing has failed");
        for seconds in [0, 30, 59] {
            let now = start + Duration::from_secs(seconds);
            health.failed("not allowed".to_owned(), now);
            assert_eq!((failing.get(), readiness.report().len()), (1, 0));
            // That it can be listed does not mean that it can be watched.
            health.listed(now);
            assert_eq!(health.trial(), Some(now + TRIAL));
            health.lists();
            assert_eq!(health.trial(), None);
        }
        for words in ["not allowed", "no answer"] {
            health.failed(words.to_owned(), start + PATIENCE);
            assert_eq!(readiness.report(), [words]);
        }
        health.listed(start + PATIENCE);
        assert_eq!(readiness.report().len(), 1);
        assert!(health.is_well());
        assert_eq!((failing.get(), readiness.report().len()), (0, 0));
    }

    #[test]
    fn it_is_tried_less_often_while_it_fails() {
        let (mut health, _) = health(&Readiness::default());
        let waits = [(); 6].map(|()| health.failed("no".to_owned(), Instant::now()).as_secs());
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        health.is_well();
        assert_eq!(health.failed("no".to_owned(), Instant::now()), FIRST);
    }
}
