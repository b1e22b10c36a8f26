//! Whatever somebody does to his own objects, or to ours by hand, nobody else's rendered route changes by a byte.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::installation::Installation;
use splittoken_tests::kube::Kube;
use splittoken_tests::wait;

use super::{apply_and_expect, expect, rendered, wait_rendered};

fn route(plane: &Installation, name: &str) -> Value {
    let backend = json!({"url": "http://upstream.example"});
    plane.route(&plane.name, name, "https://iam.example", &backend)
}

/// As if the definitions of another version, which knew other rules, were installed.
fn let_everything_through(kube: &Kube) -> Result<()> {
    for plural in ["splittokenroutes", "splittokenissuers"] {
        let name = format!("{plural}.splittoken.dev");
        let crd = kube
            .find("CustomResourceDefinition", "", &name)?
            .context("no CRD")?;
        let mut version = crd["spec"]["versions"][0].clone();
        version["schema"] =
            json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        let lax = json!({"spec": {"versions": [version]}});
        kube.merge("CustomResourceDefinition", "", &name, &lax)?;
    }
    Ok(())
}

#[test]
fn bad_objects_leave_every_other_route_as_it_is() -> Result<()> {
    let server = ApiServer::start()?;
    let plane = Installation::at(&server)?;
    let mut operator = plane.operator("urlBackends: true")?;
    for name in ["a", "b", "c"] {
        apply_and_expect(&plane, &route(&plane, name), "Accepted", "Accepted")?;
    }
    let before = rendered(&plane)?;
    ensure!(before.len() == 3, "{before:?}");
    let_everything_through(&plane.kube)?;

    let specs = [
        json!("no object"),
        json!(null),
        json!([]),
        json!({"className": plane.name}),
        json!({"className": plane.name, "hostnames": 5, "rules": {"a": "b"}}),
        json!({"className": plane.name, "hostnames": [plane.host("a")], "issuer": {"url": "::"}, "of-later": {}}),
        json!({"className": plane.name, "hostnames": ["A b/c:1"], "issuer": {"url": "https://iam.example"}, "tokenEndpoints": {"token": {}}}),
        json!({"className": 7}),
    ];
    for (number, spec) in specs.iter().enumerate() {
        for kind in ["SplitTokenRoute", "SplitTokenIssuer"] {
            let object = json!({
                "apiVersion": "splittoken.dev/v1alpha1", "kind": kind,
                "metadata": {"name": format!("bad-{number}"), "namespace": plane.name}, "spec": spec,
            });
            // The definitions may take a moment to be looked at anew.
            wait::until_true(wait::START, "the server to take anything", || {
                plane.kube.apply(&object).is_ok()
            })?;
            // Those that name this installation are told what is wrong with them.
            if spec["className"] == plane.name.as_str() {
                let told = expect(&plane, &object, "Accepted", "Invalid")?;
                ensure!(
                    !told["status"]["conditions"][0]["message"]
                        .as_str()
                        .unwrap_or_default()
                        .is_empty()
                );
            }
        }
    }
    // And the watches go on.
    apply_and_expect(&plane, &route(&plane, "d"), "Accepted", "Accepted")?;
    wait_rendered(&plane, &format!("{}/d", plane.name), "there", |found| {
        found.is_some()
    })?;
    let mut after = rendered(&plane)?;
    after.remove(&format!("{}/d", plane.name));
    assert_eq!(after, before);
    // Nor does an operator that starts among them touch anything.
    operator.process().kill()?;
    drop(operator);
    let _next = plane.operator("urlBackends: true")?;
    apply_and_expect(&plane, &route(&plane, "e"), "Accepted", "Accepted")?;
    let after = rendered(&plane)?;
    for (name, object) in before {
        assert_eq!(after.get(&name), Some(&object), "{name}");
    }
    Ok(())
}

#[test]
fn what_is_changed_by_hand_is_put_right_and_nothing_else_is_touched() -> Result<()> {
    let plane = Installation::at(ApiServer::shared()?)?;
    let _operator = plane.operator("urlBackends: true")?;
    for name in ["a", "b"] {
        apply_and_expect(&plane, &route(&plane, name), "Accepted", "Accepted")?;
    }
    let before = rendered(&plane)?;
    let (a, b) = (format!("{}/a", plane.name), format!("{}/b", plane.name));
    let object = before[&a].object.clone();
    let is_right =
        |found: Option<&super::Rendered>| found.is_some_and(|found| found.config == before[&a].config);
    for change in [
        json!({"data": {"route.json": "{}"}}),
        json!({"data": {"route.json": null}}),
        json!({"metadata": {"labels": {"splittoken.dev/class": "another"}}}),
        json!({"metadata": {"labels": {"splittoken.dev/part": null}}}),
    ] {
        plane.kube.merge("ConfigMap", &plane.name, &object, &change)?;
        wait_rendered(&plane, &a, "put right", is_right)?;
    }
    plane.kube.delete("ConfigMap", &plane.name, &object)?;
    wait_rendered(&plane, &a, "made again", is_right)?;
    // Somebody's own object with our labels is not a route's: it goes.
    plane.kube.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "route-intruder", "namespace": plane.name,
            "labels": {"splittoken.dev/class": plane.name, "splittoken.dev/part": "route"},
            "annotations": {"splittoken.dev/route": "no/where"},
        },
        "data": {"route.json": before[&a].config},
    }))?;
    wait_rendered(&plane, "no/where", "swept", |found| found.is_none())?;
    assert_eq!(rendered(&plane)?.get(&b), before.get(&b));
    Ok(())
}
