//! The structural schema of a CRD, as the API server reads it: defaults, shape, then CEL rules.
//!
//! A walker of our own and not a JSON Schema library: a structural schema is a small dialect (no `$ref`, no
//! logic but CEL) with meanings that JSON Schema does not have: unknown fields are errors, nulls are left-out
//! fields, lists are sets or maps, defaults fill in. And the errors must name fields as Kubernetes does.

mod defaults;
mod node;
mod rules;
mod walk;

use serde_json::Value;

pub(crate) use node::{Node, SchemaError};
use rules::RuleTree;

use crate::field_error::FieldError;

/// One kind's schema, ready to be held against objects.
pub(crate) struct Schema {
    root: Node,
    rules: RuleTree,
}

impl Schema {
    /// Reads an `openAPIV3Schema`.
    pub(crate) fn new(schema: &Value) -> Result<Self, SchemaError> {
        Ok(Self {
            root: Node::parse(schema, "")?,
            rules: RuleTree::new(schema),
        })
    }

    /// Fills defaults into `object`, then checks it. Rules run only over objects of the right shape, as on the
    /// API server: over others they would report the same fault again in worse words.
    pub(crate) fn admit(&self, object: &mut Value) -> Result<(), Vec<FieldError>> {
        defaults::apply(&self.root, object);
        let mut errors = Vec::new();
        walk::check(&self.root, object, "", &mut errors);
        if errors.is_empty() {
            self.rules.check(object, "", &mut errors);
        }
        if errors.is_empty() {
            return Ok(());
        }
        errors.sort();
        errors.dedup();
        Err(errors)
    }
}

/// The path of a field of what stands at `path`.
fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests;
