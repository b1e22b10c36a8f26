//! Where gateways do not connect to, whoever asks for it: their own machine and the API server.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::jwt::Key;
use splittoken_tests::mint::Mint;
use splittoken_tests::ports;
use splittoken_tests::upstream::Upstream;
use splittoken_tests::wire::{Server, Step, answer};

use super::status::{condition, issuer, with_issuer};
use super::{Stage, URLS, apply_and_expect, expect, rendered, text};

/// The chart's default but for backends by URL.
const STRICT: &str = "urlBackends: true";

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
    let log = pod.text();
    let told = log.matches("a backend is not connected to: the address is not allowed here");
    assert_eq!(told.count(), 1, "{log}");
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
