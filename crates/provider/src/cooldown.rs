//! When an unknown `kid` is worth a fetch of the keys.
//!
//! Fetches have numbers. Whoever needs one learns which number to wait for; many waiters share one.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// At most this many fetches on demand …
const MAX_FETCHES: usize = 10;
/// … in this time: many unknown ids at once must not become a flood at the provider.
const WINDOW: Duration = Duration::from_secs(60);
/// How many ids are remembered. A forgotten one may be fetched for early, which the cap above bounds.
const MAX_IDS: usize = 64;

/// What was asked for lately.
#[derive(Debug)]
pub(crate) struct Cooldown {
    period: Duration,
    /// Oldest first, one entry an id.
    asked: VecDeque<Asked>,
    /// When the latest fetches were granted, oldest first.
    granted: VecDeque<Instant>,
    latest: u64,
    /// The fetch that was granted and has not begun.
    pending: Option<u64>,
}

/// A token without `kid` has one entry of its own, `None`.
#[derive(Debug)]
struct Asked {
    id: Option<String>,
    at: Instant,
    fetch: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// A new fetch of this number is due: wake the fetcher, then wait for it.
    Fetch(u64),
    /// This fetch was or will be for the same id: wait for it; it may be over long ago.
    Wait(u64),
    /// The issuer's budget is spent.
    Spent,
}

impl Cooldown {
    pub(crate) fn new(period: Duration) -> Self {
        Self {
            period,
            asked: VecDeque::new(),
            granted: VecDeque::new(),
            latest: 0,
            pending: None,
        }
    }

    pub(crate) fn decide(&mut self, now: Instant, id: Option<&str>) -> Decision {
        let still_cool = |asked: &Asked| now.saturating_duration_since(asked.at) < self.period;
        if let Some(asked) = self.asked.iter().find(|asked| asked.id.as_deref() == id)
            && still_cool(asked)
        {
            return Decision::Wait(asked.fetch);
        }
        if let Some(fetch) = self.pending {
            self.remember(now, id, fetch);
            return Decision::Wait(fetch);
        }
        self.granted
            .retain(|at| now.saturating_duration_since(*at) < WINDOW);
        if self.granted.len() >= MAX_FETCHES {
            return Decision::Spent;
        }
        self.latest += 1;
        self.granted.push_back(now);
        self.pending = Some(self.latest);
        self.remember(now, id, self.latest);
        Decision::Fetch(self.latest)
    }

    /// Whether a fetch was granted that has not begun.
    pub(crate) fn is_fetch_due(&self) -> bool {
        self.pending.is_some()
    }

    /// A fetch begins, for whatever reason. When it is over, all fetches up to the number returned are.
    pub(crate) fn begin(&mut self) -> u64 {
        self.pending = None;
        self.latest
    }

    fn remember(&mut self, now: Instant, id: Option<&str>, fetch: u64) {
        self.asked.retain(|asked| asked.id.as_deref() != id);
        if self.asked.len() == MAX_IDS {
            self.asked.pop_front();
        }
        self.asked.push_back(Asked {
            id: id.map(str::to_owned),
            at: now,
            fetch,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(30);

    /// A cool-down, and a clock in milliseconds.
    fn start() -> (Cooldown, impl Fn(u64) -> Instant) {
        let zero = Instant::now();
        (Cooldown::new(PERIOD), move |millis| {
            zero + Duration::from_millis(millis)
        })
    }

    #[test]
    fn one_fetch_for_all_who_want_the_same_id() {
        let (mut cooldown, at) = start();
        assert_eq!(cooldown.decide(at(0), Some("a")), Decision::Fetch(1));
        assert_eq!(cooldown.decide(at(1), Some("a")), Decision::Wait(1));
        assert_eq!(cooldown.begin(), 1);
        assert_eq!(cooldown.decide(at(2), Some("a")), Decision::Wait(1));
        assert!(!cooldown.is_fetch_due());
    }

    #[test]
    fn other_ids_join_a_fetch_that_has_not_begun_only() {
        let (mut cooldown, at) = start();
        assert_eq!(cooldown.decide(at(0), Some("a")), Decision::Fetch(1));
        assert_eq!(cooldown.decide(at(0), Some("b")), Decision::Wait(1));
        cooldown.begin();
        assert_eq!(cooldown.decide(at(1), Some("c")), Decision::Fetch(2));
        assert_eq!(cooldown.decide(at(1), None), Decision::Wait(2));
    }

    #[test]
    fn the_period_counts_per_id_and_not_from_scheduled_fetches() {
        let (mut cooldown, at) = start();
        cooldown.begin();
        assert_eq!(cooldown.decide(at(1), Some("a")), Decision::Fetch(1));
        cooldown.begin();
        assert_eq!(cooldown.decide(at(29_000), Some("b")), Decision::Fetch(2));
        cooldown.begin();
        assert_eq!(cooldown.decide(at(30_000), Some("a")), Decision::Wait(1));
        assert_eq!(cooldown.decide(at(30_001), Some("a")), Decision::Fetch(3));
        cooldown.begin();
        assert_eq!(cooldown.decide(at(58_999), Some("b")), Decision::Wait(2));
    }

    #[test]
    fn the_budget_is_ten_a_minute() {
        let (mut cooldown, at) = start();
        for n in 0..10 {
            assert_eq!(
                cooldown.decide(at(n), Some(&n.to_string())),
                Decision::Fetch(n + 1)
            );
            cooldown.begin();
        }
        assert_eq!(cooldown.decide(at(10), Some("x")), Decision::Spent);
        assert_eq!(cooldown.decide(at(59_999), Some("x")), Decision::Spent);
        assert_eq!(cooldown.decide(at(60_000), Some("x")), Decision::Fetch(11));
        cooldown.begin();
        assert_eq!(cooldown.decide(at(60_000), Some("y")), Decision::Spent);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut cooldown, at) = start();
        cooldown.decide(at(0), Some("first"));
        for n in 0..1000 {
            cooldown.decide(at(1), Some(&n.to_string()));
        }
        assert_eq!(cooldown.asked.len(), MAX_IDS);
        assert!(cooldown.granted.len() <= MAX_FETCHES);
    }
}
