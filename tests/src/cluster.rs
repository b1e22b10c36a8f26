//! A cluster that runs pods: the user's, or one that is brought up for this test process and taken down with it.
//!
//! `E2E_KUBECONFIG` names the user's, such as kind's. `E2E_LOAD_IMAGE` is then the command that gives an image archive to
//! its nodes (`kind load image-archive`), and `E2E_NODE_EXEC`, if set, the one that runs a command on its node
//! (`docker exec kind-control-plane`). Everything is done by kubectl and helm, as a user would.

mod namespace;
mod release;
mod workload;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::gateway;
use crate::helm::Helm;
use crate::parts;
use crate::process::Process;

pub use namespace::{Counts, Namespace, Reply, finish_watching};
pub use release::{Release, SYSTEM, pods};
pub use workload::Workload;

/// To bring it up: 15 s on an idle machine, and images to unpack.
const UP: Duration = Duration::from_secs(300);

/// For a command, which has a limit of its own wherever it waits for something.
const COMMAND: Duration = Duration::from_secs(330);

/// A cluster.
#[derive(Debug)]
pub struct Cluster {
    kubeconfig: PathBuf,
    load_image: Vec<String>,
    node_exec: Option<Vec<String>>,
}

impl Cluster {
    /// The one of this test process, with the images of the tests' own pods.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::open().map_err(|error| format!("{error:#}")));
        shared.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    fn open() -> Result<Self> {
        let this = match env::var_os("E2E_KUBECONFIG") {
            Some(kubeconfig) => Self::of_the_user(kubeconfig.into())?,
            None => Self::bring_up()?,
        };
        for entry in fs::read_dir(parts::path("SPLITTOKEN_POD_IMAGES")?)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "tar") {
                this.load_image(&path)?;
            }
        }
        Ok(this)
    }

    fn of_the_user(kubeconfig: PathBuf) -> Result<Self> {
        let words = |name: &str| {
            env::var(name)
                .ok()
                .map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        ensure!(
            kubeconfig.exists(),
            "E2E_KUBECONFIG is {}, which does not exist",
            kubeconfig.display()
        );
        Ok(Self {
            kubeconfig,
            load_image: words("E2E_LOAD_IMAGE")
                .context("E2E_LOAD_IMAGE is not set: the tests have to give their images to the cluster")?,
            node_exec: words("E2E_NODE_EXEC"),
        })
    }

    /// Nothing here takes it down: a guard does when this process ends, even if it is killed.
    fn bring_up() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("splittoken-cluster-")
            .tempdir()?
            .keep();
        let mut command = Command::new(script("up"));
        command.arg(&folder).arg(process::id().to_string());
        let outcome = Process::start("tests/cluster/up", &command)?.finish(UP);
        if outcome.is_err() {
            // Where it failed before there was anything to log; otherwise the logs stay.
            let _ = fs::remove_dir(&folder);
        }
        let times = outcome?;
        println!("{}", times.trim_end());
        let command = |name: &str| {
            [&script(name), &folder]
                .map(|path| path.display().to_string())
                .to_vec()
        };
        Ok(Self {
            kubeconfig: folder.join("kubeconfig"),
            load_image: command("load-image"),
            node_exec: Some(command("node-exec")),
        })
    }

    /// Gives an image archive to the nodes.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        let mut command = command_of(&self.load_image)?;
        command.arg(archive).env("KUBECONFIG", &self.kubeconfig);
        Process::start("loading an image", &command)?.finish(COMMAND)?;
        Ok(())
    }

    /// Runs a command on the node. `None` where the user's cluster has no way to do that.
    pub fn node_exec(&self, words: &[&str]) -> Option<Result<String>> {
        let prefix = self.node_exec.as_ref()?;
        Some(command_of(prefix).and_then(|mut command| {
            command.args(words);
            Process::start("a command on the node", &command)?.finish(COMMAND)
        }))
    }

    /// Runs kubectl to its end, and gives what it wrote.
    pub fn kubectl(&self, words: &[&str]) -> Result<String> {
        self.start_kubectl(words)?.finish(COMMAND)
    }

    /// `kubectl apply` of these objects.
    pub fn apply(&self, objects: &[Value]) -> Result<String> {
        self.apply_with(&[], objects)
    }

    /// The same with more words for kubectl.
    fn apply_with(&self, words: &[&str], objects: &[Value]) -> Result<String> {
        let file = tempfile::Builder::new().suffix(".json").tempfile()?;
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        fs::write(file.path(), list.to_string())?;
        let file = file.path().display().to_string();
        self.kubectl(&[words, &["apply", "--filename", &file]].concat())
    }

    /// Starts kubectl, for what goes on.
    pub fn start_kubectl(&self, words: &[&str]) -> Result<Process> {
        let mut command = Command::new(parts::path("SPLITTOKEN_KUBECTL")?);
        command.args(words).env("KUBECONFIG", &self.kubeconfig);
        Process::start(&format!("kubectl {}", words.join(" ")), &command)
    }

    /// Runs helm, with values, to its end, and gives what it wrote.
    pub fn helm(&self, words: &[&str], values: &Value) -> Result<String> {
        self.run_helm(Helm::newest()?, words, values)
    }

    /// The same with one of both helms.
    pub fn run_helm(&self, helm: Helm, words: &[&str], values: &Value) -> Result<String> {
        helm.at(self.kubeconfig.clone()).run(words, values)
    }

    /// Runs the program under test, as who administers the cluster, to its end.
    pub fn splittoken(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(gateway::binary()?);
        command.args(words).env("KUBECONFIG", &self.kubeconfig);
        Process::start(&format!("splittoken {}", words.join(" ")), &command)?.finish(COMMAND)
    }

    /// A namespace of its own, with the client from which a test calls.
    pub fn namespace(&'static self, name: &str) -> Result<Namespace> {
        Namespace::new(self, name)
    }
}

/// A path of the checkout.
pub fn checkout(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.join(path).display().to_string()
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster").join(name)
}

fn command_of(words: &[String]) -> Result<Command> {
    let (program, arguments) = words.split_first().context("an empty command")?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}
