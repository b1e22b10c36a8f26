//! The chart's release on the cluster, with the binary under test in its image.

use std::fs;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest;
use serde_json::{Value, json};

use super::{Cluster, checkout};
use crate::helm::{self, Helm, RELEASE};
use crate::process::Process;
use crate::{gateway, wait};

pub use crate::helm::NAMESPACE as SYSTEM;

/// To compress 60 MB of a debug build on a busy machine.
const IMAGE: Duration = Duration::from_secs(120);

/// A pod that ends drains for five seconds at least.
const SETTLED: Duration = Duration::from_secs(90);

/// What is on the cluster.
#[derive(Debug)]
struct State {
    /// The tag under which the image was given to it.
    tag: Option<String>,
    is_installed: bool,
}

/// One test at a time has the release: some of them restart or remove it.
#[derive(Debug)]
pub struct Release {
    state: MutexGuard<'static, State>,
    /// The cluster.
    pub cluster: &'static Cluster,
}

impl Release {
    /// The release `splittoken` with the chart's defaults, installed if it is not, once no other test has it.
    pub fn installed() -> Result<Self> {
        static STATE: Mutex<State> = Mutex::new(State {
            tag: None,
            is_installed: false,
        });
        let cluster = Cluster::shared()?;
        let state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut this = Self { state, cluster };
        if this.state.tag.is_none() {
            this.state.tag = Some(load_image(cluster)?);
        }
        if !this.state.is_installed {
            this.upgrade(&Value::Null)?;
        }
        Ok(this)
    }

    /// `helm upgrade --install --wait`, with these values beside those of every test.
    pub fn upgrade(&mut self, values: &Value) -> Result<()> {
        self.install(RELEASE, SYSTEM, values)?;
        self.state.is_installed = true;
        Ok(())
    }

    /// Another release beside it.
    pub fn install(&self, name: &str, namespace: &str, values: &Value) -> Result<()> {
        self.install_by(Helm::newest()?, name, namespace, &[], values)
    }

    /// The same by one of both helms, with more words for it.
    pub fn install_by(
        &self,
        helm: Helm,
        name: &str,
        namespace: &str,
        more: &[&str],
        values: &Value,
    ) -> Result<()> {
        let chart = helm::chart().display().to_string();
        let mut words = vec!["upgrade", "--install", name, &chart, "--namespace", namespace];
        words.extend(["--create-namespace", "--wait", "--timeout", "180s"]);
        words.extend(more);
        let store =
            json!({"repository": "localhost/splittoken-tests/redis", "tag": "test", "pullPolicy": "Never"});
        let mut all = json!({
            "image": {"repository": "localhost/splittoken", "tag": self.state.tag, "pullPolicy": "Never"},
            "store": {"embedded": {"image": store}},
        });
        merge(&mut all, values);
        let outcome = self.cluster.run_helm(helm, &words, &all);
        outcome
            .map(drop)
            .with_context(|| self.describe(namespace).unwrap_or_else(|error| error.to_string()))
    }

    /// `helm uninstall --wait`.
    pub fn uninstall(&mut self) -> Result<()> {
        self.state.is_installed = false;
        self.remove(RELEASE, SYSTEM)
    }

    /// The same for another release.
    pub fn remove(&self, name: &str, namespace: &str) -> Result<()> {
        let words = ["uninstall", name, "--namespace", namespace, "--wait"];
        self.cluster.helm(&words, &Value::Null).map(drop)
    }

    /// Waits until exactly as many gateway pods are there as are wanted, with none that still ends.
    pub fn settled(&self, gateways: usize) -> Result<()> {
        self.rolled_out("splittoken-gateway")?;
        let words = [
            "get",
            "pods",
            "--selector=app.kubernetes.io/component=gateway",
            "--output=name",
        ];
        wait::until_true(SETTLED, "gateway pods to end", || {
            self.kubectl(&words)
                .is_ok_and(|text| text.lines().count() == gateways)
        })
    }

    /// kubectl in the release's namespace.
    pub fn kubectl(&self, words: &[&str]) -> Result<String> {
        self.cluster.kubectl(&[&["--namespace", SYSTEM], words].concat())
    }

    /// Waits until a Deployment of the release is what it is to be.
    pub fn rolled_out(&self, deployment: &str) -> Result<()> {
        self.kubectl(&[
            "rollout",
            "status",
            &format!("deployment/{deployment}"),
            "--timeout=180s",
        ])?;
        Ok(())
    }

    /// Says that a test left the release other than it found it: the next one installs it again.
    pub fn is_changed(&mut self) {
        self.state.is_installed = false;
    }

    fn describe(&self, namespace: &str) -> Result<String> {
        let namespace = ["--namespace", namespace];
        let pods = self
            .cluster
            .kubectl(&[&namespace[..], &["describe", "pods"]].concat())?;
        let logs = [
            "logs",
            "--selector",
            "app.kubernetes.io/name=splittoken",
            "--prefix",
        ];
        let logs = self.cluster.kubectl(&[&namespace[..], &logs].concat())?;
        Ok(format!("{pods}\n{logs}"))
    }
}

/// The URLs of all gateway pods.
pub fn pods(addresses: &[String], path: &str) -> Result<Vec<String>> {
    ensure!(!addresses.is_empty(), "no gateway is ready");
    Ok(addresses
        .iter()
        .map(|address| format!("http://{address}:8080{path}"))
        .collect())
}

/// Puts members of `other` over those of `value`, at any depth.
fn merge(value: &mut Value, other: &Value) {
    match (value, other) {
        (Value::Object(members), Value::Object(others)) => {
            for (name, other) in others {
                merge(members.entry(name.clone()).or_insert(Value::Null), other);
            }
        }
        (_, Value::Null) => {}
        (value, other) => *value = other.clone(),
    }
}

/// Gives the binary under test to the cluster, and its image's tag, which another binary does not have: pods of a former run
/// are replaced.
fn load_image(cluster: &Cluster) -> Result<String> {
    let digest = digest::digest(&digest::SHA256, &fs::read(gateway::binary()?)?);
    let hex: String = digest.as_ref()[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let tag = format!("test-{hex}");
    let folder = tempfile::tempdir()?;
    let archive = folder.path().join("splittoken.tar");
    let mut command = Command::new(checkout("tests/image/archive"));
    command
        .arg(gateway::binary()?)
        .arg(&archive)
        .args(["--name", &format!("localhost/splittoken:{tag}")]);
    let said = Process::start("tests/image/archive", &command)?.finish(IMAGE)?;
    println!("{}", said.trim_end());
    cluster.load_image(&archive)?;
    Ok(tag)
}
