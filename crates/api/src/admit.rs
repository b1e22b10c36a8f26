use std::sync::LazyLock;

use kube::CustomResourceExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    crd::{GROUP, SplitTokenIssuer, SplitTokenRoute, VERSION},
    field_error::{FieldError, FieldReason},
    generate, metadata,
    object::DEFAULT_NAMESPACE,
    schema::Schema,
};

/// Built once and kept: the rules are compiled and the patterns too.
static ROUTE: LazyLock<Result<Schema, String>> = LazyLock::new(schema_of::<SplitTokenRoute>);
static ISSUER: LazyLock<Result<Schema, String>> = LazyLock::new(schema_of::<SplitTokenIssuer>);

/// Makes a typed route of a raw one, or says everything that is wrong with it.
///
/// Decides as an API server with this CRD and strict field validation would: defaults are filled in, then the
/// shape is checked (unknown fields are faults), then the CEL rules of the very same schema. `status` is the
/// operator's and is left out, the namespace is `default` where none is named.
pub fn admit_route(raw: &Value) -> Result<SplitTokenRoute, Vec<FieldError>> {
    admit(raw, &ROUTE)
}

/// The same for an issuer.
pub fn admit_issuer(raw: &Value) -> Result<SplitTokenIssuer, Vec<FieldError>> {
    admit(raw, &ISSUER)
}

fn schema_of<K: CustomResourceExt>() -> Result<Schema, String> {
    let crd = generate::crd::<K>().map_err(|e| e.to_string())?;
    Schema::new(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]).map_err(|e| e.to_string())
}

fn admit<K: CustomResourceExt + DeserializeOwned>(
    raw: &Value,
    schema: &Result<Schema, String>,
) -> Result<K, Vec<FieldError>> {
    let mut errors = Vec::new();
    check_type::<K>(raw, &mut errors);
    metadata::check(raw, &mut errors);
    check_top_level(raw, &mut errors);
    let spec = admitted_spec(raw, schema).map_err(|found| errors.extend(found));
    let (Ok(spec), true) = (spec, errors.is_empty()) else {
        return Err(errors);
    };
    let mut object = raw.clone();
    object["spec"] = spec;
    if object["metadata"]["namespace"].is_null() {
        object["metadata"]["namespace"] = DEFAULT_NAMESPACE.into();
    }
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    serde_json::from_value(object).map_err(|e| vec![FieldError::new("", FieldReason::Type, e.to_string())])
}

/// The spec with its defaults. The schema is that of a whole object, so paths come out as `spec.…`.
fn admitted_spec(raw: &Value, schema: &Result<Schema, String>) -> Result<Value, Vec<FieldError>> {
    let schema = schema
        .as_ref()
        .map_err(|fault| vec![FieldError::new("", FieldReason::Version, fault)])?;
    let mut object = match raw.get("spec") {
        Some(spec) => serde_json::json!({ "spec": spec }),
        None => serde_json::json!({}),
    };
    schema.admit(&mut object)?;
    Ok(object["spec"].take())
}

fn check_type<K: CustomResourceExt>(raw: &Value, errors: &mut Vec<FieldError>) {
    if raw.get("apiVersion").and_then(Value::as_str) != Some(&format!("{GROUP}/{VERSION}")) {
        errors.push(FieldError::new(
            "apiVersion",
            FieldReason::Version,
            format!("must be {GROUP}/{VERSION}: no other version exists"),
        ));
    }
    let kind = K::api_resource().kind;
    if raw.get("kind").and_then(Value::as_str) != Some(&kind) {
        errors.push(FieldError::new(
            "kind",
            FieldReason::Version,
            format!("must be {kind}"),
        ));
    }
}

fn check_top_level(raw: &Value, errors: &mut Vec<FieldError>) {
    const FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];
    for (name, _) in raw
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !FIELDS.contains(&name.as_str()))
    {
        errors.push(FieldError::new(name, FieldReason::Unknown, "no such field"));
    }
}
