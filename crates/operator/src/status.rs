//! What the status of an object is to say, from its verdict and what the gateway pods report. Plain data, and the one
//! place where conditions are made.

use serde_json::{Value, json};
use splittoken_api::{Condition, Verdict};

use crate::{pods::IssuerReport, programmed::Programmed};

/// A condition without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    kind: &'static str,
    is_true: bool,
    reason: &'static str,
    message: String,
}

/// Everything that a status says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Status {
    conditions: Vec<Said>,
    generation: i64,
    /// A member beside the conditions.
    more: (&'static str, Value),
}

/// The status of a route. `programmed` is `None` for one that is not served at all.
pub(crate) fn of_route(
    verdict: &Verdict,
    generation: i64,
    programmed: Option<&Programmed>,
    token_endpoint: Option<&str>,
) -> Status {
    let mut conditions: Vec<Said> = verdict.conditions().into_iter().map(Said::from).collect();
    conditions.push(said_of_pods(programmed));
    conclude(conditions, generation, ("tokenEndpoint", json!(token_endpoint)))
}

/// The status of an issuer.
pub(crate) fn of_issuer(
    verdict: &Verdict,
    generation: i64,
    reports: &[&IssuerReport],
    attached_routes: usize,
) -> Status {
    let mut conditions: Vec<Said> = verdict.conditions().into_iter().map(Said::from).collect();
    conditions.push(said_of_reach(reports, attached_routes));
    conclude(conditions, generation, ("attachedRoutes", json!(attached_routes)))
}

impl From<Condition> for Said {
    fn from(condition: Condition) -> Self {
        Self {
            kind: condition.kind.name(),
            is_true: condition.status,
            reason: condition.reason.name(),
            message: condition.message,
        }
    }
}

fn said(kind: &'static str, is_true: bool, reason: &'static str, message: impl Into<String>) -> Said {
    Said {
        kind,
        is_true,
        reason,
        message: message.into(),
    }
}

fn said_of_pods(programmed: Option<&Programmed>) -> Said {
    const KIND: &str = "Programmed";
    match programmed {
        None => said(
            KIND,
            false,
            "Invalid",
            "not given to the gateways: see the other conditions",
        ),
        Some(Programmed::Everywhere(_)) => said(KIND, true, "Programmed", ""),
        Some(Programmed::Pending(serving, all)) => said(
            KIND,
            false,
            "Pending",
            format!("{serving} of {all} gateway pods serve this revision"),
        ),
        Some(Programmed::NoPods) => said(KIND, false, "NoGatewayPods", "no gateway pod is ready"),
        Some(Programmed::Rejected(message)) => said(KIND, false, "Rejected", message.clone()),
    }
}

/// What counts is what the gateways can reach.
fn said_of_reach(reports: &[&IssuerReport], attached_routes: usize) -> Said {
    const KIND: &str = "Reachable";
    if attached_routes == 0 {
        return said(
            KIND,
            false,
            "NoRoutes",
            "no route uses it yet, so no gateway has asked it",
        );
    }
    if reports.is_empty() {
        return said(
            KIND,
            false,
            "NoGatewayPods",
            "no gateway pod has said anything of it yet",
        );
    }
    match reports.iter().find(|report| !report.ready) {
        Some(report) => {
            let message = report
                .message
                .clone()
                .unwrap_or_else(|| "its keys are not there".to_owned());
            said(KIND, false, "Unreachable", message)
        }
        None => said(KIND, true, "Reachable", ""),
    }
}

fn conclude(mut conditions: Vec<Said>, generation: i64, more: (&'static str, Value)) -> Status {
    let missing: Vec<&Said> = conditions.iter().filter(|said| !said.is_true).collect();
    let ready = match missing.first() {
        None => said("Ready", true, "Ready", ""),
        Some(first) => said(
            "Ready",
            false,
            first.reason,
            format!("{}: {}", first.kind, first.message),
        ),
    };
    conditions.push(ready);
    Status {
        conditions,
        generation,
        more,
    }
}

impl Status {
    /// The last condition: whether everything is well and, if not, why.
    pub(crate) fn ready(&self) -> (bool, &'static str, &str) {
        let last = self.conditions.last();
        last.map_or((false, "Unknown", ""), |said| {
            (said.is_true, said.reason, said.message.as_str())
        })
    }

    /// Whether the object becomes ready or ceases to be, or is not ready for another reason.
    pub(crate) fn is_transition_from(&self, current: &Value) -> bool {
        let before = current["conditions"].as_array().into_iter().flatten();
        let before = before.into_iter().find(|condition| condition["type"] == "Ready");
        let (is_ready, reason, _) = self.ready();
        let status = if is_ready { "True" } else { "False" };
        before.is_none_or(|before| before["status"] != status || before["reason"] != reason)
    }

    /// Whether every condition has the same reason as in `other`.
    pub(crate) fn has_the_reasons_of(&self, other: &Self) -> bool {
        let reasons = |status: &Self| {
            status
                .reasons()
                .map(|(kind, _, reason, _)| (kind, reason))
                .collect::<Vec<_>>()
        };
        reasons(self) == reasons(other) && self.generation == other.generation
    }

    /// The reason of each condition, for Events, logs and metrics.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = (&'static str, bool, &'static str, &str)> {
        self.conditions
            .iter()
            .map(|said| (said.kind, said.is_true, said.reason, said.message.as_str()))
    }

    /// Whether it says the same as `other`, whatever their generations.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        self.conditions == other.conditions && self.more == other.more
    }

    /// The patch that brings an object's status there; `None` where it says this already. A condition keeps the time of
    /// its last transition (Kubernetes API conventions), and a list of conditions is always written whole.
    pub(crate) fn patch(&self, current: &Value, now: &str) -> Option<Value> {
        let before = |kind: &str| {
            let conditions = current["conditions"].as_array().into_iter().flatten();
            conditions
                .into_iter()
                .find(|condition| condition["type"] == kind)
                .cloned()
        };
        let conditions: Vec<Value> = self
            .conditions
            .iter()
            .map(|said| {
                let status = if said.is_true { "True" } else { "False" };
                let since = before(said.kind).filter(|before| before["status"] == status);
                let since = since.and_then(|before| before["lastTransitionTime"].as_str().map(str::to_owned));
                json!({
                    "type": said.kind,
                    "status": status,
                    "reason": said.reason,
                    "message": said.message,
                    "lastTransitionTime": since.unwrap_or_else(|| now.to_owned()),
                    "observedGeneration": self.generation,
                })
            })
            .collect();
        let mut status = json!({"observedGeneration": self.generation, "conditions": conditions});
        let (name, value) = &self.more;
        status[*name] = value.clone();
        let is_there = |(name, value): (&String, &Value)| current.get(name).unwrap_or(&Value::Null) == value;
        let is_same = status.as_object().into_iter().flatten().all(is_there);
        (!is_same).then(|| json!({"status": status}))
    }
}

#[cfg(test)]
mod tests {
    use splittoken_api::ObjectName;

    use super::*;

    const THEN: &str = "2026-01-01T00:00:00Z";
    const NOW: &str = "2026-02-02T00:00:00Z";

    fn clean() -> Verdict {
        Verdict {
            object: ObjectName::new("SplitTokenRoute", "shop", "orders"),
            generation: Some(3),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn condition<'v>(patch: &'v Value, kind: &str) -> &'v Value {
        let conditions = patch["status"]["conditions"].as_array().unwrap();
        conditions
            .iter()
            .find(|condition| condition["type"] == kind)
            .unwrap()
    }

    #[test]
    fn a_route_is_ready_when_every_pod_serves_it() {
        for (programmed, ready, reason) in [
            (Programmed::Everywhere(3), "True", "Ready"),
            (Programmed::Pending(2, 3), "False", "Pending"),
            (Programmed::NoPods, "False", "NoGatewayPods"),
            (
                Programmed::Rejected("has format 2".to_owned()),
                "False",
                "Rejected",
            ),
        ] {
            let patch = of_route(&clean(), 3, Some(&programmed), None)
                .patch(&Value::Null, NOW)
                .unwrap();
            let condition = condition(&patch, "Ready");
            assert_eq!(
                (&condition["status"], &condition["reason"]),
                (&json!(ready), &json!(reason))
            );
            assert_eq!(condition["observedGeneration"], 3);
        }
        let pending = of_route(&clean(), 3, Some(&Programmed::Pending(2, 3)), None);
        let patch = pending.patch(&Value::Null, NOW).unwrap();
        assert_eq!(
            condition(&patch, "Programmed")["message"],
            "2 of 3 gateway pods serve this revision"
        );
    }

    #[test]
    fn a_status_is_written_on_transitions_only() {
        let endpoint = Some("https://api.example.com/auth/token");
        let ready = of_route(&clean(), 3, Some(&Programmed::Everywhere(3)), endpoint);
        let written = ready.patch(&Value::Null, THEN).unwrap()["status"].clone();
        assert_eq!(ready.patch(&written, NOW), None, "nothing new");
        // Another number of pods is no transition.
        let scaled = of_route(&clean(), 3, Some(&Programmed::Everywhere(30)), endpoint);
        assert_eq!(scaled.patch(&written, NOW), None);
        // What does not change keeps its time.
        let pending = of_route(&clean(), 4, Some(&Programmed::Pending(0, 3)), endpoint);
        let patch = pending.patch(&written, NOW).unwrap();
        assert_eq!(condition(&patch, "Accepted")["lastTransitionTime"], THEN);
        assert_eq!(condition(&patch, "Programmed")["lastTransitionTime"], NOW);
        assert_eq!(patch["status"]["observedGeneration"], 4);
    }

    #[test]
    fn an_issuer_is_reachable_as_the_gateways_see_it() {
        let good = IssuerReport {
            ready: true,
            message: None,
        };
        let bad = IssuerReport {
            ready: false,
            message: Some("the provider cannot be reached".to_owned()),
        };
        for (reports, routes, reason) in [
            (vec![], 0, "NoRoutes"),
            (vec![], 1, "NoGatewayPods"),
            (vec![&good, &good], 1, "Reachable"),
            (vec![&good, &bad], 1, "Unreachable"),
        ] {
            let patch = of_issuer(&clean(), 1, &reports, routes)
                .patch(&Value::Null, NOW)
                .unwrap();
            assert_eq!(condition(&patch, "Reachable")["reason"], reason);
            assert_eq!(patch["status"]["attachedRoutes"], routes);
        }
    }
}
