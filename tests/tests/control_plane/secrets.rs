//! Secret material: where it goes, where it never goes, and when a change of it takes effect.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::certs::Authority;
use splittoken_tests::http2_upstream::{Http2Upstream, Settings};
use splittoken_tests::jwt::Key;
use splittoken_tests::mint::Mint;
use splittoken_tests::wait;

use super::{AT_ONCE, Stage, URLS, apply_and_expect, expect, rendered, wait_rendered};

const KEY: &str = "marked-hmac-key-0123456789abcdef0123456789";
const OTHER: &str = "another-hmac-key-fedcba9876543210fedcba987";
/// Ten times the minute after which a Secret is read again.
const MINUTES: Duration = Duration::from_secs(600);

fn secret(namespace: &str, key: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hmac", "namespace": namespace},
        "data": {"hmac": STANDARD.encode(key)},
    })
}

fn stage() -> Result<Stage> {
    Stage::with(ApiServer::shared()?, Mint::with(Key::hmac(KEY.as_bytes()))?)
}

fn hmac_route(stage: &Stage, namespace: &str) -> Value {
    let plane = &stage.installation;
    let mut route = plane.route(
        namespace,
        "orders",
        &stage.mint.issuer(),
        &json!({"url": stage.upstream.url()}),
    );
    route["spec"]["issuer"]["algorithms"] = json!(["HS256"]);
    route["spec"]["issuer"]["hmacSecretRef"] = json!({"name": "hmac"});
    route
}

#[test]
fn a_key_reaches_the_gateways_and_nobody_else() -> Result<()> {
    let stage = stage()?;
    let plane = &stage.installation;
    let operator = plane.operator(URLS)?;
    let pod = plane.pod(1)?;
    let team = plane.team("team", &json!({}))?;
    let route = hmac_route(&stage, &team);
    let host = plane.host("orders");
    let name = format!("{team}/orders");

    apply_and_expect(plane, &route, "ResolvedRefs", "SecretNotFound")?;
    ensure!(
        !rendered(plane)?.contains_key(&name),
        "a route without its key is none"
    );
    assert_eq!(pod.call(&host, "/", None)?, 404);
    let start = Instant::now();
    plane.kube.apply(&secret(&team, KEY))?;
    wait::until_true(MINUTES, "the route to be served", || {
        pod.call(&host, "/", None).is_ok_and(|status| status == 401)
    })?;
    println!("a Secret that comes later is found after {:?}", start.elapsed());
    expect(plane, &route, "Ready", "Ready")?;
    let token = pod.token(&host)?;
    assert_eq!(pod.call(&host, "/", Some(&token))?, 200);

    // A Secret of the same name stands beside the ConfigMap, and the key is nowhere else.
    let object = &rendered(plane)?[&name].object;
    let beside = plane
        .kube
        .find("Secret", &plane.name, object)?
        .context("no Secret")?;
    let text = STANDARD.decode(beside["data"]["secrets.json"].as_str().context("no entry")?)?;
    let text = String::from_utf8(text)?;
    let forms = [
        KEY.to_owned(),
        STANDARD.encode(KEY),
        STANDARD.encode(KEY).trim_end_matches('=').to_owned(),
    ];
    ensure!(
        forms.iter().any(|form| text.contains(form)),
        "the key is not where it should be"
    );
    let kube = &plane.kube;
    wait::until_true(AT_ONCE, "an Event to look at", || {
        kube.list("Event", &team, "")
            .is_ok_and(|events| !events.is_empty())
    })?;
    let mut seen = vec![
        ("the operator's log", operator.text()),
        ("the operator's metrics", operator.admin("/metrics")?.text()),
        ("the gateway's log", pod.text()),
        ("the gateway's /config", pod.admin("/config")?.text()),
        ("the gateway's metrics", pod.admin("/metrics")?.text()),
    ];
    for (kind, namespace) in [
        ("ConfigMap", &plane.name),
        ("Event", &team),
        ("Event", &plane.name),
        ("SplitTokenRoute", &team),
        ("Lease", &plane.name),
    ] {
        seen.push((kind, json!(kube.list(kind, namespace, "")?).to_string()));
    }
    for (place, text) in seen {
        ensure!(
            !forms.iter().any(|form| text.contains(form)),
            "the key is in {place}"
        );
    }

    // The route goes, and its key with it.
    let object = object.clone();
    kube.delete("SplitTokenRoute", &team, "orders")?;
    wait_rendered(plane, &name, "gone", |found| found.is_none())?;
    wait::until_true(AT_ONCE, "the Secret to go", || {
        kube.find("Secret", &plane.name, &object)
            .is_ok_and(|found| found.is_none())
    })
}

#[test]
fn a_changed_key_takes_effect_at_once_when_the_route_is_touched_and_within_a_minute_else() -> Result<()> {
    let stage = stage()?;
    let plane = &stage.installation;
    let _operator = plane.operator(URLS)?;
    let pod = plane.pod(1)?;
    let route = hmac_route(&stage, &plane.name);
    plane.kube.apply(&secret(&plane.name, KEY))?;
    stage.served(&route)?;
    let host = plane.host("orders");
    pod.token(&host)?;

    // The provider's tokens can no longer be verified.
    plane.kube.apply(&secret(&plane.name, OTHER))?;
    let touch = json!({"metadata": {"annotations": {"touched": "now"}}});
    let start = Instant::now();
    plane
        .kube
        .merge("SplitTokenRoute", &plane.name, "orders", &touch)?;
    wait::until_true(AT_ONCE, "tokens to be refused", || pod.token(&host).is_err())?;
    println!("a changed Secret of a touched route: {:?}", start.elapsed());

    let start = Instant::now();
    plane.kube.apply(&secret(&plane.name, KEY))?;
    wait::until_true(MINUTES, "tokens to be given again", || pod.token(&host).is_ok())?;
    println!("a changed Secret that nobody tells of: {:?}", start.elapsed());

    // What is served is not taken away from one moment to the next, but a deleted key ends it.
    plane.kube.delete("Secret", &plane.name, "hmac")?;
    let touch = json!({"metadata": {"annotations": {"touched": "again"}}});
    plane
        .kube
        .merge("SplitTokenRoute", &plane.name, "orders", &touch)?;
    expect(plane, &route, "ResolvedRefs", "SecretNotFound")?;
    wait::until_true(AT_ONCE, "the route to go", || {
        pod.call(&host, "/", None).is_ok_and(|status| status == 404)
    })
}

/// A client certificate travels as the key of an issuer does: in the rendered Secret, and nowhere else.
#[test]
fn a_client_certificate_reaches_the_gateways_and_nobody_else() -> Result<()> {
    let stage = stage()?;
    let plane = &stage.installation;
    let operator = plane.operator(URLS)?;
    let pod = plane.pod(1)?;
    let team = plane.team("team", &json!({}))?;
    let (authority, clients) = (Authority::new()?, Authority::new()?);
    let (config, _) = authority
        .certify(&["127.0.0.1"])?
        .server(&["h2"], Some(&clients))?;
    let upstream = Http2Upstream::with(Settings {
        tls: Some(config),
        ..Settings::default()
    })?;
    let shown = clients.certify_client("shop")?;
    plane.kube.apply(&secret(&team, KEY))?;
    plane.kube.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca", "namespace": team},
        "data": {"ca.crt": authority.pem()},
    }))?;
    let mut route = hmac_route(&stage, &team);
    route["spec"]["rules"][0]["backendRefs"][0] = json!({
        "url": format!("https://{}", upstream.address()),
        "tls": {
            "mode": "Custom", "caCertificateRefs": [{"name": "ca"}], "clientCertificateRef": {"name": "shop-client"},
        },
    });
    apply_and_expect(plane, &route, "ResolvedRefs", "SecretNotFound")?;
    plane.kube.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": "shop-client", "namespace": team},
        "data": {"tls.crt": STANDARD.encode(&shown.pem), "tls.key": STANDARD.encode(&shown.key_pem)},
    }))?;
    let host = plane.host("orders");
    wait::until_true(MINUTES, "the certificate to be found", || {
        let ready = plane.kube.condition("SplitTokenRoute", &team, "orders", "Ready");
        ready.is_ok_and(|(status, _)| status == "True")
    })?;
    let token = pod.token(&host)?;
    assert_eq!(pod.call(&host, "/", Some(&token))?, 200);

    let object = &rendered(plane)?[&format!("{team}/orders")].object;
    let beside = plane
        .kube
        .find("Secret", &plane.name, object)?
        .context("no Secret")?;
    // Base64 in base64: what is looked for is a line of the key, in the forms that it may have.
    let text = STANDARD.decode(beside["data"]["secrets.json"].as_str().context("no entry")?)?;
    let key = URL_SAFE_NO_PAD.encode(&shown.key_pem);
    ensure!(
        String::from_utf8(text)?.contains(&key),
        "the key is not where it should be"
    );
    let line = shown.key_pem.lines().nth(1).context("a line")?;
    let forms = [key, STANDARD.encode(&shown.key_pem), line.to_owned()];
    let kube = &plane.kube;
    let mut seen = vec![
        ("the operator's log", operator.text()),
        ("the gateway's log", pod.text()),
        ("the gateway's /config", pod.admin("/config")?.text()),
    ];
    for (kind, namespace) in [
        ("ConfigMap", &plane.name),
        ("Event", &team),
        ("SplitTokenRoute", &team),
    ] {
        seen.push((kind, json!(kube.list(kind, namespace, "")?).to_string()));
    }
    for (place, text) in seen {
        ensure!(
            !forms.iter().any(|form| text.contains(form)),
            "the key is in {place}"
        );
    }
    Ok(())
}
