//! The custom resources of `splittoken.dev`, and what they mean.
//!
//! ```text
//!   YAML ──ManifestFile::documents──▶ raw objects ──Resources::insert──▶ Resources ──compile──▶ CompiledRoutes
//!                                                        │ admit                          └──▶ Verdicts
//!                                                        ▼
//!                                          defaults, schema, CEL rules: the CRD's own
//! ```
//!
//! One [`compile`] for the operator, for files, for `check` and for the demo: they cannot disagree. An object
//! that is not valid is a [`Verdict`] and not an error, and changes nothing for any other object.
//!
//! Pure: the only home of the CRD types, without I/O, clocks or clients. This room does not know where the
//! resources come from, how a verdict becomes a status, or how a route is served.

mod admit;
mod by_name;
mod cel_rules;
mod check;
mod closed_set;
mod compile;
pub mod crd;
mod data;
mod dot_segments;
mod duration;
mod field_error;
mod generate;
mod grants;
mod installation;
mod manifest;
mod metadata;
mod object;
mod patterns;
pub mod rendered;
mod resources;
mod schema;
mod services;
mod status;
mod verdict;

pub use admit::{admit_issuer, admit_route};
pub use check::{Finding, Gathered, Report, Severity, check, gather};
pub use compile::{CompileOptions, Compiled, compile};
pub use duration::{DurationError, GepDuration};
pub use field_error::{FieldError, FieldReason};
pub use generate::{CrdError, CrdFile, crds};
pub use grants::Grants;
pub use installation::{HostnameGrant, Installation, InstallationError, IssuerPrefix};
pub use manifest::{Document, ManifestError, ManifestFile};
pub use object::ObjectName;
pub use resources::{Inserted, Resources};
pub use services::{ClusterServices, NoServices, ServiceAddress, ServiceFault, Services};
pub use status::{IssuerStatus, ObjectStatus, RouteStatus};
pub use verdict::{Condition, ConditionType, Problem, Reason, Verdict, Warning, WarningReason};
