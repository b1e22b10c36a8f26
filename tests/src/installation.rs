//! An installation at a real API server: an operator, gateways that take their routes from it, and Pod objects that
//! stand for those gateways. Only the kubelet is missing: what it would start, the test starts.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::apiserver::ApiServer;
use crate::gateway;
use crate::http::{Answer, Client};
use crate::kube::Kube;
use crate::process::Process;
use crate::{ports, secret, wait};

/// A class of its own in a namespace of its own, so that many fit on one API server.
pub struct Installation {
    kubeconfig: PathBuf,
    /// The administrator.
    pub kube: Kube,
    /// The namespace of its operator and gateways.
    pub name: String,
    /// The class, which is called like the namespace unless it is another installation's.
    pub class: String,
    admin_port: u16,
    http: Client,
    folder: TempDir,
}

/// A running operator.
pub struct Operator {
    process: Process,
    admin: SocketAddr,
    http: Client,
}

/// A running gateway with the Pod object that stands for it.
pub struct Pod {
    process: Process,
    kube: Kube,
    namespace: String,
    number: u8,
    address: IpAddr,
    port: u16,
    admin_port: u16,
    http: Client,
}

impl Installation {
    /// Installs the CRDs, as `splittoken crd` prints them, and makes a namespace.
    pub fn at(server: &ApiServer) -> Result<Self> {
        install_crds(&server.admin()?)?;
        Self::without_crds(server)
    }

    /// Makes a namespace and nothing else.
    pub fn without_crds(server: &ApiServer) -> Result<Self> {
        let kube = server.admin()?;
        let name = format!(
            "test-{}",
            &secret::text().to_lowercase().replace(['-', '_'], "x")[..12]
        );
        kube.apply(&namespace(&name, &json!({})))?;
        Ok(Self {
            kubeconfig: server.kubeconfig(),
            kube,
            class: name.clone(),
            name,
            admin_port: ports::free()?,
            http: Client::new()?,
            folder: tempfile::tempdir()?,
        })
    }

    /// A second installation of this one's class, in a namespace of its own.
    pub fn beside(&self, server: &ApiServer) -> Result<Self> {
        Ok(Self {
            class: self.class.clone(),
            ..Self::without_crds(server)?
        })
    }

    /// Another namespace, for a team, with labels. Its name begins with the installation's.
    pub fn team(&self, name: &str, labels: &Value) -> Result<String> {
        let name = format!("{}-{name}", self.name);
        self.kube.apply(&namespace(&name, labels))?;
        Ok(name)
    }

    /// Starts an operator and waits until it is ready.
    pub fn operator(&self, policy: &str) -> Result<Operator> {
        let mut operator = self.operator_of(&self.kubeconfig, policy)?;
        operator.wait_ready()?;
        Ok(operator)
    }

    /// Starts an operator that is told where the API server is, as a pod would be, and waits until it is ready.
    pub fn operator_told(&self, api_server: &str, policy: &str) -> Result<Operator> {
        let told = [("KUBERNETES_SERVICE_HOST", api_server)];
        let mut operator = self.start_operator(&self.kubeconfig, policy, &[], &told)?;
        operator.wait_ready()?;
        Ok(operator)
    }

    /// Starts an operator that owns what it makes by this `ConfigMap`, and waits until it is ready.
    pub fn operator_with_anchor(&self, policy: &str, anchor: &str) -> Result<Operator> {
        let mut operator = self.start_operator(&self.kubeconfig, policy, &["--anchor", anchor], &[])?;
        operator.wait_ready()?;
        Ok(operator)
    }

    /// Starts an operator with other credentials, without waiting.
    pub fn operator_of(&self, kubeconfig: &PathBuf, policy: &str) -> Result<Operator> {
        self.start_operator(kubeconfig, policy, &[], &[])
    }

    fn start_operator(
        &self,
        kubeconfig: &PathBuf,
        policy: &str,
        more: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Operator> {
        let file = self.folder.path().join(format!("policy-{}.yaml", secret::text()));
        fs::write(&file, policy)?;
        let admin = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let mut command = Command::new(gateway::binary()?);
        command
            .env("KUBECONFIG", kubeconfig)
            .args([
                "operator",
                "--class",
                &self.class,
                "--namespace",
                &self.name,
                "--policy",
            ])
            .arg(file)
            .args(["--admin", &admin.to_string(), "--keyring-secret", "keyring"])
            .args(["--gateway-admin-port", &self.admin_port.to_string()])
            .args(more)
            .envs(environment.iter().copied())
            .env("RUST_LOG", "info,splittoken_operator=debug");
        Ok(Operator {
            process: Process::start("splittoken operator", &command)?,
            admin,
            http: self.http.clone(),
        })
    }

    /// Starts gateway number `number` (1 to 250), with an address of its own, and tells the API server of it.
    pub fn pod(&self, number: u8) -> Result<Pod> {
        let mut pod = self.pod_of(number)?;
        pod.wait_ready()?;
        pod.announce(true)?;
        Ok(pod)
    }

    /// The same on a machine that knows no certificate authority.
    pub fn pod_without_roots(&self, number: u8) -> Result<Pod> {
        let mut pod = self.start_pod(number, &gateway::NO_ROOTS)?;
        pod.wait_ready()?;
        pod.announce(true)?;
        Ok(pod)
    }

    /// Starts a gateway without waiting for it, and without a Pod object.
    pub fn pod_of(&self, number: u8) -> Result<Pod> {
        self.start_pod(number, &[])
    }

    fn start_pod(&self, number: u8, environment: &[(&str, &str)]) -> Result<Pod> {
        let address = address_of(number);
        let port = ports::free()?;
        let name = format!("gateway-{number}");
        let state = self.folder.path().join(&name);
        fs::create_dir_all(&state)?;
        let mut command = Command::new(gateway::binary()?);
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .args([
                "gateway",
                "--kubernetes",
                "--class",
                &self.class,
                "--namespace",
                &self.name,
            ])
            .arg("--state-dir")
            .arg(state)
            .args(["--listen", &SocketAddr::new(address, port).to_string()])
            .args(["--admin", &SocketAddr::new(address, self.admin_port).to_string()])
            .args(["--threads", "1", "--min-drain", "1s"])
            .envs(environment.iter().copied())
            .env("RUST_LOG", "info,splittoken_feed=debug");
        Ok(Pod {
            process: Process::start("splittoken gateway", &command)?,
            kube: self.kube.clone(),
            namespace: self.name.clone(),
            number,
            address,
            port,
            admin_port: self.admin_port,
            http: self.http.clone(),
        })
    }

    /// A route of this class, with an issuer of its own at `issuer` and one rule for everything.
    pub fn route(&self, namespace: &str, name: &str, issuer: &str, backend: &Value) -> Value {
        json!({
            "apiVersion": "splittoken.dev/v1alpha1",
            "kind": "SplitTokenRoute",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "className": self.class,
                "hostnames": [self.host(name)],
                "issuer": {"url": issuer, "transport": "PlainHTTPAllowed"},
                "tokenEndpoints": {"token": {}},
                "rules": [{"name": "api", "backendRefs": [backend]}],
            },
        })
    }

    /// Waits until gateway number `number` has this in a file on its disk whose name begins so: it goes there a moment
    /// after it is used.
    pub fn wait_kept(&self, number: u8, name: &str, content: &str) -> Result<()> {
        let folder = self.folder.path().join(format!("gateway-{number}"));
        let is_kept = |path: PathBuf| {
            let is_it = path
                .file_name()
                .is_some_and(|found| found.to_string_lossy().starts_with(name));
            // Unfinished ones have another name.
            let is_whole = path.extension().is_none_or(|extension| extension != "new");
            is_it && is_whole && fs::read_to_string(path).is_ok_and(|text| text.contains(content))
        };
        wait::until_true(wait::START, &format!("{content} in {name} on the disk"), || {
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).any(is_kept)
        })
    }

    /// Where the admin server of pod number `number` is, for a test that plays one.
    pub fn admin_of(&self, number: u8) -> SocketAddr {
        SocketAddr::new(address_of(number), self.admin_port)
    }

    /// Says at the API server whether pod number `number` is ready, as a kubelet would.
    pub fn announce(&self, number: u8, is_ready: bool) -> Result<()> {
        announce(&self.kube, &self.name, number, is_ready)
    }

    /// A hostname that no other test uses.
    pub fn host(&self, name: &str) -> String {
        format!("{name}.{}.example", self.name)
    }
}

/// Installs the CRDs and waits until the API server serves them.
pub fn install_crds(kube: &Kube) -> Result<()> {
    let printed = gateway::run(&["crd"])?;
    let text = String::from_utf8(printed.stdout)?;
    let crds: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    kube.apply_all(&crds)?;
    wait::until_true(wait::START, "the custom resources to be served", || {
        ["SplitTokenRoute", "SplitTokenIssuer"]
            .iter()
            .all(|kind| kube.list(kind, "default", "").is_ok())
    })
}

/// Installs as much of Gateway API's `ReferenceGrant` as anybody here needs, and waits until it is served.
pub fn install_reference_grants(kube: &Kube) -> Result<()> {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    kube.apply(&json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "referencegrants.gateway.networking.k8s.io",
            // Without it the server refuses definitions of Kubernetes' own groups.
            "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api/pull/1538"},
        },
        "spec": {
            "group": "gateway.networking.k8s.io",
            "scope": "Namespaced",
            "names": {"kind": "ReferenceGrant", "plural": "referencegrants", "singular": "referencegrant"},
            "versions": [{
                "name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
            }],
        },
    }))?;
    wait::until_true(wait::START, "ReferenceGrants to be served", || {
        kube.list("ReferenceGrant", "default", "").is_ok()
    })
}

/// Loopback is 127.0.0.0/8, so every pod can have the same port, as in a cluster.
fn address_of(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 1, number))
}

fn announce(kube: &Kube, namespace: &str, number: u8, is_ready: bool) -> Result<()> {
    let (name, ip) = (format!("gateway-{number}"), address_of(number).to_string());
    kube.apply(&json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/component": "gateway"},
        },
        "spec": {"containers": [{"name": "gateway", "image": "localhost/splittoken:test"}]},
    }))?;
    let ready = if is_ready { "True" } else { "False" };
    let status = json!({
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": ready}],
    });
    kube.merge_status("Pod", namespace, &name, &status).map(drop)
}

fn namespace(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

impl Operator {
    /// A page of its admin server.
    pub fn admin(&self, path: &str) -> Result<Answer> {
        self.http.get(&format!("http://{}{path}", self.admin))
    }

    /// The value of one of its metrics that has no labels: `leads` for `splittoken_operator_leads`.
    pub fn metric(&self, name: &str) -> Result<u64> {
        let text = self.admin("/metrics")?.text();
        let name = format!("splittoken_operator_{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&name));
        Ok(value.with_context(|| format!("no {name}"))?.parse()?)
    }

    /// Waits until `/readyz` says so.
    pub fn wait_ready(&mut self) -> Result<()> {
        let (http, url) = (&self.http, format!("http://{}/readyz", self.admin));
        self.process.ready(wait::START, |_| {
            http.get(&url).ok().filter(|answer| answer.status == 200)
        })?;
        Ok(())
    }

    /// What it wrote so far.
    pub fn text(&self) -> String {
        self.process.text()
    }

    /// Waits until it has written this.
    pub fn says(&self, words: &str) -> Result<()> {
        self.process.says(words)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Pod {
    /// A page of its admin server.
    pub fn admin(&self, path: &str) -> Result<Answer> {
        self.http.get(&format!(
            "http://{}{path}",
            SocketAddr::new(self.address, self.admin_port)
        ))
    }

    /// GET at a host of the gateway.
    pub fn call(&self, host: &str, path: &str, token: Option<&str>) -> Result<u16> {
        let url = format!("http://{}{path}", SocketAddr::new(self.address, self.port));
        let mut request = self.http.inner().get(url).header("Host", host);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        Ok(request.send()?.status().as_u16())
    }

    /// A token with `client_credentials` at a host of the gateway.
    pub fn token(&self, host: &str) -> Result<String> {
        let url = format!("http://{}/oauth/token", SocketAddr::new(self.address, self.port));
        let request = self
            .http
            .inner()
            .post(url)
            .header("Host", host)
            .basic_auth("shop", Some("secret"));
        let answer = request.form(&[("grant_type", "client_credentials")]).send()?;
        let (status, body) = (answer.status(), answer.text()?);
        let json: Value = serde_json::from_str(&body).with_context(|| format!("{status}: {body}"))?;
        json["access_token"]
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("{status}: {body}"))
    }

    /// Waits until `/readyz` says so.
    pub fn wait_ready(&mut self) -> Result<()> {
        let url = format!("http://{}/readyz", SocketAddr::new(self.address, self.admin_port));
        let http = &self.http;
        self.process.ready(wait::START, |_| {
            http.get(&url).ok().filter(|answer| answer.status == 200)
        })?;
        Ok(())
    }

    /// Says at the API server whether it is ready, as a kubelet would.
    pub fn announce(&self, is_ready: bool) -> Result<()> {
        announce(&self.kube, &self.namespace, self.number, is_ready)
    }

    /// What it wrote so far.
    pub fn text(&self) -> String {
        self.process.text()
    }

    /// Waits until it has written this.
    pub fn says(&self, words: &str) -> Result<()> {
        self.process.says(words)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
