use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    admit::{admit_issuer, admit_route},
    compile::issuer_name,
    crd::{GROUP, SplitTokenIssuer, SplitTokenRoute, VERSION, default_class},
    data::{ConfigMapData, SecretData},
    field_error::{FieldError, FieldReason},
    installation::Installation,
    metadata,
    object::ObjectName,
};

/// Everything that `compile` looks at: the routes, and what they refer to.
///
/// An object that is not valid stays in the set as what it is, so that it gets a verdict of its own.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    pub(crate) routes: BTreeMap<ObjectName, Result<SplitTokenRoute, Refused>>,
    pub(crate) issuers: BTreeMap<ObjectName, Result<SplitTokenIssuer, Refused>>,
    pub(crate) secrets: BTreeMap<ObjectName, SecretData>,
    pub(crate) config_maps: BTreeMap<ObjectName, ConfigMapData>,
    pub(crate) namespaces: BTreeMap<String, BTreeMap<String, String>>,
}

/// An object that is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Whose business it is to say so: the installation that it names.
    pub(crate) class: String,
    pub(crate) errors: Vec<FieldError>,
}

impl Refused {
    fn new(raw: &Value, errors: Vec<FieldError>) -> Self {
        let class = raw.pointer("/spec/className").and_then(Value::as_str);
        Self {
            class: class.map_or_else(default_class, str::to_owned),
            errors,
        }
    }
}

/// What became of an object that was put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is in the set.
    Taken(ObjectName),
    /// It is of a kind that nothing here refers to.
    Ignored,
}

/// The kinds that are looked at.
#[derive(Clone, Copy)]
enum Kind {
    Route,
    Issuer,
    Secret,
    ConfigMap,
    Namespace,
    Other,
}

impl Resources {
    /// Takes in a raw object: a route, an issuer, a Secret, a `ConfigMap` or a Namespace.
    ///
    /// A named route or issuer is taken even if it is not valid; `compile` says why. Fails for objects that no
    /// verdict can be given on: no name, a wrong version, a broken Secret, one that is already there.
    pub fn insert(&mut self, raw: &Value) -> Result<Inserted, Vec<FieldError>> {
        let kind = kind_of(raw)?;
        if matches!(kind, Kind::Other) {
            return Ok(Inserted::Ignored);
        }
        let mut faults = Vec::new();
        metadata::check(raw, &mut faults);
        let Some(name) = ObjectName::of(raw) else {
            return Err(faults);
        };
        let is_new = match kind {
            Kind::Route => {
                let route = admit_route(raw).map_err(|errors| Refused::new(raw, errors));
                self.routes.insert(name.clone(), route).is_none()
            }
            Kind::Issuer => {
                let issuer = admit_issuer(raw).map_err(|errors| Refused::new(raw, errors));
                self.issuers.insert(name.clone(), issuer).is_none()
            }
            _ if !faults.is_empty() => return Err(faults),
            Kind::Secret => self
                .secrets
                .insert(name.clone(), SecretData::read(raw)?)
                .is_none(),
            Kind::ConfigMap => self
                .config_maps
                .insert(name.clone(), ConfigMapData::read(raw)?)
                .is_none(),
            _ => self
                .namespaces
                .insert(name.name.clone(), metadata::labels(raw))
                .is_none(),
        };
        if is_new {
            return Ok(Inserted::Taken(name));
        }
        let message = "another object of this kind, namespace and name was there before";
        Err(vec![FieldError::new(
            "metadata.name",
            FieldReason::Duplicate,
            message,
        )])
    }

    /// Takes in a raw object in place of the one that had its name, as a cluster's objects come: again and again.
    /// One that no verdict can be given on takes its predecessor along, so that nothing outlives its object.
    pub fn put(&mut self, raw: &Value) -> Result<Inserted, Vec<FieldError>> {
        if let Some(name) = ObjectName::of(raw) {
            self.remove(&name);
        }
        self.insert(raw)
    }

    /// Forgets an object. Says whether it was known.
    pub fn remove(&mut self, name: &ObjectName) -> bool {
        match name.kind.as_str() {
            "SplitTokenRoute" => self.routes.remove(name).is_some(),
            "SplitTokenIssuer" => self.issuers.remove(name).is_some(),
            "Secret" => self.secrets.remove(name).is_some(),
            "ConfigMap" => self.config_maps.remove(name).is_some(),
            "Namespace" => self.namespaces.remove(&name.name).is_some(),
            _ => false,
        }
    }

    /// Forgets the Namespaces that are not there any more. Says whether there was any.
    pub fn keep_namespaces(&mut self, is_there: impl Fn(&str) -> bool) -> bool {
        let before = self.namespaces.len();
        self.namespaces.retain(|name, _| is_there(name));
        self.namespaces.len() < before
    }

    /// Takes in a Namespace in place of the one that had its name. Says whether that changes anything for routes.
    pub fn put_namespace(&mut self, raw: &Value) -> bool {
        let Some(name) = ObjectName::of(raw) else {
            return false;
        };
        let labels = metadata::labels(raw);
        self.namespaces
            .insert(name.name, labels.clone())
            .is_none_or(|before| before != labels)
    }

    /// Whether there is any route or issuer in a namespace.
    pub fn are_in(&self, namespace: &str) -> bool {
        let mut names = self.routes.keys().chain(self.issuers.keys());
        names.any(|name| name.namespace == namespace)
    }

    /// Whether any route names this Service as a backend.
    pub fn lead_to(&self, namespace: &str, service: &str) -> bool {
        self.routes.iter().any(|(name, route)| {
            let rules = route.iter().flat_map(|route| &route.spec.rules);
            rules.flat_map(|rule| &rule.backend_refs).any(|backend| {
                let its_namespace = backend.namespace.as_deref().unwrap_or(&name.namespace);
                backend.name.as_deref() == Some(service) && its_namespace == namespace
            })
        })
    }

    /// The Secrets and `ConfigMap`s that the objects of a class refer to, there or not. What routes of a namespace
    /// that is not served name is nobody's to read; an issuer may be for routes of another namespace than its own.
    pub fn references(&self, class: &str, installation: &Installation) -> BTreeSet<ObjectName> {
        let routes = self.routes.iter().filter_map(|(name, route)| {
            let spec = &route.as_ref().ok()?.spec;
            let labels = self.namespace_labels(&name.namespace);
            let is_served = spec.class_name == class && installation.allows_namespace(&labels);
            is_served.then(|| spec.references(&name.namespace))
        });
        let issuers = self.issuers.iter().filter_map(|(name, issuer)| {
            let spec = &issuer.as_ref().ok()?.spec;
            (spec.class_name == class).then(|| spec.issuer.references(&name.namespace))
        });
        routes.chain(issuers).flatten().collect()
    }

    /// The Secrets and `ConfigMap`s that one route or issuer refers to itself.
    pub fn references_of(&self, object: &ObjectName) -> Vec<ObjectName> {
        let route = self.routes.get(object).and_then(|route| route.as_ref().ok());
        let issuer = self.issuers.get(object).and_then(|issuer| issuer.as_ref().ok());
        let of_route = route.map(|route| route.spec.references(&object.namespace));
        let of_issuer = issuer.map(|issuer| issuer.spec.issuer.references(&object.namespace));
        of_route.or(of_issuer).unwrap_or_default()
    }

    /// The routes and issuers of which nothing can be said without these Secrets and `ConfigMap`s.
    pub fn dependents(&self, references: &BTreeSet<ObjectName>) -> BTreeSet<ObjectName> {
        if references.is_empty() {
            return BTreeSet::new();
        }
        let refers = |name: &ObjectName| {
            self.references_of(name)
                .iter()
                .any(|name| references.contains(name))
        };
        let issuers: BTreeSet<ObjectName> =
            self.issuers.keys().filter(|name| refers(name)).cloned().collect();
        let routes = self.routes.iter().filter(|(name, route)| {
            let shared = route
                .as_ref()
                .ok()
                .and_then(|route| issuer_name(route, &name.namespace));
            refers(name) || shared.is_some_and(|shared| issuers.contains(&shared))
        });
        let routes: Vec<ObjectName> = routes.map(|(name, _)| name.clone()).collect();
        issuers.into_iter().chain(routes).collect()
    }

    /// The labels of a namespace; Kubernetes itself gives each one its name.
    pub(crate) fn namespace_labels(&self, namespace: &str) -> BTreeMap<String, String> {
        let mut labels = self.namespaces.get(namespace).cloned().unwrap_or_default();
        labels.insert("kubernetes.io/metadata.name".to_owned(), namespace.to_owned());
        labels
    }
}

fn kind_of(raw: &Value) -> Result<Kind, Vec<FieldError>> {
    let fault = |field, reason, message: String| Err(vec![FieldError::new(field, reason, message)]);
    let text = |field| raw.get(field).and_then(Value::as_str).unwrap_or_default();
    if !raw.is_object() {
        return fault(
            "",
            FieldReason::Type,
            "must be an object with apiVersion and kind".to_owned(),
        );
    }
    if text("apiVersion").is_empty() || text("kind").is_empty() {
        return fault(
            "apiVersion",
            FieldReason::Required,
            "apiVersion and kind are required".to_owned(),
        );
    }
    let (group, version) = text("apiVersion")
        .split_once('/')
        .unwrap_or(("", text("apiVersion")));
    Ok(match (group, version, text("kind")) {
        (GROUP, VERSION, "SplitTokenRoute") => Kind::Route,
        (GROUP, VERSION, "SplitTokenIssuer") => Kind::Issuer,
        (GROUP, VERSION, _) => {
            let message = "must be SplitTokenRoute or SplitTokenIssuer: no other kind exists".to_owned();
            return fault("kind", FieldReason::Version, message);
        }
        (GROUP, _, _) => {
            let message = format!("must be {GROUP}/{VERSION}: no other version exists");
            return fault("apiVersion", FieldReason::Version, message);
        }
        ("", "v1", "Secret") => Kind::Secret,
        ("", "v1", "ConfigMap") => Kind::ConfigMap,
        ("", "v1", "Namespace") => Kind::Namespace,
        _ => Kind::Other,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn issuer(spec: &Value) -> Value {
        json!({
            "apiVersion": "splittoken.dev/v1alpha1", "kind": "SplitTokenIssuer",
            "metadata": {"name": "login", "namespace": "id"}, "spec": spec,
        })
    }

    #[test]
    fn objects_come_again_and_go() {
        let mut resources = Resources::default();
        let object = issuer(&json!({"url": "https://login.example"}));
        let Ok(Inserted::Taken(name)) = resources.put(&object) else {
            panic!("not taken");
        };
        assert!(resources.put(&object).is_ok(), "again");
        assert!(resources.insert(&object).is_err(), "twice in files");
        assert!(resources.remove(&name));
        assert!(!resources.remove(&name));
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "id"}});
        resources.put(&secret).unwrap();
        let mut broken = secret;
        broken["data"] = json!({"a": "no base64!"});
        assert!(resources.put(&broken).is_err());
        assert!(
            resources.secrets.is_empty(),
            "the old content outlived its object"
        );
    }

    #[test]
    fn what_is_referred_to_is_known_before_it_is_there() {
        let mut resources = Resources::default();
        resources
            .put(&issuer(&json!({
                "url": "https://login.example", "algorithms": ["HS256"], "hmacSecretRef": {"name": "key"},
                "tls": {"caCertificateRefs": [{"name": "ca"}, {"kind": "Secret", "name": "ca2"}]},
            })))
            .unwrap();
        let open = Installation::default();
        let names = |class| -> Vec<String> {
            let references = resources.references(class, &open);
            references.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            names("default"),
            ["ConfigMap/id/ca", "Secret/id/ca2", "Secret/id/key"]
        );
        assert!(names("other").is_empty());
    }

    #[test]
    fn what_a_route_of_a_refused_namespace_names_is_not_read() {
        let mut resources = Resources::default();
        for namespace in ["in", "out"] {
            let issuer = json!({"url": "https://login.example", "algorithms": ["HS256"], "hmacSecretRef": {"name": "key"}});
            let route = json!({
                "apiVersion": "splittoken.dev/v1alpha1", "kind": "SplitTokenRoute",
                "metadata": {"name": "r", "namespace": namespace},
                "spec": {"hostnames": ["a.example"], "issuer": issuer, "tokenEndpoints": {"token": {}}},
            });
            resources.put(&route).unwrap();
        }
        let policy = "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: in}}";
        let references = resources.references("default", &Installation::parse(policy).unwrap());
        assert_eq!(
            references,
            BTreeSet::from([ObjectName::new("Secret", "in", "key")])
        );
    }

    #[test]
    fn who_depends_on_a_secret_is_found_through_the_issuer() {
        let mut resources = Resources::default();
        let spec = json!({"url": "https://login.example", "algorithms": ["HS256"], "hmacSecretRef": {"name": "key"}});
        resources.put(&issuer(&spec)).unwrap();
        for (name, issuer) in [
            ("shared", json!({"name": "login", "namespace": "id"})),
            ("other", json!({"name": "x"})),
        ] {
            let route = json!({
                "apiVersion": "splittoken.dev/v1alpha1", "kind": "SplitTokenRoute",
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {"hostnames": ["a.example"], "issuerRef": issuer, "tokenEndpoints": {"token": {}}},
            });
            resources.put(&route).unwrap();
        }
        let secret = BTreeSet::from([ObjectName::new("Secret", "id", "key")]);
        let dependents: Vec<String> = resources
            .dependents(&secret)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            dependents,
            ["SplitTokenIssuer/id/login", "SplitTokenRoute/shop/shared"]
        );
        assert!(resources.dependents(&BTreeSet::new()).is_empty());
    }
}
