//! Looks whose class it is, and says so: to whoever writes statuses, on `/readyz`, in the log and in a metric.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::ListParams};
use splittoken_runtime::{Readiness, ReadyGuard};
use tokio::{sync::watch, time::sleep};

use crate::{
    claims::{Claim, Claims, Standing},
    error::{OperatorError, in_full, in_time},
    lease,
    metrics::Metrics,
    term::Leads,
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// What is not known yet.
const UNKNOWN: &str = "whose class it is";

/// What is known of the class.
pub(crate) struct Class {
    api: Api<Lease>,
    name: String,
    claims: Claims,
    standing: Option<Standing>,
    is_failing: bool,
    readiness: Readiness,
    guard: Option<ReadyGuard>,
    metrics: Metrics,
    owns: watch::Sender<bool>,
}

impl Class {
    /// The process is not ready before it has looked once. Until then, and while it is not its class, `owns` is `false`.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        name: &str,
        me: &str,
        readiness: &Readiness,
        metrics: Metrics,
        owns: watch::Sender<bool>,
    ) -> Self {
        Self {
            api: Api::all(client),
            name: name.to_owned(),
            claims: Claims::new(namespace, me),
            standing: None,
            is_failing: false,
            guard: Some(readiness.guard(format!("{UNKNOWN} was not looked at yet"))),
            readiness: readiness.clone(),
            metrics,
            owns,
        }
    }

    /// Looks again and again until nobody listens, and at once when the own Lease is taken.
    pub(crate) async fn run(mut self, mut leads: Leads) {
        while !self.owns.is_closed() {
            match self.list().await {
                Ok(listed) => {
                    self.is_failing = false;
                    let standing = self.claims.look(listed, Instant::now());
                    self.tell(standing);
                }
                Err(error) => self.fail(&error),
            }
            tokio::select! {
                () = sleep(EVERY) => {}
                Ok(()) = leads.changed() => {}
            }
        }
    }

    async fn list(&self) -> Result<Vec<Claim>, OperatorError> {
        let lease = lease::name(&self.name);
        // By the one name that it may list.
        let parameters = ListParams::default().fields(&format!("metadata.name={lease}"));
        let what = format!("the Leases {lease} of all namespaces");
        let listed = in_time("list", what, self.api.list(&parameters)).await?;
        Ok(listed.items.into_iter().filter_map(Claim::of).collect())
    }

    /// What is known holds until something else is. It is told once.
    fn fail(&mut self, error: &OperatorError) {
        if let (None, Some(guard)) = (&self.standing, &self.guard) {
            guard.explain(format!("{UNKNOWN}: {}", in_full(error)));
        }
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(error = error.chain(), "cannot see {UNKNOWN}: trying again");
        }
    }

    fn tell(&mut self, standing: Standing) {
        if self.standing.as_ref() == Some(&standing) {
            return;
        }
        let class = &self.name;
        let (missing, owns) = match &standing {
            Standing::Free => (None, false),
            Standing::Ours => (None, true),
            Standing::Coming { from, .. } => {
                let what =
                    format!("the class {class} is taken over from the installation in namespace {from}");
                tracing::info!("{what}");
                (Some(what), false)
            }
            Standing::Theirs(namespace) => {
                let what = format!("the class {class} belongs to the installation in namespace {namespace}");
                tracing::warn!("{what}: no statuses are written here");
                (Some(format!("{what}: choose another className")), false)
            }
        };
        if owns && was_anothers(self.standing.as_ref()) {
            tracing::info!("the class {class} belongs to this installation now: statuses are written here");
        }
        self.guard = missing.map(|what| self.readiness.guard(what));
        self.metrics.class_owner.set(i64::from(owns));
        self.owns
            .send_if_modified(|before| std::mem::replace(before, owns) != owns);
        self.standing = Some(standing);
    }
}

/// Whether somebody else had the class.
fn was_anothers(standing: Option<&Standing>) -> bool {
    matches!(standing, Some(Standing::Coming { .. } | Standing::Theirs(_)))
}
