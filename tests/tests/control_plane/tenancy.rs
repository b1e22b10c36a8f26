//! What one team may not do to another, and what the platform team decides: hostnames, namespaces, issuers, classes.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::installation::Installation;

use super::{apply_and_expect, expect, rendered, wait_rendered};

const ISSUER: &str = "http://iam.example";

fn plane() -> Result<Installation> {
    Installation::at(ApiServer::shared()?)
}

fn route(plane: &Installation, namespace: &str, name: &str) -> Value {
    plane.route(
        namespace,
        name,
        ISSUER,
        &json!({"url": "http://upstream.example"}),
    )
}

/// Objects have their age in whole seconds: what is applied after this is younger than what was applied before.
fn let_a_second_pass() -> Result<()> {
    let second = || anyhow::Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
    let now = second()?;
    while second()? == now {
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[test]
fn a_hostname_belongs_to_the_older_route_until_that_goes() -> Result<()> {
    let plane = plane()?;
    let _operator = plane.operator("urlBackends: true")?;
    // By name the younger one would come first.
    let (old_team, young_team) = (plane.team("z", &json!({}))?, plane.team("a", &json!({}))?);
    let old = route(&plane, &old_team, "orders");
    apply_and_expect(&plane, &old, "Accepted", "Accepted")?;
    let_a_second_pass()?;
    let before = rendered(&plane)?;
    apply_and_expect(
        &plane,
        &route(&plane, &young_team, "orders"),
        "Accepted",
        "HostnameConflict",
    )?;
    // A wildcard above takes nothing away: the host itself stays its owner's.
    let mut wildcard = route(&plane, &young_team, "wildcard");
    wildcard["spec"]["hostnames"] = json!([format!("*.{}.example", plane.name)]);
    apply_and_expect(&plane, &wildcard, "Accepted", "Accepted")?;
    let mut within = route(&plane, &young_team, "path");
    within["spec"]["hostnames"] = json!([plane.host("orders")]);
    within["spec"]["rules"][0]["matches"] = json!([{"path": {"value": "/mine"}}]);
    apply_and_expect(&plane, &within, "Accepted", "HostnameConflict")?;
    let old_name = format!("{old_team}/orders");
    ensure!(
        rendered(&plane)?.get(&old_name) == before.get(&old_name),
        "touched"
    );
    ensure!(!rendered(&plane)?.contains_key(&format!("{young_team}/orders")));

    plane.kube.delete("SplitTokenRoute", &old_team, "orders")?;
    expect(
        &plane,
        &route(&plane, &young_team, "orders"),
        "Accepted",
        "Accepted",
    )?;
    wait_rendered(&plane, &old_name, "gone", |found| found.is_none())
}

#[test]
fn a_host_that_was_given_to_two_teams_is_shared_by_paths() -> Result<()> {
    let plane = plane()?;
    let (one, two) = (plane.team("one", &json!({}))?, plane.team("two", &json!({}))?);
    let host = plane.host("api");
    let policy = format!(
        "urlBackends: true\nhostnames: [{{hostname: {host}, namespaces: [{one}, {two}]}}, {{hostname: {}, namespaces: [{one}]}}]",
        plane.host("own")
    );
    let _operator = plane.operator(&policy)?;
    let with = |namespace: &str, name: &str, host: &str, path: &str| {
        let mut route = route(&plane, namespace, name);
        route["spec"]["hostnames"] = json!([host]);
        route["spec"]["rules"][0]["matches"] = json!([{"path": {"value": path}}]);
        if let Some(spec) = route["spec"].as_object_mut() {
            spec.remove("tokenEndpoints");
        }
        route
    };
    apply_and_expect(&plane, &with(&one, "a", &host, "/a"), "Accepted", "Accepted")?;
    apply_and_expect(&plane, &with(&two, "b", &host, "/b"), "Accepted", "Accepted")?;
    let_a_second_pass()?;
    apply_and_expect(
        &plane,
        &with(&two, "c", &host, "/a/below"),
        "Accepted",
        "PathConflict",
    )?;
    apply_and_expect(
        &plane,
        &with(&one, "own", &plane.host("own"), "/"),
        "Accepted",
        "Accepted",
    )?;
    apply_and_expect(
        &plane,
        &with(&two, "own", &plane.host("own"), "/"),
        "Accepted",
        "HostnameNotAllowed",
    )?;
    apply_and_expect(
        &plane,
        &with(&two, "any", &plane.host("any"), "/"),
        "Accepted",
        "HostnameNotAllowed",
    )?;
    Ok(())
}

#[test]
fn a_namespace_is_served_while_its_labels_say_so() -> Result<()> {
    let plane = plane()?;
    let team = plane.team("team", &json!({"tier": "bronze"}))?;
    let policy = "urlBackends: true\nnamespaceSelector: {matchLabels: {tier: gold}}";
    let _operator = plane.operator(policy)?;
    let orders = route(&plane, &team, "orders");
    apply_and_expect(&plane, &orders, "Accepted", "NamespaceNotAllowed")?;
    let label = |tier: &str| {
        let members = json!({"metadata": {"labels": {"tier": tier}}});
        plane.kube.merge("Namespace", "", &team, &members)
    };
    label("gold")?;
    expect(&plane, &orders, "Accepted", "Accepted")?;
    label("bronze")?;
    expect(&plane, &orders, "Accepted", "NamespaceNotAllowed")?;
    wait_rendered(&plane, &format!("{team}/orders"), "gone", |found| found.is_none())
}

#[test]
fn only_issuers_and_backends_of_the_policy_may_be_used() -> Result<()> {
    let plane = plane()?;
    let team = plane.team("team", &json!({}))?;
    let _operator = plane.operator("issuers: ['https://iam.example/realms/']")?;
    let service = json!({"name": "orders", "port": 80});
    let with = |name: &str, issuer: &str, backend: &Value| plane.route(&team, name, issuer, backend);
    let good = "https://iam.example/realms/shop";
    apply_and_expect(&plane, &with("good", good, &service), "Accepted", "Accepted")?;
    for bad in [
        "https://iam.example.evil/realms/shop",
        "https://iam.example/other",
    ] {
        apply_and_expect(
            &plane,
            &with("bad", bad, &service),
            "Accepted",
            "UnsupportedValue",
        )?;
    }
    // Whoever names the keys says who an issuer is.
    for (jwks, reason) in [
        ("https://evil.example/jwks", "UnsupportedValue"),
        ("https://iam.example/realms/../other/jwks", "Invalid"),
        ("https://iam.example/realms/%2e%2e/other/jwks", "Invalid"),
    ] {
        let mut route = with("keys", good, &service);
        route["spec"]["issuer"]["endpoints"] = json!({"jwks": jwks});
        apply_and_expect(&plane, &route, "Accepted", reason)?;
    }
    let url = json!({"url": "http://10.0.0.1"});
    apply_and_expect(&plane, &with("url", good, &url), "Accepted", "UnsupportedValue")?;
    Ok(())
}

#[test]
fn fat_routes_are_refused_and_leave_others_alone() -> Result<()> {
    let plane = plane()?;
    let (fat, lean) = (plane.team("fat", &json!({}))?, plane.team("lean", &json!({}))?);
    let _operator = plane.operator("urlBackends: true")?;
    apply_and_expect(&plane, &route(&plane, &lean, "lean"), "Accepted", "Accepted")?;
    let before = rendered(&plane)?;
    let headers: Vec<Value> = (0..16)
        .map(|n| json!({"name": format!("X-{n}"), "value": "v".repeat(4000)}))
        .collect();
    for number in 0..5 {
        let mut route = route(&plane, &fat, &format!("fat-{number}"));
        let mut rule = route["spec"]["rules"][0].clone();
        rule["requestHeaders"] = json!({"set": headers});
        let rules = (0..3).map(|n| {
            let mut rule = rule.clone();
            rule["name"] = json!(format!("rule-{n}"));
            rule["matches"] = json!([{"path": {"value": format!("/{n}")}}]);
            rule
        });
        route["spec"]["rules"] = rules.collect();
        let told = apply_and_expect(&plane, &route, "Accepted", "UnsupportedValue")?;
        let said = told["status"]["conditions"].to_string();
        ensure!(said.contains("131072"), "{said}");
    }
    assert_eq!(rendered(&plane)?, before);
    Ok(())
}

#[test]
fn another_class_is_another_s_business() -> Result<()> {
    let plane = plane()?;
    let _operator = plane.operator("urlBackends: true")?;
    let mut foreign = route(&plane, &plane.name, "foreign");
    foreign["spec"]["className"] = json!(format!("{}-other", plane.name));
    plane.kube.apply(&foreign)?;
    // Whoever is told about later has been looked at later.
    apply_and_expect(&plane, &route(&plane, &plane.name, "own"), "Accepted", "Accepted")?;
    let found = plane
        .kube
        .find("SplitTokenRoute", &plane.name, "foreign")?
        .context("gone")?;
    ensure!(found["status"].is_null(), "{}", found["status"]);
    let served: Vec<String> = rendered(&plane)?.into_keys().collect();
    assert_eq!(served, [format!("{}/own", plane.name)]);
    // An issuer of another class is none.
    let issuer = json!({
        "apiVersion": "splittoken.dev/v1alpha1", "kind": "SplitTokenIssuer",
        "metadata": {"name": "login", "namespace": plane.name},
        "spec": {"className": format!("{}-other", plane.name), "url": "https://iam.example"},
    });
    plane.kube.apply(&issuer)?;
    let mut own = route(&plane, &plane.name, "own");
    let spec = own["spec"].as_object_mut().context("no spec")?;
    spec.remove("issuer");
    spec.insert("issuerRef".to_owned(), json!({"name": "login"}));
    apply_and_expect(&plane, &own, "ResolvedRefs", "IssuerNotFound")?;
    Ok(())
}
