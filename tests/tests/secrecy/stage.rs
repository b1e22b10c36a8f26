//! The parts, and what is remembered of their play.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use splittoken_tests::gateway::{Gateway, Keyring};
use splittoken_tests::hostile::Hostile;
use splittoken_tests::jwt::Key;
use splittoken_tests::oidc::OidcProvider;
use splittoken_tests::ports;
use splittoken_tests::raw::Answer;
use splittoken_tests::redis::{Monitor, Redis};
use splittoken_tests::route::Route;
use splittoken_tests::shop::connected;
use splittoken_tests::stand::request;
use splittoken_tests::upstream::Upstream;
use splittoken_tests::wire::{Step, answer};
use splittoken_tests::{secret, wait};

use crate::secrets::Secrets;
use crate::written::Written;

/// The host of the route whose provider answers what a test wants.
pub(super) const LIAR: &str = "liar.test";
/// The host of the route with an HMAC key.
pub(super) const VAULT: &str = "vault.test";
/// The host of the route whose provider cannot be discovered.
pub(super) const LOST: &str = "lost.test";

/// What the documentation tells an administrator to allow.
const ACL: [&str; 10] = [
    "resetkeys",
    "~st1:*",
    "resetchannels",
    "-@all",
    "+get",
    "+set",
    "+ping",
    "+info",
    "+client|tracking",
    "+client|setname",
];

/// How the gateway learns of its store's password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Password {
    InAFile,
    InTheUrl,
}

pub(super) struct Stage {
    pub(super) oidc: OidcProvider,
    pub(super) liar: Hostile,
    pub(super) key: Key,
    pub(super) vault: Hostile,
    pub(super) hmac: Key,
    pub(super) upstream: Upstream,
    pub(super) redis: Redis,
    pub(super) gateway: Gateway,
    pub(super) secrets: Secrets,
    pub(super) written: Written,
    pub(super) monitors: Vec<Monitor>,
    /// The routes file without the Secret.
    pub(super) routes: String,
    password: Password,
    _lost: Hostile,
}

impl Stage {
    pub(super) fn set(log_format: &str, password: Password) -> Result<Self> {
        let secrets = Secrets::default();
        let (oidc, upstream) = (OidcProvider::start()?, Upstream::start()?);
        let (key, hmac) = (Key::es256()?, Key::hmac(secret::text().as_bytes()));
        let (liar, vault, lost) = (
            Hostile::start(&[&key])?,
            Hostile::start(&[])?,
            Hostile::start(&[])?,
        );
        lost.discovery_steps(misled(&secrets, &key, &lost)?);
        let routes: String = [
            oidc_route(&oidc, &upstream)?,
            Route::new(&liar.issuer(), &upstream.url())
                .named("liar")
                .spec(&json!({"hostnames": [LIAR]})),
            vault_route(&vault, &upstream),
            Route::new(&lost.issuer(), &upstream.url())
                .named("lost")
                .spec(&json!({"hostnames": [LOST]})),
        ]
        .map(String::from)
        .concat();
        let redis = Redis::builder().acl(&ACL).start()?;
        let monitors = vec![redis.monitor()?];
        let keyring = Keyring::new()?;
        let builder = Gateway::builder(routes.clone() + &secret_document(&hmac)?)
            .keyring(&keyring)
            .arguments(&["--log-format", log_format, "--access-log", "on"])
            .arguments(&["--min-drain", "100ms", "--drain", "500ms"]);
        let gateway = match password {
            Password::InAFile => builder.redis(&redis),
            Password::InTheUrl => builder.redis_with_password_in_url(&redis)?,
        }
        .start()?;
        connected(&gateway, wait::START)?;
        secrets.add_keyring(&std::fs::read_to_string(keyring.path())?)?;
        secrets.add("a Redis password", &redis.user().context("no user")?.password);
        secrets.add("an HMAC key", hmac.hmac_secret().context("no secret")?);
        for client in [oidc.service(), oidc.web()] {
            secrets.add("a client's secret", &client.secret);
            secrets.add("Basic credentials", basic(client.basic()));
        }
        Ok(Self {
            oidc,
            liar,
            key,
            vault,
            hmac,
            upstream,
            redis,
            gateway,
            secrets,
            written: Written::default(),
            monitors,
            routes,
            password,
            _lost: lost,
        })
    }

    /// Sends bytes and remembers the answer; `None` where the gateway closed without one.
    pub(super) fn send(&self, what: &str, bytes: impl AsRef<[u8]>) -> Result<Option<Answer>> {
        let got = self.gateway.exchange(bytes).context(what.to_owned())?;
        if let Some(answer) = &got {
            self.written.add(
                &format!("the answer to {what}"),
                [answer.head.as_slice(), &answer.raw_body].concat(),
            );
        }
        Ok(got)
    }

    /// [`Self::send`] for a request of this form; the answer must have this status.
    pub(super) fn expect(
        &self,
        status: u16,
        what: &str,
        (host, line, headers, body): (&str, &str, &[&str], &str),
    ) -> Result<Answer> {
        let answer = self.send(what, request(host, line, headers, body))?;
        let answer = answer.with_context(|| format!("no answer to {what}"))?;
        ensure!(
            answer.status == status,
            "{what}: {} {}",
            answer.status,
            answer.text()
        );
        Ok(answer)
    }

    /// What the admin server shows at this time.
    pub(super) fn admin_pages(&self) -> Result<()> {
        for page in ["/metrics", "/config", "/readyz", "/healthz"] {
            let answer = self.gateway.admin(page)?;
            ensure!(answer.status == 200 && !answer.body.is_empty(), "{page}");
            self.written.add(page, &answer.body);
        }
        Ok(())
    }

    /// What lies in Redis at this time.
    pub(super) fn redis_s_content(&self) -> Result<()> {
        let dump = self.redis.dump()?;
        ensure!(!dump.is_empty(), "nothing was stored");
        for (key, value) in dump {
            self.written.add("Redis' content", [key, value].join(&b'\n'));
        }
        Ok(())
    }

    /// At the end: the log, Redis' view, and the URLs that the upstream got.
    pub(super) fn what_was_seen(&self) -> Result<()> {
        self.written.add("the log", self.gateway.output());
        self.written.add("Redis' log", self.redis.output());
        for monitor in &self.monitors {
            let seen = monitor.seen();
            ensure!(seen.len() > 1_000, "MONITOR saw next to nothing");
            self.written.add("MONITOR", seen);
        }
        Ok(())
    }

    /// The command line that `ps` shows to everybody. Whoever puts the password there has been told.
    pub(super) fn command_line(&self) -> Result<()> {
        if self.password == Password::InAFile {
            let arguments = std::fs::read(format!("/proc/{}/cmdline", self.gateway.pid()))?;
            self.written.add("the command line", arguments);
        }
        Ok(())
    }

    /// The search sees each secret, and whole tokens where they belong: at the upstream.
    pub(super) fn can_be_found(&self) -> Result<()> {
        let marks = self.secrets.marks();
        self.secrets.can_be_found(&marks)?;
        let requests = self.upstream.requests();
        let raw: Vec<u8> = requests.into_iter().flat_map(|request| request.raw).collect();
        let found = marks.found_in(&raw);
        ensure!(
            found.iter().any(|found| found == "an access token (plain)"),
            "the upstream got no token, or the search is blind: {found:?}"
        );
        Ok(())
    }

    /// The search.
    pub(super) fn is_nowhere(&self) -> Result<()> {
        let (size, findings) = self.written.search(&self.secrets.marks());
        eprintln!("{size} bytes searched");
        ensure!(findings.is_empty(), "written down:\n{}", findings.join("\n"));
        Ok(())
    }
}

/// `Basic …`, without the word.
pub(super) fn basic((id, secret): (&str, &str)) -> String {
    STANDARD.encode(format!("{id}:{secret}"))
}

/// The Secret with the key of [`VAULT`], as a document of a routes file.
pub(super) fn secret_document(hmac: &Key) -> Result<String> {
    let data = STANDARD.encode(hmac.hmac_secret().context("no secret")?);
    Ok(format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: signing, namespace: default}}\ndata: {{hmac: {data}}}\n"
    ))
}

/// The oidc-provider on the gateway's own address, with backends that fail beside the API.
fn oidc_route(oidc: &OidcProvider, upstream: &Upstream) -> Result<Route> {
    let nobody = format!("http://127.0.0.1:{}", ports::free()?);
    let rule = |name: &str, path: &str, url: &str| {
        json!({"name": name, "matches": [{"path": {"value": path}}], "backendRefs": [{"url": url}],
            "timeouts": {"request": "300ms"}})
    };
    let mut rules = vec![
        rule("dead", "/dead", &nobody),
        rule("slow", "/slow", &upstream.url()),
        json!({"name": "staff", "matches": [{"path": {"value": "/staff"}}],
            "authorization": {"scopes": ["staff"]}, "backendRefs": [{"url": upstream.url()}]}),
    ];
    rules.push(json!({"name": "api", "backendRefs": [{"url": upstream.url()}]}));
    Ok(Route::new(oidc.issuer(), &upstream.url()).spec(&json!({"rules": rules})))
}

fn vault_route(vault: &Hostile, upstream: &Upstream) -> Route {
    Route::new(&vault.issuer(), &upstream.url())
        .named("vault")
        .spec(&json!({"hostnames": [VAULT]}))
        .issuer(&json!({"algorithms": ["HS256"], "hmacSecretRef": {"name": "signing", "key": "hmac"}}))
}

/// A discovery document that is a token, in the answer to a redirect to a token.
fn misled(secrets: &Secrets, key: &Key, lost: &Hostile) -> Result<Vec<Step>> {
    let token = key.token(&lost.claims(&json!({"jti": secret::text()})))?;
    secrets.add_jwt("an untrustworthy token", &token)?;
    let location = format!("{}/callback?access_token={token}#id_token={token}", lost.issuer());
    let raw = answer(
        "302 Found",
        &[("Location", &location)],
        format!("{{\"issuer\": \"{token}\"}}"),
    );
    Ok(vec![Step::Send(raw)])
}
