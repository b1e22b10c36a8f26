//! A place that requests are sent to, an upstream or a provider: how many wait for it, and whether it is any good.
//!
//! A place that does well costs each request two additions and two loads. Only one that has failed lately is looked at
//! behind a lock.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;

/// For how long a place is left alone after it has failed too often, at first. Twice as long after each try that fails.
const SHORTEST_REST: Duration = Duration::from_secs(1);
/// The longest of these times.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// What a place may be burdened with.
#[derive(Clone, Debug)]
pub(crate) struct Burden {
    /// The most requests that may wait for its answer.
    pub(crate) requests: usize,
    /// After how many requests in a row that did not get there it is left alone; 0 for never.
    pub(crate) failures: u32,
    /// Counts the places that are left alone.
    pub(crate) resting: Gauge<i64, AtomicI64>,
}

impl Default for Burden {
    /// Any.
    fn default() -> Self {
        Self {
            requests: usize::MAX,
            failures: 0,
            resting: Gauge::default(),
        }
    }
}

/// One place.
#[derive(Debug)]
pub(crate) struct Circuit {
    /// What it is called in logs.
    name: Arc<str>,
    burden: Burden,
    waiting: AtomicUsize,
    /// Whether `health` says anything but "well".
    is_troubled: AtomicBool,
    health: Mutex<Health>,
}

/// Why a place is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// As many requests wait for it as may.
    Busy,
    /// It could not be reached too often, and is left alone for so long.
    Resting(Duration),
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// There was no way to get there. No client can bring that about, so only this makes a place rest: it is there for
    /// others, too.
    Unreachable,
    /// It was there, and gave none: a request may be to blame.
    Broken,
    /// It took longer than it was waited for.
    Late,
}

/// A request that waits for an answer, until this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    circuit: Arc<Circuit>,
    /// Whether it is the test of a place that rests.
    is_test: bool,
    /// Where it has a body: it waits once that has been sent. Until then its client is who takes the time.
    upload: Option<Arc<Upload>>,
}

/// A body on its way to a place.
#[derive(Debug)]
pub(crate) struct Upload {
    circuit: Arc<Circuit>,
    state: AtomicU8,
    is_too_large: AtomicBool,
}

/// The body has not ended.
const SENDING: u8 = 0;
/// It has, and its request waits.
const SENT: u8 = 1;
/// Nobody waits any more.
const OVER: u8 = 2;

impl Upload {
    /// The body turns out to be larger than it may be: the error that ends it may not say so at the other end.
    pub(crate) fn overflow(&self) {
        self.is_too_large.store(true, Relaxed);
    }

    /// The body has ended.
    pub(crate) fn end(&self) {
        let ended = self.state.compare_exchange(SENDING, SENT, Relaxed, Relaxed);
        if ended.is_ok() {
            self.circuit.waiting.fetch_add(1, Relaxed);
        }
    }
}

impl Circuit {
    pub(crate) fn new(name: &Arc<str>, burden: &Burden) -> Arc<Self> {
        Arc::new(Self {
            name: Arc::clone(name),
            burden: burden.clone(),
            waiting: AtomicUsize::new(0),
            is_troubled: AtomicBool::new(false),
            health: Mutex::default(),
        })
    }

    /// Lets a request go there, if it may.
    pub(crate) fn enter(self: &Arc<Self>, has_body: bool) -> Result<Waiting, Closed> {
        let mut waiting = Waiting {
            circuit: Arc::clone(self),
            is_test: false,
            upload: has_body.then(|| {
                Arc::new(Upload {
                    circuit: Arc::clone(self),
                    state: AtomicU8::new(SENDING),
                    is_too_large: AtomicBool::new(false),
                })
            }),
        };
        let before = if has_body {
            self.waiting.load(Relaxed)
        } else {
            self.waiting.fetch_add(1, Relaxed)
        };
        if before >= self.burden.requests {
            return Err(Closed::Busy);
        }
        // Last, so that no test is lost.
        if self.is_troubled.load(Relaxed) {
            let admitted = self.health.lock().admit(Instant::now());
            waiting.is_test = admitted.map_err(Closed::Resting)?;
        }
        Ok(waiting)
    }

    /// Whether it is left alone right now: a request would not be let through.
    pub(crate) fn is_resting(&self) -> bool {
        self.is_troubled.load(Relaxed) && self.health.lock().rests_for(Instant::now()).is_some()
    }

    fn note(&self, change: impl FnOnce(&mut Health)) {
        let mut health = self.health.lock();
        let before = health.rests_until.is_some();
        change(&mut health);
        self.is_troubled.store(!health.is_well(), Relaxed);
        let after = health.rests_until.is_some();
        drop(health);
        let (place, resting) = (&*self.name, &self.burden.resting);
        match (before, after) {
            (false, true) => {
                resting.inc();
                tracing::warn!(place, "it cannot be reached, and is asked seldom from now on");
            }
            (true, false) => {
                resting.dec();
                tracing::info!(place, "it can be reached again");
            }
            _ => {}
        }
    }
}

impl Drop for Circuit {
    fn drop(&mut self) {
        if self.health.get_mut().rests_until.is_some() {
            self.burden.resting.dec();
        }
    }
}

impl Waiting {
    /// What is to hear of the end of the request's body, if it has one.
    pub(crate) fn upload(&self) -> Option<Arc<Upload>> {
        self.upload.clone()
    }

    /// It has answered, whatever it said.
    pub(crate) fn answered(self) {
        if self.circuit.is_troubled.load(Relaxed) {
            self.circuit.note(Health::is_there);
        }
    }

    /// Whether this trouble is the place's: that it is late says nothing while the request has not been sent.
    pub(crate) fn is_its_own(&self, trouble: Trouble) -> bool {
        trouble != Trouble::Late || !self.is_sending()
    }

    /// It has not.
    pub(crate) fn failed(self, trouble: Trouble) {
        let limit = self.circuit.burden.failures;
        let is_test = self.is_test;
        self.circuit
            .note(|health| health.failed(trouble, is_test, limit, Instant::now()));
    }

    /// Whether its body has turned out to be too large.
    pub(crate) fn is_too_large(&self) -> bool {
        let upload = self.upload.as_ref();
        upload.is_some_and(|upload| upload.is_too_large.load(Relaxed))
    }

    fn is_sending(&self) -> bool {
        let upload = self.upload.as_ref();
        upload.is_some_and(|upload| upload.state.load(Relaxed) == SENDING)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let counts = match &self.upload {
            Some(upload) => upload.state.swap(OVER, Relaxed) == SENT,
            None => true,
        };
        if counts {
            self.circuit.waiting.fetch_sub(1, Relaxed);
        }
    }
}

/// How a place has done lately.
#[derive(Debug, Default)]
struct Health {
    /// How often in a row there was no way to get there.
    failures: u32,
    /// Until when it is left alone; then one request is a test of it.
    rests_until: Option<Instant>,
    /// How long it was left alone the last time.
    rest: Duration,
}

impl Health {
    fn is_well(&self) -> bool {
        self.failures == 0 && self.rests_until.is_none()
    }

    /// Whether a request that may go there now is a test, or for how long none may. One that goes while the place rests
    /// is: the others wait for what comes of it, for as long as a rest takes.
    fn admit(&mut self, now: Instant) -> Result<bool, Duration> {
        if let Some(rest) = self.rests_for(now) {
            return Err(rest);
        }
        let is_test = self.rests_until.is_some();
        if is_test {
            self.rests_until = Some(now + self.rest);
        }
        Ok(is_test)
    }

    /// How long nobody goes there from now on.
    fn rests_for(&self, now: Instant) -> Option<Duration> {
        let rest = self.rests_until?.saturating_duration_since(now);
        (!rest.is_zero()).then_some(rest)
    }

    fn failed(&mut self, trouble: Trouble, is_test: bool, limit: u32, now: Instant) {
        match trouble {
            Trouble::Unreachable if is_test => self.rest_from(now, self.rest * 2),
            // Those that were on their way when it began to rest are no news.
            Trouble::Unreachable if self.rests_until.is_some() => {}
            Trouble::Unreachable => self.is_away(limit, now),
            Trouble::Broken => self.is_there(),
            Trouble::Late => {}
        }
    }

    fn is_there(&mut self) {
        self.failures = 0;
        self.rests_until = None;
        self.rest = Duration::ZERO;
    }

    fn is_away(&mut self, limit: u32, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if limit > 0 && self.failures >= limit {
            self.rest_from(now, SHORTEST_REST);
        }
    }

    fn rest_from(&mut self, now: Instant, rest: Duration) {
        self.rest = rest.min(LONGEST_REST);
        self.rests_until = Some(now + self.rest);
    }
}

/// The circuits of all upstreams, by what connections to them are kept under.
#[derive(Debug, Default)]
pub(crate) struct CircuitBook {
    burden: Burden,
    before: HashMap<Arc<str>, Arc<Circuit>>,
    now: HashMap<Arc<str>, Arc<Circuit>>,
}

impl CircuitBook {
    /// One for the next configuration. Upstreams that stay are as well as they are.
    pub(crate) fn successor(&self, burden: &Burden) -> Self {
        Self {
            burden: burden.clone(),
            before: self.now.clone(),
            now: HashMap::new(),
        }
    }

    /// That of one upstream, whichever rules lead to it.
    pub(crate) fn circuit(&mut self, key: &Arc<str>) -> Arc<Circuit> {
        let (before, burden) = (&mut self.before, &self.burden);
        let circuit = self.now.entry(Arc::clone(key)).or_insert_with(|| {
            let kept = before.remove(key);
            kept.unwrap_or_else(|| Circuit::new(key, burden))
        });
        Arc::clone(circuit)
    }

    /// Forgets the upstreams that are gone.
    pub(crate) fn finish(&mut self) {
        self.before = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::{Trouble::Unreachable, *};

    fn burden() -> Burden {
        Burden {
            requests: 2,
            failures: 3,
            resting: Gauge::default(),
        }
    }

    fn circuit() -> Arc<Circuit> {
        Circuit::new(&"a place".into(), &burden())
    }

    #[test]
    fn so_many_may_wait() {
        let circuit = circuit();
        let one = circuit.enter(false).unwrap();
        let _other = circuit.enter(false).unwrap();
        assert_eq!(circuit.enter(false).unwrap_err(), Closed::Busy);
        assert_eq!(
            circuit.enter(false).unwrap_err(),
            Closed::Busy,
            "who is refused leaves no trace"
        );
        one.answered();
        assert!(circuit.enter(false).is_ok());
    }

    #[test]
    fn failures_in_a_row_make_it_rest() {
        let circuit = circuit();
        for is_good in [false, false, true, false, false] {
            let waiting = circuit.enter(false).unwrap();
            if is_good {
                waiting.answered();
            } else {
                waiting.failed(Unreachable);
            }
            assert_eq!(circuit.burden.resting.get(), 0);
        }
        circuit.enter(false).unwrap().failed(Unreachable);
        let resting = circuit.burden.resting.clone();
        assert_eq!(resting.get(), 1);
        assert!(matches!(circuit.enter(false), Err(Closed::Resting(rest)) if rest <= SHORTEST_REST));
        assert_eq!(circuit.waiting.load(Relaxed), 0);
        drop(circuit);
        assert_eq!(resting.get(), 0, "what is gone does not rest");
    }

    #[test]
    fn what_a_request_may_be_to_blame_for_makes_nothing_rest() {
        let (mut health, now) = (Health::default(), Instant::now());
        (0..100).for_each(|_| health.failed(Trouble::Broken, false, 3, now));
        (0..100).for_each(|_| health.failed(Trouble::Late, false, 3, now));
        assert_eq!(health.rests_until, None);
        (0..3).for_each(|_| health.failed(Unreachable, false, 3, now));
        health.failed(Trouble::Late, false, 3, now);
        assert!(health.rests_until.is_some(), "late says nothing");
        health.failed(Trouble::Broken, false, 3, now);
        assert_eq!(health.rests_until, None, "it is there");
    }

    #[test]
    fn one_request_a_rest_is_a_test() {
        let (mut health, start) = (Health::default(), Instant::now());
        let second = Duration::from_secs(1);
        (0..3).for_each(|_| health.failed(Unreachable, false, 3, start));
        assert_eq!(health.admit(start + second / 4), Err(second * 3 / 4));
        assert_eq!(health.admit(start + second), Ok(true), "the test");
        assert_eq!(
            health.admit(start + second),
            Err(second),
            "the others wait for it"
        );
        assert_eq!(
            health.admit(start + 2 * second),
            Ok(true),
            "nothing came of it: another"
        );
        health.failed(Unreachable, true, 3, start + 2 * second);
        assert_eq!(health.admit(start + 3 * second), Err(second), "twice as long");
        assert_eq!(health.admit(start + 4 * second), Ok(true));
        health.is_there();
        assert_eq!(
            (health.admit(start + 4 * second), health.failures),
            (Ok(false), 0)
        );
    }

    #[test]
    fn what_was_on_its_way_makes_no_rest_longer() {
        let (mut health, now) = (Health::default(), Instant::now());
        (0..100).for_each(|_| health.failed(Unreachable, false, 3, now));
        assert_eq!(health.rests_until, Some(now + SHORTEST_REST));
    }

    #[test]
    fn no_rest_is_longer_than_half_a_minute() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        (0..3).for_each(|_| health.failed(Unreachable, false, 3, now));
        for _ in 0..10 {
            now += LONGEST_REST;
            assert_eq!(health.admit(now), Ok(true));
            health.failed(Unreachable, true, 3, now);
        }
        assert_eq!(health.rests_until, Some(now + LONGEST_REST));
        health.is_there();
        (0..100).for_each(|_| health.failed(Unreachable, false, 0, now));
        assert_eq!(health.rests_until, None, "0 is never");
    }

    #[test]
    fn a_request_waits_once_its_body_has_ended() {
        let circuit = circuit();
        let count = || circuit.waiting.load(Relaxed);
        let (one, other) = (circuit.enter(true).unwrap(), circuit.enter(true).unwrap());
        let (one_body, other_body) = (one.upload().unwrap(), other.upload().unwrap());
        assert_eq!(count(), 0);
        one_body.end();
        one_body.end();
        assert_eq!(count(), 1);
        assert!(!other.is_its_own(Trouble::Late), "its client was late");
        drop(other);
        other_body.end();
        assert_eq!(count(), 1, "nobody waits for that one");
        let _third = circuit.enter(false).unwrap();
        assert_eq!(circuit.enter(true).unwrap_err(), Closed::Busy);
        one.answered();
        assert_eq!(count(), 1);
    }

    #[test]
    fn an_edit_makes_no_place_well() {
        let mut book = CircuitBook::default().successor(&burden());
        let key = "a place".into();
        let first = book.circuit(&key);
        assert!(Arc::ptr_eq(&first, &book.circuit(&key)));
        let mut next = book.successor(&burden());
        assert!(Arc::ptr_eq(&first, &next.circuit(&key)));
        next.circuit(&"another".into());
        next.finish();
        let after = next.successor(&burden());
        assert_eq!((after.before.len(), after.now.len()), (2, 0));
    }

    #[test]
    fn one_that_does_well_is_not_looked_at() {
        let circuit = circuit();
        circuit.enter(false).unwrap().failed(Unreachable);
        assert!(circuit.is_troubled.load(Relaxed));
        circuit.enter(false).unwrap().answered();
        assert!(!circuit.is_troubled.load(Relaxed));
    }
}
