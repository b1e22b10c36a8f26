//! The parts, and what is remembered of their play.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use splittoken_tests::collector::Collector;
use splittoken_tests::gateway::{Gateway, Keyring};
use splittoken_tests::hostile::Hostile;
use splittoken_tests::jwt::Key;
use splittoken_tests::oidc::OidcProvider;
use splittoken_tests::raw::Answer;
use splittoken_tests::redis::{DOCUMENTED_ACL, Monitor, Redis};
use splittoken_tests::shop::connected;
use splittoken_tests::stand::request;
use splittoken_tests::upstream::Upstream;
use splittoken_tests::{secret, wait};

use crate::routes;
use crate::secrets::Secrets;
use crate::written::Written;

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
    collector: Collector,
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
        lost.discovery_steps(routes::misled(&secrets, &key, &lost)?);
        let routes = routes::of(&oidc, [&liar, &vault, &lost], &upstream)?;
        let redis = Redis::builder().acl(&DOCUMENTED_ACL).start()?;
        let monitors = vec![redis.monitor()?];
        let keyring = Keyring::new()?;
        let collector = Collector::start()?;
        let builder = Gateway::builder(routes.clone() + &routes::secret_document(&hmac)?)
            .keyring(&keyring)
            .arguments(&["--log-format", log_format, "--access-log", "on"])
            .arguments(&["--min-drain", "100ms", "--drain", "500ms"])
            .arguments(&["--otlp-endpoint", &collector.url(), "--trace-sampling", "1"]);
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
            collector,
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
        let dump = self.redis.dump_all()?;
        ensure!(!dump.is_empty(), "nothing was stored");
        for (key, value) in dump {
            self.written.add("Redis' content", [key, value].join(&b'\n'));
        }
        Ok(())
    }

    /// At the end: the log, Redis' view, and the URLs that the upstream got.
    pub(super) fn what_was_seen(&self) -> Result<()> {
        self.written.add("the log", self.gateway.output());
        let spans = self.collector.spans()?.len();
        ensure!(spans > 100, "{spans} spans");
        for request in self.collector.requests() {
            self.written
                .add("a span", [request.head(), request.body()].concat());
        }
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
