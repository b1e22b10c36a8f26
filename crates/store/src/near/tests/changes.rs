//! What is told while a read is under way.

use super::*;
use crate::{Store, StoreConfig, StoreError, StoreFiles};

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
