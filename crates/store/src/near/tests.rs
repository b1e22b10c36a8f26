mod changes;
mod entries;
mod flights;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use tokio::sync::Semaphore;
use tokio::task::yield_now;

use super::*;
use crate::Epoch;

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
