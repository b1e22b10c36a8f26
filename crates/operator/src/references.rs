//! The Secrets and `ConfigMap`s that routes and issuers refer to: read one by one, because outside the own namespace the
//! operator may get a Secret by its name and nothing more.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;
use splittoken_api::{ObjectName, Resources};

/// How old what was read may be. A change of the object that refers to it is looked at at once.
pub(crate) const FRESH: Duration = Duration::from_secs(60);
/// How many are read at a time.
const AT_ONCE: usize = 16;

/// What was read, and when.
#[derive(Debug, Default)]
pub(crate) struct References {
    read: BTreeMap<ObjectName, Instant>,
}

impl References {
    /// Everything counts as old: an object that refers to something has changed.
    pub(crate) fn expire(&mut self) {
        self.read.clear();
    }

    /// When the first of what was read is too old; `None` if nothing was.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.read.values().min().map(|at| *at + FRESH)
    }

    /// Reads what is referred to and was not read lately, and forgets what nobody refers to any more. What cannot be
    /// read, because the API server is away or does not allow it, stays as it was.
    pub(crate) async fn refresh(&mut self, client: &Client, class: &str, resources: &mut Resources) {
        let wanted = resources.references(class);
        let gone: Vec<ObjectName> = self
            .read
            .keys()
            .filter(|name| !wanted.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            self.read.remove(&name);
            resources.remove(&name);
        }
        let now = Instant::now();
        let is_old = |name: &&ObjectName| {
            self.read
                .get(*name)
                .is_none_or(|at| now.duration_since(*at) >= FRESH)
        };
        let old: Vec<ObjectName> = wanted.iter().filter(is_old).cloned().collect();
        let mut found = stream::iter(old)
            .map(|name| async move { (get(client, &name).await, name) })
            .buffer_unordered(AT_ONCE);
        while let Some((found, name)) = found.next().await {
            match found {
                Ok(Some(object)) => {
                    if let Err(faults) = resources.put(&object) {
                        let fault = faults.first().map(ToString::to_string).unwrap_or_default();
                        tracing::warn!(%name, fault, "what a route refers to cannot be used");
                    }
                }
                Ok(None) => {
                    resources.remove(&name);
                }
                Err(error) => tracing::warn!(%name, %error, "what a route refers to cannot be read"),
            }
            self.read.insert(name, now);
        }
    }
}

/// The object in its raw form; `None` where there is none.
async fn get(client: &Client, name: &ObjectName) -> Result<Option<Value>, kube::Error> {
    let plural = if name.kind == "Secret" {
        "secrets"
    } else {
        "configmaps"
    };
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", &name.kind), plural);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &name.namespace, &resource);
    let found = api.get_opt(&name.name).await?;
    // Only maps with other keys than text could fail, and JSON has none.
    Ok(found.map(|object| serde_json::to_value(object).unwrap_or_default()))
}
