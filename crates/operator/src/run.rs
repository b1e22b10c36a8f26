//! The loop: gather changes, look at the whole set, write what is missing, say how it went.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use kube::Client;
use prometheus_client::registry::Registry;
use splittoken_api::{CompileOptions, Compiled, ObjectName, compile};
use splittoken_routing::wire;
use splittoken_runtime::{Readiness, ReadyGuard};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinError, block_in_place},
    time::{sleep, sleep_until},
};

use crate::{
    anchor::{self, Anchor, Owner},
    asking::{self, Reports, Wanted},
    bootstrap::Bootstrap,
    custody::{Custody, Held},
    error::{OperatorError, in_full},
    keyring::Keeper,
    kinds::Kind,
    lease::Elector,
    metrics::Metrics,
    pods::{Asker, Pod},
    references::References,
    rendered::{Frame, Outlines, plan},
    settings::Settings,
    statuses::{Known, Statuses},
    watches,
    world::{Change, World},
    writer::Writer,
};

/// Changes that come within this time belong together…
const QUIET: Duration = Duration::from_millis(20);
/// …but nobody waits longer than this.
const PATIENCE: Duration = Duration::from_millis(250);
/// Until what failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// An old key of the keyring is kept at least as long as issuers let tokens live by default: routes that are gone now
/// may have left some.
const SHORTEST_MEMORY: Duration = Duration::from_secs(24 * 3600);
/// Changes on their way from the watches.
const QUEUE: usize = 256;

/// An operator that is about to run.
pub struct Operator {
    client: Client,
    namespace: String,
    settings: Settings,
    readiness: Readiness,
    /// Says what is done, one thing after another, until the watches say what else is missing: in no moment between two
    /// of them is the process ready.
    starting: ReadyGuard,
    metrics: Metrics,
}

impl Operator {
    /// How the API server is reached is taken from the pod, or from a kubeconfig outside of one. Nothing is asked yet.
    pub async fn new(
        settings: Settings,
        readiness: Readiness,
        registry: &mut Registry,
    ) -> Result<Self, OperatorError> {
        let client = Client::try_default().await.map_err(OperatorError::Client)?;
        let namespace = settings.namespace.clone();
        Ok(Self {
            namespace: namespace.unwrap_or_else(|| client.default_namespace().to_owned()),
            client,
            settings,
            starting: readiness.guard("starting"),
            readiness,
            metrics: Metrics::new(registry),
        })
    }

    /// Runs until `stop` completes, or the lease is lost.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), OperatorError> {
        let mut stop = pin!(stop);
        let owner = tokio::select! {
            owner = self.owner() => owner,
            () = &mut stop => return Ok(()),
        };
        let (owner, owner_seen) = watch::channel(owner);
        let (leads, is_leader) = watch::channel(false);
        let elector = Elector::new(
            self.client.clone(),
            &self.namespace,
            &self.settings.class,
            &self.settings.identity,
            owner_seen.clone(),
            self.readiness.guard("the lease was not looked at yet"),
        );
        // A task of its own: one look at ten thousand routes must not keep it from renewing.
        let (ask, asked) = oneshot::channel::<()>();
        let mut election = tokio::spawn(elector.run(leads, async {
            // That nobody can ask any more is as good.
            let _ = asked.await;
        }));
        tokio::select! {
            ended = &mut election => return joined(ended),
            ended = self.control(is_leader, owner, owner_seen) => {
                election.abort();
                return ended;
            }
            () = &mut stop => {}
        }
        // Nothing is written any more: another may begin.
        let _ = ask.send(());
        joined(election.await)
    }

    /// What everything that is made here goes with.
    async fn owner(&self) -> Owner {
        let Some(name) = self.settings.anchor.as_deref() else {
            return Owner::Nobody;
        };
        let find = || Anchor::find(&self.client, &self.namespace, name);
        Owner::Anchor(self.patiently("the anchor", find).await)
    }

    async fn control(
        self,
        leads: watch::Receiver<bool>,
        owner: watch::Sender<Owner>,
        owner_seen: watch::Receiver<Owner>,
    ) -> Result<(), OperatorError> {
        let (send, changes) = mpsc::channel(QUEUE);
        watches::start(
            &self.client,
            &self.namespace,
            &self.settings,
            &self.readiness,
            &send,
        );
        let first = owner_seen.borrow().anchor().cloned();
        let (revision_key, held) = self.secrets(first.as_ref()).await;
        drop(self.starting);
        let following = anchor::follow(
            self.client.clone(),
            self.namespace.clone(),
            self.readiness.clone(),
            owner,
        );
        tokio::spawn(following);
        let custody = Custody {
            client: self.client.clone(),
            namespace: self.namespace.clone(),
            identity: self.settings.identity.clone(),
            leads: leads.clone(),
            owner: owner_seen.clone(),
            held,
        };
        tokio::spawn(custody.run());
        let frame = Frame {
            class: self.settings.class.clone(),
            namespace: self.namespace.clone(),
            owner: first,
        };
        let (pods, pods_seen) = watch::channel(BTreeMap::new());
        let (wanted, wanted_seen) = watch::channel(Arc::new(Wanted::nothing()));
        let (reports, reports_seen) = watch::channel(Arc::default());
        let (longest, longest_seen) = watch::channel(SHORTEST_MEMORY);
        if let Some(name) = self.settings.keyring_secret.clone() {
            let keeper = Keeper {
                client: self.client.clone(),
                namespace: self.namespace.clone(),
                name,
                leads: leads.clone(),
                reports: reports_seen.clone(),
                longest: longest_seen,
            };
            tokio::spawn(keeper.run());
        }
        let asker = Asker::new(self.settings.gateway_admin_port)?;
        tokio::spawn(asking::run(asker, pods_seen, wanted_seen, reports));
        Control {
            writer: Writer::new(self.client.clone(), frame),
            statuses: Statuses::new(&self.client, &self.settings.identity),
            client: self.client,
            settings: self.settings,
            metrics: self.metrics,
            revision_key,
            world: World::default(),
            references: References::default(),
            listed: BTreeSet::new(),
            compiled: Compiled::default(),
            held: BTreeSet::new(),
            dirty: false,
            retry: None,
            later: None,
            changes,
            leads,
            owner: owner_seen,
            reports: reports_seen,
            pods,
            wanted,
            outlines: Outlines::default(),
            longest,
        }
        .run()
        .await
    }

    /// Makes the Secrets that are not there. Gives the key of revisions, and what all of them hold.
    async fn secrets(&self, owner: Option<&Anchor>) -> ([u8; 32], Vec<Held>) {
        let settings = &self.settings;
        let bootstrap = Bootstrap {
            client: &self.client,
            namespace: &self.namespace,
            owner,
        };
        let (revision_key, key) = self
            .patiently("the key of revisions", || bootstrap.revision_key(&settings.class))
            .await;
        let mut held = vec![key];
        if let Some(name) = &settings.keyring_secret {
            let owner = owner.filter(|_| !settings.keep_keyring);
            let made = || Bootstrap { owner, ..bootstrap }.keyring(name);
            held.push(self.patiently("the keyring", made).await);
        }
        if let Some(secret) = &settings.store_secret {
            let made = || bootstrap.store(secret);
            held.push(self.patiently("the password of the store", made).await);
        }
        (revision_key, held)
    }

    /// Tries until it works: what is missing may come. Until then the process is not ready, and says why.
    async fn patiently<T, F: Future<Output = Result<T, OperatorError>>>(
        &self,
        what: &str,
        attempt: impl Fn() -> F,
    ) -> T {
        let guard = self.readiness.guard(what);
        loop {
            match attempt().await {
                Ok(value) => return value,
                Err(error) => {
                    guard.explain(format!("{what}: {}", in_full(&error)));
                    tracing::warn!(error = error.chain(), "{what} is not there: trying again");
                    sleep(AGAIN).await;
                }
            }
        }
    }
}

/// What a task gave; its panic goes on here.
fn joined<T>(outcome: Result<T, JoinError>) -> T {
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Everything that the loop holds.
struct Control {
    client: Client,
    settings: Settings,
    metrics: Metrics,
    revision_key: [u8; 32],
    writer: Writer,
    statuses: Statuses,
    world: World,
    references: References,
    listed: BTreeSet<Kind>,
    compiled: Compiled,
    /// Something has changed that routes depend on.
    dirty: bool,
    /// Objects of which nothing can be said yet: what they refer to could not be read. They stay as they are.
    held: BTreeSet<ObjectName>,
    /// When writes that failed are tried again.
    retry: Option<Instant>,
    /// When statuses that were put off are due.
    later: Option<Instant>,
    changes: mpsc::Receiver<Change>,
    leads: watch::Receiver<bool>,
    owner: watch::Receiver<Owner>,
    reports: watch::Receiver<Arc<Reports>>,
    pods: watch::Sender<BTreeMap<String, Pod>>,
    wanted: watch::Sender<Arc<Wanted>>,
    outlines: Outlines,
    longest: watch::Sender<Duration>,
}

impl Control {
    async fn run(mut self) -> Result<(), OperatorError> {
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
            if std::mem::take(&mut self.dirty) {
                self.reconcile().await?;
            }
            self.tell().await;
        }
    }

    /// Waits until there is something to do, and for what else comes with it.
    async fn wait(&mut self) {
        let never = Instant::now() + Duration::from_secs(3600);
        let again = [self.retry, self.references.due()].into_iter().flatten().min();
        tokio::select! {
            change = self.changes.recv() => self.take(change),
            _ = self.reports.changed() => {}
            // A new leader looks at everything: whoever led before may have left something undone.
            _ = self.leads.changed() => self.dirty = true,
            Ok(()) = self.owner.changed() => self.follow_owner(),
            () = sleep_until(again.unwrap_or(never).into()) => self.dirty = true,
            () = sleep_until(self.later.unwrap_or(never).into()) => {}
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
        if self.world.apply(change) {
            // Pods serve routes, but no route depends on them.
            self.dirty |= kind != Kind::Pod;
            // Whoever touches an object expects that what it refers to is looked at.
            if let Some(object) = object.filter(|_| matches!(kind, Kind::Route | Kind::Issuer)) {
                self.references
                    .expire(&self.world.resources.references_of(&object));
            }
        }
    }

    /// Looks at the whole set and, as a leader, writes what is missing.
    async fn reconcile(&mut self) -> Result<(), OperatorError> {
        let start = Instant::now();
        self.retry = None;
        self.references
            .refresh(&self.client, &self.settings.class, &mut self.world.resources)
            .await;
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
        let digest = wire::digest(
            routes
                .iter()
                .map(|route| (&route.config.name, route.revision.as_str())),
        );
        if *self.leads.borrow() && !self.owner.borrow().is_gone() {
            let mut plan = block_in_place(|| plan(routes, &mut self.outlines, &self.world.existing))?;
            plan.spare(&self.held);
            let written = self.writer.carry_out(&plan, &mut self.world.existing).await;
            self.metrics
                .writes
                .inc_by((written.applied + written.deleted) as u64);
            self.metrics.failures.inc_by(written.failed as u64);
            if written.failed > 0 {
                self.retry = Some(Instant::now() + AGAIN);
            }
            if written.applied + written.deleted > 0 {
                tracing::info!(
                    routes = routes.len(),
                    applied = written.applied,
                    deleted = written.deleted,
                    failed = written.failed,
                    "routes rendered"
                );
            }
        }
        self.want(digest);
        let lives = routes.iter().map(|route| route.config.issuer.lifetime.max);
        self.longest
            .send_replace(lives.max().unwrap_or_default().max(SHORTEST_MEMORY));
        self.metrics
            .routes
            .set(i64::try_from(routes.len()).unwrap_or(i64::MAX));
        self.metrics.reconciles.inc();
        self.metrics.duration.observe(start.elapsed().as_secs_f64());
        Ok(())
    }

    /// Tells whoever asks the pods what they are to serve, if that is news.
    fn want(&self, digest: String) {
        if self.wanted.borrow().digest == digest {
            return;
        }
        let routes = self.compiled.routes.iter();
        let revisions = routes.map(|route| (route.config.name.to_string(), route.revision.clone()));
        self.wanted.send_replace(Arc::new(Wanted {
            digest,
            revisions: Arc::new(revisions.collect()),
            since: Instant::now(),
        }));
    }

    /// Brings every status up to date with what is known.
    async fn tell(&mut self) {
        let reports = Arc::clone(&self.reports.borrow_and_update());
        let digest = self.wanted.borrow().digest.clone();
        let agreeing = reports
            .values()
            .flatten()
            .filter(|report| report.digest == digest)
            .count();
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.pods.set(gauge(self.world.pods.len()));
        self.metrics.pods_programmed.set(gauge(agreeing));
        let leads = *self.leads.borrow();
        self.metrics.leads.set(i64::from(leads));
        if reports.is_empty() && !self.world.pods.is_empty() {
            // They were not asked yet: nothing is known of them, least of all that there are none.
            self.later = None;
            return;
        }
        let writer = leads.then_some(&self.writer);
        self.later = self
            .statuses
            .bring_up_to_date(
                &Known {
                    compiled: &self.compiled,
                    objects: &self.world.objects,
                    held: &self.held,
                    reports: &reports,
                },
                writer,
                &self.metrics,
            )
            .await;
    }
}
