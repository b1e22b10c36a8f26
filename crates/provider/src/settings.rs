use std::{
    hash::{Hash, Hasher},
    time::Duration,
};

use splittoken_reach::Reach;
use splittoken_token::{Algorithm, Family, Policy, SecretBytes};

use crate::endpoint::Allowed;

/// Everything that must be known of an identity provider, as plain data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderSettings {
    /// What it is called in logs, metrics and `/config`.
    pub name: String,
    /// The `iss` of every token, exactly; with discovery also where the metadata lies.
    pub url: String,
    /// Whether plain HTTP may be spoken to it, discovered endpoints included.
    pub plain_http_allowed: bool,
    /// Whether `endpoints` is completed by OpenID Connect Discovery, then RFC 8414.
    pub discovery: bool,
    /// Endpoints that override what discovery says.
    pub endpoints: GivenEndpoints,
    /// The `alg` values that its tokens may have.
    pub algorithms: Vec<Algorithm>,
    /// Whether a token is trusted because it came straight from the provider and then lay sealed: no signature
    /// is checked and no key fetched.
    pub trusted_transport: bool,
    /// The key of HS256, HS384 and HS512 where the provider shares one.
    pub hmac_key: Option<SecretBytes>,
    /// A token must name one of these in `aud`; empty means any.
    pub audiences: Vec<String>,
    /// The header's `typ` must be one of these; empty means any.
    pub token_types: Vec<String>,
    /// How far the provider's clock may be ahead. Never lets a token live past its `exp`.
    pub clock_skew: Duration,
    /// How often the keys are fetched again; less than a second counts as one.
    pub jwks_refresh: Duration,
    /// How soon the keys may be fetched again for the same unknown `kid`.
    pub jwks_min_refresh: Duration,
    /// PEM certificates to trust in place of the system's; empty means the system's.
    pub ca_certificates: Vec<String>,
    /// What it is shown where it asks for a certificate.
    pub client_certificate: Option<GivenCertificate>,
    /// Which addresses it may have, whatever its names resolve to; discovered endpoints included.
    pub reach: Reach,
    /// Time to a connection, TLS included.
    pub connect_timeout: Duration,
    /// Time to a whole answer, connecting included.
    pub request_timeout: Duration,
}

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenCertificate {
    /// The certificate and those that lead to its authority: one PEM text each.
    pub chain: Vec<String>,
    /// The private key, in PEM.
    pub key: SecretBytes,
}

// Of what is no secret.
impl Hash for GivenCertificate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.chain.hash(state);
    }
}

/// Endpoint URLs that need no discovery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenEndpoints {
    /// Token endpoint (RFC 6749 §3.2).
    pub token: Option<String>,
    /// JWK Set document (RFC 7517 §5).
    pub jwks: Option<String>,
    /// Revocation endpoint (RFC 7009 §2).
    pub revocation: Option<String>,
}

impl ProviderSettings {
    /// Whether some token of this provider is verified with a key that it publishes.
    pub(crate) fn needs_jwks(&self) -> bool {
        !self.trusted_transport && self.algorithms.iter().any(|alg| alg.family() != Family::Hmac)
    }

    /// Whether these and `other` get the same keys and endpoints from the same place in the same way.
    pub(crate) fn has_source_of(&self, other: &Self) -> bool {
        self.source() == other.source()
    }

    /// Everything that decides where keys and endpoints come from, as one text.
    pub(crate) fn source(&self) -> String {
        format!(
            "{:?}",
            (
                &self.url,
                self.plain_http_allowed,
                self.discovery,
                &self.endpoints,
                &self.algorithms,
                self.trusted_transport,
                &self.ca_certificates,
                &self.reach,
            )
        )
    }

    pub(crate) fn allowed(&self) -> Allowed<'_> {
        Allowed {
            plain_http: self.plain_http_allowed,
            reach: &self.reach,
        }
    }

    pub(crate) fn policy(&self) -> Policy<'_> {
        Policy {
            issuer: &self.url,
            algorithms: &self.algorithms,
            audiences: &self.audiences,
            token_types: &self.token_types,
            clock_skew: self.clock_skew.as_secs(),
        }
    }
}
