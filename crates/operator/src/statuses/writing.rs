//! Statuses that say something new, on their way to the API server.

use std::time::Instant;

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};
use serde_json::Value;
use splittoken_api::ObjectName;

use super::{Statuses, Told, kind_of, now};
use crate::{
    kinds::Kind,
    metrics::Metrics,
    shortened::shortened,
    status::{Status, of_left},
    world::Object,
    writer::Writer,
};

/// How many are written at once.
const AT_ONCE: usize = 16;

/// A status that says something new.
pub(super) struct News<'k> {
    pub(super) name: &'k ObjectName,
    pub(super) object: &'k Object,
    pub(super) status: Status,
    pub(super) patch: Value,
    /// The object is not ours any more.
    pub(super) is_last: bool,
}

impl Statuses {
    /// Leaves for later what is more than that. Says whether anything is.
    pub(super) fn cut(&self, due: &mut Vec<News<'_>>, at_most: usize) -> bool {
        if due.len() <= at_most {
            return false;
        }
        self.hopeful_first(due);
        due.truncate(at_most);
        true
    }

    /// What failed the last time comes after all that did not, and what failed last comes last.
    pub(super) fn hopeful_first(&self, due: &mut [News<'_>]) {
        due.sort_by_key(|news| self.failed.since(news.name));
    }

    /// Writes statuses, with an Event where an object becomes ready or ceases to be.
    pub(super) async fn write(&mut self, due: Vec<News<'_>>, writer: &Writer, metrics: &Metrics) {
        let recorder = &self.recorder;
        let mut outcomes = stream::iter(due)
            .map(|news| async move {
                let (name, status) = (news.name, &news.patch["status"]);
                let version = news.is_last.then_some(&*news.object.version);
                let outcome = writer.write_status(name, &news.object.uid, version, status).await;
                if matches!(outcome, Ok(true)) {
                    metrics.statuses.inc();
                    if news.status.is_transition_from(&news.object.status()) {
                        publish(recorder, &news).await;
                    }
                }
                (news, outcome)
            })
            .buffer_unordered(AT_ONCE);
        let (mut written, mut failed) = (Vec::new(), Vec::new());
        while let Some((news, outcome)) = outcomes.next().await {
            if outcome.is_ok() {
                metrics.statuses_waiting().dec();
            }
            match outcome {
                Ok(_) if news.is_last => {
                    self.told.remove(news.name);
                    self.failed.forget(news.name);
                }
                Ok(true) => written.push((news.name, news.object.uid.clone(), news.status)),
                // Its watch says what is there instead.
                Ok(false) => self.failed.forget(news.name),
                Err(error) => {
                    // Each object is named once; that it goes on is said of the whole kind.
                    if self.failed.is_known(news.name) {
                        tracing::debug!(error = error.chain(), "left for the next time");
                    } else {
                        tracing::warn!(error = error.chain(), "left for the next time");
                    }
                    metrics.failures.inc();
                    failed.push((news.name, error.is_refusal()));
                }
            }
        }
        drop(outcomes);
        let now = Instant::now();
        for (name, is_refused) in failed {
            self.failed.failed(name, is_refused, now);
        }
        for (name, uid, status) in written {
            self.failed.forget(name);
            let told = Told {
                uid,
                status,
                written: now,
                found: None,
            };
            self.told.insert(name.clone(), told);
        }
    }
}

/// What remains to be said of an object that has left the class, also while no operator ran. Where somebody else has said
/// something since, nothing.
///
/// Whoever says it is named in the status; where that is of an older version, `told` is what this process has said.
pub(super) fn farewell<'k>(
    name: &'k ObjectName,
    object: &'k Object,
    told: Option<&Told>,
    class: &str,
) -> Option<News<'k>> {
    let is_by_us = &*object.told_by == class
        || object.told_by.is_empty() && told.is_some_and(|told| told.uid == object.uid);
    if &*object.class == class || !is_by_us {
        return None;
    }
    let status = of_left(class, object.generation);
    Some(News {
        name,
        object,
        patch: status.patch(class, &object.status(), &now())?,
        status,
        is_last: true,
    })
}

async fn publish(recorder: &Recorder, news: &News<'_>) {
    let News {
        name, object, status, ..
    } = news;
    let (type_, reason, note) = match status.ready() {
        (true, _, _) => (EventType::Normal, "Ready", told_well(name)),
        (false, reason, message) => (EventType::Warning, reason, message.to_owned()),
    };
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(shortened(note)),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    let kind = kind_of(name);
    let reference = ObjectReference {
        api_version: Some(kind.type_meta().0),
        kind: Some(name.kind.clone()),
        namespace: Some(name.namespace.clone()),
        name: Some(name.name.clone()),
        uid: Some(object.uid.clone()),
        ..ObjectReference::default()
    };
    if let Err(error) = recorder.publish(&event, &reference).await {
        // The status says the same.
        tracing::debug!(%error, "an Event could not be written");
    }
}

/// What an Event says of an object that is ready.
fn told_well(name: &ObjectName) -> String {
    let well = if name.kind == Kind::Route.type_meta().1 {
        "served by every gateway pod"
    } else {
        "reached by every gateway pod"
    };
    well.to_owned()
}
