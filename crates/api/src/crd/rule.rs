use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BackendRef, RuleMatch};
use crate::{
    cel_rules::rules,
    duration::{GepDuration, seconds},
    patterns,
};

/// Headers that frame a message or that the gateway answers for; nobody else may set them.
const OWN_HEADERS: &str = "['authorization', 'host', 'cookie', 'transfer-encoding', 'connection', 'keep-alive', \
                           'te', 'trailer', 'upgrade', 'proxy-authorization', 'proxy-connection', 'forwarded', \
                           'x-real-ip']";

/// Headers that frame a message: without them, or with others, it would be another message.
const FRAMING_HEADERS: &str = "['host', 'transfer-encoding', 'connection', 'keep-alive', 'te', 'trailer', 'upgrade', 'proxy-connection']";

/// One rule: what it matches, who may pass, and where the request goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "!has(self.authorization) || self.authentication == 'Required'",
        "authorization needs authentication Required",
    ),
    (
        "!has(self.claimsToHeaders) || self.authentication != 'Disabled'",
        "claimsToHeaders needs a token: authentication must not be Disabled",
    ),
    (
        "!has(self.pathRewrite) || self.matches.all(m, m.path.type == 'PathPrefix')",
        "pathRewrite needs matches of type PathPrefix only",
    ),
])))]
pub struct Rule {
    /// Unique in the route; used in metrics and conditions.
    #[schemars(length(min = 1, max = 63), regex(pattern = patterns::DNS_LABEL))]
    pub name: String,
    /// Any of these; every path if left out. Precedence is Gateway API's.
    #[serde(default = "default_matches")]
    #[schemars(length(min = 1, max = 16))]
    pub matches: Vec<RuleMatch>,
    /// Whether a token is needed.
    #[serde(default)]
    pub authentication: Authentication,
    /// What the token must say; 403 otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// Claims that the upstream gets as headers. The client's own copies are always removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["header"]),
        extend("x-kubernetes-validations" = rules(&[(
            "self.all(a, self.exists_one(b, a.header.lowerAscii() == b.header.lowerAscii()))",
            "no two claims may go to the same header",
        )]))
    )]
    pub claims_to_headers: Vec<ClaimToHeader>,
    /// Changes the path on its way to the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_rewrite: Option<PathRewrite>,
    /// Changes headers on their way to the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<RequestHeaders>,
    /// Time limits.
    #[serde(default)]
    pub timeouts: RuleTimeouts,
    /// Further tries.
    #[serde(default)]
    pub retries: Retries,
    /// What a request may turn its connection into; without it, nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "set"))]
    pub upgrades: Vec<Upgrade>,
    /// Where requests go, by weight.
    #[schemars(length(min = 1, max = 16))]
    pub backend_refs: Vec<BackendRef>,
}

fn default_matches() -> Vec<RuleMatch> {
    vec![RuleMatch::default()]
}

/// A protocol that a connection may change to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Upgrade {
    /// RFC 6455. The connection ends when the token does.
    #[serde(rename = "websocket")]
    WebSocket,
}

/// Whether a rule needs a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Authentication {
    /// No token, no answer.
    #[default]
    Required,
    /// None passes, a bad one is refused.
    Optional,
    /// Nothing is looked at; a credential is removed.
    Disabled,
}

/// What the token must say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct Authorization {
    /// `aud` must hold one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 1, max = 512), regex(pattern = patterns::TEXT)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub audiences: Vec<String>,
    /// `scope` must hold all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 1, max = 256), regex(pattern = patterns::SCOPE)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub scopes: Vec<String>,
    /// `scope` must hold one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 1, max = 256), regex(pattern = patterns::SCOPE)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub any_scopes: Vec<String>,
    /// All of these must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub claims: Vec<ClaimRequirement>,
    /// The client must be one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "clientIDs")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 256), regex(pattern = patterns::TEXT)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub client_ids: Vec<String>,
}

/// A claim and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "(self.operator == 'In' || self.operator == 'NotIn') == has(self.values)",
    "values belong to the operators In and NotIn, and only to them",
)])))]
pub struct ClaimRequirement {
    /// Dots descend into objects.
    #[schemars(length(min = 1, max = 256), regex(pattern = patterns::CLAIM))]
    pub name: String,
    /// How it is compared.
    pub operator: ClaimOperator,
    /// What it is compared with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 1, max = 256), regex(pattern = patterns::TEXT)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub values: Vec<String>,
}

/// How a claim is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClaimOperator {
    /// It, or one of its elements, is one of the values.
    In,
    /// It is there, and neither it nor any element is one of the values.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// A claim that the upstream gets as a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    &format!(
        "!(self.header.lowerAscii() in {OWN_HEADERS}) && !self.header.lowerAscii().startsWith('content-') && \
         !self.header.lowerAscii().startsWith('x-forwarded-')"
    ),
    "header must not be Authorization, Host, Cookie, Content-*, X-Forwarded-* or one that frames the message",
)])))]
pub struct ClaimToHeader {
    /// Dots descend into objects.
    #[schemars(length(min = 1, max = 256), regex(pattern = patterns::CLAIM))]
    pub claim: String,
    /// The header that carries it.
    #[schemars(length(min = 1, max = 256), regex(pattern = patterns::HEADER_NAME))]
    pub header: String,
    /// How values that are no plain text are written.
    #[serde(default)]
    pub encoding: ClaimEncoding,
}

/// How a claim is written into a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClaimEncoding {
    /// Plain text; the elements of a list joined by commas.
    #[default]
    CommaSeparated,
    /// JSON.
    #[serde(rename = "JSON")]
    Json,
}

/// Changes the path on its way to the backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!self.replacePrefixMatch.contains('//') && !(self.replacePrefixMatch + '/').contains('/./') && \
     !(self.replacePrefixMatch + '/').contains('/../')",
    "replacePrefixMatch must be canonical: no `//`, no dot segments",
)])))]
pub struct PathRewrite {
    /// Takes the place of the matched prefix.
    #[schemars(length(min = 1, max = 1024), regex(pattern = patterns::PATH))]
    pub replace_prefix_match: String,
}

/// Changes headers on their way to the backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct RequestHeaders {
    /// Set, replacing what is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]),
        extend("x-kubernetes-validations" = rules(&[(
            "self.all(a, self.exists_one(b, a.name.lowerAscii() == b.name.lowerAscii()))",
            "no header may be set twice",
        )]))
    )]
    pub set: Vec<HeaderSet>,
    /// Removed, after `set`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 1, max = 256), regex(pattern = patterns::HEADER_NAME)),
        extend("x-kubernetes-list-type" = "set"),
        extend("x-kubernetes-validations" = rules(&[(
            &format!(
                "self.all(name, !(name.lowerAscii() in {FRAMING_HEADERS}) && \
                 !name.lowerAscii().startsWith('content-'))"
            ),
            "headers that frame the message cannot be removed",
        )]))
    )]
    pub remove: Vec<String>,
}

/// A header to set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    &format!(
        "!(self.name.lowerAscii() in {OWN_HEADERS}) && !self.name.lowerAscii().startsWith('content-') && \
         !self.name.lowerAscii().startsWith('x-forwarded-')"
    ),
    "name must not be Authorization, Host, Cookie, Content-*, X-Forwarded-* or one that frames the message",
)])))]
pub struct HeaderSet {
    /// The header.
    #[schemars(length(min = 1, max = 256), regex(pattern = patterns::HEADER_NAME))]
    pub name: String,
    /// Its value.
    #[schemars(length(min = 1, max = 4096), regex(pattern = patterns::HEADER_VALUE))]
    pub value: String,
}

/// Time limits; `0s` is no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleTimeouts {
    /// From the request to the response headers, retries included.
    #[serde(default = "default_request")]
    pub request: GepDuration,
    /// The same for one try.
    #[serde(default = "default_backend_request")]
    pub backend_request: GepDuration,
    /// To a connection.
    #[serde(default = "default_connect")]
    pub connect: GepDuration,
    /// Between two pieces of a body.
    #[serde(default = "default_idle")]
    pub idle: GepDuration,
}

impl Default for RuleTimeouts {
    fn default() -> Self {
        Self {
            request: default_request(),
            backend_request: default_backend_request(),
            connect: default_connect(),
            idle: default_idle(),
        }
    }
}

fn default_request() -> GepDuration {
    seconds(60)
}

fn default_backend_request() -> GepDuration {
    seconds(30)
}

fn default_connect() -> GepDuration {
    seconds(2)
}

fn default_idle() -> GepDuration {
    seconds(300)
}

/// Further tries after a failure that may be tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// After a connect failure, or for idempotent methods without a body.
    #[serde(default = "default_max_retries")]
    #[schemars(range(min = 0, max = 10))]
    pub max_retries: i32,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            max_retries: default_max_retries(),
        }
    }
}

fn default_max_retries() -> i32 {
    1
}
