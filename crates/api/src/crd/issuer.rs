use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use splittoken_token::Algorithm;

use super::{AllowedRoutes, ClientCertificateRef, default_class};
use crate::{
    cel_rules::rules,
    duration::{GepDuration, seconds},
    patterns,
    status::IssuerStatus,
};

/// A realm of tokens that many routes share.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "splittoken.dev",
    version = "v1alpha1",
    kind = "SplitTokenIssuer",
    plural = "splittokenissuers",
    namespaced,
    status = "IssuerStatus",
    derive = "PartialEq",
    category = "splittoken",
    doc = "An identity provider whose tokens open at every route that names it and that it allows.",
    printcolumn = r#"{"name": "URL", "type": "string", "jsonPath": ".spec.url"}"#,
    printcolumn = r#"{"name": "Reachable", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Reachable')].status"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "priority": 1, "jsonPath": ".status.conditions[?(@.type=='Ready')].reason"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = issuer_rules()))]
pub struct SplitTokenIssuerSpec {
    /// The installation that serves this issuer. Routes of another class do not find it.
    #[serde(default = "default_class")]
    #[schemars(length(min = 1, max = 63), regex(pattern = patterns::DNS_LABEL))]
    pub class_name: String,
    /// The provider and what its tokens must be.
    #[serde(flatten)]
    pub issuer: Issuer,
    /// Which routes may use it.
    #[serde(default)]
    pub allowed_routes: AllowedRoutes,
}

/// An identity provider and what its tokens must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = issuer_rules()))]
pub struct Issuer {
    /// The `iss` of every token, exactly.
    #[schemars(length(min = 1, max = 512), regex(pattern = patterns::URL))]
    pub url: String,
    /// Whether plain HTTP may be spoken to the provider.
    #[serde(default)]
    pub transport: Transport,
    /// Where its endpoints come from.
    #[serde(default)]
    pub discovery: Discovery,
    /// Endpoints that override what discovery says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<IssuerEndpoints>,
    /// The `alg` values that its tokens may have.
    #[serde(default = "default_algorithms")]
    #[schemars(schema_with = "algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// What vouches for a token at issue.
    #[serde(default)]
    pub verification: Verification,
    /// A token must name one of these in `aud`; any if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 1, max = 512), regex(pattern = patterns::TEXT)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub audiences: Vec<String>,
    /// The header's `typ` must be one of these; any if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 8),
        inner(length(min = 1, max = 128), regex(pattern = patterns::WORD)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub token_types: Vec<String>,
    /// How far the provider's clock may be off.
    #[serde(default = "default_clock_skew")]
    pub clock_skew: GepDuration,
    /// How its keys are fetched.
    #[serde(default)]
    pub jwks: Jwks,
    /// Whom to trust as the provider; the system's certificate authorities if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<IssuerTls>,
    /// How long records may live.
    #[serde(default)]
    pub lifetime: Lifetime,
    /// The Secret that holds the raw key of HS256, HS384 and HS512.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac_secret_ref: Option<SecretKeyRef>,
    /// Time limits towards the provider.
    #[serde(default)]
    pub timeouts: IssuerTimeouts,
}

/// The rules over several fields; they hold for the kind and for the inline form.
fn issuer_rules() -> serde_json::Value {
    rules(&[
        (
            "self.transport == 'PlainHTTPAllowed' || !self.url.startsWith('http:')",
            "url must be https unless transport is PlainHTTPAllowed",
        ),
        (
            "self.transport == 'PlainHTTPAllowed' || !has(self.endpoints) || \
             !((has(self.endpoints.token) && self.endpoints.token.startsWith('http:')) || \
             (has(self.endpoints.jwks) && self.endpoints.jwks.startsWith('http:')) || \
             (has(self.endpoints.revocation) && self.endpoints.revocation.startsWith('http:')))",
            "endpoints must be https unless transport is PlainHTTPAllowed",
        ),
        (
            "self.transport != 'PlainHTTPAllowed' || self.verification != 'Transport'",
            "verification Transport trusts TLS: transport must be HTTPSOnly",
        ),
        (
            "self.discovery == 'Auto' || (has(self.endpoints) && has(self.endpoints.token))",
            "discovery None needs endpoints.token",
        ),
        (
            "self.discovery == 'Auto' || self.verification == 'Transport' || has(self.hmacSecretRef) || \
             (has(self.endpoints) && has(self.endpoints.jwks))",
            "discovery None needs endpoints.jwks to verify signatures",
        ),
        (
            "!self.algorithms.exists(a, a.startsWith('HS')) || self.algorithms.all(a, a.startsWith('HS'))",
            "HMAC algorithms must not be mixed with public-key algorithms",
        ),
        (
            "!self.algorithms.exists(a, a.startsWith('HS')) || has(self.hmacSecretRef) || \
             self.verification == 'Transport'",
            "HMAC algorithms need hmacSecretRef or verification Transport",
        ),
        (
            "!has(self.hmacSecretRef) || self.algorithms.exists(a, a.startsWith('HS'))",
            "hmacSecretRef needs HMAC algorithms",
        ),
        (
            "!has(self.hmacSecretRef) || self.verification == 'Signature'",
            "hmacSecretRef is not used with verification Transport",
        ),
        (
            "duration(self.clockSkew) <= duration('10m')",
            "clockSkew must be at most 10m",
        ),
    ])
}

/// Whether plain HTTP may be spoken to the provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Transport {
    /// `https` only, discovered endpoints included.
    #[default]
    #[serde(rename = "HTTPSOnly")]
    HttpsOnly,
    /// `http` too: in a mesh, and for local runs.
    #[serde(rename = "PlainHTTPAllowed")]
    PlainHttpAllowed,
}

/// Where the provider's endpoints come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Discovery {
    /// OpenID Connect Discovery, then RFC 8414.
    #[default]
    Auto,
    /// From `endpoints` alone.
    None,
}

/// What vouches for a token at issue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verification {
    /// Its signature.
    #[default]
    Signature,
    /// That it came straight from the provider over TLS.
    Transport,
}

/// Endpoint URLs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct IssuerEndpoints {
    /// Token endpoint (RFC 6749 §3.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = patterns::URL))]
    pub token: Option<String>,
    /// JWK Set (RFC 7517).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = patterns::URL))]
    pub jwks: Option<String>,
    /// Revocation endpoint (RFC 7009): takes back a token that could not be stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = patterns::URL))]
    pub revocation: Option<String>,
}

fn default_algorithms() -> Vec<Algorithm> {
    vec![
        Algorithm::RS256,
        Algorithm::PS256,
        Algorithm::ES256,
        Algorithm::EdDSA,
    ]
}

fn algorithms(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<_> = Algorithm::ALL.iter().map(|alg| alg.name()).collect();
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": names.len(),
        "x-kubernetes-list-type": "set",
        "items": {"type": "string", "enum": names},
    })
}

fn default_clock_skew() -> GepDuration {
    seconds(30)
}

/// How the provider's keys are fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("duration(self.minRefreshInterval) >= duration('1s')", "minRefreshInterval must be at least 1s"),
    (
        "duration(self.refreshInterval) >= duration(self.minRefreshInterval)",
        "refreshInterval must not be shorter than minRefreshInterval",
    ),
])))]
pub struct Jwks {
    /// How often they are fetched again.
    #[serde(default = "default_refresh_interval")]
    pub refresh_interval: GepDuration,
    /// How soon they may be fetched again for the same unknown `kid`.
    #[serde(default = "default_min_refresh_interval")]
    pub min_refresh_interval: GepDuration,
}

impl Default for Jwks {
    fn default() -> Self {
        Self {
            refresh_interval: default_refresh_interval(),
            min_refresh_interval: default_min_refresh_interval(),
        }
    }
}

fn default_refresh_interval() -> GepDuration {
    seconds(300)
}

fn default_min_refresh_interval() -> GepDuration {
    seconds(30)
}

/// Whom to trust as the provider, and what it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct IssuerTls {
    /// Certificate authorities, in the place of the system's: the key `ca.crt` of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8))]
    pub ca_certificate_refs: Vec<CaCertificateRef>,
    /// What the gateway shows of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<ClientCertificateRef>,
}

/// A `ConfigMap` or Secret of the object's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaCertificateRef {
    /// Which of the two.
    #[serde(default)]
    pub kind: CaCertificateSource,
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = patterns::DNS_SUBDOMAIN))]
    pub name: String,
}

/// What holds a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CaCertificateSource {
    /// A `ConfigMap`.
    #[default]
    ConfigMap,
    /// A Secret.
    Secret,
}

/// How long records may live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("duration(self.max) >= duration('1s')", "max must be at least 1s"),
    ("duration(self.fallback) <= duration(self.max)", "fallback must not be longer than max"),
])))]
pub struct Lifetime {
    /// The longest life.
    #[serde(default = "default_lifetime_max")]
    pub max: GepDuration,
    /// The life where a token says nothing; `0s` refuses such tokens.
    #[serde(default = "default_lifetime_fallback")]
    pub fallback: GepDuration,
}

impl Default for Lifetime {
    fn default() -> Self {
        Self {
            max: default_lifetime_max(),
            fallback: default_lifetime_fallback(),
        }
    }
}

fn default_lifetime_max() -> GepDuration {
    seconds(24 * 3600)
}

fn default_lifetime_fallback() -> GepDuration {
    seconds(0)
}

/// An entry of a Secret of the object's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = patterns::DNS_SUBDOMAIN))]
    pub name: String,
    /// Its entry.
    #[serde(default = "default_hmac_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = patterns::DATA_KEY))]
    pub key: String,
}

fn default_hmac_key() -> String {
    "hmac".into()
}

/// Time limits towards the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("duration(self.connect) > duration('0s')", "connect must be longer than 0s"),
    ("duration(self.request) > duration('0s')", "request must be longer than 0s"),
])))]
pub struct IssuerTimeouts {
    /// To a connection.
    #[serde(default = "default_connect")]
    pub connect: GepDuration,
    /// To a whole answer.
    #[serde(default = "default_request")]
    pub request: GepDuration,
}

impl Default for IssuerTimeouts {
    fn default() -> Self {
        Self {
            connect: default_connect(),
            request: default_request(),
        }
    }
}

fn default_connect() -> GepDuration {
    seconds(2)
}

fn default_request() -> GepDuration {
    seconds(10)
}
