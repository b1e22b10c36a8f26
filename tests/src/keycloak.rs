//! Keycloak: one instance for all tests of a process, with realms made at run time.

mod realm;

use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::certs::Authority;
use crate::http::{Answer, Client};
use crate::oidc::Registration;
use crate::process::Process;
use crate::{parts, ports, secret};

/// It takes 35 s on two idle cores.
const START: Duration = Duration::from_secs(300);

/// A running Keycloak with the realms `shop` (RS256) and `hmac` (HS256), both with the same client and user.
///
/// It answers over HTTP and over HTTPS, and its issuer follows the scheme and port that it is asked at: a token got
/// through [`Self::issuer`] and one got through [`Self::issuer_tls`] have different `iss`.
#[derive(Debug)]
pub struct Keycloak {
    process: Process,
    port: u16,
    tls_port: u16,
    authority: Authority,
    admin: Registration,
    client: Registration,
    user: Registration,
    hmac_secret: Vec<u8>,
    http: Client,
    https: Client,
}

impl Keycloak {
    /// The one of this process; the first call starts it.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Keycloak, Arc<anyhow::Error>>> = OnceLock::new();
        SHARED
            .get_or_init(|| Self::start().map_err(Arc::new))
            .as_ref()
            .map_err(|error| anyhow!("{error:#}"))
    }

    /// `http://127.0.0.1:PORT/realms/REALM`.
    pub fn issuer(&self, realm: &str) -> String {
        format!("http://127.0.0.1:{}/realms/{realm}", self.port)
    }

    /// `https://127.0.0.1:PORT/realms/REALM`, with a certificate of [`Self::authority`].
    pub fn issuer_tls(&self, realm: &str) -> String {
        format!("https://127.0.0.1:{}/realms/{realm}", self.tls_port)
    }

    /// The token endpoint of an issuer.
    pub fn token_url(issuer: &str) -> String {
        format!("{issuer}/protocol/openid-connect/token")
    }

    /// Who certified the HTTPS port.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The confidential client of both realms: client credentials and password grants, HTTP Basic.
    pub fn client(&self) -> &Registration {
        &self.client
    }

    /// The user of both realms: `id` is the name, `secret` the password.
    pub fn user(&self) -> &Registration {
        &self.user
    }

    /// The key that realm `hmac` signs with, for `hmacSecretRef`.
    pub fn hmac_secret(&self) -> &[u8] {
        &self.hmac_secret
    }

    /// Asks Keycloak itself for a token as [`Self::client`]; `issuer` is one of [`Self::issuer`], [`Self::issuer_tls`].
    pub fn client_credentials(&self, issuer: &str) -> Result<Answer> {
        self.post(issuer, &[("grant_type", "client_credentials")])
    }

    /// Asks Keycloak itself for a token of [`Self::user`].
    pub fn password(&self, issuer: &str) -> Result<Answer> {
        let user = [
            ("username", self.user.id.as_str()),
            ("password", self.user.secret.as_str()),
        ];
        self.post(issuer, &[[("grant_type", "password")].as_slice(), &user].concat())
    }

    /// Adds a realm, as JSON of the Admin API's `RealmRepresentation`.
    pub fn add_realm(&self, realm: &Value) -> Result<()> {
        let base = format!("http://127.0.0.1:{}", self.port);
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", self.admin.id.as_str()),
            ("password", self.admin.secret.as_str()),
        ];
        let token = self
            .http
            .post_form(&Self::token_url(&self.issuer("master")), None, &form)?
            .member("access_token")?;
        let answer = self
            .http
            .post_json(&format!("{base}/admin/realms"), &token, realm)?;
        ensure!(
            answer.status == 201,
            "Keycloak took no realm: {} {}",
            answer.status,
            answer.text()
        );
        Ok(())
    }

    /// What it wrote so far.
    pub fn output(&self) -> Vec<u8> {
        self.process.output()
    }

    fn post(&self, issuer: &str, form: &[(&str, &str)]) -> Result<Answer> {
        let http = if issuer.starts_with("https:") {
            &self.https
        } else {
            &self.http
        };
        http.post_form(&Self::token_url(issuer), Some(self.client.basic()), form)
    }

    fn start() -> Result<Self> {
        // Gone when this function ends: Keycloak reads its certificate once, and what all tests share is never dropped.
        let folder = tempfile::tempdir()?;
        let authority = Authority::new()?;
        let (port, tls_port) = (ports::free()?, ports::free()?);
        let admin = Registration::new("admin");
        let command = command(&folder, &authority, (port, tls_port), &admin)?;
        let (http, https) = (Client::new()?, Client::trusting(authority.pem())?);
        let mut keycloak = Self {
            process: Process::start("Keycloak", &command)?,
            port,
            tls_port,
            authority,
            admin,
            client: Registration::new("shop-client"),
            user: Registration::new("alice"),
            hmac_secret: secret::bytes::<64>().to_vec(),
            http,
            https,
        };
        let (http, url) = (keycloak.http.clone(), keycloak.issuer("master"));
        keycloak.process.ready(START, |_| {
            http.get(&url).ok().filter(|answer| answer.status == 200)
        })?;
        let (client, user) = (&keycloak.client, &keycloak.user);
        keycloak.add_realm(&realm::rs256("shop", client, user))?;
        keycloak.add_realm(&realm::hs256("hmac", client, user, &keycloak.hmac_secret))?;
        Ok(keycloak)
    }
}

/// `kc.sh start` of what `tests/setup` has built. Settings go by the environment, where `ps` does not show them.
fn command(
    folder: &TempDir,
    authority: &Authority,
    ports: (u16, u16),
    admin: &Registration,
) -> Result<Command> {
    let (certificate, key) = authority
        .certify(&["127.0.0.1", "localhost"])?
        .write(folder.path())?;
    let mut command = Command::new(parts::path("SPLITTOKEN_KEYCLOAK")?.join("bin/kc.sh"));
    command
        .args([
            "start",
            "--optimized",
            "--http-enabled=true",
            "--hostname-strict=false",
            "--http-host=127.0.0.1",
        ])
        .arg(format!("--http-port={}", ports.0))
        .arg(format!("--https-port={}", ports.1))
        .arg(format!("--https-certificate-file={}", certificate.display()))
        .arg(format!("--https-certificate-key-file={}", key.display()))
        .env("KC_BOOTSTRAP_ADMIN_USERNAME", &admin.id)
        .env("KC_BOOTSTRAP_ADMIN_PASSWORD", &admin.secret)
        .env("JAVA", parts::source("keycloak").join("java"))
        // Half of what Keycloak would take; it needs no more for two realms.
        .env("JAVA_OPTS_KC_HEAP", "-Xms64m -Xmx384m");
    Ok(command)
}
