//! What was read lately, in this process, for all its threads.
//!
//! An entry is **fresh** while the connection that read it lives, the issuer's keys are those that verified it,
//! and it is younger than the age limit; then it is **stale**: to be read again, and served only if the store
//! cannot be reached. A change that the server tells of removes it; so does a flush of everything.
//!
//! The way in is [`NearCache::fill`]: one read for all who wait for it. What is told while it is under way counts.

mod book;
mod entry;
mod fill;
mod flight;
mod key;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use quick_cache::OptionsBuilder;
use quick_cache::sync::Cache;
use splittoken_token::{LookupId, Realm, Use};

use crate::session::Invalidations;
use book::Book;
use entry::{Entry, Evictions, Validity, Weigh};
pub use entry::{Filled, Stale};
pub use fill::{MayRefuse, Overloaded};
pub use key::CacheKey;
use key::{Hashed, SecretHash};

/// Bounds of a [`NearCache`].
#[derive(Clone, Copy, Debug)]
pub struct NearConfig {
    /// Weight of all entries, in bytes: what their values weigh, and what we add for our own books.
    pub max_weight: u64,
    /// After this time an entry is stale whatever else is known. 0: nothing is cached.
    pub max_age: Duration,
    /// Reads under way for one realm. More are refused: they are guesses, or the store is too slow for us.
    pub fills_per_realm: usize,
}

impl Default for NearConfig {
    /// 250 MB, which is 100,000 tokens; 30 s; 1,024 reads.
    fn default() -> Self {
        Self {
            max_weight: 250_000_000,
            max_age: Duration::from_secs(30),
            fills_per_realm: 1024,
        }
    }
}

/// The time, on both clocks: ages are measured on one that never jumps, `exp` is said on the other.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For ages.
    pub instant: Instant,
    /// Seconds since 1970, for `exp`.
    pub unix: u64,
}

impl Now {
    /// Both clocks, read now. Once for a request is enough.
    pub fn read() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            instant: Instant::now(),
            unix: unix.map_or(0, |time| time.as_secs()),
        }
    }
}

/// What the near cache knows of a token.
#[derive(Debug)]
pub enum Lookup<V> {
    /// It is good: use it.
    Fresh(V),
    /// It was good. Read again; if the store cannot be reached, [`Stale::serve`] says whether it may be used.
    Stale(Stale<V>),
    /// Nothing. Read.
    Miss,
}

/// Values of type `V` that were read from the store, found again by a token's text. Share it in an [`Arc`].
///
/// `E` is what a read fails with; both are cloned for all who wait for the same read.
pub struct NearCache<V, E> {
    secret: SecretHash,
    config: NearConfig,
    entries: Cache<CacheKey, Arc<Entry<V>>, Weigh, Hashed, Evictions>,
    /// All that is not on the way of a hit. Entries are inserted and removed only under this lock.
    book: Mutex<Book<V, E>>,
    evictions: AtomicU64,
}

/// A guess for sizing tables: a JWT of 1 KB, its claims and a header value.
const USUAL_WEIGHT: u64 = 2500;

impl<V: Clone, E: Clone> NearCache<V, E> {
    /// An empty cache, with a hash key of its own.
    pub fn new(config: NearConfig) -> Self {
        let items = usize::try_from(config.max_weight / USUAL_WEIGHT).unwrap_or(usize::MAX);
        let entries = match OptionsBuilder::new()
            .estimated_items_capacity(items)
            .weight_capacity(config.max_weight)
            .build()
        {
            Ok(options) => Cache::with_options(options, Weigh, Hashed, Evictions),
            // Only a missing capacity fails, and both are there; the short form asks for the same.
            Err(_) => Cache::with(items, config.max_weight, Weigh, Hashed, Evictions),
        };
        Self {
            secret: SecretHash::random(),
            config,
            entries,
            book: Mutex::default(),
            evictions: AtomicU64::new(0),
        }
    }

    /// The name of a token in this cache. Allocates nothing; the text cannot be had back from it.
    pub fn key(&self, realm: &Realm, usage: Use, text: &[u8]) -> CacheKey {
        self.secret.key(realm, usage, text)
    }

    /// What is known of `key` now. Allocates nothing and takes one shard's lock, for reading.
    pub fn lookup(&self, key: &CacheKey, now: Now) -> Lookup<V> {
        let Some(entry) = self.entries.get(key) else {
            return Lookup::Miss;
        };
        match entry.validity(now, self.config.max_age) {
            Validity::Fresh => Lookup::Fresh(entry.value.clone()),
            Validity::Stale(since) => Lookup::Stale(Stale { entry, since }),
            Validity::Gone => Lookup::Miss,
        }
    }

    /// Entries held, fresh or not.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What they weigh, in bytes.
    pub fn weight(&self) -> u64 {
        self.entries.weight()
    }

    /// Entries that had to make room for others since the start.
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    fn insert(&self, book: &mut Book<V, E>, key: CacheKey, entry: &Arc<Entry<V>>) {
        let mut evicted = Vec::new();
        self.entries
            .insert_with_lifecycle(key, entry.clone(), &mut evicted);
        // Also holds what stood here before, and the new entry itself if it is too heavy.
        let mut admitted = true;
        for (gone, out) in evicted {
            admitted &= !Arc::ptr_eq(&out, entry);
            book.unlist(&gone, &out.ids);
            if gone != key {
                self.evictions.fetch_add(1, Ordering::Relaxed);
            }
        }
        if admitted {
            book.list(key, &entry.ids);
        }
    }

    fn remove(&self, book: &mut Book<V, E>, key: &CacheKey) {
        if let Some((key, entry)) = self.entries.remove(key) {
            entry.withdraw();
            book.unlist(&key, &entry.ids);
        }
    }
}

impl<V, E> Invalidations for NearCache<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    fn invalidated(&self, id: &LookupId) {
        let mut book = self.book.lock();
        book.outdate(id);
        if let Some(key) = book.listed(id) {
            self.remove(&mut book, &key);
        }
    }

    fn flushed(&self) {
        let mut book = self.book.lock();
        book.outdate_all();
        for (_, entry) in self.entries.drain() {
            entry.withdraw();
        }
        book.unlist_all();
    }
}

#[cfg(test)]
mod tests;
