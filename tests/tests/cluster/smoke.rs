//! The cluster itself, before anything of ours is on it.

use anyhow::{Context as _, Result};
use serde_json::Value;
use splittoken_tests::cluster::{Cluster, Workload};
use splittoken_tests::jwt;
use splittoken_tests::oidc::Registration;
use splittoken_tests::wait;

#[test]
fn pods_run_and_find_each_other_by_name_and_by_address() -> Result<()> {
    let namespace = Cluster::shared()?.namespace("smoke-names")?;
    namespace.run(&[Workload::echo("echo", "one").replicas(2)])?;
    for url in [
        "http://echo/a?b=c",
        "http://echo.smoke-names.svc.cluster.local/a?b=c",
    ] {
        namespace.wait_for(200, url, &[])?;
        let answer = namespace.get(url, &["-header", "X-One: two"])?;
        let echo: Value = serde_json::from_str(&answer.body)?;
        assert_eq!(echo["path"], "/a?b=c");
        assert_eq!(echo["headers"]["X-One"][0], "two");
        assert_eq!(echo["message"], "one");
    }
    let service = namespace.kubectl(&["get", "service", "echo", "--output", "jsonpath={.spec.clusterIP}"])?;
    assert_eq!(namespace.get(&format!("http://{service}/"), &[])?.status, 200);
    let pods = namespace.addresses("app=echo")?;
    assert_eq!(pods.len(), 2);
    for pod in pods {
        assert_eq!(namespace.get(&format!("http://{pod}:8080/"), &[])?.status, 200);
    }
    Ok(())
}

#[test]
fn a_rolled_deployment_loses_no_request() -> Result<()> {
    let namespace = Cluster::shared()?.namespace("smoke-rolling")?;
    namespace.run(&[Workload::echo("echo", "one").replicas(2)])?;
    namespace.wait_for(200, "http://echo/", &[])?;
    namespace.run(&[Workload::load("load", &["http://echo/"])])?;
    namespace.counts_after("load", 200)?.expect_none_failed()?;
    namespace.run(&[Workload::echo("echo", "two").replicas(2)])?;
    let counts = namespace.counts_after("load", 500)?;
    println!("{} requests while a Deployment was rolled", counts.sent);
    counts.expect_none_failed()?;
    // kube-proxy lags behind.
    wait::until_true(wait::START, "the new ones to answer", || {
        let answer = namespace.get("http://echo/", &[]);
        let echo = answer.and_then(|answer| Ok(serde_json::from_str::<Value>(&answer.body)?));
        echo.is_ok_and(|echo| echo["message"] == "two")
    })
}

#[test]
fn redis_and_a_provider_run_in_pods() -> Result<()> {
    let namespace = Cluster::shared()?.namespace("smoke-parts")?;
    let client = Registration::new("service");
    namespace.run(&[
        Workload::redis("redis"),
        Workload::provider("provider", namespace.name(), &client),
    ])?;
    let issuer = Workload::issuer("provider", namespace.name());
    namespace.wait_for(200, &format!("{issuer}/.well-known/openid-configuration"), &[])?;
    let basic = format!("Authorization: Basic {}", client.basic_credentials());
    let answer = namespace.get(
        &format!("{issuer}/token"),
        &["-header", &basic, "-form", "grant_type=client_credentials"],
    )?;
    let body: Value = serde_json::from_str(&answer.body).with_context(|| answer.body.clone())?;
    let token = body["access_token"].as_str().context(answer.body)?;
    assert_eq!(jwt::claims(token)?["iss"], issuer);
    Ok(())
}
