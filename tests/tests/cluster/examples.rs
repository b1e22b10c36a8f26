//! What a user applies first: the examples, as they stand.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::cluster::{Cluster, Release, Workload, checkout};
use splittoken_tests::jwt;
use splittoken_tests::oidc::Registration;
use splittoken_tests::wait;

use crate::shop::{FIRST, READY};

/// `splittoken demo` runs it: its provider and its APIs are on loopback.
const NOT_FOR_CLUSTERS: &str = "quickstart.yaml";

/// The one that brings its own provider and API.
const FIRST_TRY: &str = "kubernetes.yaml";

#[test]
fn every_example_becomes_ready_once_its_services_are_there() -> Result<()> {
    let release = Release::installed()?;
    let cluster = release.cluster;
    let mut seen = 0;
    for name in names()? {
        if name == FIRST_TRY {
            continue;
        }
        let objects = read(&name)?;
        let (routes, services) = (routes(&objects), services(&objects));
        let namespaces: BTreeSet<&String> = services.iter().map(|(namespace, ..)| namespace).collect();
        for namespace in &namespaces {
            cluster.apply(&[
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            ])?;
        }
        let path = checkout(&format!("examples/{name}"));
        cluster.kubectl(&["apply", "--filename", &path])?;
        if name == NOT_FOR_CLUSTERS {
            expect_refused(cluster, &routes)?;
        } else {
            for (namespace, route) in &routes {
                wait(
                    cluster,
                    namespace,
                    route,
                    "jsonpath={.status.conditions[?(@.type=='ResolvedRefs')].reason}=BackendNotFound",
                )?;
            }
            cluster.apply(&services.iter().map(service).collect::<Vec<_>>())?;
            for (namespace, route) in &routes {
                wait(cluster, namespace, route, "condition=Ready")?;
                seen += 1;
            }
        }
        cluster.kubectl(&[
            "delete",
            "--filename",
            &path,
            "--ignore-not-found",
            "--wait=false",
        ])?;
        for namespace in namespaces {
            cluster.kubectl(&[
                "delete",
                "namespace",
                namespace,
                "--ignore-not-found",
                "--timeout=120s",
            ])?;
        }
    }
    ensure!(seen >= 7, "only {seen} routes");
    Ok(())
}

#[test]
fn the_first_try_on_a_cluster_gives_a_split_token_of_keycloak() -> Result<()> {
    let namespace = "splittoken-demo";
    let release = Release::installed()?;
    let cluster = release.cluster;
    let mut objects = read(FIRST_TRY)?;
    with_the_images_of_the_tests(&mut objects)?;
    cluster.apply(&objects)?;
    rolled_out(cluster, namespace, "api")?;
    rolled_out(cluster, namespace, "keycloak")?;
    wait(cluster, namespace, "demo", "condition=Ready")?;

    let caller = cluster.namespace("first-try")?;
    let client = Registration {
        id: "demo-client".to_owned(),
        secret: "demo-secret".to_owned(),
    };
    let host = ["-header", "Host: demo.localhost"];
    let basic = format!("Authorization: Basic {}", client.basic_credentials());
    let ask = ["-header", &basic, "-form", "grant_type=client_credentials"];
    let token = wait::until(wait::START, "a token", || {
        let answer = caller.get(&FIRST.url("/oauth/token"), &[&host[..], &ask].concat());
        let body: Value = serde_json::from_str(&answer.ok()?.body).ok()?;
        body["access_token"].as_str().map(str::to_owned)
    })?;
    ensure!(!token.contains('.'), "the token was not split");
    let bearer = format!("Authorization: Bearer {token}");
    let answer = caller.get(&FIRST.url("/"), &[&host[..], &["-header", &bearer]].concat())?;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let seen: Value = serde_json::from_str(&answer.body)?;
    let authorization = seen["headers"]["Authorization"][0].as_str().context("no token")?;
    let jwt = authorization.strip_prefix("Bearer ").context("no Bearer")?;
    ensure!(jwt.ends_with(&token), "the token is not the JWT's signature");
    let issuer = "http://keycloak.splittoken-demo.svc.cluster.local/realms/demo";
    assert_eq!(jwt::claims(jwt)?["iss"], issuer);
    cluster.kubectl(&["delete", "namespace", namespace, "--timeout=120s"])?;
    Ok(())
}

/// Waits for a Deployment. A Keycloak takes its time.
fn rolled_out(cluster: &Cluster, namespace: &str, deployment: &str) -> Result<()> {
    let deployment = format!("deployment/{deployment}");
    let within = |words: &[&str]| cluster.kubectl(&[&["--namespace", namespace], words].concat());
    let outcome = within(&["rollout", "status", &deployment, "--timeout=300s"]);
    outcome.map(drop).with_context(|| {
        let logs = within(&["logs", &deployment, "--tail=20"]);
        logs.unwrap_or_else(|error| error.to_string())
    })
}

/// Manifests; what is in folders is for helm.
fn names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(checkout("examples"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn read(name: &str) -> Result<Vec<Value>> {
    let text = fs::read_to_string(checkout(&format!("examples/{name}")))?;
    Ok(serde_saphyr::from_multiple(&text)?)
}

/// Namespace and name of each route.
fn routes(objects: &[Value]) -> Vec<(String, String)> {
    let routes = objects
        .iter()
        .filter(|object| object["kind"] == "SplitTokenRoute");
    routes
        .map(|route| {
            let text = |name: &str, otherwise: &str| {
                route["metadata"][name].as_str().unwrap_or(otherwise).to_owned()
            };
            (text("namespace", "default"), text("name", ""))
        })
        .collect()
}

/// Namespace, name and port of each Service that a route wants.
fn services(objects: &[Value]) -> BTreeSet<(String, String, u64)> {
    let routes = objects
        .iter()
        .filter(|object| object["kind"] == "SplitTokenRoute");
    let backends = routes.flat_map(|route| {
        let rules = route["spec"]["rules"].as_array().into_iter().flatten();
        rules.flat_map(move |rule| {
            let backends = rule["backendRefs"].as_array().into_iter().flatten();
            backends.map(move |backend| (route, backend))
        })
    });
    backends
        .filter_map(|(route, backend)| {
            let namespace = route["metadata"]["namespace"].as_str()?;
            Some((
                namespace.to_owned(),
                backend["name"].as_str()?.to_owned(),
                backend["port"].as_u64()?,
            ))
        })
        .collect()
}

fn service((namespace, name, port): &(String, String, u64)) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"port": port}]},
    })
}

fn wait(cluster: &Cluster, namespace: &str, route: &str, what: &str) -> Result<()> {
    let what = format!("--for={what}");
    let route = format!("splittokenroute/{route}");
    let wait = ["--namespace", namespace, "wait", &what, &route, READY];
    cluster.kubectl(&wait).map(drop).with_context(|| {
        let get = ["--namespace", namespace, "get", &route, "--output=yaml"];
        cluster.kubectl(&get).unwrap_or_else(|error| error.to_string())
    })
}

/// Nothing on loopback is for tenants of a cluster.
fn expect_refused(cluster: &Cluster, routes: &[(String, String)]) -> Result<()> {
    for (namespace, route) in routes {
        wait(cluster, namespace, route, "condition=Accepted=False")?;
    }
    Ok(())
}

/// No registry is asked: the same programs in the tests' own images, and Keycloak as it is built there.
fn with_the_images_of_the_tests(objects: &mut [Value]) -> Result<()> {
    for (deployment, workload, arguments) in [
        (
            "keycloak",
            "keycloak",
            json!(["start", "--optimized", "--import-realm"]),
        ),
        ("api", "pod", json!(["echo"])),
    ] {
        let found = objects
            .iter_mut()
            .find(|object| object["kind"] == "Deployment" && object["metadata"]["name"] == deployment);
        let found = found.with_context(|| format!("no Deployment {deployment}"))?;
        let container = &mut found["spec"]["template"]["spec"]["containers"][0];
        container["image"] = json!(Workload::image(workload));
        container["imagePullPolicy"] = json!("Never");
        container["args"] = arguments;
    }
    Ok(())
}
