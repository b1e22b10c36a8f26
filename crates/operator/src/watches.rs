//! Watches: each kind of object in its raw form, over and over until it works.

use std::{
    collections::BTreeSet,
    future::pending,
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use kube::{
    Api, Client,
    core::DynamicObject,
    runtime::watcher::{self, Event, watcher},
};
use serde_json::Value;
use splittoken_api::rendered::{CLASS_LABEL, PART_LABEL, PART_ROUTE};
use splittoken_runtime::Readiness;
use tokio::{
    sync::mpsc::Sender,
    time::{sleep, sleep_until},
};

use crate::{
    health::{Health, LONGEST},
    kinds::Kind,
    metrics::{FailingLabels, Metrics},
    settings::Settings,
    tasks::Tasks,
    world::{Change, Key},
};

/// A list in pages is easier on the API server; its own clients use the same.
const PAGE: u32 = 500;
/// How long a watch may be silent before it is asked for anew, in seconds. Below the API server's own limit.
const SILENCE: u32 = 290;

/// Starts all watches. Changes go to `changes`; the process is not ready before each kind was listed once, nor while a
/// watch fails for long.
pub(crate) fn start(
    client: &Client,
    namespace: &str,
    settings: &Settings,
    readiness: &Readiness,
    metrics: &Metrics,
    changes: &Sender<Change>,
    tasks: &mut Tasks,
) {
    for kind in Kind::ALL {
        let failing = metrics.failing.get_or_create_owned(&FailingLabels {
            kind: kind.type_meta().1,
            verb: "watch",
        });
        let health = Health::new(readiness, format!("{} not listed yet", kind.resource()), failing);
        let resource = kind.api_resource();
        let api: Api<DynamicObject> = if kind.is_own() {
            Api::namespaced_with(client.clone(), namespace, &resource)
        } else {
            Api::all_with(client.clone(), &resource)
        };
        let config = config(kind, settings);
        let following = follow(kind, api, config, health, changes.clone());
        tasks.spawn(format!("the watch of {}", kind.resource()), following);
    }
}

fn config(kind: Kind, settings: &Settings) -> watcher::Config {
    let config = watcher::Config::default().page_size(PAGE).timeout(SILENCE);
    match kind {
        Kind::Pod => config.labels(&settings.gateway_selector),
        Kind::Config | Kind::Secret => config.labels(&format!(
            "{CLASS_LABEL}={},{PART_LABEL}={PART_ROUTE}",
            settings.class
        )),
        _ => config,
    }
}

async fn follow(
    kind: Kind,
    api: Api<DynamicObject>,
    config: watcher::Config,
    health: Health,
    changes: Sender<Change>,
) {
    let mut watch = Watch {
        kind,
        health,
        listed: BTreeSet::new(),
        is_listing: false,
    };
    let mut events = pin!(watcher(api, config));
    loop {
        let trial = watch.health.trial();
        let event = tokio::select! {
            event = events.next() => event,
            () = until(trial) => {
                watch.is_well();
                continue;
            }
        };
        let (change, wait) = match event {
            Some(Ok(event)) => (watch.take(event), None),
            Some(Err(error)) => {
                let (change, wait) = watch.fail(&error);
                (change, Some(wait))
            }
            None => return,
        };
        if let Some(change) = change {
            let is_all = matches!(change, Change::Only(..));
            if changes.send(change).await.is_err() {
                return;
            }
            if is_all {
                // After the list is on its way, so that readiness means that it was looked at.
                watch.health.listed(Instant::now());
            }
        }
        if let Some(wait) = wait {
            sleep(wait).await;
            watch.begin();
        }
    }
}

/// What is known of one watch.
struct Watch {
    kind: Kind,
    health: Health,
    listed: BTreeSet<Key>,
    is_listing: bool,
}

impl Watch {
    fn take(&mut self, event: Event<DynamicObject>) -> Option<Change> {
        let kind = self.kind;
        match event {
            Event::Init => {
                self.listed.clear();
                self.is_listing = true;
                self.health.lists();
                None
            }
            Event::InitApply(object) => {
                self.listed.insert(key(&object));
                // One by one: ten thousand raw objects at a time would take most of the memory that there is.
                Some(Change::Put(kind, raw(kind, object)))
            }
            Event::InitDone => {
                self.is_listing = false;
                Some(Change::Only(kind, std::mem::take(&mut self.listed)))
            }
            Event::Apply(object) => {
                self.is_well();
                Some(Change::Put(kind, raw(kind, object)))
            }
            Event::Delete(object) => {
                self.is_well();
                Some(Change::Gone(kind, raw(kind, object)))
            }
        }
    }

    /// Says what is wrong. Gives what is known nevertheless, and how long to wait.
    fn fail(&mut self, error: &watcher::Error) -> (Option<Change>, Duration) {
        let Some(what) = fault(self.kind, error) else {
            // Nobody can have granted anything.
            self.is_well();
            let nothing = Change::Only(self.kind, BTreeSet::new());
            return (Some(nothing), LONGEST);
        };
        tracing::warn!("{what}: trying again");
        (None, self.health.failed(what, Instant::now()))
    }

    /// It is tried again. A list says itself how that goes.
    fn begin(&mut self) {
        if !self.is_listing {
            self.health.begins(Instant::now());
        }
    }

    fn is_well(&mut self) {
        if self.health.is_well() {
            tracing::info!("{}: watched again", self.kind.resource());
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => pending().await,
    }
}

/// What is wrong, in the words of `/readyz` and the log; nothing where an operator can do without.
fn fault(kind: Kind, error: &watcher::Error) -> Option<String> {
    let resource = kind.resource();
    match api_code(error) {
        Some(404) if kind.is_optional() => None,
        Some(404) => Some(format!("{resource}: no such resource (is the CRD installed?)")),
        Some(403) => Some(format!("{resource}: not allowed to list and watch (RBAC)")),
        _ => Some(format!("{resource}: {error}")),
    }
}

fn api_code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

fn key(object: &DynamicObject) -> Key {
    let metadata = &object.metadata;
    (
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

/// The object as it is written. Items of a list do not repeat what they are.
fn raw(kind: Kind, mut object: DynamicObject) -> Value {
    // Who wrote which field is more text than all the rest, and nobody here looks at it.
    object.metadata.managed_fields = None;
    // Only maps with other keys than text could fail, and JSON has none.
    let mut raw = serde_json::to_value(object).unwrap_or_default();
    let (api_version, name) = kind.type_meta();
    raw["apiVersion"] = api_version.into();
    raw["kind"] = name.into();
    raw
}
