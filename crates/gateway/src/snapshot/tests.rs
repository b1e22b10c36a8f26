use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use splittoken_routing::{CompiledRoute, FORMAT, RouteSecrets};

use super::*;
use crate::store_health::StoreHealth;

/// A route with an issuer of its own.
fn route(name: &str, issuer: &Value) -> CompiledRoute {
    let mut config = json!({
        "format": FORMAT, "name": {"namespace": "shop", "name": name}, "created": 0,
        "hostnames": [format!("{name}.example")], "token_endpoint": null, "max_stale": 10_000, "rules": [],
        "reach": "Anywhere",
        "issuer": {
            "name": format!("SplitTokenRoute/shop/{name}"), "realm": "UEWN4nsXowtvS_X5xsO3ig",
            "url": "http://127.0.0.1:1", "transport": "PlainHttpAllowed", "discovery": "Auto",
            "endpoints": {"token": null, "jwks": null, "revocation": null}, "algorithms": ["ES256"],
            "verification": "Signature", "audiences": [], "token_types": [], "clock_skew": 0,
            "jwks_refresh": 60_000, "jwks_min_refresh": 30_000, "ca_certificates": [], "reach": "Anywhere",
            "lifetime": {"max": 1, "fallback": 0}, "connect_timeout": 1_000, "request_timeout": 1_000,
        },
    });
    for (member, value) in issuer.as_object().unwrap() {
        config["issuer"][member] = value.clone();
    }
    CompiledRoute {
        revision: format!("{name} {issuer}"),
        config: serde_json::from_value(config).unwrap(),
        secrets: RouteSecrets::default(),
    }
}

/// What `compile` would not have let through.
fn bad() -> Value {
    json!({"ca_certificates": ["no certificate"]})
}

fn good() -> Value {
    json!({})
}

fn snapshots() -> Snapshots {
    // Another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let metrics = Metrics::new(&mut Registry::default(), &StoreHealth::default());
    Snapshots::new(metrics, Keepers::default(), &Limits::default())
}

impl Snapshots {
    fn serve(&self, routes: &[CompiledRoute]) -> Arc<Snapshot> {
        self.take_over(Arc::new(RouteTable::build(routes).unwrap()));
        self.load()
    }
}

impl Snapshot {
    fn issuer_of(&self, name: &str) -> Option<&Arc<Issuer>> {
        let mut routes = self.table.routes().iter();
        let route = routes.find(|route| route.config.name.name == name).unwrap();
        self.issuer(route)
    }
}

#[tokio::test]
async fn an_issuer_that_cannot_be_set_up_hurts_its_own_routes_only() {
    let snapshots = snapshots();
    let snapshot = snapshots.serve(&[route("a", &good()), route("b", &bad()), route("c", &good())]);
    assert!(snapshot.issuer_of("a").is_some() && snapshot.issuer_of("c").is_some());
    assert!(snapshot.issuer_of("b").is_none());
    let rejected = snapshot.rejected();
    let [one] = &*rejected else { panic!("{rejected:?}") };
    assert_eq!(
        (one.route.as_str(), one.reason, one.revision.as_deref()),
        ("shop/b", "ca_certificate", Some(&*format!("b {}", bad())))
    );
    assert_eq!(
        one.message,
        "issuer SplitTokenRoute/shop/b: CA certificate 1 is not a PEM certificate; requests that need it are answered \
         with 503"
    );
    // What comes after is served, and what is mended is no failure any more.
    let snapshot = snapshots.serve(&[route("b", &good()), route("d", &good())]);
    assert!(snapshot.issuer_of("b").is_some() && snapshot.issuer_of("d").is_some());
    assert!(snapshot.rejected().is_empty());
}

#[tokio::test]
async fn an_issuer_with_settings_that_fail_keeps_its_former_ones() {
    let snapshots = snapshots();
    let first = snapshots.serve(&[route("a", &good())]);
    let second = snapshots.serve(&[route("a", &bad()), route("b", &good())]);
    assert!(Arc::ptr_eq(
        first.issuer_of("a").unwrap(),
        second.issuer_of("a").unwrap()
    ));
    let message = &second.rejected()[0].message;
    assert!(
        message.ends_with("; its former settings stay in force"),
        "{message}"
    );
    // Still the same one when the settings come back, with its keys and connections.
    let third = snapshots.serve(&[route("a", &good())]);
    assert!(Arc::ptr_eq(
        first.issuer_of("a").unwrap(),
        third.issuer_of("a").unwrap()
    ));
    assert!(third.rejected().is_empty());
}

#[tokio::test]
async fn a_former_issuer_goes_nowhere_that_is_not_allowed_any_more() {
    let snapshots = snapshots();
    snapshots.serve(&[route("a", &good())]);
    let narrow = json!({"reach": {"Beyond": []}});
    let snapshot = snapshots.serve(&[route("a", &narrow)]);
    assert!(snapshot.issuer_of("a").is_none());
    assert_eq!(snapshot.rejected()[0].reason, "url_address");
}

#[tokio::test]
async fn without_a_single_issuer_there_is_no_use_in_being_ready() {
    let snapshots = snapshots();
    assert!(!snapshots.serve(&[]).is_useless());
    assert!(snapshots.serve(&[route("a", &bad())]).is_useless());
    assert!(
        !snapshots
            .serve(&[route("a", &bad()), route("b", &good())])
            .is_useless()
    );
}
