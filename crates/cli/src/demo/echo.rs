//! The demo's API: it answers every request with what it received. Here one sees that the API gets
//! the whole JWT, byte for byte as the provider issued it, though the client never held it.
//!
//! Like any API behind a gateway it knows the provider's public key and checks what it is given;
//! unlike any other it says so and refuses nothing.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, Uri, header},
    response::IntoResponse,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::Value;

use super::provider::Verifier;

/// What came in.
#[derive(Serialize)]
struct Received<'a> {
    method: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    /// Every header line as `name: value`, in the order of first arrival of each name; names are in lower case, as
    /// the HTTP library keeps them.
    headers: Vec<String>,
    body_bytes: usize,
    /// The bearer token, where it is a JWT.
    jwt: Option<Decoded>,
}

/// A JWT's readable parts.
#[derive(Serialize)]
struct Decoded {
    header: Value,
    claims: Value,
    /// Whether the provider's key signed it.
    signature_valid: bool,
}

/// Answers all methods and paths.
pub(super) fn router(verifier: Verifier) -> Router {
    Router::new().fallback(echo).with_state(Arc::new(verifier))
}

async fn echo(
    State(verifier): State<Arc<Verifier>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let received = Received {
        method: method.as_str(),
        path: uri.path(),
        query: uri.query(),
        headers: headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect(),
        body_bytes: body.len(),
        jwt: bearer(&headers).and_then(|token| decode(token, &verifier)),
    };
    // Indented, for people who read it in a terminal. Maps with text keys always serialise.
    let json = serde_json::to_string_pretty(&received).unwrap_or_default() + "\n";
    (
        [
            (header::CONTENT_TYPE, "application/json"),
            (header::CACHE_CONTROL, "no-store"),
        ],
        json,
    )
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token)
}

fn decode(token: &str, verifier: &Verifier) -> Option<Decoded> {
    let mut parts = token.split('.');
    let (header, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    Some(Decoded {
        header: json(header)?,
        claims: json(claims)?,
        signature_valid: verifier.accepts(token),
    })
}

fn json(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
