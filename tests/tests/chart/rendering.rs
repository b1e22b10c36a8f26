//! What comes out, without a cluster.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use splittoken_tests::helm::{Helm, NAMESPACE, RELEASE, arguments, chart};

use super::{cases, everything};

#[test]
fn both_helms_have_nothing_to_say_against_it() -> Result<()> {
    let chart = chart();
    let chart = chart.to_str().context("an odd path")?;
    for helm in Helm::both()? {
        for (case, values) in cases() {
            let said = helm.run(&["lint", "--strict", chart, "--namespace", NAMESPACE], &values)?;
            assert!(said.contains("0 chart(s) failed"), "{} {case}: {said}", helm.name);
        }
    }
    Ok(())
}

/// A tool that renders again and again, as Argo CD does, must not find differences.
#[test]
fn two_renders_are_the_same_with_either_helm() -> Result<()> {
    let [three, four] = Helm::both()?;
    for (case, values) in cases() {
        let first = four.template(&values)?;
        assert_eq!(first, four.template(&values)?, "{case}");
        assert_eq!(first, three.template(&values)?, "{case}");
    }
    Ok(())
}

#[test]
fn the_ports_of_the_gateways_service_are_values() -> Result<()> {
    let values = json!({"gateway": {
        "service": {"port": 8000, "tlsPort": 8443}, "tls": {"certificateSecrets": ["api-example-com"]},
    }});
    for helm in Helm::both()? {
        let rendered = helm.template(&values)?;
        let ports = rendered.get("Service", "splittoken-gateway")?["spec"]["ports"].clone();
        let expected = json!([
            {"name": "http", "port": 8000, "targetPort": "http"},
            {"name": "https", "port": 8443, "targetPort": "https"},
        ]);
        assert_eq!(ports, expected);
    }
    Ok(())
}

/// Gateways at this address that speak TLS, and nothing else.
fn tls_alone(address: &str) -> Value {
    json!({
        "bindAddress": address,
        "networkPolicy": {"enabled": true},
        "gateway": {
            "service": {"cleartext": false}, "tls": {"certificateSecrets": ["api-example-com"]},
        },
    })
}

/// Neither by the Service nor past it.
#[test]
fn without_cleartext_gateways_are_reached_by_tls_alone() -> Result<()> {
    for helm in Helm::both()? {
        for (address, loopback) in [("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]")] {
            let rendered = helm.template(&tls_alone(address))?;
            let service = rendered.get("Service", "splittoken-gateway")?;
            assert_eq!(
                service["spec"]["ports"],
                json!([{"name": "https", "port": 443, "targetPort": "https"}])
            );
            let policy = rendered.get("NetworkPolicy", "splittoken-gateway")?;
            assert_eq!(policy["spec"]["ingress"][0]["ports"], json!([{"port": "https"}]));
            let pod = &rendered.get("Deployment", "splittoken-gateway")?["spec"]["template"]["spec"];
            let ports = pod["containers"][0]["ports"].as_array().context("no ports")?;
            let names: Vec<_> = ports.iter().map(|port| &port["name"]).collect();
            assert_eq!(names, ["https", "admin"]);
            let given = arguments(pod);
            for expected in [
                format!("--listen={loopback}:8080"),
                format!("--tls-listen={address}:8443"),
            ] {
                assert!(given.contains(&expected.as_str()), "{expected}: {given:?}");
            }
        }
    }
    Ok(())
}

/// What helm says after an installation has to work. Only Helm 4 says it without a cluster.
#[test]
fn a_port_that_is_not_there_is_not_forwarded() -> Result<()> {
    let helm = Helm::newest()?;
    let chart = chart();
    let chart = chart.to_str().context("an odd path")?;
    let install = [
        "install",
        RELEASE,
        chart,
        "--namespace",
        NAMESPACE,
        "--dry-run=client",
    ];
    for (values, forwarded) in [
        (Value::Null, "service/splittoken-gateway 8080:80\n"),
        (tls_alone("0.0.0.0"), "deployment/splittoken-gateway 8080\n"),
    ] {
        let said = helm.run(&install, &values)?;
        assert!(said.contains(&format!("port-forward {forwarded}")), "{said}");
    }
    Ok(())
}

/// As `helm install --values` would read it.
#[test]
fn the_examples_of_values_render() -> Result<()> {
    let examples: [(&str, &[&str]); 2] = [
        (
            "redis.yaml",
            &[
                "rediss://gateway@redis.internal:6379",
                "redis-password",
                "redis-ca",
            ],
        ),
        (
            "tls.yaml",
            &["--tls-listen=0.0.0.0:8443", "/etc/splittoken/tls/api-example-com"],
        ),
    ];
    for (name, parts) in examples {
        let example = chart().join("../../examples/helm").join(name);
        let values: Value = serde_saphyr::from_str(&fs::read_to_string(example)?)?;
        for helm in Helm::both()? {
            let rendered = helm.template(&values)?;
            let gateway = rendered.get("Deployment", "splittoken-gateway")?.to_string();
            for part in parts {
                assert!(gateway.contains(part), "{part}: {gateway}");
            }
            let has_store = rendered.get("StatefulSet", "splittoken-store").is_ok();
            assert_eq!(has_store, name != "redis.yaml");
            let ports = rendered.get("Service", "splittoken-gateway")?["spec"]["ports"].clone();
            let expected = if name == "tls.yaml" { 443 } else { 80 };
            assert_eq!(ports.as_array().map(Vec::len), Some(1), "{ports}");
            assert_eq!(ports[0]["port"], expected, "{ports}");
        }
    }
    Ok(())
}

/// They are in users' scripts.
#[test]
fn the_names_that_users_rely_on_are_there() -> Result<()> {
    let rendered = Helm::newest()?.template(&Value::Null)?;
    for (kind, name, component) in [
        ("Deployment", "splittoken-operator", "operator"),
        ("Deployment", "splittoken-gateway", "gateway"),
        ("StatefulSet", "splittoken-store", "store"),
        ("Service", "splittoken-gateway", "gateway"),
        ("Service", "splittoken-gateway-admin", "gateway"),
        ("ServiceAccount", "splittoken-operator", "operator"),
        ("ServiceAccount", "splittoken-gateway", "gateway"),
    ] {
        let object = rendered.get(kind, name)?;
        let labels = json!({
            "app.kubernetes.io/name": "splittoken",
            "app.kubernetes.io/instance": RELEASE,
            "app.kubernetes.io/component": component,
        });
        for (label, value) in labels.as_object().into_iter().flatten() {
            assert_eq!(&object["metadata"]["labels"][label], value, "{kind} {name}");
        }
    }
    let port = &rendered.get("Service", "splittoken-gateway")?["spec"]["ports"][0];
    assert_eq!(port["port"], 80);
    Ok(())
}

/// What is in a release's own record, or in a repository, is no secret any more.
#[test]
fn no_secret_is_rendered() -> Result<()> {
    for (case, values) in cases() {
        assert_eq!(
            Helm::newest()?.template(&values)?.all("Secret").count(),
            0,
            "{case}"
        );
    }
    Ok(())
}

#[test]
fn everything_says_which_namespace_it_is_in_unless_it_is_in_none() -> Result<()> {
    let without = ["ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"];
    for object in Helm::newest()?.template(&everything())?.0 {
        let kind = object["kind"].as_str().unwrap_or_default();
        let expected = if without.contains(&kind) {
            Value::Null
        } else {
            json!(NAMESPACE)
        };
        assert_eq!(
            object["metadata"]["namespace"], expected,
            "{kind} {}",
            object["metadata"]["name"]
        );
    }
    Ok(())
}

/// Helm cannot read outside of the chart, so it has a copy.
#[test]
fn its_custom_resource_definitions_are_those_of_the_repository() -> Result<()> {
    let rendered = Helm::newest()?.template(&Value::Null)?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds");
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        let text = fs::read_to_string(&file)?;
        let name = file.file_name().context("no name")?.to_owned();
        let copy = chart().join("files/crds").join(&name);
        assert_eq!(
            fs::read_to_string(&copy)?,
            text,
            "run `just crds`: {}",
            copy.display()
        );
        let crd: Value = serde_saphyr::from_str(&text)?;
        let name_of_it = crd["metadata"]["name"].as_str().context("no name")?;
        let mut found = rendered.get("CustomResourceDefinition", name_of_it)?.clone();
        let metadata = found["metadata"].as_object_mut().context("no metadata")?;
        metadata.remove("labels");
        assert_eq!(
            metadata.remove("annotations"),
            Some(json!({"helm.sh/resource-policy": "keep"}))
        );
        assert!(same(&found, &crd), "{name_of_it} is not rendered as it is");
        files.insert(name);
    }
    assert_eq!(rendered.all("CustomResourceDefinition").count(), files.len());
    Ok(())
}

/// JSON does not tell 0 from 0.0.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(name, one)| other.get(name).is_some_and(|other| same(one, other)))
        }
        _ => one == other,
    }
}

#[test]
fn definitions_are_kept_or_left_out_as_the_values_say() -> Result<()> {
    let helm = Helm::newest()?;
    let lost = helm.template(&json!({"crds": {"keep": false}}))?;
    for crd in lost.all("CustomResourceDefinition") {
        assert_eq!(crd["metadata"]["annotations"], Value::Null);
    }
    let none = helm.template(&json!({"crds": {"enabled": false}}))?;
    assert_eq!(none.all("CustomResourceDefinition").count(), 0);
    Ok(())
}

/// The variables that Kubernetes makes of Services (`SPLITTOKEN_GATEWAY_ADMIN_PORT=tcp://…`) are options of the program.
#[test]
fn no_pod_gets_the_variables_of_services() -> Result<()> {
    for (name, pod) in Helm::newest()?.template(&everything())?.pods() {
        assert_eq!(pod["enableServiceLinks"], false, "{name}");
    }
    Ok(())
}
