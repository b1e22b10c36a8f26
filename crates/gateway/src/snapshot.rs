//! What all workers read: the route table, the providers behind it and the counters of its rules, swapped as one.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use arc_swap::ArcSwap;
use splittoken_provider::{
    GivenCertificate, GivenEndpoints, Keepers, Provider, ProviderError, ProviderSettings,
};
use splittoken_routing::{
    Backend, BackendTls, Discovery, IssuerConfig, IssuerSecrets, RouteTable, ServedRoute, ServedRule,
    Transport, Verification,
};

use crate::{
    circuit::{Burden, CircuitBook},
    config::RejectedRoute,
    issuer::{Issuer, IssuerFailure},
    limits::Limits,
    metrics::{KindLabels, Metrics},
    served_counters::ServedCounters,
    upstream::{Target, TlsBook, TlsError},
};

/// One configuration, ready to serve.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) table: Arc<RouteTable>,
    /// By [`ServedRoute::issuer`]; `None` for one that cannot be used and never could.
    issuers: Vec<Option<Arc<Issuer>>>,
    /// By the same: those whose newest settings are not in force.
    failures: BTreeMap<usize, IssuerFailure>,
    pub(crate) counters: ServedCounters,
    /// By [`ServedRule::index`] and the place of the backend; `None` for one that cannot be used.
    targets: Vec<Box<[Option<Target>]>>,
    tls: TlsBook,
    circuits: CircuitBook,
    /// Routes of which a backend cannot be used, for the gateway's own reasons.
    hurt: Vec<RejectedRoute>,
}

impl Snapshot {
    pub(crate) fn issuer(&self, route: &ServedRoute) -> Option<&Arc<Issuer>> {
        self.issuers.get(route.issuer)?.as_ref()
    }

    pub(crate) fn target(&self, rule: &ServedRule, backend: usize) -> Option<&Target> {
        self.targets.get(rule.index)?.get(backend)?.as_ref()
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

    /// The routes whose issuers' newest settings are not in force, or which lack a backend.
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
            return self.hurt.clone();
        }
        let of_issuers = self.table.routes().iter().filter_map(of_failed);
        of_issuers.chain(self.hurt.iter().cloned()).collect()
    }

    /// Whether everything is in force that the configuration says.
    pub(crate) fn is_whole(&self) -> bool {
        self.failures.is_empty() && self.hurt.is_empty()
    }
}

/// Holds the current snapshot and makes the next ones.
pub(crate) struct Snapshots {
    current: ArcSwap<Snapshot>,
    metrics: Arc<Metrics>,
    kept: Keepers,
    /// For each upstream.
    burden: Burden,
    /// For each provider.
    provider_burden: Burden,
}

impl Snapshots {
    /// `kept` is where keys outlive the process.
    pub(crate) fn new(metrics: Arc<Metrics>, kept: Keepers, limits: &Limits) -> Self {
        let burden = |requests, kind| Burden {
            requests,
            failures: limits.breaker_failures,
            resting: metrics.resting.get_or_create(&KindLabels { kind }).clone(),
        };
        Self {
            burden: burden(limits.upstream_requests, "upstream"),
            provider_burden: burden(limits.provider_requests, "provider"),
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
        let counters = ServedCounters::new(&table, &current.counters);
        let mut circuits = current.circuits.successor(&self.burden);
        let (targets, tls, hurt) = targets(&table, &current.tls, &mut circuits);
        circuits.finish();
        self.metrics
            .routes
            .set(i64::try_from(table.routes().len()).unwrap_or(i64::MAX));
        let next = Arc::new(Snapshot {
            table,
            issuers,
            failures,
            counters,
            targets,
            tls,
            circuits,
            hurt,
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
        let issuer = Arc::new(Issuer::new(provider, &self.provider_burden, &self.metrics));
        tokio::spawn(issuer.provider.run(std::future::pending::<()>()));
        Ok(issuer)
    }
}

type Targets = Vec<Box<[Option<Target>]>>;

/// The backends of all rules. One that cannot be set up hurts only itself, and is told with its route.
fn targets(
    table: &RouteTable,
    before: &TlsBook,
    circuits: &mut CircuitBook,
) -> (Targets, TlsBook, Vec<RejectedRoute>) {
    let (mut tls, mut hurt) = (TlsBook::default(), Vec::new());
    let mut target = |rule: &ServedRule, backend: &Backend| {
        let Some(wanted) = &backend.tls else {
            return Target::plain(backend, circuits);
        };
        let shown = &rule.route.client_certificates;
        match tls.set_up(before, wanted, backend.protocol, shown) {
            Ok(tls) => Some(Target::secured(&wanted.address, backend.protocol, tls, circuits)),
            Err(error) => {
                hurt.push(without_backend(rule, wanted, &error));
                None
            }
        }
    };
    let of_rule = |rule: &Arc<ServedRule>| {
        let backends = rule.config.backends.iter();
        backends.map(|backend| target(rule, backend)).collect()
    };
    let targets = table.rules().iter().map(of_rule).collect();
    (targets, tls, hurt)
}

fn without_backend(rule: &ServedRule, backend: &BackendTls, error: &TlsError) -> RejectedRoute {
    RejectedRoute {
        route: rule.route.config.name.to_string(),
        revision: Some(rule.route.revision.clone()),
        reason: "upstream_tls",
        message: format!("rule {}: backend {}: {error}", rule.config.name, backend.address),
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
    for hurt in now.hurt.iter().filter(|hurt| !before.hurt.contains(hurt)) {
        tracing::error!(reason = hurt.reason, route = hurt.route, "{}", hurt.message);
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
        client_certificate: secrets.client_certificate.clone().map(|shown| GivenCertificate {
            chain: shown.chain,
            key: shown.key,
        }),
        reach: config.reach.clone(),
        connect_timeout: config.connect_timeout,
        request_timeout: config.request_timeout,
    }
}

#[cfg(test)]
mod tests;
