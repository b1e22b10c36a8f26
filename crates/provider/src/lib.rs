//! The identity provider as the gateway uses it: discovery, keys with rotation, the token call, revocation.
//!
//! ```text
//!   Provider::run ──▶ discovery ──▶ JWKS ──▶ Rotation ──▶ keys(), epoch()
//!        ▲ asks, within the cool-down                        │
//!   verify_at_issue, verify_on_fill ◀────────────────────────┘
//!   token_call, revoke ──────────────────────────────────▶ the provider
//! ```
//!
//! One background task writes; the threads that serve only read snapshots, ask and wait. What is decided
//! (documents, rotation, cool-down, schedule) is plain functions over plain data with the time as an argument;
//! one file talks to the network.
//!
//! This room knows nothing of routes, clients, stores or Kubernetes. It never logs a token, a body or a query.

mod clients;
mod cooldown;
mod discovery;
mod endpoint;
mod epoch;
mod error;
mod health;
mod http_client;
mod kept;
mod observer;
mod provider;
mod refresh;
mod resolver;
mod revoke;
mod rotation;
mod schedule;
mod settings;
mod shared;
mod state;
mod token_call;
mod verify;

pub use endpoint::UrlError;
pub use epoch::Epoch;
pub use error::{CallError, FillError, IssueError, ProviderError, RevokeError, TokenCallError};
pub use kept::{Archiving, Keepers, Kept, KeptKeys, KeyArchive};
pub use observer::Observer;
pub use provider::Provider;
pub use revoke::{ClientCredentials, TokenTypeHint};
pub use rotation::KEEP as KEYS_KEPT;
pub use settings::{GivenCertificate, GivenEndpoints, ProviderSettings};
pub use splittoken_reach::{Reach, Refused};
pub use state::{DocumentState, ProviderState};
pub use token_call::{MAX_ANSWER_BYTES, ProviderAnswer, TokenCall};
