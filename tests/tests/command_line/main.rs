//! The binary as a user meets it: what it says, where it says it, and the exit code.

mod check;
mod check_sets;
mod environment;
mod help;
mod passwords;
mod printing;
mod probe;
mod readiness;
mod refusals;
mod store_refusals;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::gateway::binary;
use splittoken_tests::http::Client;
use splittoken_tests::process::Process;
use splittoken_tests::wait;
use tempfile::TempDir;

/// A route that nothing can be said against, not even a warning.
const ROUTES: &str = "\
apiVersion: splittoken.dev/v1alpha1
kind: SplitTokenRoute
metadata: {name: shop, namespace: default}
spec:
  hostnames: [127.0.0.1]
  issuer: {url: 'http://127.0.0.1:1', transport: PlainHTTPAllowed}
  tokenEndpoints: {token: {path: /oauth/token, grantTypes: [client_credentials]}}
  rules:
  - name: api
    backendRefs: [{url: 'http://127.0.0.1:1'}]
";

/// Long for a program that has only to say what is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with files to point at.
struct Desk {
    folder: TempDir,
}

/// What a command that came to its end left behind.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Desk {
    /// With `routes.yaml`, and `keyring.json` as it is made.
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let desk = Self { folder };
        desk.put("routes.yaml", ROUTES)?;
        let keyring = run(&["keyring", "new"], &[])?;
        ensure!(keyring.code == Some(0), "{}", keyring.stderr);
        desk.put("keyring.json", keyring.stdout)?;
        Ok(desk)
    }

    /// Where a file of this name is, or would be.
    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Writes a file.
    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> Result<String> {
        fs::write(self.at(name), content)?;
        Ok(self.at(name))
    }

    /// Makes a folder.
    fn folder(&self, name: &str) -> Result<String> {
        fs::create_dir(self.at(name))?;
        Ok(self.at(name))
    }
}

impl Ran {
    /// Checks for a refusal: exit code 2, nothing on standard output, one line on standard error that names all this.
    fn is_refusal(&self, names: &[&str]) -> Result<()> {
        ensure!(self.code == Some(2), "exit code {:?}: {}", self.code, self.stderr);
        ensure!(self.stdout.is_empty(), "standard output: {}", self.stdout);
        let line = self.stderr.strip_suffix('\n').context("no whole line")?;
        ensure!(
            !line.contains('\n') && line.starts_with("splittoken: "),
            "not one line: {line}"
        );
        for name in names {
            ensure!(line.contains(name), "{name} is not named: {line}");
        }
        Ok(())
    }
}

/// The binary with these arguments and this environment, and nothing of ours besides in it.
fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(arguments);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("SPLITTOKEN_") || text.starts_with("RUST_") {
            command.env_remove(&name);
        }
    }
    command.envs(environment.iter().copied());
    Ok(command)
}

/// Runs a command that has an end. One that goes on is stopped, and is an error.
fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Ran> {
    let mut command = command(arguments, environment)?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // Both are read while it runs: more than a pipe holds may come.
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let status = wait::until(PATIENCE, &format!("the end of {arguments:?}"), || {
        child.try_wait().ok().flatten()
    });
    if status.is_err() {
        child.kill()?;
        child.wait()?;
    }
    let text = |reader: std::thread::JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned()
    };
    let (stdout, stderr) = (text(stdout), text(stderr));
    let status = status.with_context(|| stderr.clone())?;
    Ok(Ran {
        code: status.code(),
        stdout,
        stderr,
    })
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came before an error is what there is.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Starts a gateway that is to stay, and waits until `admin` says that it is ready. It may wait for its store for 15 s.
fn start(arguments: &[&str], environment: &[(&str, &str)], admin: &str) -> Result<Process> {
    let mut process = Process::start("splittoken gateway", &command(arguments, environment)?)?;
    let (http, ready) = (Client::new()?, format!("http://{admin}/readyz"));
    process.ready(PATIENCE * 3, |_| {
        http.get(&ready).ok().filter(|answer| answer.status == 200)
    })?;
    Ok(process)
}

/// A free address of this machine.
fn address() -> Result<String> {
    Ok(format!("127.0.0.1:{}", splittoken_tests::ports::free()?))
}

/// A file or folder of the checkout.
fn checkout(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}
