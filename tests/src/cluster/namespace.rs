//! A namespace of a test, and what is done in it: with kubectl from outside, and by calls from a pod inside.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Cluster, Workload};
use crate::process::Process;
use crate::wait;

/// For pods to run: the cluster may be starting others at the same time.
const ROLLOUT: &str = "--timeout=180s";

/// The pod that calls.
const CLIENT: &str = "client";

/// A namespace with a client pod. Deleted when dropped.
#[derive(Debug)]
pub struct Namespace {
    cluster: &'static Cluster,
    name: String,
}

/// An answer that the client pod got.
#[derive(Debug, Deserialize)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body, as text.
    pub body: String,
    /// The header fields, their names in Go's spelling.
    pub headers: BTreeMap<String, Vec<String>>,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: String,
    /// The server's certificate in PEM, where TLS was spoken.
    pub certificate: Option<String>,
}

/// What a load has done so far.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Requests that were answered or failed.
    pub sent: u64,
    /// Those without an answer, and answers other than 200.
    pub failed: u64,
    /// The first failures, one line of JSON each.
    pub failures: Vec<String>,
}

impl Namespace {
    pub(super) fn new(cluster: &'static Cluster, name: &str) -> Result<Self> {
        let this = Self {
            cluster,
            name: name.to_owned(),
        };
        // What a former, killed run left in a user's cluster.
        cluster.kubectl(&["delete", "namespace", name, "--ignore-not-found", ROLLOUT])?;
        this.apply(&[json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        })])?;
        this.run(&[Workload::client(CLIENT)])?;
        Ok(this)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// kubectl in this namespace, to its end.
    pub fn kubectl(&self, words: &[&str]) -> Result<String> {
        self.cluster
            .kubectl(&[&["--namespace", &self.name], words].concat())
    }

    /// `kubectl apply` of these objects.
    pub fn apply(&self, objects: &[Value]) -> Result<String> {
        self.cluster.apply_with(&["--namespace", &self.name], objects)
    }

    /// Applies workloads and waits until all of their pods are ready.
    pub fn run(&self, workloads: &[Workload]) -> Result<()> {
        let objects: Vec<Value> = workloads.iter().flat_map(Workload::objects).collect();
        self.apply(&objects)?;
        workloads
            .iter()
            .try_for_each(|workload| self.rolled_out(workload.name()))
    }

    /// Waits until a Deployment is what it is to be.
    pub fn rolled_out(&self, deployment: &str) -> Result<()> {
        let outcome = self.kubectl(&["rollout", "status", &format!("deployment/{deployment}"), ROLLOUT]);
        outcome.map(drop).with_context(|| {
            self.kubectl(&["describe", "pods"])
                .unwrap_or_else(|error| error.to_string())
        })
    }

    /// The addresses of the ready pods that a label selector picks.
    pub fn addresses(&self, selector: &str) -> Result<Vec<String>> {
        self.addresses_in(&self.name, selector)
    }

    /// The same for another namespace.
    pub fn addresses_in(&self, namespace: &str, selector: &str) -> Result<Vec<String>> {
        let words = [
            "--namespace",
            namespace,
            "get",
            "pods",
            "--selector",
            selector,
            "--output=json",
        ];
        let text = self.cluster.kubectl(&words)?;
        let list: Value = serde_json::from_str(&text)?;
        let is_ready = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array();
            conditions
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
                && pod["metadata"]["deletionTimestamp"].is_null()
        };
        let pods = list["items"].as_array().context("no list")?;
        Ok(pods
            .iter()
            .filter(is_ready)
            .filter_map(|pod| pod["status"]["podIP"].as_str().map(str::to_owned))
            .collect())
    }

    /// One request from the client pod: `arguments` are those of `pod get`, such as `-header 'Name: value'` and `-form`.
    pub fn get(&self, url: &str, arguments: &[&str]) -> Result<Reply> {
        let said = self.kubectl(&[&in_client(&["get"])[..], arguments, &[url]].concat())?;
        serde_json::from_str(said.trim()).with_context(|| said.clone())
    }

    /// Starts to watch URLs from the client pod, each until it answers with `status`, and returns once every one has
    /// answered once; [`finish_watching`] tells the rest.
    pub fn watch(&self, status: u16, urls: &[String], arguments: &[&str]) -> Result<Process> {
        let status = status.to_string();
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        let command = [&in_client(&["until", "-status", &status])[..], arguments, &urls].concat();
        let command = [&["--namespace", self.name.as_str()][..], &command].concat();
        let mut process = self.cluster.start_kubectl(&command)?;
        process.ready(wait::START, |text| text.contains("watching\n").then_some(()))?;
        Ok(process)
    }

    /// Waits until the URL answers with `status`, asked from the client pod. A Service takes a moment to reach its pods.
    pub fn wait_for(&self, status: u16, url: &str, arguments: &[&str]) -> Result<()> {
        finish_watching(self.watch(status, &[url.to_owned()], arguments)?).map(drop)
    }

    /// What a [`Workload::load`] has counted.
    pub fn counts(&self, load: &str) -> Result<Counts> {
        let text = self.kubectl(&["logs", &format!("deployment/{load}"), "--tail=-1"])?;
        let mut counts = Counts::default();
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            if value["failure"].is_null() {
                counts.sent = value["sent"].as_u64().context("no count")?;
                counts.failed = value["failed"].as_u64().context("no count")?;
            } else {
                counts.failures.push(line.to_owned());
            }
        }
        Ok(counts)
    }

    /// Waits until a load has sent so many more requests, and gives its counts.
    pub fn counts_after(&self, load: &str, more: u64) -> Result<Counts> {
        let before = self.counts(load)?.sent;
        wait::until(Duration::from_secs(60), &format!("{more} more requests"), || {
            self.counts(load)
                .ok()
                .filter(|counts| counts.sent >= before + more)
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A failed test says more than this would.
        let _ = self
            .cluster
            .kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}

impl Reply {
    /// The values of a header field, as one.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|values| values.join(", "))
    }
}

impl Counts {
    /// An error that shows the failures, if there were any.
    pub fn expect_none_failed(&self) -> Result<()> {
        ensure!(
            self.failed == 0,
            "{} of {} failed: {:#?}",
            self.failed,
            self.sent,
            self.failures
        );
        Ok(())
    }
}

/// When each URL of a [`Namespace::watch`] first answered as told, in nanoseconds since 1970.
pub fn finish_watching(watch: Process) -> Result<Vec<u64>> {
    let text = watch.finish(Duration::from_secs(120))?;
    let last = text.lines().last().context("nothing said")?;
    serde_json::from_str(last).with_context(|| text.clone())
}

fn in_client<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let exec = ["exec", "deployment/client", "--", "/pod"];
    [&exec, words].concat()
}
