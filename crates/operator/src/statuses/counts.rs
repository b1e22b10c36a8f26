//! How many objects are how, for the metrics.

use std::collections::BTreeMap;

use splittoken_api::ObjectName;

use crate::{
    metrics::{ConditionLabels, Metrics},
    status::Status,
};

/// How many objects have a condition, by kind, condition and reason.
pub(super) type Counts<'k> = BTreeMap<(&'k str, &'static str, &'static str), i64>;

pub(super) fn count<'k>(counts: &mut Counts<'k>, name: &'k ObjectName, status: &Status) {
    for (condition, _, reason, _) in status.reasons() {
        *counts.entry((name.kind.as_str(), condition, reason)).or_default() += 1;
    }
}

pub(super) fn show(metrics: &Metrics, counts: Counts<'_>) {
    metrics.conditions.clear();
    for ((kind, condition, reason), number) in counts {
        let labels = ConditionLabels {
            kind: kind.to_owned(),
            condition,
            reason,
        };
        metrics.conditions.get_or_create(&labels).set(number);
    }
}
