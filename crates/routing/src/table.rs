use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, OnceLock},
};

use http::{HeaderMap, Method};

use crate::{
    CanonicalPath, CompiledRoute, Host, Hostname, IssuerConfig, IssuerSecrets, PathMatch, RouteName,
    ServedRoute, ServedRule, TableError,
    precedence::Precedence,
    served::{Alternative, canonical, serve_route, serve_rule},
    wire,
};

/// Everything a gateway serves, immutable: a new configuration makes a new table, swapped in one store.
#[derive(Default)]
pub struct RouteTable {
    routes: Vec<Arc<ServedRoute>>,
    rules: Vec<Arc<ServedRule>>,
    issuers: Vec<(IssuerConfig, IssuerSecrets)>,
    /// Places in `issuers` by name: ten thousand routes must not mean ten thousand comparisons each.
    issuer_places: HashMap<String, Vec<usize>>,
    exact: HashMap<String, VirtualHost>,
    /// By suffix, with its first dot.
    wildcard: HashMap<String, VirtualHost>,
    /// Asked for again and again, worked out once.
    digest: OnceLock<String>,
}

/// What serves a request.
#[derive(Debug)]
pub enum Found<'t> {
    /// The token endpoint of this route.
    TokenEndpoint(&'t Arc<ServedRoute>),
    /// This rule; the number of path segments that its prefix matched.
    Rule(&'t Arc<ServedRule>, usize),
}

#[derive(Default)]
struct VirtualHost {
    token_endpoints: HashMap<String, Arc<ServedRoute>>,
    exact: HashMap<String, Alternatives>,
    prefixes: HashMap<String, Alternatives>,
    /// Bytes of the longest key of `prefixes`.
    longest_prefix: usize,
}

/// In order of precedence.
type Alternatives = Vec<(Precedence, Alternative)>;

impl RouteTable {
    /// Builds the table of all `routes`; the first that cannot be served fails the whole.
    pub fn build(routes: &[CompiledRoute]) -> Result<Self, TableError> {
        let mut table = Self::default();
        let mut names: HashSet<&RouteName> = HashSet::new();
        // Oldest first, so that where two routes claim one endpoint the older one keeps it.
        let mut sorted: Vec<&CompiledRoute> = routes.iter().collect();
        sorted.sort_by_key(|route| (route.config.created, &route.config.name));
        for route in sorted {
            if !names.insert(&route.config.name) {
                return Err(TableError::Duplicate(route.config.name.clone()));
            }
            table.add(route)?;
        }
        table.hosts_mut().for_each(VirtualHost::sort);
        Ok(table)
    }

    fn add(&mut self, compiled: &CompiledRoute) -> Result<(), TableError> {
        let issuer = self.issuer_index(compiled);
        let route = Arc::new(serve_route(compiled, issuer)?);
        let mut rules = Vec::with_capacity(route.config.rules.len());
        for rule in &route.config.rules {
            let rule = Arc::new(serve_rule(&route, rule, self.rules.len())?);
            self.rules.push(Arc::clone(&rule));
            rules.push(rule);
        }
        for hostname in &route.config.hostnames {
            let host = match hostname {
                Hostname::Exact(host) => self.exact.entry(host.clone()).or_default(),
                Hostname::Wildcard(suffix) => self.wildcard.entry(suffix.clone()).or_default(),
            };
            host.add(&route, &rules)?;
        }
        self.routes.push(route);
        Ok(())
    }

    /// Routes with the same issuer share it.
    fn issuer_index(&mut self, route: &CompiledRoute) -> usize {
        let (config, secrets) = (&route.config.issuer, &route.secrets.issuer);
        let places = self.issuer_places.entry(config.name.clone()).or_default();
        let is_same = |place: &usize| {
            self.issuers
                .get(*place)
                .is_some_and(|(c, s)| (c, s) == (config, secrets))
        };
        if let Some(known) = places.iter().copied().find(is_same) {
            return known;
        }
        self.issuers.push((config.clone(), secrets.clone()));
        places.push(self.issuers.len() - 1);
        self.issuers.len() - 1
    }

    fn hosts_mut(&mut self) -> impl Iterator<Item = &mut VirtualHost> {
        self.exact.values_mut().chain(self.wildcard.values_mut())
    }

    /// What serves a request. The most specific hostname decides alone: its misses do not fall through to a
    /// wildcard, which may belong to somebody else.
    pub fn find(
        &self,
        host: &Host<'_>,
        path: &CanonicalPath<'_>,
        method: &Method,
        headers: &HeaderMap,
    ) -> Option<Found<'_>> {
        self.host(host.as_str())?
            .find(path.for_matching(), method, headers)
    }

    /// What would serve the request that a preflight announces, if its route speaks of CORS. The values of its headers are
    /// not known yet: where they decide between routes whose CORS differs, nothing can be said.
    pub fn find_announced(
        &self,
        host: &Host<'_>,
        path: &CanonicalPath<'_>,
        method: &Method,
    ) -> Option<Found<'_>> {
        self.host(host.as_str())?
            .find_announced(path.for_matching(), method)
    }

    fn host(&self, host: &str) -> Option<&VirtualHost> {
        if let Some(found) = self.exact.get(host) {
            return Some(found);
        }
        let mut suffixes = host.match_indices('.').map(|(dot, _)| &host[dot..]);
        suffixes.find_map(|suffix| self.wildcard.get(suffix))
    }

    /// All routes, oldest first.
    pub fn routes(&self) -> &[Arc<ServedRoute>] {
        &self.routes
    }

    /// All rules; [`ServedRule::index`] is the place in here.
    pub fn rules(&self) -> &[Arc<ServedRule>] {
        &self.rules
    }

    /// All issuers; [`ServedRoute::issuer`] is the place in here.
    pub fn issuers(&self) -> &[(IssuerConfig, IssuerSecrets)] {
        &self.issuers
    }

    /// Names the set of (route, revision): equal digests serve the same. 22 characters of base64url.
    pub fn digest(&self) -> String {
        let routes = self.routes.iter();
        let routes = routes.map(|route| (&route.config.name, &*route.revision));
        self.digest.get_or_init(|| wire::digest(routes)).clone()
    }
}

impl fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.routes).finish()
    }
}

impl VirtualHost {
    fn add(&mut self, route: &Arc<ServedRoute>, rules: &[Arc<ServedRule>]) -> Result<(), TableError> {
        let name = &route.config.name;
        if let Some(endpoint) = &route.config.token_endpoint {
            let path = canonical(name, &endpoint.path)?;
            self.token_endpoints
                .entry(path)
                .or_insert_with(|| Arc::clone(route));
        }
        for (rule_index, rule) in rules.iter().enumerate() {
            for (index, config) in rule.config.matches.iter().enumerate() {
                let precedence = Precedence {
                    has_method: !config.methods.is_empty(),
                    headers: config.headers.len(),
                    created: route.config.created,
                    route: name.clone(),
                    rule: rule_index,
                    alternative: index,
                };
                let alternative = (precedence, Alternative::new(rule, config)?);
                match &config.path {
                    PathMatch::Exact(path) => self
                        .exact
                        .entry(canonical(name, path)?)
                        .or_default()
                        .push(alternative),
                    PathMatch::Prefix(path) => {
                        let path = canonical(name, path)?;
                        let key = prefix_key(&path);
                        self.longest_prefix = self.longest_prefix.max(key.len());
                        self.prefixes.entry(key.to_owned()).or_default().push(alternative);
                    }
                }
            }
        }
        Ok(())
    }

    fn sort(&mut self) {
        for alternatives in self.exact.values_mut().chain(self.prefixes.values_mut()) {
            alternatives.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
    }

    fn find(&self, path: &str, method: &Method, headers: &HeaderMap) -> Option<Found<'_>> {
        if let Some(route) = self.token_endpoints.get(path) {
            return Some(Found::TokenEndpoint(route));
        }
        self.alternatives(path)
            .find(|alternative| alternative.matches(method, headers))
            .map(Alternative::found)
    }

    fn find_announced(&self, path: &str, method: &Method) -> Option<Found<'_>> {
        if let Some(route) = self.token_endpoints.get(path) {
            return route.cors.is_some().then_some(Found::TokenEndpoint(route));
        }
        let mut candidates = self.alternatives(path).filter(|one| one.takes(method));
        let Some(first) = candidates.next() else {
            // Nothing can come of that request. The preflight is told what it would be told of others to this path.
            let first = self.alternatives(path).next()?;
            return first.cors().map(|_| first.found());
        };
        let cors = first.cors()?;
        let mut last = first;
        while last.asks_for_headers()
            && let Some(next) = candidates.next()
        {
            if next.cors() != Some(cors) {
                return None;
            }
            last = next;
        }
        Some(first.found())
    }

    /// What takes this path, in order of precedence.
    fn alternatives(&self, path: &str) -> impl Iterator<Item = &Alternative> {
        let exact = self.exact.get(path).into_iter();
        // A client may send a path of ten thousand segments; each look-up reads a whole prefix of it.
        let prefixes = ancestors(path)
            .skip_while(|prefix| prefix.len() > self.longest_prefix)
            .filter_map(|prefix| self.prefixes.get(prefix));
        exact
            .chain(prefixes)
            .flatten()
            .map(|(_, alternative)| alternative)
    }
}

/// The key of a prefix: without its final slash, which Gateway API says does not matter; the root is empty.
fn prefix_key(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// Every prefix of whole segments, longest first, as [`prefix_key`]s: `/a/b` gives `/a/b`, `/a` and the root.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(prefix_key(path)), |prefix| {
        prefix.rfind('/').map(|slash| &prefix[..slash])
    })
}

#[cfg(test)]
mod tests;
