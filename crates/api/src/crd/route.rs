use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cors, Issuer, Rule, default_class};
use crate::{
    cel_rules::rules,
    duration::{GepDuration, seconds},
    patterns,
    status::RouteStatus,
};

/// What an application team writes: hostnames, whose tokens count, where clients ask for them, and where API
/// requests go.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "splittoken.dev",
    version = "v1alpha1",
    kind = "SplitTokenRoute",
    plural = "splittokenroutes",
    namespaced,
    status = "RouteStatus",
    derive = "PartialEq",
    shortname = "str",
    category = "splittoken",
    doc = "Gives the APIs behind it opaque access tokens: clients hold the signature of a JWT, upstreams get the JWT.",
    printcolumn = r#"{"name": "Hostname", "type": "string", "jsonPath": ".spec.hostnames[0]"}"#,
    printcolumn = r#"{"name": "Issuer", "type": "string", "jsonPath": ".spec['issuerRef','issuer']['name','url']"}"#,
    printcolumn = r#"{"name": "Programmed", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Programmed')].status"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "priority": 1, "jsonPath": ".status.conditions[?(@.type=='Ready')].reason"}"#,
    printcolumn = r#"{"name": "Hostnames", "type": "string", "priority": 1, "jsonPath": ".spec.hostnames"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.issuer) != has(self.issuerRef)", "exactly one of issuer and issuerRef must be set"),
    ("has(self.tokenEndpoints) || has(self.rules)", "a route needs tokenEndpoints or rules"),
    (
        "!has(self.tokenEndpoints) || !has(self.tokenEndpoints.token) || !has(self.rules) || self.rules.all(r, \
         r.matches.all(m, m.path.type != 'Exact' || m.path.value != self.tokenEndpoints.token.path))",
        "a rule must not match exactly the path of the token endpoint",
    ),
])))]
pub struct SplitTokenRouteSpec {
    /// The installation that serves this route.
    #[serde(default = "default_class")]
    #[schemars(length(min = 1, max = 63), regex(pattern = patterns::DNS_LABEL))]
    pub class_name: String,
    /// Exact names, IP literals, or `*.` and a name; matched without the port, the most specific wins.
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 1, max = 253), regex(pattern = patterns::HOSTNAME)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub hostnames: Vec<String>,
    /// A shared issuer. It must allow this route's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
    /// A private issuer: its tokens open at this route only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Issuer>,
    /// Endpoints that the gateway itself answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoints: Option<TokenEndpoints>,
    /// What holds for the whole route.
    #[serde(default)]
    pub policies: Policies,
    /// What pages of other origins may do with this route. Without it, that is the upstreams' own business.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Where API requests go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub rules: Vec<Rule>,
}

/// A `SplitTokenIssuer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// Name of the issuer.
    #[schemars(length(min = 1, max = 253), regex(pattern = patterns::DNS_SUBDOMAIN))]
    pub name: String,
    /// Its namespace; the route's own if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = patterns::DNS_LABEL))]
    pub namespace: Option<String>,
}

/// Endpoints that the gateway itself answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct TokenEndpoints {
    /// Where clients ask for tokens (RFC 6749 §3.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenEndpoint>,
}

/// The token endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "!(self.path + '/').contains('//') && !(self.path + '/').contains('/./') && \
         !(self.path + '/').contains('/../')",
        "path must be canonical: no `//`, no dot segments, no slash at the end",
    ),
])))]
pub struct TokenEndpoint {
    /// The exact path.
    #[serde(default = "default_token_path")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = patterns::PATH))]
    pub path: String,
    /// The grant types that pass; all if left out. Others get `unsupported_grant_type`, the provider is not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 1, max = 128), regex(pattern = patterns::WORD)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub grant_types: Vec<String>,
    /// What becomes of a refresh token.
    #[serde(default)]
    pub refresh_token: RefreshTokenPolicy,
    /// What becomes of an ID token. Where it carries `at_hash`, that covers a token which the client never gets.
    #[serde(default)]
    pub id_token: IdTokenPolicy,
    /// What becomes of an access token that is no JWT.
    #[serde(default, rename = "onNonJWT")]
    pub on_non_jwt: OnNonJwt,
}

fn default_token_path() -> String {
    "/oauth/token".into()
}

/// What becomes of a refresh token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RefreshTokenPolicy {
    /// It goes to the client unchanged.
    #[default]
    PassThrough,
    /// It is left out of the answer.
    Remove,
}

/// What becomes of an ID token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IdTokenPolicy {
    /// It goes to the client unchanged.
    #[default]
    PassThrough,
    /// It is left out of the answer.
    Remove,
}

/// What becomes of an access token that is no JWT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnNonJwt {
    /// The client gets an error.
    #[default]
    Reject,
    /// It goes to the client unchanged.
    PassThrough,
}

/// What holds for the whole route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Policies {
    /// What to do while the token store cannot be reached.
    #[serde(default)]
    pub store_unavailable: StoreUnavailable,
}

/// What to do while the token store cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("duration(self.maxStale) <= duration('24h')", "maxStale must be at most 24h"),
])))]
pub struct StoreUnavailable {
    /// How long a cached token may still be served; `0s` is strict.
    #[serde(default = "default_max_stale")]
    pub max_stale: GepDuration,
}

impl Default for StoreUnavailable {
    fn default() -> Self {
        Self {
            max_stale: default_max_stale(),
        }
    }
}

fn default_max_stale() -> GepDuration {
    seconds(10)
}
