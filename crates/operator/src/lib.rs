//! The control plane: custom resources in, one object for each route and an honest status out.
//!
//! ```text
//!   API server ──watch──▶ World ──api::compile──▶ routes ──▶ rendered objects, applied     (the gateways watch them)
//!        ▲                  │                └──▶ verdicts ─┐
//!        │                  └─ gateway pods ──▶ reports ────┴▶ status, on transitions only
//!        └──────────────────────────────────────────────────────┘
//! ```
//!
//! One debounced loop over the whole set. What is a good route is said by `splittoken-api`; what is to be written is
//! decided in plain functions over plain data (`world`, `rendered`, `programmed`, `status`, `lease`, `claims`,
//! `rotation`); only `watches`, `references`, `pods`, `class`, `writer` and the loop itself do I/O. Writing is for the
//! leader, reading is not, and statuses are written by one installation of a class. This room does not know how routes
//! are served.

mod anchor;
mod api_server;
mod asking;
mod bootstrap;
mod claims;
mod class;
mod control;
mod custody;
mod error;
mod failing;
mod keyring;
mod kinds;
mod lease;
mod metrics;
mod pods;
mod programmed;
mod references;
mod refusals;
mod rendered;
mod rotation;
mod run;
mod settings;
mod shortened;
mod status;
mod statuses;
mod tasks;
mod term;
mod watches;
mod world;
mod writer;

pub use error::OperatorError;
pub use keyring::request_rotation;
pub use run::Operator;
pub use settings::{Settings, StoreSecret};
