use splittoken_routing::{Backend, BackendProtocol};

use super::*;

/// A certificate with its key, in PEM.
fn certified() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["a.example".into()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn with_backend(backend: &Value) -> Value {
    route("r", "shop", "x.example").with("/spec/rules/0/backendRefs/0", backend.clone())
}

fn backend(compiled: &Compiled) -> &Backend {
    &compiled.routes[0].config.rules[0].backends[0]
}

#[test]
fn what_tls_is_spoken_with() {
    let pem = certified().0;
    let custom =
        json!({"mode": "Custom", "caCertificateRefs": [{"name": "ca"}, {"kind": "Secret", "name": "ca"}]});
    for (given, address, server_name, authorities) in [
        (
            json!({"url": "https://a.example"}),
            "a.example:443",
            "a.example",
            0,
        ),
        (json!({"url": "https://[::1]:8443/"}), "[::1]:8443", "::1", 0),
        (
            json!({"url": "https://192.0.2.1", "tls": {"mode": "System", "serverName": "b.example"}}),
            "192.0.2.1:443",
            "b.example",
            0,
        ),
        (
            json!({"name": "orders", "port": 80, "tls": {"mode": "System"}}),
            "10.96.0.7:80",
            "orders.shop.svc",
            0,
        ),
        (
            json!({"name": "orders", "port": 80, "tls": custom}),
            "10.96.0.7:80",
            "orders.shop.svc",
            1,
        ),
    ] {
        let set = Set::new([
            with_backend(&given),
            object("ConfigMap", "ca", "shop", &json!({"ca.crt": pem})),
            object("Secret", "ca", "shop", &json!({"ca.crt": pem})),
        ]);
        let compiled = set.compile();
        assert!(compiled.verdict("shop/r").is_clean(), "{:?}", compiled.verdicts);
        let backend = backend(&compiled);
        // Whoever knows nothing of TLS sends nothing there.
        assert!(backend.address.is_err(), "{given}");
        let tls = backend.tls.as_ref().unwrap();
        assert_eq!(
            (&*tls.address, &*tls.server_name),
            (address, server_name),
            "{given}"
        );
        assert_eq!(tls.ca_certificates.len(), authorities, "{given}");
        assert_eq!(backend.protocol, BackendProtocol::Negotiated);
    }
}

#[test]
fn without_tls_nothing_of_it_travels() {
    for given in [
        json!({"url": "http://a.example"}),
        json!({"url": "http://a.example", "tls": {}}),
        json!({"name": "orders", "port": 80, "tls": {"mode": "Disabled"}}),
    ] {
        let compiled = Set::new([with_backend(&given)]).compile();
        let json = serde_json::to_value(backend(&compiled)).unwrap();
        assert_eq!(json.as_object().unwrap().len(), 2, "{json}");
    }
}

#[test]
fn what_is_spoken_over_tls_is_agreed_on_unless_the_route_says_it() {
    for (protocol, expected) in [
        ("Auto", BackendProtocol::Negotiated),
        ("HTTP1", BackendProtocol::Http1),
        ("HTTP2", BackendProtocol::Http2),
    ] {
        let given = json!({"url": "https://a.example", "protocol": protocol});
        assert_eq!(
            backend(&Set::new([with_backend(&given)]).compile()).protocol,
            expected
        );
    }
}

#[test]
fn a_client_certificate_is_the_route_s_secret() {
    let (pem, key) = certified();
    let tls = json!({"mode": "System", "clientCertificateRef": {"name": "shop-client"}});
    let route = with_backend(&json!({"url": "https://a.example", "tls": tls}));
    let secret = object(
        "Secret",
        "shop-client",
        "shop",
        &json!({"tls.crt": pem, "tls.key": key}),
    );
    let first = Set::new([route.clone(), secret.clone()]).compile();
    assert!(first.verdict("shop/r").is_clean(), "{:?}", first.verdicts);
    let tls = backend(&first).tls.as_ref().unwrap();
    assert_eq!(tls.client_certificate.as_deref(), Some("shop-client"));
    let shown = &first.routes[0].secrets.client_certificates["shop-client"];
    assert_eq!((shown.chain.len(), shown.key.expose()), (1, key.as_bytes()));
    assert!(
        !serde_json::to_string(&first.routes[0].config)
            .unwrap()
            .contains("PRIVATE")
    );
    // Another key is another revision.
    let other = secret.with("/stringData/tls.key", json!(certified().1));
    let second = Set::new([route, other]).compile();
    assert_ne!(first.routes[0].revision, second.routes[0].revision);
}

#[test]
fn what_is_missing_or_broken_hurts_its_backend_only() {
    let (pem, key) = certified();
    let custom = |name: &str| json!({"mode": "Custom", "caCertificateRefs": [{"name": name}]});
    let client = |name: &str| json!({"mode": "System", "clientCertificateRef": {"name": name}});
    let authorities = "spec.rules[0].backendRefs[0].tls.caCertificateRefs[0]";
    let shown = "spec.rules[0].backendRefs[0].tls.clientCertificateRef";
    for (tls, field, reason) in [
        (custom("nothing"), authorities, Reason::InvalidCertificate),
        (custom("empty"), authorities, Reason::InvalidCertificate),
        (custom("key"), authorities, Reason::InvalidCertificate),
        (client("nothing"), shown, Reason::SecretNotFound),
        (client("half"), shown, Reason::SecretNotFound),
        (client("swapped"), shown, Reason::InvalidCertificate),
        (client("no-key"), shown, Reason::InvalidCertificate),
        // Of another namespace, which is nobody's business here.
        (client("elsewhere"), shown, Reason::SecretNotFound),
    ] {
        let backends = json!([
            {"name": "orders", "port": 80, "tls": tls},
            {"name": "orders", "port": 80},
        ]);
        let compiled = Set::new([
            route("r", "shop", "x.example").with("/spec/rules/0/backendRefs", backends),
            object("ConfigMap", "empty", "shop", &json!({"ca.crt": ""})),
            object("ConfigMap", "key", "shop", &json!({"ca.crt": key})),
            object("Secret", "half", "shop", &json!({"tls.crt": pem})),
            object(
                "Secret",
                "swapped",
                "shop",
                &json!({"tls.crt": key, "tls.key": pem}),
            ),
            object(
                "Secret",
                "no-key",
                "shop",
                &json!({"tls.crt": pem, "tls.key": "nothing"}),
            ),
            object(
                "Secret",
                "elsewhere",
                "other",
                &json!({"tls.crt": pem, "tls.key": key}),
            ),
        ])
        .compile();
        assert_eq!(compiled.problems("shop/r"), [(field, reason)], "{tls}");
        let message = &compiled.verdict("shop/r").problems[0].message;
        assert!(!message.contains("PRIVATE"), "{message}");
        let backends = &compiled.routes[0].config.rules[0].backends;
        assert!(backends[0].address.is_err() && backends[0].tls.is_none(), "{tls}");
        assert!(backends[1].address.is_ok());
    }
}

#[test]
fn what_a_backend_refers_to_is_read() {
    let backend = json!({
        "url": "https://a.example",
        "tls": {
            "mode": "Custom",
            "caCertificateRefs": [{"name": "ca"}, {"kind": "Secret", "name": "ca-secret"}],
            "clientCertificateRef": {"name": "client"},
        },
    });
    let set = Set::new([with_backend(&backend)]);
    let found = set.resources().references("default", &Installation::open());
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        ["ConfigMap/shop/ca", "Secret/shop/ca-secret", "Secret/shop/client"]
    );
}

/// The provider's side: the same Secret, of the namespace of whoever defines the issuer.
#[test]
fn an_issuer_has_a_client_certificate_too() {
    let (pem, key) = certified();
    let own = issuer("login", "id")
        .with("/spec/tls", json!({"clientCertificateRef": {"name": "client"}}))
        .with("/spec/allowedRoutes", json!({"namespaces": {"from": "All"}}));
    let mut to_it =
        route("r", "shop", "x.example").with("/spec/issuerRef", json!({"name": "login", "namespace": "id"}));
    to_it["spec"].as_object_mut().unwrap().remove("issuer");
    let data = json!({"tls.crt": pem, "tls.key": key});
    let secret = object("Secret", "client", "id", &data);
    let compiled = Set::new([own.clone(), to_it.clone(), secret]).compile();
    assert!(compiled.verdict("shop/r").is_clean(), "{:?}", compiled.verdicts);
    let shown = compiled.routes[0]
        .secrets
        .issuer
        .client_certificate
        .as_ref()
        .unwrap();
    assert_eq!((shown.chain.len(), shown.key.expose()), (1, key.as_bytes()));
    assert!(
        !serde_json::to_string(&compiled.routes[0].config)
            .unwrap()
            .contains("PRIVATE")
    );

    let elsewhere = object("Secret", "client", "shop", &data);
    let set = Set::new([own, to_it, elsewhere]);
    let read = set.resources().references("default", &Installation::open());
    assert_eq!(
        read.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["Secret/id/client"]
    );
    let compiled = set.compile();
    let field = "spec.tls.clientCertificateRef";
    assert_eq!(compiled.problems("id/login"), [(field, Reason::SecretNotFound)]);
    assert!(compiled.routes.is_empty());
}
