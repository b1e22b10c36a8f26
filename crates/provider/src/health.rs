//! How a document fares: what `/config` shows, and when a log line is due.

use std::time::Instant;

/// The last success and the last failure of a document's fetches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    pub(crate) fetched_at: Option<Instant>,
    pub(crate) failing: Option<Failing>,
    pub(crate) next: Option<Instant>,
}

/// Failures in a row, as one.
#[derive(Clone, Debug)]
pub(crate) struct Failing {
    pub(crate) since: Instant,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Health {
    /// Notes a success; true if that is news.
    pub(crate) fn succeeded(&mut self, now: Instant) -> bool {
        let is_news = self.failing.is_some() || self.fetched_at.is_none();
        self.fetched_at = Some(now);
        self.failing = None;
        is_news
    }

    /// Notes a failure; true if that is news: the first of a row, or for another reason than the one before.
    pub(crate) fn failed(&mut self, now: Instant, reason: &'static str, message: String) -> bool {
        let before = self.failing.take();
        let since = before.as_ref().map_or(now, |failing| failing.since);
        let is_news = before.is_none_or(|failing| failing.reason != reason);
        self.failing = Some(Failing {
            since,
            reason,
            message,
        });
        is_news
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_changes_are_news() {
        let mut health = Health::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(9);
        assert!(health.failed(now, "a", "1".into()));
        assert!(!health.failed(later, "a", "2".into()));
        assert!(health.failed(later, "b", "3".into()));
        let failing = health.failing.clone().unwrap();
        assert_eq!((failing.since, failing.message.as_str()), (now, "3"));
        assert!(health.succeeded(later));
        assert!(!health.succeeded(later));
        assert!(health.failing.is_none());
        assert!(health.failed(later, "b", "4".into()));
        assert_eq!(health.fetched_at, Some(later));
    }
}
