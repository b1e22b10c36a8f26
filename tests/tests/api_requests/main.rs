//! API requests: opaque token in, JWT out, everything else as it came.

mod answers;
mod bodies;
mod credentials;
mod headers;
mod streams;
mod timeouts;
mod upstreams;

use anyhow::Result;
use splittoken_tests::ports;
use splittoken_tests::stand::{Addresses, Stand};

/// One rule for each way in which a request can be treated.
fn routes(to: &Addresses) -> String {
    let Addresses { issuer, upstream } = to;
    let closed = ports::free().expect("a free port");
    let backend = format!("backendRefs: [{{url: '{upstream}'}}]");
    let rules: String = [
        ("open", "authentication: Disabled"),
        ("maybe", "authentication: Optional"),
        (
            "scoped",
            "authorization: {scopes: ['orders:read', 'orders:write']}",
        ),
        ("claims", "claimsToHeaders: [{claim: sub, header: X-Shop-User}]"),
        ("once", "retries: {maxRetries: 0}"),
        ("thrice", "retries: {maxRetries: 3}"),
        ("quick", "timeouts: {request: 500ms}"),
        (
            "tries",
            "timeouts: {backendRequest: 500ms}\n    retries: {maxRetries: 2}",
        ),
        ("idle", "timeouts: {idle: 1s}"),
    ]
    .iter()
    .map(|(name, what)| {
        format!("  - name: {name}\n    matches: [{{path: {{value: /{name}}}}}]\n    {what}\n    {backend}\n")
    })
    .collect();
    format!(
        "\
apiVersion: splittoken.dev/v1alpha1
kind: SplitTokenRoute
metadata: {{name: shop, namespace: default}}
spec:
  hostnames: [127.0.0.1]
  issuer: {{url: '{issuer}', transport: PlainHTTPAllowed}}
  tokenEndpoints: {{token: {{path: /oauth/token}}}}
  rules:
{rules}  - name: refused
    matches: [{{path: {{value: /refused}}}}]
    backendRefs: [{{url: 'http://127.0.0.1:{closed}'}}]
  - name: api
    {backend}
---
apiVersion: splittoken.dev/v1alpha1
kind: SplitTokenRoute
metadata: {{name: neighbour, namespace: default}}
spec:
  hostnames: [neighbour.example]
  issuer: {{url: '{issuer}', transport: PlainHTTPAllowed}}
  tokenEndpoints: {{token: {{path: /oauth/token}}}}
  rules:
  - name: api
    {backend}
"
    )
}

fn stand() -> Result<Stand> {
    Stand::with(routes)
}
