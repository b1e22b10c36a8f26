//! Keycloak: one instance for all tests of a process, with realms made at run time.

mod realm;

use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certs::Authority;
use crate::http::{Answer, Client};
use crate::oidc::Registration;
use crate::process::Process;
use crate::{parts, ports, secret};

/// It takes 35 s on two idle cores.
const START: Duration = Duration::from_secs(300);

/// What the Admin API calls the components that hold keys.
const KEYS: &str = "org.keycloak.keys.KeyProvider";

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
        self.create("realms", realm)
    }

    /// Adds a key of 2048 bits for RS256 to a realm. The realm signs with the one of the highest priority, and publishes
    /// all of them.
    pub fn add_key(&self, realm: &str, name: &str, priority: u32) -> Result<()> {
        let key = json!({
            "name": name, "providerId": "rsa-generated", "providerType": KEYS,
            "config": {"priority": [priority.to_string()], "algorithm": ["RS256"], "keySize": ["2048"]},
        });
        self.create(&format!("realms/{realm}/components"), &key)
    }

    /// Removes a realm's key: it is published no more.
    pub fn remove_key(&self, realm: &str, name: &str) -> Result<()> {
        let components = self.admin_url(&format!("realms/{realm}/components"));
        let token = self.admin_token()?;
        let url = format!("{components}?type={KEYS}&name={name}");
        let found = self.http.get_with(&url, &token)?.json()?;
        let id = found[0]["id"].as_str().context("no such key")?;
        let request = self.http.inner().delete(format!("{components}/{id}"));
        let status = request.bearer_auth(&token).send()?.status();
        ensure!(status == 204, "Keycloak removed no key: {status}");
        Ok(())
    }

    /// Posts to the Admin API.
    fn create(&self, path: &str, thing: &Value) -> Result<()> {
        let url = self.admin_url(path);
        let answer = self.http.post_json(&url, &self.admin_token()?, thing)?;
        ensure!(
            answer.status == 201,
            "Keycloak took nothing at {path}: {} {}",
            answer.status,
            answer.text()
        );
        Ok(())
    }

    fn admin_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/admin/{path}", self.port)
    }

    fn admin_token(&self) -> Result<String> {
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", self.admin.id.as_str()),
            ("password", self.admin.secret.as_str()),
        ];
        let url = Self::token_url(&self.issuer("master"));
        self.http.post_form(&url, None, &form)?.member("access_token")
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
