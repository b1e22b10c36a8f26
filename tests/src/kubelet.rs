//! What a kubelet would do with a pod of the chart, as far as a test needs it: writes the files of its volumes, and
//! starts the program with the pod's own arguments, on loopback and with the token of the pod's own `ServiceAccount`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;

use crate::helm::arguments;
use crate::kube::Kube;
use crate::process::Process;

/// A program that runs as a pod would.
pub struct Started {
    /// The program.
    pub process: Process,
    _volumes: TempDir,
}

/// How to run a pod.
pub struct Kubelet<'a> {
    /// The administrator, who reads what is to be mounted.
    pub kube: &'a Kube,
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The program in the image.
    pub program: PathBuf,
    /// The pod's own credentials.
    pub kubeconfig: Option<PathBuf>,
    /// What is different outside of a cluster: addresses.
    pub replace: Vec<(String, String)>,
}

impl Kubelet<'_> {
    /// Mounts and starts. A Secret that is not there is an error: a real kubelet would wait for it.
    pub fn start(&self, name: &str, pod: &Value) -> Result<Started> {
        let volumes = tempfile::tempdir()?;
        let mut replace = self.replace.clone();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        for volume in list(&pod["volumes"]) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let folder = volumes.path().join(text(&volume["name"]));
            fs::create_dir(&folder)?;
            self.fill(&volume, &folder)?;
            for mount in list(&pod["containers"][0]["volumeMounts"]) {
                if mount["name"] == volume["name"] {
                    replace.push((text(&mount["mountPath"]), folder.display().to_string()));
                }
            }
        }
        // `/etc/store-ca` before `/etc/store`.
        replace.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        let mut command = Command::new(&self.program);
        for argument in arguments(pod) {
            let found = replace.iter().find(|(from, _)| argument.contains(from.as_str()));
            command.arg(found.map_or_else(|| argument.to_owned(), |(from, to)| argument.replace(from, to)));
        }
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        Ok(Started {
            process: Process::start(name, &command)?,
            _volumes: volumes,
        })
    }

    fn fill(&self, volume: &Value, folder: &Path) -> Result<()> {
        let secret = volume["secret"]["secretName"].as_str();
        let config = volume["configMap"]["name"].as_str();
        let (kind, name) = match (secret, config) {
            (Some(name), _) => ("Secret", name),
            (_, Some(name)) => ("ConfigMap", name),
            _ => return Ok(()),
        };
        let object = self.kube.find(kind, self.namespace, name)?;
        let object = object.with_context(|| format!("no {kind} {name}"))?;
        let items = volume["secret"]["items"].as_array();
        for (entry, value) in object["data"].as_object().into_iter().flatten() {
            let is_wanted = |items: &Vec<Value>| items.iter().any(|item| item["key"] == *entry);
            if !items.is_none_or(is_wanted) {
                continue;
            }
            let text = value.as_str().unwrap_or_default();
            let bytes = match kind {
                "Secret" => STANDARD.decode(text)?,
                _ => text.as_bytes().to_vec(),
            };
            fs::write(folder.join(entry), bytes)?;
        }
        Ok(())
    }
}
