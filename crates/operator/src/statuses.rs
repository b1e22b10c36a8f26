//! The statuses of all objects: worked out together, written one by one where they say something new.

mod counts;
mod writing;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;
use kube::{
    Client,
    runtime::events::{Recorder, Reporter},
};
use splittoken_api::{Compiled, ObjectName, Verdict};
use splittoken_routing::{CompiledRoute, Hostname, RouteName, wire};

use self::{
    counts::{count, show},
    writing::{News, farewell},
};
use crate::{
    asking::Reports,
    failing::Attempt,
    kinds::Kind,
    metrics::{Metrics, gauge},
    pods::IssuerReport,
    programmed::{Fleet, Programmed, programmed},
    refusals::Refusals,
    retries::Retries,
    status::{Status, of_issuer, of_route},
    world::{Object, hash},
    writer::Writer,
};

/// Pods take a new revision over within milliseconds: for so long nobody needs to know that they have not yet.
const SETTLING: Duration = Duration::from_secs(1);
/// At most one write of a count of pods in so long.
const COUNTS: Duration = Duration::from_secs(5);
/// How many are written before changes are looked at again: an edit does not wait for the statuses of ten thousand routes.
const AT_A_TIME: usize = 500;
/// How many while routes wait to be written, which comes first.
const BESIDE: usize = 20;
/// The controller's name in Events.
pub(crate) const CONTROLLER: &str = "splittoken-operator";

/// What was said of each object, and when.
pub(crate) struct Statuses {
    class: String,
    recorder: Recorder,
    told: BTreeMap<ObjectName, Told>,
    /// Since when each object has its form: a route its revision.
    since: BTreeMap<ObjectName, (String, Instant)>,
    /// Writes that failed the last time.
    failed: Retries,
}

struct Told {
    /// Of which object: another one may come under its name.
    uid: String,
    status: Status,
    written: Instant,
    /// Stands for the object's own status that was found to say the same: while neither changes, nothing is compared.
    found: Option<u64>,
}

/// What statuses are made from.
pub(crate) struct Known<'k> {
    pub(crate) compiled: &'k Compiled,
    pub(crate) objects: &'k BTreeMap<ObjectName, Object>,
    /// Objects of which nothing can be said for now.
    pub(crate) held: &'k BTreeSet<ObjectName>,
    pub(crate) reports: &'k Reports,
    pub(crate) refusals: &'k Refusals,
    /// Routes that are not written yet, because their turn has not come.
    pub(crate) waiting: &'k BTreeSet<RouteName>,
    /// The only objects of which anything can have changed, where that is known.
    pub(crate) only: Option<&'k BTreeSet<ObjectName>>,
}

impl Known<'_> {
    fn concerns(&self, name: &ObjectName) -> bool {
        self.only.is_none_or(|only| only.contains(name))
    }
}

/// What is to be done about a status.
enum Task<'k> {
    Nothing,
    Later(Instant),
    Write(News<'k>),
}

impl Statuses {
    pub(crate) fn new(client: &Client, class: &str, identity: &str) -> Self {
        let reporter = Reporter {
            controller: CONTROLLER.to_owned(),
            instance: Some(identity.to_owned()),
        };
        Self {
            class: class.to_owned(),
            recorder: Recorder::new(client.clone(), reporter),
            told: BTreeMap::new(),
            since: BTreeMap::new(),
            failed: Retries::default(),
        }
    }

    /// The kinds of objects of which a status could not be written the last time.
    pub(crate) fn failing(&self) -> impl Iterator<Item = Attempt> {
        self.failed.names().map(|name| (kind_of(name), "patch status"))
    }

    /// When the next status that failed is tried again.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.failed.next()
    }

    /// The objects whose statuses are tried again now.
    pub(crate) fn retried(&mut self, now: Instant) -> BTreeSet<ObjectName> {
        self.failed.due(now)
    }

    /// Somebody has changed an object: its status is tried at once.
    pub(crate) fn forget_failure(&mut self, name: &ObjectName) {
        self.failed.forget(name);
    }

    /// Works out all statuses and, with a writer, writes those that say something new. Gives when to come back for what
    /// was put off. Without a writer somebody else speaks: what was said here before does not count any more.
    pub(crate) async fn bring_up_to_date(
        &mut self,
        known: &Known<'_>,
        writer: Option<&Writer>,
        metrics: &Metrics,
    ) -> Option<Instant> {
        let &Known {
            compiled,
            objects,
            held,
            reports,
            refusals,
            waiting,
            only,
        } = known;
        let routes: HashMap<(&str, &str), &CompiledRoute> = compiled
            .routes
            .iter()
            .map(|route| {
                let name = &route.config.name;
                ((name.namespace.as_str(), name.name.as_str()), route)
            })
            .collect();
        if writer.is_none() {
            self.told.clear();
            self.failed.clear();
        }
        let fleet = Fleet::of(reports);
        let attached = attached(&compiled.routes);
        let issuers = by_issuer(reports);
        if only.is_none() {
            self.told.retain(|name, _| objects.contains_key(name));
            self.since.retain(|name, _| objects.contains_key(name));
            let class = self.class.as_str();
            let is_ours = |object: &Object| &*object.class == class || &*object.told_by == class;
            self.failed.keep(|name| objects.get(name).is_some_and(is_ours));
        }
        let mut counts = BTreeMap::new();
        let mut later = Vec::new();
        let mut due = Vec::new();
        let verdicts = compiled.verdicts.iter();
        for verdict in verdicts.filter(|verdict| known.concerns(&verdict.object)) {
            let name = &verdict.object;
            let Some(object) = objects.get(name).filter(|_| !held.contains(name)) else {
                continue;
            };
            let (status, settles) = if name.kind == Kind::Route.type_meta().1 {
                let route = routes.get(&(name.namespace.as_str(), name.name.as_str()));
                let (status, settles) = self.route(verdict, object, route.copied(), &fleet, refusals);
                let waits = route.is_some_and(|route| waiting.contains(&route.config.name));
                // The moment in which nobody needs to know begins with its turn.
                (
                    status,
                    if waits {
                        Some(self.settles_anew(name))
                    } else {
                        settles
                    },
                )
            } else {
                let key = name.to_string();
                let reports = issuers.get(key.as_str()).map_or(&[][..], Vec::as_slice);
                let attached = attached.get(key.as_str()).copied().unwrap_or_default();
                self.issuer(verdict, object, reports, attached)
            };
            count(&mut counts, name, &status);
            if let Some(at) = settles {
                later.push(at);
            } else if writer.is_some() {
                match self.task(name, object, status) {
                    Task::Nothing => {}
                    Task::Later(at) => later.push(at),
                    Task::Write(news) => due.push(news),
                }
            }
        }
        if only.is_none() {
            show(metrics, counts);
        }
        if writer.is_some() {
            let failed = &self.failed;
            let concerned = objects
                .iter()
                .filter(|(name, _)| known.concerns(name) && !failed.waits(name));
            due.extend(
                concerned
                    .filter_map(|(name, object)| farewell(name, object, self.told.get(name), &self.class)),
            );
        }
        metrics.statuses_waiting().set(gauge(due.len()));
        if let Some(writer) = writer {
            if self.cut(&mut due, if waiting.is_empty() { AT_A_TIME } else { BESIDE }) {
                later.push(Instant::now());
            }
            self.write(due, writer, metrics).await;
        }
        later.into_iter().min()
    }

    /// The status of a route and, while its pods are still taking it over, until when that is nobody's business.
    fn route(
        &mut self,
        verdict: &Verdict,
        object: &Object,
        route: Option<&CompiledRoute>,
        fleet: &Fleet<'_>,
        refusals: &Refusals,
    ) -> (Status, Option<Instant>) {
        let Some(route) = route else {
            self.since.remove(&verdict.object);
            return (of_route(verdict, object.generation, None, None), None);
        };
        let settled = self.settled(&verdict.object, &route.revision);
        let name = &route.config.name;
        let object_name = || wire::object_name(name);
        let programmed = match refusals.of(object_name, &route.revision) {
            Some(message) => Programmed::NotWritten(message.to_owned()),
            None => programmed(&name.to_string(), object_name, &route.revision, fleet),
        };
        let is_settling = matches!(programmed, Programmed::Pending(..)) && Instant::now() < settled;
        let status = of_route(
            verdict,
            object.generation,
            Some(&programmed),
            token_endpoint(route).as_deref(),
        );
        (status, is_settling.then_some(settled))
    }

    /// The status of an issuer and, while pods are asking it for the first time, until when that is nobody's business.
    fn issuer(
        &mut self,
        verdict: &Verdict,
        object: &Object,
        reports: &[&IssuerReport],
        attached: usize,
    ) -> (Status, Option<Instant>) {
        let form = format!("{} {}", object.generation, attached > 0);
        let settled = self.settled(&verdict.object, &form);
        let is_settling = attached > 0 && reports.is_empty() && Instant::now() < settled;
        let status = of_issuer(verdict, object.generation, reports, attached);
        (status, is_settling.then_some(settled))
    }

    /// Until when an object may still be settling that has this form.
    fn settled(&mut self, name: &ObjectName, form: &str) -> Instant {
        match self.since.get(name) {
            Some((known, since)) if known == form => *since + SETTLING,
            _ => {
                let now = Instant::now();
                self.since.insert(name.clone(), (form.to_owned(), now));
                now + SETTLING
            }
        }
    }

    /// Until when an object is settling whose form is not there for any pod yet.
    fn settles_anew(&mut self, name: &ObjectName) -> Instant {
        self.since.remove(name);
        Instant::now() + SETTLING
    }

    /// Where only a count of pods would change: when it may be written.
    fn is_too_soon(&self, name: &ObjectName, status: &Status) -> Option<Instant> {
        let told = self.told.get(name)?;
        let due = told.written + COUNTS;
        let only_counts = !status.says_the_same(&told.status) && status.has_the_reasons_of(&told.status);
        (only_counts && Instant::now() < due).then_some(due)
    }

    fn task<'k>(&mut self, name: &'k ObjectName, object: &'k Object, status: Status) -> Task<'k> {
        if self.told.get(name).is_some_and(|told| told.uid != object.uid) {
            self.told.remove(name);
        }
        let found = hash(&object.status);
        let is_known = |told: &Told| told.found == Some(found) && told.status == status;
        if self.told.get(name).is_some_and(is_known) {
            self.failed.forget(name);
            return Task::Nothing;
        }
        if let Some(at) = self.is_too_soon(name, &status) {
            return Task::Later(at);
        }
        // As many as fail would keep all others from being written. Its time comes, and brings nobody else along.
        if self.failed.waits(name) {
            return Task::Nothing;
        }
        let Some(patch) = status.patch(&self.class, &object.status(), &now()) else {
            self.remember(name, &object.uid, status, found);
            self.failed.forget(name);
            return Task::Nothing;
        };
        // Until the watch brings our own write back, it looks as if it were not there.
        let ours = self.told.get(name).filter(|told| told.status == status);
        match ours.map(|told| told.written + COUNTS) {
            Some(at) if Instant::now() < at => Task::Later(at),
            _ => Task::Write(News {
                name,
                object,
                status,
                patch,
                is_last: false,
            }),
        }
    }

    fn remember(&mut self, name: &ObjectName, uid: &str, status: Status, found: u64) {
        let before = self.told.get(name).filter(|told| told.status == status);
        let told = Told {
            uid: uid.to_owned(),
            written: before.map_or_else(Instant::now, |told| told.written),
            status,
            found: Some(found),
        };
        self.told.insert(name.clone(), told);
    }
}

fn now() -> String {
    Timestamp::from_second(Timestamp::now().as_second())
        .unwrap_or_default()
        .to_string()
}

fn kind_of(name: &ObjectName) -> Kind {
    if name.kind == Kind::Route.type_meta().1 {
        Kind::Route
    } else {
        Kind::Issuer
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
    for (name, report) in reports
        .values()
        .flatten()
        .flat_map(|report| &report.issuers.asked)
    {
        issuers.entry(name).or_default().push(report);
    }
    issuers
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

#[cfg(test)]
mod tests;
