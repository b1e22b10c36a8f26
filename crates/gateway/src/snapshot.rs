//! What all workers read: the route table, the providers behind it and the counters of its rules, swapped as one.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use arc_swap::ArcSwap;
use splittoken_provider::{GivenEndpoints, KeptKeys, Provider, ProviderError, ProviderSettings};
use splittoken_routing::{
    Discovery, IssuerConfig, IssuerSecrets, RouteTable, ServedRoute, ServedRule, TableError, Transport,
    Verification,
};
use thiserror::Error;

use crate::{
    issuer::Issuer,
    metrics::{Metrics, RuleCounters},
};

/// One configuration, ready to serve.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) table: Arc<RouteTable>,
    /// By [`ServedRoute::issuer`].
    issuers: Vec<Arc<Issuer>>,
    /// By [`ServedRule::index`].
    counters: Vec<RuleCounters>,
}

impl Snapshot {
    pub(crate) fn issuer(&self, route: &ServedRoute) -> Option<&Arc<Issuer>> {
        self.issuers.get(route.issuer)
    }

    pub(crate) fn counters(&self, rule: &ServedRule) -> Option<&RuleCounters> {
        self.counters.get(rule.index)
    }

    pub(crate) fn issuers(&self) -> &[Arc<Issuer>] {
        &self.issuers
    }
}

/// Why a configuration was not taken over.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A route cannot be served.
    #[error(transparent)]
    Table(#[from] TableError),
    /// An issuer cannot be used.
    #[error("issuer {name}: {source}")]
    Provider {
        /// The issuer's object.
        name: String,
        /// Why not.
        #[source]
        source: ProviderError,
    },
}

impl ConfigError {
    /// A closed set of words for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Table(e) => e.reason(),
            Self::Provider { source, .. } => source.reason(),
        }
    }
}

/// Holds the current snapshot and makes the next ones.
pub(crate) struct Snapshots {
    current: ArcSwap<Snapshot>,
    metrics: Arc<Metrics>,
    kept: Option<KeptKeys>,
}

impl Snapshots {
    /// `kept` is where keys outlive the process.
    pub(crate) fn new(metrics: Arc<Metrics>, kept: Option<KeptKeys>) -> Self {
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
    /// others get a task on the current runtime. On an error nothing changes.
    pub(crate) fn take_over(&self, table: Arc<RouteTable>) -> Result<(), ConfigError> {
        let current = self.load();
        let known: HashMap<&str, &Arc<Issuer>> = current
            .issuers
            .iter()
            .map(|issuer| (issuer.provider.settings().name.as_str(), issuer))
            .collect();
        let mut started = Vec::new();
        let mut issuers = Vec::with_capacity(table.issuers().len());
        for (config, secrets) in table.issuers() {
            let settings = settings(config, secrets);
            let before = known.get(&*settings.name);
            if let Some(unchanged) = before.filter(|issuer| *issuer.provider.settings() == settings) {
                issuers.push(Arc::clone(unchanged));
                continue;
            }
            let provider = match before {
                Some(before) => Provider::following(settings, &before.provider),
                None => Provider::keeping(settings, self.kept.clone()),
            };
            let provider = provider.map_err(|source| ConfigError::Provider {
                name: config.name.clone(),
                source,
            })?;
            started.push(Arc::clone(&provider));
            issuers.push(Arc::new(Issuer::new(provider)));
        }
        for provider in started {
            tokio::spawn(provider.run(std::future::pending::<()>()));
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
            counters,
        });
        self.current.store(Arc::clone(&next));
        // After the swap, so that what is verified anew is verified by what is in force now.
        let kept: HashSet<*const Issuer> = next.issuers.iter().map(Arc::as_ptr).collect();
        let is_gone = |issuer: &&Arc<Issuer>| !kept.contains(&Arc::as_ptr(issuer));
        current
            .issuers
            .iter()
            .filter(is_gone)
            .for_each(|issuer| issuer.retire());
        Ok(())
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
