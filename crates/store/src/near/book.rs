//! Who is behind which lookup id, and which reads are under way.

use std::collections::HashMap;
use std::sync::Arc;

use splittoken_token::{LookupId, Realm};

use super::CacheKey;
use super::flight::Flight;
use super::key::Hashed;

/// Changes are told by lookup id, entries are found by key: this leads from one to the other. A lookup id belongs
/// to one token of one realm and use, so there is at most one key behind it.
pub(super) struct Book<V, E> {
    entries: HashMap<LookupId, CacheKey>,
    waiting: HashMap<LookupId, CacheKey>,
    flights: HashMap<CacheKey, Arc<Flight<V, E>>, Hashed>,
    per_realm: HashMap<Realm, usize>,
}

impl<V, E> Default for Book<V, E> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            waiting: HashMap::new(),
            flights: HashMap::default(),
            per_realm: HashMap::new(),
        }
    }
}

impl<V, E> Book<V, E> {
    pub(super) fn list(&mut self, key: CacheKey, ids: &[LookupId]) {
        self.entries.extend(ids.iter().map(|id| (*id, key)));
    }

    pub(super) fn unlist(&mut self, key: &CacheKey, ids: &[LookupId]) {
        for id in ids {
            if self.entries.get(id) == Some(key) {
                self.entries.remove(id);
            }
        }
    }

    pub(super) fn unlist_all(&mut self) {
        self.entries = HashMap::new();
    }

    pub(super) fn listed(&self, id: &LookupId) -> Option<CacheKey> {
        self.entries.get(id).copied()
    }

    pub(super) fn flight(&self, key: &CacheKey) -> Option<&Arc<Flight<V, E>>> {
        self.flights.get(key)
    }

    /// Notes a read that is about to start, unless the realm has `limit` of them already.
    pub(super) fn depart(&mut self, flight: Arc<Flight<V, E>>, limit: usize) -> bool {
        let count = self.per_realm.entry(flight.realm).or_insert(0);
        if *count >= limit {
            return false;
        }
        *count += 1;
        self.waiting.extend(flight.ids.iter().map(|id| (*id, flight.key)));
        self.flights.insert(flight.key, flight);
        true
    }

    /// Strikes a read out, if it is the one that is noted.
    pub(super) fn arrive(&mut self, flight: &Arc<Flight<V, E>>) {
        if !self
            .flights
            .get(&flight.key)
            .is_some_and(|noted| Arc::ptr_eq(noted, flight))
        {
            return;
        }
        self.flights.remove(&flight.key);
        for id in &flight.ids {
            self.waiting.remove(id);
        }
        if let Some(count) = self.per_realm.get_mut(&flight.realm) {
            *count -= 1;
            if *count == 0 {
                self.per_realm.remove(&flight.realm);
            }
        }
    }

    /// `id` changed: a read of it that is under way may have seen the old record.
    pub(super) fn outdate(&self, id: &LookupId) {
        if let Some(flight) = self.waiting.get(id).and_then(|key| self.flights.get(key)) {
            flight.outdate();
        }
    }

    /// Everything changed.
    pub(super) fn outdate_all(&self) {
        self.flights.values().for_each(|flight| flight.outdate());
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 4] {
        [
            self.entries.len(),
            self.waiting.len(),
            self.flights.len(),
            self.per_realm.len(),
        ]
    }
}
