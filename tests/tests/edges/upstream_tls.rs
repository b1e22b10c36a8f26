//! TLS towards upstreams: whose certificate counts, what the gateway shows, and that nobody shares what is not theirs.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::certs::{Asked, Authority};
use splittoken_tests::hostile::Hostile;
use splittoken_tests::http2_upstream::{Http2Upstream, Settings, field};
use splittoken_tests::jwt::Key;
use splittoken_tests::marks::Marks;
use splittoken_tests::route::Route;
use splittoken_tests::scene::Scene;
use splittoken_tests::stand::{Stand, Token};
use splittoken_tests::wire::{Server, Step, answer};

/// The name that upstreams of these tests have a certificate for, beside their address.
const NAME: &str = "orders.internal";

/// A gateway with these rules and what they refer to, and a token of it.
fn before(rules: &Value, more: impl FnOnce(Route) -> Route) -> Result<(Stand, Token)> {
    let stand = Stand::built(
        |to| more(Route::new(&to.issuer, &to.upstream).spec(&json!({"rules": rules}))).into(),
        |gateway| gateway.arguments(&["--threads", "1"]),
    )?;
    let token = stand.token(&json!({}))?;
    Ok((stand, token))
}

fn rule(path: &str, backend: &Value) -> Value {
    json!({"name": path.replace('/', "r"), "matches": [{"path": {"value": path}}], "backendRefs": [backend]})
}

/// A backend over TLS, with the authority in the `ConfigMap` `ca`.
fn custom(address: &str, more: &Value) -> Value {
    let mut tls = json!({"mode": "Custom", "caCertificateRefs": [{"name": "ca"}]});
    for (name, value) in more.as_object().into_iter().flatten() {
        tls[name] = value.clone();
    }
    json!({"url": format!("https://{address}"), "tls": tls})
}

fn http2(authority: &Authority, clients: Option<&Authority>) -> Result<(Http2Upstream, Asked)> {
    let certificate = authority.certify(&[NAME, "127.0.0.1"])?;
    let (config, asked) = certificate.server(&["h2", "http/1.1"], clients)?;
    let upstream = Http2Upstream::with(Settings {
        tls: Some(config),
        ..Settings::default()
    })?;
    Ok((upstream, asked))
}

fn http1(authority: &Authority) -> Result<Server> {
    let config = authority.certify(&[NAME, "127.0.0.1"])?.server_config()?;
    Server::start(Some(config), |_| vec![Step::send(answer("200 OK", &[], "ok"))])
}

fn is_counted(stand: &Stand, reason: &str) -> Result<bool> {
    let metrics = stand.gateway.admin("/metrics")?.text();
    Ok(metrics.contains(&format!("reason=\"{reason}\"")))
}

#[test]
fn both_sides_agree_on_http_2() -> Result<()> {
    let authority = Authority::new()?;
    let (upstream, asked) = http2(&authority, None)?;
    let address = upstream.address().to_string();
    let rules = json!([
        rule("/by-address", &custom(&address, &json!({}))),
        rule("/by-name", &custom(&address, &json!({"serverName": NAME}))),
    ]);
    let (stand, token) = before(&rules, |route| route.config_map("ca", "ca.crt", authority.pem()))?;
    for path in ["/by-address", "/by-address", "/by-name", "/by-name"] {
        let answer = stand.get(path, &token)?;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{path}");
        let seen = upstream.last()?;
        // What the upstream sees of the host is the client's, as ever.
        assert_eq!(seen.target, format!("https://{}{path}", stand.gateway.host()));
        assert_eq!(field(&seen.headers, "authorization")?, token.restored());
    }
    // An address is not asked for by name (RFC 6066, section 3). Connections of one name do not serve the other.
    assert_eq!(asked.all(), [None, Some(NAME.to_owned())]);
    assert_eq!(upstream.connections(), 2);
    Ok(())
}

#[test]
fn whoever_agrees_to_nothing_gets_http_1() -> Result<()> {
    let authority = Authority::new()?;
    let upstream = http1(&authority)?;
    let address = upstream.address().to_string();
    let mut forced = custom(&address, &json!({}));
    forced["protocol"] = json!("HTTP2");
    let rules = json!([rule("/", &custom(&address, &json!({}))), rule("/forced", &forced)]);
    let (stand, token) = before(&rules, |route| route.config_map("ca", "ca.crt", authority.pem()))?;
    for _ in 0..3 {
        assert_eq!(stand.get("/orders", &token)?.status, 200);
    }
    let seen = upstream.take();
    assert_eq!((seen.len(), upstream.connections()), (3, 1));
    assert_eq!(seen[0].header("host"), Some(stand.gateway.host()));
    assert_eq!(seen[0].header("authorization"), Some(token.restored()));
    assert_eq!(stand.get("/forced", &token)?.status, 502);
    ensure!(
        upstream.take().is_empty(),
        "what must be HTTP/2 came through by HTTP/1.1"
    );
    Ok(())
}

#[test]
fn many_at_once_come_through_whatever_is_agreed_on() -> Result<()> {
    let authority = Authority::new()?;
    let (wide, _) = http2(&authority, None)?;
    let narrow = http1(&authority)?;
    let rules = json!([
        rule("/wide", &custom(&wide.address().to_string(), &json!({}))),
        rule("/narrow", &custom(&narrow.address().to_string(), &json!({}))),
    ]);
    let (stand, token) = before(&rules, |route| route.config_map("ca", "ca.crt", authority.pem()))?;
    std::thread::scope(|scope| {
        let asking = (0..40).map(|number| {
            let path = if number % 2 == 0 { "/wide" } else { "/narrow" };
            let (stand, token) = (&stand, &token);
            scope.spawn(move || stand.get(path, token).map(|answer| answer.status))
        });
        for asked in asking.collect::<Vec<_>>() {
            assert_eq!(asked.join().expect("no panic")?, 200);
        }
        anyhow::Ok(())
    })?;
    assert_eq!(wide.connections(), 1);
    assert_eq!((wide.seen().len(), narrow.take().len()), (20, 20));
    Ok(())
}

#[test]
fn a_certificate_that_does_not_count_is_a_bad_gateway() -> Result<()> {
    let (authority, other) = (Authority::new()?, Authority::new()?);
    let (upstream, _) = http2(&authority, None)?;
    let address = upstream.address().to_string();
    let port = upstream.address().port();
    let rules = json!([
        rule(
            "/other-authority",
            &json!({
                "url": format!("https://{address}"),
                "tls": {"mode": "Custom", "caCertificateRefs": [{"kind": "Secret", "name": "other"}]},
            })
        ),
        rule("/system", &json!({"url": format!("https://{address}")})),
        rule(
            "/other-name",
            &custom(&address, &json!({"serverName": "billing.internal"}))
        ),
        rule("/other-host", &custom(&format!("localhost:{port}"), &json!({}))),
        rule("/plain", &json!({"url": format!("http://{address}")})),
    ]);
    let (stand, token) = before(&rules, |route| {
        route
            .config_map("ca", "ca.crt", authority.pem())
            .secret("other", "ca.crt", other.pem().as_bytes())
    })?;
    for path in [
        "/other-authority",
        "/system",
        "/other-name",
        "/other-host",
        "/plain",
    ] {
        assert_eq!(stand.get(path, &token)?.status, 502, "{path}");
    }
    ensure!(upstream.seen().is_empty(), "something came through");
    ensure!(
        is_counted(&stand, "upstream_tls")?,
        "no upstream_tls in the metrics"
    );
    Ok(())
}

#[test]
fn the_gateway_shows_its_certificate_where_it_has_one() -> Result<()> {
    let (authority, clients) = (Authority::new()?, Authority::new()?);
    let (upstream, _) = http2(&authority, Some(&clients))?;
    let address = upstream.address().to_string();
    let with = |name: &str| custom(&address, &json!({"clientCertificateRef": {"name": name}}));
    let rules = json!([
        rule("/one", &with("one")),
        rule("/two", &with("two")),
        rule("/none", &custom(&address, &json!({}))),
        rule("/stranger", &with("stranger")),
    ]);
    let (one, two) = (clients.certify_client("one")?, clients.certify_client("two")?);
    let stranger = authority.certify_client("stranger")?;
    let (stand, token) = before(&rules, |route| {
        route
            .config_map("ca", "ca.crt", authority.pem())
            .tls_secret("one", &one.pem, &one.key_pem)
            .tls_secret("two", &two.pem, &two.key_pem)
            .tls_secret("stranger", &stranger.pem, &stranger.key_pem)
    })?;
    for path in ["/one", "/two", "/one", "/two"] {
        assert_eq!(stand.get(path, &token)?.status, 200, "{path}");
    }
    let seen: Vec<usize> = upstream.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(seen, [1, 2, 1, 2], "two certificates, two connections");
    for path in ["/none", "/stranger"] {
        assert_eq!(stand.get(path, &token)?.status, 502, "{path}");
    }
    assert_eq!(upstream.seen().len(), 4, "something came through");
    Ok(())
}

/// With TLS 1.3 it comes after the handshake.
#[test]
fn that_a_certificate_is_not_taken_has_its_own_reason() -> Result<()> {
    let (authority, clients) = (Authority::new()?, Authority::new()?);
    let certificate = authority.certify(&["127.0.0.1"])?;
    let (config, _) = certificate.server(&[], Some(&clients))?;
    let upstream = Server::start(Some(config), |_| vec![Step::send(answer("200 OK", &[], "ok"))])?;
    let rules = json!([rule("/", &custom(&upstream.address().to_string(), &json!({})))]);
    let (stand, token) = before(&rules, |route| route.config_map("ca", "ca.crt", authority.pem()))?;
    assert_eq!(stand.get("/", &token)?.status, 502);
    ensure!(
        is_counted(&stand, "upstream_tls")?,
        "{}",
        stand.gateway.admin("/metrics")?.text()
    );
    Ok(())
}

/// `splittoken check` and the operator cannot tell; the gateway does, and serves all the rest.
#[test]
fn a_key_of_another_certificate_hurts_its_backend_only() -> Result<()> {
    let (authority, clients) = (Authority::new()?, Authority::new()?);
    let (upstream, _) = http2(&authority, None)?;
    let address = upstream.address().to_string();
    let (one, two) = (clients.certify_client("one")?, clients.certify_client("two")?);
    let rules = json!([
        rule(
            "/broken",
            &custom(&address, &json!({"clientCertificateRef": {"name": "mixed"}}))
        ),
        rule("/", &custom(&address, &json!({}))),
    ]);
    let (stand, token) = before(&rules, |route| {
        route
            .config_map("ca", "ca.crt", authority.pem())
            .tls_secret("mixed", &one.pem, &two.key_pem)
    })?;
    assert_eq!(stand.get("/orders", &token)?.status, 200);
    assert_eq!(stand.get("/broken", &token)?.status, 500);
    let config = stand.gateway.admin("/config")?.json()?;
    let rejected = &config["rejected"][0];
    assert_eq!(
        (&rejected["route"], &rejected["reason"]),
        (&json!("default/shop"), &json!("upstream_tls"))
    );
    let message = rejected["message"].as_str().unwrap_or_default();
    ensure!(message.contains("rule rbroken: backend 127.0.0.1"), "{message}");
    ensure!(!config.to_string().contains("PRIVATE"), "a key");
    Ok(())
}

/// Towards the provider, which an issuer names its certificate for.
#[test]
fn a_provider_that_asks_for_a_certificate_gets_it() -> Result<()> {
    let (authority, clients) = (Authority::new()?, Authority::new()?);
    let shown = clients.certify_client("gateway")?;
    for (secret, status) in [(Some("gateway"), 200), (None, 503)] {
        let key = Key::es256()?;
        let provider = Hostile::start_mutual(&authority, &clients, &[&key])?;
        let mut tls = json!({"caCertificateRefs": [{"name": "ca"}]});
        if let Some(name) = secret {
            tls["clientCertificateRef"] = json!({"name": name});
        }
        let route = |route: Route| {
            route
                .issuer(&json!({"transport": null, "tls": tls}))
                .config_map("ca", "ca.crt", authority.pem())
                .tls_secret("gateway", &shown.pem, &shown.key_pem)
        };
        let jwt = key.token(&provider.claims(&json!({"jti": "shown"})))?;
        provider.answer_token(&jwt);
        let scene = Scene::of(provider, key, route, |gateway| gateway)?;
        let answer = scene.ask()?;
        assert_eq!(answer.status, status, "{secret:?}: {}", answer.text());
        let config = scene.gateway.admin("/config")?.text();
        ensure!(!config.contains("PRIVATE"), "a key");
    }
    Ok(())
}

/// With everything logged that there is: libraries see each header on its way.
#[test]
fn neither_tokens_nor_keys_are_logged() -> Result<()> {
    let (authority, clients) = (Authority::new()?, Authority::new()?);
    let (upstream, _) = http2(&authority, Some(&clients))?;
    let cleartext = Http2Upstream::start()?;
    let shown = clients.certify_client("gateway")?;
    let backend = custom(
        &upstream.address().to_string(),
        &json!({"clientCertificateRef": {"name": "gateway"}}),
    );
    let rules = json!([
        rule("/tls", &backend),
        rule("/h2c", &json!({"url": cleartext.url(), "protocol": "HTTP2"})),
    ]);
    let (stand, token) = before(&rules, |route| {
        route
            .config_map("ca", "ca.crt", authority.pem())
            .tls_secret("gateway", &shown.pem, &shown.key_pem)
    })?;
    let mut marks = Marks::new();
    marks.add_jwt("the JWT", &token.jwt);
    marks.add("the token", &token.opaque);
    marks.add("the key", shown.key_pem.lines().nth(1).unwrap_or_default());
    for path in ["/tls", "/h2c"] {
        assert_eq!(stand.get(path, &token)?.status, 200, "{path}");
    }
    let log = stand.gateway.output();
    assert_eq!(marks.found_in(&log), Vec::<String>::new());
    ensure!(
        String::from_utf8_lossy(&log).contains(" TRACE "),
        "a log that says little"
    );
    Ok(())
}
