//! A provider whose discovery and keys are right, and whose token answers are whatever a test writes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use rustls::ServerConfig;
use serde_json::{Value, json};

use crate::certs::Authority;
use crate::jwt::{self, Key};
use crate::wire::{Request, Server, Step, answer};

/// A running provider. Until told otherwise its token endpoint answers 400 `invalid_grant`.
pub struct Hostile {
    server: Server,
    pages: Arc<Mutex<Pages>>,
}

/// What it answers where. A page of `None` is honest: made from the address and the keys.
struct Pages {
    discovery: Option<Vec<Step>>,
    jwks: Vec<Step>,
    token: Vec<Step>,
}

impl Hostile {
    /// Listens with plain HTTP; its JWKS holds the public halves of `keys`.
    pub fn start(keys: &[&Key]) -> Result<Self> {
        Self::start_with(None, keys)
    }

    /// Listens with TLS, with a certificate of `authority` for 127.0.0.1.
    pub fn start_tls(authority: &Authority, keys: &[&Key]) -> Result<Self> {
        Self::start_with(Some(authority), keys)
    }

    /// The same, for clients with a certificate of `clients` only.
    pub fn start_mutual(authority: &Authority, clients: &Authority, keys: &[&Key]) -> Result<Self> {
        let certificate = authority.certify(&["127.0.0.1"])?;
        let (tls, _) = certificate.server(&["http/1.1"], Some(clients))?;
        Self::start_over(Some(tls), keys)
    }

    /// The issuer, `http://127.0.0.1:PORT` or `https://…`.
    pub fn issuer(&self) -> String {
        self.server.url()
    }

    /// The token endpoint.
    pub fn token_url(&self) -> String {
        format!("{}/token", self.issuer())
    }

    /// Claims that pass every check: this issuer, a subject, a life of ten minutes from now. Members of `more` are
    /// added or put in their place.
    pub fn claims(&self, more: &Value) -> Value {
        let now = now();
        let mut claims = json!({"iss": self.issuer(), "sub": "mallory", "iat": now, "exp": now + 600});
        for (name, value) in more.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        claims
    }

    /// From now on the token endpoint answers 200 with this JSON text, well framed.
    pub fn answer_json(&self, body: impl AsRef<[u8]>) {
        self.answer_raw(answer("200 OK", &[("Content-Type", "application/json")], body));
    }

    /// From now on the token endpoint answers 200 with `access_token` and the usual other members.
    pub fn answer_token(&self, access_token: &str) {
        let body = json!({"access_token": access_token, "token_type": "Bearer", "expires_in": 600});
        self.answer_json(body.to_string());
    }

    /// From now on the token endpoint answers with these bytes.
    pub fn answer_raw(&self, raw: impl AsRef<[u8]>) {
        self.answer_steps(vec![Step::send(raw)]);
    }

    /// From now on the token endpoint plays these steps.
    pub fn answer_steps(&self, steps: Vec<Step>) {
        lock(&self.pages).token = steps;
    }

    /// From now on the JWKS holds these keys.
    pub fn publish(&self, keys: &[&Key]) -> Result<()> {
        self.jwks_steps(page(&jwt::jwks(keys)?));
        Ok(())
    }

    /// From now on the JWKS URL plays these steps.
    pub fn jwks_steps(&self, steps: Vec<Step>) {
        lock(&self.pages).jwks = steps;
    }

    /// From now on the discovery URL plays these steps.
    pub fn discovery_steps(&self, steps: Vec<Step>) {
        lock(&self.pages).discovery = Some(steps);
    }

    /// The requests that came to this path so far: `/token`, `/jwks`, `/.well-known/openid-configuration`.
    pub fn requests(&self, path: &str) -> Vec<Request> {
        let mut requests = self.server.requests();
        requests.retain(|request| request.target() == path);
        requests
    }

    fn start_with(authority: Option<&Authority>, keys: &[&Key]) -> Result<Self> {
        let certificate = authority
            .map(|authority| authority.certify(&["127.0.0.1"]))
            .transpose()?;
        let tls = certificate
            .map(|certificate| certificate.server_config())
            .transpose()?;
        Self::start_over(tls, keys)
    }

    fn start_over(tls: Option<Arc<ServerConfig>>, keys: &[&Key]) -> Result<Self> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let refusal = answer(
            "400 Bad Request",
            &[("Content-Type", "application/json")],
            r#"{"error":"invalid_grant"}"#,
        );
        let pages = Arc::new(Mutex::new(Pages {
            discovery: None,
            jwks: page(&jwt::jwks(keys)?),
            token: vec![Step::Send(refusal)],
        }));
        let current = Arc::clone(&pages);
        let server = Server::start(tls, move |request| respond(&lock(&current), scheme, request))?;
        Ok(Self { server, pages })
    }
}

fn respond(pages: &Pages, scheme: &str, request: &Request) -> Vec<Step> {
    match request.target().as_str() {
        "/.well-known/openid-configuration" => match &pages.discovery {
            Some(steps) => steps.clone(),
            None => page(&discovery(scheme, &request.header("host").unwrap_or_default())),
        },
        "/jwks" => pages.jwks.clone(),
        "/token" => pages.token.clone(),
        _ => vec![Step::Send(answer("404 Not Found", &[], ""))],
    }
}

fn discovery(scheme: &str, host: &str) -> Value {
    let issuer = format!("{scheme}://{host}");
    json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "authorization_endpoint": format!("{issuer}/auth"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    })
}

fn page(body: &Value) -> Vec<Step> {
    vec![Step::Send(answer(
        "200 OK",
        &[("Content-Type", "application/json")],
        body.to_string(),
    ))]
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

fn lock(pages: &Mutex<Pages>) -> MutexGuard<'_, Pages> {
    pages.lock().unwrap_or_else(PoisonError::into_inner)
}
