//! A whole market stand for tests of the data path: a provider whose tokens say what a test wants, a gateway with the memory
//! store, and an upstream that records.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::gateway::{Builder, Gateway, smallest_route};
use crate::hostile::Hostile;
use crate::http2_upstream::Http2Upstream;
use crate::jwt::{self, Key};
use crate::raw;
use crate::route::Route;
use crate::upstream::Upstream;

/// Where the routes of a [`Stand`] point to.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// URL of the provider.
    pub issuer: String,
    /// URL of the upstream.
    pub upstream: String,
}

/// The three of them, running.
pub struct Stand {
    /// What the provider signs with.
    pub key: Key,
    /// The provider. Honest, until a test makes it lie.
    pub provider: Hostile,
    /// The API.
    pub upstream: Upstream,
    /// What is tested.
    pub gateway: Gateway,
    /// The provider has one answer at a time.
    asking: Mutex<()>,
}

/// A token in its two forms.
#[derive(Clone)]
pub struct Token {
    /// What the provider issued, and what upstreams get.
    pub jwt: String,
    /// What clients hold.
    pub opaque: String,
}

impl Stand {
    /// With [`smallest_route`].
    pub fn start() -> Result<Self> {
        Self::with(|to| smallest_route(&to.issuer, &to.upstream))
    }

    /// With other routes.
    pub fn with(routes: impl FnOnce(&Addresses) -> String) -> Result<Self> {
        Self::built(routes, |gateway| gateway)
    }

    /// With other routes, and a gateway that is started in another way.
    pub fn built(
        routes: impl FnOnce(&Addresses) -> String,
        gateway: impl FnOnce(Builder) -> Builder,
    ) -> Result<Self> {
        let key = Key::es256()?;
        let provider = Hostile::start(&[&key])?;
        let upstream = Upstream::start()?;
        let to = Addresses {
            issuer: provider.issuer(),
            upstream: upstream.url(),
        };
        let gateway = gateway(Gateway::builder(routes(&to))).start()?;
        Ok(Self {
            key,
            provider,
            upstream,
            gateway,
            asking: Mutex::new(()),
        })
    }

    /// Without tokens: `/1` to the upstream, which speaks HTTP/1.1, and `/2` to one that speaks HTTP/2.
    pub fn of_both_versions(http2: &Http2Upstream, gateway: impl FnOnce(Builder) -> Builder) -> Result<Self> {
        let routes = |to: &Addresses| {
            let rules = json!([
                {"name": "one", "authentication": "Disabled", "matches": [{"path": {"value": "/1"}}],
                 "backendRefs": [{"url": to.upstream}]},
                {"name": "two", "authentication": "Disabled", "matches": [{"path": {"value": "/2"}}],
                 "backendRefs": [{"url": http2.url(), "protocol": "HTTP2"}]},
            ]);
            Route::new(&to.issuer, &to.upstream)
                .spec(&json!({"rules": rules}))
                .into()
        };
        Self::built(routes, gateway)
    }

    /// Where the routes point to.
    pub fn addresses(&self) -> Addresses {
        Addresses {
            issuer: self.provider.issuer(),
            upstream: self.upstream.url(),
        }
    }

    /// A token from the gateway's token endpoint: honest claims, with `more` added or put in their place.
    pub fn token(&self, more: &Value) -> Result<Token> {
        self.token_at(&self.gateway.host(), more)
    }

    /// [`Self::token`], asked for at `/oauth/token` of another host.
    pub fn token_at(&self, host: &str, more: &Value) -> Result<Token> {
        let mut claims = self.provider.claims(&json!({"jti": crate::secret::text()}));
        for (name, value) in more.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        let jwt = self.key.token(&claims)?;
        let answer = {
            let _only = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
            self.provider.answer_token(&jwt);
            self.gateway.exchange(token_request(host))?
        };
        let answer = answer.context("the token endpoint closed the connection")?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        let opaque = jwt::signature(&jwt)?.to_owned();
        ensure!(answer.json()?["access_token"] == opaque, "{}", answer.text());
        Ok(Token { jwt, opaque })
    }

    /// Sends one request on a connection of its own: the request line, its header fields, no body. Host is added.
    pub fn ask(&self, line: &str, headers: &[&str]) -> Result<raw::Answer> {
        self.ask_at(&self.gateway.host(), line, headers)
    }

    /// [`Self::ask`] with another Host.
    pub fn ask_at(&self, host: &str, line: &str, headers: &[&str]) -> Result<raw::Answer> {
        let request = request(host, line, headers, "");
        let answer = if line.starts_with("HEAD ") {
            let mut client = raw::Client::connect(self.gateway.address())?;
            client.send(request)?;
            client.read_head()?
        } else {
            self.gateway.exchange(request)?
        };
        answer.with_context(|| format!("no answer to {line}"))
    }

    /// GET with a token, on a connection of its own.
    pub fn get(&self, path: &str, token: &Token) -> Result<raw::Answer> {
        self.ask(&format!("GET {path}"), &[&token.header()])
    }
}

impl Token {
    /// `Authorization: Bearer …` with the opaque form.
    pub fn header(&self) -> String {
        format!("Authorization: Bearer {}", self.opaque)
    }

    /// The value of `Authorization` that upstreams get.
    pub fn restored(&self) -> String {
        format!("Bearer {}", self.jwt)
    }
}

/// The bytes of a request: method and target, Host, header fields, body as it is.
pub fn request(host: &str, line: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let mut text = format!("{line} HTTP/1.1\r\nHost: {host}\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

fn token_request(host: &str) -> Vec<u8> {
    let form = "grant_type=client_credentials";
    let headers = [
        "Content-Type: application/x-www-form-urlencoded",
        &format!("Content-Length: {}", form.len()),
    ];
    request(host, "POST /oauth/token", &headers, form)
}
