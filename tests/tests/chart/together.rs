//! The programs with the accounts, arguments and files that the chart gives them: enough to work.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::certs::Authority;
use splittoken_tests::helm::{Helm, RELEASE};
use splittoken_tests::http::Client;
use splittoken_tests::mint::Mint;
use splittoken_tests::redis::Connection;
use splittoken_tests::tls::Session;
use splittoken_tests::upstream::Upstream;
use splittoken_tests::{gateway, parts, secret, wait};

use super::install_monitoring_kinds;
use super::lifecycle::there;
use super::release::{Release, address, wait_ready};

/// An alert of a metric with another name would never fire.
fn every_alert_is_of_metrics_that_there_are(metrics: &str) -> Result<()> {
    let values = json!({"metrics": {"prometheusRule": {"enabled": true}}});
    let rendered = Helm::newest()?.template(&values)?;
    let rule = rendered.get("PrometheusRule", RELEASE)?.to_string();
    let words = rule.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names: BTreeSet<&str> = words.filter(|word| word.starts_with("splittoken_")).collect();
    ensure!(names.len() > 4, "{names:?}");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/gateway.md");
    let page = std::fs::read_to_string(page)?;
    for name in names {
        let family = format!("# TYPE {} ", name.trim_end_matches("_total"));
        // A metric with labels is there once there is something to count; the page's table is checked elsewhere.
        let is_known = metrics.contains(&family) || page.contains(&format!("| `{name}` |"));
        ensure!(is_known, "{name} is not in {metrics}");
    }
    Ok(())
}

#[test]
fn the_programs_work_together_with_what_the_chart_gives_them_and_leave_nothing() -> Result<()> {
    let release = Release::install(json!({
        "policy": {"urlBackends": true, "localAddresses": true},
        "gateway": {"tls": {"certificateSecrets": ["api-tls"]}},
    }))?;
    let (kube, namespace) = (release.kube(), release.namespace());
    let (authority, host) = (Authority::new()?, release.installation.host("orders"));
    let certified = authority.certify(&[&host])?;
    kube.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": "api-tls", "namespace": namespace},
        "stringData": {"tls.crt": certified.pem, "tls.key": certified.key_pem},
    }))?;
    let binary = gateway::binary()?;
    let mut operator = release.start("Deployment", "operator", binary.clone(), address(1))?;
    wait_ready(&mut operator, address(1))?;
    // The Secrets that these two wait for were made by the operator.
    let redis = parts::path("SPLITTOKEN_REDIS_SERVER")?;
    let mut store = release.start("StatefulSet", "store", redis, address(2))?;
    store.process.ready(wait::START, |text| {
        text.contains("Ready to accept connections").then_some(())
    })?;
    let mut gateway = release.start("Deployment", "gateway", binary, address(3))?;
    wait_ready(&mut gateway, address(3))?;
    let template = release.pod("Deployment", "gateway")?;
    kube.apply(&json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "gateway", "namespace": namespace, "labels": template["metadata"]["labels"],
        },
        "spec": template["spec"],
    }))?;
    let status = json!({
        "podIP": address(3).to_string(),
        "podIPs": [{"ip": address(3).to_string()}],
        "conditions": [{"type": "Ready", "status": "True"}],
    });
    kube.merge_status("Pod", namespace, "gateway", &status)?;

    install_monitoring_kinds(kube)?;
    let (mint, upstream) = (Mint::start()?, Upstream::start()?);
    let shop = release.installation.team("shop", &json!({}))?;
    let backend = json!({"url": upstream.url()});
    let route = release
        .installation
        .route(&shop, "orders", &mint.issuer(), &backend);
    kube.apply(&route)?;
    let ready = kube.wait_for("SplitTokenRoute", &shop, "orders", "Ready", "Ready");
    ready.with_context(|| format!("{}\n{}", operator.process.text(), gateway.process.text()))?;
    wait::until_true(wait::START, "an Event of the route", || {
        kube.list("Event", &shop, "")
            .is_ok_and(|events| !events.is_empty())
    })?;

    let http = Client::new()?;
    let at = |path: &str| format!("http://{}{path}", SocketAddr::new(address(3), 8080));
    let form = [("grant_type", "client_credentials")];
    let request = http.inner().post(at("/oauth/token")).header("Host", &host);
    let answer = request.basic_auth("shop", Some("secret")).form(&form).send()?;
    let answer: Value = serde_json::from_str(&answer.text()?)?;
    let token = answer["access_token"]
        .as_str()
        .with_context(|| format!("{answer}\n{}", gateway.process.text()))?;
    let call = http.inner().get(at("/orders")).header("Host", &host);
    assert_eq!(call.bearer_auth(token).send()?.status(), 200);
    let session = Session::connect(
        SocketAddr::new(address(3), 8443),
        authority.pem(),
        &host,
        &["h2", "http/1.1"],
    )?;
    assert_eq!(session.protocol().as_deref(), Some("h2"));

    release
        .test_pod(address(1), address(3))?
        .process
        .finish(wait::START)?;
    let metrics = [address(1), address(3)].map(|pod| {
        let url = format!("http://{}/metrics", SocketAddr::new(pod, 9090));
        http.get(&url).map(|answer| answer.text())
    });
    let [of_operator, of_gateway] = metrics;
    every_alert_is_of_metrics_that_there_are(&format!("{}{}", of_operator?, of_gateway?))?;

    // With a Secret that the operator reads by its name, and one that it renders; both gone with the route.
    let hmac = secret::text();
    kube.apply(&json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hmac", "namespace": shop},
        "stringData": {"hmac": hmac},
    }))?;
    let mut signed = release
        .installation
        .route(&shop, "signed", &mint.issuer(), &backend);
    signed["spec"]["issuer"]["algorithms"] = json!(["HS256"]);
    signed["spec"]["issuer"]["hmacSecretRef"] = json!({"name": "hmac"});
    kube.apply(&signed)?;
    kube.wait_for("SplitTokenRoute", &shop, "signed", "Programmed", "Programmed")?;
    let rendered = |kind: &str| kube.list(kind, namespace, "splittoken.dev/part=route");
    ensure!(rendered("Secret")?.len() == 1 && rendered("ConfigMap")?.len() == 2);
    kube.delete("SplitTokenRoute", &shop, "signed")?;
    wait::until_true(wait::START, "the rendered route to go", || {
        let number = |kind| rendered(kind).map_or(0, |list| list.len());
        (number("Secret"), number("ConfigMap")) == (0, 1)
    })?;

    let keyring = || {
        let secret = kube.find("Secret", namespace, "splittoken-keyring")?;
        anyhow::Ok(secret.context("no keyring")?["data"]["keyring.json"].clone())
    };
    let before = keyring()?;
    let wanted = json!({"metadata": {"annotations": {"splittoken.dev/rotate-keyring": "now"}}});
    kube.merge("Secret", namespace, "splittoken-keyring", &wanted)?;
    wait::until_true(wait::START, "a new key", || {
        keyring().is_ok_and(|now| now != before)
    })
    .with_context(|| operator.process.text())?;

    // Nobody may do more than that at the store, and without its password nothing at all.
    let mut stranger = Connection::open(([127, 0, 0, 1], release.store).into())?;
    ensure!(stranger.command(&["GET", "st1:x"]).is_err());

    // What is refused is tried again and again, such as a renewal of the Lease, and shows here alone.
    for started in [&operator, &gateway] {
        let text = started.process.text();
        ensure!(!text.contains(r#""level":"WARN""#), "{text}");
    }
    release
        .helm
        .run(&["uninstall", RELEASE, "--namespace", namespace], &Value::Null)?;
    kube.delete("Pod", namespace, "gateway")?;
    kube.delete("Secret", namespace, "api-tls")?;
    // There is no garbage collector here: what it would leave is what has no owner, or one that is still there.
    let owned = |object: &Value| object["metadata"]["ownerReferences"][0]["name"] == RELEASE;
    // What belongs to no namespace is called after the release's.
    let ours =
        |name: &str, object: &Value| object["metadata"]["namespace"] == namespace || name.contains(namespace);
    let left: Vec<String> = there(kube, namespace)?
        .into_iter()
        .filter(|(name, object)| ours(name, object) && !owned(object))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(left, [""; 0]);
    Ok(())
}

/// The sessions in a Redis that stays are of no use without it. It can be decided later, and anew.
#[test]
fn a_keyring_that_is_to_be_kept_belongs_to_nobody() -> Result<()> {
    let release = Release::install(json!({}))?;
    let owners = |name: &str| {
        let secret = release.kube().find("Secret", release.namespace(), name)?;
        anyhow::Ok(secret.with_context(|| name.to_owned())?["metadata"]["ownerReferences"].clone())
    };
    let mut keyrings = BTreeSet::new();
    for (number, keep) in [(4, false), (5, true), (6, false)] {
        release.upgrade(json!({"keyring": {"keep": keep}}))?;
        let mut operator = release.start("Deployment", "operator", gateway::binary()?, address(number))?;
        wait_ready(&mut operator, address(number))?;
        let owner = owners("splittoken-keyring")?[0]["name"].clone();
        assert_eq!(owner, if keep { Value::Null } else { json!(RELEASE) });
        assert_eq!(owners("splittoken-store")?[0]["name"], RELEASE);
        let secret = release
            .kube()
            .find("Secret", release.namespace(), "splittoken-keyring")?;
        keyrings.insert(secret.context("no keyring")?["data"].to_string());
    }
    assert_eq!(keyrings.len(), 1, "the keyring itself stays as it is");
    Ok(())
}
