//! What `/config` shows: everything that is served and how it fares, without secrets.

use serde::Serialize;
use splittoken_provider::ProviderState;
use splittoken_token::Keyring;

use crate::{
    config::{ConfigStatus, Problem, RejectedRoute},
    worker::Shared,
};

#[derive(Serialize)]
struct View<'v> {
    version: &'static str,
    digest: String,
    problem: Option<Problem>,
    rejected: Vec<RejectedRoute>,
    routes: Vec<RouteView<'v>>,
    issuers: Vec<ProviderState>,
    keyring: KeyringView,
    store: StoreView<'v>,
}

#[derive(Serialize)]
struct RouteView<'v> {
    name: String,
    revision: &'v str,
    hostnames: Vec<String>,
    issuer: &'v str,
    token_endpoint: Option<&'v str>,
    rules: Vec<&'v str>,
}

#[derive(Serialize)]
struct KeyringView {
    write: u8,
    ids: Vec<u8>,
}

impl KeyringView {
    fn of(keyring: &Keyring) -> Self {
        let mut ids: Vec<u8> = keyring.kids().collect();
        ids.sort_unstable();
        Self {
            write: keyring.write_kid(),
            ids,
        }
    }
}

/// What tells whether there is anything new to read in the rest.
#[derive(Serialize)]
struct Digest {
    #[serde(rename = "digest")]
    of_routes: String,
    has_problem: bool,
    rejected: usize,
    keyring: KeyringView,
}

/// The few things of `/config` that somebody asks for often, as JSON text.
pub(crate) fn digest(shared: &Shared, status: &ConfigStatus, keyring: &Keyring) -> String {
    let snapshot = shared.snapshots.load();
    let digest = Digest {
        of_routes: snapshot.table.digest(),
        has_problem: status.problem().is_some(),
        rejected: status.rejected().len() + snapshot.rejected().len(),
        keyring: KeyringView::of(keyring),
    };
    // Strings and numbers always serialise.
    serde_json::to_string(&digest).unwrap_or_default()
}

/// The store, and how many of the workers reach it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StoreView<'v> {
    pub(crate) name: &'v str,
    pub(crate) workers: usize,
    pub(crate) workers_up: usize,
    /// The store's policy for when it is full, if it is one that ends sessions.
    pub(crate) evicting_policy: Option<String>,
}

/// The view as JSON text.
pub(crate) fn view(
    shared: &Shared,
    status: &ConfigStatus,
    keyring: &Keyring,
    store: StoreView<'_>,
) -> String {
    let snapshot = shared.snapshots.load();
    let mut rejected = status.rejected().to_vec();
    rejected.extend(snapshot.rejected());
    let routes = snapshot.table.routes().iter().map(|route| RouteView {
        name: route.config.name.to_string(),
        revision: &route.revision,
        hostnames: route.config.hostnames.iter().map(ToString::to_string).collect(),
        issuer: &route.config.issuer.name,
        token_endpoint: route
            .config
            .token_endpoint
            .as_ref()
            .map(|endpoint| endpoint.path.as_str()),
        rules: route.config.rules.iter().map(|rule| rule.name.as_str()).collect(),
    });
    let view = View {
        version: env!("CARGO_PKG_VERSION"),
        digest: snapshot.table.digest(),
        problem: status.problem(),
        rejected,
        routes: routes.collect(),
        issuers: snapshot.issuers().map(|issuer| issuer.provider.state()).collect(),
        keyring: KeyringView::of(keyring),
        store,
    };
    // Strings, numbers and lists always serialise.
    serde_json::to_string_pretty(&view).unwrap_or_default()
}
