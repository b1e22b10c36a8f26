//! What all workers read: the route table, the providers behind it and the counters of its rules, swapped as one.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use arc_swap::ArcSwap;
use splittoken_provider::{GivenEndpoints, Keepers, Provider, ProviderError, ProviderSettings};
use splittoken_routing::{
    Discovery, IssuerConfig, IssuerSecrets, RouteTable, ServedRoute, ServedRule, Transport, Verification,
};

use crate::{
    config::RejectedRoute,
    issuer::{Issuer, IssuerFailure},
    metrics::{Metrics, RuleCounters},
};

/// One configuration, ready to serve.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) table: Arc<RouteTable>,
    /// By [`ServedRoute::issuer`]; `None` for one that cannot be used and never could.
    issuers: Vec<Option<Arc<Issuer>>>,
    /// By the same: those whose newest settings are not in force.
    failures: BTreeMap<usize, IssuerFailure>,
    /// By [`ServedRule::index`].
    counters: Vec<RuleCounters>,
}

impl Snapshot {
    pub(crate) fn issuer(&self, route: &ServedRoute) -> Option<&Arc<Issuer>> {
        self.issuers.get(route.issuer)?.as_ref()
    }

    pub(crate) fn counters(&self, rule: &ServedRule) -> Option<&RuleCounters> {
        self.counters.get(rule.index)
    }

    pub(crate) fn issuers(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.issuers.iter().flatten()
    }

    pub(crate) fn failures(&self) -> impl Iterator<Item = &IssuerFailure> {
        self.failures.values()
    }

    /// Whether there are issuers and none can be used: then it is this process that something is wrong with.
    pub(crate) fn is_useless(&self) -> bool {
        !self.issuers.is_empty() && self.issuers().next().is_none()
    }

    /// The routes whose issuers' newest settings are not in force.
    pub(crate) fn rejected(&self) -> Vec<RejectedRoute> {
        let of_failed = |route: &Arc<ServedRoute>| {
            let failure = self.failures.get(&route.issuer)?;
            Some(RejectedRoute {
                route: route.config.name.to_string(),
                revision: Some(route.revision.clone()),
                reason: failure.reason(),
                message: failure.to_string(),
            })
        };
        if self.failures.is_empty() {
            return Vec::new();
        }
        self.table.routes().iter().filter_map(of_failed).collect()
    }
}

/// Holds the current snapshot and makes the next ones.
pub(crate) struct Snapshots {
    current: ArcSwap<Snapshot>,
    metrics: Arc<Metrics>,
    kept: Keepers,
}

impl Snapshots {
    /// `kept` is where keys outlive the process.
    pub(crate) fn new(metrics: Arc<Metrics>, kept: Keepers) -> Self {
        Self {
            current: ArcSwap::default(),
            metrics,
            kept,
        }
    }

    pub(crate) fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Takes over `table`. Providers whose settings stay the same stay as they are, keys and connections included;
    /// others get a task on the current runtime. One that cannot be set up hurts its own routes only: it stays as it
    /// was, or there is none.
    pub(crate) fn take_over(&self, table: Arc<RouteTable>) {
        let current = self.load();
        let known: HashMap<&str, &Arc<Issuer>> = current
            .issuers()
            .map(|issuer| (issuer.provider.settings().name.as_str(), issuer))
            .collect();
        let mut issuers = Vec::with_capacity(table.issuers().len());
        let mut failures = BTreeMap::new();
        for (place, (config, secrets)) in table.issuers().iter().enumerate() {
            let before = known.get(&*config.name).copied();
            let issuer = match self.set_up(settings(config, secrets), before) {
                Ok(issuer) => Some(issuer),
                Err(error) => {
                    // Not one that may go where the newest settings do not allow it any more.
                    let former = before.filter(|before| before.provider.settings().reach == config.reach);
                    failures.insert(place, IssuerFailure::new(&config.name, error, former.is_some()));
                    former.cloned()
                }
            };
            issuers.push(issuer);
        }
        let counters = table.rules().iter().map(|rule| {
            RuleCounters::new(
                &self.metrics,
                &rule.route.config.name.to_string(),
                &rule.config.name,
            )
        });
        let counters = counters.collect();
        self.metrics
            .routes
            .set(i64::try_from(table.routes().len()).unwrap_or(i64::MAX));
        let next = Arc::new(Snapshot {
            table,
            issuers,
            failures,
            counters,
        });
        self.current.store(Arc::clone(&next));
        // After the swap, so that what is verified anew is verified by what is in force now.
        let kept: HashSet<*const Issuer> = next.issuers().map(Arc::as_ptr).collect();
        let is_gone = |issuer: &&Arc<Issuer>| !kept.contains(&Arc::as_ptr(issuer));
        current
            .issuers()
            .filter(is_gone)
            .for_each(|issuer| issuer.retire());
        tell(&current, &next);
    }

    /// The issuer with these settings: the one that there is, if it has them, or a new one that begins to run.
    fn set_up(
        &self,
        settings: ProviderSettings,
        before: Option<&Arc<Issuer>>,
    ) -> Result<Arc<Issuer>, ProviderError> {
        if let Some(same) = before.filter(|before| *before.provider.settings() == settings) {
            return Ok(Arc::clone(same));
        }
        let provider = match before {
            Some(before) => Provider::following(settings, &before.provider),
            None => Provider::keeping(settings, self.kept.clone()),
        }?;
        tokio::spawn(provider.run(std::future::pending::<()>()));
        Ok(Arc::new(Issuer::new(provider)))
    }
}

/// Logs the failures that are news: an edit of somebody else's route says nothing of them.
fn tell(before: &Snapshot, now: &Snapshot) {
    let known: HashSet<String> = before.failures().map(ToString::to_string).collect();
    for failure in now.failures() {
        let text = failure.to_string();
        if !known.contains(&text) {
            tracing::error!(reason = failure.reason(), "{text}");
        }
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current.fmt(f)
    }
}

fn settings(config: &IssuerConfig, secrets: &IssuerSecrets) -> ProviderSettings {
    ProviderSettings {
        name: config.name.clone(),
        url: config.url.clone(),
        plain_http_allowed: config.transport == Transport::PlainHttpAllowed,
        discovery: config.discovery == Discovery::Auto,
        endpoints: GivenEndpoints {
            token: config.endpoints.token.clone(),
            jwks: config.endpoints.jwks.clone(),
            revocation: config.endpoints.revocation.clone(),
        },
        algorithms: config.algorithms.clone(),
        trusted_transport: config.verification == Verification::Transport,
        hmac_key: secrets.hmac_key.clone(),
        audiences: config.audiences.clone(),
        token_types: config.token_types.clone(),
        clock_skew: config.clock_skew,
        jwks_refresh: config.jwks_refresh,
        jwks_min_refresh: config.jwks_min_refresh,
        ca_certificates: config.ca_certificates.clone(),
        reach: config.reach.clone(),
        connect_timeout: config.connect_timeout,
        request_timeout: config.request_timeout,
    }
}

#[cfg(test)]
mod tests;
