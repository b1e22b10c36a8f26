//! Objects whose status could not be written, and when each is tried again. Plain data: no clock, no client.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use splittoken_api::ObjectName;

/// Until what failed is tried again. What the API server refuses is tried less and less often…
pub(crate) const FIRST: Duration = Duration::from_secs(5);
/// …but at least so often.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// All that failed the last time that it was tried.
#[derive(Debug, Default)]
pub(crate) struct Retries(BTreeMap<ObjectName, Retry>);

#[derive(Debug)]
struct Retry {
    failed: Instant,
    wait: Duration,
    again: Instant,
    /// Its time has come, and it was not tried since.
    is_due: bool,
}

impl Retries {
    /// It failed. Where nobody refused it, as without an API server, nothing is won by waiting for longer.
    pub(crate) fn failed(&mut self, name: &ObjectName, is_refused: bool, now: Instant) {
        let last = self.0.get(name).filter(|_| is_refused);
        let wait = last.map_or(FIRST, |retry| LONGEST.min(retry.wait * 2));
        let retry = Retry {
            failed: now,
            wait,
            again: now + wait,
            is_due: false,
        };
        self.0.insert(name.clone(), retry);
    }

    /// It went well, or somebody has changed the object.
    pub(crate) fn forget(&mut self, name: &ObjectName) {
        self.0.remove(name);
    }

    pub(crate) fn keep(&mut self, is_there: impl Fn(&ObjectName) -> bool) {
        self.0.retain(|name, _| is_there(name));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &ObjectName> {
        self.0.keys()
    }

    pub(crate) fn is_known(&self, name: &ObjectName) -> bool {
        self.0.contains_key(name)
    }

    /// When it failed.
    pub(crate) fn since(&self, name: &ObjectName) -> Option<Instant> {
        self.0.get(name).map(|retry| retry.failed)
    }

    /// Whether it is not to be tried now.
    pub(crate) fn waits(&self, name: &ObjectName) -> bool {
        self.0.get(name).is_some_and(|retry| !retry.is_due)
    }

    /// When the next is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.values().map(|retry| retry.again).min()
    }

    /// Whose time has come. What is not tried now nevertheless comes again a little later.
    pub(crate) fn due(&mut self, now: Instant) -> BTreeSet<ObjectName> {
        let due = self.0.iter_mut().filter(|(_, retry)| retry.again <= now);
        due.map(|(name, retry)| {
            (retry.is_due, retry.again) = (true, now + FIRST);
            name.clone()
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> ObjectName {
        ObjectName::new("SplitTokenRoute", "shop", name)
    }

    #[test]
    fn what_is_refused_is_tried_less_and_less_often() {
        let (mut retries, mut now) = (Retries::default(), Instant::now());
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            retries.failed(&name("a"), true, now);
            assert!(retries.waits(&name("a")));
            assert_eq!(retries.next(), Some(now + Duration::from_secs(seconds)));
            now += Duration::from_secs(seconds);
            assert_eq!(retries.due(now), BTreeSet::from([name("a")]));
            assert!(!retries.waits(&name("a")));
        }
        for _ in 0..2 {
            retries.failed(&name("a"), false, now);
            assert_eq!(retries.next(), Some(now + FIRST), "nobody said no");
        }
        retries.forget(&name("a"));
        assert!(retries.next().is_none() && !retries.waits(&name("a")));
    }

    #[test]
    fn each_object_comes_at_its_own_time_and_alone() {
        let (mut retries, now) = (Retries::default(), Instant::now());
        retries.failed(&name("a"), true, now);
        retries.failed(&name("a"), true, now);
        retries.failed(&name("b"), true, now);
        assert!(retries.due(now).is_empty());
        assert_eq!(retries.due(now + FIRST), BTreeSet::from([name("b")]));
        assert!(retries.due(now + FIRST).is_empty(), "it is said once");
        assert!(!retries.waits(&name("b")), "and may be tried until it is");
        // It was not tried, as while no pod is known.
        let both = BTreeSet::from([name("a"), name("b")]);
        assert_eq!(retries.due(now + FIRST * 2), both);
    }
}
