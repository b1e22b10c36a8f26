//! Filling the near cache: one read for all who wait.

use std::sync::Arc;
use std::time::Instant;

use splittoken_token::{LookupId, Realm};

use super::entry::Entry;
use super::flight::{Flight, Turn};
use super::{CacheKey, Filled, NearCache};

/// Too many reads are under way for this realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many tokens of this realm are being looked up")]
pub struct Overloaded;

impl Overloaded {
    /// One word for metrics and logs.
    pub fn reason(&self) -> &'static str {
        "overloaded"
    }
}

/// What a read may fail with.
pub trait MayRefuse: Clone + From<Overloaded> {
    /// Whether the store was reached and the answer is no: then what it said before is void, and is not served as stale
    /// either.
    fn is_refusal(&self) -> bool;
}

impl<V, E> NearCache<V, E>
where
    V: Clone,
    E: MayRefuse,
{
    /// What the store has for `key`, read by `read` and kept; `None` if it has nothing. Misses and errors are
    /// given to all who wait for them and not kept.
    ///
    /// `ids` are the records that `read` looks at. `read` is called by one of those who ask for the same key at
    /// the same time; if its future is dropped, another of them reads. When a change of one of the records is told
    /// while it reads, it is called once more; what that gives is kept only if no change was told again, and
    /// given to nobody who came after that change.
    pub async fn fill<F, R>(
        &self,
        key: CacheKey,
        realm: Realm,
        ids: &[LookupId],
        mut read: F,
    ) -> Result<Option<V>, E>
    where
        F: FnMut() -> R,
        R: Future<Output = Result<Option<Filled<V>>, E>>,
    {
        loop {
            let seat = self.board(key, realm, ids)?;
            match seat.flight.turn(seat.joined).await {
                Turn::Lead => return self.lead(Lead(&seat.flight), &mut read).await,
                Turn::Share(result) => return result,
                Turn::TooOld => {}
            }
        }
    }

    async fn lead<F, R>(&self, lead: Lead<'_, V, E>, read: &mut F) -> Result<Option<V>, E>
    where
        F: FnMut() -> R,
        R: Future<Output = Result<Option<Filled<V>>, E>>,
    {
        let flight = lead.0;
        let mut begun = (flight.generation(), Instant::now());
        let mut found = read().await;
        if flight.generation() != begun.0 {
            begun = (flight.generation(), Instant::now());
            found = read().await;
        }
        self.land(flight, begun, found)
    }

    /// Keeps what was read if it is still true, and hands it out. All under the book's lock: a change is told
    /// either before, and then counts here, or after, and then finds the entry.
    fn land(
        &self,
        flight: &Arc<Flight<V, E>>,
        (generation, read_at): (u64, Instant),
        found: Result<Option<Filled<V>>, E>,
    ) -> Result<Option<V>, E> {
        let mut book = self.book.lock();
        let current = flight.generation() == generation;
        let result = match found {
            Ok(Some(filled)) => {
                let value = filled.value.clone();
                if current
                    && !self.config.max_age.is_zero()
                    && let Some(entry) = Entry::new(filled, &flight.ids, read_at)
                {
                    self.insert(&mut book, flight.key, &Arc::new(entry));
                }
                Ok(Some(value))
            }
            Ok(None) => {
                self.remove(&mut book, &flight.key);
                Ok(None)
            }
            Err(error) => {
                if error.is_refusal() {
                    self.remove(&mut book, &flight.key);
                }
                Err(error)
            }
        };
        book.arrive(flight);
        flight.land(result.clone(), generation);
        result
    }

    /// A seat in the read of `key`, which is under way or about to start.
    fn board(&self, key: CacheKey, realm: Realm, ids: &[LookupId]) -> Result<Seat<'_, V, E>, E> {
        let mut book = self.book.lock();
        let flight = if let Some(flight) = book.flight(&key) {
            flight.clone()
        } else {
            let flight = Arc::new(Flight::new(key, realm, ids));
            if !book.depart(flight.clone(), self.config.fills_per_realm) {
                return Err(Overloaded.into());
            }
            flight
        };
        let joined = flight.board();
        Ok(Seat {
            cache: self,
            flight,
            joined,
        })
    }
}

/// Someone who waits for a read. When the last gives up, the read is struck out.
struct Seat<'a, V, E> {
    cache: &'a NearCache<V, E>,
    flight: Arc<Flight<V, E>>,
    joined: u64,
}

impl<V, E> Drop for Seat<'_, V, E> {
    fn drop(&mut self) {
        let mut book = self.cache.book.lock();
        if self.flight.leave() {
            book.arrive(&self.flight);
        }
    }
}

/// The duty to read. Dropped before landing, it passes to another.
struct Lead<'a, V, E>(&'a Arc<Flight<V, E>>);

impl<V, E> Drop for Lead<'_, V, E> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
