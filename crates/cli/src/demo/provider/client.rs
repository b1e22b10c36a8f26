//! Client authentication at the token endpoint (RFC 6749, section 2.3.1): HTTP Basic or the body,
//! never both.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    error::OAuthError,
    form::{self, Form},
};
use crate::demo::{CLIENT_ID, CLIENT_SECRET};

/// Accepts the demo's one client.
pub(super) fn authenticate(headers: &HeaderMap, form: &Form) -> Result<(), OAuthError> {
    let (id, secret) = match (basic(headers)?, form.get("client_secret")) {
        (Some(_), Some(_)) => {
            return Err(OAuthError::InvalidRequest("two ways of client authentication"));
        }
        (Some((id, secret)), None) => {
            if form.get("client_id").is_some_and(|named| named != id) {
                return Err(OAuthError::InvalidRequest("two different clients"));
            }
            (id, secret)
        }
        (None, Some(secret)) => (
            form.get("client_id").unwrap_or_default().to_owned(),
            secret.to_owned(),
        ),
        (None, None) => return Err(OAuthError::InvalidClient),
    };
    if same(&id, CLIENT_ID) & same(&secret, CLIENT_SECRET) {
        Ok(())
    } else {
        Err(OAuthError::InvalidClient)
    }
}

/// Compares in a time that does not tell how much of a guess was right.
pub(super) fn same(given: &str, expected: &str) -> bool {
    verify_slices_are_equal(given.as_bytes(), expected.as_bytes()).is_ok()
}

/// Id and secret of the one `Authorization: Basic` header. Both were form-encoded before they were
/// joined, which plain RFC 7617 clients do not do; for the demo's names it is the same.
fn basic(headers: &HeaderMap) -> Result<Option<(String, String)>, OAuthError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(OAuthError::InvalidRequest("two Authorization headers"));
    }
    decode(value.as_bytes())
        .map(Some)
        .ok_or(OAuthError::InvalidClient)
}

fn decode(value: &[u8]) -> Option<(String, String)> {
    let (scheme, credentials) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let joined = STANDARD.decode(credentials.trim()).ok()?;
    let (id, secret) = std::str::from_utf8(&joined).ok()?.split_once(':')?;
    Some((form::decode(id.as_bytes())?, form::decode(secret.as_bytes())?))
}
