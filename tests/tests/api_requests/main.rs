//! API requests: opaque token in, JWT out, everything else as it came.

mod answers;
mod bodies;
mod credentials;
mod headers;
mod streams;
mod timeouts;
mod upstreams;

use anyhow::Result;
use serde_json::{Value, json};
use splittoken_tests::ports;
use splittoken_tests::route::Route;
use splittoken_tests::stand::{Addresses, Stand};

/// One rule for each way in which a request can be treated.
fn routes(to: &Addresses) -> String {
    let closed = ports::free().expect("a free port");
    let rule = |name: &str, backend: &str, more: Value| {
        let mut rule = json!({
            "name": name,
            "matches": [{"path": {"value": format!("/{name}")}}],
            "backendRefs": [{"url": backend}],
        });
        for (member, value) in more.as_object().into_iter().flatten() {
            rule[member] = value.clone();
        }
        rule
    };
    let mut rules: Vec<Value> = [
        ("open", json!({"authentication": "Disabled"})),
        ("maybe", json!({"authentication": "Optional"})),
        (
            "scoped",
            json!({"authorization": {"scopes": ["orders:read", "orders:write"]}}),
        ),
        (
            "claims",
            json!({"claimsToHeaders": [{"claim": "sub", "header": "X-Shop-User"}]}),
        ),
        ("once", json!({"retries": {"maxRetries": 0}})),
        ("thrice", json!({"retries": {"maxRetries": 3}})),
        ("quick", json!({"timeouts": {"request": "500ms"}})),
        (
            "tries",
            json!({"timeouts": {"backendRequest": "500ms"}, "retries": {"maxRetries": 2}}),
        ),
        ("idle", json!({"timeouts": {"idle": "1s"}})),
        ("head", json!({"timeouts": {"request": "2s"}})),
        ("patient", json!({"timeouts": {"idle": "4s"}})),
    ]
    .into_iter()
    .map(|(name, more)| rule(name, &to.upstream, more))
    .collect();
    rules.push(rule("refused", &format!("http://127.0.0.1:{closed}"), json!({})));
    rules.push(json!({"name": "api", "backendRefs": [{"url": to.upstream}]}));
    let route = || Route::new(&to.issuer, &to.upstream);
    let neighbour = route()
        .named("neighbour")
        .spec(&json!({"hostnames": ["neighbour.example"]}));
    let routes = [route().spec(&json!({"rules": rules})), neighbour];
    routes.map(String::from).concat()
}

fn stand() -> Result<Stand> {
    Stand::with(routes)
}
