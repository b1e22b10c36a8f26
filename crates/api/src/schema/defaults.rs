use serde_json::Value;

use super::node::{Kind, Node};

/// Fills in defaults and drops nulls, as the API server does before it validates: a null is a field left out,
/// and a default that was filled in is filled in further.
pub(super) fn apply(node: &Node, value: &mut Value) {
    match (&node.kind, value) {
        (Kind::Object(object), Value::Object(map)) => {
            map.retain(|name, value| !(value.is_null() && node.property(name).is_some()));
            for (name, property) in &object.properties {
                if let Some(default) = &property.default
                    && !map.contains_key(name)
                {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in map.iter_mut() {
                if let Some(property) = node.property(name) {
                    apply(property, value);
                }
            }
        }
        (Kind::Array(array), Value::Array(items)) => {
            for item in items {
                apply(&array.items, item);
            }
        }
        _ => {}
    }
}
