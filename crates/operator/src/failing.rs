//! What kinds of writes fail just now: told once when it begins and once when it ends.

use std::collections::BTreeSet;

use crate::{
    kinds::Kind,
    metrics::{FailingLabels, Metrics},
};

/// A kind of object and what is tried with it.
pub(crate) type Attempt = (Kind, &'static str);

/// The attempts of which at least one failed the last time that it was tried.
#[derive(Debug, Default)]
pub(crate) struct Failing(BTreeSet<Attempt>);

impl Failing {
    pub(crate) fn show(&mut self, now: BTreeSet<Attempt>, metrics: &Metrics) {
        for (kind, verb) in now.symmetric_difference(&self.0) {
            let (kind_name, is_failing) = (kind.type_meta().1, now.contains(&(*kind, *verb)));
            let labels = FailingLabels {
                kind: kind_name,
                verb,
            };
            metrics.failing.get_or_create(&labels).set(i64::from(is_failing));
            if is_failing {
                tracing::warn!(kind = kind_name, verb, "writes fail");
            } else {
                tracing::info!(kind = kind_name, verb, "writes succeed again");
            }
        }
        self.0 = now;
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn a_kind_of_write_fails_until_nothing_of_it_fails() {
        let metrics = Metrics::new(&mut Registry::default());
        let (mut failing, attempt) = (Failing::default(), (Kind::Route, "patch status"));
        let labels = FailingLabels {
            kind: "SplitTokenRoute",
            verb: "patch status",
        };
        for (now, value) in [(BTreeSet::from([attempt]), 1), (BTreeSet::new(), 0)] {
            failing.show(now, &metrics);
            assert_eq!(metrics.failing.get_or_create(&labels).get(), value);
        }
    }
}
