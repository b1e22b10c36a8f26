//! The committed CRDs are what the types say.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test a panic is how a failure is told"
)]

use std::{fs, path::Path};

use serde_json::Value;

fn committed() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds")
}

#[test]
fn committed_crds_are_fresh() {
    let generated = splittoken_api::crds().unwrap();
    for crd in &generated {
        let text = fs::read_to_string(committed().join(&crd.file_name)).unwrap_or_default();
        assert!(
            text == crd.yaml,
            "crds/{} is stale: run `splittoken crd --out crds/`",
            crd.file_name
        );
    }
    let files: Vec<_> = fs::read_dir(committed())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(files.len(), generated.len(), "{files:?}");
}

#[test]
fn generation_is_deterministic() {
    assert_eq!(splittoken_api::crds().unwrap(), splittoken_api::crds().unwrap());
}

/// What an API server asks of a CRD's schema, as far as it can be told without one.
#[test]
fn schemas_are_structural_and_bounded() {
    for file in splittoken_api::crds().unwrap() {
        let crd: Value = serde_saphyr::from_str(&file.yaml).unwrap();
        let version = &crd["spec"]["versions"][0];
        assert_eq!(version["subresources"]["status"], serde_json::json!({}));
        let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
        check_node(spec, &file.file_name);
    }
}

fn check_node(node: &Value, path: &str) {
    assert!(
        node["description"].is_string() || path.ends_with(']') || path.ends_with('*'),
        "{path} says nothing"
    );
    match node["type"].as_str() {
        Some("object") => {
            for (name, property) in node["properties"].as_object().into_iter().flatten() {
                check_node(property, &format!("{path}.{name}"));
            }
            if node["additionalProperties"].is_object() {
                assert!(node["maxProperties"].is_number(), "{path} is not bounded");
                check_node(&node["additionalProperties"], &format!("{path}.*"));
            }
        }
        Some("array") => {
            assert!(node["maxItems"].is_number(), "{path} is not bounded");
            check_node(&node["items"], &format!("{path}[]"));
        }
        Some("string") => {
            assert!(
                node["maxLength"].is_number() || node["enum"].is_array(),
                "{path} is not bounded"
            );
        }
        Some("integer") => {
            assert!(
                node["minimum"].is_number() && node["maximum"].is_number(),
                "{path} is not bounded"
            );
            assert_eq!(node["format"], "int32", "{path}");
        }
        Some("boolean") => {}
        other => panic!("{path} has the type {other:?}"),
    }
}

/// Every default of the tables, as `kubectl explain` will show it.
#[test]
fn defaults_are_in_the_schema() {
    let file = &splittoken_api::crds().unwrap()[0];
    let crd: Value = serde_saphyr::from_str(&file.yaml).unwrap();
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let default = |path: &str| {
        let node = path.split('.').fold(spec, |node, name| match name {
            "[]" => &node["items"],
            name => &node["properties"][name],
        });
        node["default"].clone()
    };
    for (path, value) in [
        ("className", serde_json::json!("default")),
        ("tokenEndpoints.token.path", "/oauth/token".into()),
        ("tokenEndpoints.token.refreshToken", "PassThrough".into()),
        ("tokenEndpoints.token.idToken", "PassThrough".into()),
        ("tokenEndpoints.token.onNonJWT", "Reject".into()),
        ("policies.storeUnavailable.maxStale", "10s".into()),
        ("cors.allowCredentials", false.into()),
        ("cors.maxAge", 5.into()),
        (
            "rules.[].matches",
            serde_json::json!([{"path": {"type": "PathPrefix", "value": "/"}}]),
        ),
        ("rules.[].matches.[].path.type", "PathPrefix".into()),
        ("rules.[].authentication", "Required".into()),
        ("rules.[].claimsToHeaders.[].encoding", "CommaSeparated".into()),
        ("rules.[].timeouts.request", "60s".into()),
        ("rules.[].timeouts.backendRequest", "30s".into()),
        ("rules.[].timeouts.connect", "2s".into()),
        ("rules.[].timeouts.idle", "5m".into()),
        ("rules.[].retries.maxRetries", 1.into()),
        ("rules.[].backendRefs.[].weight", 1.into()),
        ("issuer.transport", "HTTPSOnly".into()),
        ("issuer.discovery", "Auto".into()),
        (
            "issuer.algorithms",
            serde_json::json!(["RS256", "PS256", "ES256", "EdDSA"]),
        ),
        ("issuer.verification", "Signature".into()),
        ("issuer.clockSkew", "30s".into()),
        ("issuer.jwks.refreshInterval", "5m".into()),
        ("issuer.jwks.minRefreshInterval", "30s".into()),
        ("issuer.lifetime.max", "24h".into()),
        ("issuer.lifetime.fallback", "0s".into()),
        ("issuer.hmacSecretRef.key", "hmac".into()),
        ("issuer.timeouts.connect", "2s".into()),
        ("issuer.timeouts.request", "10s".into()),
    ] {
        assert_eq!(default(path), value, "{path}");
    }
}
