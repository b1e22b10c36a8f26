//! What the status of an object is to say, from its verdict and what the gateway pods report. Plain data, and the one
//! place where conditions are made.

use serde_json::{Value, json};
use splittoken_api::{Condition, Verdict, closed_set};

use crate::{pods::IssuerReport, programmed::Programmed, shortened::shortened};

/// The condition that sums up the others, and its reason where all is well.
const READY: &str = "Ready";

closed_set! {
    /// The reasons of `Programmed`: what the gateway pods serve of a route.
    enum Served {
        /// All is well.
        Programmed = "Programmed",
        /// It is not given to them.
        NotRendered = "Invalid",
        /// It cannot be given to them.
        NotWritten = "NotWritten",
        /// Some do not serve this revision yet.
        Pending = "Pending",
        /// There is none.
        NoGatewayPods = "NoGatewayPods",
        /// One refuses it.
        Rejected = "Rejected",
    }
}

closed_set! {
    /// The reasons of `Reachable`: what the gateway pods say of an issuer.
    enum Reached {
        /// All is well.
        Reachable = "Reachable",
        /// None has asked, because no route needs it.
        NoRoutes = "NoRoutes",
        /// None has said anything of it.
        NoGatewayPods = "NoGatewayPods",
        /// One cannot get what it needs.
        Unreachable = "Unreachable",
    }
}

closed_set! {
    /// The reasons of the last status that an object gets from an installation that it has left.
    enum Left {
        /// Its class is another one now.
        OtherClass = "OtherClass",
    }
}

/// The member that names the class of whoever wrote a status.
pub(crate) const CLASS: &str = "className";

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

/// The last status of an object that had this class: whoever serves it now, if anybody does, writes over it.
pub(crate) fn of_left(class: &str, generation: i64) -> Status {
    let message =
        format!("className is not {class} any more, and no other installation has said anything yet");
    conclude(
        vec![Said::left(Left::OtherClass, message)],
        generation,
        ("tokenEndpoint", Value::Null),
    )
}

impl From<Condition> for Said {
    fn from(condition: Condition) -> Self {
        Self {
            kind: condition.kind.name(),
            is_true: condition.status,
            reason: condition.reason.name(),
            // What is well is read by nobody who has much time.
            message: if condition.status {
                shortened(condition.message)
            } else {
                condition.message
            },
        }
    }
}

impl Said {
    fn served(reason: Served, message: impl Into<String>) -> Self {
        Self {
            kind: "Programmed",
            is_true: reason == Served::Programmed,
            reason: reason.name(),
            message: message.into(),
        }
    }

    fn left(reason: Left, message: String) -> Self {
        Self {
            kind: "Accepted",
            is_true: false,
            reason: reason.name(),
            message,
        }
    }

    fn reached(reason: Reached, message: impl Into<String>) -> Self {
        Self {
            kind: "Reachable",
            is_true: reason == Reached::Reachable,
            reason: reason.name(),
            message: message.into(),
        }
    }

    /// Whether all is well, as far as the other conditions say.
    fn ready(others: &[Self]) -> Self {
        let missing = others.iter().find(|said| !said.is_true);
        Self {
            kind: READY,
            is_true: missing.is_none(),
            reason: missing.map_or(READY, |said| said.reason),
            message: missing.map_or_else(String::new, |said| format!("{}: {}", said.kind, said.message)),
        }
    }
}

fn said_of_pods(programmed: Option<&Programmed>) -> Said {
    match programmed {
        None => Said::served(
            Served::NotRendered,
            "not given to the gateways: see the other conditions",
        ),
        Some(Programmed::Everywhere(_)) => Said::served(Served::Programmed, ""),
        Some(Programmed::Pending(serving, all)) => Said::served(
            Served::Pending,
            format!("{serving} of {all} gateway pods serve this revision"),
        ),
        Some(Programmed::NoPods) => Said::served(Served::NoGatewayPods, "no gateway pod is ready"),
        Some(Programmed::Rejected(message)) => Said::served(Served::Rejected, message.clone()),
        Some(Programmed::NotWritten(message)) => Said::served(Served::NotWritten, message.clone()),
    }
}

/// What counts is what the gateways can reach.
fn said_of_reach(reports: &[&IssuerReport], attached_routes: usize) -> Said {
    if attached_routes == 0 {
        return Said::reached(
            Reached::NoRoutes,
            "no route uses it yet, so no gateway has asked it",
        );
    }
    if reports.is_empty() {
        return Said::reached(
            Reached::NoGatewayPods,
            "no gateway pod has said anything of it yet",
        );
    }
    match reports.iter().find(|report| !report.ready) {
        Some(report) => {
            let message = report.message.clone();
            Said::reached(
                Reached::Unreachable,
                message.unwrap_or_else(|| "its keys are not there".to_owned()),
            )
        }
        None => Said::reached(Reached::Reachable, ""),
    }
}

fn conclude(mut conditions: Vec<Said>, generation: i64, more: (&'static str, Value)) -> Status {
    conditions.push(Said::ready(&conditions));
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
        let before = before.into_iter().find(|condition| condition["type"] == READY);
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

    /// The patch that brings an object's status there, in the name of a class; `None` where it says this already. A condition keeps the time of
    /// its last transition (Kubernetes API conventions), and a list of conditions is always written whole.
    pub(crate) fn patch(&self, class: &str, current: &Value, now: &str) -> Option<Value> {
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
        status[CLASS] = class.into();
        let (name, value) = &self.more;
        status[*name] = value.clone();
        let is_there = |(name, value): (&String, &Value)| match current.get(name) {
            // Definitions of an older version do not keep it: that is no reason to write for ever.
            None if name == CLASS => true,
            found => found.unwrap_or(&Value::Null) == value,
        };
        let is_same = status.as_object().into_iter().flatten().all(is_there);
        (!is_same).then(|| json!({"status": status}))
    }
}

#[cfg(test)]
mod tests;
