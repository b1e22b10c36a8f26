use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;
use serde_json::{Map, Value};

use crate::{
    field_error::{FieldError, FieldReason},
    patterns,
};

/// What every object's metadata may hold (Kubernetes API, `ObjectMeta`).
const FIELDS: &[&str] = &[
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

static SUBDOMAIN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(patterns::DNS_SUBDOMAIN).ok());
static LABEL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(patterns::DNS_LABEL).ok());
static LABEL_VALUE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(patterns::LABEL_VALUE).ok());

/// Checks the metadata of a namespaced object as the API server does: name, namespace, labels, annotations, and
/// no unknown fields.
pub(crate) fn check(object: &Value, errors: &mut Vec<FieldError>) {
    let Some(metadata) = object.get("metadata").and_then(Value::as_object) else {
        errors.push(FieldError::new(
            "metadata",
            FieldReason::Required,
            "must be an object with a name",
        ));
        return;
    };
    for name in metadata.keys().filter(|name| !FIELDS.contains(&name.as_str())) {
        errors.push(FieldError::new(
            format!("metadata.{name}"),
            FieldReason::Unknown,
            "no such field",
        ));
    }
    if metadata.get("name").is_none_or(Value::is_null) {
        errors.push(FieldError::new(
            "metadata.name",
            FieldReason::Required,
            "is required",
        ));
    }
    check_name(metadata, "name", &SUBDOMAIN, patterns::DNS_SUBDOMAIN, 253, errors);
    check_name(metadata, "namespace", &LABEL, patterns::DNS_LABEL, 63, errors);
    check_texts(metadata, "annotations", |_| true, errors);
    check_texts(
        metadata,
        "labels",
        |value| value.len() <= 63 && matches(&LABEL_VALUE, value),
        errors,
    );
}

fn check_name(
    metadata: &Map<String, Value>,
    field: &str,
    regex: &LazyLock<Option<Regex>>,
    pattern: &str,
    max: usize,
    errors: &mut Vec<FieldError>,
) {
    let path = format!("metadata.{field}");
    match metadata.get(field) {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) if text.len() > max => {
            errors.push(FieldError::new(
                path,
                FieldReason::Bounds,
                format!("must have at most {max} characters"),
            ));
        }
        Some(Value::String(text)) if matches(regex, text) => {}
        Some(Value::String(_)) => {
            let words = patterns::in_words(pattern).unwrap_or(pattern);
            errors.push(FieldError::new(
                path,
                FieldReason::Pattern,
                format!("must be {words}"),
            ));
        }
        Some(_) => errors.push(FieldError::new(
            path,
            FieldReason::Type,
            "must be text (quote it)",
        )),
    }
}

fn check_texts(
    metadata: &Map<String, Value>,
    field: &str,
    is_good: impl Fn(&str) -> bool,
    errors: &mut Vec<FieldError>,
) {
    match metadata.get(field) {
        None | Some(Value::Null) => {}
        Some(Value::Object(entries)) => {
            for (key, value) in entries {
                let path = format!("metadata.{field}.{key}");
                match value.as_str() {
                    None => errors.push(FieldError::new(
                        path,
                        FieldReason::Type,
                        "must be text (quote it)",
                    )),
                    Some(text) if !is_good(text) => {
                        errors.push(FieldError::new(
                            path,
                            FieldReason::Pattern,
                            "must be a label value",
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
        Some(_) => {
            errors.push(FieldError::new(
                format!("metadata.{field}"),
                FieldReason::Type,
                "must be an object",
            ));
        }
    }
}

/// A pattern that does not compile matches nothing; a test of the patterns sees to it that all do.
fn matches(regex: &LazyLock<Option<Regex>>, text: &str) -> bool {
    regex.as_ref().is_some_and(|regex| regex.is_match(text))
}

/// The labels of an object, those of them that are text.
pub(crate) fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    labels.into_iter().flatten().filter_map(text).collect()
}
