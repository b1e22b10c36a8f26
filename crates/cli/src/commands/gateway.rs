use std::sync::Arc;

use anyhow::Context;
use aws_lc_rs::rand;
use splittoken_api::{Finding, crd::DEFAULT_CLASS};
use splittoken_feed::{FeedOptions, FeedState, FileFeed};
use splittoken_gateway::{Config, Problem, Settings};
use splittoken_routing::{RouteTable, TableError};
use splittoken_runtime::{DrainTimes, Signals, init_logs};
use tokio::{
    sync::watch,
    task::{JoinError, spawn_blocking},
};

use super::serving::{Serving, control_runtime, keyring, store, threads};
use crate::arguments::GatewayArguments;

/// Runs the gateway until it is asked to end.
pub(super) fn run(arguments: GatewayArguments) -> anyhow::Result<()> {
    init_logs(arguments.log_format, "info")?;
    let serving = Serving {
        settings: Settings {
            threads: threads(arguments.threads),
            trusted_proxies: arguments.trusted_proxies,
            access_log: arguments.access_log,
        },
        listen: arguments.listen,
        admin: arguments.admin,
        store: store(&arguments.store)?,
        keyring: keyring(arguments.keyring.as_deref(), &arguments.store)?,
        drain: DrainTimes {
            min_drain: arguments.min_drain,
            drain: arguments.drain,
        },
    };
    let feed = FileFeed::new(
        arguments.routes,
        FeedOptions {
            // As an installation of the chart: what is of another class is somebody else's, and may be in the way.
            class: Some(DEFAULT_CLASS.to_owned()),
            revision_key: revision_key()?,
        },
    );
    let runtime = control_runtime()?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::catch().context("cannot catch signals")?;
        let first = tokio::select! {
            loaded = spawn_blocking(move || load(feed)) => joined(loaded)?,
            // Nothing is served yet, so there is nothing to wait for.
            signal = signals.next() => {
                tracing::info!(signal = signal.name(), "asked to end before anything was served");
                return Ok(());
            }
        };
        let (send, configs) = watch::channel(Arc::new(first.config));
        let bound = serving.bind(configs, signals).await?;
        // Not before: whoever cannot start says why, and nothing else.
        for finding in first.warnings {
            tracing::warn!("{finding}");
        }
        if first.is_empty {
            tracing::warn!("no route in --routes: every request gets 404 until there is one");
        }
        let follow = tokio::spawn(follow(first.states, send));
        let outcome = bound.run().await;
        follow.abort();
        outcome
    });
    // Files that are being read or names that are being resolved must not hold up the end.
    runtime.shutdown_background();
    outcome
}

/// The first set of routes, and the channel of those to come.
struct First {
    states: watch::Receiver<Arc<FeedState>>,
    config: Config,
    warnings: Vec<Finding>,
    is_empty: bool,
}

/// Large sets take a while.
fn load(feed: FileFeed) -> anyhow::Result<First> {
    let first = feed.load().context("--routes")?;
    Ok(First {
        warnings: first.report.findings.clone(),
        is_empty: first.routes.is_empty(),
        config: Config {
            table: Arc::new(RouteTable::build(&first.routes).context("--routes")?),
            problem: None,
        },
        states: feed.watch(first).context("--routes")?,
    })
}

/// What a blocking task gave; its panic goes on here.
fn joined<T>(outcome: Result<T, JoinError>) -> T {
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Nobody compares the revisions of two processes that read files, so each may have its own key.
fn revision_key() -> anyhow::Result<[u8; 32]> {
    let mut key = [0; 32];
    rand::fill(&mut key).context("the system's random generator failed")?;
    Ok(key)
}

/// Turns what the files say into what the gateway serves, for as long as both are there.
async fn follow(mut states: watch::Receiver<Arc<FeedState>>, configs: watch::Sender<Arc<Config>>) {
    let mut generation = states.borrow_and_update().generation;
    while states.changed().await.is_ok() {
        let state = Arc::clone(&states.borrow_and_update());
        let current = Arc::clone(&configs.borrow());
        let mut next = Config {
            table: Arc::clone(&current.table),
            problem: problem(&state),
        };
        if state.generation != generation {
            generation = state.generation;
            match build(&state).await {
                Ok(table) => next.table = Arc::new(table),
                Err(error) => {
                    next.problem = Some(Problem {
                        reason: error.reason().to_owned(),
                        message: error.to_string(),
                    });
                }
            }
        }
        configs.send_replace(Arc::new(next));
    }
}

/// Off the threads that accept connections.
async fn build(state: &Arc<FeedState>) -> Result<RouteTable, TableError> {
    let state = Arc::clone(state);
    joined(spawn_blocking(move || RouteTable::build(&state.routes)).await)
}

fn problem(state: &FeedState) -> Option<Problem> {
    let error = state.last_error.as_ref()?;
    // The whole chain: what the system says of a file stands in the cause.
    let message = format!("{:#}", anyhow::Error::from(Arc::clone(error)));
    Some(Problem {
        reason: error.reason().to_owned(),
        message,
    })
}
