//! How an operator starts and ends: what it needs, what it starts, and whom it tells that it is ready.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use kube::Client;
use prometheus_client::registry::Registry;
use splittoken_api::Compiled;
use splittoken_runtime::{Readiness, ReadyGuard, joined};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep,
};

use crate::{
    anchor::{self, Anchor, Owner},
    api_server,
    asking::{self, Wanted},
    bootstrap::Bootstrap,
    class::Class,
    control::Control,
    custody::{Custody, Held},
    error::{OperatorError, in_full},
    failing::Failing,
    keyring::Keeper,
    lease::Elector,
    metrics::Metrics,
    pods::Asker,
    references::References,
    refusals::Refusals,
    rendered::{Frame, Outlines},
    settings::Settings,
    statuses::Statuses,
    tasks::Tasks,
    term::{Leads, term},
    watches,
    world::World,
    writer::Writer,
};

/// Until what failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// An old key of the keyring is kept at least as long as issuers let tokens live by default: routes that are gone now
/// may have left some.
pub(crate) const SHORTEST_MEMORY: Duration = Duration::from_secs(24 * 3600);
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
        let (term, leads) = term();
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
        let mut election = tokio::spawn(elector.run(term, async {
            // That nobody can ask any more is as good.
            let _ = asked.await;
        }));
        tokio::select! {
            ended = &mut election => return joined(ended),
            ended = self.control(leads, owner, owner_seen) => {
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
        leads: Leads,
        owner: watch::Sender<Owner>,
        owner_seen: watch::Receiver<Owner>,
    ) -> Result<(), OperatorError> {
        let mut tasks = Tasks::default();
        let (send, changes) = mpsc::channel(QUEUE);
        watches::start(
            &self.client,
            &self.namespace,
            &self.settings,
            &self.readiness,
            &send,
            &mut tasks,
        );
        let (owns, owns_seen) = watch::channel(false);
        let class = Class::new(
            self.client.clone(),
            &self.namespace,
            &self.settings.class,
            &self.settings.identity,
            &self.readiness,
            self.metrics.clone(),
            owns,
        );
        tasks.spawn("whoever looks whose class it is", class.run(leads.clone()));
        let first = owner_seen.borrow().anchor().cloned();
        let (revision_key, held) = self.secrets(first.as_ref()).await;
        let api_server = self.api_server(&mut tasks).await;
        drop(self.starting);
        let following = anchor::follow(
            self.client.clone(),
            self.namespace.clone(),
            self.readiness.clone(),
            owner,
        );
        tasks.spawn("whoever follows the anchor", following);
        let custody = Custody {
            client: self.client.clone(),
            namespace: self.namespace.clone(),
            identity: self.settings.identity.clone(),
            leads: leads.clone(),
            owner: owner_seen.clone(),
            held,
        };
        tasks.spawn("whoever looks after the Secrets", custody.run());
        let frame = Frame {
            class: self.settings.class.clone(),
            namespace: self.namespace.clone(),
            owner: first,
        };
        let (pods, pods_seen) = watch::channel(BTreeMap::new());
        let (wanted, wanted_seen) = watch::channel(Arc::new(Wanted::nothing()));
        let (reports, reports_seen) = watch::channel(Arc::default());
        let (longest, longest_seen) = watch::channel(None);
        if let Some(name) = self.settings.keyring_secret.clone() {
            let keeper = Keeper {
                client: self.client.clone(),
                namespace: self.namespace.clone(),
                name,
                leads: leads.clone(),
                reports: reports_seen.clone(),
                longest: longest_seen,
            };
            tasks.spawn("whoever looks after the keyring", keeper.run());
        }
        let asker = Asker::new(self.settings.gateway_admin_port)?;
        let asking = asking::run(asker, pods_seen, wanted_seen, reports);
        tasks.spawn("whoever asks the gateway pods", asking);
        let control = Control {
            writer: Writer::new(self.client.clone(), frame, leads.clone(), owns_seen.clone()),
            statuses: Statuses::new(&self.client, &self.settings.class, &self.settings.identity),
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
            stale: false,
            news: false,
            touched: BTreeSet::new(),
            refusals: Refusals::default(),
            failing: Failing::default(),
            later: None,
            changes,
            leads,
            owns: owns_seen,
            owner: owner_seen,
            api_server,
            reports: reports_seen,
            pods,
            wanted,
            outlines: Outlines::default(),
            longest,
        };
        tokio::select! {
            ended = control.run() => ended,
            ended = tasks.ended() => Err(ended),
        }
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

    /// Where the API server is, as far as that is kept from tenants. Nothing is rendered before that is known.
    async fn api_server(&self, tasks: &mut Tasks) -> watch::Receiver<BTreeSet<SocketAddr>> {
        if self.settings.installation.local_addresses {
            return watch::channel(BTreeSet::new()).1;
        }
        let find = || api_server::find(&self.client);
        let found = self.patiently("where the API server is", find).await;
        let (told, seen) = watch::channel(found.clone());
        let following = api_server::follow(self.client.clone(), self.metrics.clone(), found, told);
        tasks.spawn("whoever looks where the API server is", following);
        seen
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
