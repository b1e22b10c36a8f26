//! What the operator counts.

use std::sync::atomic::AtomicI64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Seconds; from a set of a few routes to one of ten thousand on a busy machine.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// How many objects have a condition, by its reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ConditionLabels {
    /// `SplitTokenRoute` or `SplitTokenIssuer`.
    pub(crate) kind: String,
    pub(crate) condition: &'static str,
    pub(crate) reason: &'static str,
}

/// A kind of write.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct FailingLabels {
    pub(crate) kind: &'static str,
    pub(crate) verb: &'static str,
}

/// What waits to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct QueueLabels {
    /// `objects` or `statuses`.
    pub(crate) of: &'static str,
}

/// What a gauge takes.
pub(crate) fn gauge(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// All metrics of an operator.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) reconciles: Counter,
    pub(crate) duration: Histogram,
    pub(crate) writes: Counter,
    pub(crate) failures: Counter,
    pub(crate) failing: Family<FailingLabels, Gauge<i64, AtomicI64>>,
    pub(crate) statuses: Counter,
    queue: Family<QueueLabels, Gauge<i64, AtomicI64>>,
    pub(crate) conditions: Family<ConditionLabels, Gauge<i64, AtomicI64>>,
    pub(crate) routes: Gauge<i64, AtomicI64>,
    pub(crate) pods: Gauge<i64, AtomicI64>,
    pub(crate) pods_programmed: Gauge<i64, AtomicI64>,
    pub(crate) leads: Gauge<i64, AtomicI64>,
    pub(crate) class_owner: Gauge<i64, AtomicI64>,
}

impl Metrics {
    /// Registers everything under `splittoken_operator_`.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconciles: Counter::default(),
            duration: Histogram::new(BUCKETS),
            writes: Counter::default(),
            failures: Counter::default(),
            failing: Family::default(),
            statuses: Counter::default(),
            queue: Family::default(),
            conditions: Family::default(),
            routes: Gauge::default(),
            pods: Gauge::default(),
            pods_programmed: Gauge::default(),
            leads: Gauge::default(),
            class_owner: Gauge::default(),
        };
        metrics.register(registry.sub_registry_with_prefix("splittoken_operator"));
        metrics
    }

    /// How many rendered objects are still to be written.
    pub(crate) fn objects_waiting(&self) -> Gauge<i64, AtomicI64> {
        self.queue.get_or_create_owned(&QueueLabels { of: "objects" })
    }

    /// How many statuses are still to be written.
    pub(crate) fn statuses_waiting(&self) -> Gauge<i64, AtomicI64> {
        self.queue.get_or_create_owned(&QueueLabels { of: "statuses" })
    }

    fn register(&self, r: &mut Registry) {
        r.register(
            "reconciles",
            "Times that the whole set was looked at",
            self.reconciles.clone(),
        );
        r.register(
            "reconcile_duration_seconds",
            "Time that one look took, writes included",
            self.duration.clone(),
        );
        r.register(
            "writes",
            "Rendered objects that were applied or deleted",
            self.writes.clone(),
        );
        r.register(
            "failures",
            "Writes that failed and are tried again",
            self.failures.clone(),
        );
        r.register(
            "failing",
            "1 while the last try of this failed",
            self.failing.clone(),
        );
        r.register(
            "status_writes",
            "Statuses that were written",
            self.statuses.clone(),
        );
        r.register("queue", "Writes that are still to be done", self.queue.clone());
        r.register(
            "conditions",
            "Objects by condition and reason",
            self.conditions.clone(),
        );
        r.register(
            "routes",
            "Routes that are given to the gateways",
            self.routes.clone(),
        );
        r.register("gateway_pods", "Gateway pods that are ready", self.pods.clone());
        r.register(
            "gateway_pods_programmed",
            "Ready gateway pods that serve exactly the newest set of routes",
            self.pods_programmed.clone(),
        );
        r.register("leads", "1 while this operator writes", self.leads.clone());
        r.register(
            "class_owner",
            "1 while the class is this installation's, which writes the statuses then",
            self.class_owner.clone(),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use prometheus_client::encoding::text::encode;

    use super::*;

    /// Name and type of every row of the table in `docs/kubernetes.md`.
    fn explained() -> BTreeSet<(String, String)> {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/kubernetes.md");
        let page = fs::read_to_string(page).unwrap();
        let rows = page
            .lines()
            .filter(|line| line.starts_with("| `splittoken_operator_"));
        rows.map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            assert!(cells.len() == 4 && !cells[3].is_empty(), "{row}");
            (cells[0].trim_matches('`').to_owned(), cells[1].to_owned())
        })
        .collect()
    }

    #[test]
    fn every_metric_is_explained_and_no_other() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let labels = ConditionLabels {
            kind: "SplitTokenRoute".to_owned(),
            condition: "Ready",
            reason: "Ready",
        };
        metrics.conditions.get_or_create(&labels).inc();
        let labels = FailingLabels {
            kind: "ConfigMap",
            verb: "apply",
        };
        metrics.failing.get_or_create(&labels).inc();
        metrics.objects_waiting().set(1);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let exposed: BTreeSet<_> = types
            .filter_map(|line| line.split_once(' '))
            .map(|(name, kind)| {
                let suffix = if kind == "counter" { "_total" } else { "" };
                (format!("{name}{suffix}"), kind.to_owned())
            })
            .collect();
        assert_eq!(explained(), exposed);
    }
}
