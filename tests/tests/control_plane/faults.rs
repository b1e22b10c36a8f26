//! Without an API server, without an operator: what runs goes on, and what starts again serves what it served.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::installation::{Installation, Operator};
use splittoken_tests::mint::Mint;
use splittoken_tests::wait;
use splittoken_tests::wire::Step;

use super::status::with_issuer;
use super::{Stage, URLS, apply_and_expect, quiet, rendered};

/// Ten times the promise that a restarted container serves in three seconds.
const RESTART: Duration = Duration::from_secs(30);
/// Ten times the half a minute after which clients of the API server try again.
const BACK: Duration = Duration::from_secs(300);

/// Starts an operator that has ended again: it may have been away for longer than a leader may be unsure of its lease.
fn keep_running(plane: &Installation, operator: &mut Operator) -> Result<()> {
    if operator.process().is_running() {
        return Ok(());
    }
    operator.says("the lease is lost")?;
    println!("the operator ended, as it must, and is started again");
    *operator = plane.operator(URLS)?;
    Ok(())
}

#[test]
fn without_an_api_server_traffic_goes_on_and_a_restarted_gateway_serves_what_it_served() -> Result<()> {
    let mut server = ApiServer::start()?;
    let stage = Stage::with(&server, Mint::start()?)?;
    let plane = &stage.installation;
    let mut operator = plane.operator(URLS)?;
    let (steady, mut restarted) = (plane.pod(1)?, plane.pod(2)?);
    let mut route = stage.route("orders");
    stage.served(&route)?;
    let host = plane.host("orders");
    let token = steady.token(&host)?;
    plane.wait_kept(2, "routes.json", &host)?;

    server.stop()?;
    assert_eq!(steady.call(&host, "/", Some(&token))?, 200);
    restarted.process().kill()?;
    drop(restarted);
    let start = Instant::now();
    let mut restarted = plane.pod_of(2)?;
    let outcome = wait::until_true(RESTART, "the restarted gateway to serve", || {
        restarted.call(&host, "/", None).is_ok_and(|status| status == 401)
    });
    outcome.with_context(|| restarted.text())?;
    println!(
        "a gateway that restarts without an API server serves after {:?}",
        start.elapsed()
    );
    ensure!(start.elapsed() < RESTART);
    restarted.wait_ready()?;
    let fresh = restarted.token(&host)?;
    assert_eq!(restarted.call(&host, "/", Some(&fresh))?, 200);
    assert_eq!(steady.call(&host, "/", Some(&token))?, 200);

    server.restart()?;
    let start = Instant::now();
    route["spec"]["rules"][0]["authorization"] = json!({"scopes": ["orders:write"]});
    plane.kube.apply(&route)?;
    for (pod, token) in [(&steady, &token), (&restarted, &fresh)] {
        wait::until_true(BACK, "an edit to be enforced again", || {
            keep_running(plane, &mut operator).is_ok()
                && pod
                    .call(&host, "/", Some(token))
                    .is_ok_and(|status| status == 403)
        })?;
    }
    println!(
        "edits are enforced {:?} after the API server is back",
        start.elapsed()
    );
    drop(operator);
    Ok(())
}

#[test]
fn without_an_operator_traffic_goes_on_and_the_next_one_writes_nothing_again() -> Result<()> {
    let stage = Stage::new()?;
    let plane = &stage.installation;
    let mut operator = plane.operator(URLS)?;
    let pods = [plane.pod(1)?, plane.pod(2)?];
    for name in ["orders", "payments"] {
        stage.served(&stage.route(name))?;
    }
    let host = plane.host("orders");
    let token = pods[0].token(&host)?;
    let versions = || {
        let routes = plane.kube.list("SplitTokenRoute", &plane.name, "")?;
        let versions = routes
            .iter()
            .map(|route| route["metadata"]["resourceVersion"].clone());
        anyhow::Ok((versions.collect::<Vec<_>>(), rendered(plane)?))
    };
    let before = versions()?;

    operator.process().kill()?;
    assert_eq!(pods[0].call(&host, "/", Some(&token))?, 200);
    // A pod that starts meanwhile serves too.
    let third = plane.pod(3)?;
    assert_eq!(third.call(&host, "/", None)?, 401);

    let next = plane.operator(URLS)?;
    wait::until_true(
        BACK,
        "the next operator to lead and to have asked all pods",
        || {
            let is = |name: &str, value: u64| next.metric(name).is_ok_and(|found| found == value);
            is("leads", 1) && is("gateway_pods_programmed", 3)
        },
    )?;
    // It is told of a third route only after it has looked at the other two. Nothing is rendered of that one, so that all
    // there is to say of it is said once, however slow the pods are.
    let later = with_issuer(stage.route("later"), "nobody");
    apply_and_expect(plane, &later, "ResolvedRefs", "IssuerNotFound")?;
    assert_eq!(quiet(|| next.metric("status_writes_total"))?, 1);
    assert_eq!(next.metric("writes_total")?, 0);
    let (mut after, objects) = versions()?;
    after.retain(|version| before.0.contains(version));
    assert_eq!((after, objects), before);
    Ok(())
}

/// As in an upgrade in which the gateways come first.
#[test]
fn a_gateway_that_can_read_no_route_is_not_ready_until_the_operator_has_rendered_anew() -> Result<()> {
    let stage = Stage::new()?;
    let plane = &stage.installation;
    let operator = plane.operator(URLS)?;
    let steady = plane.pod(1)?;
    stage.served(&stage.route("orders"))?;
    let host = plane.host("orders");
    let token = steady.token(&host)?;
    drop(operator);

    let one = rendered(plane)?
        .remove(&format!("{}/orders", plane.name))
        .context("not rendered")?;
    let other = json!({"data": {"route.json": r#"{"revision": "1", "config": {"format": 99}}"#}});
    plane.kube.merge("ConfigMap", &plane.name, &one.object, &other)?;
    wait::until_true(BACK, "the refusal to be told", || {
        steady
            .admin("/config")
            .is_ok_and(|answer| answer.text().contains("wire_format"))
    })?;
    assert_eq!(steady.call(&host, "/", Some(&token))?, 200);

    let newer = plane.pod_of(2)?;
    wait::until_true(BACK, "the newer one to say why it waits", || {
        newer
            .text()
            .contains("waiting until the operator has rendered them anew")
    })?;
    let is_ready = |status: u16| newer.admin("/readyz").is_ok_and(|answer| answer.status == status);
    wait::until_true(BACK, "the newer one to say that it is not ready", || {
        is_ready(503)
    })?;
    let _operator = plane.operator(URLS)?;
    wait::until_true(BACK, "the newer one to be ready", || is_ready(200))?;
    assert_eq!(newer.call(&host, "/", Some(&newer.token(&host)?))?, 200);
    assert_eq!(steady.call(&host, "/", Some(&token))?, 200);
    Ok(())
}

/// Promised: a pod that is restarted while the provider is down serves. Its keys lie on its disk; there is no Redis here.
#[test]
fn a_gateway_that_restarts_while_the_provider_is_down_has_its_keys_on_its_disk() -> Result<()> {
    let stage = Stage::new()?;
    let plane = &stage.installation;
    let _operator = plane.operator(URLS)?;
    let mut restarted = plane.pod(1)?;
    let mut route = stage.route("orders");
    // All that is asked of it below is to issue: its metadata and its keys are what is not to be had.
    route["spec"]["issuer"]["endpoints"] = json!({"token": format!("{}/token", stage.mint.issuer())});
    stage.served(&route)?;
    let host = plane.host("orders");
    restarted.token(&host)?;
    plane.wait_kept(1, "keys-", "\"keys\"")?;

    for path in ["/.well-known/openid-configuration", "/jwks"] {
        stage.mint.play(path, vec![Step::Close]);
    }
    restarted.process().kill()?;
    drop(restarted);
    let start = Instant::now();
    let (restarted, stranger) = (plane.pod(1)?, plane.pod(2)?);
    let token = restarted.token(&host)?;
    assert_eq!(restarted.call(&host, "/", Some(&token))?, 200);
    println!(
        "a gateway that restarts without a provider verifies after {:?}",
        start.elapsed()
    );
    // On another disk there is nothing to verify with.
    let error = stranger.token(&host).err().context("a token without keys")?;
    ensure!(format!("{error:#}").contains("503"), "{error:#}");
    Ok(())
}
