//! A small but honest `OpenID` provider: discovery, JWKS, and a token endpoint with the
//! `client_credentials` and `password` grants (RFC 6749, sections 4.3 and 4.4).
//!
//! It knows nothing of the gateway and would serve any client. Its one peculiarity: it remembers the
//! last token that it issued, so that the demo's page can show it. There are no sessions, no refresh
//! tokens and no authorization endpoint. OAuth 2.1 drops the password grant; it is here because it
//! shows a user's claims without a login page.

mod claims;
mod client;
mod error;
mod form;
mod grant;
mod key;

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::error::Unspecified;
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

pub(super) use key::{SigningKey, Verifier};

use claims::{Claims, LIFETIME_S};
use error::OAuthError;
use grant::Grant;

/// A token form is small; the gateway's own bound is the same 64 KiB.
const FORM_LIMIT: usize = 64 * 1024;

/// The JWT that was issued last. `Debug` does not print it.
#[derive(Clone)]
pub(super) struct Issued(String);

impl Issued {
    pub(super) fn jwt(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Issued(…)")
    }
}

/// The provider: its name, its key, and the last token it issued.
pub(super) struct Provider {
    issuer: String,
    key: SigningKey,
    issued: watch::Sender<Option<Issued>>,
}

/// A successful answer of the token endpoint (RFC 6749, section 5.1), members in the RFC's order.
#[derive(Serialize)]
struct TokenAnswer {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    scope: String,
}

impl Provider {
    /// `issuer` is the base URL under which the router is served, without a trailing slash.
    pub(super) fn new(issuer: String, key: SigningKey) -> Self {
        Self {
            issuer,
            key,
            issued: watch::Sender::new(None),
        }
    }

    /// Follows the last issued token.
    pub(super) fn issued(&self) -> watch::Receiver<Option<Issued>> {
        self.issued.subscribe()
    }

    fn answer(&self, headers: &HeaderMap, body: &[u8]) -> Result<TokenAnswer, OAuthError> {
        let form = form::read(headers, body)?;
        client::authenticate(headers, &form)?;
        let grant = Grant::from_form(&form)?;
        let jwt = self
            .issue(&grant)
            .map_err(|Unspecified| OAuthError::ServerError)?;
        self.issued.send_replace(Some(Issued(jwt.clone())));
        Ok(TokenAnswer {
            access_token: jwt,
            token_type: "Bearer",
            expires_in: LIFETIME_S,
            scope: grant.scope,
        })
    }

    fn issue(&self, grant: &Grant) -> Result<String, Unspecified> {
        let now_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        self.key.sign(&Claims::new(&self.issuer, grant, now_s)?)
    }

    /// RFC 8414, section 2. There is no `authorization_endpoint`, as no grant here uses one.
    fn metadata(&self) -> Value {
        let issuer = &self.issuer;
        json!({
            "issuer": issuer,
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/jwks"),
            "grant_types_supported": grant::GRANT_TYPES,
            "scopes_supported": grant::SCOPES,
            "response_types_supported": [],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        })
    }
}

/// The provider's endpoints: discovery (`OpenID` Connect's path and RFC 8414's), `/jwks`, `/token`.
pub(super) fn router(provider: Arc<Provider>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(metadata))
        .route("/.well-known/oauth-authorization-server", get(metadata))
        .route("/jwks", get(jwks))
        .route("/token", post(token))
        .layer(DefaultBodyLimit::max(FORM_LIMIT))
        .with_state(provider)
}

async fn metadata(State(provider): State<Arc<Provider>>) -> Json<Value> {
    Json(provider.metadata())
}

async fn jwks(State(provider): State<Arc<Provider>>) -> Json<Value> {
    Json(json!({ "keys": [provider.key.jwk()] }))
}

async fn token(State(provider): State<Arc<Provider>>, headers: HeaderMap, body: Bytes) -> Response {
    let mut response = match provider.answer(&headers, &body) {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => error.into_response(),
    };
    // RFC 6749, section 5.1: on every answer that could hold a token.
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests;
