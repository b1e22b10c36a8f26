//! The gateway itself: the built binary `splittoken`, run as users run it.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::http::{Answer, Client};
use crate::process::Process;
use crate::raw;
use crate::redis::Redis;
use crate::{ports, wait};

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
    routes: PathBuf,
    http: Client,
    _folder: TempDir,
}

/// How a gateway is to be started. Without a store it keeps tokens in its own memory.
#[derive(Debug)]
pub struct Builder {
    routes: String,
    keyring: Option<PathBuf>,
    store: String,
    arguments: Vec<String>,
    log: String,
    roots: Option<PathBuf>,
    environment: Vec<(String, String)>,
    under: Vec<String>,
}

/// The environment of a program that finds no certificate authorities.
pub const NO_ROOTS: [(&str, &str); 2] = [("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/dev/null")];

/// A keyring file, for gateways that share a Redis.
#[derive(Debug)]
pub struct Keyring {
    folder: TempDir,
}

/// The binary: `SPLITTOKEN_BIN`, or `splittoken` in the target folder that the running test lies in.
pub fn binary() -> Result<PathBuf> {
    let path = match env::var_os("SPLITTOKEN_BIN") {
        Some(path) => PathBuf::from(path),
        None => beside_the_test().context("the test's own path has no target folder")?,
    };
    ensure!(
        path.exists(),
        "{} is missing: run `cargo build -p splittoken`",
        path.display()
    );
    Ok(path)
}

/// Runs the binary with these arguments to its end, as for `check`, `crd`, `keyring new` and refusals to start.
pub fn run(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(binary()?).args(arguments).output()?)
}

/// The smallest useful route, as YAML: the host 127.0.0.1, an issuer of its own over plain HTTP, tokens at
/// `/oauth/token`, everything else to one backend.
pub fn smallest_route(issuer: &str, upstream: &str) -> String {
    format!(
        "\
apiVersion: splittoken.dev/v1alpha1
kind: SplitTokenRoute
metadata: {{name: shop, namespace: default}}
spec:
  hostnames: [127.0.0.1]
  issuer: {{url: '{issuer}', transport: PlainHTTPAllowed}}
  tokenEndpoints: {{token: {{path: /oauth/token}}}}
  rules:
  - name: api
    backendRefs: [{{url: '{upstream}'}}]
"
    )
}

impl Gateway {
    /// A gateway with these routes: the text of one YAML file.
    pub fn builder(routes: impl Into<String>) -> Builder {
        Builder {
            routes: routes.into(),
            keyring: None,
            store: "memory".to_owned(),
            arguments: Vec::new(),
            log: "trace".to_owned(),
            roots: None,
            environment: Vec::new(),
            under: Vec::new(),
        }
    }

    /// A gateway with these routes and the memory store.
    pub fn start(routes: impl Into<String>) -> Result<Self> {
        Self::builder(routes).start()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT` and `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// `http://127.0.0.1:PORT/oauth/token`, the token endpoint of [`smallest_route`].
    pub fn token_url(&self) -> String {
        self.url("/oauth/token")
    }

    /// The Host that clients send: `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Sends raw bytes on a connection of its own and reads the answer; `None` where the gateway closed without one.
    pub fn exchange(&self, bytes: impl AsRef<[u8]>) -> Result<Option<raw::Answer>> {
        raw::exchange(self.address, bytes)
    }

    /// `GET path` with a bearer token.
    pub fn call(&self, path: &str, token: &str) -> Result<Answer> {
        self.http.get_with(&self.url(path), token)
    }

    /// POST of a form to [`Self::token_url`]; `basic` is a client id with its secret.
    pub fn token(&self, basic: Option<(&str, &str)>, form: &[(&str, &str)]) -> Result<Answer> {
        self.http.post_form(&self.token_url(), basic, form)
    }

    /// GET of a page of the admin server: `/healthz`, `/readyz`, `/metrics`, `/config`.
    pub fn admin(&self, path: &str) -> Result<Answer> {
        self.http.get(&format!("http://{}{path}", self.admin))
    }

    /// Replaces the routes file, in one step, as an editor does. The gateway takes it within a second: wait on what
    /// is to change.
    pub fn write_routes(&self, routes: &str) -> Result<()> {
        write_routes(&self.routes, routes)
    }

    /// The routes file, for edits that are not one whole text.
    pub fn routes_file(&self) -> &Path {
        &self.routes
    }

    /// Everything that it wrote so far, to stdout and stderr.
    pub fn output(&self) -> Vec<u8> {
        self.process.output()
    }

    /// The process id, to measure it by.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends SIGTERM, without waiting.
    pub fn terminate(&self) -> Result<()> {
        self.process.terminate()
    }

    /// Sends SIGINT, without waiting.
    pub fn interrupt(&self) -> Result<()> {
        self.process.interrupt()
    }

    /// SIGSTOP: nothing is accepted, read or answered.
    pub fn pause(&self) -> Result<()> {
        self.process.pause()
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.process.resume()
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.wait(limit)
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }
}

impl Builder {
    /// Keeps tokens in this Redis, as its ACL user where it has one. Without [`Self::keyring`] a keyring is made.
    #[must_use]
    pub fn redis(mut self, redis: &Redis) -> Self {
        self.store = redis.url();
        self.password_of(redis)
    }

    /// [`Self::redis`] with the ACL user's password in the URL, as people do who trust their command lines.
    pub fn redis_with_password_in_url(mut self, redis: &Redis) -> Result<Self> {
        let password = &redis.user().context("this Redis has no ACL user")?.password;
        self.store = redis.url().replace('@', &format!(":{password}@"));
        Ok(self)
    }

    /// [`Self::redis`] over TLS, trusting that Redis' own authority.
    pub fn redis_tls(mut self, redis: &Redis) -> Result<Self> {
        self.store = redis.tls_url()?;
        let ca = redis.ca_file().display().to_string();
        Ok(self.arguments(&["--store-ca", &ca]).password_of(redis))
    }

    /// Uses this keyring, as other gateways do that share the store.
    #[must_use]
    pub fn keyring(mut self, keyring: &Keyring) -> Self {
        self.keyring = Some(keyring.path());
        self
    }

    /// More arguments, such as `["--access-log", "on"]`.
    #[must_use]
    pub fn arguments(mut self, arguments: &[impl AsRef<str>]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `RUST_LOG`, in place of `trace`: for measurements.
    #[must_use]
    pub fn log(mut self, level: &str) -> Self {
        level.clone_into(&mut self.log);
        self
    }

    /// Runs it under this program with its arguments, such as `["valgrind"]`: for measurements.
    #[must_use]
    pub fn under(mut self, program: &[&str]) -> Self {
        self.under = program.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// As on a machine that knows no certificate authority.
    #[must_use]
    pub fn without_roots(self) -> Self {
        self.roots_of("/dev/null")
    }

    /// As on a machine that knows the certificate authorities of this file.
    #[must_use]
    pub fn roots_of(mut self, file: impl Into<PathBuf>) -> Self {
        self.roots = Some(file.into());
        self
    }

    /// Starts it and waits until `/readyz` says so. A gateway that ends before that is an error with what it wrote.
    pub fn start(self) -> Result<Gateway> {
        let folder = tempfile::tempdir()?;
        let routes = folder.path().join("routes.yaml");
        write_routes(&routes, &self.routes)?;
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let admin = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let mut command = self.command()?;
        command.arg("gateway").arg("--routes").arg(&routes);
        command.args([
            "--listen",
            &address.to_string(),
            "--admin",
            &admin.to_string(),
            "--store",
            &self.store,
        ]);
        if let Some(keyring) = self.keyring_file(folder.path())? {
            command.arg("--keyring").arg(keyring);
        }
        command.args(&self.arguments).env("RUST_LOG", &self.log);
        let variables = self.environment.iter().map(|(name, value)| (name, value));
        command.envs(variables);
        if let Some(roots) = &self.roots {
            command.envs(NO_ROOTS).env("SSL_CERT_FILE", roots);
        }
        let http = Client::new()?;
        let mut process = Process::start("splittoken gateway", &command)?;
        let ready = format!("http://{admin}/readyz");
        process.ready(wait::START, |_| {
            http.get(&ready).ok().filter(|answer| answer.status == 200)
        })?;
        Ok(Gateway {
            process,
            address,
            admin,
            routes,
            http,
            _folder: folder,
        })
    }

    fn command(&self) -> Result<Command> {
        let Some((program, arguments)) = self.under.split_first() else {
            return Ok(Command::new(binary()?));
        };
        let mut command = Command::new(program);
        command.args(arguments).arg(binary()?);
        Ok(command)
    }

    fn keyring_file(&self, folder: &Path) -> Result<Option<PathBuf>> {
        match &self.keyring {
            Some(path) => Ok(Some(path.clone())),
            None if self.store == "memory" => Ok(None),
            None => new_keyring(folder).map(Some),
        }
    }

    fn password_of(self, redis: &Redis) -> Self {
        match redis.user() {
            Some(_) => self.arguments(&[
                "--store-password-file",
                &redis.password_file().display().to_string(),
            ]),
            None => self,
        }
    }
}

impl Keyring {
    /// A new one, made by `splittoken keyring new`.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        new_keyring(folder.path())?;
        Ok(Self { folder })
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(KEYRING)
    }
}

const KEYRING: &str = "keyring";

fn new_keyring(folder: &Path) -> Result<PathBuf> {
    let made = run(&["keyring", "new"])?;
    ensure!(
        made.status.success(),
        "splittoken keyring new: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    let path = folder.join(KEYRING);
    fs::write(&path, made.stdout)?;
    Ok(path)
}

fn write_routes(path: &Path, routes: &str) -> Result<()> {
    // Not a name that a gateway which watches the folder would read.
    let new = path.with_extension("new");
    fs::write(&new, routes)?;
    Ok(fs::rename(new, path)?)
}

/// Tests lie in `target/<profile>/deps`.
fn beside_the_test() -> Option<PathBuf> {
    Some(env::current_exe().ok()?.parent()?.parent()?.join("splittoken"))
}
