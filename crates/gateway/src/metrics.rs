//! What the gateway counts. Labels are of closed sets: routes, rules, outcomes, reasons; never a client's text.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use splittoken_store::StoreError;

use crate::{store_health::StoreHealth, times::Times, upstream::UpstreamCounts};

/// What every metric's name begins with.
pub(crate) const PREFIX: &str = "splittoken_gateway";

/// Why a request was not passed on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct FailureLabels {
    pub(crate) reason: &'static str,
}

/// How something ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabels {
    pub(crate) outcome: &'static str,
}

/// Which version of HTTP is spoken: `http1` or `http2`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ProtocolLabels {
    pub(crate) protocol: &'static str,
}

/// Why a client's connection ended that should not have.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ConnectionLabels {
    pub(crate) protocol: &'static str,
    pub(crate) reason: &'static str,
}

/// What was asked of the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CommandLabels {
    /// `get` or `put`.
    pub(crate) command: &'static str,
}

/// How that ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct StoreLabels {
    pub(crate) command: &'static str,
    /// `ok` or the reason of a failure.
    pub(crate) outcome: &'static str,
}

/// What was asked of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CallLabels {
    /// `token`, `discovery` or `jwks`.
    pub(crate) call: &'static str,
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

/// Metrics of a gateway that are counted when something happens. Those that are looked up when somebody asks are in
/// [`crate::census`].
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) failures: Family<FailureLabels, Counter>,
    pub(crate) lookups: Family<LookupLabels, Counter>,
    /// On the hot path: without the look-up in the family.
    pub(crate) cache_hits: Counter,
    pub(crate) duration: Times,
    pub(crate) upstream: Arc<UpstreamCounts>,
    pub(crate) connections: Gauge<i64, AtomicI64>,
    pub(crate) tunnels: Gauge<i64, AtomicI64>,
    pub(crate) unopened: Family<FailureLabels, Counter>,
    connection_errors: Family<ConnectionLabels, Counter>,
    pub(crate) handshakes: Family<OutcomeLabels, Counter>,
    pub(crate) store_commands: Family<StoreLabels, Counter>,
    pub(crate) store_durations: Family<CommandLabels, Times>,
    pub(crate) provider_durations: Family<CallLabels, Times>,
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
            failures: Family::default(),
            cache_hits,
            lookups,
            duration: Times::default(),
            upstream: Arc::default(),
            connections: Gauge::default(),
            tunnels: Gauge::default(),
            unopened: Family::default(),
            connection_errors: Family::default(),
            handshakes: Family::default(),
            store_commands: Family::default(),
            store_durations: Family::default(),
            provider_durations: Family::default(),
            alarms: Family::default(),
            resting: Family::default(),
            config_rejected: Counter::default(),
            config_generation: Gauge::default(),
            config_failing: Gauge::default(),
            routes: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix(PREFIX);
        metrics.register(registry);
        metrics.register_neighbours(registry);
        metrics.upstream.register(registry);
        registry.register_collector(Box::new(store_health.clone()));
        Arc::new(metrics)
    }

    fn register(&self, r: &mut Registry) {
        r.register(
            "failures",
            "Requests that were not passed on, by reason",
            self.failures.clone(),
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
            "connection_errors",
            "Connections that ended by what was sent on them and is not HTTP, or broke, by reason",
            self.connection_errors.clone(),
        );
        r.register(
            "alarms",
            "Things that only an attack or a fault explains, by reason",
            self.alarms.clone(),
        );
        r.register(
            "resting",
            "Upstreams and providers that are left alone for a while, since they cannot be reached",
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

    /// What is counted of those that the gateway talks to.
    fn register_neighbours(&self, r: &mut Registry) {
        r.register(
            "tls_handshakes",
            "TLS handshakes with clients, by outcome",
            self.handshakes.clone(),
        );
        r.register(
            "store_commands",
            "Commands to the store, by outcome",
            self.store_commands.clone(),
        );
        r.register(
            "store_command_duration_seconds",
            "Time to the store's answer or to a failure",
            self.store_durations.clone(),
        );
        r.register(
            "provider_request_duration_seconds",
            "Time to a provider's answer or to a failure",
            self.provider_durations.clone(),
        );
    }

    /// Counts a request that was not passed on.
    pub(crate) fn failed(&self, reason: &'static str) {
        self.failures.get_or_create(&FailureLabels { reason }).inc();
    }

    /// How many tunnels are open.
    pub(crate) fn open_tunnels(&self) -> usize {
        usize::try_from(self.tunnels.get()).unwrap_or(0)
    }

    /// How many connections are, tunnels included.
    pub(crate) fn open(&self) -> usize {
        usize::try_from(self.connections.get()).unwrap_or(0) + self.open_tunnels()
    }

    /// Counts a connection that came to nothing before its first request.
    pub(crate) fn unopened(&self, reason: &'static str) {
        self.unopened.get_or_create(&FailureLabels { reason }).inc();
    }

    /// Counts a connection that ended otherwise than it should have.
    pub(crate) fn connection_failed(&self, protocol: &'static str, reason: &'static str) {
        let labels = ConnectionLabels { protocol, reason };
        self.connection_errors.get_or_create(&labels).inc();
    }

    /// Counts how a TLS handshake ended.
    pub(crate) fn shook_hands(&self, outcome: &'static str) {
        self.handshakes.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Counts a command to the store.
    pub(crate) fn asked_store<T>(
        &self,
        command: &'static str,
        outcome: &Result<T, StoreError>,
        took: Duration,
    ) {
        let outcome = outcome.as_ref().map_or_else(StoreError::reason, |_| "ok");
        self.store_commands
            .get_or_create(&StoreLabels { command, outcome })
            .inc();
        self.store_durations
            .get_or_create(&CommandLabels { command })
            .observe(took);
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

/// Writes one counter for each pair; nothing where there is none.
pub(crate) fn encode_counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counts: impl Iterator<Item = (L, u64)>,
) -> fmt::Result {
    encode_all(
        encoder,
        (name, help),
        MetricType::Counter,
        counts,
        |mut encoder, count| encoder.encode_counter::<NoLabelSet, _, u64>(&count, None),
    )
}

/// The same for gauges.
pub(crate) fn encode_gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (L, i64)>,
) -> fmt::Result {
    encode_all(
        encoder,
        (name, help),
        MetricType::Gauge,
        values,
        |mut encoder, value| encoder.encode_gauge(&value),
    )
}

fn encode_all<L: EncodeLabelSet, V>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    metric_type: MetricType,
    values: impl Iterator<Item = (L, V)>,
    encode: impl Fn(MetricEncoder<'_>, V) -> fmt::Result,
) -> fmt::Result {
    let mut values = values.peekable();
    if values.peek().is_none() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, metric_type)?;
    values.try_for_each(|(labels, value)| encode(metric.encode_family(&labels)?, value))
}
