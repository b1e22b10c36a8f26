//! Watches: each kind of object in its raw form, over and over until it works.

use std::{collections::BTreeSet, pin::pin};

use futures_util::StreamExt;
use kube::{
    Api, Client,
    core::DynamicObject,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde_json::Value;
use splittoken_api::rendered::{CLASS_LABEL, PART_LABEL, PART_ROUTE};
use splittoken_runtime::{Readiness, ReadyGuard};
use tokio::sync::mpsc::Sender;

use crate::{
    kinds::Kind,
    settings::Settings,
    tasks::Tasks,
    world::{Change, Key},
};

/// A list in pages is easier on the API server; its own clients use the same.
const PAGE: u32 = 500;
/// How long a watch may be silent before it is asked for anew, in seconds. Below the API server's own limit.
const SILENCE: u32 = 290;

/// Starts all watches. Changes go to `changes`; the process is not ready before each kind was listed once.
pub(crate) fn start(
    client: &Client,
    namespace: &str,
    settings: &Settings,
    readiness: &Readiness,
    changes: &Sender<Change>,
    tasks: &mut Tasks,
) {
    for kind in Kind::ALL {
        let guard = readiness.guard(format!("{} not listed yet", kind.resource()));
        let resource = kind.api_resource();
        let api: Api<DynamicObject> = if kind.is_own() {
            Api::namespaced_with(client.clone(), namespace, &resource)
        } else {
            Api::all_with(client.clone(), &resource)
        };
        let config = config(kind, settings);
        let following = follow(kind, api, config, guard, changes.clone());
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
    guard: ReadyGuard,
    changes: Sender<Change>,
) {
    let mut guard = Some(guard);
    let mut listed = BTreeSet::new();
    let mut events = pin!(watcher(api, config).default_backoff());
    while let Some(event) = events.next().await {
        let change = match event {
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                listed.insert(key(&object));
                // One by one: ten thousand raw objects at a time would take most of the memory that there is.
                Change::Put(kind, raw(kind, object))
            }
            Ok(Event::InitDone) => Change::Only(kind, std::mem::take(&mut listed)),
            Ok(Event::Apply(object)) => Change::Put(kind, raw(kind, object)),
            Ok(Event::Delete(object)) => Change::Gone(kind, raw(kind, object)),
            Err(error) => match explain(kind, &error, guard.as_ref()) {
                // Nobody can have granted anything.
                Absence::Fine => Change::Only(kind, BTreeSet::new()),
                Absence::Fault => continue,
            },
        };
        let is_listed = matches!(change, Change::Only(..));
        if changes.send(change).await.is_err() {
            return;
        }
        if is_listed {
            // After the list is on its way, so that readiness means that it was looked at.
            guard = None;
        }
    }
}

enum Absence {
    Fine,
    Fault,
}

/// Says on `/readyz` and in the log what is missing.
fn explain(kind: Kind, error: &watcher::Error, guard: Option<&ReadyGuard>) -> Absence {
    let resource = kind.resource();
    let what = match api_code(error) {
        Some(404) if kind.is_optional() => return Absence::Fine,
        Some(404) => format!("{resource}: no such resource (is the CRD installed?)"),
        Some(403) => format!("{resource}: not allowed to list and watch (RBAC)"),
        _ => format!("{resource}: {error}"),
    };
    tracing::warn!("{what}: trying again");
    if let Some(guard) = guard {
        guard.explain(what);
    }
    Absence::Fault
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
