//! The custom resource types of `splittoken.dev/v1alpha1`.

mod allowed_routes;
mod backend;
mod cors;
mod issuer;
mod matching;
mod references;
mod route;
mod rule;

pub use allowed_routes::{
    AllowedRoutes, LabelOperator, LabelRequirement, LabelSelector, NamespacesFrom, RouteNamespaces,
};
pub use backend::{BackendProtocol, BackendRef, BackendTls, BackendTlsMode, ClientCertificateRef};
pub use cors::{Cors, CorsMethod};
pub use issuer::{
    CaCertificateRef, CaCertificateSource, Discovery, Issuer, IssuerEndpoints, IssuerTimeouts, IssuerTls,
    Jwks, Lifetime, SecretKeyRef, SplitTokenIssuer, SplitTokenIssuerSpec, Transport, Verification,
};
pub use matching::{HeaderMatch, HttpMethod, PathMatch, PathMatchType, RuleMatch};
pub use route::{
    IdTokenPolicy, IssuerRef, OnNonJwt, Policies, RefreshTokenPolicy, SplitTokenRoute, SplitTokenRouteSpec,
    StoreUnavailable, TokenEndpoint, TokenEndpoints,
};
pub use rule::{
    Authentication, Authorization, ClaimEncoding, ClaimOperator, ClaimRequirement, ClaimToHeader, HeaderSet,
    PathRewrite, RequestHeaders, Retries, Rule, RuleTimeouts, Upgrade,
};

/// The API group of both kinds.
pub const GROUP: &str = "splittoken.dev";
/// The one version there is.
pub const VERSION: &str = "v1alpha1";

/// The class of objects that name none, and of an installation that is not told of another.
pub const DEFAULT_CLASS: &str = "default";

pub(crate) fn default_class() -> String {
    DEFAULT_CLASS.into()
}
