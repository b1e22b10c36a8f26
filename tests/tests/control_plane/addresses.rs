//! Where gateways do not connect to, whoever asks for it: their own machine and the API server.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::installation::Operator;
use splittoken_tests::jwt::Key;
use splittoken_tests::mint::Mint;
use splittoken_tests::upstream::Upstream;
use splittoken_tests::wire::{Server, Step, answer};
use splittoken_tests::{ports, wait};

use super::permissions::{account, role};
use super::status::{condition, issuer, with_issuer};
use super::{AT_ONCE, Stage, URLS, apply_and_expect, expect, rendered, text};

/// The chart's default but for backends by URL.
const STRICT: &str = "urlBackends: true";

/// The operator looks once a minute where the API server is: ten times that.
const SEEN: Duration = Duration::from_secs(600);
/// The API server looks every ten seconds whether it has said where it is: ten times that.
const ADVERTISED: Duration = Duration::from_secs(100);

const NOT_ALLOWED: &str = "the address is not allowed here";

fn says(object: &Value, kind: &str, words: &str) -> Result<()> {
    let message = text(condition(object, kind)?, "/message");
    ensure!(message.contains(words), "{words} is not in {message}");
    Ok(())
}

#[test]
fn a_url_that_names_the_gateway_s_own_machine_is_refused_by_its_status() -> Result<()> {
    let stage = Stage::new()?;
    let plane = &stage.installation;
    let _operator = plane.operator(STRICT)?;
    for (number, host) in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "169.254.169.254"]
        .into_iter()
        .enumerate()
    {
        let url = format!("http://{host}:8080");
        let elsewhere = json!({"url": "http://10.0.0.1"});
        let by_issuer = plane.route(&plane.name, &format!("issuer-{number}"), &url, &elsewhere);
        let told = apply_and_expect(plane, &by_issuer, "Accepted", "UnsupportedValue")?;
        says(&told, "Accepted", &format!("spec.issuer.url: {NOT_ALLOWED}"))?;
        let backend = json!({"url": url});
        let name = format!("backend-{number}");
        let by_backend = plane.route(&plane.name, &name, "https://iam.example", &backend);
        let told = apply_and_expect(plane, &by_backend, "Accepted", "UnsupportedValue")?;
        says(&told, "Accepted", &format!("backendRefs[0].url: {NOT_ALLOWED}"))?;
    }
    ensure!(rendered(plane)?.is_empty());
    Ok(())
}

/// A name says nothing before it is resolved, and what it says then may be something else the next time.
#[test]
fn a_name_that_leads_there_is_not_connected_to() -> Result<()> {
    let stage = Stage::new()?;
    let (plane, name) = (&stage.installation, ports::own_name()?);
    // Loopback on many machines; on the others it is refused for being told to be the API server's.
    let operator = plane.operator_told(&name, STRICT)?;
    let pod = plane.pod(1)?;
    let by_name = |url: &str| url.replace("127.0.0.1", &name);
    let login = issuer(plane, "login", &by_name(&stage.mint.issuer()));
    plane.kube.apply(&login)?;
    let backend = json!({"url": by_name(&stage.upstream.url())});
    let mut route = with_issuer(plane.route(&plane.name, "orders", "", &backend), "login");
    route["spec"]["rules"][0]["authentication"] = json!("Disabled");
    stage.served(&route)?;

    let told = expect(plane, &login, "Reachable", "Unreachable")?;
    says(&told, "Reachable", NOT_ALLOWED)?;
    let host = plane.host("orders");
    let refused = pod.token(&host).err().map(|error| error.to_string());
    ensure!(
        refused.as_ref().is_some_and(|text| text.contains("503")),
        "{refused:?}"
    );
    for _ in 0..3 {
        assert_eq!(pod.call(&host, "/orders", None)?, 502);
    }
    let told = "a backend is not connected to: the address is not allowed here";
    pod.says(told)?;
    let log = pod.text();
    assert_eq!(log.matches(told).count(), 1, "{log}");
    assert_eq!((stage.mint.connections(), stage.upstream.connections()), (0, 0));

    // The platform team may allow it.
    drop(operator);
    let _lax = plane.operator(URLS)?;
    expect(plane, &login, "Reachable", "Reachable")?;
    assert_eq!(pod.call(&host, "/orders", None)?, 200);
    pod.token(&host).map(drop)
}

#[test]
fn a_provider_sends_the_gateway_nowhere_that_its_issuer_may_not() -> Result<()> {
    let stage = Stage::new()?;
    let plane = &stage.installation;
    let _operator = plane.operator(STRICT)?;
    let pod = plane.pod(1)?;
    let network = ports::outward()?;
    let (mint, upstream) = (Mint::at(network, Key::es256()?)?, Upstream::at(network)?);
    let backend = json!({"url": upstream.url()});
    stage.served(&plane.route(&plane.name, "good", &mint.issuer(), &backend))?;
    let token = pod.token(&plane.host("good"))?;
    assert_eq!(pod.call(&plane.host("good"), "/", Some(&token))?, 200);

    for member in ["token_endpoint", "jwks_uri"] {
        let bad = Server::at(network, None, {
            let trap = stage.upstream.url();
            move |request| {
                let own = format!("http://{}", request.header("host").unwrap_or_default());
                let mut document = json!({
                    "issuer": own, "token_endpoint": format!("{own}/token"), "jwks_uri": format!("{own}/jwks"),
                });
                document[member] = json!(trap);
                vec![Step::Send(answer("200 OK", &[], document.to_string()))]
            }
        })?;
        let name = member.replace('_', "-");
        let login = issuer(plane, &name, &bad.url());
        plane.kube.apply(&login)?;
        let route = with_issuer(plane.route(&plane.name, &name, "", &backend), &name);
        stage.served(&route)?;
        let told = expect(plane, &login, "Reachable", "Unreachable")?;
        says(
            &told,
            "Reachable",
            &format!("{member} cannot be used: {NOT_ALLOWED}"),
        )?;
        ensure!(pod.token(&plane.host(&name)).is_err());
    }
    assert_eq!(stage.upstream.connections(), 0);
    Ok(())
}

/// Waits until the API server has said in the cluster where it is.
fn wait_advertised(stage: &Stage) -> Result<()> {
    let selector = "kubernetes.io/service-name=kubernetes";
    let kube = &stage.installation.kube;
    wait::until_true(ADVERTISED, "the EndpointSlice of the API server", || {
        kube.list("EndpointSlice", "default", selector)
            .is_ok_and(|slices| !slices.is_empty())
    })
}

/// The address is this machine's, and all else that it offers may be used.
#[test]
fn where_the_api_server_really_is_no_gateway_connects_to() -> Result<()> {
    let network = ports::outward()?;
    let (server, socket) = ApiServer::advertised(network)?;
    let trap = TcpListener::bind(socket)?;
    let stage = Stage::with(&server, Mint::at(network, Key::es256()?)?)?;
    wait_advertised(&stage)?;
    let plane = &stage.installation;
    let _operator = plane.operator(STRICT)?;
    let pod = plane.pod(1)?;
    let upstream = Upstream::at(network)?;
    let backend = json!({"url": upstream.url()});
    stage.served(&plane.route(&plane.name, "good", &stage.mint.issuer(), &backend))?;
    let token = pod.token(&plane.host("good"))?;
    assert_eq!(pod.call(&plane.host("good"), "/", Some(&token))?, 200);

    for (number, host) in [network.to_string(), format!("[::ffff:{network}]")]
        .into_iter()
        .enumerate()
    {
        let authority = format!("{host}:{}", socket.port());
        let name = format!("issuer-{number}");
        let by_issuer = plane.route(&plane.name, &name, &format!("https://{authority}"), &backend);
        let told = apply_and_expect(plane, &by_issuer, "Accepted", "UnsupportedValue")?;
        says(&told, "Accepted", &format!("spec.issuer.url: {NOT_ALLOWED}"))?;
        let bad = json!({"url": format!("http://{authority}")});
        let name = format!("backend-{number}");
        let by_backend = plane.route(&plane.name, &name, &stage.mint.issuer(), &bad);
        let told = apply_and_expect(plane, &by_backend, "Accepted", "UnsupportedValue")?;
        says(&told, "Accepted", &format!("backendRefs[0].url: {NOT_ALLOWED}"))?;
    }

    // Nor does a provider send it there.
    let hostile = Server::at(network, None, move |request| {
        let own = format!("http://{}", request.header("host").unwrap_or_default());
        let document = json!({
            "issuer": own, "token_endpoint": format!("https://{socket}/token"), "jwks_uri": format!("{own}/jwks"),
        });
        vec![Step::Send(answer("200 OK", &[], document.to_string()))]
    })?;
    let login = issuer(plane, "login", &hostile.url());
    plane.kube.apply(&login)?;
    stage.served(&with_issuer(
        plane.route(&plane.name, "sent", "", &backend),
        "login",
    ))?;
    let told = expect(plane, &login, "Reachable", "Unreachable")?;
    says(
        &told,
        "Reachable",
        &format!("token_endpoint cannot be used: {NOT_ALLOWED}"),
    )?;
    ensure!(pod.token(&plane.host("sent")).is_err());
    trap.set_nonblocking(true)?;
    let nobody = trap.accept().map(|(_, peer)| peer);
    ensure!(
        nobody
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
        "{nobody:?}"
    );
    Ok(())
}

/// As when a node of the control plane is added.
#[test]
fn an_address_that_it_takes_later_is_refused_too() -> Result<()> {
    let network = ports::outward()?;
    let server = ApiServer::start()?;
    let stage = Stage::with(&server, Mint::at(network, Key::es256()?)?)?;
    let plane = &stage.installation;
    let operator = plane.operator(STRICT)?;
    let pod = plane.pod(1)?;
    let upstream = Upstream::at(network)?;
    let backend = json!({"url": upstream.url()});
    let route = plane.route(&plane.name, "orders", &stage.mint.issuer(), &backend);
    stage.served(&route)?;
    let other = Upstream::at(network)?;
    let other = plane.route(
        &plane.name,
        "other",
        &stage.mint.issuer(),
        &json!({"url": other.url()}),
    );
    stage.served(&other)?;
    let [of_orders, of_other] = ["orders", "other"].map(|name| pod.token(&plane.host(name)));
    let (of_orders, of_other) = (of_orders?, of_other?);
    assert_eq!(pod.call(&plane.host("orders"), "/", Some(&of_orders))?, 200);

    plane.kube.apply(&json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes-more", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [network.to_string()]}],
        "ports": [{"name": "https", "port": upstream.address().port()}],
    }))?;
    wait::until_true(SEEN, "the route to be refused", || {
        plane
            .kube
            .condition("SplitTokenRoute", &plane.name, "orders", "Accepted")
            .is_ok_and(|(_, reason)| reason == "UnsupportedValue")
    })?;
    wait::until_true(AT_ONCE, "the route to be gone", || {
        pod.call(&plane.host("orders"), "/", Some(&of_orders))
            .is_ok_and(|status| status == 404)
    })?;
    expect(plane, &other, "Ready", "Ready")?;
    assert_eq!(pod.call(&plane.host("other"), "/", Some(&of_other))?, 200);
    operator.says("the API server has other addresses now")
}

#[test]
fn where_it_is_stays_known_while_that_cannot_be_read() -> Result<()> {
    let (server, socket) = ApiServer::advertised(ports::outward()?)?;
    let stage = Stage::with(&server, Mint::start()?)?;
    wait_advertised(&stage)?;
    let plane = &stage.installation;
    plane.kube.apply(&role(plane, &["endpointslices"]))?;
    let credentials = server.kubeconfig_of(&account(plane)?)?;
    let mut operator = plane.operator_of(&credentials, STRICT)?;
    let missing = "where the API server is: cannot list endpointslices.discovery.k8s.io in default";
    wait::until_true(wait::START, "/readyz to name what is missing", || {
        let told = operator.admin("/readyz");
        told.is_ok_and(|told| {
            told.status == 503 && told.text().contains(missing) && told.text().contains("RBAC")
        })
    })?;
    let bad = |name: &str| {
        let backend = json!({"url": format!("http://{socket}")});
        plane.route(&plane.name, name, "https://iam.example", &backend)
    };
    plane.kube.apply(&bad("early"))?;
    plane.kube.apply(&role(plane, &[]))?;
    operator.wait_ready()?;
    expect(plane, &bad("early"), "Accepted", "UnsupportedValue")?;
    let failing = |operator: &Operator| operator.metric(r#"failing{kind="EndpointSlice",verb="list"}"#);
    assert_eq!(failing(&operator)?, 0);

    plane.kube.apply(&role(plane, &["endpointslices"]))?;
    wait::until_true(SEEN, "a look to fail", || {
        failing(&operator).is_ok_and(|value| value == 1)
    })?;
    operator.says("the API server's addresses are those of before")?;
    apply_and_expect(plane, &bad("late"), "Accepted", "UnsupportedValue").map(drop)
}
