//! What the accounts of the chart may do, and what the operator takes from it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::helm::Helm;
use splittoken_tests::installation::Installation;

use super::everything;
use super::release::Release;

/// What the schema of the values accepts, the operator accepts too.
#[test]
fn the_operator_takes_a_policy_with_everything_in_it() -> Result<()> {
    let installation = Installation::at(ApiServer::shared()?)?;
    for values in [everything(), Value::Null] {
        let rendered = Helm::newest()?.template(&values)?;
        let policy = &rendered.get("ConfigMap", "splittoken-policy")?["data"]["policy.yaml"];
        installation.operator(policy.as_str().context("no policy")?)?;
    }
    Ok(())
}

#[test]
fn nobody_may_do_more_than_their_work() -> Result<()> {
    let release = Release::install(json!({}))?;
    let other = release.installation.team("other", &json!({}))?;
    let (operator, gateway) = (release.account("operator")?, release.account("gateway")?);
    let own = release.namespace();
    let cases = [
        // Not at all: everything is open to whoever can do one of these.
        ("create", "pods", own),
        ("update", "secrets", own),
        ("create", "roles.rbac.authorization.k8s.io", own),
        ("create", "serviceaccounts/token", own),
        ("impersonate", "users", ""),
        ("*", "*.*", ""),
        // Others' Secrets: by name, and never all of them.
        ("list", "secrets", &other),
        ("watch", "secrets", &other),
        ("list", "secrets", ""),
        ("list", "configmaps", &other),
        ("create", "secrets", &other),
        ("patch", "secrets", &other),
        ("delete", "configmaps", &other),
        ("list", "pods", &other),
        // What teams write is theirs.
        ("patch", "splittokenroutes.splittoken.dev", &other),
        ("delete", "splittokenissuers.splittoken.dev", &other),
        ("update", "leases.coordination.k8s.io", &other),
    ];
    for (verb, resource, namespace) in cases {
        ensure!(
            !operator.may(verb, resource, namespace)?,
            "the operator may {verb} {resource} in {namespace:?}"
        );
        ensure!(
            !gateway.may(verb, resource, namespace)?,
            "a gateway may {verb} {resource} in {namespace:?}"
        );
    }
    ensure!(
        operator.may("get", "secrets", &other)?,
        "that is how it reads what routes name"
    );
    // Not of any Lease, but of its own.
    ensure!(!operator.may("update", "leases.coordination.k8s.io", own)?);

    // A gateway reads its own namespace, and writes nothing anywhere.
    ensure!(gateway.may("watch", "secrets", own)? && gateway.may("list", "configmaps", own)?);
    ensure!(!gateway.may("get", "secrets", &other)?);
    for verb in ["create", "update", "patch", "delete", "deletecollection"] {
        for resource in [
            "configmaps",
            "secrets",
            "events.events.k8s.io",
            "leases.coordination.k8s.io",
            "splittokenroutes.splittoken.dev/status",
        ] {
            ensure!(
                !gateway.may(verb, resource, own)?,
                "a gateway may {verb} {resource}"
            );
        }
    }
    Ok(())
}
