//! One store for the process, one session for each worker.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use splittoken_token::LookupId;

use crate::config::{Kind, StoreConfig};
use crate::memory::MemoryStore;
use crate::single::{RedisSession, RedisStore};
use crate::{Stamp, StoreError};

/// Who is told that a record changed: the near cache, or nobody (`()`).
///
/// Called from a connection's task or, by the memory store, from within the write: it must not block.
pub trait Invalidations: Send + Sync + 'static {
    /// The record `id` was written, expired or deleted.
    fn invalidated(&self, id: &LookupId);

    /// All records are gone, or nobody can say which are.
    fn flushed(&self);
}

impl Invalidations for () {
    fn invalidated(&self, _: &LookupId) {}
    fn flushed(&self) {}
}

/// The store of this process. Clones are the same store.
#[derive(Clone)]
pub struct Store(Backend<MemoryStore, RedisStore>);

/// A worker's way to the store. Clones share one connection, which closes with the last of them.
#[derive(Clone)]
pub struct StoreSession(Backend<MemoryStore, RedisSession>);

#[derive(Clone)]
enum Backend<M, R> {
    Memory(M),
    Redis(R),
}

/// What one read gave.
#[derive(Debug)]
pub struct Fetched {
    /// The records, in the order in which they were asked for; `None` where there is none.
    pub records: Vec<Option<Vec<u8>>>,
    /// (connection, epoch) of the connection that read them. It was taken before they were read.
    pub stamp: Stamp,
}

/// How a write of a new record ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// It is stored.
    Stored,
    /// Another record with these bytes is already there, and stays.
    Exists(Vec<u8>),
}

/// Whether a session can reach its store.
#[derive(Clone, Debug)]
pub enum Health {
    /// It can.
    Up,
    /// It cannot; commands fail at once.
    Down {
        /// Since when.
        since: Instant,
        /// One word for it, as [`StoreError::reason`] has them.
        reason: &'static str,
    },
}

impl Store {
    /// Opens the store. Nothing is connected yet. `listener` hears of every record that changes.
    pub fn open(config: &StoreConfig, listener: Arc<dyn Invalidations>) -> Self {
        Self(match &config.0 {
            Kind::Memory => Backend::Memory(MemoryStore::new(listener)),
            Kind::Redis(settings) => Backend::Redis(RedisStore::new(settings.clone(), listener)),
        })
    }

    /// A session for one worker, to be called on that worker's Tokio runtime: its connection lives there.
    ///
    /// Never waits: with Redis the session is [`Health::Down`] until the first connection is up, and
    /// connects again for ever.
    pub fn connect(&self) -> StoreSession {
        StoreSession(match &self.0 {
            Backend::Memory(store) => Backend::Memory(store.clone()),
            Backend::Redis(store) => Backend::Redis(store.connect()),
        })
    }

    /// Everything that the memory store holds, in no order: id, record, end. `None` if the records lie elsewhere.
    ///
    /// For showing what a store sees. Redis has no command for this that is fit for use.
    pub fn memory_records(&self) -> Option<Vec<(LookupId, Vec<u8>, SystemTime)>> {
        match &self.0 {
            Backend::Memory(store) => Some(store.records()),
            Backend::Redis(_) => None,
        }
    }

    /// Whether other processes see what is stored.
    pub fn is_shared(&self) -> bool {
        matches!(self.0, Backend::Redis(_))
    }

    /// The server's `maxmemory-policy` if it is one that drops sessions (anything but `noeviction`).
    pub fn evicting_policy(&self) -> Option<String> {
        match &self.0 {
            Backend::Memory(_) => None,
            Backend::Redis(store) => store.evicting_policy(),
        }
    }
}

impl StoreSession {
    /// The records of `ids`, in one round trip.
    pub async fn get(&self, ids: &[LookupId]) -> Result<Fetched, StoreError> {
        match &self.0 {
            Backend::Memory(store) => Ok(store.get(ids)),
            Backend::Redis(session) => session.get(ids).await,
        }
    }

    /// Stores a record where there is none, until `expires_at`.
    ///
    /// A deadline missed leaves open whether it was written: the same write is tried once more, and finding
    /// exactly these bytes counts as stored. So a caller may call again, too.
    pub async fn put_new(
        &self,
        id: LookupId,
        record: &[u8],
        expires_at: SystemTime,
    ) -> Result<PutOutcome, StoreError> {
        match &self.0 {
            Backend::Memory(store) => Ok(store.put_new(id, record, expires_at)),
            Backend::Redis(session) => session.put_new(id, record, expires_at).await,
        }
    }

    /// Puts `tombstone` in the place of the record `id`, which keeps its time to live. `false` if there was no record.
    pub async fn revoke(&self, id: LookupId, tombstone: &[u8]) -> Result<bool, StoreError> {
        match &self.0 {
            Backend::Memory(store) => Ok(store.revoke(id, tombstone)),
            Backend::Redis(session) => session.revoke(id, tombstone).await,
        }
    }

    /// Puts `tombstone` where the record `id` is or may yet come, until `expires_at`: a late [`Self::put_new`] loses.
    pub async fn bury(
        &self,
        id: LookupId,
        tombstone: &[u8],
        expires_at: SystemTime,
    ) -> Result<(), StoreError> {
        match &self.0 {
            Backend::Memory(store) => {
                store.bury(id, tombstone, expires_at);
                Ok(())
            }
            Backend::Redis(session) => session.bury(id, tombstone, expires_at).await,
        }
    }

    /// Stores a record whatever is there, until `expires_at`. For records that are about no token: those of tokens are
    /// only ever put where there is none, or buried.
    pub async fn replace(
        &self,
        id: LookupId,
        record: &[u8],
        expires_at: SystemTime,
    ) -> Result<(), StoreError> {
        self.bury(id, record, expires_at).await
    }

    /// Whether the store can be reached, from what is known: no I/O.
    pub fn health(&self) -> Health {
        match &self.0 {
            Backend::Memory(_) => Health::Up,
            Backend::Redis(session) => session.health(),
        }
    }

    /// Waits until the store can be reached.
    pub async fn up(&self) {
        match &self.0 {
            Backend::Memory(_) => {}
            Backend::Redis(session) => session.up().await,
        }
    }
}
