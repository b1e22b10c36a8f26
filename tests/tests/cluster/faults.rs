//! Without the control plane: traffic goes on, and gateways start.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::cluster::{Cluster, Release, pods};
use splittoken_tests::wait;

use crate::shop::Shop;

/// A restarted container is to serve in three seconds; a test allows ten times as much.
const RESTART: Duration = Duration::from_secs(30);

#[test]
fn without_an_operator_traffic_goes_on_and_new_gateways_serve() -> Result<()> {
    let mut release = Release::installed()?;
    let shop = Shop::open("no-operator")?;
    shop.serve(&[])?;
    let token = shop.token("orders:read")?;
    shop.start_load(&token)?;
    release.is_changed();
    release.kubectl(&["scale", "deployment/splittoken-operator", "--replicas=0"])?;
    release.kubectl(&[
        "wait",
        "--for=delete",
        "pod",
        "--selector=app.kubernetes.io/component=operator",
        "--timeout=90s",
    ])?;
    let before = shop.gateways()?;
    release.kubectl(&["rollout", "restart", "deployment/splittoken-gateway"])?;
    release.settled(before.len())?;
    let after = shop.gateways()?;
    ensure!(
        before.iter().all(|pod| !after.contains(pod)),
        "{before:?} {after:?}"
    );
    shop.call(&token)?;
    shop.token("orders:write")?;
    let counts = shop.namespace.counts_after("load", 300)?;
    println!(
        "without an operator: {} of {} requests failed",
        counts.failed, counts.sent
    );
    counts.expect_none_failed()?;
    release.kubectl(&["scale", "deployment/splittoken-operator", "--replicas=1"])?;
    release.rolled_out("splittoken-operator")?;
    shop.serve(&["orders:read"])?;
    Ok(())
}

#[test]
fn without_an_api_server_traffic_goes_on_and_a_restarted_container_serves() -> Result<()> {
    let release = Release::installed()?;
    let Some(node) = Node::of(release.cluster) else {
        println!("not applicable: E2E_NODE_EXEC is not set, so that the API server cannot be stopped");
        return Ok(());
    };
    let shop = Shop::open("no-apiserver")?;
    shop.serve(&[])?;
    let token = shop.token("orders:read")?;
    let urls = pods(&shop.gateways()?, "/list")?;
    let statuses = || -> Result<Vec<String>> {
        let statuses = urls
            .iter()
            .map(|url| node.status(url, &shop.host_header(), &token));
        statuses.collect()
    };
    let all_serve =
        |statuses: &[String]| !statuses.is_empty() && statuses.iter().all(|status| status == "200");

    let stopped = node.stop("kube-apiserver")?;
    for _ in 0..10 {
        let statuses = statuses()?;
        ensure!(all_serve(&statuses), "{statuses:?}");
    }
    let killed = Instant::now();
    node.signal("KILL", "splittoken", "splittoken gateway ")?;
    let mut last = Vec::new();
    wait::until_true(RESTART, "both gateways to serve again", || {
        last = statuses().unwrap_or_default();
        all_serve(&last)
    })
    .with_context(|| format!("{last:?}"))?;
    println!(
        "killed gateways serve again after {:?}, without an API server",
        killed.elapsed()
    );
    drop(stopped);
    shop.serve(&["orders:write"])?;
    Ok(())
}

/// The node of a cluster that lets commands run there.
#[derive(Clone, Copy)]
struct Node(&'static Cluster);

/// A stopped program. It goes on when this is dropped.
struct Stopped(Node, &'static str);

impl Node {
    fn of(cluster: &'static Cluster) -> Option<Self> {
        cluster.node_exec(&["true"]).map(|_| Self(cluster))
    }

    fn run(self, words: &[&str]) -> Result<String> {
        self.0.node_exec(words).context("no way to the node")?
    }

    /// The status that a gateway answers to a call from the node.
    fn status(self, url: &str, host: &str, token: &str) -> Result<String> {
        let bearer = format!("Authorization: Bearer {token}");
        let words = ["curl", "--silent", "--max-time", "5", "--output", "/dev/null"];
        let rest = [
            "--write-out",
            "%{http_code}",
            "--header",
            host,
            "--header",
            &bearer,
            url,
        ];
        Ok(self.run(&[&words[..], &rest].concat())?.trim().to_owned())
    }

    fn stop(self, name: &'static str) -> Result<Stopped> {
        self.signal("STOP", name, "")?;
        Ok(Stopped(self, name))
    }

    /// Signals all processes of the node with this name, and with these words in the command line.
    fn signal(self, signal: &str, name: &str, words: &str) -> Result<()> {
        let script = r#"
            found=
            for process in /proc/[0-9]*; do
                if [ "$(cat "$process/comm" 2>/dev/null)" = "$2" ] && tr '\0' ' ' <"$process/cmdline" | grep -q -- "$3"; then
                    kill -s "$1" "${process#/proc/}" && found=yes
                fi
            done
            [ -n "$found" ]"#;
        let outcome = self.run(&["sh", "-c", script, "sh", signal, name, words]);
        outcome.map(drop).with_context(|| format!("no process {name}"))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Err(error) = self.0.signal("CONT", self.1, "") {
            println!("{} stays stopped: {error:#}", self.1);
        }
    }
}
