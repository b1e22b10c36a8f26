//! The data plane: listeners, request gate, token endpoint, API proxy, upstream connections.
//!
//! ```text
//!   acceptor ──▶ worker (one a thread) ──▶ connection ──▶ request: gate ─▶ table ─┬▶ token_endpoint ─▶ provider, store
//!                                                                  └▶ api_request ─▶ tokens ─▶ upstream
//!   Config channel ──▶ snapshot (table, providers, counters), swapped as one
//! ```
//!
//! It is handed a channel of route tables and does not know where they come from: nothing here knows of files,
//! Kubernetes or custom resources. What can be decided without I/O is decided in functions over plain data
//! (`gate`, `credential`, `token_request`, `issue`, `headers`); `failure` alone turns errors into answers.

mod acceptor;
mod access_log;
mod api_request;
mod body;
mod census;
mod circuit;
mod client_address;
mod config;
mod config_view;
mod connection;
mod cors;
mod credential;
mod crowd;
mod failure;
mod gate;
mod gateway;
mod grpc;
mod headers;
mod http2;
mod issue;
mod issuer;
mod key_archive;
mod limits;
mod metrics;
mod misses;
mod random;
mod request;
mod retry_budget;
mod served_counters;
mod settings;
mod snapshot;
mod store_health;
mod times;
mod tls;
mod token_endpoint;
mod token_request;
mod tokens;
mod trace;
mod tracked;
mod upgrade;
mod upstream;
mod vigil;
mod worker;

pub use config::{Config, Problem, RejectedRoute};
pub use gate::GateError;
pub use gateway::{Gateway, Ingredients, SharedKeyring, StartError};
pub use limits::Limits;
pub use settings::{AccessLog, Settings};
pub use tls::{
    CertificateError, CertificatePem, CertificateState, Certificates, FoundCertificate, SharedCertificates,
};
pub use trace::Tracing;
