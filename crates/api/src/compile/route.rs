use std::sync::Arc;

use splittoken_routing::{
    CanonicalPath, CompiledRoute, Cors, FORMAT, Hostname, IdTokenPolicy, OnNonJwt, RefreshTokenPolicy,
    RouteConfig, RouteName, RouteSecrets, TokenEndpoint,
};

use super::{
    CompileOptions, Issuers,
    backends::Backends,
    claims::{Claims, Endpoint, MatchKey, Place},
    cors,
    issuer::Resolved,
    issuer_name,
    revision::revision,
    rule_field, rules,
};
use crate::{
    crd::{self, PathMatchType, RuleMatch, SplitTokenRoute},
    object::ObjectName,
    verdict::{ConditionType, Problem, Reason, Verdict, Warning, WarningReason},
};

/// What a route may come to as JSON, its issuer and secrets included: each gateway holds each route, so one team's are
/// everybody's memory. Twice the certificates of an issuer, or 64 rules with some ten matches each; by the schema alone a
/// route could have what no `ConfigMap` holds.
const MAX_BYTES: usize = 128 * 1024;

const TOKEN_PATH: &str = "spec.tokenEndpoints.token.path";

/// When the object was made, in seconds since the epoch; 0 in files.
pub(super) fn created(route: &SplitTokenRoute) -> i64 {
    route
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(0, |time| time.0.as_second())
}

/// Compiles one route and, if it is accepted, takes what it claims.
pub(super) fn compile(
    object: &ObjectName,
    route: &SplitTokenRoute,
    issuers: &Issuers<'_>,
    claims: &mut Claims,
    options: &CompileOptions<'_>,
) -> (Option<CompiledRoute>, Verdict) {
    let mut draft = Draft {
        name: RouteName {
            namespace: object.namespace.clone(),
            name: object.name.clone(),
        },
        object,
        route,
        cors: None,
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    let config = draft.compile(issuers, claims, options);
    let verdict = Verdict {
        object: object.clone(),
        generation: route.metadata.generation,
        problems: draft.problems,
        warnings: draft.warnings,
    };
    (config.filter(|_| verdict.is_accepted()), verdict)
}

/// A route on its way, with what is to be said about it.
struct Draft<'a> {
    name: RouteName,
    object: &'a ObjectName,
    route: &'a SplitTokenRoute,
    cors: Option<Cors>,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl Draft<'_> {
    fn compile(
        &mut self,
        issuers: &Issuers<'_>,
        claims: &mut Claims,
        options: &CompileOptions<'_>,
    ) -> Option<CompiledRoute> {
        let spec = &self.route.spec;
        let hostnames = self.hostnames();
        self.check_installation(&hostnames, issuers, options);
        self.check_paths();
        let cors = spec.cors.as_ref();
        self.cors = cors.map(|cors| cors::compile(cors, &mut self.problems));
        let token_endpoint = spec
            .token_endpoints
            .as_ref()
            .and_then(|e| e.token.as_ref())
            .map(token_endpoint);
        let mut backends = Backends::new(issuers.resources(), options, &self.object.namespace);
        let rules = spec.rules.iter().enumerate();
        let rules = rules
            .map(|(i, rule)| Arc::new(rules::compile(rule, i, &mut backends)))
            .collect();
        let Backends {
            problems,
            client_certificates,
            ..
        } = backends;
        self.problems.extend(problems);
        let sealed = self.issuer(issuers).and_then(|(issuer, of_issuer)| {
            let config = RouteConfig {
                format: FORMAT,
                name: self.name.clone(),
                created: created(self.route),
                hostnames: hostnames.clone(),
                issuer,
                token_endpoint: token_endpoint.clone(),
                max_stale: spec.policies.store_unavailable.max_stale.get(),
                cors: self.cors.clone(),
                reach: options.installation.reach(),
                rules,
            };
            let secrets = RouteSecrets {
                issuer: of_issuer,
                client_certificates,
            };
            self.seal(config, secrets, options)
        });
        // A route that is refused for its own sake must not take anything from others.
        if self.is_accepted() {
            self.claim(&hostnames, token_endpoint.as_ref(), claims, options);
        }
        self.warn();
        sealed
    }

    fn seal(
        &mut self,
        config: RouteConfig,
        secrets: RouteSecrets,
        options: &CompileOptions<'_>,
    ) -> Option<CompiledRoute> {
        let problem = match revision(options.revision_key, &config, &secrets) {
            Ok((revision, bytes)) if bytes <= MAX_BYTES => {
                return Some(CompiledRoute {
                    config: Arc::new(config),
                    secrets,
                    revision,
                });
            }
            Ok((_, bytes)) => {
                let message = format!(
                    "comes to {bytes} bytes, its issuer and certificates included: more than {MAX_BYTES} are not served"
                );
                Problem::new("spec", Reason::UnsupportedValue, message)
            }
            Err(_) => Problem::new("spec", Reason::Invalid, "cannot be written as JSON"),
        };
        self.problems.push(problem);
        None
    }

    fn is_accepted(&self) -> bool {
        !self
            .problems
            .iter()
            .any(|p| p.reason.condition() == ConditionType::Accepted)
    }

    fn issuer(&mut self, issuers: &Issuers<'_>) -> Option<Resolved> {
        let spec = &self.route.spec;
        if let Some(name) = issuer_name(self.route, &self.object.namespace) {
            let found = issuers.find(&name, &spec.class_name, &self.object.namespace);
            return found.map_err(|problems| self.problems.extend(problems)).ok();
        }
        let (resolved, problems, warnings) = issuers.inline(self.object, spec.issuer.as_ref()?);
        self.problems.extend(problems);
        self.warnings.extend(warnings);
        resolved
    }

    fn hostnames(&mut self) -> Vec<Hostname> {
        let mut hostnames = Vec::new();
        for (index, text) in self.route.spec.hostnames.iter().enumerate() {
            match Hostname::parse(text) {
                Ok(hostname) => hostnames.push(hostname),
                Err(error) => {
                    let field = format!("spec.hostnames[{index}]");
                    self.problems
                        .push(Problem::new(field, Reason::Invalid, error.to_string()));
                }
            }
        }
        hostnames
    }

    /// What the platform team allows, whatever objects say.
    fn check_installation(
        &mut self,
        hostnames: &[Hostname],
        issuers: &Issuers<'_>,
        options: &CompileOptions<'_>,
    ) {
        let namespace = &self.object.namespace;
        if !options
            .installation
            .allows_namespace(&issuers.namespace_labels(namespace))
        {
            let message = format!("this installation does not serve routes of namespace {namespace}");
            self.problems.push(Problem::new(
                "metadata.namespace",
                Reason::NamespaceNotAllowed,
                message,
            ));
        }
        for (index, hostname) in hostnames.iter().enumerate() {
            if !options.installation.allows_hostname(hostname, namespace) {
                let message = format!("this installation does not give {hostname} to namespace {namespace}");
                let field = format!("spec.hostnames[{index}]");
                self.problems
                    .push(Problem::new(field, Reason::HostnameNotAllowed, message));
            }
        }
    }

    /// The schema has seen to the form of paths; what is left is what one rule cannot say.
    fn check_paths(&mut self) {
        let mut paths = Vec::new();
        if let Some(endpoint) = self
            .route
            .spec
            .token_endpoints
            .as_ref()
            .and_then(|e| e.token.as_ref())
        {
            paths.push((TOKEN_PATH.to_owned(), &endpoint.path));
        }
        for (r, rule) in self.route.spec.rules.iter().enumerate() {
            for (m, from) in rule.matches.iter().enumerate() {
                paths.push((
                    rule_field(r, &format!(".matches[{m}].path.value")),
                    &from.path.value,
                ));
            }
            if let Some(rewrite) = &rule.path_rewrite {
                paths.push((
                    rule_field(r, ".pathRewrite.replacePrefixMatch"),
                    &rewrite.replace_prefix_match,
                ));
            }
        }
        for (field, path) in paths {
            let fault = match CanonicalPath::parse(path) {
                Err(error) => error.to_string(),
                Ok(canonical) if canonical.has_parameters() => "must not hold `;`".to_owned(),
                Ok(canonical) if canonical.as_str() != path => {
                    format!("must be written as {}", canonical.as_str())
                }
                Ok(_) => continue,
            };
            self.problems.push(Problem::new(field, Reason::Invalid, fault));
        }
    }

    fn claim(
        &mut self,
        hostnames: &[Hostname],
        endpoint: Option<&TokenEndpoint>,
        claims: &mut Claims,
        options: &CompileOptions<'_>,
    ) {
        let class = &self.route.spec.class_name;
        for (index, hostname) in hostnames.iter().enumerate() {
            let Some(owner) = claims.foreign_owner(class, hostname, &self.object.namespace) else {
                continue;
            };
            let (own, other) = (&self.object.namespace, &owner.namespace);
            if options.installation.shares(hostname, own, other) {
                self.find_foreign_paths(hostname, endpoint, claims);
                continue;
            }
            let message = format!("{hostname} belongs to the older route {owner} of another namespace");
            let field = format!("spec.hostnames[{index}]");
            self.problems
                .push(Problem::new(field, Reason::HostnameConflict, message));
        }
        let places: Vec<Place> = hostnames.iter().map(|h| (class.clone(), h.to_string())).collect();
        for place in &places {
            self.find_path_conflicts(place, endpoint, claims);
        }
        if !self.is_accepted() {
            return;
        }
        claims.take_hosts(&self.name, &places);
        for place in &places {
            self.take_paths(place, endpoint, claims);
        }
    }

    /// On a host that two namespaces share, what lies at or below an older route's path is that route's.
    fn find_foreign_paths(&mut self, hostname: &Hostname, endpoint: Option<&TokenEndpoint>, claims: &Claims) {
        let mut paths: Vec<(String, &str)> = Vec::new();
        paths.extend(endpoint.map(|config| (TOKEN_PATH.to_owned(), config.path.as_str())));
        for (r, rule) in self.route.spec.rules.iter().enumerate() {
            for (m, from) in rule.matches.iter().enumerate() {
                let field = rule_field(r, &format!(".matches[{m}].path.value"));
                paths.push((field, &from.path.value));
            }
        }
        let class = &self.route.spec.class_name;
        for (field, path) in paths {
            let owner = claims.foreign_path(class, hostname, &matching_form(path), &self.object.namespace);
            if let Some((owner, at)) = owner {
                let message =
                    format!("is at or below {at}, which is of the older route {owner} on {hostname}");
                self.problems
                    .push(Problem::new(field, Reason::PathConflict, message));
            }
        }
    }

    /// A token endpoint beside another one, or beside a rule for exactly its path: the older route has it.
    fn find_path_conflicts(&mut self, place: &Place, endpoint: Option<&TokenEndpoint>, claims: &Claims) {
        let host = &place.1;
        if let Some(config) = endpoint {
            let path = matching_form(&config.path);
            if let Some(older) = claims.endpoint(place, &path) {
                let other = &older.route;
                if self.is_alike(older, config) {
                    let message = format!("{other} has the same token endpoint on {host} and answers there");
                    self.warnings.push(Warning::new(
                        TOKEN_PATH,
                        WarningReason::SharedTokenEndpoint,
                        message,
                    ));
                } else {
                    let message = format!("is the token endpoint of the older route {other} on {host}");
                    self.problems
                        .push(Problem::new(TOKEN_PATH, Reason::PathConflict, message));
                }
            }
            if let Some(other) = claims.exact_path(place, &path) {
                let message = format!("is an exact path of the older route {other} on {host}");
                self.problems
                    .push(Problem::new(TOKEN_PATH, Reason::PathConflict, message));
            }
        }
        for (r, rule) in self.route.spec.rules.iter().enumerate() {
            for (m, from) in rule
                .matches
                .iter()
                .enumerate()
                .filter(|(_, m)| m.path.kind == PathMatchType::Exact)
            {
                if let Some(older) = claims.endpoint(place, &matching_form(&from.path.value)) {
                    let field = rule_field(r, &format!(".matches[{m}].path.value"));
                    let message = format!(
                        "is the token endpoint of the older route {} on {host}",
                        older.route
                    );
                    self.problems
                        .push(Problem::new(field, Reason::PathConflict, message));
                }
            }
        }
    }

    /// Whether it makes no difference which of the two endpoints answers.
    fn is_alike(&self, older: &Endpoint, config: &TokenEndpoint) -> bool {
        let issuer = issuer_name(self.route, &self.object.namespace);
        issuer.is_some() && issuer == older.issuer && *config == older.config && self.cors == older.cors
    }

    fn take_paths(&mut self, place: &Place, endpoint: Option<&TokenEndpoint>, claims: &mut Claims) {
        if let Some(config) = endpoint {
            let issuer = issuer_name(self.route, &self.object.namespace);
            let taken = Endpoint {
                route: self.name.clone(),
                issuer,
                config: config.clone(),
                cors: self.cors.clone(),
            };
            claims.take_endpoint(place, &matching_form(&config.path), taken);
        }
        for (r, rule) in self.route.spec.rules.iter().enumerate() {
            for (m, from) in rule.matches.iter().enumerate() {
                if let Some((other, name)) = claims.take_match(place, match_key(from), &self.name, &rule.name)
                {
                    let field = rule_field(r, &format!(".matches[{m}]"));
                    let message = format!(
                        "rule {name} of {other} matches the same requests on {} and comes first",
                        place.1
                    );
                    self.warnings
                        .push(Warning::new(field, WarningReason::ShadowedMatch, message));
                }
            }
        }
    }

    fn warn(&mut self) {
        let spec = &self.route.spec;
        if let Some(endpoint) = spec.token_endpoints.as_ref().and_then(|e| e.token.as_ref()) {
            // No user, no ID token (OpenID Connect Core 1.0, section 2).
            let no_users = endpoint.grant_types == ["client_credentials"];
            if endpoint.id_token == crd::IdTokenPolicy::PassThrough && !no_users {
                let message =
                    "an ID token's at_hash covers the token that clients never get: strict clients refuse it";
                let field = "spec.tokenEndpoints.token.idToken";
                self.warnings
                    .push(Warning::new(field, WarningReason::IdTokenPassThrough, message));
            }
        }
        if spec.cors.as_ref().is_some_and(keeps_tokens_out) && spec.rules.iter().any(takes_tokens) {
            let message = "does not name Authorization: browsers let no page of another origin send a token";
            let field = "spec.cors.allowHeaders";
            self.warnings.push(Warning::new(
                field,
                WarningReason::CorsWithoutAuthorization,
                message,
            ));
        }
        for (index, rule) in spec.rules.iter().enumerate() {
            if rule.backend_refs.iter().all(|backend| backend.weight == 0) {
                let field = rule_field(index, ".backendRefs");
                let message = "every backend has the weight 0: requests get an error";
                self.warnings
                    .push(Warning::new(field, WarningReason::NoWeight, message));
            }
        }
    }
}

fn keeps_tokens_out(cors: &crd::Cors) -> bool {
    let lets_in = |name: &String| name == "*" || name.eq_ignore_ascii_case("authorization");
    !cors.allow_headers.iter().any(lets_in)
}

fn takes_tokens(rule: &crd::Rule) -> bool {
    rule.authentication != crd::Authentication::Disabled
}

/// The form of a path in which two spellings of it are equal.
fn matching_form(path: &str) -> String {
    CanonicalPath::parse(path).map_or_else(
        |_| path.to_owned(),
        |canonical| canonical.for_matching().to_owned(),
    )
}

fn match_key(from: &RuleMatch) -> MatchKey {
    let exact = from.path.kind == PathMatchType::Exact;
    let mut path = matching_form(&from.path.value);
    if !exact && path.ends_with('/') {
        path.pop();
    }
    let mut methods: Vec<String> = from.methods.iter().map(|m| m.name().to_owned()).collect();
    methods.sort_unstable();
    let header = |h: &crd::HeaderMatch| (h.name.to_ascii_lowercase(), h.value.clone());
    let mut headers: Vec<_> = from.headers.iter().map(header).collect();
    headers.sort_unstable();
    MatchKey {
        exact,
        path,
        methods,
        headers,
    }
}

fn token_endpoint(from: &crd::TokenEndpoint) -> TokenEndpoint {
    TokenEndpoint {
        path: from.path.clone(),
        grant_types: from.grant_types.clone(),
        refresh_token: match from.refresh_token {
            crd::RefreshTokenPolicy::PassThrough => RefreshTokenPolicy::PassThrough,
            crd::RefreshTokenPolicy::Remove => RefreshTokenPolicy::Remove,
        },
        id_token: match from.id_token {
            crd::IdTokenPolicy::PassThrough => IdTokenPolicy::PassThrough,
            crd::IdTokenPolicy::Remove => IdTokenPolicy::Remove,
        },
        on_non_jwt: match from.on_non_jwt {
            crd::OnNonJwt::Reject => OnNonJwt::Reject,
            crd::OnNonJwt::PassThrough => OnNonJwt::PassThrough,
        },
    }
}
