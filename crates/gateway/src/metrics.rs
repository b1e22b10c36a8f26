//! What the gateway counts. Labels are of closed sets: routes, rules, outcomes, reasons; never a client's text.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicI64, AtomicU64},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::store_health::StoreHealth;

/// Seconds; from a cached token's request to a provider that is given up on.
const BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
];

/// Which rule served an API request, and how it went.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) route: String,
    pub(crate) rule: String,
    /// The status class, `2xx` to `5xx`.
    pub(crate) code: &'static str,
}

/// Why a request was not passed on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct FailureLabels {
    pub(crate) reason: &'static str,
}

/// How a token request went.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TokenLabels {
    pub(crate) route: String,
    /// `split`, `passed`, `refused_by_provider` or the reason of a failure.
    pub(crate) outcome: &'static str,
}

/// What kind of place requests are sent to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KindLabels {
    /// `upstream` or `provider`.
    pub(crate) kind: &'static str,
}

/// Where a token came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LookupLabels {
    /// `cache`, `stale`, `store` or the reason of a failure.
    pub(crate) outcome: &'static str,
}

/// All metrics of a gateway.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) failures: Family<FailureLabels, Counter>,
    pub(crate) token_requests: Family<TokenLabels, Counter>,
    pub(crate) lookups: Family<LookupLabels, Counter>,
    /// On the hot path: without the look-up in the family.
    pub(crate) cache_hits: Counter,
    pub(crate) duration: Histogram,
    pub(crate) connections: Gauge<i64, AtomicI64>,
    pub(crate) tunnels: Gauge<i64, AtomicI64>,
    pub(crate) unopened: Family<FailureLabels, Counter>,
    pub(crate) alarms: Family<FailureLabels, Counter>,
    pub(crate) resting: Family<KindLabels, Gauge<i64, AtomicI64>>,
    pub(crate) config_rejected: Counter<u64, AtomicU64>,
    pub(crate) config_generation: Gauge<i64, AtomicI64>,
    pub(crate) config_failing: Gauge<i64, AtomicI64>,
    pub(crate) routes: Gauge<i64, AtomicI64>,
}

impl Metrics {
    /// Registers everything, and what `store_health` counts, under `splittoken_gateway_`. docs/gateway.md has a table of it.
    pub(crate) fn new(registry: &mut Registry, store_health: &StoreHealth) -> Arc<Self> {
        let lookups = Family::<LookupLabels, Counter>::default();
        let cache_hits = lookups.get_or_create(&LookupLabels { outcome: "cache" }).clone();
        let metrics = Self {
            requests: Family::default(),
            failures: Family::default(),
            token_requests: Family::default(),
            cache_hits,
            lookups,
            duration: Histogram::new(BUCKETS),
            connections: Gauge::default(),
            tunnels: Gauge::default(),
            unopened: Family::default(),
            alarms: Family::default(),
            resting: Family::default(),
            config_rejected: Counter::default(),
            config_generation: Gauge::default(),
            config_failing: Gauge::default(),
            routes: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("splittoken_gateway");
        metrics.register(registry);
        registry.register_collector(Box::new(store_health.clone()));
        Arc::new(metrics)
    }

    fn register(&self, r: &mut Registry) {
        r.register(
            "requests",
            "Requests by route, rule and status class",
            self.requests.clone(),
        );
        r.register(
            "failures",
            "Requests that were not passed on, by reason",
            self.failures.clone(),
        );
        r.register(
            "token_requests",
            "Token requests by route and outcome",
            self.token_requests.clone(),
        );
        r.register(
            "token_lookups",
            "Where the tokens of requests came from",
            self.lookups.clone(),
        );
        r.register(
            "request_duration_seconds",
            "Time to the response headers",
            self.duration.clone(),
        );
        r.register("connections", "Open client connections", self.connections.clone());
        r.register(
            "tunnels",
            "WebSocket connections that are open, beside the others",
            self.tunnels.clone(),
        );
        r.register(
            "connections_unopened",
            "Connections that came to nothing before their first request, by reason",
            self.unopened.clone(),
        );
        r.register(
            "alarms",
            "Things that only an attack or a fault explains, by reason",
            self.alarms.clone(),
        );
        r.register(
            "resting",
            "Upstreams and providers that are left alone for a while, since they have failed too often",
            self.resting.clone(),
        );
        r.register(
            "config_rejected",
            "Configurations that were not taken over",
            self.config_rejected.clone(),
        );
        r.register(
            "config_generation",
            "Configurations taken over since the start",
            self.config_generation.clone(),
        );
        r.register(
            "config_failing",
            "1 while the newest configuration, or a part of it, is not what is served",
            self.config_failing.clone(),
        );
        r.register("routes", "Routes that are served", self.routes.clone());
    }

    /// Counts a request that was not passed on.
    pub(crate) fn failed(&self, reason: &'static str) {
        self.failures.get_or_create(&FailureLabels { reason }).inc();
    }

    /// How many tunnels are open.
    pub(crate) fn open_tunnels(&self) -> usize {
        usize::try_from(self.tunnels.get()).unwrap_or(0)
    }

    /// Counts a connection that came to nothing before its first request.
    pub(crate) fn unopened(&self, reason: &'static str) {
        self.unopened.get_or_create(&FailureLabels { reason }).inc();
    }

    /// Counts where a token came from, off the hot path.
    pub(crate) fn looked_up(&self, outcome: &'static str) {
        self.lookups.get_or_create(&LookupLabels { outcome }).inc();
    }

    /// Counts something that only an attack or a fault explains.
    pub(crate) fn alarm(&self, reason: &'static str) {
        self.alarms.get_or_create(&FailureLabels { reason }).inc();
        tracing::error!(reason, "alarm");
    }
}

const CODES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The counters of one rule, looked up once per configuration and not once per request. Each is there from its first
/// request on: five for each of ten thousand routes would be megabytes at every scrape, nearly all of them zeros.
#[derive(Clone, Debug)]
pub(crate) struct RuleCounters {
    requests: Family<RequestLabels, Counter>,
    route: Box<str>,
    rule: Box<str>,
    counters: [OnceLock<Counter>; CODES.len()],
}

impl RuleCounters {
    pub(crate) fn new(metrics: &Metrics, route: &str, rule: &str) -> Self {
        Self {
            requests: metrics.requests.clone(),
            route: route.into(),
            rule: rule.into(),
            counters: Default::default(),
        }
    }

    pub(crate) fn count(&self, status: http::StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let (Some(counter), Some(code)) = (self.counters.get(class), CODES.get(class)) {
            counter.get_or_init(|| self.counter(code)).inc();
        }
    }

    fn counter(&self, code: &'static str) -> Counter {
        let labels = RequestLabels {
            route: self.route.to_string(),
            rule: self.rule.to_string(),
            code,
        };
        self.requests.get_or_create(&labels).clone()
    }
}
