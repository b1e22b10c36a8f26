//! Everything that takes part and must not be written down.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use splittoken_tests::marks::Marks;
use splittoken_tests::{jwt, secret};

/// What kinds there must be in the end, so that none is forgotten in silence.
const KINDS: [&str; 17] = [
    "a Redis password",
    "a client's secret",
    "a code verifier",
    "a pepper",
    "a refresh token",
    "a user's password",
    "an HMAC key",
    "an ID token",
    "an access token",
    "a claim",
    "an authorization code",
    "an opaque token of a provider",
    "an untrustworthy token",
    "a client's assertion",
    "a subject's token",
    "Basic credentials",
    "a made-up token",
];

/// Secrets by their kinds.
#[derive(Debug, Default)]
pub(super) struct Secrets(Mutex<BTreeSet<(String, Vec<u8>)>>);

impl Secrets {
    /// One of [`KINDS`].
    pub(super) fn add(&self, kind: &str, text: impl AsRef<[u8]>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert((kind.to_owned(), text.as_ref().to_vec()));
    }

    /// All parts of a JWT, each by itself, and the bytes of its signature.
    pub(super) fn add_jwt(&self, kind: &str, token: &str) -> Result<()> {
        for part in token.split('.').filter(|part| !part.is_empty()) {
            self.add(kind, part);
        }
        let signature = token.rsplit('.').next().unwrap_or_default();
        if !signature.is_empty() {
            self.add(kind, secret::from_base64url(signature)?);
        }
        Ok(())
    }

    /// The claims that say who it is about; the others are the same for everybody.
    pub(super) fn add_claims(&self, token: &str) -> Result<()> {
        let claims = jwt::claims(token)?;
        for name in ["sub", "email", "jti"] {
            let text = claims[name].as_str().filter(|text| text.len() > 20);
            if let Some(text) = text {
                self.add("a claim", text);
            }
        }
        Ok(())
    }

    /// The peppers of a keyring file.
    pub(super) fn add_keyring(&self, file: &str) -> Result<()> {
        let file: Value = serde_json::from_str(file)?;
        for pepper in file["keys"].as_object().context("no keys")?.values() {
            let pepper = pepper.as_str().context("a pepper that is no text")?;
            self.add("a pepper", pepper);
            self.add("a pepper", secret::from_base64url(pepper)?);
        }
        Ok(())
    }

    /// What to search for.
    pub(super) fn marks(&self) -> Marks {
        let mut marks = Marks::new();
        for (kind, text) in self.all() {
            marks.add(&kind, text);
        }
        marks
    }

    /// Each of them is found where it does stand, in the middle of something, and there are all kinds of them.
    pub(super) fn can_be_found(&self, marks: &Marks) -> Result<()> {
        let all = self.all();
        for (kind, text) in &all {
            let control = [b"some=", text.as_slice(), b"&more=1"].concat();
            let found = marks
                .found_in(&control)
                .into_iter()
                .any(|found| found.starts_with(kind));
            ensure!(found, "the search does not see {kind}");
        }
        let found: BTreeSet<&str> = all.iter().map(|(kind, _)| kind.as_str()).collect();
        ensure!(
            found == BTreeSet::from(KINDS),
            "other kinds of secrets: {found:?}"
        );
        Ok(())
    }

    fn all(&self) -> BTreeSet<(String, Vec<u8>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
