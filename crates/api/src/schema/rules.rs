use std::mem;

use kube_cel::CompiledSchema;
use serde_json::Value;

use crate::field_error::{FieldError, FieldReason};

/// The CEL rules of a schema, at their places, and nothing else.
///
/// `kube_cel` would walk the whole schema and convert the value anew at every node, with or without rules: most
/// of the time that an object takes. This asks it only about the nodes that have any.
pub(super) struct RuleTree {
    /// The rules of this very node.
    own: Option<CompiledSchema>,
    properties: Vec<(String, RuleTree)>,
    /// Of every entry of a list or of a map.
    entries: Option<Box<RuleTree>>,
}

impl RuleTree {
    /// Compiles the rules of `schema`. One that does not compile fails every object; a test sees to it that
    /// there is none.
    pub(super) fn new(schema: &Value) -> Self {
        Self::of(kube_cel::compile_schema(schema))
    }

    fn of(mut schema: CompiledSchema) -> Self {
        let properties = mem::take(&mut schema.properties).into_iter();
        let properties = properties.map(|(name, property)| (name, Self::of(property)));
        let properties = properties.filter(|(_, property)| !property.is_empty()).collect();
        let entries = schema
            .items
            .take()
            .or(schema.additional_properties.take())
            .map(|e| Self::of(*e));
        let entries = entries.filter(|entries| !entries.is_empty()).map(Box::new);
        let own = (!schema.validations.is_empty()).then_some(schema);
        Self {
            own,
            properties,
            entries,
        }
    }

    fn is_empty(&self) -> bool {
        self.own.is_none() && self.properties.is_empty() && self.entries.is_none()
    }

    /// Adds to `errors` every rule that `value`, which stands at `path` and has its defaults, breaks.
    pub(super) fn check(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        if let Some(own) = &self.own
            && let Err(broken) = kube_cel::validate_compiled(own, value, None)
        {
            errors.extend(
                broken
                    .into_iter()
                    .map(|e| FieldError::new(path, FieldReason::Rule, e.message)),
            );
        }
        for (name, property) in &self.properties {
            if let Some(value) = value.get(name) {
                property.check(value, &super::join(path, name), errors);
            }
        }
        match (&self.entries, value) {
            (Some(entries), Value::Array(list)) => {
                for (index, value) in list.iter().enumerate() {
                    entries.check(value, &format!("{path}[{index}]"), errors);
                }
            }
            (Some(entries), Value::Object(map)) => {
                for (name, value) in map {
                    entries.check(value, &super::join(path, name), errors);
                }
            }
            _ => {}
        }
    }
}
