use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CaCertificateRef;
use crate::{cel_rules::rules, patterns};

/// A Service, or a URL where the installation allows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.name) != has(self.url)", "exactly one of name and url must be set"),
    ("has(self.name) == has(self.port)", "port belongs to name: a Service needs it, a url holds its own"),
    // `namespace` is a reserved word of CEL, which Kubernetes escapes like this.
    ("!has(self.__namespace__) || has(self.name)", "namespace belongs to name"),
    (
        "!has(self.url) || !has(self.tls) || self.url.startsWith('https://') == (self.tls.mode != 'Disabled')",
        "a url is https exactly where tls.mode is another than Disabled",
    ),
])))]
pub struct BackendRef {
    /// Name of a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = patterns::DNS_LABEL))]
    pub name: Option<String>,
    /// Its namespace; the route's own if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = patterns::DNS_LABEL))]
    pub namespace: Option<String>,
    /// A port of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Scheme, host and port of an upstream outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = patterns::ORIGIN))]
    pub url: Option<String>,
    /// What is spoken with it.
    #[serde(default)]
    pub protocol: BackendProtocol,
    /// TLS towards it; `System` for a `url` with https that says nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
    /// Its share of the requests, relative to the others; 0 is none.
    #[serde(default = "default_weight")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: i32,
}

fn default_weight() -> i32 {
    1
}

/// What is spoken with a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BackendProtocol {
    /// With TLS, what both sides prefer. Without it HTTP/2 where the Service's port says so (`appProtocol:
    /// kubernetes.io/h2c`), otherwise HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1.
    #[serde(rename = "HTTP1")]
    Http1,
    /// HTTP/2; without TLS it is known beforehand (RFC 9113 §3.3).
    #[serde(rename = "HTTP2")]
    Http2,
}

/// TLS towards a backend. Its certificate is always verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("(self.mode == 'Custom') == has(self.caCertificateRefs)", "caCertificateRefs belong to the mode Custom, and only to it"),
    (
        "self.mode != 'Disabled' || (!has(self.serverName) && !has(self.clientCertificateRef))",
        "serverName and clientCertificateRef need TLS: mode must not be Disabled",
    ),
])))]
pub struct BackendTls {
    /// Whether TLS is spoken, and whose certificates count.
    #[serde(default)]
    pub mode: BackendTlsMode,
    /// Certificate authorities, in the place of the system's: the key `ca.crt` of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8))]
    pub ca_certificate_refs: Vec<CaCertificateRef>,
    /// What the certificate must be for; the URL's host or `<name>.<namespace>.svc` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = patterns::DNS_SUBDOMAIN))]
    pub server_name: Option<String>,
    /// What the gateway shows of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<ClientCertificateRef>,
}

/// Whether TLS is spoken with a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BackendTlsMode {
    /// It is not.
    #[default]
    Disabled,
    /// With the authorities of the gateway's system.
    System,
    /// With those of `caCertificateRefs`.
    Custom,
}

/// A Secret of the type `kubernetes.io/tls` of the object's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificateRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = patterns::DNS_SUBDOMAIN))]
    pub name: String,
}
