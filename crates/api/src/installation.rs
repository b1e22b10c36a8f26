//! What the platform team allows in one installation: which namespaces, which hosts, which providers, which backends.

use serde::Deserialize;
use serde_json::Value;
use splittoken_reach::{Reach, Refused};
use splittoken_routing::Hostname;
use std::collections::BTreeMap;
use thiserror::Error;
use url::Url;

use crate::{crd::LabelSelector, dot_segments::has_dot_segments};

/// What may be used in one installation, beside what objects allow each other. The default is the chart's: any
/// namespace, host and provider beyond the gateway's own machine, and only backends that are Services with pods behind
/// them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Installation {
    /// Picks the namespaces whose routes are served; `None` picks all.
    pub namespace_selector: Option<LabelSelector>,
    /// Who may use which hosts; empty leaves it to the age of routes.
    pub hostnames: Vec<HostnameGrant>,
    /// Prefixes of the URLs that issuers and their endpoints may have; empty allows all.
    pub issuers: Vec<IssuerPrefix>,
    /// Whether backends may be given by URL.
    pub url_backends: bool,
    /// Whether backends may be Services without a selector, which lead wherever somebody points them to.
    pub selectorless_services: bool,
    /// Whether providers and backends may be on the gateway's own machine, link-local or the API server.
    pub local_addresses: bool,
    /// Where the API server is. Not part of the policy's text: a cluster tells it.
    #[serde(skip)]
    pub api_server: Refused,
}

/// Lets namespaces use a host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostnameGrant {
    /// The host, or `*.` and a name for all below it.
    pub hostname: Hostname,
    /// Who may use it; empty means everybody, the oldest route first.
    #[serde(default)]
    pub namespaces: Vec<String>,
}

/// The beginning of the URLs of issuers: scheme, host, port and, if any, whole segments of the path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct IssuerPrefix(Url);

/// Why a text says nothing about an installation. Quotes nothing of it but names.
#[derive(Debug, Error)]
pub enum InstallationError {
    /// No YAML, an unknown field or a value of another kind.
    #[error("the policy is not well-formed: {0}")]
    Form(String),
    /// An unknown field in a selector, which would then pick more than it should.
    #[error("the policy's namespaceSelector has no field {0}")]
    Selector(String),
}

impl InstallationError {
    /// A closed set of words for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Form(_) => "policy_form",
            Self::Selector(_) => "policy_selector",
        }
    }
}

impl Installation {
    /// For files and the demo: whoever writes them may do as they like.
    pub fn open() -> Self {
        Self {
            url_backends: true,
            selectorless_services: true,
            local_addresses: true,
            ..Self::default()
        }
    }

    /// Reads the form that the chart writes, YAML or JSON. An empty text is the default.
    pub fn parse(text: &str) -> Result<Self, InstallationError> {
        let options = serde_saphyr::options! { with_snippet: false };
        let form = |error: String| InstallationError::Form(error);
        let raw: Value =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| form(error.to_string()))?;
        if raw.is_null() {
            return Ok(Self::default());
        }
        check_selector(&raw["namespaceSelector"])?;
        serde_json::from_value(raw).map_err(|error| form(error.to_string()))
    }

    /// Which addresses gateways may connect to.
    pub(crate) fn reach(&self) -> Reach {
        if self.local_addresses {
            Reach::Anywhere
        } else {
            Reach::Beyond(self.api_server.clone())
        }
    }

    /// Whether routes of a namespace with these labels are served.
    pub(crate) fn allows_namespace(&self, labels: &BTreeMap<String, String>) -> bool {
        self.namespace_selector
            .as_ref()
            .is_none_or(|selector| selector.picks(labels))
    }

    /// Whether routes of `namespace` may name `hostname`.
    pub(crate) fn allows_hostname(&self, hostname: &Hostname, namespace: &str) -> bool {
        let grants = &self.hostnames;
        grants.is_empty() || grants.iter().any(|grant| grant.admits(hostname, namespace))
    }

    /// Whether two namespaces may have routes for one host: one grant names both.
    pub(crate) fn shares(&self, hostname: &Hostname, one: &str, other: &str) -> bool {
        self.hostnames.iter().any(|grant| {
            let names = |namespace: &str| grant.namespaces.iter().any(|named| named == namespace);
            grant.hostname.covers(hostname) && names(one) && names(other)
        })
    }

    /// Whether an issuer may have this URL, for itself or for an endpoint.
    pub(crate) fn allows_issuer(&self, url: &Url) -> bool {
        self.issuers.is_empty() || self.issuers.iter().any(|prefix| prefix.begins(url))
    }
}

impl HostnameGrant {
    fn admits(&self, hostname: &Hostname, namespace: &str) -> bool {
        let is_named = self.namespaces.is_empty() || self.namespaces.iter().any(|named| named == namespace);
        self.hostname.covers(hostname) && is_named
    }
}

impl IssuerPrefix {
    /// `https://iam.example.com` begins itself and `https://iam.example.com/a`, not `https://iam.example.com.evil`.
    fn begins(&self, url: &Url) -> bool {
        let place = |url: &Url| (url.scheme() == "https", url.port_or_known_default());
        let prefix = self.0.path().trim_end_matches('/');
        let rest = url.path().strip_prefix(prefix);
        place(&self.0) == place(url)
            && self.0.host() == url.host()
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl TryFrom<String> for IssuerPrefix {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let url = Url::parse(&text).map_err(|_| "issuers: not a URL")?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || has_user {
            return Err("issuers: a URL needs a scheme (http or https) and a host, and no user");
        }
        if url.query().is_some() || url.fragment().is_some() || has_dot_segments(&text) {
            return Err("issuers: a URL must have no query, no fragment and no `.` or `..` in its path");
        }
        Ok(Self(url))
    }
}

/// A misspelt `matchLabels` would pick every namespace.
fn check_selector(selector: &Value) -> Result<(), InstallationError> {
    let check = |object: &Value, known: &[&str]| {
        let mut names = object.as_object().into_iter().flatten().map(|(name, _)| name);
        names
            .find(|name| !known.contains(&name.as_str()))
            .map_or(Ok(()), |name| Err(InstallationError::Selector(name.clone())))
    };
    check(selector, &["matchLabels", "matchExpressions"])?;
    let expressions = selector["matchExpressions"].as_array();
    expressions
        .into_iter()
        .flatten()
        .try_for_each(|expression| check(expression, &["key", "operator", "values"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Installation {
        Installation::parse(text).unwrap()
    }

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn host(text: &str) -> Hostname {
        Hostname::parse(text).unwrap()
    }

    #[test]
    fn nothing_said_is_the_default() {
        for text in ["", "{}", "# nothing\n"] {
            assert_eq!(parse(text), Installation::default(), "{text:?}");
        }
        let default = Installation::default();
        assert!(default.allows_namespace(&BTreeMap::new()));
        assert!(default.allows_hostname(&host("*.example"), "any"));
        assert!(default.allows_issuer(&url("https://anybody.example")));
        assert!(!default.shares(&host("a.example"), "a", "b"));
        assert!(!default.url_backends && !default.selectorless_services && !default.local_addresses);
    }

    #[test]
    fn hosts_belong_to_those_who_are_named() {
        let policy = parse(
            "hostnames:\n- {hostname: '*.a.example', namespaces: [one, two]}\n- {hostname: b.example}\nurlBackends: true",
        );
        for (hostname, namespace, allowed) in [
            ("x.a.example", "one", true),
            ("*.a.example", "two", true),
            ("*.x.a.example", "two", true),
            ("x.a.example", "three", false),
            ("a.example", "one", false),
            ("*.example", "one", false),
            ("b.example", "three", true),
            ("x.b.example", "three", false),
        ] {
            assert_eq!(
                policy.allows_hostname(&host(hostname), namespace),
                allowed,
                "{hostname} {namespace}"
            );
        }
        assert!(policy.shares(&host("x.a.example"), "one", "two"));
        assert!(!policy.shares(&host("x.a.example"), "one", "three"));
        assert!(
            !policy.shares(&host("b.example"), "one", "two"),
            "everybody is not named"
        );
    }

    #[test]
    fn an_issuer_prefix_ends_at_a_slash() {
        let policy = parse("issuers: ['https://iam.example/realms/', 'https://login.example']");
        for (text, allowed) in [
            ("https://iam.example/realms/shop", true),
            ("https://iam.example/realms", true),
            ("https://IAM.example:443/realms/shop", true),
            ("https://iam.example/realms-of-mine", false),
            ("https://iam.example/Realms/shop", false),
            ("https://iam.example//realms/shop", false),
            ("https://iam.example", false),
            ("https://login.example", true),
            ("https://login.example/x", true),
            ("https://login.example.evil", false),
            ("https://login.example:8443", false),
            ("http://login.example", false),
            ("http://login.example:443", false),
        ] {
            assert_eq!(policy.allows_issuer(&url(text)), allowed, "{text}");
        }
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        for (text, reason) in [
            ("hostname: []", "policy_form"),
            ("hostnames: [{host: a.example}]", "policy_form"),
            ("hostnames: [{hostname: 'A.example:80'}]", "policy_form"),
            ("issuers: [iam.example]", "policy_form"),
            ("issuers: ['https://user@iam.example']", "policy_form"),
            ("issuers: ['https://iam.example/a/%2e%2E/b']", "policy_form"),
            ("issuers: ['https://iam.example/?realm=a']", "policy_form"),
            ("urlBackends: 'yes'", "policy_form"),
            ("apiServer: [10.0.0.1]", "policy_form"),
            ("namespaceSelector: {matchLabel: {a: b}}", "policy_selector"),
            (
                "namespaceSelector: {matchExpressions: [{key: a, operator: In, value: [b]}]}",
                "policy_selector",
            ),
            ("[", "policy_form"),
        ] {
            assert_eq!(Installation::parse(text).unwrap_err().reason(), reason, "{text}");
        }
    }
}
