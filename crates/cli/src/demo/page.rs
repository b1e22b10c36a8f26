//! The demo's page and the few facts that it shows: what the provider issued last, what the store
//! holds, who the demo's client and user are. Static files are embedded; there is no build step.
//!
//! `/demo/issued` and `/demo/store` are the look behind the curtain that makes this a demo. They are
//! served to whoever reaches the gateway, which is why the demo listens on loopback.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderName, HeaderValue, header},
    middleware::map_response,
    response::Response,
    routing::get,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{CLIENT_ID, CLIENT_SECRET, PASSWORD, USERNAME, provider::Issued};

/// One record of the store, as it lies there.
#[derive(Clone)]
pub(crate) struct StoredEntry {
    /// The store's key (`st1:…`).
    pub(crate) key: String,
    /// The record's bytes, sealed.
    pub(crate) value: Vec<u8>,
    /// Time until the store forgets the record.
    pub(crate) expires_in: Duration,
}

impl fmt::Debug for StoredEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            value,
            expires_in,
        } = self;
        write!(f, "StoredEntry({key}, {} bytes, {expires_in:?})", value.len())
    }
}

/// Lists the store. Called once a request, on a thread that serves: it must not block for long.
pub(crate) type StoreView = Arc<dyn Fn() -> Vec<StoredEntry> + Send + Sync>;

/// The gateway's store, as far as people are shown it.
#[derive(Clone)]
pub(crate) struct ShownStore {
    /// What it is, without its password: `memory`, `redis://127.0.0.1:6379/0`.
    pub(crate) name: String,
    /// `None` where the records lie outside this process.
    pub(crate) view: Option<StoreView>,
}

/// What the page may look at.
#[derive(Clone)]
pub(super) struct Behind {
    pub(super) issued: watch::Receiver<Option<Issued>>,
    pub(super) store: ShownStore,
    /// Base URLs, for people to read.
    pub(super) provider: String,
    pub(super) api: String,
}

/// Path, media type and content of each embedded file.
const FILES: [(&str, &str, &str); 11] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    (
        "/demo/style.css",
        "text/css; charset=utf-8",
        include_str!("page/style.css"),
    ),
    (
        "/demo/diagram.css",
        "text/css; charset=utf-8",
        include_str!("page/diagram.css"),
    ),
    ("/demo/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/demo/main.js", JAVASCRIPT, include_str!("page/main.js")),
    ("/demo/gateway.js", JAVASCRIPT, include_str!("page/gateway.js")),
    ("/demo/view.js", JAVASCRIPT, include_str!("page/view.js")),
    ("/demo/cheat.js", JAVASCRIPT, include_str!("page/cheat.js")),
    ("/demo/records.js", JAVASCRIPT, include_str!("page/records.js")),
    ("/demo/hexdump.js", JAVASCRIPT, include_str!("page/hexdump.js")),
    ("/demo/diagram.js", JAVASCRIPT, include_str!("page/diagram.js")),
];
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// On every answer. The page runs its own files only, talks to its own origin only, sits in no
/// frame, and what it is told is kept in no cache and readable by no other origin.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// The page at `/`, its files and facts below `/demo/`.
pub(super) fn router(behind: Behind) -> Router {
    let files = FILES
        .into_iter()
        .fold(Router::new(), |router, (path, media_type, content)| {
            router.route(
                path,
                get(move || async move { ([(header::CONTENT_TYPE, media_type)], content) }),
            )
        });
    files
        .route("/demo/setup", get(setup))
        .route("/demo/issued", get(issued))
        .route("/demo/store", get(store))
        .layer(map_response(with_headers))
        .with_state(behind)
}

async fn with_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Who may ask for a token here, and what runs where.
async fn setup(State(behind): State<Behind>) -> Json<Value> {
    Json(json!({
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "username": USERNAME,
        "password": PASSWORD,
        "provider": behind.provider,
        "api": behind.api,
        "store": behind.store.name,
    }))
}

/// The JWT that the provider issued last, to any client; `null` before the first.
async fn issued(State(behind): State<Behind>) -> Json<Value> {
    let jwt = behind
        .issued
        .borrow()
        .as_ref()
        .map(|issued| issued.jwt().to_owned());
    Json(json!({ "jwt": jwt }))
}

/// The store's records, the longest-lived (and so the newest) first. `null`: not in this process.
async fn store(State(behind): State<Behind>) -> Json<Value> {
    let Some(view) = behind.store.view else {
        return Json(json!({ "entries": null }));
    };
    let mut entries = view();
    entries.sort_by(|a, b| b.expires_in.cmp(&a.expires_in).then_with(|| a.key.cmp(&b.key)));
    let entries: Vec<Value> = entries.iter().map(entry).collect();
    Json(json!({ "entries": entries }))
}

fn entry(entry: &StoredEntry) -> Value {
    json!({
        "key": entry.key,
        "size": entry.value.len(),
        "expires_in": entry.expires_in.as_secs(),
        "value": STANDARD.encode(&entry.value),
    })
}

#[cfg(test)]
pub(super) const fn file_count() -> usize {
    FILES.len()
}
