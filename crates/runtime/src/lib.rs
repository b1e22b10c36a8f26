//! Process plumbing that the gateway and, later, the operator share: logs, readiness, signals and drain, and the
//! admin server.
//!
//! ```text
//!   SIGTERM ──▶ Drain ──▶ Serving → Leaving (not ready, still accepting) → Closing (finish what is in flight)
//!   ReadyGuard… ──▶ Readiness ──▶ /readyz
//! ```
//!
//! This room knows nothing of tokens, routes or stores: it is handed closures and numbers.

mod admin;
mod drain;
mod open_files;
mod readiness;
mod signals;
mod tasks;
mod telemetry;
mod traces;

pub use admin::{AdminError, AdminServer, JsonPage};
pub use drain::{Drain, DrainPhase, DrainTimes};
pub use open_files::raise_open_files;
pub use readiness::{Readiness, ReadyGuard};
pub use signals::{Signals, StopSignal};
pub use tasks::joined;
pub use telemetry::{LogFormat, TelemetryError, init_logs};
pub use traces::{Collector, CollectorUrl, Traces, TracesError};
