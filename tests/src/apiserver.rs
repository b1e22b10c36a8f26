//! A real kube-apiserver with its etcd, without nodes: objects are stored, validated and watched, and nothing runs.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rcgen::KeyPair;
use tempfile::TempDir;

use crate::certs::Authority;
use crate::kube::Kube;
use crate::process::Process;
use crate::{folder, parts, ports, secret};

/// A busy machine takes its time.
const START: Duration = Duration::from_secs(90);

/// A running API server. Killed when dropped.
#[derive(Debug)]
pub struct ApiServer {
    folder: TempDir,
    etcd: Process,
    etcd_url: String,
    server: Process,
    port: u16,
    advertised: Option<Ipv4Addr>,
    authority: Authority,
    token: String,
}

impl ApiServer {
    /// Starts one on free ports of 127.0.0.1. The administrator's credentials are in [`Self::kubeconfig`].
    pub fn start() -> Result<Self> {
        Self::start_as(None)
    }

    /// One that tells the cluster that it is at this address of the machine, with its port. Nobody listens there: it
    /// listens where the others do.
    pub fn advertised(address: Ipv4Addr) -> Result<(Self, SocketAddr)> {
        let server = Self::start_as(Some(address))?;
        let socket = SocketAddr::from((address, server.port));
        Ok((server, socket))
    }

    fn start_as(advertised: Option<Ipv4Addr>) -> Result<Self> {
        let folder = folder::guarded()?;
        let authority = Authority::new()?;
        let certificate = authority.certify(&["127.0.0.1", "localhost"])?;
        certificate.write(folder.path())?;
        authority.write(folder.path())?;
        let accounts = KeyPair::generate()?;
        fs::write(folder.path().join("accounts.key"), accounts.serialize_pem())?;
        fs::write(folder.path().join("accounts.pub"), accounts.public_key_pem())?;
        let token = secret::text();
        fs::write(
            folder.path().join("tokens.csv"),
            format!("{token},admin,admin,system:masters\n"),
        )?;
        let (etcd, etcd_url) = start_etcd(&folder)?;
        let port = ports::free()?;
        let server = start_server(&folder, &etcd_url, port, advertised)?;
        let mut this = Self {
            folder,
            etcd,
            etcd_url,
            server,
            port,
            advertised,
            authority,
            token,
        };
        this.write_kubeconfig()?;
        this.wait_ready()?;
        Ok(this)
    }

    /// One for all tests of a process that do not stop it. Tests keep apart by their namespaces.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<ApiServer, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::start().map_err(|error| format!("{error:#}")));
        shared.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// The administrator's kubeconfig, for programs.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// The administrator.
    pub fn admin(&self) -> Result<Kube> {
        self.as_bearer(&self.token)
    }

    /// Somebody with another token, such as that of a `ServiceAccount`.
    pub fn as_bearer(&self, token: &str) -> Result<Kube> {
        Kube::new(&self.url(), self.authority.pem(), token)
    }

    /// Writes a kubeconfig for somebody with another token.
    pub fn kubeconfig_of(&self, token: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(format!("kubeconfig-{}", secret::text()));
        fs::write(&path, self.kubeconfig_text(token))?;
        Ok(path)
    }

    /// Ends the API server; etcd goes on.
    pub fn stop(&mut self) -> Result<()> {
        self.server.kill()
    }

    /// It hangs: connections stay open, and nothing is answered.
    pub fn pause(&self) -> Result<()> {
        self.server.pause()
    }

    /// The end of [`Self::pause`].
    pub fn resume(&self) -> Result<()> {
        self.server.resume()
    }

    /// Starts it again on the same port.
    pub fn restart(&mut self) -> Result<()> {
        self.server = start_server(&self.folder, &self.etcd_url, self.port, self.advertised)?;
        self.wait_ready()
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn write_kubeconfig(&self) -> Result<()> {
        Ok(fs::write(self.kubeconfig(), self.kubeconfig_text(&self.token))?)
    }

    fn kubeconfig_text(&self, token: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: '{}', certificate-authority: '{}'}}}}]\n\
             users: [{{name: test, user: {{token: '{token}'}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n",
            self.url(),
            self.folder.path().join("ca.pem").display(),
        )
    }

    fn wait_ready(&mut self) -> Result<()> {
        let admin = self.admin()?;
        let ready = |_: &str| admin.get("/readyz").ok().filter(|answer| answer.status == 200);
        let outcome = self.server.ready(START, ready).map(drop);
        outcome.with_context(|| format!("etcd wrote:\n{}", self.etcd.text()))
    }
}

fn start_etcd(folder: &TempDir) -> Result<(Process, String)> {
    let (client, peer) = (local(ports::free()?), local(ports::free()?));
    let mut command = Command::new(parts::path("SPLITTOKEN_CONTROL_PLANE")?.join("etcd"));
    command
        .args([
            "--name",
            "test",
            "--unsafe-no-fsync",
            "--log-level",
            "warn",
            "--data-dir",
        ])
        .arg(folder.path().join("etcd"))
        .args([
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
        ])
        .args([
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
        ])
        .args(["--initial-cluster", &format!("test={peer}")]);
    Ok((Process::start("etcd", &command)?, client))
}

fn start_server(folder: &TempDir, etcd: &str, port: u16, advertised: Option<Ipv4Addr>) -> Result<Process> {
    let at = |name: &str| folder.path().join(name).display().to_string();
    let mut command = Command::new(parts::path("SPLITTOKEN_CONTROL_PLANE")?.join("kube-apiserver"));
    command.args([
        format!("--etcd-servers={etcd}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!(
            "--advertise-address={}",
            advertised.unwrap_or(Ipv4Addr::LOCALHOST)
        ),
        // It says so in EndpointSlices, which take no loopback address.
        format!(
            "--endpoint-reconciler-type={}",
            if advertised.is_some() { "lease" } else { "none" }
        ),
        format!("--secure-port={port}"),
        format!("--tls-cert-file={}", at("server.pem")),
        format!("--tls-private-key-file={}", at("server.key")),
        format!("--cert-dir={}", at("")),
        format!("--token-auth-file={}", at("tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/16".to_owned(),
        // There is no controller that would make the default ServiceAccounts that it asks for.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        format!("--service-account-issuer=https://127.0.0.1:{port}/"),
        format!("--service-account-key-file={}", at("accounts.pub")),
        format!("--service-account-signing-key-file={}", at("accounts.key")),
        "--profiling=false".to_owned(),
    ]);
    Process::start("kube-apiserver", &command)
}

fn local(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
