//! Install, upgrade, roll back, uninstall: with both helms, at a real API server. There are no nodes, so nothing runs.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::helm::{Helm, NAMESPACE, RELEASE, chart};
use splittoken_tests::kube::Kube;

use super::install_monitoring_kinds;

const NAMESPACED: [&str; 15] = [
    "ConfigMap",
    "Deployment",
    "HorizontalPodAutoscaler",
    "Lease",
    "NetworkPolicy",
    "Pod",
    "PodDisruptionBudget",
    "PrometheusRule",
    "Role",
    "RoleBinding",
    "Secret",
    "Service",
    "ServiceAccount",
    "ServiceMonitor",
    "StatefulSet",
];

const OURS: &str = "app.kubernetes.io/name=splittoken";

/// Everything of the release that is there, as `Kind name`.
pub(super) fn there(kube: &Kube, namespace: &str) -> Result<Vec<(String, Value)>> {
    let mut found = Vec::new();
    for kind in NAMESPACED {
        for object in kube.list(kind, namespace, "")? {
            found.push((kind, object));
        }
    }
    for kind in ["ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"] {
        for object in kube.list(kind, "", OURS)? {
            found.push((kind, object));
        }
    }
    for kind in ["Role", "RoleBinding"] {
        for object in kube.list(kind, "default", OURS)? {
            found.push((kind, object));
        }
    }
    let name = |(kind, object): (&str, Value)| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        (format!("{kind} {name}"), object)
    };
    Ok(found.into_iter().map(name).collect())
}

fn names(kube: &Kube) -> Result<Vec<String>> {
    Ok(there(kube, NAMESPACE)?
        .into_iter()
        .map(|(name, _)| name)
        .collect())
}

#[test]
fn a_release_goes_through_its_life_and_leaves_only_what_is_to_be_kept() -> Result<()> {
    // Definitions belong to one release, so that no other test can use this one.
    let server = ApiServer::start()?;
    let kube = server.admin()?;
    install_monitoring_kinds(&kube)?;
    let chart = chart();
    let chart = chart.to_str().context("an odd path")?;
    let on = |command: &'static str| [command, RELEASE, chart, "--namespace", NAMESPACE];
    for helm in Helm::both()? {
        let helm = helm.at(server.kubeconfig());
        let replicas = || {
            let deployment = kube.find("Deployment", NAMESPACE, "splittoken-gateway")?;
            anyhow::Ok(deployment.context("no gateway")?["spec"]["replicas"].clone())
        };
        let notes = helm.run(
            &[&on("install")[..], &["--create-namespace"]].concat(),
            &Value::Null,
        )?;
        for next in [
            "helm test splittoken -n splittoken-system",
            "kubectl apply",
            "store.mode=redis",
        ] {
            ensure!(notes.contains(next), "{}: {notes}", helm.name);
        }
        assert_eq!(replicas()?, 2, "{}", helm.name);
        let installed = names(&kube)?;

        let more = json!({
            "gateway": {"replicas": 3},
            "networkPolicy": {"enabled": true},
            "metrics": {"serviceMonitor": {"enabled": true}, "prometheusRule": {"enabled": true}},
        });
        helm.run(&on("upgrade"), &more)?;
        assert_eq!(replicas()?, 3, "{}", helm.name);
        ensure!(names(&kube)?.contains(&"ServiceMonitor splittoken".to_owned()));

        helm.run(
            &["rollback", RELEASE, "1", "--namespace", NAMESPACE],
            &Value::Null,
        )?;
        assert_eq!(replicas()?, 2, "{}", helm.name);
        let is_record = |name: &String| name.starts_with("Secret sh.helm.release.v1.");
        let without_records = |mut names: Vec<String>| {
            names.retain(|name| !is_record(name));
            names
        };
        assert_eq!(without_records(names(&kube)?), without_records(installed));

        helm.run(&["uninstall", RELEASE, "--namespace", NAMESPACE], &Value::Null)?;
        assert_eq!(
            names(&kube)?,
            [
                "CustomResourceDefinition splittokenissuers.splittoken.dev",
                "CustomResourceDefinition splittokenroutes.splittoken.dev",
            ],
            "{}",
            helm.name
        );
        // What was kept is taken over by the next release of the same name, here the other helm's.
    }
    Ok(())
}
