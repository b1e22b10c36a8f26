//! What is counted of upstreams: at a connection's two ends and where something fails, not with each request.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{
    metrics::{FailureLabels, ProtocolLabels},
    times::Times,
};

/// Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct UpstreamCounts {
    /// To the response headers or the failure, all tries together.
    pub(crate) duration: Times,
    opened: Family<ProtocolLabels, Counter>,
    open: Family<ProtocolLabels, Gauge>,
    failures: Family<FailureLabels, Counter>,
    pub(super) retries: Counter,
}

/// A connection that is open, and counted as such until this is dropped.
#[derive(Debug)]
pub(super) struct Open(Gauge);

impl UpstreamCounts {
    pub(crate) fn register(&self, r: &mut Registry) {
        r.register(
            "upstream_duration_seconds",
            "Time to an upstream's response headers or to a failure",
            self.duration.clone(),
        );
        r.register(
            "upstream_connections_opened",
            "Connections opened to upstreams",
            self.opened.clone(),
        );
        r.register(
            "upstream_connections",
            "Open connections to upstreams",
            self.open.clone(),
        );
        r.register(
            "upstream_failures",
            "Tries at upstreams that failed, by reason",
            self.failures.clone(),
        );
        r.register(
            "upstream_retries",
            "Requests that were sent to an upstream once more",
            self.retries.clone(),
        );
    }

    pub(super) fn opened(&self, protocol: &'static str) -> Open {
        let labels = ProtocolLabels { protocol };
        self.opened.get_or_create(&labels).inc();
        let open = self.open.get_or_create(&labels).clone();
        open.inc();
        Open(open)
    }

    pub(super) fn failed(&self, reason: &'static str) {
        self.failures.get_or_create(&FailureLabels { reason }).inc();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
