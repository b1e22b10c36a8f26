//! What `gateway` and `demo` have in common: store, keyring, admin server, drain, and the gateway itself.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use prometheus_client::registry::Registry;
use splittoken_gateway::{
    Config, Gateway, Ingredients, Settings, SharedCertificates, SharedKeyring, StartError, Tracing,
};
use splittoken_runtime::{
    AdminServer, Collector, Drain, DrainTimes, Readiness, Signals, Traces, joined, raise_open_files,
};
use splittoken_store::{StoreConfig, StoreFiles};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::watch,
    task::spawn_blocking,
};
use zeroize::Zeroizing;

use crate::arguments::StoreArguments;

/// Everything that serving needs and that can be wrong before anything runs.
pub(super) struct Serving {
    pub(super) settings: Settings,
    pub(super) listen: SocketAddr,
    pub(super) tls: Option<(SocketAddr, SharedCertificates)>,
    pub(super) admin: SocketAddr,
    pub(super) store: StoreConfig,
    pub(super) keyring: SharedKeyring,
    pub(super) traces: Option<Spans>,
    pub(super) drain: DrainTimes,
}

/// Who takes spans, and of which share of the requests.
pub(super) struct Spans {
    pub(super) collector: Collector,
    pub(super) sampling: f64,
}

/// A gateway and an admin server whose sockets are open.
pub(super) struct Bound {
    pub(super) gateway: Gateway,
    pub(super) admin: AdminServer,
    traces: Option<Traces>,
    driver: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// The runtime of everything but the data path: the acceptor, providers, admin server and configuration. Two
/// threads, so that taking over a large configuration does not keep connections waiting.
pub(super) fn control_runtime() -> anyhow::Result<Runtime> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build();
    runtime.context("cannot start a runtime")
}

/// What the store options say.
pub(super) fn store(arguments: &StoreArguments) -> anyhow::Result<StoreConfig> {
    let files = StoreFiles {
        ca: arguments.ca.clone(),
        client_certificate: arguments.client_certificate.clone(),
        client_key: arguments.client_key.clone(),
        password: arguments.password_file.clone(),
    };
    let named = [
        ("--store-ca", &files.ca),
        ("--store-client-certificate", &files.client_certificate),
        ("--store-client-key", &files.client_key),
        ("--store-password-file", &files.password),
    ];
    let mut given = vec!["--store".to_owned()];
    for (option, path) in named {
        if let Some(path) = path {
            readable(option, path)?;
            given.push(format!("{option} {}", path.display()));
        }
    }
    StoreConfig::parse(&arguments.url, &files).with_context(|| given.join(", "))
}

/// The store reads its files at each connect; whoever starts a gateway wants to know now.
fn readable(option: &str, path: &Path) -> anyhow::Result<()> {
    let content = fs::read(path)
        .map(Zeroizing::new)
        .with_context(|| format!("cannot read {option} {}", path.display()))?;
    ensure!(
        !content.trim_ascii().is_empty(),
        "{option} {} is empty",
        path.display()
    );
    Ok(())
}

impl Serving {
    /// Opens the sockets. Nothing is served yet.
    pub(super) async fn bind(
        self,
        configs: watch::Receiver<Arc<Config>>,
        signals: Signals,
    ) -> anyhow::Result<Bound> {
        make_room(self.settings.limits.connections);
        let readiness = Readiness::default();
        let mut registry = Registry::default();
        let (drain, driver) = Drain::new(readiness.clone(), self.drain, asked_to_end(signals));
        let start = |Spans { collector, .. }: &Spans| {
            let registry = registry.sub_registry_with_prefix("splittoken_gateway");
            Traces::start("splittoken-gateway", collector, Handle::current(), registry)
                .with_context(|| options_of(collector))
        };
        let traces = self.traces.as_ref().map(start).transpose()?;
        let tracing = traces.as_ref().zip(self.traces);
        let gateway = Gateway::bind(Ingredients {
            settings: self.settings,
            address: self.listen,
            tls: self.tls,
            store: &self.store,
            keyring: self.keyring,
            configs,
            drain,
            drain_limit: self.drain.drain,
            readiness: readiness.clone(),
            tracing: tracing.map(|(traces, spans)| Tracing::new(traces.tracer(), spans.sampling)),
            registry: &mut registry,
        })
        .map_err(|error| {
            let option = option_of(&error);
            anyhow::Error::from(error).context(option)
        })?;
        let pages = vec![
            ("/config", gateway.config_page()),
            ("/config/digest", gateway.digest_page()),
            ("/config/issuers", gateway.issuers_page()),
        ];
        let admin = AdminServer::bind(self.admin, readiness, Arc::new(registry), pages)
            .await
            .context("--admin")?;
        Ok(Bound {
            gateway,
            admin,
            traces,
            driver: Box::pin(driver),
        })
    }
}

/// Which one says where the gateway should listen.
fn option_of(error: &StartError) -> &'static str {
    match error {
        StartError::Bind { is_tls: true, .. } => "--tls-listen",
        StartError::Bind { is_tls: false, .. } | StartError::Worker(_) => "--listen",
    }
}

/// What was given for the collector.
fn options_of(collector: &Collector) -> String {
    match &collector.authorities {
        Some(path) => format!("--otlp-endpoint, --otlp-ca {}", path.display()),
        None => "--otlp-endpoint".to_owned(),
    }
}

/// Has the process open as many files as it may, which are more than `connections` unless somebody says otherwise.
fn make_room(connections: usize) {
    let limit = raise_open_files();
    if let Some(limit) = limit.filter(|limit| usize::try_from(*limit).is_ok_and(|limit| limit < connections))
    {
        tracing::warn!(
            limit,
            connections,
            "the process may open fewer files than --max-connections says: raise its limit (ulimit -Hn)"
        );
    }
}

/// Completes with the first signal. Whoever sends a second one does not want to wait: it ends the process at once.
async fn asked_to_end(mut signals: Signals) {
    let first = signals.next().await;
    tracing::info!(signal = first.name(), "asked to end");
    tokio::spawn(async move {
        let second = signals.next().await;
        tracing::warn!(
            signal = second.name(),
            "asked to end again: not waiting any longer"
        );
        std::process::exit(second.exit_code());
    });
}

impl Bound {
    /// Serves until the process is asked to end and everything in flight is finished.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let driver = tokio::spawn(self.driver);
        let admin = tokio::spawn(self.admin.run());
        let outcome = self.gateway.run().await;
        if let Some(traces) = self.traces {
            // It blocks, and the runtime is what sends.
            joined(spawn_blocking(move || traces.end()).await);
        }
        driver.abort();
        admin.abort();
        tracing::info!("ended");
        Ok(outcome?)
    }
}

/// One worker for each core, unless told otherwise.
pub(super) fn threads(wanted: Option<u16>) -> usize {
    wanted.map_or_else(
        || std::thread::available_parallelism().map_or(1, usize::from),
        usize::from,
    )
}

/// How the demo drains: nobody has to notice that it leaves, and whoever pressed Ctrl-C has a prompt within a second.
pub(super) const AT_ONCE: DrainTimes = DrainTimes {
    min_drain: Duration::ZERO,
    drain: Duration::from_millis(500),
};
