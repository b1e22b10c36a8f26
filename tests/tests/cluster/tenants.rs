//! Teams on one installation: what one does is no matter of another's.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::cluster::{Cluster, Release};
use splittoken_tests::{secret, wait};

use crate::shop::{READY, Shop};

/// The cluster's DNS may remember for half a minute that there was no such name, and gateways ask less and less often.
const RESOLVED: Duration = Duration::from_secs(300);

#[test]
fn a_tenant_takes_neither_a_host_nor_a_service_nor_a_secret_of_another() -> Result<()> {
    let (victim, tenant) = (Shop::open("victim")?, Shop::open("tenant")?);
    let _release = Release::installed()?;
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
    victim.namespace.apply(&[json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "signing"},
        "stringData": {"hmac": secret::text()},
    })])?;
    let mut peek = tenant.route(&[]);
    peek["metadata"]["name"] = json!("peek");
    peek["spec"]["hostnames"] = json!(["peek.tenant.example"]);
    peek["spec"]["issuer"]["algorithms"] = json!(["HS256"]);
    peek["spec"]["issuer"]["hmacSecretRef"] = json!({"name": "signing"});
    tenant.namespace.apply(&[thief, reach, peek])?;
    expect_reason(&tenant, "thief", "Accepted", "HostnameConflict")?;
    expect_reason(&tenant, "reach", "ResolvedRefs", "RefNotPermitted")?;
    expect_reason(&tenant, "peek", "ResolvedRefs", "SecretNotFound")?;

    // The victim's host is still the victim's, with its tokens and its API.
    let seen = victim.call(&token)?;
    assert_eq!(seen["host"].as_str().map(str::is_empty), Some(false));
    assert!(victim.call(&tenant.token("orders:read")?).is_err());
    tenant.call(&tenant.token("orders:read")?)?;
    Ok(())
}

#[test]
fn a_bad_route_is_refused_and_the_good_ones_go_on() -> Result<()> {
    let shop = Shop::open("bad-routes")?;
    let _release = Release::installed()?;
    shop.serve(&["orders:read"])?;
    let token = shop.token("orders:read")?;

    // What the schema refuses does not even get in, as an edit or as a new route.
    let mut malformed = shop.route(&["orders:read"]);
    malformed["spec"]["rules"][0]["matches"] = json!([{"path": {"value": "no-slash"}}]);
    let refusal = shop.namespace.apply(&[malformed]).err().context("it was taken")?;
    let refusal = format!("{refusal:#}");
    assert!(
        refusal.contains("spec.rules[0].matches[0].path.value"),
        "{refusal}"
    );
    // What only the operator can tell, it says, and serves the rest.
    let mut homeless = shop.route(&[]);
    homeless["metadata"]["name"] = json!("homeless");
    homeless["spec"]["rules"][0]["backendRefs"][0]["name"] = json!("nowhere");
    homeless["spec"]["rules"][0]["matches"] = json!([{"path": {"value": "/homeless"}}]);
    homeless["spec"]["tokenEndpoints"] = Value::Null;
    shop.namespace.apply(&[homeless])?;
    expect_reason(&shop, "homeless", "ResolvedRefs", "BackendNotFound")?;
    shop.wait_ready()?;
    shop.call(&token)?;
    Ok(())
}

fn expect_reason(shop: &Shop, route: &str, condition: &str, reason: &str) -> Result<()> {
    let wanted = format!("--for=jsonpath={{.status.conditions[?(@.type=='{condition}')].reason}}={reason}");
    let route = format!("splittokenroute/{route}");
    let outcome = shop.namespace.kubectl(&["wait", &wanted, &route, READY]);
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
    tenant.kubectl(&["wait", &wanted, "splittokenissuer/login", READY])?;
    let message = format!("--output=jsonpath={condition}.message}}");
    let message = tenant.kubectl(&["get", "splittokenissuer/login", &message])?;
    ensure!(message.contains("the address is not allowed here"), "{message}");
    Ok(())
}

/// Not by its Service, but where it really is: by its address, and by a name that a tenant has made for that.
#[test]
fn nor_do_they_connect_to_what_stands_behind_its_service() -> Result<()> {
    let _release = Release::installed()?;
    let cluster = Cluster::shared()?;
    let tenant = cluster.namespace("prying")?;
    let told = |path: &str| {
        let output = format!("--output=jsonpath={{.items[0].{path}}}");
        let selector = "--selector=kubernetes.io/service-name=kubernetes";
        cluster.kubectl(&["get", "endpointslices", "--namespace=default", selector, &output])
    };
    let (address, port) = (told("endpoints[0].addresses[0]")?, told("ports[0].port")?);
    let (address, port) = (address.trim(), port.trim().parse::<u16>()?);
    let issuer = |name: &str, url: String| {
        json!({
            "apiVersion": "splittoken.dev/v1alpha1", "kind": "SplitTokenIssuer", "metadata": {"name": name},
            "spec": {"url": url},
        })
    };
    let kind = if address.contains(':') { "IPv6" } else { "IPv4" };
    let host = if kind == "IPv6" {
        format!("[{address}]")
    } else {
        address.to_owned()
    };
    tenant.apply(&[
        issuer("direct", format!("https://{host}:{port}")),
        issuer("by-name", format!("https://trap.prying.svc:{port}")),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "trap"},
            "spec": {"clusterIP": "None", "ipFamilies": [kind], "ports": [{"port": port}]},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "trap", "labels": {"kubernetes.io/service-name": "trap"}},
            "addressType": kind, "endpoints": [{"addresses": [address]}], "ports": [{"port": port}],
        }),
        json!({
            "apiVersion": "splittoken.dev/v1alpha1", "kind": "SplitTokenRoute", "metadata": {"name": "orders"},
            "spec": {
                "hostnames": ["prying.example"],
                "issuerRef": {"name": "by-name"},
                "tokenEndpoints": {"token": {}},
                "rules": [{"name": "api", "backendRefs": [{"name": "orders", "port": 80}]}],
            },
        }),
    ])?;
    let accepted = "{.status.conditions[?(@.type=='Accepted')].reason}";
    let wanted = format!("--for=jsonpath={accepted}=UnsupportedValue");
    tenant.kubectl(&["wait", &wanted, "splittokenissuer/direct", READY])?;
    // Until the cluster's DNS knows the name, it leads nowhere.
    let mut message = String::new();
    let output = "--output=jsonpath={.status.conditions[?(@.type=='Reachable')].message}";
    wait::until_true(RESOLVED, "the name to lead to the API server", || {
        message = tenant
            .kubectl(&["get", "splittokenissuer/by-name", output])
            .unwrap_or_else(|error| error.to_string());
        message.contains("the address is not allowed here")
    })
    .with_context(|| message.clone())
}
