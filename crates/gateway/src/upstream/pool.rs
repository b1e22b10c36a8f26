use std::{
    collections::HashMap,
    error::Error,
    fmt,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use splittoken_reach::Reach;
use splittoken_routing::BackendProtocol;

use super::{
    connect::{Connection, Spoken, UpstreamError, connect, connect_http1, within},
    counts::UpstreamCounts,
    http1::Http1,
    multiplexed::{Multiplexed, Stream},
    target::Target,
};

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

/// A worker's connections, by [`Target::key`].
#[derive(Default)]
pub(crate) struct Pool {
    pub(super) counts: Arc<UpstreamCounts>,
    /// Those that serve one request at a time, while they serve none.
    // Boxes that go in and out whole, in place of what is in them.
    #[allow(clippy::vec_box)]
    idle: Mutex<HashMap<Arc<str>, Vec<Box<Kept>>>>,
    /// Those that serve many.
    shared: Mutex<HashMap<Arc<str>, Shared>>,
    /// When somebody last tried what is not allowed, or has no TLS that counts.
    refused: Mutex<HashMap<Arc<str>, Instant>>,
}

/// The connections to one place that serve many requests at a time.
#[derive(Default)]
struct Shared {
    connections: Vec<Arc<Multiplexed>>,
    /// Whoever finds no room opens another, and the others wait for that.
    door: Arc<tokio::sync::Mutex<()>>,
    /// Whether the newest connection turned out to be one for one request at a time.
    is_http1: bool,
}

/// A connection that serves one request at a time.
struct Kept {
    connection: Http1,
    key: Arc<str>,
    peer: SocketAddr,
    dies: Instant,
    /// When it was first seen unused: by a sweep, so that putting it back takes no look at a clock.
    unused: Option<Instant>,
}

/// What one request is made on.
#[derive(Debug)]
pub(crate) enum Lease {
    /// A connection of its own.
    Http1(Borrowed),
    /// A part of one.
    Http2(Stream),
}

/// A connection in use. Dropped, it is closed; given back, it may serve another request.
pub(crate) struct Borrowed {
    kept: Box<Kept>,
    pool: Arc<Pool>,
    /// Whether it had served before: then the other side may have closed it unseen.
    pub(super) is_reused: bool,
}

impl Pool {
    /// An empty one that counts there.
    pub(crate) fn new(counts: &Arc<UpstreamCounts>) -> Self {
        Self {
            counts: Arc::clone(counts),
            ..Self::default()
        }
    }

    /// A connection to `target`, or a part of one: one that there is, or else a new one.
    pub(super) async fn lease(
        self: &Arc<Self>,
        target: &Target,
        reach: &Reach,
        limit: Option<Duration>,
        random: u64,
    ) -> Result<Lease, UpstreamError> {
        if target.protocol == BackendProtocol::Http1 {
            return match self.take(target, reach) {
                Some(borrowed) => Ok(Lease::Http1(borrowed)),
                // In a place of its own: it is large, and seldom needed.
                None => Box::pin(self.open(target, reach, limit, random)).await,
            };
        }
        match self.find(target, reach) {
            Some(lease) => Ok(lease),
            // The same.
            None => Box::pin(within(limit, self.find_or_open(target, reach, random))).await,
        }
    }

    /// A new connection of its own, which may become a tunnel.
    pub(super) async fn apart(
        self: &Arc<Self>,
        target: &Target,
        reach: &Reach,
        limit: Option<Duration>,
        random: u64,
    ) -> Result<Lease, UpstreamError> {
        let connection = Box::pin(within(limit, connect_http1(target, reach, &self.counts))).await?;
        Ok(self.adopt(target, connection, random))
    }

    async fn open(
        self: &Arc<Self>,
        target: &Target,
        reach: &Reach,
        limit: Option<Duration>,
        random: u64,
    ) -> Result<Lease, UpstreamError> {
        let connection = within(limit, connect(target, reach, &self.counts)).await?;
        self.note_agreed(target, &connection.spoken);
        Ok(self.adopt(target, connection, random))
    }

    /// Waits for whoever is opening a connection already, unless each serves one request only.
    async fn find_or_open(
        self: &Arc<Self>,
        target: &Target,
        reach: &Reach,
        random: u64,
    ) -> Result<Lease, UpstreamError> {
        let door = self.door(target);
        let mine = door.lock().await;
        if let Some(lease) = self.find(target, reach) {
            return Ok(lease);
        }
        if self.is_http1(target) {
            drop(mine);
        }
        self.open(target, reach, None, random).await
    }

    /// A connection that is there, or a part of one.
    fn find(self: &Arc<Self>, target: &Target, reach: &Reach) -> Option<Lease> {
        let stream = self.join(target, reach).map(Lease::Http2);
        let idle = || self.take(target, reach).map(Lease::Http1);
        match target.protocol {
            BackendProtocol::Http2 => stream,
            BackendProtocol::Http1 | BackendProtocol::Negotiated => stream.or_else(idle),
        }
    }

    /// A tunnel says nothing of it: it is never asked for by HTTP/2.
    fn note_agreed(&self, target: &Target, spoken: &Spoken) {
        if target.protocol == BackendProtocol::Negotiated {
            let mut shared = self.shared.lock();
            let there = shared.entry(Arc::clone(&target.key)).or_default();
            there.is_http1 = matches!(spoken, Spoken::Http1(_));
        }
    }

    /// Whether HTTP/1.1 was agreed on the last time.
    fn is_http1(&self, target: &Target) -> bool {
        let shared = self.shared.lock();
        shared.get(&target.key).is_some_and(|there| there.is_http1)
    }

    fn door(&self, target: &Target) -> Arc<tokio::sync::Mutex<()>> {
        let mut shared = self.shared.lock();
        let there = shared.entry(Arc::clone(&target.key)).or_default();
        Arc::clone(&there.door)
    }

    /// A connection that is ready now, if one is there. The newest first: the others may grow old and go. What was
    /// opened when more was allowed is not used any more.
    pub(super) fn take(self: &Arc<Self>, target: &Target, reach: &Reach) -> Option<Borrowed> {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        let connections = idle.get_mut(&*target.key)?;
        for at in (0..connections.len()).rev() {
            if !connections[at].is_usable(now) || !reach.admits(connections[at].peer) {
                connections.swap_remove(at);
            } else if connections[at].connection.is_ready() {
                return Some(Borrowed {
                    kept: connections.swap_remove(at),
                    pool: Arc::clone(self),
                    is_reused: true,
                });
            }
        }
        None
    }

    /// A place on a connection that is there. The oldest first: the others may be used no more and go.
    fn join(&self, target: &Target, reach: &Reach) -> Option<Stream> {
        let now = Instant::now();
        let mut shared = self.shared.lock();
        let connections = &mut shared.get_mut(&*target.key)?.connections;
        connections.retain(|connection| connection.is_usable(now, reach));
        connections.iter().find_map(Multiplexed::join)
    }

    /// Takes a new connection into account.
    fn adopt(self: &Arc<Self>, target: &Target, connection: Connection, random: u64) -> Lease {
        let dies = Instant::now() + MIN_AGE + Duration::from_millis(random % AGE_SPREAD_MS);
        let (key, peer) = (Arc::clone(&target.key), connection.peer);
        match connection.spoken {
            Spoken::Http1(connection) => Lease::Http1(Borrowed {
                kept: Box::new(Kept {
                    connection,
                    key,
                    peer,
                    dies,
                    unused: None,
                }),
                pool: Arc::clone(self),
                is_reused: false,
            }),
            Spoken::Http2(opened) => {
                let connection = Multiplexed::new(opened, peer, dies);
                let stream = connection.first();
                let mut shared = self.shared.lock();
                shared.entry(key).or_default().connections.push(connection);
                Lease::Http2(stream)
            }
        }
    }

    /// Says once what is wrong with a backend for good, and not with every request.
    pub(super) fn note(&self, target: &Target, error: &UpstreamError) {
        let why: &dyn Error = match error {
            UpstreamError::Forbidden(why) => why,
            UpstreamError::Tls(why) => why,
            _ => return,
        };
        let known = self
            .refused
            .lock()
            .insert(Arc::clone(&target.key), Instant::now());
        if known.is_none() {
            let address = &*target.address;
            tracing::warn!(address, "a backend is not connected to: {why}");
        }
    }

    /// Closes what is too old or was closed by the other side.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        idle.retain(|_, connections| {
            connections.retain_mut(|c| {
                c.unused.get_or_insert(now);
                c.connection.drive();
                c.is_usable(now)
            });
            !connections.is_empty()
        });
        self.shared.lock().retain(|key, shared| {
            shared
                .connections
                .retain(|c| c.is_usable(now, &Reach::Anywhere) && !c.is_idle(now, MAX_IDLE));
            let is_known = shared.is_http1 && idle.contains_key(key);
            is_known || !shared.connections.is_empty() || Arc::strong_count(&shared.door) > 1
        });
        drop(idle);
        self.refused.lock().retain(|_, tried| now - *tried < OLD_NEWS);
    }
}

impl Kept {
    fn is_usable(&self, now: Instant) -> bool {
        let is_unused = self.unused.is_some_and(|since| now - since >= MAX_IDLE);
        !is_unused && now < self.dies && !self.connection.is_closed()
    }
}

impl Lease {
    /// Whether the connection was there before.
    pub(super) fn is_reused(&self) -> bool {
        match self {
            Self::Http1(borrowed) => borrowed.is_reused,
            Self::Http2(stream) => stream.is_reused,
        }
    }

    /// Polls something that waits for what comes on it.
    pub(crate) fn attend<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        match self {
            Self::Http1(borrowed) => borrowed.connection().attend(cx, poll),
            Self::Http2(_) => poll(cx),
        }
    }

    /// The response has ended well.
    pub(crate) fn give_back(self) {
        if let Self::Http1(borrowed) = self {
            borrowed.give_back();
        }
    }
}

impl Borrowed {
    pub(super) fn connection(&mut self) -> &mut Http1 {
        &mut self.kept.connection
    }

    /// Puts the connection back.
    pub(super) fn give_back(self) {
        let Self { mut kept, pool, .. } = self;
        kept.unused = None;
        kept.connection.rest();
        if kept.connection.is_closed() {
            return;
        }
        let mut idle = pool.idle.lock();
        let connections = match idle.get_mut(&*kept.key) {
            Some(connections) => connections,
            None => idle.entry(Arc::clone(&kept.key)).or_default(),
        };
        if connections.len() < MAX_IDLE_CONNECTIONS {
            connections.push(kept);
        }
    }
}

impl fmt::Debug for Borrowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Borrowed({})", self.kept.key)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idle = self.idle.lock();
        f.debug_map()
            .entries(idle.iter().map(|(key, connections)| (key, connections.len())))
            .finish()
    }
}
