//! Ten thousand routes. The promise is a full compile within 2 s in a release build:
//! `cargo test --release -p splittoken-api --test ten_thousand -- --nocapture`

use std::time::{Duration, Instant};

use serde_json::json;
use splittoken_api::{CompileOptions, Grants, Installation, NoServices, Resources, compile};

const ROUTES: usize = 10_000;
/// Ten times the promise: a slow machine and a debug build are no failure.
const BOUND: Duration = Duration::from_secs(20);

#[test]
fn ten_thousand_routes() {
    let objects: Vec<_> = (0..ROUTES).map(route).collect();
    let mut resources = Resources::default();
    let start = Instant::now();
    for object in &objects {
        resources.insert(object).unwrap();
    }
    let admitted = start.elapsed();
    let options = CompileOptions {
        class: Some("default"),
        installation: &Installation::open(),
        services: &NoServices,
        grants: &Grants::default(),
        revision_key: &[1; 32],
    };
    let start = Instant::now();
    let compiled = compile(&resources, &options);
    let elapsed = start.elapsed();
    eprintln!("{ROUTES} routes: admitted in {admitted:?}, compiled in {elapsed:?}");
    assert_eq!(compiled.routes.len(), ROUTES);
    assert!(compiled.verdicts.iter().all(splittoken_api::Verdict::is_clean));
    assert!(admitted + elapsed < BOUND, "{admitted:?} + {elapsed:?}");
}

fn route(n: usize) -> serde_json::Value {
    json!({
        "apiVersion": "splittoken.dev/v1alpha1",
        "kind": "SplitTokenRoute",
        "metadata": {"name": format!("route-{n}"), "namespace": format!("team-{}", n % 50)},
        "spec": {
            "hostnames": [format!("api-{n}.example.com")],
            "issuer": {"url": "https://iam.example.com/realms/shop"},
            "tokenEndpoints": {"token": {"path": "/auth/token"}},
            "rules": [
                {
                    "name": "read",
                    "matches": [{"path": {"value": "/orders"}, "methods": ["GET"]}],
                    "authorization": {"scopes": ["orders:read"]},
                    "claimsToHeaders": [{"claim": "sub", "header": "X-User"}],
                    "backendRefs": [{"url": "http://10.0.0.1:8080"}],
                },
                {"name": "rest", "backendRefs": [{"url": "http://10.0.0.1:8080"}]},
            ],
        },
    })
}
