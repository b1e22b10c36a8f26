use splittoken_routing::{AllowedOrigin, Cors};

use super::*;

fn with_cors(cors: Value) -> Value {
    route("a", "n", "x.example").with("/spec/cors", cors)
}

#[test]
fn every_field_reaches_the_gateways() {
    let compiled = Set::new([with_cors(json!({
        "allowOrigins": ["https://app.example:443", "https://*.shop.example"],
        "allowCredentials": true,
        "allowMethods": ["PUT", "OPTIONS"],
        "allowHeaders": ["Authorization", "X-A"],
        "exposeHeaders": ["ETag"],
        "maxAge": 600,
    }))])
    .compile();
    let origins = ["https://app.example", "https://*.shop.example"];
    let text = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(
        compiled.routes[0].config.cors,
        Some(Cors {
            allow_origins: origins.map(|origin| AllowedOrigin::parse(origin).unwrap()).into(),
            allow_credentials: true,
            allow_methods: text(&["PUT", "OPTIONS"]),
            allow_headers: text(&["Authorization", "X-A"]),
            expose_headers: text(&["ETag"]),
            max_age: 600,
        })
    );
    assert!(compiled.warnings("n/a").is_empty());
}

#[test]
fn what_is_left_out_allows_nothing() {
    let compiled = Set::new([with_cors(json!({"allowOrigins": ["*"]}))]).compile();
    assert_eq!(
        compiled.routes[0].config.cors,
        Some(Cors {
            allow_origins: vec![AllowedOrigin::Any],
            allow_credentials: false,
            allow_methods: vec![],
            allow_headers: vec![],
            expose_headers: vec![],
            max_age: 5,
        })
    );
    let without = Set::new([route("a", "n", "x.example")]).compile();
    assert_eq!(without.routes[0].config.cors, None);
}

#[test]
fn an_origin_that_no_browser_has_is_named() {
    for bad in [
        "https://a.example:65536",
        "https://*.127.0.0.1",
        "http://[::g]",
        "http://1.2.3",
    ] {
        let compiled = Set::new([with_cors(json!({"allowOrigins": ["https://a.example", bad]}))]).compile();
        let field = "spec.cors.allowOrigins[1]";
        // What the schema sees already is said by it.
        assert_eq!(compiled.problems("n/a"), [(field, Reason::Invalid)], "{bad}");
        assert!(compiled.served().is_empty());
    }
}

#[test]
fn pages_that_cannot_send_a_token_are_warned_of() {
    let warned = [("spec.cors.allowHeaders", WarningReason::CorsWithoutAuthorization)];
    for (headers, authentication, warnings) in [
        (json!(null), "Required", &warned[..]),
        (json!(["Content-Type"]), "Optional", &warned),
        (json!(["Content-Type"]), "Disabled", &[]),
        (json!(["authorization"]), "Required", &[]),
        (json!(["*"]), "Required", &[]),
    ] {
        let route = with_cors(json!({"allowOrigins": ["*"], "allowHeaders": headers}))
            .with("/spec/rules/0/authentication", json!(authentication));
        let compiled = Set::new([route]).compile();
        assert_eq!(compiled.warnings("n/a"), warnings, "{headers} {authentication}");
    }
}
