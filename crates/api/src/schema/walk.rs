use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{
    join,
    node::{ArrayNode, Kind, ListType, Node, ObjectNode, StringNode},
};
use crate::{
    field_error::{FieldError, FieldReason},
    patterns,
};

/// Adds to `errors` everything that is wrong with the shape of `value`, which stands at `path`.
pub(super) fn check(node: &Node, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match (&node.kind, value) {
        (Kind::Object(node), Value::Object(map)) => check_object(node, map, path, errors),
        (Kind::Array(node), Value::Array(items)) => check_array(node, items, path, errors),
        (Kind::String(node), Value::String(text)) => check_string(node, text, path, errors),
        (Kind::Integer { min, max }, Value::Number(number)) if number.is_i64() || number.is_u64() => {
            if !number.as_i64().is_some_and(|n| (*min..=*max).contains(&n)) {
                errors.push(FieldError::new(
                    path,
                    FieldReason::Bounds,
                    format!("must be from {min} to {max}"),
                ));
            }
        }
        (Kind::Boolean, Value::Bool(_)) => {}
        (kind, value) => errors.push(type_error(kind, value, path)),
    }
}

fn check_object(node: &ObjectNode, map: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    for name in node.required.iter().filter(|name| !map.contains_key(*name)) {
        errors.push(FieldError::new(
            join(path, name),
            FieldReason::Required,
            "is required",
        ));
    }
    for (name, value) in map {
        match node.properties.get(name).or(node.additional.as_deref()) {
            Some(property) => check(property, value, &join(path, name), errors),
            None => errors.push(FieldError::new(
                join(path, name),
                FieldReason::Unknown,
                "no such field",
            )),
        }
    }
    check_count(map.len(), node.properties_range, "fields", path, errors);
}

fn check_array(node: &ArrayNode, items: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    check_count(items.len(), node.items_range, "entries", path, errors);
    // No more than may be there are looked at: a huge list costs no more than a full one.
    for (index, item) in items.iter().take(node.items_range.1).enumerate() {
        check(&node.items, item, &format!("{path}[{index}]"), errors);
    }
    let key_of = |item: &Value| match &node.list {
        ListType::Atomic => None,
        ListType::Set => Some(item.to_string()),
        ListType::Map(keys) => Some(
            keys.iter()
                .map(|key| item[key].to_string())
                .collect::<Vec<_>>()
                .join("/"),
        ),
    };
    let mut seen = HashSet::new();
    for (index, item) in items.iter().take(node.items_range.1).enumerate() {
        if key_of(item).is_some_and(|key| !seen.insert(key)) {
            let message = match &node.list {
                ListType::Map(keys) => format!("another entry has the same {}", keys.join(" and ")),
                _ => "another entry is the same".to_owned(),
            };
            errors.push(FieldError::new(
                format!("{path}[{index}]"),
                FieldReason::Duplicate,
                message,
            ));
        }
    }
}

fn check_string(node: &StringNode, text: &str, path: &str, errors: &mut Vec<FieldError>) {
    if !check_count(
        text.chars().count(),
        node.length_range,
        "characters",
        path,
        errors,
    ) {
        return;
    }
    if !node.allowed.is_empty() && !node.allowed.iter().any(|allowed| allowed == text) {
        let message = format!("must be one of {}", node.allowed.join(", "));
        errors.push(FieldError::new(path, FieldReason::Enum, message));
    }
    if let Some(pattern) = &node.pattern
        && !pattern.is_match(text)
    {
        let message = match patterns::in_words(pattern.as_str()) {
            Some(words) => format!("must be {words}"),
            None => format!("must match {}", pattern.as_str()),
        };
        errors.push(FieldError::new(path, FieldReason::Pattern, message));
    }
}

/// Whether there are as many as there may be.
fn check_count(
    count: usize,
    (min, max): (usize, usize),
    what: &str,
    path: &str,
    errors: &mut Vec<FieldError>,
) -> bool {
    if count < min {
        let message = format!("must have at least {min} {what}");
        errors.push(FieldError::new(path, FieldReason::Bounds, message));
    }
    if count > max {
        let message = format!("must have at most {max} {what}");
        errors.push(FieldError::new(path, FieldReason::Bounds, message));
    }
    (min..=max).contains(&count)
}

fn type_error(kind: &Kind, value: &Value, path: &str) -> FieldError {
    let expected = match kind {
        Kind::Object(_) => "an object",
        Kind::Array(_) => "a list",
        Kind::String(_) => "text (quote it)",
        Kind::Integer { .. } => "a whole number",
        Kind::Boolean => "true or false",
    };
    let found = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    FieldError::new(
        path,
        FieldReason::Type,
        format!("must be {expected}, not {found}"),
    )
}
