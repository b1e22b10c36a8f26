//! What is to stand in the cluster for the gateways, and what has to be done to get there.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest;
use serde_json::{Value, json};
use splittoken_api::ObjectName;
use splittoken_api::rendered::{CLASS_LABEL, CONFIG_ENTRY, PART_LABEL, PART_ROUTE, SECRETS_ENTRY};
use splittoken_routing::{CompiledRoute, RouteName, wire};
use zeroize::Zeroizing;

use crate::{anchor::Anchor, error::OperatorError};

const REVISION_LABEL: &str = "splittoken.dev/revision";
/// For people: a label could not hold every name.
const ROUTE_ANNOTATION: &str = "splittoken.dev/route";

/// What stands in the cluster, by object name. Texts are known by their fingerprints alone: there are as many of them as
/// there are routes, and some are secret.
#[derive(Debug, Default)]
pub(crate) struct Existing {
    pub(crate) configs: BTreeMap<String, Standing>,
    pub(crate) secrets: BTreeMap<String, Fingerprint>,
}

/// A `ConfigMap` of a route as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    route: String,
    revision: String,
    text: Fingerprint,
}

/// Stands for a text: the first half of its SHA-256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 16]);

impl Fingerprint {
    fn of(text: &str) -> Self {
        let mut first = [0; 16];
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        first
            .iter_mut()
            .zip(hash.as_ref())
            .for_each(|(to, from)| *to = *from);
        Self(first)
    }
}

/// One route as two objects.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) name: String,
    route: String,
    revision: String,
    config: String,
    /// In base64, as a Secret holds it.
    secrets: Option<Zeroizing<String>>,
}

/// What each route comes to in the cluster. A revision names all that is rendered, so that an edit of one route among
/// ten thousand renders one.
#[derive(Debug, Default)]
pub(crate) struct Outlines(BTreeMap<RouteName, Outline>);

#[derive(Debug)]
struct Outline {
    object: String,
    config: Standing,
    secrets: Option<Fingerprint>,
}

/// What has to be done.
#[derive(Debug, Default)]
pub(crate) struct Plan<'r> {
    pub(crate) apply: Vec<&'r CompiledRoute>,
    /// Names of `ConfigMap`s.
    pub(crate) delete_configs: Vec<String>,
    /// Names of Secrets.
    pub(crate) delete_secrets: Vec<String>,
}

/// What the objects of one installation have in common.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) class: String,
    pub(crate) namespace: String,
    /// What they go with.
    pub(crate) owner: Option<Anchor>,
}

impl Existing {
    /// Takes in a rendered `ConfigMap`. Says whether it is new.
    pub(crate) fn put_config(&mut self, raw: &Value) -> bool {
        let Some(name) = name_of(raw) else {
            return false;
        };
        let text = |group: &str, key: &str| raw["metadata"][group][key].as_str().unwrap_or_default();
        let standing = Standing {
            route: text("annotations", ROUTE_ANNOTATION).to_owned(),
            revision: text("labels", REVISION_LABEL).to_owned(),
            text: entry(raw, CONFIG_ENTRY),
        };
        self.configs.insert(name, standing.clone()) != Some(standing)
    }

    /// Takes in a rendered Secret. Says whether it is new.
    pub(crate) fn put_secrets(&mut self, raw: &Value) -> bool {
        let Some(name) = name_of(raw) else {
            return false;
        };
        let text = entry(raw, SECRETS_ENTRY);
        self.secrets.insert(name, text) != Some(text)
    }

    /// Everything that stands has to be written anew or to go.
    pub(crate) fn distrust(&mut self) {
        let configs = self.configs.values_mut().map(|standing| &mut standing.text);
        let all = configs.chain(self.secrets.values_mut());
        all.for_each(|text| *text = Fingerprint::default());
    }

    /// What the gateways can know of: each route with its revision. What could not be written is not in it.
    pub(crate) fn revisions(&self) -> BTreeMap<RouteName, &str> {
        let standing = self.configs.values();
        standing
            .filter_map(|standing| {
                let (namespace, name) = standing.route.split_once('/')?;
                let route = RouteName {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                };
                Some((route, standing.revision.as_str()))
            })
            .collect()
    }
}

fn name_of(raw: &Value) -> Option<String> {
    raw["metadata"]["name"].as_str().map(str::to_owned)
}

/// An entry that somebody took out counts as empty.
fn entry(raw: &Value, key: &str) -> Fingerprint {
    Fingerprint::of(raw["data"][key].as_str().unwrap_or_default())
}

/// Renders a route.
pub(crate) fn render(route: &CompiledRoute) -> Result<Rendered, OperatorError> {
    let name = &route.config.name;
    let written = wire::write(route).map_err(|source| OperatorError::Render {
        route: name.to_string(),
        source,
    })?;
    Ok(Rendered {
        name: wire::object_name(name),
        route: name.to_string(),
        revision: route.revision.clone(),
        config: written.config,
        secrets: written.secrets.map(|text| base64(text.as_bytes())),
    })
}

/// What has to be done so that `routes` stand in the cluster, and nothing else of this installation.
pub(crate) fn plan<'r>(
    routes: &'r [CompiledRoute],
    outlines: &mut Outlines,
    existing: &Existing,
) -> Result<Plan<'r>, OperatorError> {
    outlines.follow(routes)?;
    let all = || outlines.0.values();
    let wanted: BTreeSet<&str> = all().map(|outline| outline.object.as_str()).collect();
    let with_secrets = all().filter(|outline| outline.secrets.is_some());
    let with_secrets: BTreeSet<&str> = with_secrets.map(|outline| outline.object.as_str()).collect();
    let stands = |route: &&CompiledRoute| {
        let outline = outlines.0.get(&route.config.name);
        outline.is_some_and(|outline| outline.stands_in(existing))
    };
    Ok(Plan {
        apply: routes.iter().filter(|route| !stands(route)).collect(),
        delete_configs: missing_in(existing.configs.keys(), &wanted),
        delete_secrets: missing_in(existing.secrets.keys(), &with_secrets),
    })
}

impl Outlines {
    /// Works out what is new, and forgets what is gone.
    fn follow(&mut self, routes: &[CompiledRoute]) -> Result<(), OperatorError> {
        let mut before = std::mem::take(&mut self.0);
        for route in routes {
            let name = &route.config.name;
            let known = before.remove(name);
            let outline = match known.filter(|outline| outline.config.revision == route.revision) {
                Some(outline) => outline,
                None => Outline::of(&render(route)?),
            };
            self.0.insert(name.clone(), outline);
        }
        Ok(())
    }
}

impl Outline {
    fn of(rendered: &Rendered) -> Self {
        Self {
            object: rendered.name.clone(),
            config: rendered.standing(),
            secrets: rendered.secrets.as_ref().map(|text| Fingerprint::of(text)),
        }
    }

    fn stands_in(&self, existing: &Existing) -> bool {
        existing.configs.get(&self.object) == Some(&self.config)
            && existing.secrets.get(&self.object) == self.secrets.as_ref()
    }
}

impl Plan<'_> {
    /// How many writes it is, a route being one.
    pub(crate) fn writes(&self) -> usize {
        self.apply.len() + self.delete_configs.len() + self.delete_secrets.len()
    }

    /// Leaves the objects of these routes alone, whatever was worked out for them.
    pub(crate) fn spare(&mut self, routes: &BTreeSet<ObjectName>) {
        let names = routes.iter().map(|route| RouteName {
            namespace: route.namespace.clone(),
            name: route.name.clone(),
        });
        let routes: BTreeSet<RouteName> = names.collect();
        let names: BTreeSet<String> = routes.iter().map(wire::object_name).collect();
        self.apply.retain(|route| !routes.contains(&route.config.name));
        self.delete_configs.retain(|name| !names.contains(name));
        self.delete_secrets.retain(|name| !names.contains(name));
    }
}

fn missing_in<'n>(names: impl Iterator<Item = &'n String>, wanted: &BTreeSet<&str>) -> Vec<String> {
    names
        .filter(|name| !wanted.contains(name.as_str()))
        .cloned()
        .collect()
}

impl Rendered {
    /// Remembers that it stands there now: the watch says so too, but later.
    pub(crate) fn settle(&self, existing: &mut Existing) {
        existing.configs.insert(self.name.clone(), self.standing());
        if let Some(secrets) = &self.secrets {
            let secrets = Fingerprint::of(secrets);
            existing.secrets.insert(self.name.clone(), secrets);
        }
    }

    fn standing(&self) -> Standing {
        Standing {
            route: self.route.clone(),
            revision: self.revision.clone(),
            text: Fingerprint::of(&self.config),
        }
    }

    /// The `ConfigMap` to apply.
    pub(crate) fn config_map(&self, frame: &Frame) -> Value {
        let mut object = self.object("ConfigMap", frame);
        object["data"] = json!({CONFIG_ENTRY: self.config});
        object
    }

    /// The Secret to apply, if the route needs one.
    pub(crate) fn secret(&self, frame: &Frame) -> Option<Value> {
        let secrets = self.secrets.as_ref()?;
        let mut object = self.object("Secret", frame);
        object["type"] = json!("splittoken.dev/route");
        object["data"] = json!({SECRETS_ENTRY: secrets.as_str()});
        Some(object)
    }

    fn object(&self, kind: &str, frame: &Frame) -> Value {
        let mut object = json!({
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {
                "name": self.name,
                "namespace": frame.namespace,
                "labels": {
                    CLASS_LABEL: frame.class,
                    PART_LABEL: PART_ROUTE,
                    REVISION_LABEL: self.revision,
                    "app.kubernetes.io/managed-by": "splittoken-operator",
                },
                "annotations": {ROUTE_ANNOTATION: self.route},
            },
        });
        if let Some(owner) = &frame.owner {
            object["metadata"]["ownerReferences"] = json!([owner.reference()]);
        }
        object
    }
}

fn base64(bytes: &[u8]) -> Zeroizing<String> {
    let encoded = serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec()));
    // Bytes always serialise, and as text.
    Zeroizing::new(
        encoded
            .ok()
            .and_then(|text| text.as_str().map(str::to_owned))
            .unwrap_or_default(),
    )
}

#[cfg(test)]
pub(crate) mod tests;
