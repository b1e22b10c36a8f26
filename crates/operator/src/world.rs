//! What is known of the cluster, kept up to date change by change. Plain data: no clock, no client.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::Value;
use splittoken_api::{ClusterServices, Grants, ObjectName, Resources};

use crate::{kinds::Kind, pods::Pod, rendered::Existing};

/// Namespace and name of an object; the namespace of one that has none is empty.
pub(crate) type Key = (String, String);

/// What a watch says.
#[derive(Debug)]
pub(crate) enum Change {
    /// The end of a list whose objects came as [`Self::Put`]: whatever else was known of this kind is gone.
    Only(Kind, BTreeSet<Key>),
    /// One is there, or is another than it was.
    Put(Kind, Value),
    /// One is gone.
    Gone(Kind, Value),
}

impl Change {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Only(kind, _) | Self::Put(kind, _) | Self::Gone(kind, _) => *kind,
        }
    }
}

/// Everything that routes depend on, and what was written for them before.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) resources: Resources,
    pub(crate) services: ClusterServices,
    pub(crate) grants: Grants,
    /// The gateway pods that are ready, by name.
    pub(crate) pods: BTreeMap<String, Pod>,
    /// What stands in the cluster for routes.
    pub(crate) existing: Existing,
    /// Routes and issuers as their objects are.
    pub(crate) objects: BTreeMap<ObjectName, Object>,
}

/// What a status is written against.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Object {
    pub(crate) generation: i64,
    pub(crate) uid: String,
    pub(crate) version: Box<str>,
    /// Whose it is.
    pub(crate) class: Box<str>,
    /// In the name of which class its status was written.
    pub(crate) told_by: Box<str>,
    /// As JSON text: as values, ten thousand of them would take five times as much memory.
    pub(crate) status: Box<str>,
    /// Stands for its annotations. A new one is how people say "look again".
    pub(crate) annotations: u64,
}

impl Object {
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.status).unwrap_or_default()
    }

    /// Whether only the status may be another.
    fn is_as(&self, other: &Self) -> bool {
        let of = |object: &Self| (object.generation, object.uid.clone(), object.annotations);
        of(self) == of(other)
    }
}

/// Stands for a text where only we ourselves compare.
pub(crate) fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Keeps those objects of the own namespace that are there. Says whether that took any away.
fn keep<V>(known: &mut BTreeMap<String, V>, there: &BTreeSet<Key>) -> bool {
    let there: BTreeSet<&str> = there.iter().map(|(_, name)| name.as_str()).collect();
    let before = known.len();
    known.retain(|name, _| there.contains(name.as_str()));
    known.len() < before
}

impl World {
    /// Takes a change in. Says whether anything may come out otherwise than before.
    pub(crate) fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Only(kind, there) => self.forget(kind, &there),
            Change::Put(kind, object) => self.put(kind, &object),
            Change::Gone(kind, object) => self.remove(kind, &object),
        }
    }

    /// Whether any route can depend on what has changed, as far as routes are known now.
    pub(crate) fn is_of_use(&self, change: &Change) -> bool {
        let (Change::Put(kind, raw) | Change::Gone(kind, raw)) = change else {
            return change.kind() != Kind::Pod;
        };
        let text = |pointer| raw.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        match kind {
            Kind::Service => self.resources.lead_to(namespace, name),
            Kind::Namespace => self.resources.are_in(name),
            // Pods serve routes, but no route depends on them.
            Kind::Pod => false,
            _ => true,
        }
    }

    /// Forgets what is not there. Says whether there was any.
    fn forget(&mut self, kind: Kind, there: &BTreeSet<Key>) -> bool {
        let is_there = |namespace: &str, name: &str| there.contains(&(namespace.to_owned(), name.to_owned()));
        match kind {
            Kind::Route | Kind::Issuer => {
                let known = self.objects.keys().filter(|name| name.kind == kind.type_meta().1);
                let gone: Vec<ObjectName> = known
                    .filter(|name| !is_there(&name.namespace, &name.name))
                    .cloned()
                    .collect();
                for name in &gone {
                    self.objects.remove(name);
                    self.resources.remove(name);
                }
                !gone.is_empty()
            }
            Kind::Namespace => self.resources.keep_namespaces(|name| is_there("", name)),
            Kind::Service => self.services.keep(is_there),
            Kind::Grant => self.grants.keep(is_there),
            Kind::Pod => keep(&mut self.pods, there),
            Kind::Config => keep(&mut self.existing.configs, there),
            Kind::Secret => keep(&mut self.existing.secrets, there),
        }
    }

    fn put(&mut self, kind: Kind, raw: &Value) -> bool {
        match kind {
            Kind::Route | Kind::Issuer => self.put_object(raw),
            Kind::Namespace => self.resources.put_namespace(raw),
            Kind::Service => self.services.put(raw),
            Kind::Grant => self.grants.put(raw),
            Kind::Pod => match Pod::ready(raw) {
                Some((name, pod)) => self.pods.insert(name, pod.clone()) != Some(pod),
                None => self.remove(kind, raw),
            },
            Kind::Config => self.existing.put_config(raw),
            Kind::Secret => self.existing.put_secrets(raw),
        }
    }

    /// A route or an issuer. That its status was written, which we do ourselves, is nothing new.
    fn put_object(&mut self, raw: &Value) -> bool {
        let Some(name) = ObjectName::of(raw) else {
            return false;
        };
        let text = |pointer| raw.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let object = Object {
            generation: raw
                .pointer("/metadata/generation")
                .and_then(Value::as_i64)
                .unwrap_or_default(),
            uid: text("/metadata/uid").to_owned(),
            version: text("/metadata/resourceVersion").into(),
            class: text("/spec/className").into(),
            told_by: text("/status/className").into(),
            status: raw["status"].to_string().into(),
            annotations: hash(&raw["metadata"]["annotations"].to_string()),
        };
        let before = self.objects.insert(name, object.clone());
        if before.is_some_and(|before| before.is_as(&object)) {
            return false;
        }
        if let Err(faults) = self.resources.put(raw) {
            // It gets no verdict, so this is all that can be said.
            let fault = faults.first().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(fault, "an object that cannot be looked at is left out");
        }
        true
    }

    fn remove(&mut self, kind: Kind, raw: &Value) -> bool {
        let text = |pointer| raw.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        match kind {
            Kind::Route | Kind::Issuer | Kind::Namespace => ObjectName::of(raw).is_some_and(|name| {
                self.objects.remove(&name);
                self.resources.remove(&name)
            }),
            Kind::Service => self.services.remove(namespace, name),
            Kind::Grant => self.grants.remove(namespace, name),
            Kind::Pod => self.pods.remove(name).is_some(),
            Kind::Config => self.existing.configs.remove(name).is_some(),
            Kind::Secret => self.existing.secrets.remove(name).is_some(),
        }
    }
}

#[cfg(test)]
mod tests;
