//! npm oidc-provider, the OpenID provider for everyday tests.

mod login;

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tempfile::TempDir;

use crate::http::{Answer, Client};
use crate::process::Process;
use crate::{parts, secret, wait};

pub use login::Pkce;

/// The redirect URL of [`OidcProvider::web`]. Nobody listens there: tests read the code off the redirect.
pub const REDIRECT_URL: &str = "http://127.0.0.1:1/callback";

/// A running oidc-provider with two clients. Access tokens are RS256 JWTs of 600 s with the audience `urn:shop`, the
/// scopes `orders:read orders:write`, and the claims `tenant: acme`, `roles: [reader, writer]`,
/// `profile: {level: 3}`. With `resource=urn:opaque` they are opaque.
#[derive(Debug)]
pub struct OidcProvider {
    process: Process,
    issuer: String,
    service: Registration,
    web: Registration,
    http: Client,
    _folder: TempDir,
}

/// A registered client.
#[derive(Debug, Clone)]
pub struct Registration {
    /// `client_id`.
    pub id: String,
    /// `client_secret`, made at run time.
    pub secret: String,
}

impl Registration {
    /// A client with a new secret.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            secret: secret::text(),
        }
    }

    /// Id and secret, for HTTP Basic.
    pub fn basic(&self) -> (&str, &str) {
        (&self.id, &self.secret)
    }

    /// The same as the credentials of an `Authorization: Basic` header. Neither has characters that need escapes.
    pub fn basic_credentials(&self) -> String {
        STANDARD.encode(format!("{}:{}", self.id, self.secret))
    }
}

impl OidcProvider {
    /// Starts it on a free port of 127.0.0.1 and waits until it is ready.
    pub fn start() -> Result<Self> {
        let (service, web) = (Registration::new("service"), Registration::new("web"));
        let clients = json!([
            {
                "client_id": service.id, "client_secret": service.secret, "grant_types": ["client_credentials"],
                "redirect_uris": [], "response_types": [],
            },
            {
                "client_id": web.id, "client_secret": web.secret, "redirect_uris": [REDIRECT_URL],
                "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
            },
        ]);
        let folder = parts::node_project("oidc-provider", "SPLITTOKEN_OIDC_PROVIDER")?;
        let mut command = Command::new(parts::path("SPLITTOKEN_NODE")?);
        command
            .args(["server.mjs", "0"])
            .current_dir(folder.path())
            .env("OIDC_CLIENTS", clients.to_string());
        let mut process = Process::start("oidc-provider", &command)?;
        let issuer = process.ready(wait::START, |text| {
            text.lines()
                .find_map(|line| line.strip_prefix("READY "))
                .map(str::to_owned)
        })?;
        Ok(Self {
            process,
            issuer,
            service,
            web,
            http: Client::new()?,
            _folder: folder,
        })
    }

    /// The issuer, `http://127.0.0.1:PORT`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The token endpoint.
    pub fn token_url(&self) -> String {
        format!("{}/token", self.issuer)
    }

    /// The authorization endpoint.
    pub fn auth_url(&self) -> String {
        format!("{}/auth", self.issuer)
    }

    /// The client for `client_credentials`; it authenticates with HTTP Basic.
    pub fn service(&self) -> &Registration {
        &self.service
    }

    /// The client for `authorization_code` with PKCE and `refresh_token` (rotated); HTTP Basic.
    pub fn web(&self) -> &Registration {
        &self.web
    }

    /// Asks the provider itself for a token with [`Self::service`].
    pub fn client_credentials(&self, scope: &str) -> Result<Answer> {
        let form = [("grant_type", "client_credentials"), ("scope", scope)];
        self.http
            .post_form(&self.token_url(), Some(self.service.basic()), &form)
    }

    /// Logs `alice` in as [`Self::web`]'s user, with her consent to `scope`, and gives the authorization code.
    pub fn login(&self, pkce: &Pkce, scope: &str) -> Result<String> {
        login::code(&self.http, &self.auth_url(), &self.web.id, pkce, scope)
    }

    /// From now on signs with a new key, which is published beside the old ones.
    pub fn rotate(&self) -> Result<()> {
        self.operate("rotate")
    }

    /// From now on publishes the key alone that signs.
    pub fn withdraw_old_keys(&self) -> Result<()> {
        self.operate("withdraw")
    }

    fn operate(&self, what: &str) -> Result<()> {
        let answer = self.http.get(&format!("{}/operator/{what}", self.issuer))?;
        ensure!(answer.status == 204, "{what}: {}", answer.status);
        Ok(())
    }

    /// SIGSTOP: it hangs.
    pub fn pause(&self) -> Result<()> {
        self.process.pause()
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.process.resume()
    }

    /// SIGKILL: connections are refused.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().context("killing oidc-provider")
    }

    /// What it wrote so far.
    pub fn output(&self) -> Vec<u8> {
        self.process.output()
    }
}
