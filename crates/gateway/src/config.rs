//! Where the configuration comes in: a channel of tables, from whoever makes them.

use std::{future::pending, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::Serialize;
use splittoken_routing::RouteTable;
use splittoken_runtime::ReadyGuard;
use tokio::{
    sync::{oneshot, watch},
    time::sleep,
};

use crate::{issuer::IssuerFailure, worker::Shared};

/// Until an issuer that could not be set up is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// The newest good configuration, and what is wrong with a newer one that is not good.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What to serve; `None` while nothing is known yet. Until there is a table nobody is answered.
    pub table: Option<Arc<RouteTable>>,
    /// Why the source's newest state is not `table`.
    pub problem: Option<Problem>,
    /// Single routes whose newest form cannot be served. Where there was an older one, it is in `table`.
    pub rejected: Arc<Vec<RejectedRoute>>,
}

/// A route whose newest form cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct RejectedRoute {
    /// `namespace/name`, or what it came in where that cannot be read.
    pub route: String,
    /// The form that was refused, as far as it has a name.
    pub revision: Option<String>,
    /// One word of a closed set.
    pub reason: &'static str,
    /// For people. Quotes no secret.
    pub message: String,
}

/// Why a configuration was not taken over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Problem {
    /// One word of a closed set.
    pub reason: String,
    /// For people; names the object and the field.
    pub message: String,
}

/// What is known of the configuration that is served, for `/config`.
#[derive(Debug, Default)]
pub(crate) struct ConfigStatus {
    problem: Mutex<Option<Problem>>,
    rejected: Mutex<Arc<Vec<RejectedRoute>>>,
}

impl ConfigStatus {
    pub(crate) fn problem(&self) -> Option<Problem> {
        self.problem.lock().clone()
    }

    pub(crate) fn rejected(&self) -> Arc<Vec<RejectedRoute>> {
        Arc::clone(&self.rejected.lock())
    }
}

/// Takes over every configuration that comes, until the channel closes. `ready` goes with the first that is of use;
/// `taken` completes with the first.
pub(crate) async fn follow(
    shared: Arc<Shared>,
    status: Arc<ConfigStatus>,
    mut configs: watch::Receiver<Arc<Config>>,
    ready: ReadyGuard,
    taken: oneshot::Sender<()>,
) {
    let mut ready = Some(ready);
    let mut taken = Some(taken);
    let mut served: Option<Arc<RouteTable>> = None;
    loop {
        let config = Arc::clone(&configs.borrow_and_update());
        let new = config
            .table
            .as_ref()
            .filter(|table| served.as_ref().is_none_or(|served| !Arc::ptr_eq(served, table)));
        if let Some(table) = new {
            take_over(&shared, table);
            served = Some(Arc::clone(table));
            ready = ready.filter(|_| shared.snapshots.load().is_useless());
        }
        *status.rejected.lock() = Arc::clone(&config.rejected);
        report(&shared, &status, config.problem.clone());
        if let Some(taken) = taken.take_if(|_| config.table.is_some()) {
            // Nobody waits any more when the gateway ends this early.
            let _ = taken.send(());
        }
        tokio::select! {
            changed = configs.changed() => if changed.is_err() {
                drop(ready);
                return;
            },
            () = another_try(&shared) => {
                if let Some(table) = &served {
                    shared.snapshots.take_over(Arc::clone(table));
                    ready = ready.filter(|_| shared.snapshots.load().is_useless());
                }
            }
        }
    }
}

/// Completes when issuers are to be set up again that could not be; never where all could, or none ever will.
async fn another_try(shared: &Shared) {
    let may_pass = shared.snapshots.load().failures().any(IssuerFailure::may_pass);
    if may_pass {
        sleep(AGAIN).await;
    } else {
        pending::<()>().await;
    }
}

fn take_over(shared: &Shared, table: &Arc<RouteTable>) {
    shared.snapshots.take_over(Arc::clone(table));
    shared.metrics.config_generation.inc();
    tracing::info!(
        routes = table.routes().len(),
        digest = table.digest(),
        "configuration taken over"
    );
}

fn report(shared: &Shared, status: &ConfigStatus, problem: Option<Problem>) {
    let is_whole = status.rejected().is_empty() && shared.snapshots.load().is_whole();
    let is_failing = problem.is_some() || !is_whole;
    shared.metrics.config_failing.set(i64::from(is_failing));
    let mut current = status.problem.lock();
    if let Some(problem) = problem
        .as_ref()
        .filter(|problem| current.as_ref() != Some(problem))
    {
        shared.metrics.config_rejected.inc();
        tracing::error!(
            reason = problem.reason,
            "configuration not taken over: {}",
            problem.message
        );
    }
    *current = problem;
}
