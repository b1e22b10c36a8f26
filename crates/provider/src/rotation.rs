//! From the keys that an issuer published to those that it publishes now.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use splittoken_token::{Algorithm, KeySet, KeySetError, parse_object};

/// How long keys are used after the last fetch that worked: a provider that is down over a weekend's day does
/// not stop API traffic, and a removed key cannot be kept alive forever by blocking the fetch.
pub const KEEP: Duration = Duration::from_secs(24 * 3600);
/// How many removed ids are remembered, the latest: as many as a JWK Set may hold.
const MAX_RETIRED: usize = 64;

/// An issuer's keys, and what became of earlier ones. Never changed: replaced.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rotation {
    keys: Arc<KeySet>,
    /// The ids of the last set, kept when the keys themselves are dropped.
    ids: BTreeSet<String>,
    /// Everything that makes a key that key, for each entry of the last set.
    entries: BTreeSet<String>,
    /// Ids that were there and have left, oldest first.
    retired: VecDeque<String>,
    fetched_at: Option<Instant>,
}

/// What a new JWK Set changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Ids that were not there before.
    pub(crate) came: Vec<String>,
    /// Ids that are not there any more.
    pub(crate) left: Vec<String>,
    /// Whether some key left, be it without an id, or replaced under the same id.
    pub(crate) some_key_left: bool,
}

impl Change {
    /// Whether there is any.
    pub(crate) fn is_news(&self) -> bool {
        !self.came.is_empty() || self.some_key_left
    }
}

impl Rotation {
    pub(crate) fn keys(&self) -> &Arc<KeySet> {
        &self.keys
    }

    /// Whether the keys were published before `at`, or none are known.
    pub(crate) fn is_older_than(&self, at: Instant) -> bool {
        self.fetched_at.is_none_or(|fetched| fetched < at)
    }

    pub(crate) fn is_published(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    pub(crate) fn is_retired(&self, id: &str) -> bool {
        self.retired.iter().any(|retired| retired == id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.iter().map(String::as_str)
    }

    pub(crate) fn retired_ids(&self) -> impl Iterator<Item = &str> {
        self.retired.iter().map(String::as_str)
    }

    /// What holds once the issuer publishes `document`.
    pub(crate) fn replaced_by(
        &self,
        document: &[u8],
        algorithms: &[Algorithm],
        now: Instant,
    ) -> Result<(Self, Change), KeySetError> {
        let keys = KeySet::parse(document, algorithms)?;
        let ids: BTreeSet<String> = keys.key_ids().map(str::to_owned).collect();
        let entries = entries(document)?;
        let change = Change {
            came: ids.difference(&self.ids).cloned().collect(),
            left: self.ids.difference(&ids).cloned().collect(),
            some_key_left: self.entries.difference(&entries).next().is_some(),
        };
        let returned = |id: &String| ids.contains(id);
        let mut retired: VecDeque<String> = self
            .retired
            .iter()
            .filter(|id| !returned(id))
            .chain(&change.left)
            .cloned()
            .collect();
        retired.drain(..retired.len().saturating_sub(MAX_RETIRED));
        let next = Self {
            keys: Arc::new(keys),
            ids,
            entries,
            retired,
            fetched_at: Some(now),
        };
        Ok((next, change))
    }

    /// What holds after a fetch failed at `now`, if that is something else.
    pub(crate) fn after_failure(&self, now: Instant) -> Option<Self> {
        let too_old = self
            .fetched_at
            .is_some_and(|at| now.saturating_duration_since(at) >= KEEP);
        // The ids stay: a key that is missing when the provider is back has left in the meantime.
        (too_old && !self.keys.is_empty()).then(|| Self {
            keys: Arc::default(),
            ..self.clone()
        })
    }
}

/// One text for each key of the set: its id, its use and its public material.
///
/// An id alone is not enough: keys may lack one, and a provider may put another key under the same id.
fn entries(document: &[u8]) -> Result<BTreeSet<String>, KeySetError> {
    const MEMBERS: [&str; 10] = ["kid", "kty", "crv", "n", "e", "x", "y", "use", "alg", "key_ops"];
    let object = parse_object(document).map_err(|_| KeySetError::Shape)?;
    let list = object
        .get("keys")
        .and_then(Value::as_array)
        .ok_or(KeySetError::Shape)?;
    let entry = |jwk: &Value| {
        Value::from(
            MEMBERS
                .map(|name| jwk.get(name).cloned().unwrap_or_default())
                .to_vec(),
        )
    };
    Ok(list.iter().map(|jwk| entry(jwk).to_string()).collect())
}

#[cfg(test)]
mod tests;
