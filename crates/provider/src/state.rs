use std::time::Instant;

use serde::Serialize;
use splittoken_token::Algorithm;

use crate::{health::Health, shared::Shared};

/// How a provider fares. Holds no secret and no URL but the issuer's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderState {
    /// What it is called.
    pub name: String,
    /// The `iss` of its tokens.
    pub issuer: String,
    /// The `alg` values that its tokens may have.
    pub algorithms: Vec<Algorithm>,
    /// Whether it is known where token requests go.
    pub token_endpoint_known: bool,
    /// The metadata document; `None` where no discovery is wanted.
    pub discovery: Option<DocumentState>,
    /// The JWK Set; `None` where no published key is needed.
    pub jwks: Option<DocumentState>,
    /// The ids of the keys in use.
    pub key_ids: Vec<String>,
    /// The ids of keys that were in use and have left, at most 64, the latest last.
    pub retired_key_ids: Vec<String>,
    /// How often a key has left.
    pub epoch: u64,
}

/// How a document fares. Ages are in whole seconds, rounded down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentState {
    /// Whether the last fetch worked; false before the first.
    pub ok: bool,
    /// How long ago the last fetch that worked was.
    pub fetched_seconds_ago: Option<u64>,
    /// For how long every fetch has failed.
    pub failing_seconds: Option<u64>,
    /// Why the last fetch failed, of a closed set.
    pub reason: Option<&'static str>,
    /// The same for people.
    pub error: Option<String>,
    /// When the next fetch is planned; 0 while it is under way.
    pub next_in_seconds: Option<u64>,
}

pub(crate) fn of(shared: &Shared) -> ProviderState {
    let (settings, rotation, now) = (&shared.settings, shared.rotation.load(), Instant::now());
    let key_ids = if rotation.keys().is_empty() {
        Vec::new()
    } else {
        rotation.ids().map(str::to_owned).collect()
    };
    ProviderState {
        name: settings.name.clone(),
        issuer: settings.url.clone(),
        algorithms: settings.algorithms.clone(),
        token_endpoint_known: shared.endpoints.load().token.is_some(),
        discovery: shared
            .issuer
            .is_some()
            .then(|| document(&shared.discovery_health.lock(), now)),
        jwks: settings
            .needs_jwks()
            .then(|| document(&shared.jwks_health.lock(), now)),
        key_ids,
        retired_key_ids: rotation.retired_ids().map(str::to_owned).collect(),
        epoch: shared.epoch.current(),
    }
}

fn document(health: &Health, now: Instant) -> DocumentState {
    let age = |at: Instant| now.saturating_duration_since(at).as_secs();
    let failing = health.failing.as_ref();
    DocumentState {
        ok: failing.is_none() && health.fetched_at.is_some(),
        fetched_seconds_ago: health.fetched_at.map(age),
        failing_seconds: failing.map(|failing| age(failing.since)),
        reason: failing.map(|failing| failing.reason),
        error: failing.map(|failing| failing.message.clone()),
        next_in_seconds: health.next.map(|at| at.saturating_duration_since(now).as_secs()),
    }
}
