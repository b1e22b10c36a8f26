//! What a metadata document says, and where it lies.

use serde_json::{Map, Value};
use splittoken_token::{JsonError, parse_object};
use thiserror::Error;
use url::Url;

use crate::{
    UrlError,
    endpoint::{Allowed, Endpoints, parse_endpoint, shown},
};

/// The largest metadata document that is read, in bytes. Real ones have 2 to 10 KiB.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// Why a metadata document is not used.
#[derive(Debug, Error, PartialEq, Eq, Clone)]
pub(crate) enum DiscoveryError {
    #[error("the discovery document is not to be trusted")]
    Json(#[source] JsonError),
    #[error("the discovery document has no issuer")]
    NoIssuer,
    /// OpenID Connect Discovery §4.3, RFC 8414 §3.3: must be identical, a trailing slash included.
    #[error("the discovery document is of another issuer: expected {expected}, found {found}")]
    Issuer { expected: String, found: String },
    #[error("the discovery document has no {0}")]
    Missing(&'static str),
    #[error("the discovery document's {member} cannot be used")]
    Endpoint {
        member: &'static str,
        #[source]
        source: UrlError,
    },
}

impl DiscoveryError {
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Json(e) => e.reason(),
            Self::NoIssuer => "discovery_no_issuer",
            Self::Issuer { .. } => "discovery_issuer",
            Self::Missing(_) => "discovery_missing",
            Self::Endpoint { source, .. } => source.reason(),
        }
    }
}

/// What a document is read for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) allowed: Allowed<'a>,
    /// Endpoints that are given need not be in the document, and are not looked at there.
    pub(crate) given: &'a Endpoints,
    pub(crate) jwks: bool,
}

/// Where the document may lie: OpenID Connect Discovery §4, then RFC 8414 §3.1.
pub(crate) fn well_known_urls(issuer: &Url) -> [Url; 2] {
    let path = issuer.path().trim_end_matches('/');
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    [
        at(format!("{path}/.well-known/openid-configuration")),
        at(format!("/.well-known/oauth-authorization-server{path}")),
    ]
}

/// Reads a metadata document and completes the given endpoints from it.
pub(crate) fn read_document(document: &[u8], wanted: Wanted<'_>) -> Result<Endpoints, DiscoveryError> {
    let object = parse_object(document).map_err(DiscoveryError::Json)?;
    let issuer = object
        .get("issuer")
        .and_then(Value::as_str)
        .ok_or(DiscoveryError::NoIssuer)?;
    if issuer != wanted.issuer {
        return Err(DiscoveryError::Issuer {
            expected: shown(wanted.issuer),
            found: shown(issuer),
        });
    }
    let endpoint = |member, given: &Option<Url>| match given {
        Some(url) => Ok(Some(url.clone())),
        None => read_endpoint(&object, member, wanted.allowed),
    };
    let endpoints = Endpoints {
        token: endpoint("token_endpoint", &wanted.given.token)?,
        jwks: endpoint("jwks_uri", &wanted.given.jwks)?,
        revocation: endpoint("revocation_endpoint", &wanted.given.revocation)?,
    };
    if endpoints.token.is_none() {
        return Err(DiscoveryError::Missing("token_endpoint"));
    }
    if wanted.jwks && endpoints.jwks.is_none() {
        return Err(DiscoveryError::Missing("jwks_uri"));
    }
    Ok(endpoints)
}

fn read_endpoint(
    object: &Map<String, Value>,
    member: &'static str,
    allowed: Allowed<'_>,
) -> Result<Option<Url>, DiscoveryError> {
    let refuse = |source| DiscoveryError::Endpoint { member, source };
    match object.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => parse_endpoint(text, allowed).map(Some).map_err(refuse),
        Some(_) => Err(refuse(UrlError::NotAbsolute(None))),
    }
}

#[cfg(test)]
mod tests;
