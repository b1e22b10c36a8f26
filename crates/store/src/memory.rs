//! The store in this process's memory: for tests, the demo, and a single pod that may forget.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use splittoken_token::LookupId;

use crate::session::{Fetched, Invalidations, PutOutcome};
use crate::{Epoch, Stamp};

#[derive(Clone)]
pub(crate) struct MemoryStore {
    records: Arc<Mutex<Records>>,
    listener: Arc<dyn Invalidations>,
    /// Of the only "connection" there is. It never ends: nobody can fail to tell us.
    stamp: Stamp,
}

#[derive(Default)]
struct Records {
    by_id: HashMap<LookupId, Held>,
    /// Every expiry ever set; those that are no longer true are skipped when their time comes.
    expiries: BinaryHeap<Reverse<(SystemTime, LookupId)>>,
}

struct Held {
    bytes: Vec<u8>,
    expires_at: SystemTime,
}

impl MemoryStore {
    pub(crate) fn new(listener: Arc<dyn Invalidations>) -> Self {
        Self {
            records: Arc::default(),
            listener,
            stamp: Epoch::new().stamp(),
        }
    }

    /// Everything that is held now, in no order.
    pub(crate) fn records(&self) -> Vec<(LookupId, Vec<u8>, SystemTime)> {
        let now = SystemTime::now();
        let records = self.records.lock();
        let live = records.by_id.iter().filter(|(_, held)| held.expires_at > now);
        live.map(|(id, held)| (*id, held.bytes.clone(), held.expires_at))
            .collect()
    }

    pub(crate) fn get(&self, ids: &[LookupId]) -> Fetched {
        let (records, _) = self.with(|records| {
            let bytes_of = |id| records.by_id.get(id).map(|held| held.bytes.clone());
            (ids.iter().map(bytes_of).collect(), None)
        });
        Fetched {
            records,
            stamp: self.stamp.clone(),
        }
    }

    pub(crate) fn put_new(&self, id: LookupId, bytes: &[u8], expires_at: SystemTime) -> PutOutcome {
        self.with(|records| match records.by_id.get(&id) {
            Some(held) if held.bytes == bytes => (PutOutcome::Stored, None),
            Some(held) => (PutOutcome::Exists(held.bytes.clone()), None),
            None => {
                records.insert(id, bytes, expires_at);
                (PutOutcome::Stored, Some(id))
            }
        })
        .0
    }

    pub(crate) fn revoke(&self, id: LookupId, tombstone: &[u8]) -> bool {
        let ((), changed) = self.with(|records| {
            let held = records.by_id.get_mut(&id);
            let changed = held.map(|held| held.bytes = tombstone.to_vec());
            ((), changed.map(|()| id))
        });
        changed
    }

    pub(crate) fn bury(&self, id: LookupId, tombstone: &[u8], expires_at: SystemTime) {
        self.with(|records| {
            records.insert(id, tombstone, expires_at);
            ((), Some(id))
        });
    }

    /// Does `work` on what has not expired, then tells of what changed, as Redis would. Also says whether `work`
    /// changed a record. The listener is called without the lock.
    fn with<T>(&self, work: impl FnOnce(&mut Records) -> (T, Option<LookupId>)) -> (T, bool) {
        let mut records = self.records.lock();
        let expired = records.expire(SystemTime::now());
        let (result, changed) = work(&mut records);
        drop(records);
        for id in expired.iter().chain(&changed) {
            self.listener.invalidated(id);
        }
        (result, changed.is_some())
    }
}

impl Records {
    fn insert(&mut self, id: LookupId, bytes: &[u8], expires_at: SystemTime) {
        let bytes = bytes.to_vec();
        self.by_id.insert(id, Held { bytes, expires_at });
        self.expiries.push(Reverse((expires_at, id)));
    }

    fn expire(&mut self, now: SystemTime) -> Vec<LookupId> {
        let mut expired = Vec::new();
        while let Some(Reverse((at, id))) = self.expiries.peek().copied()
            && at <= now
        {
            self.expiries.pop();
            if self.by_id.get(&id).is_some_and(|held| held.expires_at <= now) {
                self.by_id.remove(&id);
                expired.push(id);
            }
        }
        expired
    }
}
