use std::fmt::Write;

use serde_json::Value;
use splittoken_token::Claims;
use thiserror::Error;

use crate::{Authorization, ClaimEncoding, ClaimOperator, ClaimRequirement};

/// Why a good token is not good enough for a rule: 403, `insufficient_scope`.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum Denied {
    /// A scope is missing.
    #[error("a scope that the rule asks for is missing")]
    Scope,
    /// `aud` names none of the rule's audiences.
    #[error("the token is for another audience")]
    Audience,
    /// A claim is not what the rule asks for.
    #[error("a claim is not what the rule asks for")]
    Claim,
    /// The client is not one of the rule's.
    #[error("the client is not one that the rule lets in")]
    Client,
}

impl Denied {
    /// A closed set of words for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Scope => "scope",
            Self::Audience => "audience",
            Self::Claim => "claim",
            Self::Client => "client",
        }
    }
}

/// Whether `claims` satisfy `wanted`. Every part that is not empty must hold.
pub fn authorize(wanted: &Authorization, claims: &Claims) -> Result<(), Denied> {
    let any = |list: &[String], value: &str| list.iter().any(|wanted| wanted == value);
    if !wanted.audiences.is_empty() && !claims.audiences().any(|aud| any(&wanted.audiences, aud)) {
        return Err(Denied::Audience);
    }
    if !wanted.client_ids.is_empty() && !claims.client_id().is_some_and(|id| any(&wanted.client_ids, id)) {
        return Err(Denied::Client);
    }
    if !wanted
        .scopes
        .iter()
        .all(|scope| claims.scopes().any(|granted| granted == scope))
    {
        return Err(Denied::Scope);
    }
    if !wanted.any_scopes.is_empty() && !claims.scopes().any(|granted| any(&wanted.any_scopes, granted)) {
        return Err(Denied::Scope);
    }
    if !wanted.claims.iter().all(|requirement| holds(requirement, claims)) {
        return Err(Denied::Claim);
    }
    Ok(())
}

fn holds(requirement: &ClaimRequirement, claims: &Claims) -> bool {
    // A claim that is null says nothing.
    let claim = claims.at(&requirement.name).filter(|value| !value.is_null());
    let is_listed = |value: &Value| one_of(value, &requirement.values);
    match (requirement.operator, claim) {
        (ClaimOperator::Exists, claim) => claim.is_some(),
        (ClaimOperator::DoesNotExist, claim) => claim.is_none(),
        (ClaimOperator::In | ClaimOperator::NotIn, None) => false,
        (ClaimOperator::In, Some(Value::Array(list))) => list.iter().any(is_listed),
        (ClaimOperator::In, Some(value)) => is_listed(value),
        (ClaimOperator::NotIn, Some(Value::Array(list))) => !list.iter().any(is_listed),
        (ClaimOperator::NotIn, Some(value)) => !is_listed(value),
    }
}

/// Strings compare as they are; numbers and booleans by their JSON text.
fn one_of(value: &Value, wanted: &[String]) -> bool {
    match value {
        Value::String(text) => wanted.contains(text),
        Value::Number(_) | Value::Bool(_) => wanted.contains(&value.to_string()),
        _ => false,
    }
}

/// How a claim is written into a header, or `None` if it says nothing or cannot be written without a second
/// meaning: a control character, or a comma or outer space inside a list's element.
pub fn claim_header_value(claim: &Value, encoding: ClaimEncoding) -> Option<String> {
    let text = match (encoding, claim) {
        (_, Value::Null) => return None,
        (ClaimEncoding::CommaSeparated, Value::Array(list)) => {
            let elements: Option<Vec<String>> = list.iter().map(list_element).collect();
            elements?.join(",")
        }
        (ClaimEncoding::CommaSeparated, Value::String(text)) => text.clone(),
        (ClaimEncoding::Json | ClaimEncoding::CommaSeparated, value) => ascii_json(value),
    };
    let is_plain = !text.chars().any(char::is_control) && text.trim() == text;
    is_plain.then_some(text)
}

fn list_element(value: &Value) -> Option<String> {
    let text = value.as_str().map_or_else(|| ascii_json(value), str::to_owned);
    (!text.contains(',') && text.trim() == text).then_some(text)
}

/// JSON with every character outside ASCII escaped, because headers have no agreed encoding.
fn ascii_json(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        if c.is_ascii() && c != '\u{7f}' {
            out.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims() -> Claims {
        let all = json!({
            "aud": ["api", "other"], "scope": "read write", "client_id": "shop", "level": 3, "admin": false,
            "realm_access": {"roles": ["user", "editor"]}, "nothing": null,
        });
        Claims::new(all.as_object().unwrap().clone()).unwrap()
    }

    fn list(values: &[&str]) -> Vec<String> {
        values.iter().map(|v| (*v).to_owned()).collect()
    }

    #[test]
    fn each_part_decides_alone() {
        let none = Authorization::default();
        for (wanted, result) in [
            (none.clone(), Ok(())),
            (
                Authorization {
                    audiences: list(&["x", "api"]),
                    ..none.clone()
                },
                Ok(()),
            ),
            (
                Authorization {
                    audiences: list(&["x"]),
                    ..none.clone()
                },
                Err(Denied::Audience),
            ),
            (
                Authorization {
                    scopes: list(&["read", "write"]),
                    ..none.clone()
                },
                Ok(()),
            ),
            (
                Authorization {
                    scopes: list(&["read", "delete"]),
                    ..none.clone()
                },
                Err(Denied::Scope),
            ),
            (
                Authorization {
                    any_scopes: list(&["delete", "write"]),
                    ..none.clone()
                },
                Ok(()),
            ),
            (
                Authorization {
                    any_scopes: list(&["delete"]),
                    ..none.clone()
                },
                Err(Denied::Scope),
            ),
            (
                Authorization {
                    client_ids: list(&["shop"]),
                    ..none.clone()
                },
                Ok(()),
            ),
            (
                Authorization {
                    client_ids: list(&["bank"]),
                    ..none.clone()
                },
                Err(Denied::Client),
            ),
            (
                Authorization {
                    scopes: list(&["rea"]),
                    ..none.clone()
                },
                Err(Denied::Scope),
            ),
        ] {
            assert_eq!(authorize(&wanted, &claims()), result, "{wanted:?}");
        }
    }

    #[test]
    fn claim_operators() {
        use ClaimOperator::{DoesNotExist, Exists, In, NotIn};
        for (name, operator, values, good) in [
            ("realm_access.roles", In, &["editor"][..], true),
            ("realm_access.roles", In, &["admin"], false),
            ("realm_access.roles", NotIn, &["admin"], true),
            ("realm_access.roles", NotIn, &["user"], false),
            ("level", In, &["3"], true),
            ("admin", In, &["false"], true),
            ("missing", In, &["x"], false),
            ("missing", NotIn, &["x"], false),
            ("missing", Exists, &[], false),
            ("missing", DoesNotExist, &[], true),
            ("level", Exists, &[], true),
            ("nothing", Exists, &[], false),
            ("realm_access", In, &["{}"], false),
        ] {
            let claim = ClaimRequirement {
                name: name.to_owned(),
                operator,
                values: list(values),
            };
            let wanted = Authorization {
                claims: vec![claim],
                ..Authorization::default()
            };
            assert_eq!(
                authorize(&wanted, &claims()).is_ok(),
                good,
                "{name} {operator:?} {values:?}"
            );
        }
    }

    #[test]
    fn header_values_have_one_meaning() {
        use ClaimEncoding::{CommaSeparated, Json};
        for (claim, encoding, value) in [
            (json!("Zoë, or so"), CommaSeparated, Some("Zoë, or so")),
            (json!(["a", "b"]), CommaSeparated, Some("a,b")),
            (json!(["a,b"]), CommaSeparated, None),
            (json!(["a", " b"]), CommaSeparated, None),
            (json!("a\r\nX-Admin: 1"), CommaSeparated, None),
            (json!(" a"), CommaSeparated, None),
            (json!(7), CommaSeparated, Some("7")),
            (json!(null), Json, None),
            (json!("a\r\nb"), Json, Some(r#""a\r\nb""#)),
            (json!({"é": "😀"}), Json, Some(r#"{"\u00e9":"\ud83d\ude00"}"#)),
        ] {
            assert_eq!(claim_header_value(&claim, encoding).as_deref(), value, "{claim}");
        }
    }
}
