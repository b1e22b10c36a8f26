use std::{fmt, io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use thiserror::Error;
use tokio::net::TcpListener;

use crate::Readiness;

/// Makes what a page such as `/config` shows: JSON text without secrets.
pub type JsonPage = Arc<dyn Fn() -> String + Send + Sync>;

/// Why the admin server could not start.
#[derive(Debug, Error)]
pub enum AdminError {
    /// The address could not be bound.
    #[error("the admin server cannot listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl AdminError {
    /// A closed set of words for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Bind { .. } => "admin_bind",
        }
    }
}

/// `/healthz`, `/readyz`, `/metrics` and pages such as `/config`, for probes, scrapers and people. Not for the public.
pub struct AdminServer {
    listener: TcpListener,
    router: Router,
}

#[derive(Clone)]
struct AdminState {
    readiness: Readiness,
    registry: Arc<Registry>,
}

impl AdminServer {
    /// Binds `address`; nothing is answered until [`AdminServer::run`].
    pub async fn bind(
        address: SocketAddr,
        readiness: Readiness,
        registry: Arc<Registry>,
        pages: Vec<(&'static str, JsonPage)>,
    ) -> Result<Self, AdminError> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| AdminError::Bind { address, source })?;
        let mut router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics));
        for (path, page) in pages {
            router = router.route(path, get(|| async move { json(&page) }));
        }
        let router = router.with_state(AdminState { readiness, registry });
        Ok(Self { listener, router })
    }

    /// The bound address: tells the port where 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until the process ends: probes must be answered while it drains.
    pub async fn run(self) -> io::Result<()> {
        axum::serve(self.listener, self.router).await
    }
}

impl fmt::Debug for AdminServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminServer")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

async fn readyz(State(state): State<AdminState>) -> Response {
    let missing = state.readiness.report();
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("not ready: {}\n", missing.join(", ")),
    )
        .into_response()
}

async fn metrics(State(state): State<AdminState>) -> Response {
    let mut text = String::new();
    if encode(&mut text, &state.registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

fn json(page: &JsonPage) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], page()).into_response()
}
