//! One thread: its own runtime, its connections, its upstream pool, its store session.

use std::{
    collections::HashMap,
    error::Error,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use crate::{
    client_address::TrustedProxies,
    connection::{self, Activity, Command, Entrance, OpenError, Requests, Ticks},
    crowd::Crowd,
    metrics::Metrics,
    misses::Misses,
    random::Random,
    settings::Settings,
    snapshot::Snapshots,
    tokens::Tokens,
    trace::Tracing,
    upstream::Pool,
};

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) trusted_proxies: TrustedProxies,
    pub(crate) snapshots: Snapshots,
    pub(crate) metrics: Arc<Metrics>,
    /// `None` where no spans are wanted.
    pub(crate) tracing: Option<Tracing>,
    /// Of all workers.
    connections: Mutex<Vec<Arc<Connections>>>,
    pub(crate) crowd: Crowd,
    pub(crate) misses: Arc<Misses>,
    leaving: AtomicBool,
}

/// One thread's own things.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) tokens: Tokens,
    pub(crate) random: Random,
    /// Held by what goes on after its request was answered, so that the thread does not end before.
    pub(crate) chores: Arc<()>,
    connections: Arc<Connections>,
}

/// A socket that was accepted, on its way to a worker.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) address: SocketAddr,
    pub(crate) entrance: Entrance,
}

/// What the acceptor knows of a worker.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) sockets: mpsc::UnboundedSender<Accepted>,
    /// Open connections: the next socket goes where there are fewest.
    pub(crate) load: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Connections {
    clock: Ticks,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Activity>>>,
    /// Requests of connections that are gone. Locked after `open`.
    gone: Mutex<Requests>,
    load: Arc<AtomicUsize>,
}

impl Shared {
    pub(crate) fn new(
        settings: Settings,
        snapshots: Snapshots,
        metrics: Arc<Metrics>,
        tracing: Option<Tracing>,
    ) -> Self {
        let trusted_proxies: TrustedProxies = settings.trusted_proxies.clone().into();
        Self {
            crowd: Crowd::new(settings.limits.address_connections, Arc::clone(&trusted_proxies)),
            misses: Arc::new(Misses::new(settings.limits.address_misses)),
            settings,
            trusted_proxies,
            snapshots,
            metrics,
            tracing,
            connections: Mutex::default(),
            leaving: AtomicBool::new(false),
        }
    }

    /// From now on every answer asks its client to connect elsewhere.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// How many requests there were, and how many there are now.
    pub(crate) fn requests(&self) -> Requests {
        let mut all = Requests::default();
        for connections in &*self.connections.lock() {
            all.add(connections.requests());
        }
        all
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, tokens: Tokens, load: Arc<AtomicUsize>) -> Arc<Self> {
        let connections = Arc::new(Connections {
            load,
            ..Connections::default()
        });
        shared.connections.lock().push(Arc::clone(&connections));
        Arc::new(Self {
            pool: Arc::new(Pool::new(&shared.metrics.upstream)),
            shared,
            tokens,
            random: Random::default(),
            chores: Arc::default(),
            connections,
        })
    }

    /// Serves the sockets that come until there are no more, then what is in flight, for `drain` at most.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut sockets: mpsc::UnboundedReceiver<Accepted>,
        drain: Duration,
    ) {
        let mut sweep = interval(Duration::from_secs(1));
        // Time in which this thread did not get to run is not its clients' slowness.
        sweep.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                accepted = sockets.recv() => match accepted {
                    Some(accepted) => self.open(accepted),
                    None => break,
                },
                _ = sweep.tick() => self.sweep(),
            }
        }
        self.connections.tell_all(Command::Finish);
        let mut patience = pin!(tokio::time::sleep(drain));
        let mut check = interval(Duration::from_millis(20));
        while self.is_busy() {
            tokio::select! {
                _ = sweep.tick() => self.sweep(),
                () = &mut patience => {
                    tracing::warn!(connections = self.connections.open.lock().len(), "closing with requests in flight");
                    self.connections.tell_all(Command::Abort);
                    break;
                }
                _ = check.tick() => {}
            }
        }
    }

    fn is_busy(&self) -> bool {
        Arc::strong_count(&self.chores) > 1 || !self.connections.open.lock().is_empty()
    }

    fn open(self: &Arc<Self>, accepted: Accepted) {
        let Accepted {
            stream,
            address,
            entrance,
        } = accepted;
        let stream = stream
            .set_nodelay(true)
            .and_then(|()| TcpStream::from_std(stream));
        match stream {
            Ok(stream) => {
                // Before its task runs: a drain that begins meanwhile must know of it.
                let (id, activity) = self.connections.add();
                tokio::spawn(Arc::clone(self).serve((stream, address, entrance), id, activity));
            }
            Err(error) => {
                self.connections.load.fetch_sub(1, Ordering::Relaxed);
                tracing::debug!(%error, "a connection was gone before it was served");
            }
        }
    }

    /// Serves one connection until it ends or is told to.
    async fn serve(
        self: Arc<Self>,
        accepted: (TcpStream, SocketAddr, Entrance),
        id: u64,
        activity: Arc<Activity>,
    ) {
        let (stream, address, entrance) = accepted;
        let metrics = &self.shared.metrics;
        metrics.connections.inc();
        match activity
            .unless_aborted(entrance.open(stream, address, &self.shared.crowd))
            .await
        {
            Some(Ok(opened)) => {
                if let Some(outcome) = opened.handshake() {
                    metrics.shook_hands(outcome);
                }
                connection::serve(Arc::clone(&self), opened, &activity).await;
            }
            Some(Err(error)) => {
                if matches!(error, OpenError::Tls(_)) {
                    metrics.shook_hands("failed");
                }
                metrics.unopened(error.reason());
                tracing::debug!(error = &error as &dyn Error, "a connection came to nothing");
            }
            None => metrics.unopened("timeout"),
        }
        metrics.connections.dec();
        self.connections.remove(id);
    }

    /// Ends what takes too long; once a second.
    fn sweep(&self) {
        self.connections.clock.fetch_add(1, Ordering::Relaxed);
        self.pool.sweep();
        self.shared.misses.sweep(Instant::now());
        if self.shared.is_leaving() {
            self.connections.tell_all(Command::Leave);
        }
        for activity in self.connections.open.lock().values() {
            if let Some(command) = activity.overdue(&self.shared.settings.limits) {
                activity.tell(command);
            }
        }
    }
}

impl Connections {
    fn add(&self) -> (u64, Arc<Activity>) {
        let (id, activity) = (
            self.next.fetch_add(1, Ordering::Relaxed),
            Activity::new(&self.clock),
        );
        self.open.lock().insert(id, Arc::clone(&activity));
        (id, activity)
    }

    fn remove(&self, id: u64) {
        let mut open = self.open.lock();
        if let Some(activity) = open.remove(&id) {
            // Under the lock, so that nobody counts them twice or not at all. What was in flight on it ends with it, streams
            // of HTTP/2 a moment later, when nobody looks any more.
            let begun = activity.requests().begun;
            self.gone.lock().add(Requests {
                begun,
                ..Requests::default()
            });
        }
        drop(open);
        self.load.fetch_sub(1, Ordering::Relaxed);
    }

    /// Of all connections that there ever were.
    fn requests(&self) -> Requests {
        let open = self.open.lock();
        let mut all = *self.gone.lock();
        open.values().for_each(|activity| all.add(activity.requests()));
        all
    }

    fn tell_all(&self, command: Command) {
        self.open
            .lock()
            .values()
            .for_each(|activity| activity.tell(command));
    }
}
