use serde_json::{Value, json};
use splittoken_routing::RouteTable;

use super::*;
use crate::{
    services::ClusterServices,
    verdict::{Reason, WarningReason},
};

mod conflicts;
mod cors;
mod installation;
mod issuers;
mod revisions;
mod rules;
mod upstream_tls;

/// A set of objects and what is compiled from it.
struct Set {
    objects: Vec<Value>,
    services: ClusterServices,
    grants: Grants,
    installation: Installation,
    key: [u8; 32],
}

impl Set {
    fn new(objects: impl IntoIterator<Item = Value>) -> Self {
        let mut services = ClusterServices::default();
        services.put(&json!({
            "metadata": {"namespace": "shop", "name": "orders"},
            "spec": {"clusterIP": "10.96.0.7", "selector": {"app": "orders"}, "ports": [{"port": 80}]},
        }));
        Self {
            objects: objects.into_iter().collect(),
            services,
            grants: Grants::default(),
            installation: Installation::open(),
            key: [7; 32],
        }
    }

    fn resources(&self) -> Resources {
        let mut resources = Resources::default();
        for object in &self.objects {
            resources.insert(object).unwrap();
        }
        resources
    }

    fn compile(&self) -> Compiled {
        let options = CompileOptions {
            class: Some("default"),
            installation: &self.installation,
            services: &self.services,
            grants: &self.grants,
            revision_key: &self.key,
        };
        compile(&self.resources(), &options)
    }
}

impl Compiled {
    fn verdict(&self, name: &str) -> &Verdict {
        self.verdicts
            .iter()
            .find(|v| v.object.to_string().ends_with(name))
            .unwrap()
    }

    fn problems(&self, name: &str) -> Vec<(&str, Reason)> {
        self.verdict(name)
            .problems
            .iter()
            .map(|p| (p.field.as_str(), p.reason))
            .collect()
    }

    fn warnings(&self, name: &str) -> Vec<(&str, WarningReason)> {
        self.verdict(name)
            .warnings
            .iter()
            .map(|w| (w.field.as_str(), w.reason))
            .collect()
    }

    fn served(&self) -> Vec<String> {
        self.routes
            .iter()
            .map(|route| route.config.name.to_string())
            .collect()
    }
}

fn route(name: &str, namespace: &str, hostname: &str) -> Value {
    json!({
        "apiVersion": "splittoken.dev/v1alpha1",
        "kind": "SplitTokenRoute",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "hostnames": [hostname],
            "issuer": {"url": "https://iam.example"},
            "rules": [{"name": "all", "backendRefs": [{"url": "http://127.0.0.1:9000"}]}],
        },
    })
}

fn issuer(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "splittoken.dev/v1alpha1",
        "kind": "SplitTokenIssuer",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"url": "https://login.example"},
    })
}

fn object(kind: &str, name: &str, namespace: &str, data: &Value) -> Value {
    let field = if kind == "Secret" { "stringData" } else { "data" };
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, field: data})
}

trait With {
    fn with(self, pointer: &str, value: Value) -> Self;
}

impl With for Value {
    /// Sets a member of an object that is there.
    fn with(mut self, pointer: &str, value: Value) -> Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match name.parse::<usize>() {
            Ok(index) => self.pointer_mut(parent).unwrap()[index] = value,
            Err(_) => self.pointer_mut(parent).unwrap()[name] = value,
        }
        self
    }
}

#[test]
fn the_smallest_useful_route() {
    let text = "
apiVersion: splittoken.dev/v1alpha1
kind: SplitTokenRoute
metadata: {name: orders, namespace: shop}
spec:
  hostnames: [api.example.com]
  issuer: {url: https://iam.example.com/realms/shop}
  tokenEndpoints: {token: {path: /auth/token}}
  rules:
  - name: orders
    matches: [{path: {value: /orders}}]
    backendRefs: [{name: orders, port: 80}]
";
    let compiled = Set::new([serde_saphyr::from_str(text).unwrap()]).compile();
    assert!(compiled.verdict("orders").is_clean(), "{:?}", compiled.verdicts);
    let expected = json!({
        "format": 1,
        "name": {"namespace": "shop", "name": "orders"},
        "created": 0,
        "hostnames": ["api.example.com"],
        "issuer": {
            "name": "SplitTokenRoute/shop/orders",
            "realm": splittoken_token::Realm::of("SplitTokenRoute", "shop", "orders"),
            "url": "https://iam.example.com/realms/shop",
            "transport": "HttpsOnly",
            "discovery": "Auto",
            "endpoints": {"token": null, "jwks": null, "revocation": null},
            "algorithms": ["RS256", "PS256", "ES256", "EdDSA"],
            "verification": "Signature",
            "audiences": [], "token_types": [],
            "clock_skew": 30_000, "jwks_refresh": 300_000, "jwks_min_refresh": 30_000,
            "ca_certificates": [],
            "reach": "Anywhere",
            "lifetime": {"max": 86_400_000, "fallback": 0},
            "connect_timeout": 2_000, "request_timeout": 10_000,
        },
        "token_endpoint": {
            "path": "/auth/token", "grant_types": [], "refresh_token": "PassThrough", "id_token": "PassThrough",
            "on_non_jwt": "Reject",
        },
        "max_stale": 10_000,
        "reach": "Anywhere",
        "rules": [{
            "name": "orders",
            "matches": [{"path": {"Prefix": "/orders"}, "methods": [], "headers": []}],
            "authentication": "Required",
            "authorization": null,
            "claims_to_headers": [],
            "replace_prefix": null,
            "request_headers": {"set": [], "remove": []},
            "timeouts": {"request": 60_000, "backend_request": 30_000, "connect": 2_000, "idle": 300_000},
            "max_retries": 1,
            "backends": [{"address": {"Ok": "10.96.0.7:80"}, "weight": 1}],
        }],
    });
    assert_eq!(
        serde_json::to_value(&compiled.routes[0].config).unwrap(),
        expected
    );
}

#[test]
fn an_invalid_object_changes_nobody_else() {
    let good = || route("b", "b", "b.example");
    let bad = route("a", "a", "b.example")
        .with("/spec/extra", json!(1))
        .with("/spec/hostnames/0", json!("b.example"));
    let alone = Set::new([good()]).compile();
    let beside = Set::new([good(), bad]).compile();
    assert_eq!(beside.routes, alone.routes);
    assert_eq!(beside.problems("a/a"), [("spec.extra", Reason::Invalid)]);
    assert_eq!(beside.verdict("a/a").conditions().len(), 1);
}

#[test]
fn other_classes_are_not_looked_at() {
    let other = route("a", "a", "a.example").with("/spec/className", json!("internal"));
    let compiled = Set::new([other, issuer("b", "b").with("/spec/className", json!("internal"))]).compile();
    assert!(compiled.routes.is_empty() && compiled.verdicts.is_empty());
}

/// Two operators of different versions would otherwise overwrite each other's words for ever.
#[test]
fn what_is_wrong_with_an_object_of_another_class_is_not_said_here() {
    let bad = |object: Value| {
        object
            .with("/spec/className", json!("internal"))
            .with("/spec/extra", json!(1))
    };
    let compiled = Set::new([bad(route("a", "a", "a.example")), bad(issuer("b", "b"))]).compile();
    assert!(compiled.verdicts.is_empty(), "{:?}", compiled.verdicts);
    let nameless = route("a", "a", "a.example").with("/spec/extra", json!(1));
    assert_eq!(Set::new([nameless]).compile().verdicts.len(), 1);
}

#[test]
fn conditions_say_what_the_problems_are() {
    let broken =
        route("a", "a", "a.example").with("/spec/rules/0/backendRefs/0", json!({"name": "x", "port": 1}));
    let compiled = Set::new([broken, route("b", "b", "a.example")]).compile();
    let conditions = |name| -> Vec<_> {
        let conditions = compiled.verdict(name).conditions();
        conditions
            .into_iter()
            .map(|c| (c.kind.name(), c.status, c.reason.name()))
            .collect()
    };
    assert_eq!(
        conditions("a/a"),
        [
            ("Accepted", true, "Accepted"),
            ("ResolvedRefs", false, "BackendNotFound")
        ]
    );
    assert_eq!(
        conditions("b/b"),
        [
            ("Accepted", false, "HostnameConflict"),
            ("ResolvedRefs", true, "ResolvedRefs")
        ]
    );
}

/// What is compiled can be served.
#[test]
fn tables_are_built_of_it() {
    let objects = [
        route("a", "a", "*.example").with("/spec/tokenEndpoints", json!({"token": {}})),
        route("b", "a", "b.example"),
        route("c", "c", "::1"),
    ];
    let compiled = Set::new(objects).compile();
    assert_eq!(RouteTable::build(&compiled.routes).unwrap().routes().len(), 3);
}

/// As JSON some so many bytes long.
fn of_bytes(route: Value, bytes: usize) -> Value {
    let header = |n: usize| json!({"name": format!("X-{n}"), "value": "v".repeat(4000)});
    let rule = |n: usize| {
        let headers: Vec<Value> = (0..10).map(header).collect();
        json!({
            "name": format!("rule-{n}"), "requestHeaders": {"set": headers},
            "matches": [{"path": {"value": format!("/{n}")}}],
            "backendRefs": [{"url": "http://127.0.0.1:9000"}],
        })
    };
    let rules: Vec<Value> = (0..bytes / 40_000).map(rule).collect();
    route.with("/spec/rules", json!(rules))
}

#[test]
fn a_route_that_is_too_large_is_refused_and_takes_nothing() {
    let fat = of_bytes(route("a", "a", "x.example"), 160_000);
    let compiled = Set::new([fat, route("b", "b", "x.example")]).compile();
    assert_eq!(compiled.problems("a/a"), [("spec", Reason::UnsupportedValue)]);
    let message = &compiled.verdict("a/a").problems[0].message;
    assert!(message.contains("more than 131072"), "{message}");
    assert_eq!(compiled.served(), ["b/b"]);
    let large = of_bytes(route("a", "a", "x.example"), 120_000);
    assert_eq!(Set::new([large]).compile().served(), ["a/a"]);
}

/// What teams write has room: as many rules as the schema allows, with several matches each.
#[test]
fn a_route_of_many_rules_is_not_too_large() {
    let rule = |n: usize| {
        let at = |m: usize| json!({"path": {"value": format!("/api/v1/resource-{n}/part-{m}")}, "methods": ["GET", "POST"]});
        json!({
            "name": format!("rule-{n}"), "matches": (0..8).map(at).collect::<Vec<_>>(),
            "authorization": {"scopes": [format!("resource-{n}:read")]},
            "claimsToHeaders": [{"claim": "sub", "header": "X-User"}],
            "backendRefs": [{"name": "orders", "port": 80}],
        })
    };
    let many = route("a", "shop", "x.example");
    let many = many.with("/spec/rules", json!((0..64).map(rule).collect::<Vec<_>>()));
    assert_eq!(Set::new([many]).compile().served(), ["shop/a"]);
}
