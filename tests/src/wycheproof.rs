//! Wycheproof's vectors of JSON Web Signature and Encryption: tokens that some library once took, beside good ones.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::parts;
use crate::secret::from_base64url;

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
    /// Secrets for HMAC, each with the tokens that are about it.
    pub secrets: BTreeMap<Vec<u8>, Vec<Vector>>,
}

impl Vectors {
    /// Reads what `tests/setup` got.
    pub fn read() -> Result<Self> {
        let folder = parts::path("SPLITTOKEN_WYCHEPROOF")?;
        let mut this = Self::default();
        for file in FILES {
            let path = folder.join(format!("json_web_{file}_test.json"));
            let text = fs::read(&path).with_context(|| path.display().to_string())?;
            let content: Value = serde_json::from_slice(&text)?;
            for group in list(&content, "testGroups")? {
                this.add(file, group)?;
            }
        }
        Ok(this)
    }

    fn add(&mut self, file: &str, group: &Value) -> Result<()> {
        for key in group.get("public").into_iter().flat_map(members) {
            if !self.keys.contains(key) {
                self.keys.push(key.clone());
            }
        }
        let tests = list(group, "tests")?.iter();
        let tokens = tests.map(|test| vector(file, test)).collect::<Result<Vec<_>>>()?;
        if let Some(secret) = secret(&group["private"])? {
            self.secrets.entry(secret).or_default().extend_from_slice(&tokens);
        }
        self.tokens.extend(tokens);
        Ok(())
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

/// The secret of a key for HS256, HS384 or HS512.
fn secret(key: &Value) -> Result<Option<Vec<u8>>> {
    let is_hmac = key["alg"].as_str().is_some_and(|alg| alg.starts_with("HS"));
    match key["k"].as_str() {
        Some(text) if is_hmac => from_base64url(text).map(Some),
        _ => Ok(None),
    }
}

fn vector(file: &str, test: &Value) -> Result<Vector> {
    let token = test.get("jws").or_else(|| test.get("jwe")).context("no token")?;
    Ok(Vector {
        name: format!("{file} {} {}", test["tcId"], test["comment"]),
        token: token.as_str().map_or_else(|| token.to_string(), str::to_owned),
    })
}
