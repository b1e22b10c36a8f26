//! A provider that is honest and quick: every token request gets a new JWT, and everything is counted. It changes its
//! keys when told, and page by page it can be told to be something else than honest and quick.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::hostile::now;
use crate::jwt::{self, Key};
use crate::secret;
use crate::wire::{Request, Server, Step, answer};

/// A running provider with discovery, keys, a token endpoint and a revocation endpoint.
pub struct Mint {
    server: Server,
    state: Arc<State>,
}

/// What it issues.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Seconds from the request to `exp`, and `expires_in`.
    pub life: u64,
    /// Claims beside `iss`, `sub`, `jti`, `iat`, `exp`.
    pub claims: Value,
    /// Members of the answer beside `access_token`, `token_type`, `expires_in`, or in their place.
    pub members: Value,
    /// How long an answer takes.
    pub delay: Duration,
    /// How long the answer to a revocation takes.
    pub revocation_delay: Duration,
    /// How long the keys take.
    pub keys_delay: Duration,
}

struct State {
    keys: Mutex<Keys>,
    terms: Mutex<Terms>,
    /// What is played in place of an honest answer, by path.
    played: Mutex<HashMap<String, Vec<Step>>>,
    issued: Mutex<Vec<String>>,
    asked: AtomicUsize,
    is_down: AtomicBool,
}

/// Its keys, the newest last, which signs.
struct Keys {
    published: Vec<Key>,
    /// Whether tokens name a key that nobody publishes, each another one.
    are_strange: bool,
}

impl Default for Terms {
    /// Ten minutes, nothing else, at once.
    fn default() -> Self {
        Self {
            life: 600,
            claims: json!({}),
            members: json!({}),
            delay: Duration::ZERO,
            revocation_delay: Duration::ZERO,
            keys_delay: Duration::ZERO,
        }
    }
}

impl Mint {
    /// Signs with ES256, which is quick.
    pub fn start() -> Result<Self> {
        Self::with(Key::es256()?)
    }

    /// Signs with this key.
    pub fn with(key: Key) -> Result<Self> {
        Self::at(Ipv4Addr::LOCALHOST, key)
    }

    /// The same on another address of this machine.
    pub fn at(ip: Ipv4Addr, key: Key) -> Result<Self> {
        let state = Arc::new(State {
            keys: Mutex::new(Keys {
                published: vec![key],
                are_strange: false,
            }),
            terms: Mutex::default(),
            played: Mutex::default(),
            issued: Mutex::default(),
            asked: AtomicUsize::new(0),
            is_down: AtomicBool::new(false),
        });
        let current = Arc::clone(&state);
        let server = Server::at(ip, None, move |request| {
            if current.is_down.load(Ordering::Relaxed) {
                return vec![Step::Close];
            }
            current
                .respond(request)
                .unwrap_or_else(|error| vec![Step::send(answer("500 Broken", &[], format!("{error:#}")))])
        })?;
        Ok(Self { server, state })
    }

    /// From now on closes every connection without an answer.
    pub fn fail(&self) {
        self.state.is_down.store(true, Ordering::Relaxed);
    }

    /// From now on issues on these terms.
    pub fn set(&self, terms: Terms) {
        *lock(&self.state.terms) = terms;
    }

    /// From now on plays these steps for `path`: `/.well-known/openid-configuration`, `/jwks`, `/token`, `/revoke`.
    pub fn play(&self, path: &str, steps: Vec<Step>) {
        lock(&self.state.played).insert(path.to_owned(), steps);
    }

    /// From now on answers honestly for `path`.
    pub fn answer_honestly(&self, path: &str) {
        lock(&self.state.played).remove(path);
    }

    /// From now on signs with this key, which is published beside the others.
    pub fn rotate(&self, key: Key) {
        lock(&self.state.keys).published.push(key);
    }

    /// From now on publishes the key alone that signs.
    pub fn withdraw_old_keys(&self) {
        let mut keys = lock(&self.state.keys);
        let old = keys.published.len() - 1;
        keys.published.drain(..old);
    }

    /// Whether from now on each token names another key, which nobody publishes.
    pub fn name_strange_keys(&self, are_strange: bool) {
        lock(&self.state.keys).are_strange = are_strange;
    }

    /// The requests that came to this path so far.
    pub fn requests(&self, path: &str) -> Vec<Request> {
        let mut requests = self.server.requests();
        requests.retain(|request| request.target() == path);
        requests
    }

    /// The issuer, `http://ADDRESS:PORT`.
    pub fn issuer(&self) -> String {
        self.server.url()
    }

    /// Where tokens are revoked. Discovery names it.
    pub fn revocation_url(&self) -> String {
        format!("{}/revoke", self.issuer())
    }

    /// How many connections were made to it so far.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// How many token requests came so far, counted before they are answered.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// The JWT whose signature this is.
    pub fn jwt_of(&self, signature: &str) -> Result<String> {
        let issued = lock(&self.state.issued);
        let found = issued
            .iter()
            .rfind(|token| token.rsplit('.').next() == Some(signature));
        found
            .cloned()
            .context("nobody issued a token with that signature")
    }

    /// The JWTs issued so far.
    pub fn issued(&self) -> Vec<String> {
        lock(&self.state.issued).clone()
    }

    /// The revocation requests so far.
    pub fn revocations(&self) -> Vec<Request> {
        self.requests("/revoke")
    }
}

impl State {
    fn respond(&self, request: &Request) -> Result<Vec<Step>> {
        let issuer = format!("http://{}", request.header("host").unwrap_or_default());
        if let Some(steps) = lock(&self.played).get(&request.target()) {
            return Ok(steps.clone());
        }
        match request.target().as_str() {
            "/.well-known/openid-configuration" => Ok(vec![page(&discovery(&issuer))]),
            "/jwks" => {
                let delay = lock(&self.terms).keys_delay;
                let keys = lock(&self.keys);
                let published: Vec<&Key> = keys.published.iter().collect();
                Ok(vec![Step::Wait(delay), page(&jwt::jwks(&published)?)])
            }
            "/token" => self.issue(&issuer),
            "/revoke" => Ok(vec![
                Step::Wait(lock(&self.terms).revocation_delay),
                Step::Send(answer("200 OK", &[], "")),
            ]),
            _ => Ok(vec![Step::Send(answer("404 Not Found", &[], ""))]),
        }
    }

    fn issue(&self, issuer: &str) -> Result<Vec<Step>> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        let terms = lock(&self.terms).clone();
        let now = now();
        let mut claims = json!({
            "iss": issuer, "sub": format!("customer-{number}"), "jti": secret::text(),
            "iat": now, "exp": now + terms.life,
        });
        put(&mut claims, &terms.claims);
        let token = lock(&self.keys).sign(&claims)?;
        let mut body = json!({"access_token": token, "token_type": "Bearer", "expires_in": terms.life});
        put(&mut body, &terms.members);
        lock(&self.issued).push(token);
        Ok(vec![Step::Wait(terms.delay), page(&body)])
    }
}

impl Keys {
    fn sign(&self, claims: &Value) -> Result<String> {
        let key = self.published.last().context("no key")?;
        if !self.are_strange {
            return key.token(claims);
        }
        let header = json!({"alg": key.algorithm(), "typ": "JWT", "kid": secret::text()});
        key.token_of(&header.to_string(), &claims.to_string())
    }
}

fn discovery(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "revocation_endpoint": format!("{issuer}/revoke"),
    })
}

fn page(body: &Value) -> Step {
    let json = [("Content-Type", "application/json")];
    Step::Send(answer("200 OK", &json, body.to_string()))
}

fn put(into: &mut Value, members: &Value) {
    for (name, value) in members.as_object().into_iter().flatten() {
        into[name] = value.clone();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
