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

use crate::{
    error::{OperatorError, in_time},
    settings::Settings,
};

/// How old what was read may be. A change of the object that refers to it is looked at at once.
pub(crate) const FRESH: Duration = Duration::from_secs(60);
/// How many are read at a time.
const AT_ONCE: usize = 16;

/// How old it may be that there is none: a Secret often comes a little after the route that needs it.
const SOON: Duration = Duration::from_secs(10);
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
    outcome: Outcome,
    /// Whether any did: only then is it known what the object says, or that it is not there.
    known: bool,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    There,
    NotThere,
    Failed,
    /// Whatever came of it, it is too old.
    Expired,
}

impl Read {
    fn due(self) -> Instant {
        match self.outcome {
            Outcome::There => self.at + FRESH,
            Outcome::NotThere => self.at + SOON,
            Outcome::Failed => self.at + AGAIN,
            Outcome::Expired => self.at,
        }
    }
}

impl References {
    /// These count as old: an object that refers to them has changed.
    pub(crate) fn expire(&mut self, names: &[ObjectName]) {
        for name in names {
            if let Some(read) = self.read.get_mut(name) {
                read.outcome = Outcome::Expired;
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
    pub(crate) async fn refresh(&mut self, client: &Client, settings: &Settings, resources: &mut Resources) {
        let wanted = resources.references(&settings.class, &settings.installation);
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
            let outcome = match &found {
                Ok(Some(_)) => Outcome::There,
                Ok(None) => Outcome::NotThere,
                Err(_) => Outcome::Failed,
            };
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
                    error = error.chain(),
                    "what a route refers to cannot be read"
                ),
            }
            let known = worked || self.read.get(&name).is_some_and(|read| read.known);
            let at = Instant::now();
            self.read.insert(name, Read { at, outcome, known });
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(outcome: Outcome, known: bool) -> References {
        let name = ObjectName::new("Secret", "shop", "key");
        let read = Read {
            at: Instant::now(),
            outcome,
            known,
        };
        References {
            read: BTreeMap::from([(name, read)]),
        }
    }

    #[test]
    fn what_failed_is_due_first_and_what_is_there_last() {
        let due = |outcome| read(outcome, true).due().unwrap();
        let order = [
            Outcome::Expired,
            Outcome::Failed,
            Outcome::NotThere,
            Outcome::There,
        ]
        .map(due);
        assert!(order.is_sorted(), "{order:?}");
        assert!(References::default().due().is_none());
    }

    #[test]
    fn a_change_makes_what_it_refers_to_due_and_nothing_else() {
        let mut references = read(Outcome::There, true);
        references.expire(&[ObjectName::new("Secret", "shop", "other")]);
        assert!(references.due().unwrap() > Instant::now());
        references.expire(&[ObjectName::new("Secret", "shop", "key")]);
        assert!(references.due().unwrap() <= Instant::now());
        assert!(
            references.unknown().is_empty(),
            "what it said last is still known"
        );
    }

    #[test]
    fn nothing_is_known_of_what_was_never_read() {
        assert!(read(Outcome::NotThere, true).unknown().is_empty());
        assert_eq!(read(Outcome::Failed, false).unknown().len(), 1);
        assert!(
            read(Outcome::Failed, true).unknown().is_empty(),
            "it was read once"
        );
    }
}
