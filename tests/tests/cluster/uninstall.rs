//! What stays after `helm uninstall`: what the values say is kept.

use std::time::Duration;

use anyhow::{Context as _, Result};
use splittoken_tests::cluster::{Release, SYSTEM};
use splittoken_tests::wait;

use crate::shop::Shop;

/// What every namespace has, and what tells of the past.
const NOT_OURS: [&str; 3] = ["configmap/kube-root-ca.crt", "serviceaccount/default", "event"];

#[test]
fn an_uninstall_leaves_the_routes_and_nothing_else() -> Result<()> {
    let mut release = Release::installed()?;
    release.cluster.helm(
        &["test", "splittoken", "--namespace", SYSTEM, "--timeout", "120s"],
        &serde_json::Value::Null,
    )?;
    let shop = Shop::open("uninstall")?;
    shop.serve(&[])?;
    release.uninstall()?;

    let kinds =
        release
            .cluster
            .kubectl(&["api-resources", "--verbs=list", "--namespaced", "--output=name"])?;
    let kinds: Vec<&str> = kinds.lines().collect();
    let kinds = kinds.join(",");
    let mut left = Vec::new();
    // The garbage collector takes what the operator made.
    wait::until_true(Duration::from_secs(90), "the namespace to be empty", || {
        let found = release.kubectl(&["get", &kinds, "--output=name", "--ignore-not-found"]);
        left = found
            .unwrap_or_else(|error| error.to_string())
            .lines()
            // Beside names, kubectl says which kinds it thinks ill of.
            .filter(|line| {
                !line.starts_with("Warning: ") && !NOT_OURS.iter().any(|known| line.starts_with(known))
            })
            .map(str::to_owned)
            .collect();
        left.is_empty()
    })
    .with_context(|| format!("left: {left:#?}"))?;
    let roles = "clusterroles,clusterrolebindings,roles,rolebindings";
    let elsewhere = [roles, "--all-namespaces", "--output=name"];
    let selector = "--selector=app.kubernetes.io/name=splittoken";
    let roles = release
        .cluster
        .kubectl(&[&["get", selector][..], &elsewhere].concat())?;
    assert_eq!(roles.trim(), "", "left");

    // `crds.keep` keeps what teams wrote, and a new release takes it up.
    shop.namespace.kubectl(&["get", "splittokenroute", "orders"])?;
    drop(release);
    let _release = Release::installed()?;
    shop.serve(&["orders:read"])?;
    shop.call(&shop.token("orders:read")?)?;
    Ok(())
}
