//! What is kept of one token, and how long it is good for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quick_cache::{Lifecycle, Weighter};
use splittoken_token::LookupId;

use super::{CacheKey, Now};
use crate::{End, Stamp};

/// What a read found, to be kept.
#[derive(Clone, Debug)]
pub struct Filled<V> {
    /// The value, handed out as clones.
    pub value: V,
    /// What the value takes, in bytes.
    pub weight: u32,
    /// From this second on (since 1970) it is not found any more.
    pub exp: u64,
    /// Of the connection that read it, as [`crate::Fetched`] has it.
    pub connection: Stamp,
    /// Of the issuer whose keys verified it, taken before that.
    pub issuer: Stamp,
}

pub(super) struct Entry<V> {
    pub(super) value: V,
    pub(super) ids: Box<[LookupId]>,
    weight: u64,
    exp: u64,
    read_at: Instant,
    connection: Stamp,
    issuer: Stamp,
    /// Set when a change or a flush removed the entry: for those who still hold it.
    withdrawn: AtomicBool,
}

/// What may be done with an entry.
pub(super) enum Validity {
    Fresh,
    Stale(Instant),
    Gone,
}

impl<V> Entry<V> {
    /// `read_at` is when the read began. `None` if what was read cannot be believed any more.
    pub(super) fn new(filled: Filled<V>, ids: &[LookupId], read_at: Instant) -> Option<Self> {
        if filled.connection.ended().is_some() || filled.issuer.ended().is_some() {
            return None;
        }
        // Itself, its place in the tables, and a line for each id in the book.
        let own = size_of::<Self>() + 3 * size_of::<CacheKey>() + ids.len() * 3 * size_of::<LookupId>();
        Some(Self {
            value: filled.value,
            ids: ids.into(),
            weight: u64::from(filled.weight) + own as u64,
            exp: filled.exp,
            read_at,
            connection: filled.connection,
            issuer: filled.issuer,
            withdrawn: AtomicBool::new(false),
        })
    }

    pub(super) fn validity(&self, now: Now, max_age: Duration) -> Validity {
        if now.unix >= self.exp {
            return Validity::Gone;
        }
        let old_at = self.read_at + max_age;
        let mut since = (now.instant >= old_at).then_some(old_at);
        for end in [self.connection.ended(), self.issuer.ended()] {
            match end {
                None => {}
                Some(End::Void) => return Validity::Gone,
                Some(End::Stale(at)) => since = Some(since.map_or(at, |other| other.min(at))),
            }
        }
        since.map_or(Validity::Fresh, Validity::Stale)
    }

    pub(super) fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Release);
    }
}

/// An entry that was good once. See [`super::Lookup::Stale`].
pub struct Stale<V> {
    pub(super) entry: Arc<Entry<V>>,
    pub(super) since: Instant,
}

impl<V: Clone> Stale<V> {
    /// Since when nobody vouches for it: connection lost, issuer's keys changed, or age limit passed.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The value, if it may still be served when the store cannot be reached: at most `max_stale` after
    /// [`Self::since`], not after `exp`, and never once a change or a flush was heard of, even after the lookup.
    pub fn serve(&self, now: Now, max_stale: Duration) -> Option<V> {
        let entry = &*self.entry;
        let void = [&entry.connection, &entry.issuer]
            .into_iter()
            .any(|stamp| stamp.ended() == Some(End::Void));
        let withdrawn = void || entry.withdrawn.load(Ordering::Acquire);
        let late = now.unix >= entry.exp || now.instant.saturating_duration_since(self.since) > max_stale;
        (!withdrawn && !late && !max_stale.is_zero()).then(|| entry.value.clone())
    }
}

impl<V> fmt::Debug for Stale<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stale")
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

/// Bounded by weight.
#[derive(Clone)]
pub(super) struct Weigh;

impl<V> Weighter<CacheKey, Arc<Entry<V>>> for Weigh {
    fn weight(&self, _: &CacheKey, entry: &Arc<Entry<V>>) -> u64 {
        entry.weight
    }
}

/// Gathers what an insertion pushed out, for the book.
#[derive(Clone)]
pub(super) struct Evictions;

impl<V> Lifecycle<CacheKey, Arc<Entry<V>>> for Evictions {
    type RequestState = Vec<(CacheKey, Arc<Entry<V>>)>;

    fn on_evict(&self, out: &mut Self::RequestState, key: CacheKey, entry: Arc<Entry<V>>) {
        out.push((key, entry));
    }
}
