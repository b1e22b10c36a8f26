//! What a gateway serves: from [`RouteConfig`], the one wire form of configuration, to [`RouteTable`], the form
//! that requests are matched against.
//!
//! ```text
//!   RouteConfig (+ RouteSecrets) ──RouteTable::build──▶ RouteTable ──find──▶ Found::{TokenEndpoint, Rule}
//!                                                                      └──▶ policy::authorize(claims)
//! ```
//!
//! Pure: plain functions over plain data. This room knows nothing of Kubernetes, files, Redis, providers or
//! sockets, and it does not decide what is a *good* route (that is `splittoken-api`): it refuses only what it
//! could not serve.

mod config;
mod cors;
mod hostname;
mod issuer;
mod origin;
mod path;
mod policy;
mod precedence;
mod served;
mod table;
pub mod wire;

pub use config::{
    Authentication, Authorization, Backend, BackendProtocol, BackendTls, ClaimEncoding, ClaimOperator,
    ClaimRequirement, ClaimToHeader, ClientCertificate, CompiledRoute, FORMAT, HeaderMatch, HeaderSet,
    IdTokenPolicy, OnNonJwt, PathMatch, RefreshTokenPolicy, RequestHeaders, RouteConfig, RouteMatch,
    RouteName, RouteSecrets, Rule, Timeouts, TokenEndpoint, UnusableBackend,
};
pub use cors::{ANY, Cors, ServedCors, announced_method, origin};
pub use hostname::{Host, Hostname, HostnameError};
pub use issuer::{Discovery, Endpoints, IssuerConfig, IssuerSecrets, Lifetime, Transport, Verification};
pub use origin::{AllowedOrigin, OriginError};
pub use path::{CanonicalPath, PathError};
pub use policy::{Denied, authorize, claim_header_value};
pub use served::{HeaderEdits, ServedRoute, ServedRule, TableError};
pub use table::{Found, RouteTable};
