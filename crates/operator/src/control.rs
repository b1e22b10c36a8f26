//! The loop: gather changes, look at the whole set, write what is missing, say how it went.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use kube::Client;
use splittoken_api::{CompileOptions, Compiled, ObjectName, compile};
use splittoken_routing::{RouteName, wire};
use tokio::{
    sync::{mpsc, watch},
    task::block_in_place,
    time::{sleep, sleep_until},
};

use crate::{
    anchor::Owner,
    asking::{Reports, Wanted},
    error::OperatorError,
    failing::Failing,
    kinds::Kind,
    metrics::{Metrics, gauge},
    pods::Pod,
    references::References,
    refusals::Refusals,
    rendered::{Outlines, plan},
    run::SHORTEST_MEMORY,
    settings::Settings,
    statuses::{Known, Statuses},
    term::Leads,
    world::{Change, World},
    writer::Writer,
};

/// Changes that come within this time belong together…
const QUIET: Duration = Duration::from_millis(20);
/// …but nobody waits longer than this.
const PATIENCE: Duration = Duration::from_millis(250);

/// Everything that the loop holds.
pub(crate) struct Control {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    pub(crate) revision_key: [u8; 32],
    pub(crate) writer: Writer,
    pub(crate) statuses: Statuses,
    pub(crate) world: World,
    pub(crate) references: References,
    pub(crate) listed: BTreeSet<Kind>,
    pub(crate) compiled: Compiled,
    /// Something has changed that routes depend on.
    pub(crate) dirty: bool,
    /// Something that routes refer to was read too long ago.
    pub(crate) stale: bool,
    /// Something has changed that any status may depend on.
    pub(crate) news: bool,
    /// Objects whose own status is another than it was, as after each of our own writes.
    pub(crate) touched: BTreeSet<ObjectName>,
    /// Objects of which nothing can be said yet: what they refer to could not be read. They stay as they are.
    pub(crate) held: BTreeSet<ObjectName>,
    /// Writes that failed.
    pub(crate) refusals: Refusals,
    pub(crate) failing: Failing,
    /// When statuses that were put off are due.
    pub(crate) later: Option<Instant>,
    pub(crate) changes: mpsc::Receiver<Change>,
    pub(crate) leads: Leads,
    pub(crate) owns: watch::Receiver<bool>,
    pub(crate) owner: watch::Receiver<Owner>,
    pub(crate) api_server: watch::Receiver<BTreeSet<SocketAddr>>,
    pub(crate) reports: watch::Receiver<Arc<Reports>>,
    pub(crate) pods: watch::Sender<BTreeMap<String, Pod>>,
    pub(crate) wanted: watch::Sender<Arc<Wanted>>,
    pub(crate) outlines: Outlines,
    pub(crate) longest: watch::Sender<Option<Duration>>,
}

impl Control {
    pub(crate) async fn run(mut self) -> Result<(), OperatorError> {
        self.follow_api_server();
        loop {
            self.wait().await;
            if self.listed.len() < Kind::ALL.len() {
                continue;
            }
            self.pods.send_if_modified(|before| {
                let is_new = *before != self.world.pods;
                if is_new {
                    before.clone_from(&self.world.pods);
                }
                is_new
            });
            if std::mem::take(&mut self.stale) && !self.dirty {
                // Most of what is read again is as it was, and then there is nothing to look at.
                self.dirty = self.read_again().await;
            }
            if std::mem::take(&mut self.dirty) {
                self.reconcile().await?;
                self.news = true;
            }
            self.tell().await;
            let failing = self.refusals.failing().chain(self.statuses.failing());
            self.failing.show(failing.collect(), &self.metrics);
        }
    }

    /// Waits until there is something to do, and for what else comes with it.
    async fn wait(&mut self) {
        let never = Instant::now() + Duration::from_secs(3600);
        tokio::select! {
            change = self.changes.recv() => self.take(change),
            Ok(()) = self.reports.changed() => self.news = true,
            // A new leader looks at everything: whoever led before may have left something undone.
            Ok(()) = self.leads.changed() => self.dirty = true,
            // Whoever had the class before said what it knew.
            Ok(()) = self.owns.changed() => self.news = true,
            Ok(()) = self.owner.changed() => self.follow_owner(),
            Ok(()) = self.api_server.changed() => self.follow_api_server(),
            () = sleep_until(self.refusals.due().unwrap_or(never).into()) => self.dirty = true,
            () = sleep_until(self.references.due().unwrap_or(never).into()) => self.stale = true,
            () = sleep_until(self.later.unwrap_or(never).into()) => self.news = true,
        }
        let mut last = pin!(sleep(PATIENCE));
        loop {
            tokio::select! {
                biased;
                () = &mut last => return,
                change = self.changes.recv() => self.take(change),
                () = sleep(QUIET) => return,
            }
        }
    }

    /// What stands in the cluster has the wrong owner now, as far as it stands at all.
    fn follow_owner(&mut self) {
        let owner = self.owner.borrow_and_update().clone();
        if !owner.is_gone() {
            self.writer.belongs_to(owner.anchor().cloned());
            self.world.existing.distrust();
            self.dirty = true;
        }
    }

    /// Every route says where its gateways may not go.
    fn follow_api_server(&mut self) {
        let sockets = self.api_server.borrow_and_update().iter().copied().collect();
        self.settings.installation.api_server.sockets = sockets;
        self.dirty = true;
    }

    fn take(&mut self, change: Option<Change>) {
        let Some(change) = change else { return };
        if let Change::Only(kind, _) = &change {
            self.dirty |= self.listed.insert(*kind);
        }
        let kind = change.kind();
        let object = match &change {
            Change::Put(_, raw) => ObjectName::of(raw),
            _ => None,
        };
        // A change of a route makes all dirty by itself, so that what it leads to now is looked at, too.
        let is_of_use = self.dirty || self.world.is_of_use(&change);
        if self.world.apply(change) {
            self.dirty |= is_of_use;
            self.news |= is_of_use || kind == Kind::Pod;
            // Whoever touches an object expects that what it refers to is looked at.
            if let Some(object) = object.filter(|_| matches!(kind, Kind::Route | Kind::Issuer)) {
                self.references
                    .expire(&self.world.resources.references_of(&object));
                self.refusals.forget(wire::object_name(&RouteName {
                    namespace: object.namespace,
                    name: object.name,
                }));
            }
        } else if let Some(object) = object.filter(|_| matches!(kind, Kind::Route | Kind::Issuer)) {
            self.touched.insert(object);
        }
    }

    /// Reads what routes refer to, as far as that is too old. Says whether anything may come out otherwise than before.
    async fn read_again(&mut self) -> bool {
        let (references, resources) = (&mut self.references, &mut self.world.resources);
        references.refresh(&self.client, &self.settings, resources).await
    }

    /// Looks at the whole set and, as a leader, writes what is missing.
    async fn reconcile(&mut self) -> Result<(), OperatorError> {
        let start = Instant::now();
        self.read_again().await;
        self.held = self.world.resources.dependents(&self.references.unknown());
        self.compiled = block_in_place(|| {
            let options = CompileOptions {
                class: Some(&self.settings.class),
                installation: &self.settings.installation,
                services: &self.world.services,
                grants: &self.world.grants,
                revision_key: &self.revision_key,
            };
            compile(&self.world.resources, &options)
        });
        let routes = &self.compiled.routes;
        if self.leads.now() && !self.owner.borrow().is_gone() {
            let mut plan = block_in_place(|| plan(routes, &mut self.outlines, &self.world.existing))?;
            plan.spare(&self.held);
            self.refusals.hold_back(&mut plan, start);
            let waiting = self.metrics.objects_waiting();
            waiting.set(gauge(plan.writes()));
            let written = self
                .writer
                .carry_out(&plan, &mut self.world.existing, &waiting)
                .await;
            self.metrics
                .writes
                .inc_by((written.applied + written.deleted) as u64);
            let failed = written.failed.len();
            self.metrics.failures.inc_by(failed as u64);
            self.refusals.settle(written.failed, start);
            if written.applied + written.deleted > 0 {
                tracing::info!(
                    routes = routes.len(),
                    applied = written.applied,
                    deleted = written.deleted,
                    failed,
                    "routes rendered"
                );
            }
        } else {
            self.refusals = Refusals::default();
        }
        self.want();
        let lives = routes.iter().map(|route| route.config.issuer.lifetime.max);
        let longest = lives.max().unwrap_or_default().max(SHORTEST_MEMORY);
        // A route of which nothing can be said is still served, and how long its tokens live is not known.
        self.longest.send_replace(self.held.is_empty().then_some(longest));
        self.metrics.routes.set(gauge(routes.len()));
        self.metrics.reconciles.inc();
        self.metrics.duration.observe(start.elapsed().as_secs_f64());
        Ok(())
    }

    /// Tells whoever asks the pods what they are to serve, if that is news: what stands there for them.
    fn want(&self) {
        let standing = self.world.existing.revisions();
        let digest = wire::digest(standing.iter().map(|(route, revision)| (route, *revision)));
        if self.wanted.borrow().digest == digest {
            return;
        }
        let revisions = standing
            .into_iter()
            .map(|(route, revision)| (route.to_string(), revision.to_owned()));
        self.wanted.send_replace(Arc::new(Wanted {
            digest,
            revisions: Arc::new(revisions.collect()),
            since: Instant::now(),
        }));
    }

    /// Brings every status up to date with what is known.
    async fn tell(&mut self) {
        let is_all = std::mem::take(&mut self.news) || self.reports.has_changed().unwrap_or(false);
        let touched = std::mem::take(&mut self.touched);
        if !is_all && touched.is_empty() {
            return;
        }
        let reports = Arc::clone(&self.reports.borrow_and_update());
        let digest = self.wanted.borrow().digest.clone();
        let agreeing = reports
            .values()
            .flatten()
            .filter(|report| report.digest == digest)
            .count();
        self.metrics.pods.set(gauge(self.world.pods.len()));
        self.metrics.pods_programmed.set(gauge(agreeing));
        self.metrics.leads.set(i64::from(self.leads.now()));
        if reports.is_empty() && !self.world.pods.is_empty() {
            // They were not asked yet: nothing is known of them, least of all that there are none.
            self.later = None;
            return;
        }
        let writer = self.writer.writes_statuses().then_some(&self.writer);
        let later = self
            .statuses
            .bring_up_to_date(
                &Known {
                    compiled: &self.compiled,
                    objects: &self.world.objects,
                    held: &self.held,
                    reports: &reports,
                    refusals: &self.refusals,
                    only: (!is_all).then_some(&touched),
                },
                writer,
                &self.metrics,
            )
            .await;
        // What was put off before is still due then.
        let before = self.later.filter(|_| !is_all);
        self.later = later.into_iter().chain(before).min();
    }
}
