//! What the demo's tokens say, in the shape of RFC 9068 (JWT access tokens).

use aws_lc_rs::{error::Unspecified, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use super::grant::{Grant, Subject};
use crate::demo::{CLIENT_ID, USERNAME};

/// Seconds that a token lives: long enough to read the page, short enough to see one expire.
pub(super) const LIFETIME_S: u64 = 300;

/// The API that the tokens are for.
const AUDIENCE: &str = "https://api.demo";

/// The claims, in the order in which they are written. Some are personal on purpose: they are what
/// a client should not carry around, and what must not be found in the store.
#[derive(Serialize)]
pub(super) struct Claims<'a> {
    iss: &'a str,
    sub: &'static str,
    aud: &'static str,
    iat: u64,
    exp: u64,
    jti: String,
    client_id: &'static str,
    scope: &'a str,
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'static str>,
    groups: &'static [&'static str],
}

impl<'a> Claims<'a> {
    /// `now_s` is in seconds since 1970. Fails only where the system gives no randomness for `jti`.
    pub(super) fn new(issuer: &'a str, grant: &'a Grant, now_s: u64) -> Result<Self, Unspecified> {
        let (sub, name, email, groups): (_, _, _, &[&str]) = match grant.subject {
            Subject::User => (
                USERNAME,
                "Alice Liddell",
                Some("alice@wonderland.example"),
                &["customers", "tea-party"],
            ),
            // RFC 9068, section 2.2: without a user, `sub` is the client.
            Subject::Client => (CLIENT_ID, "Nightly order report", None, &["machines"]),
        };
        Ok(Self {
            iss: issuer,
            sub,
            aud: AUDIENCE,
            iat: now_s,
            exp: now_s + LIFETIME_S,
            jti: random_id()?,
            client_id: CLIENT_ID,
            scope: &grant.scope,
            name,
            email,
            groups,
        })
    }
}

/// 128 random bits: no two tokens are alike, even within one second.
fn random_id() -> Result<String, Unspecified> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
