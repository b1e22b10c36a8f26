use splittoken_token::{Algorithm, Realm};

use super::*;

fn referring(namespace: &str, issuer: Value) -> Value {
    let route = route("r", namespace, &format!("{namespace}.example")).with("/spec/issuer", Value::Null);
    route.with("/spec/issuerRef", issuer)
}

#[test]
fn a_shared_issuer_makes_one_realm() {
    let shared = issuer("login", "id").with("/spec/allowedRoutes", json!({"namespaces": {"from": "All"}}));
    let to_it = json!({"name": "login", "namespace": "id"});
    let compiled = Set::new([shared, referring("a", to_it.clone()), referring("b", to_it)]).compile();
    let realms: Vec<_> = compiled.routes.iter().map(|r| r.config.issuer.realm).collect();
    assert_eq!(realms, [Realm::of("SplitTokenIssuer", "id", "login"); 2]);
    assert_eq!(compiled.routes[0].config.issuer.name, "SplitTokenIssuer/id/login");
    assert_eq!(compiled.routes[0].config.issuer, compiled.routes[1].config.issuer);
}

#[test]
fn the_issuer_says_who_may() {
    let namespace = |name: &str, labels: Value| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    let selector = |selector: Value| json!({"from": "Selector", "selector": selector});
    for (namespaces, in_own, in_other) in [
        (json!({}), true, false),
        (json!({"from": "All"}), true, true),
        (selector(json!({"matchLabels": {"team": "x"}})), false, true),
        (selector(json!({"matchLabels": {"team": "y"}})), false, false),
        (
            selector(json!({"matchLabels": {"kubernetes.io/metadata.name": "id"}})),
            true,
            false,
        ),
        (
            selector(json!({"matchExpressions": [{"key": "team", "operator": "In", "values": ["x", "z"]}]})),
            false,
            true,
        ),
        (
            selector(json!({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["x"]}]})),
            true,
            false,
        ),
        (
            selector(json!({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]})),
            true,
            false,
        ),
        (
            selector(json!({"matchExpressions": [{"key": "team", "operator": "Exists"}]})),
            false,
            true,
        ),
        (selector(json!({})), true, true),
    ] {
        let shared = issuer("login", "id").with("/spec/allowedRoutes", json!({"namespaces": namespaces}));
        let compiled = Set::new([
            shared,
            namespace("other", json!({"team": "x"})),
            referring("id", json!({"name": "login"})),
            referring("other", json!({"name": "login", "namespace": "id"})),
        ])
        .compile();
        for (name, allowed) in [("id/r", in_own), ("other/r", in_other)] {
            let expected: &[_] = if allowed {
                &[]
            } else {
                &[("spec.issuerRef", Reason::IssuerNotAllowed)]
            };
            assert_eq!(compiled.problems(name), expected, "{namespaces}");
        }
    }
}

#[test]
fn labels_that_nobody_knows_are_unresolved() {
    let shared = issuer("login", "id").with(
        "/spec/allowedRoutes",
        json!({"namespaces": {"from": "Selector", "selector": {"matchLabels": {"a": "b"}}}}),
    );
    let compiled = Set::new([
        shared,
        referring("x", json!({"name": "login", "namespace": "id"})),
    ])
    .compile();
    assert!(compiled.verdict("x/r").problems[0].unresolved);
}

#[test]
fn issuers_that_are_not_there_or_not_ours() {
    let invalid = issuer("bad", "n").with("/spec/url", json!("nonsense"));
    let foreign = issuer("foreign", "n").with("/spec/className", json!("other"));
    for (name, unresolved) in [("missing", true), ("bad", false), ("foreign", false)] {
        let set = [
            invalid.clone(),
            foreign.clone(),
            referring("n", json!({"name": name})),
        ];
        let compiled = Set::new(set).compile();
        assert_eq!(
            compiled.problems("n/r"),
            [("spec.issuerRef", Reason::IssuerNotFound)],
            "{name}"
        );
        assert_eq!(
            compiled.verdict("n/r").problems[0].unresolved,
            unresolved,
            "{name}"
        );
        assert!(compiled.routes.is_empty());
        assert!(compiled.verdict("n/r").is_accepted());
    }
}

fn hmac(issuer: Value) -> Value {
    issuer
        .with("/spec/algorithms", json!(["HS256"]))
        .with("/spec/hmacSecretRef", json!({"name": "key"}))
}

#[test]
fn hmac_keys_come_from_the_issuers_own_namespace() {
    let secret = object(
        "Secret",
        "key",
        "id",
        &json!({"hmac": "0123456789abcdef0123456789abcdef"}),
    );
    let shared =
        hmac(issuer("login", "id")).with("/spec/allowedRoutes", json!({"namespaces": {"from": "All"}}));
    let to_it = referring("a", json!({"name": "login", "namespace": "id"}));
    let compiled = Set::new([secret, shared.clone(), to_it.clone()]).compile();
    let route = &compiled.routes[0];
    assert_eq!(route.secrets.issuer.hmac_key.as_ref().unwrap().expose().len(), 32);
    assert_eq!(route.config.issuer.algorithms, [Algorithm::HS256]);
    assert!(!format!("{compiled:?}").contains("0123456789abcdef"));
    assert!(
        !serde_json::to_string(&route.config)
            .unwrap()
            .contains("0123456789abcdef")
    );

    let elsewhere = object(
        "Secret",
        "key",
        "a",
        &json!({"hmac": "0123456789abcdef0123456789abcdef"}),
    );
    let compiled = Set::new([elsewhere, shared, to_it]).compile();
    assert_eq!(
        compiled.problems("id/login"),
        [("spec.hmacSecretRef", Reason::SecretNotFound)]
    );
    assert_eq!(
        compiled.problems("a/r"),
        [("spec.issuerRef", Reason::SecretNotFound)]
    );
    assert!(compiled.routes.is_empty());
}

#[test]
fn hmac_keys_have_a_length() {
    for (data, problem, warning) in [
        (json!({"other": "x"}), true, false),
        (json!({"hmac": ""}), true, false),
        (json!({"hmac": "x".repeat(4097)}), true, false),
        (json!({"hmac": "short"}), false, true),
        (json!({"hmac": "x".repeat(32)}), false, false),
    ] {
        let compiled =
            Set::new([object("Secret", "key", "id", &data), hmac(issuer("login", "id"))]).compile();
        assert_eq!(!compiled.verdict("login").is_clean(), problem);
        assert_eq!(!compiled.warnings("login").is_empty(), warning);
    }
}

fn ca() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::new(vec!["ca.example".into()])
        .unwrap()
        .self_signed(&key)
        .unwrap()
        .pem()
}

#[test]
fn certificates_of_config_maps_and_secrets() {
    let refs = json!({"caCertificateRefs": [{"name": "ca"}, {"kind": "Secret", "name": "ca"}]});
    let with_tls = route("r", "n", "x.example").with("/spec/issuer/tls", refs);
    let set = [
        object(
            "ConfigMap",
            "ca",
            "n",
            &json!({"ca.crt": format!("{}{}", ca(), ca())}),
        ),
        object("Secret", "ca", "n", &json!({"ca.crt": ca()})),
        with_tls,
    ];
    let compiled = Set::new(set).compile();
    assert_eq!(compiled.routes[0].config.issuer.ca_certificates.len(), 3);
}

/// A `ConfigMap` of so many certificates, each with many names.
fn bundle(name: &str, certificates: &[String]) -> Value {
    object("ConfigMap", name, "n", &json!({"ca.crt": certificates.concat()}))
}

fn large_cas(count: usize) -> Vec<String> {
    let key = rcgen::KeyPair::generate().unwrap();
    let names: Vec<String> = (0..200).map(|n| format!("host-{n}.ca.example.com")).collect();
    let params = rcgen::CertificateParams::new(names).unwrap();
    (0..count)
        .map(|_| params.self_signed(&key).unwrap().pem())
        .collect()
}

/// Four `ConfigMap`s of 223 KB each, in every route of a team, would fill the memory of every gateway.
#[test]
fn the_certificates_of_an_issuer_are_bounded_together() {
    let refs = json!({"caCertificateRefs": [{"name": "a"}, {"name": "b"}]});
    let with_tls = route("r", "n", "x.example").with("/spec/issuer/tls", refs);
    let (some, more) = (large_cas(5), large_cas(12));
    let compile = |second: &[String]| {
        let objects = [
            bundle("a", &some),
            bundle("b", second),
            with_tls.clone(),
            route("other", "o", "o.example"),
        ];
        Set::new(objects).compile()
    };
    let repeated = compile(&[some.concat().repeat(6)]);
    assert!(
        repeated.verdict("n/r").is_clean(),
        "{:?}",
        repeated.verdict("n/r")
    );
    assert_eq!(repeated.routes[0].config.issuer.ca_certificates.len(), 5);
    let fat = compile(&more);
    let field = "spec.issuer.tls.caCertificateRefs[1]";
    assert_eq!(fat.problems("n/r"), [(field, Reason::InvalidCertificate)]);
    let message = &fat.verdict("n/r").problems[0].message;
    assert!(message.contains("more than 65536 bytes"), "{message}");
    assert_eq!(fat.served(), ["o/other"]);
}

#[test]
fn certificates_that_are_none_leave_no_issuer() {
    for (data, unresolved) in [
        (Some(json!({"ca.crt": "nonsense"})), false),
        (Some(json!({"ca.pem": ca()})), false),
        (None, true),
    ] {
        let refs = json!({"caCertificateRefs": [{"name": "ca"}]});
        let with_tls = route("r", "n", "x.example").with("/spec/issuer/tls", refs);
        let config_map = data.map(|data| object("ConfigMap", "ca", "n", &data));
        let compiled = Set::new(config_map.into_iter().chain([with_tls])).compile();
        let field = "spec.issuer.tls.caCertificateRefs[0]";
        assert_eq!(compiled.problems("n/r"), [(field, Reason::InvalidCertificate)]);
        assert_eq!(compiled.verdict("n/r").problems[0].unresolved, unresolved);
        assert!(compiled.routes.is_empty());
    }
}

#[test]
fn plain_http_is_warned_of_beyond_this_machine() {
    for (url, warned) in [
        ("http://127.0.0.1:9400", false),
        ("http://[::1]:9400", false),
        ("http://localhost:9400", false),
        ("http://10.0.0.1", true),
        ("http://localhost.example.com", true),
        ("https://iam.example", false),
    ] {
        let inline = json!({"url": url, "transport": "PlainHTTPAllowed"});
        let compiled = Set::new([route("r", "n", "x.example").with("/spec/issuer", inline)]).compile();
        let expected: &[_] = if warned {
            &[("spec.issuer.url", WarningReason::PlainHttp)]
        } else {
            &[]
        };
        assert_eq!(compiled.warnings("n/r"), expected, "{url}");
    }
}

#[test]
fn an_issuer_url_that_is_no_url_is_refused_before_it_claims_anything() {
    let broken = route("a", "a", "x.example").with("/spec/issuer/url", json!("https://a:99999/"));
    let compiled = Set::new([broken, route("b", "b", "x.example")]).compile();
    assert_eq!(compiled.problems("a/a"), [("spec.issuer.url", Reason::Invalid)]);
    assert_eq!(compiled.served(), ["b/b"]);
}
