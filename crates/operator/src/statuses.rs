//! The statuses of all objects: worked out together, written one by one where they say something new.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use splittoken_api::{Compiled, ObjectName, Verdict};
use splittoken_routing::{CompiledRoute, Hostname};

use crate::{
    asking::Reports,
    kinds::Kind,
    metrics::{ConditionLabels, Metrics},
    pods::IssuerReport,
    programmed::{Programmed, programmed},
    status::{Status, of_issuer, of_route},
    world::Object,
    writer::Writer,
};

/// Pods take a new revision over within milliseconds: for so long nobody needs to know that they have not yet.
const SETTLING: Duration = Duration::from_secs(1);
/// At most one write of a count of pods in so long.
const COUNTS: Duration = Duration::from_secs(5);
/// The controller's name in Events.
const CONTROLLER: &str = "splittoken-operator";

/// What was said of each object, and when.
pub(crate) struct Statuses {
    recorder: Recorder,
    told: BTreeMap<ObjectName, Told>,
    /// Since when each route has its revision.
    revisions: BTreeMap<ObjectName, (String, Instant)>,
}

struct Told {
    status: Status,
    written: Instant,
}

impl Statuses {
    pub(crate) fn new(client: &Client, identity: &str) -> Self {
        let reporter = Reporter {
            controller: CONTROLLER.to_owned(),
            instance: Some(identity.to_owned()),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            told: BTreeMap::new(),
            revisions: BTreeMap::new(),
        }
    }

    /// Works out all statuses and, with a writer, writes those that say something new. Gives when to come back for what
    /// was put off.
    pub(crate) async fn bring_up_to_date(
        &mut self,
        compiled: &Compiled,
        objects: &BTreeMap<ObjectName, Object>,
        reports: &Reports,
        writer: Option<&Writer>,
        metrics: &Metrics,
    ) -> Option<Instant> {
        let routes: BTreeMap<String, &CompiledRoute> = compiled
            .routes
            .iter()
            .map(|route| (route.config.name.to_string(), route))
            .collect();
        let attached = attached(&compiled.routes);
        let issuers = by_issuer(reports);
        self.told.retain(|name, _| objects.contains_key(name));
        self.revisions.retain(|name, _| objects.contains_key(name));
        metrics.conditions.clear();
        let mut later = None;
        for verdict in &compiled.verdicts {
            let name = &verdict.object;
            let Some(object) = objects.get(name) else { continue };
            let (status, settles) = if name.kind == Kind::Route.type_meta().1 {
                self.route(
                    verdict,
                    object,
                    routes.get(&format!("{}/{}", name.namespace, name.name)),
                    reports,
                )
            } else {
                let key = name.to_string();
                let reports = issuers.get(key.as_str()).map_or(&[][..], Vec::as_slice);
                let attached = attached.get(key.as_str()).copied().unwrap_or_default();
                (of_issuer(verdict, object.generation, reports, attached), None)
            };
            count(metrics, name, &status);
            let due = settles.or_else(|| self.is_too_soon(name, &status));
            match (due, writer) {
                (Some(due), _) => later = Some(later.map_or(due, |later: Instant| later.min(due))),
                (None, Some(writer)) => {
                    if !self.write(name, object, status, writer, metrics).await {
                        later = Some(Instant::now() + COUNTS);
                    }
                }
                (None, None) => {}
            }
        }
        later
    }

    /// The status of a route and, while its pods are still taking it over, until when that is nobody's business.
    fn route(
        &mut self,
        verdict: &Verdict,
        object: &Object,
        route: Option<&&CompiledRoute>,
        reports: &Reports,
    ) -> (Status, Option<Instant>) {
        let Some(route) = route else {
            self.revisions.remove(&verdict.object);
            return (of_route(verdict, object.generation, None, None), None);
        };
        let since = self
            .revisions
            .entry(verdict.object.clone())
            .or_insert_with(|| (String::new(), Instant::now()));
        if since.0 != route.revision {
            *since = (route.revision.clone(), Instant::now());
        }
        let settled = since.1 + SETTLING;
        let name = route.config.name.to_string();
        let programmed = programmed(&name, &route.revision, reports);
        let is_settling = matches!(programmed, Programmed::Pending(..)) && Instant::now() < settled;
        let status = of_route(
            verdict,
            object.generation,
            Some(&programmed),
            token_endpoint(route).as_deref(),
        );
        (status, is_settling.then_some(settled))
    }

    /// Where only a count of pods would change: when it may be written.
    fn is_too_soon(&self, name: &ObjectName, status: &Status) -> Option<Instant> {
        let told = self.told.get(name)?;
        let due = told.written + COUNTS;
        let only_counts = !status.says_the_same(&told.status) && status.has_the_reasons_of(&told.status);
        (only_counts && Instant::now() < due).then_some(due)
    }

    /// Writes a status that says something new, with an Event where the object becomes ready or ceases to be. Whether
    /// there is nothing left to do.
    async fn write(
        &mut self,
        name: &ObjectName,
        object: &Object,
        status: Status,
        writer: &Writer,
        metrics: &Metrics,
    ) -> bool {
        let now = Timestamp::from_second(Timestamp::now().as_second())
            .unwrap_or_default()
            .to_string();
        let Some(patch) = status.patch(&object.status, &now) else {
            self.remember(name, status);
            return true;
        };
        // Until the watch brings our own write back, it looks as if it were not there.
        if self
            .told
            .get(name)
            .is_some_and(|told| told.status == status && told.written.elapsed() < COUNTS)
        {
            return true;
        }
        if let Err(error) = writer.write_status(name, &patch).await {
            tracing::warn!(error = error.chain(), "left for the next time");
            metrics.failures.inc();
            return false;
        }
        metrics.statuses.inc();
        if status.is_transition_from(&object.status) {
            self.publish(name, object, &status).await;
        }
        self.remember(name, status);
        true
    }

    fn remember(&mut self, name: &ObjectName, status: Status) {
        let written = Instant::now();
        match self.told.get_mut(name) {
            Some(told) if told.status == status => {}
            _ => drop(self.told.insert(name.clone(), Told { status, written })),
        }
    }

    async fn publish(&self, name: &ObjectName, object: &Object, status: &Status) {
        let (type_, reason, note) = match status.ready() {
            (true, _, _) => (
                EventType::Normal,
                "Ready",
                "served by every gateway pod".to_owned(),
            ),
            (false, reason, message) => (EventType::Warning, reason, message.to_owned()),
        };
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(shortened(note)),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let kind = if name.kind == Kind::Route.type_meta().1 {
            Kind::Route
        } else {
            Kind::Issuer
        };
        let reference = ObjectReference {
            api_version: Some(kind.type_meta().0),
            kind: Some(name.kind.clone()),
            namespace: Some(name.namespace.clone()),
            name: Some(name.name.clone()),
            uid: Some(object.uid.clone()),
            ..ObjectReference::default()
        };
        if let Err(error) = self.recorder.publish(&event, &reference).await {
            // The status says the same.
            tracing::debug!(%error, "an Event could not be written");
        }
    }
}

/// How many routes use each shared issuer.
fn attached(routes: &[CompiledRoute]) -> BTreeMap<&str, usize> {
    let mut attached = BTreeMap::new();
    for route in routes {
        *attached.entry(route.config.issuer.name.as_str()).or_default() += 1;
    }
    attached
}

fn by_issuer(reports: &Reports) -> BTreeMap<&str, Vec<&IssuerReport>> {
    let mut issuers: BTreeMap<&str, Vec<&IssuerReport>> = BTreeMap::new();
    for (name, report) in reports.values().flatten().flat_map(|report| &report.issuers) {
        issuers.entry(name).or_default().push(report);
    }
    issuers
}

fn count(metrics: &Metrics, name: &ObjectName, status: &Status) {
    for (condition, _, reason, _) in status.reasons() {
        let labels = ConditionLabels {
            kind: name.kind.clone(),
            condition,
            reason,
        };
        metrics.conditions.get_or_create(&labels).inc();
    }
}

/// The URL to give to clients. Which scheme they use is known to whoever runs the gateway; it should be this one.
fn token_endpoint(route: &CompiledRoute) -> Option<String> {
    let endpoint = route.config.token_endpoint.as_ref()?;
    let host = route
        .config
        .hostnames
        .iter()
        .find_map(|hostname| match hostname {
            Hostname::Exact(host) => Some(host),
            Hostname::Wildcard(_) => None,
        })?;
    Some(format!("https://{host}{}", endpoint.path))
}

/// The API server takes notes of at most 1024 bytes.
fn shortened(mut note: String) -> String {
    const MOST: usize = 1000;
    if note.len() > MOST {
        let end = (0..=MOST)
            .rev()
            .find(|end| note.is_char_boundary(*end))
            .unwrap_or_default();
        note.truncate(end);
        note.push('…');
    }
    note
}
