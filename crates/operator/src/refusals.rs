//! What could not be written for the gateways: why, and when it is tried again. Plain data: no clock, no client.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use splittoken_routing::wire;

use crate::{error::OperatorError, failing::Attempt, kinds::Kind, rendered::Plan, shortened::shortened};

/// Until what failed is tried again. What the API server refuses is tried less and less often…
const FIRST: Duration = Duration::from_secs(2);
/// …but at least so often.
const LONGEST: Duration = Duration::from_secs(60);

/// What was tried.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tried {
    /// To write the objects of that name.
    Apply(String),
    /// To delete one.
    Delete(Kind, String),
}

/// One thing that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) tried: Tried,
    /// Of the route; empty where something was to be deleted.
    pub(crate) revision: String,
    /// Which of the two objects it was.
    pub(crate) kind: Kind,
    /// What the API server says. Without an answer the status, which goes the same way, has to wait as well.
    pub(crate) answer: Option<String>,
}

/// All that failed the last time that it was tried.
#[derive(Debug, Default)]
pub(crate) struct Refusals(BTreeMap<Tried, Refusal>);

#[derive(Debug)]
struct Refusal {
    failed: Failed,
    wait: Duration,
    again: Instant,
}

impl Failed {
    pub(crate) fn new(tried: Tried, revision: &str, kind: Kind, error: &OperatorError) -> Self {
        Self {
            tried,
            revision: revision.to_owned(),
            kind,
            answer: answer(kind, error),
        }
    }
}

/// An admission webhook may quote what it was shown: of a Secret nothing is repeated.
fn answer(kind: Kind, error: &OperatorError) -> Option<String> {
    let OperatorError::Api {
        source: kube::Error::Api(status),
        ..
    } = error
    else {
        return None;
    };
    let what = kind.type_meta().1;
    Some(match kind {
        Kind::Secret => format!(
            "the API server refuses the {what} with {}, and the operator's log says why",
            status.code
        ),
        _ => shortened(format!("the API server refuses the {what}: {}", status.message)),
    })
}

impl Refusals {
    /// Takes out of a plan what was tried a moment ago, and forgets what is not planned any more.
    pub(crate) fn hold_back(&mut self, plan: &mut Plan<'_>, now: Instant) {
        if self.0.is_empty() {
            return;
        }
        let mut before = std::mem::take(&mut self.0);
        let mut is_due = |tried: Tried, revision: &str| {
            let known = before.remove(&tried);
            let Some(refusal) = known.filter(|refusal| refusal.failed.revision == revision) else {
                return true;
            };
            let is_due = refusal.again <= now;
            self.0.insert(tried, refusal);
            is_due
        };
        plan.apply.retain(|route| {
            let name = wire::object_name(&route.config.name);
            is_due(Tried::Apply(name), &route.revision)
        });
        plan.delete_configs
            .retain(|name| is_due(Tried::Delete(Kind::Config, name.clone()), ""));
        plan.delete_secrets
            .retain(|name| is_due(Tried::Delete(Kind::Secret, name.clone()), ""));
    }

    /// Takes in how all that was due went, less what was left `untried`.
    pub(crate) fn settle(&mut self, failed: Vec<Failed>, untried: &BTreeSet<Tried>, now: Instant) {
        let mut before = std::mem::take(&mut self.0);
        for failed in failed {
            let last = before.remove(&failed.tried).map(|refusal| refusal.wait);
            // An API server that does not answer is the same to all: nothing is won by waiting for longer.
            let last = last.filter(|_| failed.answer.is_some());
            let wait = last.map_or(FIRST, |wait| LONGEST.min(wait * 2));
            let refusal = Refusal {
                wait,
                again: now + wait,
                failed,
            };
            self.0.insert(refusal.failed.tried.clone(), refusal);
        }
        // What was held back was not tried either.
        before.retain(|tried, refusal| refusal.again > now || untried.contains(tried));
        self.0.extend(before);
    }

    /// The kinds of writes that failed the last time.
    pub(crate) fn failing(&self) -> impl Iterator<Item = Attempt> {
        self.0.iter().map(|(tried, refusal)| match tried {
            Tried::Apply(_) => (refusal.failed.kind, "apply"),
            Tried::Delete(kind, _) => (*kind, "delete"),
        })
    }

    /// When the next is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.0.values().map(|refusal| refusal.again).min()
    }

    /// What the API server says against a revision of a route, which is `object` in the cluster.
    pub(crate) fn of(&self, object: impl Fn() -> String, revision: &str) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        let refusal = self.0.get(&Tried::Apply(object()))?;
        let failed = Some(&refusal.failed).filter(|failed| failed.revision == revision)?;
        failed.answer.as_deref()
    }

    /// Whether the objects of that name could not be written the last time.
    pub(crate) fn is_known(&self, object: &str) -> bool {
        !self.0.is_empty() && self.0.contains_key(&Tried::Apply(object.to_owned()))
    }

    /// The next look tries these at once.
    pub(crate) fn forget(&mut self, object: String) {
        self.0.remove(&Tried::Apply(object));
    }
}

#[cfg(test)]
mod tests;
