//! The Secrets and `ConfigMap`s that routes and issuers refer to: read one by one, because outside the own namespace the
//! operator may get a Secret by its name and nothing more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;
use splittoken_api::{ObjectName, Resources};

use crate::error::{OperatorError, in_time};

/// How old what was read may be. A change of the object that refers to it is looked at at once.
pub(crate) const FRESH: Duration = Duration::from_secs(60);
/// How many are read at a time.
const AT_ONCE: usize = 16;

/// Until what could not be read is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// What was read, and when.
#[derive(Debug, Default)]
pub(crate) struct References {
    read: BTreeMap<ObjectName, Read>,
}

/// The last try for one object.
#[derive(Clone, Copy, Debug)]
struct Read {
    at: Instant,
    /// Whether this try worked.
    worked: bool,
    /// Whether any did: only then is it known what the object says, or that it is not there.
    known: bool,
}

impl Read {
    fn due(self) -> Instant {
        self.at + if self.worked { FRESH } else { AGAIN }
    }
}

impl References {
    /// These count as old: an object that refers to them has changed.
    pub(crate) fn expire(&mut self, names: &[ObjectName]) {
        for name in names {
            if let Some(read) = self.read.get_mut(name) {
                // Whatever came of the last try, it is due.
                read.worked = false;
                read.at = read.at.checked_sub(AGAIN).unwrap_or(read.at);
            }
        }
    }

    /// When the first of what was read is too old; `None` if nothing was.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.read.values().map(|read| read.due()).min()
    }

    /// What nothing is known of, because it could not be read: not even that it is not there.
    pub(crate) fn unknown(&self) -> BTreeSet<ObjectName> {
        let unknown = self.read.iter().filter(|(_, read)| !read.known);
        unknown.map(|(name, _)| name.clone()).collect()
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
        let is_old = |name: &&ObjectName| self.read.get(*name).is_none_or(|read| read.due() <= now);
        let old: Vec<ObjectName> = wanted.iter().filter(is_old).cloned().collect();
        let mut found = stream::iter(old)
            .map(|name| async move { (get(client, &name).await, name) })
            .buffer_unordered(AT_ONCE);
        while let Some((found, name)) = found.next().await {
            let worked = found.is_ok();
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
                Err(error) => tracing::warn!(
                    %name,
                    error = &error as &dyn std::error::Error,
                    "what a route refers to cannot be read"
                ),
            }
            let known = worked || self.read.get(&name).is_some_and(|read| read.known);
            let at = Instant::now();
            self.read.insert(name, Read { at, worked, known });
        }
    }
}

/// The object in its raw form; `None` where there is none.
async fn get(client: &Client, name: &ObjectName) -> Result<Option<Value>, OperatorError> {
    let plural = if name.kind == "Secret" {
        "secrets"
    } else {
        "configmaps"
    };
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", &name.kind), plural);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &name.namespace, &resource);
    let found = in_time("get", name, api.get_opt(&name.name)).await?;
    // Only maps with other keys than text could fail, and JSON has none.
    Ok(found.map(|object| serde_json::to_value(object).unwrap_or_default()))
}
