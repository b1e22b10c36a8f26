//! What the accounts of the chart may do, and what the operator takes from it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::helm::Helm;
use splittoken_tests::installation::Installation;
use splittoken_tests::kube::Kube;
use splittoken_tests::wait;

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
    // Where the API server is, and only there.
    let slices = "endpointslices.discovery.k8s.io";
    ensure!(operator.may("list", slices, "default")? && !gateway.may("list", slices, "default")?);
    ensure!(!operator.may("list", slices, own)? && !operator.may("list", slices, &other)?);
    for verb in ["watch", "create", "update", "patch", "delete"] {
        ensure!(!operator.may(verb, slices, "default")?, "{verb}");
    }
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

/// Whether another installation has the class is seen in all namespaces, and nothing else of their Leases.
#[test]
fn of_all_leases_the_operator_may_list_those_of_its_class() -> Result<()> {
    let release = Release::install(json!({}))?;
    let (operator, gateway) = (release.account("operator")?, release.account("gateway")?);
    let leases = "/apis/coordination.k8s.io/v1/leases";
    let named = |name: &str| format!("{leases}?fieldSelector=metadata.name%3Dsplittoken-operator-{name}");
    let ours = named(release.namespace());
    ensure!(
        operator.get(&ours)?.status == 200,
        "{}",
        operator.get(&ours)?.text()
    );
    for path in [leases.to_owned(), named("other"), format!("{ours}&watch=true")] {
        assert_eq!(operator.get(&path)?.status, 403, "{path}");
    }
    assert_eq!(gateway.get(&ours)?.status, 403);
    Ok(())
}

/// There is no controller here that adds rules to the roles of the cluster, so they are bound as they are.
#[test]
fn whoever_may_edit_a_namespace_may_edit_its_routes_but_not_what_is_said_of_them() -> Result<()> {
    let release = Release::install(json!({}))?;
    let own = release.namespace();
    let team = release.installation.team("team", &json!({}))?;
    let other = release.installation.team("other", &json!({}))?;
    let kube = release.kube();
    let bound = |to: &[&str]| -> Result<Kube> {
        let name = to.join("-");
        kube.apply(&json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": team},
        }))?;
        for role in to {
            kube.apply(&json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": format!("{name}-{role}"), "namespace": team},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": format!("{own}:splittoken-{role}"),
                },
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": team}],
            }))?;
        }
        let somebody = ApiServer::shared()?.as_bearer(&kube.token_of(&team, &name)?)?;
        let last = if to.contains(&"edit") { "create" } else { "get" };
        // The API server notices a role a moment later, and of both the view came first.
        wait::until_true(wait::START, "the roles to be noticed", || {
            let may = |verb: &str| somebody.may(verb, "splittokenroutes.splittoken.dev", &team);
            may("get").is_ok_and(|may| may) && may(last).is_ok_and(|may| may)
        })?;
        Ok(somebody)
    };
    let (viewer, editor) = (bound(&["view"])?, bound(&["view", "edit"])?);
    for kind in [
        "splittokenroutes.splittoken.dev",
        "splittokenissuers.splittoken.dev",
    ] {
        for verb in ["get", "list", "watch"] {
            ensure!(
                viewer.may(verb, kind, &team)? && editor.may(verb, kind, &team)?,
                "{verb} {kind}"
            );
            ensure!(!editor.may(verb, kind, &other)?, "{verb} {kind} elsewhere");
        }
        for verb in ["create", "update", "patch", "delete", "deletecollection"] {
            ensure!(editor.may(verb, kind, &team)?, "{verb} {kind}");
            ensure!(!viewer.may(verb, kind, &team)?, "a viewer may {verb} {kind}");
            ensure!(
                !editor.may(verb, &format!("{kind}/status"), &team)?,
                "{verb} {kind}/status"
            );
        }
    }
    ensure!(!editor.may("get", "secrets", &team)?);
    Ok(())
}

/// By these labels the cluster's own roles take the rules in: an editor may view, and an administrator may both.
#[test]
fn the_cluster_s_own_roles_take_them_in_unless_the_values_say_no() -> Result<()> {
    for (values, expected) in [
        (
            json!({}),
            vec![
                ("splittoken-system:splittoken-view", vec!["admin", "edit", "view"]),
                ("splittoken-system:splittoken-edit", vec!["admin", "edit"]),
            ],
        ),
        (json!({"rbac": {"aggregateRoles": false}}), vec![]),
    ] {
        let rendered = Helm::newest()?.template(&values)?;
        let mut found = Vec::new();
        for role in rendered.all("ClusterRole") {
            let labels = role["metadata"]["labels"].as_object().context("no labels")?;
            let into: Vec<&str> = labels
                .iter()
                .filter(|(_, value)| *value == "true")
                .filter_map(|(label, _)| label.strip_prefix("rbac.authorization.k8s.io/aggregate-to-"))
                .collect();
            if !into.is_empty() {
                found.push((role["metadata"]["name"].as_str().unwrap_or_default(), into));
            }
        }
        assert_eq!(found, expected);
    }
    Ok(())
}
