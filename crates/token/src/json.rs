//! JSON the way a verifier must read it: a member that stands twice is an error, at every depth.
//!
//! Two readers that disagree on which of two `sub` members counts are how one person's token becomes another's.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use thiserror::Error;

/// Why bytes are not a JSON object to trust. Never quotes the content.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum JsonError {
    /// Not JSON, or followed by something.
    #[error("not valid JSON")]
    Syntax,
    /// JSON, but no object.
    #[error("not a JSON object")]
    NotAnObject,
    /// A member name stands twice in one object.
    #[error("a member stands twice")]
    Duplicate,
}

impl JsonError {
    /// A closed set of words for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Syntax => "json_syntax",
            Self::NotAnObject => "json_not_object",
            Self::Duplicate => "json_duplicate_member",
        }
    }
}

/// Marks a duplicate inside serde's error type, which carries nothing but text.
pub(crate) const DUPLICATE: &str = "duplicate member";

/// Parses `bytes` as one JSON object without duplicate members at any depth.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, JsonError> {
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(Value::Object(map))) => Ok(map),
        Ok(_) => Err(JsonError::NotAnObject),
        Err(e) => Err(classify(&e)),
    }
}

pub(crate) fn classify(error: &serde_json::Error) -> JsonError {
    if error.is_data() && error.to_string().starts_with(DUPLICATE) {
        JsonError::Duplicate
    } else {
        JsonError::Syntax
    }
}

/// A [`Value`] that refuses duplicate members while it is read.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

impl<'de> DeserializeSeed<'de> for StrictVisitor {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Value, E> {
        Number::from_f64(v)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(StrictVisitor)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(StrictVisitor)?;
            if map.insert(name, value).is_some() {
                return Err(de::Error::custom(DUPLICATE));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_duplicates_at_every_depth() {
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
            r#"{"a":1,"\u0061":2}"#,
        ] {
            assert_eq!(parse_object(bad.as_bytes()), Err(JsonError::Duplicate), "{bad}");
        }
    }

    #[test]
    fn refuses_what_is_no_object() {
        assert_eq!(parse_object(b"[1]"), Err(JsonError::NotAnObject));
        for bad in ["", "{", "{}x", "{\"a\":1e999}", "\u{feff}{}"] {
            assert_eq!(parse_object(bad.as_bytes()), Err(JsonError::Syntax), "{bad}");
        }
        assert_eq!(
            parse_object(&[b'{', b'"', 0xff, b'"', b':', b'1', b'}']),
            Err(JsonError::Syntax)
        );
        let deep = "[".repeat(100_000);
        assert_eq!(parse_object(deep.as_bytes()), Err(JsonError::Syntax));
    }

    #[test]
    fn reads_what_is_good() {
        let map = parse_object(br#" {"a":[1,-2,3.5,"x",null,true,{"b":{}}]} "#).unwrap();
        assert_eq!(
            map["a"],
            serde_json::json!([1, -2, 3.5, "x", null, true, {"b": {}}])
        );
    }
}
