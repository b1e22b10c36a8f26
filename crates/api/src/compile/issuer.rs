use std::{collections::BTreeMap, net::IpAddr};

use splittoken_routing::{
    ClientCertificate, Discovery, Endpoints, IssuerConfig, IssuerSecrets, Lifetime, Transport, Verification,
};
use splittoken_token::{Algorithm, Realm, SecretBytes};
use url::{Host, Url};

use super::{CompileOptions, certificates::Certificates, client_certificate, is_served, refusal};
use crate::{
    crd::{
        self, CaCertificateRef, ClientCertificateRef, Issuer, NamespacesFrom, SecretKeyRef, SplitTokenIssuer,
    },
    dot_segments::has_dot_segments,
    object::ObjectName,
    resources::Resources,
    verdict::{ConditionType, Problem, Reason, Verdict, Warning, WarningReason},
};

/// A key of 4 KiB is far beyond every hash's block size (128 bytes), to which HMAC shortens longer ones.
const MAX_HMAC_KEY_BYTES: usize = 4096;

/// The issuer's half of a route.
pub(super) type Resolved = (IssuerConfig, IssuerSecrets);

/// Every shared issuer of the class, resolved.
pub(super) struct Issuers<'a> {
    resources: &'a Resources,
    options: &'a CompileOptions<'a>,
    shared: BTreeMap<&'a ObjectName, Shared<'a>>,
    refused: Vec<Verdict>,
}

struct Shared<'a> {
    object: &'a SplitTokenIssuer,
    resolved: Option<Resolved>,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl<'a> Issuers<'a> {
    pub(super) fn resolve(resources: &'a Resources, options: &'a CompileOptions<'a>) -> Self {
        let mut shared = BTreeMap::new();
        let mut refused = Vec::new();
        for (name, admitted) in &resources.issuers {
            match admitted {
                Ok(object) if is_served(options, &object.spec.class_name) => {
                    let mut resolver = Resolver::new(resources, options, name, "spec");
                    let found = resolver.issuer(&object.spec.issuer);
                    let Resolver {
                        problems, warnings, ..
                    } = resolver;
                    shared.insert(
                        name,
                        Shared {
                            object,
                            resolved: found,
                            problems,
                            warnings,
                        },
                    );
                }
                Err(faulty) if is_served(options, &faulty.class) => {
                    refused.push(refusal(name, &faulty.errors));
                }
                Ok(_) | Err(_) => {}
            }
        }
        Self {
            resources,
            options,
            shared,
            refused,
        }
    }

    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        let verdict = |(name, shared): (&&ObjectName, &Shared<'_>)| Verdict {
            object: (*name).clone(),
            generation: shared.object.metadata.generation,
            problems: shared.problems.clone(),
            warnings: shared.warnings.clone(),
        };
        self.shared
            .iter()
            .map(verdict)
            .chain(self.refused.iter().cloned())
            .collect()
    }

    /// The shared issuer `name` for a route of `class` in `namespace`.
    pub(super) fn find(
        &self,
        name: &ObjectName,
        class: &str,
        namespace: &str,
    ) -> Result<Resolved, Vec<Problem>> {
        let field = "spec.issuerRef";
        let Some(shared) = self
            .shared
            .get(name)
            .filter(|shared| shared.object.spec.class_name == class)
        else {
            return Err(vec![self.not_found(name, class)]);
        };
        if !self.allows(shared.object, &name.namespace, namespace) {
            let message = format!("{name} does not allow routes of namespace {namespace}");
            let is_selector = shared.object.spec.allowed_routes.namespaces.from == NamespacesFrom::Selector;
            let unresolved = is_selector && !self.resources.namespaces.contains_key(namespace);
            return Err(vec![Problem {
                unresolved,
                ..Problem::new(field, Reason::IssuerNotAllowed, message)
            }]);
        }
        shared.resolved.clone().ok_or_else(|| {
            let through = |p: &Problem| Problem {
                field: field.to_owned(),
                // An issuer that is not accepted is none; the route itself may be in order.
                reason: if p.reason.condition() == ConditionType::Accepted {
                    Reason::IssuerNotFound
                } else {
                    p.reason
                },
                message: format!("{name}: {}: {}", p.field, p.message),
                unresolved: p.unresolved,
            };
            shared.problems.iter().map(through).collect()
        })
    }

    /// What it was resolved from.
    pub(super) fn resources(&self) -> &'a Resources {
        self.resources
    }

    /// The labels of a namespace.
    pub(super) fn namespace_labels(&self, namespace: &str) -> BTreeMap<String, String> {
        self.resources.namespace_labels(namespace)
    }

    /// The private issuer of the route `name`.
    pub(super) fn inline(
        &self,
        name: &ObjectName,
        issuer: &Issuer,
    ) -> (Option<Resolved>, Vec<Problem>, Vec<Warning>) {
        let mut resolver = Resolver::new(self.resources, self.options, name, "spec.issuer");
        let found = resolver.issuer(issuer);
        (found, resolver.problems, resolver.warnings)
    }

    fn not_found(&self, name: &ObjectName, class: &str) -> Problem {
        let field = "spec.issuerRef";
        match self.resources.issuers.get(name) {
            Some(Err(_)) => Problem::new(field, Reason::IssuerNotFound, format!("{name} is not valid")),
            Some(Ok(_)) => {
                let message = format!("{name} is of another class than {class}");
                Problem::new(field, Reason::IssuerNotFound, message)
            }
            None => Problem::unresolved(field, Reason::IssuerNotFound, format!("{name} is not known here")),
        }
    }

    fn allows(&self, issuer: &SplitTokenIssuer, own: &str, namespace: &str) -> bool {
        let namespaces = &issuer.spec.allowed_routes.namespaces;
        match (namespaces.from, &namespaces.selector) {
            (NamespacesFrom::Same, _) => own == namespace,
            (NamespacesFrom::All, _) => true,
            (NamespacesFrom::Selector, Some(selector)) => {
                selector.picks(&self.resources.namespace_labels(namespace))
            }
            (NamespacesFrom::Selector, None) => false,
        }
    }
}

/// Resolves one issuer and collects what is to be said about it.
struct Resolver<'a> {
    resources: &'a Resources,
    options: &'a CompileOptions<'a>,
    /// The object that defines the issuer: its namespace holds the Secrets, and it makes the realm.
    owner: &'a ObjectName,
    field: &'static str,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl<'a> Resolver<'a> {
    fn new(
        resources: &'a Resources,
        options: &'a CompileOptions<'a>,
        owner: &'a ObjectName,
        field: &'static str,
    ) -> Self {
        Self {
            resources,
            options,
            owner,
            field,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// `None` if there is any problem: an issuer that lacks a part would trust more than it should.
    fn issuer(&mut self, issuer: &Issuer) -> Option<Resolved> {
        self.check_urls(issuer);
        let hmac_key = issuer
            .hmac_secret_ref
            .as_ref()
            .and_then(|r| self.hmac_key(r, &issuer.algorithms));
        let refs = issuer
            .tls
            .as_ref()
            .map_or(&[][..], |tls| &tls.ca_certificate_refs);
        let mut certificates = Certificates::default();
        for (index, reference) in refs.iter().enumerate() {
            self.add_certificates(index, reference, &mut certificates);
        }
        let shown = issuer
            .tls
            .as_ref()
            .and_then(|tls| tls.client_certificate_ref.as_ref());
        let client_certificate = shown.and_then(|reference| self.client_certificate(reference));
        if !self.problems.is_empty() {
            return None;
        }
        let config = self.config(issuer, certificates.into_texts());
        let secrets = IssuerSecrets {
            hmac_key,
            client_certificate,
        };
        Some((config, secrets))
    }

    fn config(&self, issuer: &Issuer, ca_certificates: Vec<String>) -> IssuerConfig {
        let ObjectName {
            kind,
            namespace,
            name,
        } = self.owner;
        let endpoints = issuer.endpoints.clone().unwrap_or_default();
        IssuerConfig {
            name: self.owner.to_string(),
            realm: Realm::of(kind, namespace, name),
            url: issuer.url.clone(),
            transport: match issuer.transport {
                crd::Transport::HttpsOnly => Transport::HttpsOnly,
                crd::Transport::PlainHttpAllowed => Transport::PlainHttpAllowed,
            },
            discovery: match issuer.discovery {
                crd::Discovery::Auto => Discovery::Auto,
                crd::Discovery::None => Discovery::None,
            },
            endpoints: Endpoints {
                token: endpoints.token,
                jwks: endpoints.jwks,
                revocation: endpoints.revocation,
            },
            algorithms: issuer.algorithms.clone(),
            verification: match issuer.verification {
                crd::Verification::Signature => Verification::Signature,
                crd::Verification::Transport => Verification::Transport,
            },
            audiences: issuer.audiences.clone(),
            token_types: issuer.token_types.clone(),
            clock_skew: issuer.clock_skew.get(),
            jwks_refresh: issuer.jwks.refresh_interval.get(),
            jwks_min_refresh: issuer.jwks.min_refresh_interval.get(),
            ca_certificates,
            reach: self.options.installation.reach(),
            lifetime: Lifetime {
                max: issuer.lifetime.max.get(),
                fallback: issuer.lifetime.fallback.get(),
            },
            connect_timeout: issuer.timeouts.connect.get(),
            request_timeout: issuer.timeouts.request.get(),
        }
    }

    fn check_urls(&mut self, issuer: &Issuer) {
        let endpoints = issuer.endpoints.as_ref();
        let urls = [
            ("url", Some(&issuer.url)),
            ("endpoints.token", endpoints.and_then(|e| e.token.as_ref())),
            ("endpoints.jwks", endpoints.and_then(|e| e.jwks.as_ref())),
            (
                "endpoints.revocation",
                endpoints.and_then(|e| e.revocation.as_ref()),
            ),
        ];
        for (name, url) in urls.into_iter().filter_map(|(name, url)| Some((name, url?))) {
            let field = format!("{}.{name}", self.field);
            match self.check_url(url) {
                Err((reason, message)) => self.problems.push(Problem::new(field, reason, message)),
                Ok(url) if url.scheme() == "http" && !is_loopback(&url) => {
                    let message =
                        "plain HTTP beyond this machine: whoever is on the way can read and forge tokens";
                    self.warnings
                        .push(Warning::new(field, WarningReason::PlainHttp, message));
                }
                Ok(_) => {}
            }
        }
    }

    /// Whether an issuer may have this URL. An endpoint vouches for tokens as much as the issuer's own URL does, so
    /// what holds for one holds for each.
    fn check_url(&self, text: &str) -> Result<Url, (Reason, String)> {
        let installation = self.options.installation;
        let url = Url::parse(text).map_err(|_| (Reason::Invalid, "is no URL".to_owned()))?;
        if has_dot_segments(text) {
            let message = "must not hold `.` or `..` as a part of its path, in any spelling";
            return Err((Reason::Invalid, message.to_owned()));
        }
        if !installation.allows_issuer(&url) {
            let message = "this installation does not allow issuers of this URL";
            return Err((Reason::UnsupportedValue, message.to_owned()));
        }
        let reach = installation.reach().check_url(&url);
        reach.map_err(|forbidden| (Reason::UnsupportedValue, forbidden.to_string()))?;
        Ok(url)
    }

    fn hmac_key(&mut self, reference: &SecretKeyRef, algorithms: &[Algorithm]) -> Option<SecretBytes> {
        let field = format!("{}.hmacSecretRef", self.field);
        let SecretKeyRef { name, key } = reference;
        let object = ObjectName::new("Secret", &self.owner.namespace, name);
        let Some(secret) = self.resources.secrets.get(&object) else {
            let message = format!("{object} is not known here");
            self.problems
                .push(Problem::unresolved(field, Reason::SecretNotFound, message));
            return None;
        };
        let fault = match secret.get(key).map(|bytes| bytes.expose().len()) {
            None => "has no entry",
            Some(0) => "has an empty entry",
            Some(length) if length > MAX_HMAC_KEY_BYTES => "has more than 4096 bytes in its entry",
            Some(length) => {
                self.warn_of_short_key(field, length, algorithms);
                return secret.get(key).cloned();
            }
        };
        self.problems.push(Problem::new(
            field,
            Reason::SecretNotFound,
            format!("{object} {fault} {key}"),
        ));
        None
    }

    fn warn_of_short_key(&mut self, field: String, length: usize, algorithms: &[Algorithm]) {
        let hash_bytes = |alg: &Algorithm| match alg {
            Algorithm::HS256 => 32,
            Algorithm::HS384 => 48,
            Algorithm::HS512 => 64,
            _ => 0,
        };
        let wanted = algorithms.iter().map(hash_bytes).max().unwrap_or(0);
        if length < wanted {
            let message =
                format!("the key has fewer than {wanted} bytes (RFC 7518, section 3.2): it can be guessed");
            self.warnings
                .push(Warning::new(field, WarningReason::ShortHmacKey, message));
        }
    }

    fn client_certificate(&mut self, reference: &ClientCertificateRef) -> Option<ClientCertificate> {
        let field = format!("{}.tls.clientCertificateRef", self.field);
        let namespace = &self.owner.namespace;
        let found = client_certificate::read(self.resources, namespace, &reference.name, &field);
        found.map_err(|problem| self.problems.push(problem)).ok()
    }

    fn add_certificates(&mut self, index: usize, reference: &CaCertificateRef, to: &mut Certificates) {
        let field = format!("{}.tls.caCertificateRefs[{index}]", self.field);
        let added = to.add_from(self.resources, &self.owner.namespace, reference, &field);
        self.problems.extend(added.err());
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}
