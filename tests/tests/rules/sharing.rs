//! Routes beside each other: on one host, with one issuer, with issuers of their own.

use anyhow::Result;
use serde_json::{Value, json};
use splittoken_tests::gateway::Gateway;
use splittoken_tests::stand::{Addresses, Stand};

use super::{Outcome, compare, file, open, route, rule};

#[test]
fn routes_of_one_host_are_one_table() -> Result<()> {
    let at = |path: &str| json!([{"path": {"value": path}}]);
    let stand = Stand::with(|to: &Addresses| {
        let mut orders = route(
            to,
            "orders",
            &["127.0.0.1", "shop.example"],
            &[
                open(to, "orders", &at("/orders")),
                open(to, "tie-orders", &at("/tie")),
            ],
        );
        let mut stock = route(
            to,
            "stock",
            &["127.0.0.1"],
            &[
                open(to, "new-orders", &at("/orders/new")),
                open(to, "stock", &at("/stock")),
            ],
        );
        // It comes last in the file, and first by its name: that is what decides where everything else is equal.
        let mut all = route(
            to,
            "a-first",
            &["127.0.0.1"],
            &[open(to, "rest", &at("/")), open(to, "tie-first", &at("/tie"))],
        );
        for (route, path) in [
            (&mut orders, "/orders/token"),
            (&mut stock, "/stock/token"),
            (&mut all, "/oauth/token"),
        ] {
            route["spec"]["tokenEndpoints"]["token"]["path"] = json!(path);
        }
        file(&[orders, stock, all])
    })?;
    let host = stand.gateway.host();
    let mut cases = Vec::new();
    for (host, path, wanted) in [
        (host.as_str(), "/orders/1", "orders"),
        (&host, "/orders/new/1", "new-orders"),
        (&host, "/stock", "stock"),
        (&host, "/other", "rest"),
        (&host, "/tie", "tie-first"),
        ("shop.example", "/orders/new", "orders"),
        ("shop.example", "/stock", "404"),
        // Token endpoints take POST; that one is there shows in the refusal.
        (&host, "/orders/token", "405"),
        (&host, "/stock/token", "405"),
        (&host, "/oauth/token", "405"),
        ("shop.example", "/oauth/token", "404"),
    ] {
        let got = Outcome::at(&stand, host, &format!("GET {path}"), &[])?.rule();
        cases.push((format!("{host} {path}"), wanted.to_owned(), got));
    }
    compare(cases);
    Ok(())
}

/// Four hosts: two refer to the issuer `login`, two have an inline one of their own, all with one URL.
fn four(to: &Addresses) -> String {
    let shared = |name: &str, namespace: &str| {
        let rules = [
            rule(to, name, &json!({})),
            rule(
                to,
                "admin",
                &json!({
                    "matches": [{"path": {"value": "/admin"}}], "authorization": {"scopes": ["admin"]},
                }),
            ),
        ];
        let mut route = route(to, name, &[&format!("{name}.example")], &rules);
        route["metadata"]["namespace"] = json!(namespace);
        let spec = route["spec"].as_object_mut().expect("a spec");
        spec.remove("issuer");
        spec.insert(
            "issuerRef".to_owned(),
            json!({"name": "login", "namespace": "identity"}),
        );
        route
    };
    let inline = |name: &str| {
        route(
            to,
            name,
            &[&format!("{name}.example")],
            &[rule(to, name, &json!({}))],
        )
    };
    let label = json!({"login": "allowed"});
    file(&[
        issuer(
            to,
            &json!({"from": "Selector", "selector": {"matchLabels": label}}),
        ),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "north", "labels": label}}),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "south", "labels": label}}),
        shared("north", "north"),
        shared("south", "south"),
        inline("east"),
        inline("west"),
    ])
}

fn issuer(to: &Addresses, namespaces: &Value) -> Value {
    json!({
        "apiVersion": "splittoken.dev/v1alpha1", "kind": "SplitTokenIssuer",
        "metadata": {"name": "login", "namespace": "identity"},
        "spec": {"url": to.issuer, "transport": "PlainHTTPAllowed", "allowedRoutes": {"namespaces": namespaces}},
    })
}

#[test]
fn a_token_opens_where_its_issuer_object_is_shared_and_nowhere_else() -> Result<()> {
    let stand = Stand::with(four)?;
    let names = ["north", "south", "east", "west"];
    let mut cases = Vec::new();
    for from in names {
        let token = stand.token_at(&format!("{from}.example"), &json!({}))?;
        for at in names {
            let outcome = Outcome::at(&stand, &format!("{at}.example"), "GET /", &[&token.header()])?;
            let is_shared =
                from == at || ["north", "south"].contains(&from) && ["north", "south"].contains(&at);
            let wanted = if is_shared { at } else { "401" };
            cases.push((
                format!("a token of {from} at {at}"),
                wanted.to_owned(),
                outcome.rule(),
            ));
            if let Some(request) = &outcome.request {
                assert_eq!(request.header_all("authorization"), [token.restored()]);
            }
        }
    }
    compare(cases);
    Ok(())
}

#[test]
fn every_route_of_a_shared_issuer_asks_for_itself() -> Result<()> {
    let stand = Stand::with(four)?;
    let plain = stand.token_at("north.example", &json!({"scope": "read"}))?;
    let admin = stand.token_at("south.example", &json!({"scope": "read admin"}))?;
    for host in ["north.example", "south.example"] {
        assert_eq!(
            Outcome::at(&stand, host, "GET /admin", &[&plain.header()])?.rule(),
            "403",
            "{host}"
        );
        assert_eq!(
            Outcome::at(&stand, host, "GET /admin", &[&admin.header()])?.rule(),
            "admin",
            "{host}"
        );
    }
    Ok(())
}

#[test]
fn nobody_joins_an_issuer_that_does_not_let_him() -> Result<()> {
    let stand = Stand::with(four)?;
    let to = stand.addresses();
    for (namespaces, passes) in [
        (json!({"from": "All"}), true),
        (json!({"from": "Same"}), false),
        (
            json!({"from": "Selector", "selector": {"matchLabels": {"login": "allowed"}}}),
            false,
        ),
    ] {
        let mut route = route(&to, "thief", &["127.0.0.1"], &[rule(&to, "thief", &json!({}))]);
        let spec = route["spec"].as_object_mut().expect("a spec");
        spec.remove("issuer");
        spec.insert(
            "issuerRef".to_owned(),
            json!({"name": "login", "namespace": "identity"}),
        );
        let started = Gateway::start(file(&[issuer(&to, &namespaces), route]));
        let error = started.err().map(|error| format!("{error:#}"));
        assert_eq!(error.is_none(), passes, "{namespaces}: {error:?}");
        assert!(
            error.is_none_or(|error| error.contains("IssuerNotAllowed")),
            "{namespaces}"
        );
    }
    Ok(())
}
