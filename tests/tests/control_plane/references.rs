//! What a route refers to in other namespaces: Services by leave, shared issuers by leave, Secrets never.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::installation::{Installation, install_reference_grants};

use super::{AT_ONCE, apply_and_expect, expect, rendered, wait_rendered};

fn plane() -> Result<Installation> {
    Installation::at(ApiServer::shared()?)
}

fn service(namespace: &str, name: &str, spec: &Value) -> Value {
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": [{"port": 80}]},
    });
    for (member, value) in spec.as_object().into_iter().flatten() {
        service["spec"][member] = value.clone();
    }
    service
}

#[test]
fn a_service_of_another_namespace_needs_a_grant_which_can_be_taken_back() -> Result<()> {
    let plane = plane()?;
    install_reference_grants(&plane.kube)?;
    let _operator = plane.operator("")?;
    let (shop, backends) = (
        plane.team("shop", &json!({}))?,
        plane.team("backends", &json!({}))?,
    );
    let kube = &plane.kube;
    let made = kube.apply(&service(
        &backends,
        "orders",
        &json!({"selector": {"app": "orders"}}),
    ))?;
    let address = format!("{}:80", made["spec"]["clusterIP"].as_str().unwrap_or_default());
    let backend = json!({"name": "orders", "namespace": backends, "port": 80});
    let route = plane.route(&shop, "orders", "https://iam.example", &backend);
    let name = format!("{shop}/orders");
    apply_and_expect(&plane, &route, "ResolvedRefs", "RefNotPermitted")?;
    let leads_there =
        |found: Option<&super::Rendered>| found.is_some_and(|found| found.config.contains(&address));
    ensure!(!leads_there(rendered(&plane)?.get(&name)));

    let grant = |from: &str, service: &Value| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
            "metadata": {"name": "grant", "namespace": backends},
            "spec": {
                "from": [{"group": "splittoken.dev", "kind": "SplitTokenRoute", "namespace": from}],
                "to": [service],
            },
        })
    };
    let orders = json!({"group": "", "kind": "Service", "name": "orders"});
    kube.apply(&grant(&shop, &orders))?;
    expect(&plane, &route, "ResolvedRefs", "ResolvedRefs")?;
    wait_rendered(&plane, &name, "led there", leads_there)?;
    // A grant for others is none.
    for other in [
        grant(&backends, &orders),
        grant(&shop, &json!({"group": "", "kind": "Service", "name": "other"})),
    ] {
        kube.apply(&other)?;
        expect(&plane, &route, "ResolvedRefs", "RefNotPermitted")?;
        kube.apply(&grant(&shop, &orders))?;
        expect(&plane, &route, "ResolvedRefs", "ResolvedRefs")?;
    }
    let start = Instant::now();
    kube.delete("ReferenceGrant", &backends, "grant")?;
    wait_rendered(&plane, &name, "led there no more", |found| !leads_there(found))?;
    println!("a grant is gone {:?} after its deletion", start.elapsed());
    ensure!(start.elapsed() < AT_ONCE);
    expect(&plane, &route, "ResolvedRefs", "RefNotPermitted")?;
    Ok(())
}

#[test]
fn a_service_that_leads_elsewhere_is_no_backend() -> Result<()> {
    let plane = plane()?;
    let team = plane.team("team", &json!({}))?;
    let strict = plane.operator("")?;
    let external = json!({"type": "ExternalName", "externalName": "internal.example"});
    for (name, spec, reason) in [
        ("missing", None, "BackendNotFound"),
        ("external", Some(external), "RefNotPermitted"),
        ("bare", Some(json!({})), "RefNotPermitted"),
        ("good", Some(json!({"selector": {"app": "a"}})), "ResolvedRefs"),
    ] {
        if let Some(spec) = spec {
            plane.kube.apply(&service(&team, name, &spec))?;
        }
        let backend = json!({"name": name, "port": 80});
        let route = plane.route(&team, name, "https://iam.example", &backend);
        apply_and_expect(&plane, &route, "ResolvedRefs", reason)?;
    }
    // A Service that comes later is found, one that goes is missed.
    plane
        .kube
        .apply(&service(&team, "missing", &json!({"selector": {"app": "a"}})))?;
    let route = |name: &str| {
        plane.route(
            &team,
            name,
            "https://iam.example",
            &json!({"name": name, "port": 80}),
        )
    };
    expect(&plane, &route("missing"), "ResolvedRefs", "ResolvedRefs")?;
    plane.kube.delete("Service", &team, "missing")?;
    expect(&plane, &route("missing"), "ResolvedRefs", "BackendNotFound")?;

    drop(strict);
    let _lax = plane.operator("selectorlessServices: true")?;
    expect(&plane, &route("bare"), "ResolvedRefs", "ResolvedRefs")?;
    expect(&plane, &route("external"), "ResolvedRefs", "RefNotPermitted")?;
    Ok(())
}

#[test]
fn a_secret_of_another_namespace_is_out_of_reach() -> Result<()> {
    let plane = plane()?;
    let _operator = plane.operator("urlBackends: true")?;
    let (owner, thief) = (plane.team("owner", &json!({}))?, plane.team("thief", &json!({}))?);
    plane.kube.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": owner},
        "stringData": {"hmac": "0123456789abcdef0123456789abcdef"},
    }))?;
    let mut route = plane.route(
        &thief,
        "orders",
        "https://iam.example",
        &json!({"url": "http://a.example"}),
    );
    route["spec"]["issuer"] = json!({
        "url": "https://iam.example", "algorithms": ["HS256"], "hmacSecretRef": {"name": "key"},
    });
    apply_and_expect(&plane, &route, "ResolvedRefs", "SecretNotFound")?;
    // Not even by trying to name it.
    route["spec"]["issuer"]["hmacSecretRef"]["namespace"] = json!(owner);
    let refused = plane.kube.try_create(&route)?;
    ensure!(
        refused.status == 400 && refused.text().contains("unknown field"),
        "{}",
        refused.text()
    );
    Ok(())
}

#[test]
fn a_shared_issuer_says_which_namespaces_may_use_it() -> Result<()> {
    let plane = plane()?;
    let _operator = plane.operator("urlBackends: true")?;
    let identity = plane.team("identity", &json!({}))?;
    let shop = plane.team("shop", &json!({"login": "no"}))?;
    let issuer = |namespaces: Value| {
        json!({
            "apiVersion": "splittoken.dev/v1alpha1", "kind": "SplitTokenIssuer",
            "metadata": {"name": "login", "namespace": identity},
            "spec": {
                "className": plane.name, "url": "https://login.example",
                "allowedRoutes": {"namespaces": namespaces},
            },
        })
    };
    let route = |namespace: &str| {
        let mut route = plane.route(namespace, namespace, "", &json!({"url": "http://a.example"}));
        if let Some(spec) = route["spec"].as_object_mut() {
            spec.remove("issuer");
            spec.insert(
                "issuerRef".to_owned(),
                json!({"name": "login", "namespace": identity}),
            );
        }
        route
    };
    let (own, others) = (route(&identity), route(&shop));
    apply_and_expect(&plane, &others, "ResolvedRefs", "IssuerNotFound")?;
    apply_and_expect(&plane, &issuer(json!({"from": "Same"})), "Accepted", "Accepted")?;
    apply_and_expect(&plane, &own, "ResolvedRefs", "ResolvedRefs")?;
    expect(&plane, &others, "ResolvedRefs", "IssuerNotAllowed")?;
    plane.kube.apply(&issuer(json!({"from": "All"})))?;
    expect(&plane, &others, "ResolvedRefs", "ResolvedRefs")?;
    let told = expect(&plane, &issuer(json!({})), "Accepted", "Accepted")?;
    ensure!(told["status"]["attachedRoutes"] == 2, "{}", told["status"]);

    let selector = json!({"from": "Selector", "selector": {"matchLabels": {"login": "yes"}}});
    plane.kube.apply(&issuer(selector))?;
    expect(&plane, &others, "ResolvedRefs", "IssuerNotAllowed")?;
    let name = format!("{shop}/{shop}");
    wait_rendered(&plane, &name, "gone", |found| found.is_none())?;
    for (label, reason) in [("yes", "ResolvedRefs"), ("no", "IssuerNotAllowed")] {
        let members = json!({"metadata": {"labels": {"login": label}}});
        plane.kube.merge("Namespace", "", &shop, &members)?;
        expect(&plane, &others, "ResolvedRefs", reason)?;
    }
    Ok(())
}
