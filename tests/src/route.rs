//! The route and its documents that most tests start from, to be changed member by member.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// One route with an issuer of its own, and the documents that it refers to. Written as JSON, which is YAML too.
#[derive(Debug, Clone)]
pub struct Route {
    route: Value,
    documents: Vec<Value>,
}

impl Route {
    /// The host 127.0.0.1, an issuer of its own over plain HTTP, tokens at `/oauth/token`, everything else to one
    /// backend: the same as [`crate::gateway::smallest_route`].
    pub fn new(issuer: &str, upstream: &str) -> Self {
        let route = json!({
            "apiVersion": "splittoken.dev/v1alpha1",
            "kind": "SplitTokenRoute",
            "metadata": {"name": "shop", "namespace": "default"},
            "spec": {
                "hostnames": ["127.0.0.1"],
                "issuer": {"url": issuer, "transport": "PlainHTTPAllowed"},
                "tokenEndpoints": {"token": {"path": "/oauth/token"}},
                "rules": [{"name": "api", "backendRefs": [{"url": upstream}]}],
            },
        });
        Self {
            route,
            documents: Vec::new(),
        }
    }

    /// Another name, for routes beside each other in one file.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.route["metadata"]["name"] = json!(name);
        self
    }

    /// Puts members into `spec.issuer`; null takes one away.
    #[must_use]
    pub fn issuer(mut self, members: &Value) -> Self {
        merge(&mut self.route["spec"]["issuer"], members);
        self
    }

    /// Puts members into `spec.tokenEndpoints.token`.
    #[must_use]
    pub fn token(mut self, members: &Value) -> Self {
        merge(&mut self.route["spec"]["tokenEndpoints"]["token"], members);
        self
    }

    /// Puts members into the rule.
    #[must_use]
    pub fn rule(mut self, members: &Value) -> Self {
        merge(&mut self.route["spec"]["rules"][0], members);
        self
    }

    /// Puts members into `spec`.
    #[must_use]
    pub fn spec(mut self, members: &Value) -> Self {
        merge(&mut self.route["spec"], members);
        self
    }

    /// Adds a Secret with one entry.
    #[must_use]
    pub fn secret(mut self, name: &str, key: &str, value: &[u8]) -> Self {
        self.documents.push(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": "default"},
            "data": {key: STANDARD.encode(value)},
        }));
        self
    }

    /// Adds a Secret with a certificate and its key.
    #[must_use]
    pub fn tls_secret(mut self, name: &str, certificate: &str, key: &str) -> Self {
        self.documents.push(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": name, "namespace": "default"},
            "data": {"tls.crt": STANDARD.encode(certificate), "tls.key": STANDARD.encode(key)},
        }));
        self
    }

    /// Adds a `ConfigMap` with one entry.
    #[must_use]
    pub fn config_map(mut self, name: &str, key: &str, value: &str) -> Self {
        self.documents.push(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "default"},
            "data": {key: value},
        }));
        self
    }
}

impl From<Route> for String {
    fn from(route: Route) -> Self {
        let documents = [route.route].into_iter().chain(route.documents);
        documents
            .flat_map(|document| ["---\n".to_owned(), document.to_string(), "\n".to_owned()])
            .collect()
    }
}

fn merge(into: &mut Value, members: &Value) {
    for (name, value) in members.as_object().into_iter().flatten() {
        if value.is_null() {
            into.as_object_mut().and_then(|object| object.remove(name));
        } else {
            into[name] = value.clone();
        }
    }
}
