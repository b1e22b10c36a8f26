//! One Redis (or Valkey) server, 6.2 or later, over RESP3.

mod backoff;
mod link;
mod reply;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value};
use splittoken_token::LookupId;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::config::Settings;
use crate::session::{Fetched, Health, Invalidations, PutOutcome};
use crate::{Epoch, Outage, StoreError};

/// What the Redis user of a gateway needs to be allowed, and nothing more, as `ACL SETUSER` takes it. A database
/// other than 0 needs `+select` besides.
///
/// `info` and `client|setname` may be left out: then nobody warns about an eviction policy, and the connection
/// has no name in `CLIENT LIST`.
pub const MINIMAL_ACL: &str =
    "resetkeys ~st1:* resetchannels -@all +get +set +ping +info +client|tracking +client|setname";

/// A command is answered in this time or fails: what a request can wait without anybody noticing.
const COMMAND_DEADLINE: Duration = Duration::from_millis(100);

/// The one store of the process: what all its connections share.
#[derive(Clone)]
pub(crate) struct RedisStore {
    settings: Arc<Settings>,
    listener: Arc<dyn Invalidations>,
    /// As of the last connect.
    evicting_policy: Arc<Mutex<Option<String>>>,
}

/// One worker's connection, kept up by a task on that worker's runtime.
#[derive(Clone)]
pub(crate) struct RedisSession {
    state: watch::Receiver<State>,
    /// Wakes the task when a command got no answer.
    doubt: Arc<Notify>,
    _task: Arc<AbortOnDrop>,
}

enum State {
    Up(Connected),
    Down { since: Instant, error: StoreError },
}

#[derive(Clone)]
struct Connected {
    connection: MultiplexedConnection,
    epoch: Epoch,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RedisStore {
    pub(crate) fn new(settings: Arc<Settings>, listener: Arc<dyn Invalidations>) -> Self {
        Self {
            settings,
            listener,
            evicting_policy: Arc::default(),
        }
    }

    pub(crate) fn connect(&self) -> RedisSession {
        let (sender, state) = watch::channel(State::Down {
            since: Instant::now(),
            error: StoreError::unavailable(Outage::Connecting),
        });
        let doubt = Arc::new(Notify::new());
        let task = tokio::spawn(link::Link::new(self.clone(), sender, doubt.clone()).run());
        RedisSession {
            state,
            doubt,
            _task: Arc::new(AbortOnDrop(task)),
        }
    }

    pub(crate) fn evicting_policy(&self) -> Option<String> {
        self.evicting_policy.lock().clone()
    }
}

impl RedisSession {
    pub(crate) async fn get(&self, ids: &[LookupId]) -> Result<Fetched, StoreError> {
        let connected = self.connected()?;
        // Before the read: if the connection goes while it is under way, the answer is already stale.
        let stamp = connected.epoch.stamp();
        if ids.is_empty() {
            return Ok(Fetched {
                records: Vec::new(),
                stamp,
            });
        }
        let mut pipeline = Pipeline::with_capacity(ids.len());
        for id in ids {
            pipeline.cmd("GET").arg(id.redis_key());
        }
        let values = self.send(connected.connection, &pipeline).await?;
        let records = values.into_iter().map(reply::record).collect::<Result<_, _>>()?;
        Ok(Fetched { records, stamp })
    }

    pub(crate) async fn put_new(
        &self,
        id: LookupId,
        record: &[u8],
        expires_at: SystemTime,
    ) -> Result<PutOutcome, StoreError> {
        let mut set = set(id, record);
        set.arg("NX").arg("PXAT").arg(unix_milliseconds(expires_at));
        // The second round is for a record that was there when we wrote and gone when we looked.
        for _ in 0..2 {
            if reply::was_set(self.write(&set).await?)? {
                return Ok(PutOutcome::Stored);
            }
            match self.get(&[id]).await?.records.pop().flatten() {
                // Ours, from a try whose answer never came: another record never has the same bytes.
                Some(found) if found == record => return Ok(PutOutcome::Stored),
                Some(found) => return Ok(PutOutcome::Exists(found)),
                None => {}
            }
        }
        Err(StoreError::unavailable(Outage::Contended))
    }

    pub(crate) async fn revoke(&self, id: LookupId, tombstone: &[u8]) -> Result<bool, StoreError> {
        let mut set = set(id, tombstone);
        set.arg("XX").arg("KEEPTTL");
        reply::was_set(self.write(&set).await?)
    }

    pub(crate) async fn bury(
        &self,
        id: LookupId,
        tombstone: &[u8],
        expires_at: SystemTime,
    ) -> Result<(), StoreError> {
        let mut set = set(id, tombstone);
        set.arg("PXAT").arg(unix_milliseconds(expires_at));
        if !reply::was_set(self.write(&set).await?)? {
            return Err(reply::nonsense("SET without a condition did not set"));
        }
        Ok(())
    }

    pub(crate) fn health(&self) -> Health {
        match &*self.state.borrow() {
            State::Up(_) => Health::Up,
            State::Down { since, error } => Health::Down {
                since: *since,
                reason: error.reason(),
            },
        }
    }

    pub(crate) async fn up(&self) {
        let mut state = self.state.clone();
        // It ends with an error only when the task is gone, and the task lives as long as this session.
        let _ = state.wait_for(|state| matches!(state, State::Up(_))).await;
    }

    fn connected(&self) -> Result<Connected, StoreError> {
        match &*self.state.borrow() {
            State::Up(connected) => Ok(connected.clone()),
            State::Down { error, .. } => Err(error.clone()),
        }
    }

    /// Sends a write, and the same once more if it is unknown whether it was carried out. All our writes can be
    /// repeated: what a second one finds is what the first one left.
    async fn write(&self, command: &Cmd) -> Result<Value, StoreError> {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(command.clone());
        let first = self.send(self.connected()?.connection, &pipeline).await;
        let mut values = match first {
            Err(error) if error.outcome_unknown() => {
                self.send(self.connected()?.connection, &pipeline).await?
            }
            other => other?,
        };
        values
            .pop()
            .ok_or_else(|| reply::nonsense("no answer to a write"))
    }

    async fn send(
        &self,
        mut connection: MultiplexedConnection,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, StoreError> {
        let answer = connection.send_packed_commands(pipeline, 0, pipeline.len()).await;
        answer.map_err(|error| {
            let error = reply::failure(error);
            if error.outcome_unknown() {
                self.doubt.notify_one();
            }
            error
        })
    }
}

fn set(id: LookupId, record: &[u8]) -> Cmd {
    let mut command = redis::cmd("SET");
    command.arg(id.redis_key()).arg(record);
    command
}

/// As `PXAT` takes it: at least 1, because Redis refuses 0 as no time at all.
fn unix_milliseconds(time: SystemTime) -> u64 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX).max(1)
}
