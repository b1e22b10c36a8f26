//! What `/config` shows: everything that is served and how it fares, without secrets.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde::Serialize;
use splittoken_provider::{DocumentState, ProviderState};
use splittoken_token::Keyring;

use crate::{
    config::{ConfigStatus, Problem, RejectedRoute},
    snapshot::Snapshot,
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

/// The same for the operator, which has to know whether these are the keys that it means.
#[derive(Serialize)]
struct MarkedKeyringView {
    #[serde(flatten)]
    keyring: KeyringView,
    marks: BTreeMap<u8, String>,
}

/// What tells whether there is anything new to read in the rest.
#[derive(Serialize)]
struct Digest {
    #[serde(rename = "digest")]
    of_routes: String,
    /// Empty where there is no fault.
    faults: String,
    issuers: String,
    keyring: MarkedKeyringView,
}

/// Whether issuers can be used, and why not.
#[derive(Serialize)]
struct IssuersView {
    digest: String,
    issuers: Vec<IssuerView>,
}

#[derive(Hash, Serialize)]
struct IssuerView {
    name: String,
    discovery: Option<DocumentView>,
    jwks: Option<DocumentView>,
}

#[derive(Hash, Serialize)]
struct DocumentView {
    ok: bool,
    error: Option<String>,
}

impl From<ProviderState> for IssuerView {
    fn from(state: ProviderState) -> Self {
        let document = |state: DocumentState| DocumentView {
            ok: state.ok,
            error: state.error,
        };
        Self {
            name: state.name,
            discovery: state.discovery.map(document),
            jwks: state.jwks.map(document),
        }
    }
}

/// Stands for something where this very process is asked again.
fn short(of: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn issuer_views(snapshot: &Snapshot) -> Vec<IssuerView> {
    let states = snapshot.issuers().map(|issuer| issuer.provider.state());
    states.map(IssuerView::from).collect()
}

/// How the issuers fare, as JSON text: what [`view`] says of them without what changes every second.
pub(crate) fn issuers(shared: &Shared) -> String {
    let issuers = issuer_views(&shared.snapshots.load());
    let view = IssuersView {
        digest: short(&issuers),
        issuers,
    };
    // Strings and lists always serialise.
    serde_json::to_string(&view).unwrap_or_default()
}

/// `unusable` are routes that the feed has nothing against.
fn faults(status: &ConfigStatus, unusable: &[RejectedRoute]) -> String {
    let (problem, rejected) = (status.problem(), status.rejected());
    if problem.is_none() && rejected.is_empty() && unusable.is_empty() {
        return String::new();
    }
    short(&(problem, rejected, unusable))
}

/// The few things of `/config` that somebody asks for often, as JSON text.
pub(crate) fn digest(shared: &Shared, status: &ConfigStatus, keyring: &Keyring) -> String {
    let snapshot = shared.snapshots.load();
    let digest = Digest {
        of_routes: snapshot.table.digest(),
        faults: faults(status, &snapshot.rejected()),
        issuers: short(&issuer_views(&snapshot)),
        keyring: MarkedKeyringView {
            keyring: KeyringView::of(keyring),
            marks: keyring.marks(),
        },
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
