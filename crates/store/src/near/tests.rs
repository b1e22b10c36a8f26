use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, yield_now};

use super::*;
use crate::{Epoch, Store, StoreConfig, StoreError, StoreFiles};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    Overloaded,
    Store,
    Refused,
}

impl From<Overloaded> for Failure {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded
    }
}

impl MayRefuse for Failure {
    fn is_refusal(&self) -> bool {
        *self == Self::Refused
    }
}

type Near = NearCache<u64, Failure>;
type Found = Result<Option<Filled<u64>>, Failure>;

/// A cache, and the epochs of the one connection and issuer that fill it.
struct Bench {
    near: Arc<Near>,
    connection: Epoch,
    issuer: Epoch,
}

const EXP: u64 = 4_000_000_000;

impl Bench {
    fn new(config: NearConfig) -> Self {
        Self {
            near: Arc::new(Near::new(config)),
            connection: Epoch::new(),
            issuer: Epoch::new(),
        }
    }

    fn filled(&self, value: u64) -> Filled<u64> {
        Filled {
            value,
            weight: 100,
            exp: EXP,
            connection: self.connection.stamp(),
            issuer: self.issuer.stamp(),
        }
    }

    async fn fill(&self, name: u64, found: Found) -> Result<Option<u64>, Failure> {
        let read = || std::future::ready(found.clone());
        self.near
            .fill(key(&self.near, name), realm(), &[id(name)], read)
            .await
    }

    async fn put(&self, name: u64) {
        assert_eq!(self.fill(name, Ok(Some(self.filled(name)))).await, Ok(Some(name)));
    }

    fn look(&self, name: u64) -> Lookup<u64> {
        self.near.lookup(&key(&self.near, name), Now::read())
    }

    fn stale(&self, name: u64, now: Now) -> Stale<u64> {
        match self.near.lookup(&key(&self.near, name), now) {
            Lookup::Stale(stale) => stale,
            other => panic!("not stale: {other:?}"),
        }
    }

    fn book(&self) -> [usize; 4] {
        self.near.book.lock().sizes()
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self::new(NearConfig::default())
    }
}

fn realm() -> Realm {
    Realm::of("SplitTokenIssuer", "ns", "issuer")
}

fn id(name: u64) -> LookupId {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&name.to_be_bytes());
    LookupId::from_bytes(bytes)
}

fn key<E: Clone>(near: &NearCache<u64, E>, name: u64) -> CacheKey {
    near.key(&realm(), Use::Access, &name.to_be_bytes())
}

fn later(seconds: u64) -> Now {
    let now = Now::read();
    Now {
        instant: now.instant + Duration::from_secs(seconds),
        unix: now.unix + seconds,
    }
}

/// Gives other tasks of this runtime their turn until `done`. Bounded, so that a bug is not a hang.
async fn until(done: impl Fn() -> bool) {
    for _ in 0..10_000_000 {
        if done() {
            return;
        }
        yield_now().await;
    }
    panic!("it never came to that");
}

#[tokio::test]
async fn what_was_read_is_found() {
    let bench = Bench::default();
    assert!(matches!(bench.look(1), Lookup::Miss));
    bench.put(1).await;
    assert!(matches!(bench.look(1), Lookup::Fresh(1)));
    assert!(matches!(bench.look(2), Lookup::Miss));
    assert_eq!(bench.book(), [1, 0, 0, 0]);
}

#[tokio::test]
async fn misses_and_errors_are_not_kept() {
    let bench = Bench::default();
    assert_eq!(bench.fill(1, Ok(None)).await, Ok(None));
    assert_eq!(bench.fill(1, Err(Failure::Store)).await, Err(Failure::Store));
    assert!(matches!(bench.look(1), Lookup::Miss));
    bench.put(1).await;
    // An error says nothing about the record; its absence does.
    assert_eq!(bench.fill(1, Err(Failure::Store)).await, Err(Failure::Store));
    assert!(matches!(bench.look(1), Lookup::Fresh(1)));
    assert_eq!(bench.fill(1, Ok(None)).await, Ok(None));
    assert!(matches!(bench.look(1), Lookup::Miss));
    assert_eq!(bench.book(), [0; 4]);
}

/// Found to be revoked, say: an outage right after that must not bring it back.
#[tokio::test]
async fn a_refusal_voids_what_was_known() {
    let bench = Bench::default();
    bench.put(1).await;
    let stale = bench.stale(1, later(31));
    assert_eq!(bench.fill(1, Err(Failure::Refused)).await, Err(Failure::Refused));
    assert!(matches!(
        bench.near.lookup(&key(&bench.near, 1), later(31)),
        Lookup::Miss
    ));
    assert_eq!(
        stale.serve(later(31), Duration::from_secs(10)),
        None,
        "held since before"
    );
    assert_eq!(bench.book(), [0; 4]);
}

#[tokio::test]
async fn expiry_is_checked_on_every_hit() {
    let bench = Bench::default();
    let now = Now::read();
    let mut filled = bench.filled(1);
    filled.exp = now.unix + 1;
    bench.fill(1, Ok(Some(filled))).await.unwrap();
    let at = |unix| bench.near.lookup(&key(&bench.near, 1), Now { unix, ..now });
    assert!(matches!(at(now.unix), Lookup::Fresh(1)));
    assert!(matches!(at(now.unix + 1), Lookup::Miss));
}

#[tokio::test]
async fn age_makes_stale() {
    let bench = Bench::default();
    bench.put(1).await;
    assert!(matches!(
        bench.near.lookup(&key(&bench.near, 1), later(29)),
        Lookup::Fresh(1)
    ));
    let stale = bench.stale(1, later(31));
    let old = stale.since().duration_since(Instant::now());
    assert!(
        old > Duration::from_secs(28) && old <= Duration::from_secs(30),
        "{old:?}"
    );
    assert_eq!(stale.serve(later(39), Duration::from_secs(10)), Some(1));
    assert_eq!(stale.serve(later(41), Duration::from_secs(10)), None);
    assert_eq!(stale.serve(later(31), Duration::ZERO), None, "0 is strict");
}

#[tokio::test]
async fn a_lost_connection_and_a_changed_issuer_make_stale_at_that_moment() {
    for lose in [
        (|bench: &Bench| bench.connection.end()) as fn(&Bench),
        |bench| bench.connection.step(),
        |bench| bench.issuer.step(),
    ] {
        let bench = Bench::default();
        bench.put(1).await;
        let before = Instant::now();
        lose(&bench);
        let after = Instant::now();
        // A second loss does not make it younger, and age does not make it older.
        lose(&bench);
        let stale = bench.stale(1, later(100));
        assert!(stale.since() >= before && stale.since() <= after);
        assert_eq!(stale.serve(Now::read(), Duration::from_secs(10)), Some(1));
        assert_eq!(stale.serve(later(11), Duration::from_secs(10)), None);
    }
}

#[tokio::test]
async fn a_new_read_makes_fresh_again() {
    let bench = Bench::default();
    bench.put(1).await;
    bench.connection.step();
    bench.stale(1, Now::read());
    bench.put(1).await;
    assert!(matches!(bench.look(1), Lookup::Fresh(1)));
    assert_eq!(bench.book(), [1, 0, 0, 0]);
}

#[tokio::test]
async fn what_a_lost_connection_read_is_used_and_not_kept() {
    let bench = Bench::default();
    let filled = bench.filled(1);
    bench.connection.end();
    assert_eq!(bench.fill(1, Ok(Some(filled))).await, Ok(Some(1)));
    assert!(matches!(bench.look(1), Lookup::Miss));
}

#[tokio::test]
async fn a_change_removes_and_what_was_stale_is_not_served_after_it() {
    let bench = Bench::default();
    bench.put(1).await;
    bench.put(2).await;
    bench.issuer.step();
    let stale = bench.stale(1, Now::read());
    bench.near.invalidated(&id(1));
    assert!(matches!(bench.look(1), Lookup::Miss));
    assert_eq!(stale.serve(Now::read(), Duration::from_secs(10)), None);
    assert_eq!(
        bench
            .stale(2, Now::read())
            .serve(Now::read(), Duration::from_secs(10)),
        Some(2)
    );
    assert_eq!(bench.book(), [1, 0, 0, 0]);
}

#[tokio::test]
async fn a_flush_removes_everything_and_nothing_is_served_after_it() {
    for flush in [(|bench: &Bench| bench.near.flushed()) as fn(&Bench), |bench| {
        bench.connection.void();
    }] {
        let bench = Bench::default();
        bench.put(1).await;
        let stale = bench.stale(1, later(31));
        flush(&bench);
        assert!(matches!(bench.look(1), Lookup::Miss));
        assert_eq!(stale.serve(later(31), Duration::from_secs(10)), None);
    }
}

#[tokio::test]
async fn either_of_two_ids_removes() {
    for changed in [1, 2] {
        let bench = Bench::default();
        let (key, ids) = (key(&bench.near, 1), [id(1), id(2)]);
        let read = || std::future::ready(Ok(Some(bench.filled(1))));
        bench.near.fill(key, realm(), &ids, read).await.unwrap();
        bench.near.invalidated(&id(changed));
        assert!(bench.near.is_empty());
        assert_eq!(bench.book(), [0; 4]);
    }
}

#[tokio::test]
async fn weight_bounds_it_and_the_book_follows() {
    let bench = Bench::new(NearConfig {
        max_weight: 1_000_000,
        ..NearConfig::default()
    });
    for name in 0..20_000 {
        bench.put(name).await;
    }
    let held = bench.near.len();
    assert!(held > 1000 && held < 5000, "{held}");
    assert!(bench.near.weight() <= 1_000_000);
    assert_eq!(bench.book(), [held, 0, 0, 0]);
    for name in 0..20_000 {
        bench.near.invalidated(&id(name));
    }
    assert!(bench.near.is_empty());
    assert_eq!(bench.book(), [0; 4]);
}

#[tokio::test]
async fn a_value_that_is_too_heavy_is_used_and_not_kept() {
    let bench = Bench::default();
    let mut filled = bench.filled(1);
    filled.weight = u32::MAX;
    assert_eq!(bench.fill(1, Ok(Some(filled))).await, Ok(Some(1)));
    assert!(bench.near.is_empty());
    assert_eq!(bench.book(), [0; 4]);
}

#[tokio::test]
async fn no_age_means_no_cache() {
    let bench = Bench::new(NearConfig {
        max_age: Duration::ZERO,
        ..NearConfig::default()
    });
    bench.put(1).await;
    assert!(matches!(bench.look(1), Lookup::Miss));
}

/// 1,000 requests on four threads with a runtime each.
#[test]
fn a_thousand_waiters_make_one_read() {
    let bench = Arc::new(Bench::default());
    let (reads, gate) = (AtomicUsize::new(0), Semaphore::new(0));
    let ask = async || {
        let read = async || {
            reads.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            Ok(Some(bench.filled(1)))
        };
        let (key, ids) = (key(&bench.near, 1), [id(1)]);
        bench.near.fill(key, realm(), &ids, read).await
    };
    let waiting = || {
        let book = bench.near.book.lock();
        book.flight(&key(&bench.near, 1))
            .map_or(0, |flight| flight.waiting())
    };
    let worker = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let all: Vec<_> = (0..250).map(|_| Box::pin(ask())).collect();
            for answer in all_of(all).await {
                assert_eq!(answer, Ok(Some(1)));
            }
        });
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(worker);
        }
        let begun = Instant::now();
        while waiting() < 1000 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{} wait", waiting());
            thread::yield_now();
        }
        gate.add_permits(1);
    });
    assert_eq!(reads.load(Ordering::SeqCst), 1);
    assert_eq!(bench.book(), [1, 0, 0, 0]);
}

/// Polls all of them to the end.
async fn all_of<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut outputs = Vec::new();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| match std::pin::Pin::new(future).poll(context) {
            std::task::Poll::Ready(output) => {
                outputs.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        if futures.is_empty() {
            return std::task::Poll::Ready(());
        }
        std::task::Poll::Pending
    })
    .await;
    outputs
}

/// Starts `count` requests whose reads hang in `gate`, and waits until all wait.
async fn crowd(
    bench: &Arc<Bench>,
    count: usize,
    reads: &Arc<AtomicUsize>,
    gate: &Arc<Semaphore>,
) -> Vec<tokio::task::JoinHandle<Result<Option<u64>, Failure>>> {
    let tasks = (0..count).map(|_| {
        let (bench, reads, gate) = (bench.clone(), reads.clone(), gate.clone());
        tokio::spawn(async move {
            let read = async || {
                reads.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                Ok(Some(bench.filled(1)))
            };
            bench
                .near
                .fill(key(&bench.near, 1), realm(), &[id(1)], read)
                .await
        })
    });
    let tasks = tasks.collect();
    until(|| {
        let book = bench.near.book.lock();
        book.flight(&key(&bench.near, 1))
            .is_some_and(|flight| flight.waiting() == count)
    })
    .await;
    tasks
}

#[tokio::test]
async fn a_leader_that_gives_up_strands_nobody() {
    let (bench, reads, gate) = (Arc::default(), Arc::default(), Arc::new(Semaphore::new(0)));
    let mut tasks = crowd(&bench, 10, &reads, &gate).await;
    for expected in 2..=4 {
        // The first of them leads: tasks of one runtime begin in order.
        tasks.remove(0).abort();
        until(|| reads.load(Ordering::SeqCst) == expected).await;
    }
    gate.add_permits(1);
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(Some(1)));
    }
    assert_eq!(reads.load(Ordering::SeqCst), 4);
    assert_eq!(bench.book(), [1, 0, 0, 0]);
}

#[tokio::test]
async fn when_all_give_up_nothing_is_left() {
    let (bench, reads, gate): (Arc<Bench>, _, _) =
        (Arc::default(), Arc::default(), Arc::new(Semaphore::new(0)));
    let tasks = crowd(&bench, 10, &reads, &gate).await;
    assert_eq!(bench.book(), [0, 1, 1, 1]);
    for task in tasks {
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    assert_eq!(bench.book(), [0; 4]);
    bench.put(1).await;
}

#[tokio::test]
async fn an_error_is_everybody_s() {
    let bench: Arc<Bench> = Arc::default();
    let gate = Arc::new(Semaphore::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        let (bench, gate) = (bench.clone(), gate.clone());
        tasks.spawn(async move {
            let read = async || {
                gate.acquire().await.unwrap().forget();
                Err::<Option<Filled<u64>>, _>(Failure::Store)
            };
            bench
                .near
                .fill(key(&bench.near, 1), realm(), &[id(1)], read)
                .await
        });
    }
    yield_now().await;
    gate.add_permits(1);
    for answer in tasks.join_all().await {
        assert_eq!(answer, Err(Failure::Store));
    }
}

#[tokio::test]
async fn a_realm_has_so_many_reads_and_others_have_theirs() {
    let bench = Bench::new(NearConfig {
        fills_per_realm: 2,
        ..NearConfig::default()
    });
    let never = || std::future::pending::<Found>();
    let other = Realm::of("SplitTokenIssuer", "ns", "other");
    let (keys, ids) = (
        [1, 2, 3, 4].map(|name| key(&bench.near, name)),
        [1, 2, 3, 4].map(|name| [id(name)]),
    );
    let mut first = Box::pin(bench.near.fill(keys[0], realm(), &ids[0], never));
    let mut second = Box::pin(bench.near.fill(keys[1], realm(), &ids[1], never));
    let mut third = Box::pin(bench.near.fill(keys[2], realm(), &ids[2], never));
    let mut joins = Box::pin(bench.near.fill(keys[0], realm(), &ids[0], never));
    let mut foreign = Box::pin(bench.near.fill(keys[3], other, &ids[3], never));
    assert!(poll_once(&mut first).await.is_none());
    assert!(poll_once(&mut second).await.is_none());
    assert_eq!(poll_once(&mut third).await, Some(Err(Failure::Overloaded)));
    assert!(poll_once(&mut joins).await.is_none());
    assert!(poll_once(&mut foreign).await.is_none());
    drop(second);
    assert_eq!(bench.book()[2..], [2, 2]);
    bench.put(2).await;
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn a_change_during_a_read_makes_it_read_again() {
    for (changes, reads, kept) in [(0, 1, true), (1, 2, true), (2, 2, false), (9, 2, false)] {
        let bench = Bench::default();
        let done = AtomicU64::new(0);
        let read = async || {
            let value = done.fetch_add(1, Ordering::SeqCst) + 1;
            let filled = bench.filled(value);
            if value <= changes {
                bench.near.invalidated(&id(1));
            }
            Ok(Some(filled))
        };
        let found = bench
            .near
            .fill(key(&bench.near, 1), realm(), &[id(1)], read)
            .await;
        assert_eq!(found, Ok(Some(reads)), "{changes} changes");
        assert_eq!(
            matches!(bench.look(1), Lookup::Fresh(value) if value == reads),
            kept
        );
        assert_eq!(bench.book()[1..], [0; 3]);
    }
}

#[tokio::test]
async fn a_flush_during_a_read_makes_it_read_again() {
    let bench = Bench::default();
    let done = AtomicU64::new(0);
    let read = async || {
        let value = done.fetch_add(1, Ordering::SeqCst) + 1;
        let filled = bench.filled(value);
        if value == 1 {
            bench.connection.void();
            bench.near.flushed();
        }
        Ok(Some(filled))
    };
    let found = bench
        .near
        .fill(key(&bench.near, 1), realm(), &[id(1)], read)
        .await;
    assert_eq!(found, Ok(Some(2)));
    assert!(matches!(bench.look(1), Lookup::Fresh(2)));
}

/// Who comes after a change must not get what was read before it.
#[tokio::test]
async fn who_comes_after_a_second_change_reads_for_himself() {
    let (bench, reads, gate): (Arc<Bench>, Arc<AtomicUsize>, _) =
        (Arc::default(), Arc::default(), Arc::new(Semaphore::new(0)));
    let early = crowd(&bench, 1, &reads, &gate).await;
    until(|| reads.load(Ordering::SeqCst) == 1).await;
    bench.near.invalidated(&id(1));
    gate.add_permits(1);
    until(|| reads.load(Ordering::SeqCst) == 2).await;
    bench.near.invalidated(&id(1));
    let late = {
        let bench = bench.clone();
        tokio::spawn(async move {
            let read = || std::future::ready(Ok(Some(bench.filled(99))));
            bench
                .near
                .fill(key(&bench.near, 1), realm(), &[id(1)], read)
                .await
        })
    };
    until(|| {
        let book = bench.near.book.lock();
        book.flight(&key(&bench.near, 1))
            .is_some_and(|flight| flight.waiting() == 2)
    })
    .await;
    gate.add_permits(1);
    for task in early {
        assert_eq!(task.await.unwrap(), Ok(Some(1)));
    }
    assert_eq!(late.await.unwrap(), Ok(Some(99)));
    assert!(matches!(bench.look(1), Lookup::Fresh(99)));
}

#[derive(Clone, Debug)]
struct Unreachable;

impl From<Overloaded> for Unreachable {
    fn from(_: Overloaded) -> Self {
        Self
    }
}

impl MayRefuse for Unreachable {
    fn is_refusal(&self) -> bool {
        false
    }
}

impl From<StoreError> for Unreachable {
    fn from(_: StoreError) -> Self {
        Self
    }
}

/// One thread writes ever higher versions of a record, others read it through the cache: nobody ever reads a
/// version older than one that was completely written before he asked.
#[test]
fn nobody_reads_what_was_overwritten_before_he_asked() {
    const WRITES: u64 = 50_000;
    let near: Arc<NearCache<u64, Unreachable>> = Arc::new(NearCache::new(NearConfig::default()));
    let store = Store::open(
        &StoreConfig::parse("memory", &StoreFiles::default()).unwrap(),
        near.clone(),
    );
    let (session, issuer) = (store.connect(), Epoch::new());
    let written = AtomicU64::new(0);
    let far = SystemTime::now() + Duration::from_secs(3600);
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();

    let write = async {
        for version in 1..=WRITES {
            session.bury(id(1), &version.to_be_bytes(), far).await.unwrap();
            written.store(version, Ordering::SeqCst);
        }
    };
    let ask = async || {
        let (key, ids) = (key(&near, 1), [id(1)]);
        if let Lookup::Fresh(version) = near.lookup(&key, Now::read()) {
            return version;
        }
        let read = async || {
            let mut fetched = session.get(&ids).await?;
            // Another thread gets its turn between reading and keeping.
            thread::yield_now();
            let bytes = fetched.records.pop().flatten();
            Ok(bytes.map(|bytes| Filled {
                value: u64::from_be_bytes(bytes.try_into().unwrap()),
                weight: 8,
                exp: EXP,
                connection: fetched.stamp,
                issuer: issuer.stamp(),
            }))
        };
        near.fill(key, realm(), &ids, read).await.unwrap().unwrap_or(0)
    };
    let read = || {
        runtime().block_on(async {
            loop {
                let known = written.load(Ordering::SeqCst);
                let version = ask().await;
                assert!(version >= known, "read {version} after {known} was written");
                if version == WRITES {
                    break;
                }
            }
        });
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(read);
        }
        runtime().block_on(write);
    });
    assert_eq!(near.book.lock().sizes()[1..], [0; 3]);
}

#[test]
fn a_fill_may_move_between_threads() {
    fn is_send(_: impl Send) {}
    let bench = Bench::default();
    let read = || std::future::ready(Ok(None));
    is_send(bench.near.fill(key(&bench.near, 1), realm(), &[], read));
}
