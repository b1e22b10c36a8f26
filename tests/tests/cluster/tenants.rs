//! Teams on one installation: what one does is no matter of another's.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::cluster::{Cluster, Release};

use crate::shop::Shop;

#[test]
fn a_tenant_takes_neither_a_host_nor_a_service_of_another() -> Result<()> {
    let _release = Release::installed()?;
    let (victim, tenant) = (Shop::open("victim")?, Shop::open("tenant")?);
    victim.serve(&[])?;
    tenant.serve(&[])?;
    let token = victim.token("orders:read")?;

    let mut thief = tenant.route(&[]);
    thief["metadata"]["name"] = json!("thief");
    thief["spec"]["hostnames"] = json!([victim.host()]);
    thief["spec"]["rules"][0]["name"] = json!("stolen");
    let mut reach = tenant.route(&[]);
    reach["metadata"]["name"] = json!("reach");
    reach["spec"]["hostnames"] = json!(["reach.tenant.example"]);
    reach["spec"]["rules"][0]["backendRefs"] = json!([{"name": "orders", "namespace": "victim", "port": 80}]);
    tenant.namespace.apply(&[thief, reach])?;
    expect_reason(&tenant, "thief", "Accepted", "HostnameConflict")?;
    expect_reason(&tenant, "reach", "ResolvedRefs", "RefNotPermitted")?;

    // The victim's host is still the victim's, with its tokens and its API.
    let seen = victim.call(&token)?;
    assert_eq!(seen["host"].as_str().map(str::is_empty), Some(false));
    assert!(victim.call(&tenant.token("orders:read")?).is_err());
    tenant.call(&tenant.token("orders:read")?)?;
    Ok(())
}

fn expect_reason(shop: &Shop, route: &str, condition: &str, reason: &str) -> Result<()> {
    let wanted = format!("--for=jsonpath={{.status.conditions[?(@.type=='{condition}')].reason}}={reason}");
    let route = format!("splittokenroute/{route}");
    let outcome = shop
        .namespace
        .kubectl(&["wait", &wanted, &route, "--timeout=30s"]);
    outcome.map(drop).with_context(|| {
        let object = shop.namespace.kubectl(&["get", &route, "--output=json"]);
        let object: Value = object
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        format!("{:#}", object["status"])
    })
}

/// By its name it looks like any other, and what it says of itself is a discovery document.
#[test]
fn the_gateways_do_not_connect_to_the_api_server_for_a_tenant() -> Result<()> {
    let _release = Release::installed()?;
    let tenant = Cluster::shared()?.namespace("curious")?;
    tenant.apply(&[
        json!({
            "apiVersion": "splittoken.dev/v1alpha1", "kind": "SplitTokenIssuer", "metadata": {"name": "login"},
            "spec": {"url": "https://kubernetes.default.svc"},
        }),
        json!({
            "apiVersion": "splittoken.dev/v1alpha1", "kind": "SplitTokenRoute", "metadata": {"name": "orders"},
            "spec": {
                "hostnames": ["curious.example"],
                "issuerRef": {"name": "login"},
                "tokenEndpoints": {"token": {}},
                "rules": [{"name": "api", "backendRefs": [{"name": "orders", "port": 80}]}],
            },
        }),
    ])?;
    let condition = "{.status.conditions[?(@.type=='Reachable')]";
    let wanted = format!("--for=jsonpath={condition}.reason}}=Unreachable");
    tenant.kubectl(&["wait", &wanted, "splittokenissuer/login", "--timeout=30s"])?;
    let message = format!("--output=jsonpath={condition}.message}}");
    let message = tenant.kubectl(&["get", "splittokenissuer/login", &message])?;
    ensure!(message.contains("the address is not allowed here"), "{message}");
    Ok(())
}
