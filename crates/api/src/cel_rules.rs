//! CEL rules in the form that the schema carries them.

use serde_json::{Value, json};

/// `x-kubernetes-validations` of one node: pairs of a CEL rule and the message of its failure.
pub(crate) fn rules(rules: &[(&str, &str)]) -> Value {
    rules
        .iter()
        .map(|(rule, message)| json!({"rule": rule, "message": message}))
        .collect()
}
