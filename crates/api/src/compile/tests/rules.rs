use splittoken_routing::{Authentication, BackendProtocol, PathMatch};

use super::*;

#[test]
fn every_field_of_a_rule_arrives() {
    let rule = json!({
        "name": "full",
        "matches": [{
            "path": {"type": "PathPrefix", "value": "/a"},
            "methods": ["GET"],
            "headers": [{"name": "X-Tenant", "value": "Shop"}],
        }],
        "authorization": {
            "audiences": ["aud"], "scopes": ["s"], "anyScopes": ["t"], "clientIDs": ["c"],
            "claims": [{"name": "a.b", "operator": "NotIn", "values": ["v"]}],
        },
        "claimsToHeaders": [{"claim": "sub", "header": "X-User", "encoding": "JSON"}],
        "pathRewrite": {"replacePrefixMatch": "/b"},
        "requestHeaders": {"set": [{"name": "X-Set", "value": "v"}], "remove": ["X-Remove"]},
        "timeouts": {"request": "0s", "backendRequest": "1m30s", "connect": "250ms", "idle": "1h"},
        "retries": {"maxRetries": 0},
        "backendRefs": [{"url": "http://[::1]", "weight": 3}, {"name": "orders", "namespace": "shop", "port": 80}],
    });
    let compiled = Set::new([route("r", "shop", "x.example").with("/spec/rules/0", rule)]).compile();
    assert!(compiled.verdict("shop/r").is_clean(), "{:?}", compiled.verdicts);
    let expected = json!({
        "name": "full",
        "matches": [{
            "path": {"Prefix": "/a"}, "methods": ["GET"], "headers": [{"name": "x-tenant", "value": "Shop"}],
        }],
        "authentication": "Required",
        "authorization": {
            "audiences": ["aud"], "scopes": ["s"], "any_scopes": ["t"], "client_ids": ["c"],
            "claims": [{"name": "a.b", "operator": "NotIn", "values": ["v"]}],
        },
        "claims_to_headers": [{"claim": "sub", "header": "x-user", "encoding": "Json"}],
        "replace_prefix": "/b",
        "request_headers": {"set": [{"name": "x-set", "value": "v"}], "remove": ["x-remove"]},
        "timeouts": {"request": null, "backend_request": 90_000, "connect": 250, "idle": 3_600_000},
        "max_retries": 0,
        "backends": [
            {"address": {"Ok": "[::1]:80"}, "weight": 3},
            {"address": {"Ok": "10.96.0.7:80"}, "weight": 1},
        ],
    });
    assert_eq!(
        serde_json::to_value(&compiled.routes[0].config.rules[0]).unwrap(),
        expected
    );
}

#[test]
fn what_is_spoken_is_said_by_the_route_or_else_by_the_service() {
    for (protocol, app_protocol, expected) in [
        (None, None, BackendProtocol::Http1),
        (None, Some("kubernetes.io/h2c"), BackendProtocol::Http2),
        (None, Some("https"), BackendProtocol::Http1),
        (Some("Auto"), Some("kubernetes.io/h2c"), BackendProtocol::Http2),
        (Some("HTTP1"), Some("kubernetes.io/h2c"), BackendProtocol::Http1),
        (Some("HTTP2"), None, BackendProtocol::Http2),
    ] {
        let mut backend = json!({"name": "orders", "port": 80});
        if let Some(protocol) = protocol {
            backend["protocol"] = json!(protocol);
        }
        let mut set =
            Set::new([route("r", "shop", "x.example").with("/spec/rules/0/backendRefs/0", backend)]);
        set.services.put(&json!({
            "metadata": {"namespace": "shop", "name": "orders"},
            "spec": {
                "clusterIP": "10.96.0.7", "selector": {"app": "orders"},
                "ports": [{"port": 80, "appProtocol": app_protocol}],
            },
        }));
        let compiled = set.compile();
        let backend = &compiled.routes[0].config.rules[0].backends[0];
        assert_eq!(backend.protocol, expected, "{protocol:?} {app_protocol:?}");
    }
}

#[test]
fn a_rule_without_matches_takes_every_path() {
    let compiled =
        Set::new([route("r", "n", "x.example").with("/spec/rules/0/authentication", json!("Disabled"))])
            .compile();
    let rule = &compiled.routes[0].config.rules[0];
    assert_eq!(rule.matches[0].path, PathMatch::Prefix("/".into()));
    assert_eq!(rule.authentication, Authentication::Disabled);
}

#[test]
fn a_missing_backend_hurts_only_itself() {
    let backends = json!([{"name": "orders", "port": 80}, {"name": "orders", "port": 81}, {"name": "x", "namespace": "other", "port": 80}]);
    let compiled =
        Set::new([route("r", "shop", "x.example").with("/spec/rules/0/backendRefs", backends)]).compile();
    assert_eq!(
        compiled.problems("shop/r"),
        [
            ("spec.rules[0].backendRefs[1].port", Reason::BackendNotFound),
            ("spec.rules[0].backendRefs[2].namespace", Reason::RefNotPermitted),
        ]
    );
    let addresses: Vec<_> = compiled.routes[0].config.rules[0]
        .backends
        .iter()
        .map(|b| b.address.clone().map_err(|u| u.reason))
        .collect();
    assert_eq!(
        addresses,
        [
            Ok("10.96.0.7:80".to_owned()),
            Err("BackendNotFound".to_owned()),
            Err("RefNotPermitted".to_owned())
        ]
    );
}

#[test]
fn urls_are_for_where_they_are_allowed() {
    let mut set = Set::new([route("r", "n", "x.example")]);
    set.installation.url_backends = false;
    let field = "spec.rules[0].backendRefs[0].url";
    assert_eq!(set.compile().problems("n/r"), [(field, Reason::UnsupportedValue)]);
    assert!(set.compile().routes.is_empty());

    let set = Set::new([
        route("r", "n", "x.example").with("/spec/rules/0/backendRefs/0/url", json!("http://a.example:0"))
    ]);
    assert_eq!(set.compile().problems("n/r"), [(field, Reason::Invalid)]);
}

#[test]
fn paths_must_be_spelled_canonically() {
    for (path, good) in [
        ("/a%20b", true),
        ("/%61", false),
        ("/a%2F", false),
        ("/a%3Bb", false),
        ("/%2E%2E/a", false),
    ] {
        let matches = json!([{"path": {"value": path}}]);
        let compiled =
            Set::new([route("r", "n", "x.example").with("/spec/rules/0/matches", matches)]).compile();
        let expected: &[_] = if good {
            &[]
        } else {
            &[("spec.rules[0].matches[0].path.value", Reason::Invalid)]
        };
        assert_eq!(compiled.problems("n/r"), expected, "{path}");
    }
}

#[test]
fn warnings_of_rules_and_token_endpoints() {
    let field = "spec.tokenEndpoints.token.idToken";
    for (token, warned) in [
        (json!({}), true),
        (json!({"idToken": "Remove"}), false),
        (json!({"grantTypes": ["client_credentials"]}), false),
        (json!({"grantTypes": ["client_credentials", "password"]}), true),
    ] {
        let with_endpoint =
            route("r", "n", "x.example").with("/spec/tokenEndpoints", json!({"token": token}));
        let expected: &[_] = if warned {
            &[(field, WarningReason::IdTokenPassThrough)]
        } else {
            &[]
        };
        assert_eq!(
            Set::new([with_endpoint]).compile().warnings("n/r"),
            expected,
            "{token}"
        );
    }
    let weightless = route("r", "n", "x.example").with("/spec/rules/0/backendRefs/0/weight", json!(0));
    let compiled = Set::new([weightless]).compile();
    assert_eq!(
        compiled.warnings("n/r"),
        [("spec.rules[0].backendRefs", WarningReason::NoWeight)]
    );
}
