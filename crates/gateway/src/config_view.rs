//! What `/config` shows: everything that is served and how it fares, without secrets.

use serde::Serialize;
use splittoken_provider::ProviderState;
use splittoken_token::Keyring;

use crate::{config::Problem, worker::Shared};

#[derive(Serialize)]
struct View<'v> {
    version: &'static str,
    digest: String,
    problem: Option<Problem>,
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
    problem: Option<Problem>,
    keyring: &Keyring,
    store: StoreView<'_>,
) -> String {
    let snapshot = shared.snapshots.load();
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
    let mut ids: Vec<u8> = keyring.kids().collect();
    ids.sort_unstable();
    let view = View {
        version: env!("CARGO_PKG_VERSION"),
        digest: snapshot.table.digest(),
        problem,
        routes: routes.collect(),
        issuers: snapshot
            .issuers()
            .iter()
            .map(|issuer| issuer.provider.state())
            .collect(),
        keyring: KeyringView {
            write: keyring.write_kid(),
            ids,
        },
        store,
    };
    // Strings, numbers and lists always serialise.
    serde_json::to_string_pretty(&view).unwrap_or_default()
}
