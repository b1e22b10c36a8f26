//! What the API server does not let the operator write: the status says why, and nothing else suffers.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::wait;

use super::status::condition;
use super::{AT_ONCE, Stage, URLS, apply_and_expect, expect};

/// A policy takes effect when the API server has noticed it.
const NOTICED: Duration = Duration::from_secs(60);

/// Refuses every `ConfigMap` of a namespace that holds this word.
fn refuse(namespace: &str, word: &str) -> [Value; 2] {
    let expression =
        format!("!has(object.data) || !object.data.exists(key, object.data[key].contains(\"{word}\"))");
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": namespace},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
                    "operations": ["CREATE", "UPDATE"],
                }],
            },
            "validations": [{"expression": expression, "message": "there is no room for it"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": namespace},
        "spec": {"policyName": namespace, "validationActions": ["Deny"]},
    });
    [policy, binding]
}

fn config_map(namespace: &str, word: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe", "namespace": namespace},
        "data": {"word": word},
    })
}

#[test]
fn a_route_that_cannot_be_written_says_why_and_hurts_no_other() -> Result<()> {
    let stage = Stage::new()?;
    let plane = &stage.installation;
    let kube = &plane.kube;
    kube.apply_all(&refuse(&plane.name, "unwelcome"))?;
    wait::until_true(NOTICED, "the policy to take effect", || {
        let probe = config_map(&plane.name, "unwelcome");
        kube.try_create(&probe).is_ok_and(|answer| answer.status == 422)
    })?;
    let operator = plane.operator(URLS)?;
    let pod = plane.pod(1)?;
    let mut route = stage.route("orders");
    stage.served(&route)?;
    let token = pod.token(&plane.host("orders"))?;

    route["spec"]["rules"][0]["authorization"] = json!({"scopes": ["unwelcome"]});
    let new = stage.route("unwelcome");
    for refused in [&route, &new] {
        let told = apply_and_expect(plane, refused, "Programmed", "NotWritten")?;
        let message = condition(&told, "Programmed")?["message"]
            .as_str()
            .context("no message")?
            .to_owned();
        ensure!(message.contains("there is no room for it"), "{message}");
        assert_eq!(condition(&told, "Ready")?["reason"], "NotWritten");
    }
    // What stood is served, pods are measured by that, and others come and go.
    assert_eq!(pod.call(&plane.host("orders"), "/", Some(&token))?, 200);
    stage.served(&stage.route("other"))?;
    wait::until_true(AT_ONCE, "the pod to serve all that stands", || {
        operator
            .metric("gateway_pods_programmed")
            .is_ok_and(|pods| pods == 1)
    })?;
    let before = operator.metric("failures_total")?;
    thread::sleep(Duration::from_secs(10));
    let tries = operator.metric("failures_total")? - before;
    ensure!(
        tries <= 6,
        "two objects were tried {tries} times within ten seconds"
    );

    kube.delete("ValidatingAdmissionPolicyBinding", "", &plane.name)?;
    kube.delete("ValidatingAdmissionPolicy", "", &plane.name)?;
    wait::until_true(NOTICED, "the policy to be gone", || {
        let probe = config_map(&plane.name, "unwelcome");
        kube.try_create(&probe).is_ok_and(|answer| answer.status == 201)
    })?;
    // Whoever touches a route need not wait until it is due.
    let touched = json!({"metadata": {"annotations": {"again": "please"}}});
    for (name, refused) in [("orders", &route), ("unwelcome", &new)] {
        kube.merge("SplitTokenRoute", &plane.name, name, &touched)?;
        expect(plane, refused, "Ready", "Ready")?;
    }
    assert_eq!(pod.call(&plane.host("orders"), "/", Some(&token))?, 403);
    Ok(())
}
