//! What a browser does between a click on "log in" and the redirect that brings the code.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use aws_lc_rs::digest;
use reqwest::Url;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};

use super::REDIRECT_URL;
use crate::http::Client;
use crate::secret;

/// A PKCE verifier with its S256 challenge, RFC 7636.
#[derive(Debug, Clone)]
pub struct Pkce {
    /// `code_verifier`.
    pub verifier: String,
    /// `code_challenge`.
    pub challenge: String,
}

impl Pkce {
    /// A new pair.
    pub fn new() -> Self {
        let verifier = secret::text();
        let challenge = secret::base64url(digest::digest(&digest::SHA256, verifier.as_bytes()).as_ref());
        Self { verifier, challenge }
    }
}

impl Default for Pkce {
    fn default() -> Self {
        Self::new()
    }
}

/// The provider redirects to its login, back, to its consent, back, and to the client: five in all.
const MOST_REDIRECTS: usize = 10;

pub(super) fn code(
    http: &Client,
    auth_url: &str,
    client_id: &str,
    pkce: &Pkce,
    scope: &str,
) -> Result<String> {
    let question = [
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", REDIRECT_URL),
        ("scope", scope),
        ("prompt", "consent"),
        ("state", "state"),
        ("code_challenge", &pkce.challenge),
        ("code_challenge_method", "S256"),
    ];
    let mut url = Url::parse_with_params(auth_url, question)?;
    let mut cookies = BTreeMap::new();
    for _ in 0..MOST_REDIRECTS {
        url = step(http, &url, &mut cookies)?;
        if url.as_str().starts_with(REDIRECT_URL) {
            let code = url.query_pairs().find(|(name, _)| name == "code");
            return code
                .map(|(_, code)| code.into_owned())
                .with_context(|| format!("no code in {url}"));
        }
    }
    bail!("more than {MOST_REDIRECTS} redirects")
}

/// One request of the browser; gives where it is sent next.
fn step(http: &Client, url: &Url, cookies: &mut BTreeMap<String, String>) -> Result<Url> {
    let jar: Vec<String> = cookies
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let answer = http
        .inner()
        .get(url.clone())
        .header(COOKIE, jar.join("; "))
        .send()?;
    for cookie in answer.headers().get_all(SET_COOKIE) {
        let pair = cookie
            .to_str()?
            .split(';')
            .next()
            .and_then(|pair| pair.split_once('='));
        let (name, value) = pair.context("a Set-Cookie without a name")?;
        cookies.insert(name.to_owned(), value.to_owned());
    }
    let status = answer.status();
    let location = answer
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let location = location.with_context(|| format!("{status} and no redirect from {}", url.path()))?;
    Ok(url.join(&location)?)
}
