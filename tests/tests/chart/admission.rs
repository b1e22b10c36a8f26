//! What a real API server says to the rendered objects.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::helm::{Helm, NAMESPACE};
use splittoken_tests::kubectl;

use super::{cases, install_monitoring_kinds};

/// Strict: an unknown or doubled field is an error, where it would else be dropped in silence.
#[test]
fn every_object_passes_a_strict_dry_run() -> Result<()> {
    let server = ApiServer::shared()?;
    let kube = server.admin()?;
    kube.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}))?;
    install_monitoring_kinds(&kube)?;
    let kubeconfig = server.kubeconfig();
    let dry = [
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
    ];
    for (case, values) in cases() {
        let rendered = Helm::newest()?.template(&values)?;
        let said = kubectl::run(&kubeconfig, &dry, &rendered.0)?;
        assert_eq!(said.lines().count(), rendered.0.len(), "{case}: {said}");
    }
    // It does refuse what is wrong.
    let mut wrong = Helm::newest()?
        .template(&Value::Null)?
        .get("Service", "splittoken-gateway")?
        .clone();
    wrong["spec"]["portz"] = json!([]);
    let refusal = kubectl::run(&kubeconfig, &dry, &[wrong]);
    ensure!(refusal.is_err_and(|error| format!("{error:#}").contains("portz")));
    Ok(())
}

/// Of the whole pod, not of its template, which is only warned about.
#[test]
fn every_pod_is_admitted_where_pod_security_is_restricted() -> Result<()> {
    let server = ApiServer::shared()?;
    let namespace = "chart-restricted";
    server
        .admin()?
        .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        }}))?;
    let admitted = |name: &str, pod: &Value| {
        let mut pod = pod.clone();
        // The claim of a StatefulSet, which its controller would fill in.
        let claim = json!({"name": "data", "persistentVolumeClaim": {"claimName": "data"}});
        let volumes = pod["volumes"].as_array_mut();
        if let Some(volumes) = volumes.filter(|volumes| volumes.len() == 1 && volumes[0]["name"] == "users") {
            volumes.push(claim);
        }
        let object = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": pod,
        });
        let dry = ["create", "--dry-run=server", "--validate=strict", "-f", "-"];
        kubectl::run(&server.kubeconfig(), &dry, &[object])
    };
    for (case, values) in cases() {
        for (name, pod) in Helm::newest()?.template(&values)?.pods() {
            let outcome = admitted(&name, pod);
            ensure!(outcome.is_ok(), "{case}, {name}: {outcome:?}");
        }
    }
    // It does refuse what is less.
    let mut less = Helm::newest()?.template(&Value::Null)?.pods()[0].1.clone();
    less["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
    ensure!(admitted("less", &less).is_err_and(|error| format!("{error:#}").contains("restricted")));
    Ok(())
}

/// Nothing that is written goes to the image, and what holds secrets is not on a disk.
#[test]
fn containers_cannot_write_but_where_they_have_to() -> Result<()> {
    for (name, pod) in Helm::newest()?.template(&Value::Null)?.pods() {
        let container = &pod["containers"][0];
        assert_eq!(
            container["securityContext"]["readOnlyRootFilesystem"], true,
            "{name}"
        );
        let writable: Vec<&str> = container["volumeMounts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|mount| mount["readOnly"] != true)
            .filter_map(|mount| mount["mountPath"].as_str())
            .collect();
        let expected: &[&str] = match name.as_str() {
            "splittoken-gateway" => &["/var/lib/splittoken"],
            "splittoken-store" => &["/data"],
            _ => &[],
        };
        assert_eq!(writable, expected, "{name}");
    }
    let rendered = Helm::newest()?.template(&Value::Null)?;
    let gateway = rendered.get("Deployment", "splittoken-gateway")?;
    let volumes = gateway["spec"]["template"]["spec"]["volumes"].to_string();
    ensure!(
        volumes.contains(r#"{"emptyDir":{"medium":"Memory""#),
        "the last routes are on a disk: {volumes}"
    );
    Ok(())
}
