use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize},
    thread::{self, JoinHandle},
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::future::OptionFuture;
use prometheus_client::registry::Registry;
use splittoken_provider::{Keepers, KeptKeys, KeyArchive};
use splittoken_runtime::{Drain, DrainPhase, JsonPage, Readiness, ReadyGuard};
use splittoken_store::{Store, StoreConfig};
use splittoken_token::Keyring;
use thiserror::Error;
use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot, watch},
};

use crate::{
    acceptor::{self, Door, Listener},
    census::Census,
    config::{Config, ConfigStatus, follow},
    config_view::{StoreView, digest, issuers, view},
    connection::Entrance,
    key_archive::StoredKeys,
    metrics::Metrics,
    settings::Settings,
    snapshot::Snapshots,
    store_health::StoreHealth,
    tls::SharedCertificates,
    tokens::{Cache, Tokens},
    trace::Tracing,
    worker::{Handle, Shared, Worker},
};

/// Why a gateway could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address could not be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Whether it is that of the TLS listener.
        is_tls: bool,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A thread or its runtime could not be made.
    #[error("cannot start a worker thread")]
    Worker(#[source] io::Error),
}

impl StartError {
    /// A closed set of words for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Bind { .. } => "bind",
            Self::Worker(_) => "worker",
        }
    }
}

/// What records are sealed with. Whoever holds it may put another keyring in its place: from then on that one counts.
pub type SharedKeyring = Arc<ArcSwap<Keyring>>;

/// Everything a gateway is made of.
#[derive(Debug)]
pub struct Ingredients<'i> {
    /// How it runs.
    pub settings: Settings,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it listens for TLS, and what it shows there.
    pub tls: Option<(SocketAddr, SharedCertificates)>,
    /// Where records lie.
    pub store: &'i StoreConfig,
    /// What they are sealed with.
    pub keyring: SharedKeyring,
    /// What it serves, now and later.
    pub configs: watch::Receiver<Arc<Config>>,
    /// When it ends.
    pub drain: Drain,
    /// How long finishing may take.
    pub drain_limit: Duration,
    /// What it reports to.
    pub readiness: Readiness,
    /// What records requests, if anything does.
    pub tracing: Option<Tracing>,
    /// Where its metrics go.
    pub registry: &'i mut Registry,
}

/// A bound gateway: the socket is open, nothing is served before [`Gateway::run`].
pub struct Gateway {
    listener: Listener,
    tls_listener: Option<Listener>,
    shared: Arc<Shared>,
    status: Arc<ConfigStatus>,
    cache: Cache,
    store: Store,
    store_name: String,
    health: StoreHealth,
    keyring: SharedKeyring,
    configs: watch::Receiver<Arc<Config>>,
    drain: Drain,
    drain_limit: Duration,
    /// Until the first configuration is taken over.
    unconfigured: ReadyGuard,
    /// Until connections are accepted.
    closed: ReadyGuard,
    /// Until the store was reached once, or was waited for long enough.
    storeless: ReadyGuard,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// Opens the listener; has to be called on a tokio runtime.
    pub fn bind(ingredients: Ingredients<'_>) -> Result<Self, StartError> {
        let Ingredients {
            settings,
            address,
            tls,
            store,
            keyring,
            configs,
            drain,
            drain_limit,
            readiness,
            tracing,
            registry,
        } = ingredients;
        let listener = listen(&settings, address, None)?;
        let certificates = tls.as_ref().map(|(_, certificates)| Arc::clone(certificates));
        let tls_listener = tls
            .map(|(address, certificates)| listen(&settings, address, Some(certificates)))
            .transpose()?;
        let health = StoreHealth::default();
        let metrics = Metrics::new(registry, &health);
        let cache = Tokens::cache(settings.limits.near_cache_bytes);
        let store_name = store.describe();
        let store = Store::open(store, cache.clone());
        let kept = Keepers {
            folder: settings.state_dir.as_deref().map(KeptKeys::in_folder),
            archive: archive(&store, &keyring),
        };
        let snapshots = Snapshots::new(Arc::clone(&metrics), kept, &settings.limits);
        let shared = Arc::new(Shared::new(settings, snapshots, metrics, tracing));
        let census = Census {
            shared: Arc::clone(&shared),
            cache: Arc::clone(&cache),
            certificates,
        };
        census.register(registry);
        Ok(Self {
            listener,
            tls_listener,
            shared,
            status: Arc::default(),
            cache,
            store,
            store_name,
            health,
            keyring,
            configs,
            drain,
            drain_limit,
            // From here on: whoever answers probes may begin before `run` does.
            unconfigured: readiness.guard("configuration"),
            closed: readiness.guard("listener"),
            storeless: readiness.guard("store"),
        })
    }

    /// The bound address: tells the port where 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.address()
    }

    /// The store, as the workers see it.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What `/config` shows.
    pub fn config_page(&self) -> JsonPage {
        let (shared, status, keyring) = (
            Arc::clone(&self.shared),
            Arc::clone(&self.status),
            Arc::clone(&self.keyring),
        );
        let (name, store, health, workers) = (
            self.store_name.clone(),
            self.store.clone(),
            self.health.clone(),
            self.shared.settings.threads,
        );
        Arc::new(move || {
            let store = StoreView {
                name: &name,
                workers,
                workers_up: health.up(),
                evicting_policy: store.evicting_policy(),
            };
            view(&shared, &status, &keyring.load(), store)
        })
    }

    /// What `/config/digest` shows.
    pub fn digest_page(&self) -> JsonPage {
        let (shared, status, keyring) = (
            Arc::clone(&self.shared),
            Arc::clone(&self.status),
            Arc::clone(&self.keyring),
        );
        Arc::new(move || digest(&shared, &status, &keyring.load()))
    }

    /// What `/config/issuers` shows.
    pub fn issuers_page(&self) -> JsonPage {
        let shared = Arc::clone(&self.shared);
        Arc::new(move || issuers(&shared))
    }

    /// Serves until the drain is over. Every request that was in flight by then has been finished, or
    /// `drain_limit` has passed.
    pub async fn run(mut self) -> Result<(), StartError> {
        let (handles, threads) = self.start_workers()?;
        let (taken, first_taken) = oneshot::channel();
        let follow = tokio::spawn(follow(
            Arc::clone(&self.shared),
            Arc::clone(&self.status),
            self.configs.clone(),
            self.unconfigured,
            taken,
        ));
        let (health, workers, storeless) = (self.health.clone(), handles.len(), self.storeless);
        let reach = tokio::spawn(async move {
            health.reached_first(workers).await;
            drop(storeless);
        });
        let leaving = Arc::clone(&self.shared);
        let mut drain = self.drain.clone();
        let leave = tokio::spawn(async move {
            drain.reached(DrainPhase::Leaving).await;
            leaving.leave();
        });
        // Whoever connects before that waits: without a configuration every request would be a 404. It cannot fail but
        // by a panic there, after which the acceptor's 404s are the lesser evil.
        tokio::select! {
            _ = first_taken => {}
            () = self.drain.reached(DrainPhase::Closing) => {}
        }
        drop(self.closed);
        let door = Door::new(&handles, &self.shared);
        let accept = |listener| acceptor::accept(listener, &door, self.drain.clone());
        let accept_tls = OptionFuture::from(self.tls_listener.map(accept));
        tokio::join!(accept(self.listener), accept_tls);
        // The workers end when nobody can hand them anything any more.
        drop(handles);
        self.drain.reached(DrainPhase::Closing).await;
        // Joining blocks, and the runtime still answers probes.
        let joined =
            tokio::task::spawn_blocking(move || threads.into_iter().all(|thread| thread.join().is_ok()));
        if !joined.await.unwrap_or(false) {
            tracing::error!("a worker thread panicked");
        }
        follow.abort();
        leave.abort();
        reach.abort();
        Ok(())
    }

    fn start_workers(&self) -> Result<(Vec<Handle>, Vec<JoinHandle<()>>), StartError> {
        (0..self.shared.settings.threads.max(1))
            .map(|index| self.start_worker(index))
            .collect::<Result<Vec<_>, _>>()
            .map(|workers| workers.into_iter().unzip())
            .map_err(StartError::Worker)
    }

    fn start_worker(&self, index: usize) -> io::Result<(Handle, JoinHandle<()>)> {
        let (sockets, incoming) = mpsc::unbounded_channel();
        let load = Arc::new(AtomicUsize::new(0));
        let handle = Handle {
            sockets,
            load: Arc::clone(&load),
        };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (shared, store, cache) = (Arc::clone(&self.shared), self.store.clone(), self.cache.clone());
        let (keyring, health, drain) = (Arc::clone(&self.keyring), self.health.clone(), self.drain_limit);
        let thread = thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                runtime.block_on(async move {
                    let (metrics, misses) = (Arc::clone(&shared.metrics), Arc::clone(&shared.misses));
                    let tokens = Tokens::new(keyring, &store, cache, metrics, misses, &health);
                    Worker::new(shared, tokens, load).run(incoming, drain).await;
                });
                // A name that is being resolved must not hold up the end.
                runtime.shutdown_background();
            })?;
        Ok((handle, thread))
    }
}

/// A store that others read, too, with a connection of its own.
fn archive(store: &Store, keyring: &SharedKeyring) -> Option<Arc<dyn KeyArchive>> {
    if !store.is_shared() {
        return None;
    }
    Some(StoredKeys::new(store.connect(), Arc::clone(keyring)))
}

fn listen(
    settings: &Settings,
    address: SocketAddr,
    certificates: Option<SharedCertificates>,
) -> Result<Listener, StartError> {
    let proxies = settings
        .proxy_protocol
        .then(|| settings.trusted_proxies.clone().into());
    let is_tls = certificates.is_some();
    let entrance = Entrance {
        certificates,
        http2_cleartext: settings.http2_cleartext,
        proxies,
    };
    acceptor::listen(address, entrance).map_err(|source| StartError::Bind {
        address,
        is_tls,
        source,
    })
}
