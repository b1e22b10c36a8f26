use std::{collections::BTreeMap, fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header::InvalidHeaderName};
use thiserror::Error;

use crate::{
    ClientCertificate, CompiledRoute, Cors, FORMAT, Found, HeaderMatch, PathMatch, RequestHeaders,
    RouteConfig, RouteMatch, RouteName, Rule, ServedCors,
    path::{CanonicalPath, PathError},
};

/// Why a route cannot be served. The gateway keeps what it has and reports this one.
#[derive(Debug, Error)]
pub enum TableError {
    /// Written by a later version.
    #[error("route {route}: format {format} is not known here (expected {FORMAT})")]
    Format {
        /// Which one.
        route: RouteName,
        /// Its format.
        format: u32,
    },
    /// Two routes of one name.
    #[error("route {0} is there twice")]
    Duplicate(RouteName),
    /// A path that is not canonical.
    #[error("route {route}: path {path:?}")]
    Path {
        /// Which one.
        route: RouteName,
        /// The path.
        path: String,
        /// What is wrong with it.
        #[source]
        source: PathError,
    },
    /// A method, header name or header value that HTTP does not know.
    #[error("route {route}: {text:?} is no {what}")]
    Http {
        /// Which one.
        route: RouteName,
        /// What it should be.
        what: &'static str,
        /// What it is.
        text: String,
    },
}

impl TableError {
    /// A closed set of words for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Format { .. } => "route_format",
            Self::Duplicate(_) => "route_duplicate",
            Self::Path { source, .. } => source.reason(),
            Self::Http { .. } => "route_http",
        }
    }
}

/// A route as it is served: its configuration and what is precomputed from it.
pub struct ServedRoute {
    /// As it came.
    pub config: Arc<RouteConfig>,
    /// Names the very configuration, secrets included.
    pub revision: String,
    /// Which of [`crate::RouteTable::issuers`] is its issuer.
    pub issuer: usize,
    /// Headers that any rule of the route sets from claims: a client's own copies never pass, on any rule.
    pub claim_headers: Vec<HeaderName>,
    /// Whether any rule of the route is for some methods only.
    pub names_methods: bool,
    /// What browsers are told of its answers.
    pub cors: Option<ServedCors>,
    /// What its backends may ask for.
    pub client_certificates: BTreeMap<String, ClientCertificate>,
}

/// A rule as it is served.
pub struct ServedRule {
    /// The route that it belongs to.
    pub route: Arc<ServedRoute>,
    /// As it came.
    pub config: Arc<Rule>,
    /// Its place among all rules of the table, for per-rule state such as metrics.
    pub index: usize,
    /// Claim headers in the order of the configuration.
    pub claim_headers: Vec<HeaderName>,
    /// Header edits, parsed.
    pub request_headers: HeaderEdits,
    /// The `scope` of a 403 answer: what the rule asks for, space-separated.
    pub scope_hint: Option<HeaderValue>,
    total_weight: u64,
}

/// Header edits in the types that requests are made of.
#[derive(Debug, Default)]
pub struct HeaderEdits {
    /// Set, replacing what is there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Removed.
    pub remove: Vec<HeaderName>,
}

impl fmt::Debug for ServedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServedRule({} {:?})", self.route.config.name, self.config.name)
    }
}

impl fmt::Debug for ServedRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServedRoute({} {})", self.config.name, self.revision)
    }
}

impl ServedRule {
    /// Whether the upstream believes that a header of this name comes from the gateway, or is not to get it at all.
    pub fn answers_for(&self, name: &HeaderName) -> bool {
        let HeaderEdits { set, remove } = &self.request_headers;
        self.route.claim_headers.contains(name)
            || set.iter().any(|(own, _)| own == name)
            || remove.contains(name)
    }

    /// The place of the backend for a random number: each gets its weight's share. `None` if no backend has any weight.
    pub fn backend(&self, random: u64) -> Option<usize> {
        let mut ticket = random.checked_rem(self.total_weight)?;
        self.config.backends.iter().position(|backend| {
            let weight = u64::from(backend.weight);
            let wins = ticket < weight;
            ticket = ticket.saturating_sub(weight);
            wins
        })
    }
}

/// One alternative of a rule, ready to be compared with requests.
pub(crate) struct Alternative {
    pub(crate) rule: Arc<ServedRule>,
    pub(crate) path_segments: usize,
    methods: Vec<Method>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Alternative {
    pub(crate) fn new(rule: &Arc<ServedRule>, config: &RouteMatch) -> Result<Self, TableError> {
        let name = &rule.route.config.name;
        let (PathMatch::Prefix(path) | PathMatch::Exact(path)) = &config.path;
        Ok(Self {
            rule: Arc::clone(rule),
            path_segments: path.split('/').filter(|segment| !segment.is_empty()).count(),
            methods: config
                .methods
                .iter()
                .map(|m| method(name, m))
                .collect::<Result<_, _>>()?,
            headers: config
                .headers
                .iter()
                .map(|h| header_match(name, h))
                .collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn found(&self) -> Found<'_> {
        Found::Rule(&self.rule, self.path_segments)
    }

    pub(crate) fn cors(&self) -> Option<&Cors> {
        self.rule.route.config.cors.as_ref()
    }

    pub(crate) fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    pub(crate) fn asks_for_headers(&self) -> bool {
        !self.headers.is_empty()
    }

    pub(crate) fn matches(&self, method: &Method, headers: &HeaderMap) -> bool {
        self.takes(method)
            && self
                .headers
                .iter()
                .all(|(name, value)| headers.get_all(name).iter().any(|v| v == value))
    }
}

pub(crate) fn serve_route(route: &CompiledRoute, issuer: usize) -> Result<ServedRoute, TableError> {
    let config = Arc::clone(&route.config);
    if config.format != FORMAT {
        return Err(TableError::Format {
            format: config.format,
            route: config.name.clone(),
        });
    }
    let mut claim_headers = Vec::new();
    for claim in config.rules.iter().flat_map(|rule| &rule.claims_to_headers) {
        let name = header_name(&config.name, &claim.header)?;
        if !claim_headers.contains(&name) {
            claim_headers.push(name);
        }
    }
    let mut matches = config.rules.iter().flat_map(|rule| &rule.matches);
    let names_methods = matches.any(|one| !one.methods.is_empty());
    Ok(ServedRoute {
        revision: route.revision.clone(),
        issuer,
        claim_headers,
        names_methods,
        cors: config.cors.as_ref().map(ServedCors::new),
        client_certificates: route.secrets.client_certificates.clone(),
        config,
    })
}

pub(crate) fn serve_rule(
    route: &Arc<ServedRoute>,
    rule: &Arc<Rule>,
    index: usize,
) -> Result<ServedRule, TableError> {
    let name = &route.config.name;
    Ok(ServedRule {
        index,
        claim_headers: rule
            .claims_to_headers
            .iter()
            .map(|claim| header_name(name, &claim.header))
            .collect::<Result<_, _>>()?,
        request_headers: header_edits(name, &rule.request_headers)?,
        scope_hint: scope_hint(rule),
        total_weight: rule
            .backends
            .iter()
            .map(|backend| u64::from(backend.weight))
            .sum(),
        config: Arc::clone(rule),
        route: Arc::clone(route),
    })
}

/// All scopes that can be missing (RFC 6750 §3): with them the token gets through, if with fewer of `anyScopes` too.
fn scope_hint(rule: &Rule) -> Option<HeaderValue> {
    let wanted = rule.authorization.as_ref()?;
    let scopes: Vec<&str> = wanted
        .scopes
        .iter()
        .chain(&wanted.any_scopes)
        .map(String::as_str)
        .collect();
    let text = scopes.join(" ");
    (!text.is_empty()).then(|| HeaderValue::from_str(&text).ok())?
}

pub(crate) fn canonical(route: &RouteName, path: &str) -> Result<String, TableError> {
    match CanonicalPath::parse(path) {
        Ok(canonical) => Ok(canonical.for_matching().to_owned()),
        Err(source) => Err(TableError::Path {
            route: route.clone(),
            path: path.to_owned(),
            source,
        }),
    }
}

fn method(route: &RouteName, text: &str) -> Result<Method, TableError> {
    Method::from_bytes(text.as_bytes()).map_err(|_| not_http(route, "method", text))
}

fn header_name(route: &RouteName, text: &str) -> Result<HeaderName, TableError> {
    text.parse()
        .map_err(|_: InvalidHeaderName| not_http(route, "header name", text))
}

fn header_value(route: &RouteName, text: &str) -> Result<HeaderValue, TableError> {
    HeaderValue::from_str(text).map_err(|_| not_http(route, "header value", text))
}

fn header_match(route: &RouteName, config: &HeaderMatch) -> Result<(HeaderName, HeaderValue), TableError> {
    Ok((
        header_name(route, &config.name)?,
        header_value(route, &config.value)?,
    ))
}

fn header_edits(route: &RouteName, config: &RequestHeaders) -> Result<HeaderEdits, TableError> {
    let set = config
        .set
        .iter()
        .map(|h| Ok((header_name(route, &h.name)?, header_value(route, &h.value)?)));
    let remove = config.remove.iter().map(|name| header_name(route, name));
    Ok(HeaderEdits {
        set: set.collect::<Result<_, _>>()?,
        remove: remove.collect::<Result<_, _>>()?,
    })
}

fn not_http(route: &RouteName, what: &'static str, text: &str) -> TableError {
    TableError::Http {
        route: route.clone(),
        what,
        text: text.to_owned(),
    }
}
