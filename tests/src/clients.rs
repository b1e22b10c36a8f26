//! Unmodified client libraries of other languages: Python's Authlib and Go's x/oauth2.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::oidc::{REDIRECT_URL, Registration};
use crate::parts;
use crate::process::Process;

/// A client program's whole run takes about a second.
const LIMIT: Duration = Duration::from_secs(60);

/// What a client program is to do: get a token, then GET an API with it.
#[derive(Debug, Clone, Default)]
pub struct Errand {
    client_id: String,
    client_secret: String,
    token_url: String,
    auth_url: Option<String>,
    scope: String,
    api_url: String,
}

/// What a client program saw.
#[derive(Debug, Clone, Deserialize)]
pub struct Report {
    /// The length of the access token that the API was called with.
    pub token_length: usize,
    /// Whether that token has a dot in it, as a JWT has.
    pub token_has_dots: bool,
    /// The answer's `token_type`.
    pub token_type: String,
    /// The API's status code.
    pub api_status: u16,
    /// The API's body.
    pub api_body: String,
    /// Whether the token came from a refresh.
    pub refreshed: bool,
    /// Whether the refresh brought another access token.
    pub changed: bool,
}

impl Errand {
    /// `client_credentials` at `token_url` with HTTP Basic, then GET `api_url`.
    pub fn new(client: &Registration, token_url: &str, api_url: &str) -> Self {
        Self {
            client_id: client.id.clone(),
            client_secret: client.secret.clone(),
            token_url: token_url.to_owned(),
            api_url: api_url.to_owned(),
            ..Self::default()
        }
    }

    /// `authorization_code` with PKCE in place of `client_credentials`, then a refresh where the provider gave a
    /// refresh token. `auth_url` is the provider's own.
    #[must_use]
    pub fn log_in_at(mut self, auth_url: &str) -> Self {
        self.auth_url = Some(auth_url.to_owned());
        self
    }

    /// The scopes to ask for, space-separated.
    #[must_use]
    pub fn scope(mut self, scope: &str) -> Self {
        scope.clone_into(&mut self.scope);
        self
    }

    /// Runs it with Authlib on requests.
    pub fn authlib(&self) -> Result<Report> {
        self.python("requests")
    }

    /// Runs it with Authlib on httpx.
    pub fn authlib_httpx(&self) -> Result<Report> {
        self.python("httpx")
    }

    /// Runs it with golang.org/x/oauth2.
    pub fn go(&self) -> Result<Report> {
        self.run(
            "the Go client",
            Command::new(parts::path("SPLITTOKEN_GO_OAUTH2")?),
        )
    }

    fn python(&self, library: &str) -> Result<Report> {
        let mut command = Command::new(parts::path("SPLITTOKEN_PYTHON")?);
        // No __pycache__ in the checkout.
        command
            .arg("-B")
            .arg(parts::source("authlib").join("client.py"))
            .env("HTTP_LIBRARY", library);
        self.run("Authlib", command)
    }

    fn run(&self, name: &str, mut command: Command) -> Result<Report> {
        let grant = if self.auth_url.is_some() {
            "authorization_code"
        } else {
            "client_credentials"
        };
        command
            .env("GRANT", grant)
            .env("TOKEN_URL", &self.token_url)
            .env("AUTH_URL", self.auth_url.as_deref().unwrap_or_default())
            .env("REDIRECT_URL", REDIRECT_URL)
            .env("CLIENT_ID", &self.client_id)
            .env("CLIENT_SECRET", &self.client_secret)
            .env("CLIENT_AUTH", "basic")
            .env("SCOPE", &self.scope)
            .env("API_URL", &self.api_url);
        let text = Process::start(name, &command)?.finish(LIMIT)?;
        let line = text.lines().rfind(|line| line.starts_with('{'));
        ensure!(line.is_some(), "{name} printed no report:\n{text}");
        serde_json::from_str(line.unwrap_or_default())
            .with_context(|| format!("the report of {name}:\n{text}"))
    }
}
