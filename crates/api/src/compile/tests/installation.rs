//! What the platform team allows, and what namespaces allow each other.

use splittoken_reach::Refused;
use splittoken_routing::CompiledRoute;

use super::*;

const OLD: &str = "2025-01-01T00:00:00Z";
const NEW: &str = "2025-06-01T00:00:00Z";

fn at(created: &str, route: Value) -> Value {
    route.with("/metadata/creationTimestamp", json!(created))
}

fn set(policy: &str, objects: impl IntoIterator<Item = Value>) -> Set {
    let mut set = Set::new(objects);
    set.installation = Installation {
        url_backends: true,
        local_addresses: true,
        ..Installation::parse(policy).unwrap()
    };
    set
}

#[test]
fn namespaces_are_picked_by_their_labels() {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a", "labels": {"tier": "gold"}}});
    let policy = "namespaceSelector: {matchLabels: {tier: gold}}";
    let objects = [
        namespace,
        route("a", "a", "a.example"),
        route("b", "b", "b.example"),
    ];
    let compiled = set(policy, objects).compile();
    assert_eq!(compiled.served(), ["a/a"]);
    assert_eq!(
        compiled.problems("b/b"),
        [("metadata.namespace", Reason::NamespaceNotAllowed)]
    );
}

#[test]
fn a_route_that_may_not_be_there_takes_nothing_from_others() {
    let policy = "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: b}}";
    let objects = [
        at(OLD, route("a", "a", "x.example")),
        at(NEW, route("b", "b", "x.example")),
    ];
    assert_eq!(set(policy, objects).compile().served(), ["b/b"]);
}

#[test]
fn a_host_is_for_those_whom_it_was_given_to() {
    let policy = "hostnames: [{hostname: '*.a.example', namespaces: [a]}]";
    let objects = [
        route("a", "a", "x.a.example"),
        route("b", "b", "y.a.example"),
        route("c", "a", "z.example"),
    ];
    let compiled = set(policy, objects).compile();
    assert_eq!(compiled.served(), ["a/a"]);
    for refused in ["b/b", "a/c"] {
        assert_eq!(
            compiled.problems(refused),
            [("spec.hostnames[0]", Reason::HostnameNotAllowed)]
        );
    }
}

/// One grant that names both lets both in, but neither into what the other has.
#[test]
fn on_a_shared_host_the_older_route_keeps_its_paths() {
    const SHARED: &str = "hostnames: [{hostname: '*.example', namespaces: [a, b]}]";
    for (older, younger, conflict) in [
        ("/orders", "/carts", false),
        ("/orders", "/ordersheet", false),
        ("/orders/", "/", false),
        ("/orders", "/orders", true),
        ("/orders", "/orders/", true),
        ("/orders", "/orders/7", true),
        ("/", "/carts", true),
    ] {
        let host = |name: &str, path: &str| {
            let route = route(name, name, "x.example");
            route.with("/spec/rules/0/matches", json!([{"path": {"value": path}}]))
        };
        let objects = [at(OLD, host("a", older)), at(NEW, host("b", younger))];
        let compiled = set(SHARED, objects).compile();
        assert!(compiled.verdict("a/a").is_clean());
        let expected = [("spec.rules[0].matches[0].path.value", Reason::PathConflict)];
        assert_eq!(
            compiled.problems("b/b"),
            &expected[..usize::from(conflict)],
            "{older} {younger}"
        );
    }
}

#[test]
fn a_shared_wildcard_is_not_hollowed_out_by_a_name_below_it() {
    let policy = "hostnames: [{hostname: '*.example', namespaces: [a, b]}]";
    let objects = [
        at(OLD, route("a", "a", "*.example")),
        at(NEW, route("b", "b", "x.example")),
    ];
    let compiled = set(policy, objects).compile();
    assert_eq!(compiled.served(), ["a/a"]);
    assert!(
        compiled
            .problems("b/b")
            .iter()
            .all(|(_, reason)| *reason == Reason::PathConflict)
    );
}

#[test]
fn two_grants_for_one_each_share_nothing() {
    let policy =
        "hostnames: [{hostname: x.example, namespaces: [a]}, {hostname: x.example, namespaces: [b]}]";
    let objects = [
        at(OLD, route("a", "a", "x.example")),
        at(NEW, route("b", "b", "x.example")),
    ];
    let compiled = set(policy, objects).compile();
    assert_eq!(
        compiled.problems("b/b"),
        [("spec.hostnames[0]", Reason::HostnameConflict)]
    );
}

#[test]
fn providers_are_those_on_the_list() {
    let policy = "issuers: ['https://iam.example/']";
    let other = route("b", "a", "b.example").with("/spec/issuer/url", json!("https://evil.example"));
    let good =
        route("a", "a", "a.example").with("/spec/issuer/url", json!("https://iam.example/realms/shop"));
    let compiled = set(policy, [good, other]).compile();
    assert_eq!(compiled.served(), ["a/a"]);
    assert_eq!(
        compiled.problems("a/b"),
        [("spec.issuer.url", Reason::UnsupportedValue)]
    );
}

/// The keys of an endpoint elsewhere would vouch for tokens of an issuer that is on the list.
#[test]
fn endpoints_are_on_the_list_too() {
    let policy = "issuers: ['https://iam.example/realms/shop/', 'https://keys.example']";
    let good = json!({
        "url": "https://iam.example/realms/shop", "discovery": "None",
        "endpoints": {"token": "https://iam.example/realms/shop/token", "jwks": "https://keys.example/jwks"},
    });
    for (endpoint, elsewhere) in [
        ("token", "https://evil.example/token"),
        ("jwks", "https://iam.example/realms/mine/jwks"),
        ("jwks", "http://iam.example/realms/shop/jwks"),
        ("jwks", "https://iam.example:8443/realms/shop/jwks"),
        ("revocation", "https://evil.example/revoke"),
    ] {
        let good = route("a", "a", "a.example").with("/spec/issuer", good.clone());
        let bad = route("b", "a", "b.example")
            .with("/spec/issuer", good["spec"]["issuer"].clone())
            .with("/spec/issuer/transport", json!("PlainHTTPAllowed"))
            .with(&format!("/spec/issuer/endpoints/{endpoint}"), json!(elsewhere));
        let compiled = set(policy, [good, bad]).compile();
        assert_eq!(compiled.served(), ["a/a"], "{elsewhere}");
        let field = format!("spec.issuer.endpoints.{endpoint}");
        assert_eq!(
            compiled.problems("a/b"),
            [(field.as_str(), Reason::UnsupportedValue)],
            "{elsewhere}"
        );
    }
}

#[test]
fn no_url_of_an_issuer_climbs_out_of_its_prefix() {
    let policy = "issuers: ['https://iam.example/realms/']";
    for path in ["shop/../../other", "%2e%2e/other", "..%2fother", "shop/."] {
        let url = json!(format!("https://iam.example/realms/{path}"));
        let by_url = route("a", "a", "a.example").with("/spec/issuer/url", url.clone());
        let by_endpoint = route("b", "a", "b.example")
            .with("/spec/issuer/url", json!("https://iam.example/realms/shop"))
            .with("/spec/issuer/endpoints", json!({"jwks": url}));
        let compiled = set(policy, [by_url, by_endpoint]).compile();
        assert_eq!(compiled.problems("a/a"), [("spec.issuer.url", Reason::Invalid)]);
        let field = "spec.issuer.endpoints.jwks";
        assert_eq!(compiled.problems("a/b"), [(field, Reason::Invalid)], "{path}");
    }
}

#[test]
fn a_service_of_another_namespace_needs_a_grant_and_loses_it_at_once() {
    let elsewhere = route("a", "shop", "a.example").with(
        "/spec/rules/0/backendRefs",
        json!([{"name": "orders", "namespace": "backends", "port": 80}]),
    );
    let mut set = Set::new([elsewhere]);
    set.services.put(&json!({
        "metadata": {"namespace": "backends", "name": "orders"},
        "spec": {"clusterIP": "10.96.0.8", "selector": {"app": "orders"}, "ports": [{"port": 80}]},
    }));
    let address = |set: &Set| {
        set.compile().routes[0].config.rules[0].backends[0]
            .address
            .clone()
    };
    assert_eq!(address(&set).unwrap_err().reason, "RefNotPermitted");
    set.grants.put(&json!({
        "metadata": {"namespace": "backends", "name": "grant"},
        "spec": {
            "from": [{"group": "splittoken.dev", "kind": "SplitTokenRoute", "namespace": "shop"}],
            "to": [{"group": "", "kind": "Service"}],
        },
    }));
    assert_eq!(address(&set).unwrap(), "10.96.0.8:80");
    set.grants.remove("backends", "grant");
    assert_eq!(address(&set).unwrap_err().reason, "RefNotPermitted");
}

#[test]
fn services_that_lead_elsewhere_are_not_followed() {
    let mut set = Set::new([route("a", "shop", "a.example")
        .with("/spec/rules/0/backendRefs", json!([{"name": "bare", "port": 80}]))]);
    set.installation.selectorless_services = false;
    for (spec, reason) in [
        (
            json!({"clusterIP": "10.96.0.9", "ports": [{"port": 80}]}),
            Reason::RefNotPermitted,
        ),
        (
            json!({"type": "ExternalName", "externalName": "x", "selector": {"a": "b"}}),
            Reason::RefNotPermitted,
        ),
        (
            json!({"clusterIP": "10.96.0.9", "selector": {"a": "b"}}),
            Reason::BackendNotFound,
        ),
        (
            json!({"selector": {"a": "b"}, "ports": [{"port": 80}]}),
            Reason::BackendNotFound,
        ),
    ] {
        set.services
            .put(&json!({"metadata": {"namespace": "shop", "name": "bare"}, "spec": spec}));
        let compiled = set.compile();
        assert_eq!(
            compiled
                .problems("shop/a")
                .iter()
                .map(|(_, reason)| *reason)
                .collect::<Vec<_>>(),
            [reason],
            "{spec}"
        );
        assert_eq!(compiled.served(), ["shop/a"], "the rest of it is served");
    }
}

/// Its Service, and where it really is.
fn api_server() -> Refused {
    Refused {
        addresses: vec!["10.96.0.1".parse().unwrap()],
        sockets: vec![
            "172.18.0.2:9000".parse().unwrap(),
            "172.18.0.2:443".parse().unwrap(),
        ],
    }
}

#[test]
fn what_is_on_the_gateway_s_own_machine_is_refused_unless_the_policy_allows_it() {
    let refused = |object: Value, field: &str| {
        let mut set = Set::new([object]);
        set.installation = Installation {
            url_backends: true,
            api_server: api_server(),
            ..Installation::default()
        };
        let compiled = set.compile();
        assert_eq!(
            compiled.problems("shop/a"),
            [(field, Reason::UnsupportedValue)],
            "{field}"
        );
        assert!(compiled.served().is_empty());
        set.installation.local_addresses = true;
        assert_eq!(set.compile().problems("shop/a"), [], "{field}");
    };
    let good = || {
        let backend = json!([{"url": "http://10.0.0.1"}]);
        route("a", "shop", "a.example").with("/spec/rules/0/backendRefs", backend)
    };
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "169.254.169.254",
        "[::ffff:10.96.0.1]",
        "10.96.0.1",
        "172.18.0.2",
        "[::ffff:172.18.0.2]",
    ] {
        let backend = format!("http://{host}:9000");
        refused(
            good().with("/spec/rules/0/backendRefs/0/url", json!(backend)),
            "spec.rules[0].backendRefs[0].url",
        );
        let issuer = format!("https://{host}/realms/shop");
        refused(good().with("/spec/issuer/url", json!(issuer)), "spec.issuer.url");
        let jwks = json!({"jwks": format!("https://{host}/jwks")});
        refused(
            good().with("/spec/issuer/endpoints", jwks),
            "spec.issuer.endpoints.jwks",
        );
    }
}

#[test]
fn what_may_be_reached_travels_with_the_route_and_is_part_of_its_revision() {
    let mut set = Set::new([route("a", "shop", "a.example").with(
        "/spec/rules/0/backendRefs",
        json!([{"name": "orders", "port": 80}]),
    )]);
    set.installation = Installation::default();
    let narrow = set.compile().routes.remove(0);
    let admits = |route: &CompiledRoute, socket: &str| route.config.reach.admits(socket.parse().unwrap());
    assert!(!admits(&narrow, "127.0.0.1:80"));
    assert_eq!(narrow.config.reach, narrow.config.issuer.reach);
    assert!(admits(&narrow, "10.96.0.1:80") && admits(&narrow, "172.18.0.2:443"));
    set.installation.api_server = api_server();
    let narrower = set.compile().routes.remove(0);
    assert!(!admits(&narrower, "10.96.0.1:80") && !admits(&narrower, "172.18.0.2:443"));
    assert!(admits(&narrower, "172.18.0.2:80"), "what else is on that machine");
    assert_eq!(narrower.config.reach, narrower.config.issuer.reach);
    assert_ne!(narrow.revision, narrower.revision);
}
