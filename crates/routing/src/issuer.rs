use std::time::Duration;

use serde::{Deserialize, Serialize};
use splittoken_reach::Reach;
use splittoken_token::{Algorithm, Realm, SecretBytes};

use crate::config::ClientCertificate;

/// Everything a gateway must know of an identity provider, resolved: no reference is left to look up.
///
/// Two routes with equal values share one provider client, its keys and its connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerConfig {
    /// The object that defines it, `kind/namespace/name`: for logs and metrics, not for identity.
    pub name: String,
    /// The tokens that are interchangeable with those of this issuer.
    pub realm: Realm,
    /// The `iss` of every token, exactly.
    pub url: String,
    /// Whether plain HTTP may be spoken to it.
    pub transport: Transport,
    /// Where its endpoints come from.
    pub discovery: Discovery,
    /// Endpoints that override what discovery says; all that are needed where discovery is `None`.
    pub endpoints: Endpoints,
    /// The `alg` values that its tokens may have.
    pub algorithms: Vec<Algorithm>,
    /// What vouches for a token at issue.
    pub verification: Verification,
    /// A token must name one of these in `aud`; empty means any.
    pub audiences: Vec<String>,
    /// The header's `typ` must be one of these, compared without case and without `application/`; empty means any.
    pub token_types: Vec<String>,
    /// How far the provider's clock may be off. Counts for `nbf`, and lets no token live past its `exp`.
    #[serde(with = "crate::config::millis")]
    pub clock_skew: Duration,
    /// How often the keys are fetched again.
    #[serde(with = "crate::config::millis")]
    pub jwks_refresh: Duration,
    /// How soon the keys may be fetched again for the same unknown `kid`.
    #[serde(with = "crate::config::millis")]
    pub jwks_min_refresh: Duration,
    /// PEM certificates to trust in place of the system's; empty means the system's.
    pub ca_certificates: Vec<String>,
    /// Which addresses it may have; the narrower kind where a text says nothing of it.
    #[serde(flatten)]
    pub reach: Reach,
    /// How long records may live.
    pub lifetime: Lifetime,
    /// Time to a connection.
    #[serde(with = "crate::config::millis")]
    pub connect_timeout: Duration,
    /// Time to a whole answer.
    #[serde(with = "crate::config::millis")]
    pub request_timeout: Duration,
}

/// See [`IssuerConfig::transport`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// `https` only, discovered endpoints included.
    HttpsOnly,
    /// `http` too: in a mesh, and for local runs.
    PlainHttpAllowed,
}

/// See [`IssuerConfig::discovery`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Discovery {
    /// OpenID Connect Discovery, then RFC 8414.
    Auto,
    /// None: [`IssuerConfig::endpoints`] says it all.
    None,
}

/// Endpoint URLs that need no discovery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// Token endpoint (RFC 6749 §3.2).
    pub token: Option<String>,
    /// JWK Set document (RFC 7517).
    pub jwks: Option<String>,
    /// Revocation endpoint (RFC 7009): used to take back a token that could not be stored.
    pub revocation: Option<String>,
}

/// What vouches for a token at issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verification {
    /// Its signature, by the provider's keys or the HMAC key.
    Signature,
    /// That it came straight from the provider over TLS.
    Transport,
}

/// How long records may live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetime {
    /// The longest life of a record.
    #[serde(with = "crate::config::millis")]
    pub max: Duration,
    /// The life where a token says nothing; zero refuses such tokens.
    #[serde(with = "crate::config::millis")]
    pub fallback: Duration,
}

/// The secret half of an issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerSecrets {
    /// The raw key of HS256, HS384 and HS512.
    pub hmac_key: Option<SecretBytes>,
    /// What the provider is shown where it asks for a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
}
