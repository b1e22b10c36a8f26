//! Secrets and `ConfigMap`s, as far as routes and issuers refer to them.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use splittoken_token::SecretBytes;

use crate::field_error::{FieldError, FieldReason};

/// The entries of a Secret.
#[derive(Clone, Debug, Default)]
pub(crate) struct SecretData(BTreeMap<String, SecretBytes>);

/// The text entries of a `ConfigMap`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigMapData(BTreeMap<String, String>);

impl SecretData {
    /// Reads `data` (base64) and `stringData`, which wins, as on the API server.
    pub(crate) fn read(object: &Value) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        check_fields(object, &["data", "stringData", "type", "immutable"], &mut errors);
        let mut entries = BTreeMap::new();
        for (key, value) in texts(object, "data", &mut errors) {
            match STANDARD.decode(value.replace(['\r', '\n'], "")) {
                Ok(bytes) => {
                    entries.insert(key.clone(), SecretBytes::new(bytes));
                }
                Err(_) => {
                    errors.push(FieldError::new(
                        format!("data.{}", shown(key)),
                        FieldReason::Pattern,
                        "must be base64",
                    ));
                }
            }
        }
        for (key, value) in texts(object, "stringData", &mut errors) {
            entries.insert(key.clone(), SecretBytes::new(value.as_bytes().to_vec()));
        }
        if errors.is_empty() {
            Ok(Self(entries))
        } else {
            Err(errors)
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&SecretBytes> {
        self.0.get(key)
    }
}

impl ConfigMapData {
    /// Reads `data`.
    pub(crate) fn read(object: &Value) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        check_fields(object, &["data", "binaryData", "immutable"], &mut errors);
        let entries = texts(object, "data", &mut errors);
        let entries = entries
            .into_iter()
            .map(|(key, value)| (key.clone(), value.to_owned()))
            .collect();
        if errors.is_empty() {
            Ok(Self(entries))
        } else {
            Err(errors)
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

fn check_fields(object: &Value, known: &[&str], errors: &mut Vec<FieldError>) {
    let names = object
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str());
    for name in
        names.filter(|name| !["apiVersion", "kind", "metadata"].contains(name) && !known.contains(name))
    {
        errors.push(FieldError::new(
            shown(name),
            FieldReason::Unknown,
            "no such field",
        ));
    }
}

/// Longer names are not shown: `{hmac, c2VjcmV0…}`, a comma in place of a colon, makes a name of a secret. The keys of
/// HMAC have at least as many bytes.
const MAX_SHOWN: usize = 31;

fn shown(name: &str) -> &str {
    if name.len() > MAX_SHOWN { "…" } else { name }
}

fn texts<'a>(object: &'a Value, field: &str, errors: &mut Vec<FieldError>) -> Vec<(&'a String, &'a str)> {
    let entries = match object.get(field) {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Object(entries)) => entries,
        Some(_) => {
            errors.push(FieldError::new(field, FieldReason::Type, "must be an object"));
            return Vec::new();
        }
    };
    let mut texts = Vec::new();
    for (key, value) in entries {
        match value {
            Value::String(text) => texts.push((key, text.as_str())),
            // What has no value may be one itself, of any length.
            Value::Null => errors.push(FieldError::new(
                field,
                FieldReason::Type,
                "an entry has no value (a comma in place of a colon?)",
            )),
            _ => errors.push(FieldError::new(
                format!("{field}.{}", shown(key)),
                FieldReason::Type,
                "must be text (quote it)",
            )),
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_kinds_of_entries_and_none_at_all() {
        let secret =
            SecretData::read(&json!({"data": {"a": "aGk=", "b": "aGk="}, "stringData": {"b": "text"}}))
                .unwrap();
        assert_eq!(secret.get("a").unwrap().expose(), b"hi");
        assert_eq!(secret.get("b").unwrap().expose(), b"text");
        assert!(SecretData::read(&json!({})).unwrap().get("a").is_none());
        assert!(
            ConfigMapData::read(&json!({"data": null}))
                .unwrap()
                .get("a")
                .is_none()
        );
    }

    #[test]
    fn faults_name_the_entry() {
        let errors = SecretData::read(&json!({"data": {"a": "not base64!", "b": 5}, "dat": {}})).unwrap_err();
        let fields: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["dat", "data.b", "data.a"]);
        assert!(!format!("{errors:?}").contains("not base64!"));
        assert!(ConfigMapData::read(&json!({"data": ["a"]})).is_err());
    }

    #[test]
    fn a_secret_in_the_place_of_a_name_is_not_shown() {
        let long = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHM=";
        for object in [
            json!({"data": {"hmac": null, "hunter2": null}}),
            json!({"data": {long: 5}}),
            json!({"data": {long: "not base64!"}}),
            json!({"stringData": {long: []}}),
            json!({long: null}),
        ] {
            let errors = SecretData::read(&object).unwrap_err();
            let text = format!("{errors:?}");
            assert!(!text.contains(long) && !text.contains("hunter2"), "{text}");
        }
    }
}
