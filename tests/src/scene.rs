//! A gateway between a provider that says what a test wants and an upstream that records: the scene of most tests.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::gateway::{Builder, Gateway};
use crate::hostile::Hostile;
use crate::jwt::{self, Key};
use crate::marks::Marks;
use crate::raw;
use crate::route::Route;
use crate::secret;
use crate::upstream::Upstream;
use crate::wait;

/// Log lines come through a pipe, a little after the answer that they speak of.
const LOG: Duration = Duration::from_secs(10);

/// A provider, an upstream, and the gateway between them with one route.
pub struct Scene {
    /// The provider.
    pub provider: Hostile,
    /// The API.
    pub upstream: Upstream,
    /// The gateway.
    pub gateway: Gateway,
    /// The provider's key, for ES256 unless a test brought another.
    pub key: Key,
    signed: Mutex<Vec<String>>,
}

impl Scene {
    /// A provider with one ES256 key, the smallest route, the memory store.
    pub fn start() -> Result<Self> {
        Self::with_route(|route| route)
    }

    /// [`Self::start`] with a changed route.
    pub fn with_route(change: impl FnOnce(Route) -> Route) -> Result<Self> {
        let key = Key::es256()?;
        let provider = Hostile::start(&[&key])?;
        Self::of(provider, key, change, |gateway| gateway)
    }

    /// A scene of parts that are there, with a changed route and a changed gateway.
    pub fn of(
        provider: Hostile,
        key: Key,
        change: impl FnOnce(Route) -> Route,
        build: impl FnOnce(Builder) -> Builder,
    ) -> Result<Self> {
        let upstream = Upstream::start()?;
        let route = change(Route::new(&provider.issuer(), &upstream.url()));
        let gateway = build(Gateway::builder(route)).start()?;
        Ok(Self {
            provider,
            upstream,
            gateway,
            key,
            signed: Mutex::default(),
        })
    }

    /// A good JWT that no other is equal to; members of `more` are added to its claims or put in their place.
    pub fn jwt(&self, more: &Value) -> Result<String> {
        let mut claims = self.provider.claims(more);
        if claims.get("jti").is_none() {
            claims["jti"] = json!(secret::text());
        }
        let token = self.key.token(&claims)?;
        self.remember(&token);
        Ok(token)
    }

    /// Has [`Self::marks`] look for this JWT too.
    pub fn remember(&self, token: &str) {
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        signed.push(token.to_owned());
    }

    /// The headers and claims of every JWT signed so far.
    pub fn marks(&self) -> Marks {
        let mut marks = Marks::new();
        for token in self.signed.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            marks.add_claims("a JWT", token);
        }
        marks
    }

    /// The raw bytes of a token request, with more header lines (each with its end) and this body.
    pub fn token_request(&self, headers: &str, body: &str) -> String {
        format!(
            "POST /oauth/token HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n{headers}\r\n{body}",
            self.gateway.host(),
            body.len(),
        )
    }

    /// Asks for a token with `client_credentials`.
    pub fn ask(&self) -> Result<raw::Answer> {
        self.ask_with("", "grant_type=client_credentials")
    }

    /// Asks for a token with more header lines and this body.
    pub fn ask_with(&self, headers: &str, body: &str) -> Result<raw::Answer> {
        let answer = self.gateway.exchange(self.token_request(headers, body))?;
        answer.context("the gateway closed without an answer")
    }

    /// How many requests reached the provider's token endpoint so far.
    pub fn asked(&self) -> usize {
        self.provider.requests("/token").len()
    }

    /// Whatever else happened, an honest exchange works: a JWT in, its signature out, and the same JWT, byte for
    /// byte, at the upstream. Gives the JWT.
    pub fn works(&self) -> Result<String> {
        let token = self.jwt(&json!({}))?;
        self.provider.answer_token(&token);
        let answer = self.ask()?;
        ensure!(
            answer.status == 200,
            "an honest exchange got {}: {}",
            answer.status,
            answer.text()
        );
        let opaque = jwt::signature(&token)?;
        ensure!(
            answer.json()?["access_token"] == opaque,
            "no signature: {}",
            answer.text()
        );
        self.restores(opaque, &token)?;
        Ok(token)
    }

    /// An API request with `opaque` reaches the upstream with exactly `jwt`.
    pub fn restores(&self, opaque: &str, jwt: &str) -> Result<()> {
        self.upstream.take();
        let answer = self.gateway.call("/orders", opaque)?;
        ensure!(
            answer.status == 200,
            "an honest call got {}: {}",
            answer.status,
            answer.text()
        );
        let got = self.upstream.last()?.header_all("authorization");
        ensure!(
            got == [format!("Bearer {jwt}")],
            "the upstream got another token: {got:?}"
        );
        Ok(())
    }

    /// How long the log is now, for [`Self::logs_since`].
    pub fn log_mark(&self) -> usize {
        self.gateway.output().len()
    }

    /// Waits until `text` stands in what the gateway wrote after `mark`.
    pub fn logs_since(&self, mark: usize, text: &str) -> Result<()> {
        let has_it = || {
            let output = self.gateway.output();
            memchr::memmem::find(&output[mark..], text.as_bytes()).is_some()
        };
        wait::until_true(LOG, &format!("`{text}` in the log"), has_it).with_context(|| {
            let output = self.gateway.output();
            format!("what was logged:\n{}", String::from_utf8_lossy(&output[mark..]))
        })
    }

    /// The value of one metric line, by its name with labels; 0 where it is not there yet.
    pub fn metric(&self, line: &str) -> Result<u64> {
        let text = self.gateway.admin("/metrics")?.text();
        let value = text
            .lines()
            .find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        Ok(value.map(str::parse).transpose()?.unwrap_or(0))
    }
}
