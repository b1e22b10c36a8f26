use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;
use splittoken_reach::{Forbidden, Reach};

use super::connect::Connection;
use crate::body::RequestBody;

/// The age at which connections begin to be renewed, so that a Service's new pods are found: all by 60 s, but not
/// all at once.
const MIN_AGE: Duration = Duration::from_secs(45);
/// The rest of the 60 s, in milliseconds.
const AGE_SPREAD_MS: u64 = 15_000;

/// How long an unused connection is kept. Shorter than the keep-alive of common servers, so that they seldom
/// close one just when it is taken.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// The most unused connections kept for one address by one worker.
const MAX_IDLE_CONNECTIONS: usize = 256;

/// How long an address that may not be connected to is no news after the last try. Clients make the tries.
const OLD_NEWS: Duration = Duration::from_secs(60);

/// A worker's unused connections, by address.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<Arc<str>, Vec<Idle>>>,
    /// When somebody last tried what is not allowed.
    refused: Mutex<HashMap<Arc<str>, Instant>>,
}

struct Idle {
    sender: SendRequest<RequestBody>,
    address: Arc<str>,
    peer: SocketAddr,
    dies: Instant,
    since: Instant,
}

/// A connection in use. Dropped, it is closed; given back, it may serve another request.
pub(crate) struct Lease {
    pub(crate) sender: SendRequest<RequestBody>,
    address: Arc<str>,
    peer: SocketAddr,
    dies: Instant,
    pool: Arc<Pool>,
    /// Whether it had served before: then the other side may have closed it unseen.
    pub(crate) is_reused: bool,
}

impl Pool {
    /// A connection that is ready now, if one is there. The newest first: the others may grow old and go. What was
    /// opened when more was allowed is not used any more.
    pub(crate) fn take(self: &Arc<Self>, address: &str, reach: &Reach) -> Option<Lease> {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        let connections = idle.get_mut(address)?;
        for at in (0..connections.len()).rev() {
            if !connections[at].is_usable(now) || !reach.admits(connections[at].peer) {
                connections.swap_remove(at);
            } else if connections[at].sender.is_ready() {
                let Idle {
                    sender,
                    address,
                    peer,
                    dies,
                    ..
                } = connections.swap_remove(at);
                return Some(Lease {
                    sender,
                    address,
                    peer,
                    dies,
                    pool: Arc::clone(self),
                    is_reused: true,
                });
            }
        }
        None
    }

    /// Takes a new connection into account.
    pub(crate) fn adopt(self: &Arc<Self>, address: &str, connection: Connection, random: u64) -> Lease {
        let dies = Instant::now() + MIN_AGE + Duration::from_millis(random % AGE_SPREAD_MS);
        Lease {
            sender: connection.sender,
            address: address.into(),
            peer: connection.peer,
            dies,
            pool: Arc::clone(self),
            is_reused: false,
        }
    }

    /// Says once that an address may not be connected to, and not with every request.
    pub(crate) fn refuse(&self, address: &str, why: Forbidden) {
        if self
            .refused
            .lock()
            .insert(address.into(), Instant::now())
            .is_none()
        {
            tracing::warn!(address, "a backend is not connected to: {why}");
        }
    }

    /// Closes what is too old or was closed by the other side.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.idle.lock().retain(|_, connections| {
            connections.retain(|c| c.is_usable(now));
            !connections.is_empty()
        });
        self.refused.lock().retain(|_, tried| now - *tried < OLD_NEWS);
    }
}

impl Idle {
    fn is_usable(&self, now: Instant) -> bool {
        !self.sender.is_closed() && now < self.dies && now - self.since < MAX_IDLE
    }
}

impl Lease {
    /// Puts the connection back.
    pub(crate) fn give_back(self) {
        let now = Instant::now();
        if self.sender.is_closed() || now >= self.dies {
            return;
        }
        let mut idle = self.pool.idle.lock();
        let connections = idle.entry(Arc::clone(&self.address)).or_default();
        if connections.len() < MAX_IDLE_CONNECTIONS {
            connections.push(Idle {
                sender: self.sender,
                address: self.address,
                peer: self.peer,
                dies: self.dies,
                since: now,
            });
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({})", self.address)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idle = self.idle.lock();
        f.debug_map()
            .entries(
                idle.iter()
                    .map(|(address, connections)| (address, connections.len())),
            )
            .finish()
    }
}
