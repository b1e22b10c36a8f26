use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use splittoken_reach::Reach;
use splittoken_token::SecretBytes;

use crate::{
    Cors, Hostname,
    issuer::{IssuerConfig, IssuerSecrets},
};

/// The version of the wire form. A gateway refuses a route of a later one and goes on with what it has.
pub const FORMAT: u32 = 1;

/// One route as it travels to the gateways: resolved, with defaults filled in, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteConfig {
    /// [`FORMAT`].
    pub format: u32,
    /// The object it comes from.
    pub name: RouteName,
    /// When that object was made, in seconds since the epoch; 0 in files. The older route wins a tie.
    pub created: i64,
    /// What the request's host must match; at least one.
    pub hostnames: Vec<Hostname>,
    /// Whose tokens it takes.
    pub issuer: IssuerConfig,
    /// Where clients ask for tokens, if this route has such an endpoint.
    pub token_endpoint: Option<TokenEndpoint>,
    /// How long a cached token may be served while the store is unreachable.
    #[serde(with = "millis")]
    pub max_stale: Duration,
    /// What pages of other origins may do with it; `None` leaves that to the upstreams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Which addresses its backends may have; the narrower kind where a text says nothing of it.
    #[serde(flatten)]
    pub reach: Reach,
    /// Where API requests go. Shared with the table that serves them.
    pub rules: Vec<Arc<Rule>>,
}

/// `namespace/name` of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouteName {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Object name.
    pub name: String,
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A route together with what must not be seen, and the name of this very pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledRoute {
    /// What may be seen. Shared: a set of ten thousand is handed on with every edit of one.
    pub config: Arc<RouteConfig>,
    /// What may not.
    pub secrets: RouteSecrets,
    /// Changes whenever either half does. Short text, safe in labels and URLs.
    pub revision: String,
}

/// The secret half of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSecrets {
    /// Of its issuer.
    #[serde(default)]
    pub issuer: IssuerSecrets,
    /// What the gateway shows to backends, by the name of the Secret that it comes from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub client_certificates: BTreeMap<String, ClientCertificate>,
}

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// The certificate and those that lead to its authority: one PEM text each.
    pub chain: Vec<String>,
    /// The private key, in PEM.
    pub key: SecretBytes,
}

/// The token endpoint of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenEndpoint {
    /// Exact canonical path.
    pub path: String,
    /// `grant_type` values that pass; empty means all.
    pub grant_types: Vec<String>,
    /// What becomes of `refresh_token`.
    pub refresh_token: RefreshTokenPolicy,
    /// What becomes of `id_token`.
    pub id_token: IdTokenPolicy,
    /// What becomes of an access token that is no JWT.
    pub on_non_jwt: OnNonJwt,
}

/// What becomes of `refresh_token` in a token answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefreshTokenPolicy {
    /// Goes to the client unchanged.
    PassThrough,
    /// Is left out.
    Remove,
}

/// What becomes of `id_token` in a token answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdTokenPolicy {
    /// Goes to the client unchanged.
    PassThrough,
    /// Is left out.
    Remove,
}

/// What becomes of an access token that is no JWT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnNonJwt {
    /// 502.
    Reject,
    /// Goes to the client unchanged; the gateway cannot open it later.
    PassThrough,
}

/// One rule of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Unique in its route; used in metrics and logs.
    pub name: String,
    /// Any of these; at least one.
    pub matches: Vec<RouteMatch>,
    /// Whether a token is needed.
    pub authentication: Authentication,
    /// What the token must say.
    pub authorization: Option<Authorization>,
    /// Claims that the upstream gets as headers.
    pub claims_to_headers: Vec<ClaimToHeader>,
    /// Replaces the matched path prefix.
    pub replace_prefix: Option<String>,
    /// Edits of the request's headers.
    pub request_headers: RequestHeaders,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Further tries after a failure that may be tried again.
    pub max_retries: u32,
    /// Whether a request may turn its connection into a WebSocket. Not written where it may not, which most may not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub websocket: bool,
    /// Where requests go.
    pub backends: Vec<Backend>,
}

// The signature that `serde(skip_serializing_if)` asks for.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}

/// One alternative of a rule. Everything it names must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteMatch {
    /// The path.
    pub path: PathMatch,
    /// Any of these methods; empty means all.
    pub methods: Vec<String>,
    /// All of these headers, with exactly these values.
    pub headers: Vec<HeaderMatch>,
}

/// How a path matches. Values are canonical.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PathMatch {
    /// Whole segments from the start: `/a` matches `/a` and `/a/b`, not `/ab`.
    Prefix(String),
    /// The same bytes.
    Exact(String),
}

/// A header that must be there with this value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderMatch {
    /// Lower case.
    pub name: String,
    /// Exact value.
    pub value: String,
}

/// Whether a rule needs a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authentication {
    /// No token, no answer.
    Required,
    /// None passes, a bad one is refused.
    Optional,
    /// Nothing is looked at; the credential is removed.
    Disabled,
}

/// What a token must say; empty lists ask for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// `aud` must hold one of these.
    pub audiences: Vec<String>,
    /// `scope` must hold all of these.
    pub scopes: Vec<String>,
    /// `scope` must hold one of these.
    pub any_scopes: Vec<String>,
    /// All of these must hold.
    pub claims: Vec<ClaimRequirement>,
    /// The client must be one of these.
    pub client_ids: Vec<String>,
}

/// A claim and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRequirement {
    /// Dots descend into objects.
    pub name: String,
    /// How it is compared.
    pub operator: ClaimOperator,
    /// What it is compared with.
    pub values: Vec<String>,
}

/// How a claim is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimToHeader {
    /// Dots descend into objects.
    pub claim: String,
    /// Lower case.
    pub header: String,
    /// How values that are no plain text are written.
    pub encoding: ClaimEncoding,
}

/// How a claim is written into a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClaimEncoding {
    /// Plain text; the elements of a list joined by commas.
    CommaSeparated,
    /// JSON.
    Json,
}

/// Edits of the request's headers, after everything else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestHeaders {
    /// Set, replacing what is there.
    pub set: Vec<HeaderSet>,
    /// Lower-case names to remove.
    pub remove: Vec<String>,
}

/// A header to set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderSet {
    /// Lower case.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Time limits of a rule; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// From the request to the response headers, retries included.
    #[serde(with = "opt_millis")]
    pub request: Option<Duration>,
    /// The same for one try.
    #[serde(with = "opt_millis")]
    pub backend_request: Option<Duration>,
    /// To a connection.
    #[serde(with = "opt_millis")]
    pub connect: Option<Duration>,
    /// Between two pieces of a body.
    #[serde(with = "opt_millis")]
    pub idle: Option<Duration>,
}

/// One place where requests of a rule go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// `host:port` to connect to without TLS, or why there is none.
    pub address: Result<String, UnusableBackend>,
    /// Its share of the requests.
    pub weight: u32,
    /// What is spoken with it.
    #[serde(default, skip_serializing_if = "BackendProtocol::is_http1")]
    pub protocol: BackendProtocol,
    /// How to get there over TLS, in place of `address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
}

/// A backend that TLS is spoken with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendTls {
    /// `host:port` to connect to. In here, so that a gateway of a version that knows nothing of TLS finds a backend
    /// without an address, and sends no token in clear.
    pub address: String,
    /// The DNS name or IP address that its certificate must be for.
    pub server_name: String,
    /// PEM certificates to trust in place of the system's; empty means the system's.
    pub ca_certificates: Vec<String>,
    /// Which of [`RouteSecrets::client_certificates`] it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<String>,
}

/// What is spoken with a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BackendProtocol {
    /// HTTP/1.1; also what a text of an older operator means, which says nothing of it.
    #[default]
    Http1,
    /// HTTP/2; without TLS it is known beforehand (RFC 9113 §3.3).
    Http2,
    /// One of the two, as is agreed on with TLS (RFC 7301).
    Negotiated,
}

impl BackendProtocol {
    // The signature that `serde(skip_serializing_if)` asks for.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_http1(&self) -> bool {
        *self == Self::Http1
    }
}

/// Why a backend gets no requests. Its share is answered with 500; never by another rule's backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnusableBackend {
    /// As in the route's `ResolvedRefs` condition, e.g. `BackendNotFound`.
    pub reason: String,
}

/// Durations as whole milliseconds.
pub(crate) mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// Durations as whole milliseconds, or null.
mod opt_millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    // The signature that `serde(with)` asks for.
    #[allow(clippy::ref_option)]
    pub(super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value
            .map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
    }
}
