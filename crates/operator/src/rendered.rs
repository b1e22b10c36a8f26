//! What is to stand in the cluster for the gateways, and what has to be done to get there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use splittoken_routing::{CompiledRoute, wire};
use zeroize::Zeroizing;

use crate::{anchor::Anchor, error::OperatorError};

/// The label that says which installation an object was rendered for.
pub(crate) const CLASS_LABEL: &str = "splittoken.dev/class";
/// The label of rendered routes; its value is [`PART_ROUTE`].
pub(crate) const PART_LABEL: &str = "splittoken.dev/part";
/// See [`PART_LABEL`].
pub(crate) const PART_ROUTE: &str = "route";
const REVISION_LABEL: &str = "splittoken.dev/revision";
/// For people: a label could not hold every name.
const ROUTE_ANNOTATION: &str = "splittoken.dev/route";
const CONFIG_ENTRY: &str = "route.json";
const SECRETS_ENTRY: &str = "secrets.json";

/// The texts that stand in the cluster, by object name. Those of Secrets as they are there: in base64.
#[derive(Debug, Default)]
pub(crate) struct Existing {
    pub(crate) configs: BTreeMap<String, String>,
    pub(crate) secrets: BTreeMap<String, Zeroizing<String>>,
}

/// One route as two objects.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) name: String,
    pub(crate) route: String,
    pub(crate) revision: String,
    config: String,
    /// In base64.
    secrets: Option<Zeroizing<String>>,
}

/// What has to be done, in this order: a gateway that reads in between never finds a route without its secrets.
#[derive(Debug, Default)]
pub(crate) struct Plan<'r> {
    pub(crate) apply: Vec<&'r Rendered>,
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
        let Some((name, text)) = entry(raw, CONFIG_ENTRY) else {
            return false;
        };
        self.configs.insert(name, text.clone()) != Some(text)
    }

    /// Takes in a rendered Secret. Says whether it is new.
    pub(crate) fn put_secrets(&mut self, raw: &Value) -> bool {
        let Some((name, text)) = entry(raw, SECRETS_ENTRY) else {
            return false;
        };
        let text = Zeroizing::new(text);
        self.secrets.insert(name, text.clone()) != Some(text)
    }
}

/// The name of an object and one of its entries; an empty text where somebody took it out.
fn entry(raw: &Value, key: &str) -> Option<(String, String)> {
    let name = raw["metadata"]["name"].as_str()?;
    let text = raw["data"][key].as_str().unwrap_or_default();
    Some((name.to_owned(), text.to_owned()))
}

/// Renders the routes.
pub(crate) fn render(routes: &[CompiledRoute]) -> Result<Vec<Rendered>, OperatorError> {
    let render = |route: &CompiledRoute| {
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
    };
    routes.iter().map(render).collect()
}

/// What has to be done so that `rendered` stands in the cluster, and nothing else of this installation.
pub(crate) fn plan<'r>(rendered: &'r [Rendered], existing: &Existing) -> Plan<'r> {
    let wanted: BTreeSet<&str> = rendered.iter().map(|object| object.name.as_str()).collect();
    let with_secrets: BTreeSet<&str> = rendered
        .iter()
        .filter(|object| object.secrets.is_some())
        .map(|object| object.name.as_str())
        .collect();
    Plan {
        apply: rendered
            .iter()
            .filter(|object| !object.stands_in(existing))
            .collect(),
        delete_configs: missing_in(existing.configs.keys(), &wanted),
        delete_secrets: missing_in(existing.secrets.keys(), &with_secrets),
    }
}

fn missing_in<'n>(names: impl Iterator<Item = &'n String>, wanted: &BTreeSet<&str>) -> Vec<String> {
    names
        .filter(|name| !wanted.contains(name.as_str()))
        .cloned()
        .collect()
}

impl Rendered {
    fn stands_in(&self, existing: &Existing) -> bool {
        existing.configs.get(&self.name) == Some(&self.config)
            && existing.secrets.get(&self.name) == self.secrets.as_ref()
    }

    /// Remembers that it stands there now: the watch says so too, but later.
    pub(crate) fn settle(&self, existing: &mut Existing) {
        existing.configs.insert(self.name.clone(), self.config.clone());
        if let Some(secrets) = &self.secrets {
            existing.secrets.insert(self.name.clone(), secrets.clone());
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
