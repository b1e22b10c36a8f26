//! Helm in both its versions, with the chart of the checkout.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};

use crate::parts;

/// The release and the namespace that the documentation speaks of.
pub const RELEASE: &str = "splittoken";
/// See [`RELEASE`].
pub const NAMESPACE: &str = "splittoken-system";

/// One helm, with folders of its own.
#[derive(Debug)]
pub struct Helm {
    /// For messages: `helm 4`.
    pub name: &'static str,
    program: PathBuf,
    home: TempDir,
    kubeconfig: Option<PathBuf>,
}

/// Objects as a chart renders them.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered(pub Vec<Value>);

/// The chart.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/splittoken")
}

impl Helm {
    /// Helm 4.
    pub fn newest() -> Result<Self> {
        Self::of("helm 4", "SPLITTOKEN_HELM")
    }

    /// Helm 3.
    pub fn oldest() -> Result<Self> {
        Self::of("helm 3", "SPLITTOKEN_HELM3")
    }

    /// Helm 3 and helm 4.
    pub fn both() -> Result<[Self; 2]> {
        Ok([Self::oldest()?, Self::newest()?])
    }

    fn of(name: &'static str, part: &str) -> Result<Self> {
        Ok(Self {
            name,
            program: parts::path(part)?,
            home: tempfile::tempdir()?,
            kubeconfig: None,
        })
    }

    /// The same for a cluster.
    #[must_use]
    pub fn at(mut self, kubeconfig: PathBuf) -> Self {
        self.kubeconfig = Some(kubeconfig);
        self
    }

    /// Runs a command with these values; what it refuses is an error with its words.
    pub fn run(&self, arguments: &[&str], values: &Value) -> Result<String> {
        let output = self.output(arguments, values)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(
            output.status.success(),
            "{} {arguments:?}: {}{}",
            self.name,
            text(&output.stdout),
            text(&output.stderr)
        );
        Ok(text(&output.stdout))
    }

    /// What `helm template` gives for [`RELEASE`] in [`NAMESPACE`].
    pub fn template(&self, values: &Value) -> Result<Rendered> {
        let chart = chart();
        let chart = chart.to_str().context("an odd path")?;
        Rendered::read(&self.run(&["template", RELEASE, chart, "--namespace", NAMESPACE], values)?)
    }

    /// Why these values are refused.
    pub fn refusal(&self, values: &Value) -> Result<String> {
        match self.template(values) {
            Ok(_) => anyhow::bail!("{} takes {values}", self.name),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    fn output(&self, arguments: &[&str], values: &Value) -> Result<Output> {
        let mut file = NamedTempFile::new()?;
        file.write_all(values.to_string().as_bytes())?;
        let mut command = Command::new(&self.program);
        command.args(arguments);
        if !values.is_null() {
            command.arg("--values").arg(file.path());
        }
        // Neither the user's repositories nor the user's cluster.
        for (name, folder) in [
            ("HELM_CACHE_HOME", "cache"),
            ("HELM_CONFIG_HOME", "config"),
            ("HELM_DATA_HOME", "data"),
        ] {
            command.env(name, self.home.path().join(folder));
        }
        let nowhere = self.home.path().join("nowhere");
        command.env("KUBECONFIG", self.kubeconfig.as_ref().unwrap_or(&nowhere));
        command
            .output()
            .with_context(|| format!("cannot run {}", self.name))
    }
}

impl Rendered {
    /// Reads the YAML that helm prints.
    pub fn read(text: &str) -> Result<Self> {
        let objects: Vec<Value> = serde_saphyr::from_multiple(text)?;
        Ok(Self(
            objects.into_iter().filter(|object| !object.is_null()).collect(),
        ))
    }

    /// The objects of a kind.
    pub fn all(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |object| object["kind"] == kind)
    }

    /// The object of this kind and name.
    pub fn get(&self, kind: &str, name: &str) -> Result<&Value> {
        let mut objects = self.0.iter();
        let found = objects.find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.with_context(|| format!("no {kind} {name}"))
    }

    /// Kind and name of all objects, in order.
    pub fn names(&self) -> Vec<String> {
        let name = |object: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
        };
        let mut names: Vec<String> = self.0.iter().map(name).collect();
        names.sort();
        names
    }

    /// All pods that would come of it: of Deployments, `StatefulSet`s, and the one of `helm test`.
    pub fn pods(&self) -> Vec<(String, &Value)> {
        let pod = |object: &'_ Value| match object["kind"].as_str() {
            Some("Deployment" | "StatefulSet") => Some("/spec/template/spec"),
            Some("Pod") => Some("/spec"),
            _ => None,
        };
        let found = self.0.iter().filter_map(|object| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            Some((name.to_owned(), object.pointer(pod(object)?)?))
        });
        found.collect()
    }
}

/// The arguments of the first container of a pod.
pub fn arguments(pod: &Value) -> Vec<&str> {
    let arguments = pod["containers"][0]["args"].as_array();
    arguments
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}
