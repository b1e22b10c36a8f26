//! Where sealed records lie, and the near cache in front of them.
//!
//! This room sees names and sealed bytes: a [`LookupId`](splittoken_token::LookupId) and a `Vec<u8>`. It knows
//! no token, no pepper, no claim and no issuer; sealing, opening and verifying happen in the gateway. A near
//! cache hashes a token's text with a random key and forgets it.
//!
//! ```text
//!   worker 1 ── StoreSession ──┐                         ┌── StoreSession ── worker 2
//!      │        one connection ├── Redis, or one map ────┤                      │
//!      │                       └── pushes: "changed" ────┘                      │
//!      └───────────────▶ NearCache, shared: lookup · fill · invalidate ◀────────┘
//! ```
//!
//! What was read through a connection is believed only while that connection can be told of changes: every
//! value carries the [`Stamp`] of the connection that read it.

mod config;
mod epoch;
mod error;
mod memory;
pub mod near;
mod session;
mod single;
mod tls;

pub use config::{StoreConfig, StoreFiles};
pub use epoch::{End, Epoch, Stamp};
pub use error::{Cause, Outage, StoreConfigError, StoreError};
pub use session::{Fetched, Health, Invalidations, PutOutcome, Store, StoreSession};
pub use single::MINIMAL_ACL;
