use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use splittoken_feed::FeedState;
use splittoken_gateway::{Config, Problem, RejectedRoute, Settings, SharedCertificates, SharedKeyring};
use splittoken_routing::{RouteTable, TableError};
use splittoken_runtime::{Collector, DrainTimes, Signals, init_logs, joined};
use tokio::{sync::watch, task::spawn_blocking};

use super::{
    certificate_files,
    keyring_file::{self, keyring},
    serving::{Serving, Spans, control_runtime, store, threads},
    source::Source,
};
use crate::arguments::{GatewayArguments, TlsArguments, TraceArguments};

/// Runs the gateway until it is asked to end.
pub(super) fn run(arguments: GatewayArguments) -> anyhow::Result<()> {
    init_logs(arguments.process.log_format, "info")?;
    // A store that cannot be used is said before what it would need.
    let store = store(&arguments.store)?;
    let shared_keyring = keyring(arguments.keyring.as_deref(), &arguments.store)?;
    let tls = tls(&arguments.tls)?;
    let limits = arguments.limits.limits(!arguments.trusted_proxies.is_empty());
    let serving = Serving {
        settings: Settings {
            threads: threads(arguments.threads),
            trusted_proxies: arguments.trusted_proxies,
            proxy_protocol: arguments.proxy_protocol,
            http2_cleartext: arguments.http2_cleartext,
            access_log: arguments.access_log,
            state_dir: arguments.source.state_dir.clone(),
            limits,
        },
        listen: arguments.listen,
        tls: tls.clone(),
        admin: arguments.process.admin,
        store,
        keyring: SharedKeyring::clone(&shared_keyring),
        traces: spans(arguments.traces),
        drain: DrainTimes {
            min_drain: arguments.min_drain,
            drain: arguments.drain,
        },
    };
    let source = Source::of(arguments.source)?;
    let runtime = control_runtime()?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::catch().context("cannot catch signals")?;
        let first = tokio::select! {
            first = source.first() => first?,
            // Nothing is served yet, so there is nothing to wait for.
            signal = signals.next() => {
                tracing::info!(signal = signal.name(), "asked to end before anything was served");
                return Ok(());
            }
        };
        let (send, configs) = watch::channel(Arc::new(first.config));
        let bound = serving.bind(configs, signals).await?;
        // Not before: whoever cannot start says why, and nothing else.
        for warning in first.warnings {
            tracing::warn!("{warning}");
        }
        let follow = tokio::spawn(follow(first.states, send, first.generation));
        if let Some(path) = arguments.keyring {
            tokio::spawn(keyring_file::follow(path, shared_keyring));
        }
        if let Some((_, certificates)) = tls {
            certificate_files::tell(&certificates.load(), None);
            tokio::spawn(certificate_files::follow(
                arguments.tls.certificates,
                certificates,
            ));
        }
        let outcome = bound.run().await;
        follow.abort();
        outcome
    });
    // Files that are being read or names that are being resolved must not hold up the end.
    runtime.shutdown_background();
    outcome
}

/// Where TLS is spoken, and what is shown there.
fn tls(arguments: &TlsArguments) -> anyhow::Result<Option<(SocketAddr, SharedCertificates)>> {
    let Some(listen) = arguments.listen else {
        return Ok(None);
    };
    let certificates = certificate_files::certificates(&arguments.certificates)?;
    Ok(Some((listen, certificates)))
}

/// Where spans go, if anywhere.
fn spans(arguments: TraceArguments) -> Option<Spans> {
    let TraceArguments {
        endpoint,
        authorities,
        sampling,
    } = arguments;
    Some(Spans {
        collector: Collector {
            url: endpoint?,
            authorities,
        },
        sampling,
    })
}

/// Turns what a feed says into what the gateway serves, for as long as both are there.
/// `generation` is that of the set that is served already: what came since then must not be missed.
async fn follow(
    mut states: watch::Receiver<Arc<FeedState>>,
    configs: watch::Sender<Arc<Config>>,
    mut generation: u64,
) {
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        let current = Arc::clone(&configs.borrow());
        let mut next = Config {
            table: current.table.clone(),
            problem: problem(&state),
            rejected: Arc::new(rejected(&state)),
        };
        if state.generation != generation {
            generation = state.generation;
            match build(&state).await {
                Ok(table) => next.table = Some(Arc::new(table)),
                Err(error) => {
                    next.problem = Some(Problem {
                        reason: error.reason().to_owned(),
                        message: error.to_string(),
                    });
                }
            }
        }
        configs.send_replace(Arc::new(next));
        if states.changed().await.is_err() {
            return;
        }
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

fn rejected(state: &FeedState) -> Vec<RejectedRoute> {
    let rejected = state.rejected.iter().map(|route| RejectedRoute {
        route: route.route.clone().unwrap_or_else(|| route.object.clone()),
        revision: route.revision.clone(),
        reason: route.reason,
        message: route.message.clone(),
    });
    rejected.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_set_that_came_before_anybody_listened_is_served() {
        let (feed, states) = watch::channel(Arc::new(FeedState::default()));
        let (send, mut configs) = watch::channel(Arc::new(Config::default()));
        feed.send_replace(Arc::new(FeedState {
            generation: 1,
            ..FeedState::default()
        }));
        let follow = tokio::spawn(follow(states, send, 0));
        assert!(configs.wait_for(|config| config.table.is_some()).await.is_ok());
        follow.abort();
    }
}
