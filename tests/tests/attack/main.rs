//! Attacks, class by class: what a hostile client sends, as raw bytes and raw frames, and what hostile upstreams and
//! providers answer.
//!
//! Each case is judged by the answer, by what the upstream received (nothing, or exactly what is expected), and by a
//! good request afterwards on a connection of its own. `docs/security.md` lists the classes.

mod credentials;
mod floods;
mod framing;
mod heads;
mod http2;
mod logs;
mod methods;
mod mutations;
mod paths;
mod pipelines;
mod provider;
mod slow;
mod spoofing;
mod token_requests;
mod tokens;
mod upstreams;
mod vectors;
mod websocket;
mod witness;
mod wycheproof;

use anyhow::Result;
use serde_json::json;
use splittoken_tests::gate::Gate;
use splittoken_tests::route::Route;
use splittoken_tests::stand::{Addresses, Stand};

/// Rules of different strictness side by side: `/public` for everybody, `/admin` for a scope, `/items` by its methods,
/// WebSocket at `/ws`,
/// everything else with a token.
fn policies(to: &Addresses) -> String {
    let backends = json!([{"url": to.upstream}]);
    let at = |path: &str| json!([{"path": {"value": path}}]);
    let reading = json!([{"path": {"value": "/items"}, "methods": ["GET"]}]);
    let scope = |scope: &str| json!({"scopes": [scope]});
    let claims = json!([{"claim": "sub", "header": "X-User-Id"}, {"claim": "role", "header": "X-Role"}]);
    let rules = json!([
        {"name": "public", "matches": at("/public"), "authentication": "Disabled", "backendRefs": backends},
        {"name": "admin", "matches": at("/admin"), "authorization": scope("admin"), "backendRefs": backends},
        {"name": "look", "matches": reading, "authentication": "Disabled", "backendRefs": backends},
        {"name": "change", "matches": at("/items"), "authorization": scope("items"), "backendRefs": backends},
        {"name": "ws", "matches": at("/ws"), "upgrades": ["websocket"], "backendRefs": backends},
        {"name": "rest", "claimsToHeaders": claims, "backendRefs": backends},
    ]);
    let route = Route::new(&to.issuer, &to.upstream);
    route.spec(&json!({"rules": rules})).into()
}

/// A gate with [`policies`].
fn strict_and_lenient() -> Result<Gate> {
    Gate::of(Stand::with(policies)?)
}
