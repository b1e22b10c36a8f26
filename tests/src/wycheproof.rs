//! Wycheproof's vectors of JSON Web Signature and Encryption: tokens that some library once took, beside good ones.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::parts;

/// The files that hold tokens.
const FILES: [&str; 4] = ["signature", "crypto", "key", "encryption"];

/// One token.
#[derive(Debug, Clone)]
pub struct Vector {
    /// File and number, and what is wrong with it, if anything.
    pub name: String,
    /// In compact form, or in JSON where that is the point.
    pub token: String,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Vectors {
    /// The tokens, in the order of the files.
    pub tokens: Vec<Vector>,
    /// The public keys that they are signed with, each once.
    pub keys: Vec<Value>,
}

impl Vectors {
    /// Reads what `tests/setup` got.
    pub fn read() -> Result<Self> {
        let folder = parts::path("SPLITTOKEN_WYCHEPROOF")?;
        let (mut tokens, mut keys) = (Vec::new(), BTreeMap::new());
        for file in FILES {
            let path = folder.join(format!("json_web_{file}_test.json"));
            let text = fs::read(&path).with_context(|| path.display().to_string())?;
            let content: Value = serde_json::from_slice(&text)?;
            for group in list(&content, "testGroups")? {
                let published = group.get("public").into_iter().flat_map(members);
                keys.extend(published.map(|key| (key.to_string(), key.clone())));
                for test in list(group, "tests")? {
                    tokens.push(vector(file, test)?);
                }
            }
        }
        let keys = keys.into_values().collect();
        Ok(Self { tokens, keys })
    }
}

fn list<'v>(value: &'v Value, name: &str) -> Result<&'v Vec<Value>> {
    value[name].as_array().with_context(|| format!("no list {name}"))
}

/// A key is itself, a set is its keys.
fn members(key: &Value) -> Vec<&Value> {
    let set = key["keys"].as_array().map(|keys| keys.iter().collect());
    set.unwrap_or_else(|| vec![key])
}

fn vector(file: &str, test: &Value) -> Result<Vector> {
    let token = test.get("jws").or_else(|| test.get("jwe")).context("no token")?;
    Ok(Vector {
        name: format!("{file} {} {}", test["tcId"], test["comment"]),
        token: token.as_str().map_or_else(|| token.to_string(), str::to_owned),
    })
}
