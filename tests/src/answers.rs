//! Token answers compared: the gateway's with what the provider itself says to the same request.

use std::fmt;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::http::Answer;

/// Fewer members than this would make a comparison of hardly anything.
const FEWEST: usize = 3;

/// Seconds that a busy provider takes from signing to answering, and then some.
const PASSED: u64 = 5;

/// The members of a JSON object in their order, each value as it is spelled.
#[derive(Debug)]
pub struct Members(Vec<(String, String)>);

impl Members {
    /// Of an answer's body.
    pub fn of(answer: &Answer) -> Result<Self> {
        serde_json::from_slice(&answer.body).with_context(|| answer.text())
    }

    /// The names.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// All but those whose values differ from one token to the next.
    pub fn lasting(&self) -> Vec<&(String, String)> {
        let changes = |name: &str| name.ends_with("_token") || name == "session_state";
        self.0.iter().filter(|(name, _)| !changes(name)).collect()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    members.push((name, value.get().to_owned()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// What came through the gateway differs from what the provider itself says in nothing but the tokens.
pub fn same_but_for_the_token(directly: &Answer, through: &Answer) -> Result<()> {
    same_without(directly, through, None)
}

/// The same, and `name` is in the provider's answer and not in the gateway's.
pub fn same_but_for_the_token_and_without(directly: &Answer, through: &Answer, name: &str) -> Result<()> {
    let expected = Members::of(directly)?;
    assert!(expected.names().contains(&name), "{}", directly.text());
    same_without(directly, through, Some(name))
}

fn same_without(directly: &Answer, through: &Answer, removed: Option<&str>) -> Result<()> {
    assert_eq!(
        (directly.status, through.status),
        (200, 200),
        "{}",
        through.text()
    );
    let (expected, found) = (Members::of(directly)?, Members::of(through)?);
    let mut names = expected.names();
    names.retain(|name| Some(*name) != removed);
    assert_eq!(found.names(), names, "members or their order");
    for ((name, expected), (_, found)) in expected.lasting().into_iter().zip(found.lasting()) {
        assert!(
            expected == found || are_lives(name, expected, found),
            "{name}, as it is spelled: {found} in place of {expected}"
        );
    }
    assert!(
        expected.lasting().len() >= FEWEST,
        "hardly anything was compared: {}",
        directly.text()
    );
    assert_eq!(through.header("content-type"), Some("application/json"));
    never_cached(through);
    assert_eq!(through.header("set-cookie"), None);
    Ok(())
}

/// Whether both are numbers of seconds, less what may have passed: Keycloak counts from when it signed.
fn are_lives(name: &str, one: &str, other: &str) -> bool {
    let is_close = |(one, other): (u64, u64)| one.abs_diff(other) <= PASSED;
    let both = one.parse().ok().zip(other.parse().ok());
    name.ends_with("expires_in") && both.is_some_and(is_close)
}

/// The provider's own refusal came back: status, body byte for byte, and what it says of authentication.
pub fn same_refusal(directly: &Answer, through: &Answer) -> Result<()> {
    assert!(
        (400..=401).contains(&directly.status),
        "no refusal: {} {}",
        directly.status,
        directly.text()
    );
    assert!(directly.json()?["error"].is_string(), "{}", directly.text());
    assert_eq!(
        (through.status, through.text()),
        (directly.status, directly.text())
    );
    assert_eq!(
        through.header("www-authenticate"),
        directly.header("www-authenticate")
    );
    never_cached(through);
    Ok(())
}

fn never_cached(answer: &Answer) {
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
}
