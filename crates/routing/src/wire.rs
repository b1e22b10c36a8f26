//! How a compiled route travels through a cluster: what may be seen as one text, what may not as another.
//!
//! Both halves name the revision of the pair, so that a reader who gets them one after the other never puts two
//! revisions together. What carries the texts (a `ConfigMap`, a Secret) is not known here.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{CompiledRoute, FORMAT, RouteConfig, RouteName, RouteSecrets};

/// A route as two texts.
#[derive(Debug)]
pub struct Written {
    /// What may be seen.
    pub config: String,
    /// What may not; `None` where the route has no secrets.
    pub secrets: Option<Zeroizing<String>>,
}

/// The half of a route that may be seen, read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Visible {
    /// Names the pair of both halves.
    pub revision: String,
    /// Whether there is another half.
    pub has_secrets: bool,
    /// The route.
    pub config: RouteConfig,
}

/// [`Visible`], to be written.
#[derive(Serialize)]
struct Shown<'r> {
    revision: &'r str,
    has_secrets: bool,
    config: &'r RouteConfig,
}

#[derive(Serialize, Deserialize)]
struct Hidden {
    revision: String,
    secrets: RouteSecrets,
}

/// Why a text is no route. Quotes nothing of it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WireError {
    /// No JSON of the expected shape.
    #[error("is not the JSON of a route (line {line}, column {column})")]
    Json {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// Written by another version.
    #[error("has format {0}, this gateway reads {FORMAT}")]
    Format(u32),
    /// The other half is not there, or is of another revision. It may be on its way.
    #[error("its secrets of revision {0} are not there")]
    NoSecrets(String),
}

/// [`WireError::reason`] of a text that another version has written.
pub const OTHER_FORMAT: &str = "wire_format";

impl WireError {
    /// A closed set of words for metrics, logs and conditions.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Json { .. } => "wire_json",
            Self::Format(_) => OTHER_FORMAT,
            Self::NoSecrets(_) => "wire_no_secrets",
        }
    }
}

impl From<serde_json::Error> for WireError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json {
            line: error.line(),
            column: error.column(),
        }
    }
}

/// Writes a route down.
pub fn write(route: &CompiledRoute) -> Result<Written, WireError> {
    let has_secrets = route.secrets != RouteSecrets::default();
    let revision = route.revision.clone();
    let config = serde_json::to_string(&Shown {
        revision: &revision,
        has_secrets,
        config: &route.config,
    })?;
    let hidden = Hidden {
        revision,
        secrets: route.secrets.clone(),
    };
    let secrets = has_secrets.then(|| serde_json::to_string(&hidden)).transpose()?;
    Ok(Written {
        config,
        secrets: secrets.map(Zeroizing::new),
    })
}

impl Visible {
    /// Reads the half that may be seen.
    pub fn read(text: &str) -> Result<Self, WireError> {
        // Looked at first: a later format may have another shape.
        #[derive(Deserialize)]
        struct Versioned {
            config: Format,
        }
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let version = serde_json::from_str::<Versioned>(text)?.config.format;
        if version != FORMAT {
            return Err(WireError::Format(version));
        }
        Ok(serde_json::from_str(text)?)
    }

    /// Joins it with the other half, as far as it needs one.
    pub fn join(self, secrets: Option<&[u8]>) -> Result<CompiledRoute, WireError> {
        let secrets = if self.has_secrets {
            let text = secrets.ok_or_else(|| WireError::NoSecrets(self.revision.clone()))?;
            let hidden: Hidden = serde_json::from_slice(text)?;
            if hidden.revision != self.revision {
                return Err(WireError::NoSecrets(self.revision));
            }
            hidden.secrets
        } else {
            RouteSecrets::default()
        };
        Ok(CompiledRoute {
            config: Arc::new(self.config),
            secrets,
            revision: self.revision,
        })
    }
}

/// Names a set of (route, revision): equal digests serve the same. 22 characters of base64url.
pub fn digest<'r>(routes: impl Iterator<Item = (&'r RouteName, &'r str)>) -> String {
    let mut lines: Vec<String> = routes
        .map(|(name, revision)| format!("{name}\n{revision}\n"))
        .collect();
    lines.sort_unstable();
    let hash = digest::digest(&digest::SHA256, lines.concat().as_bytes());
    URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16])
}

/// The name of the object that carries a route: a DNS label for any namespace and name, which may themselves be longer
/// than one together.
pub fn object_name(route: &RouteName) -> String {
    let hash = digest::digest(&digest::SHA256, route.to_string().as_bytes());
    hash.as_ref()
        .iter()
        .take(10)
        .fold("route-".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;
    use splittoken_reach::{Reach, Refused};
    use splittoken_token::SecretBytes;

    use super::*;
    use crate::{Backend, BackendProtocol, BackendTls, ClientCertificate, IssuerSecrets, UnusableBackend};

    fn route(secrets: RouteSecrets) -> CompiledRoute {
        let config = json!({
            "format": FORMAT, "name": {"namespace": "shop", "name": "orders"}, "created": 0,
            "hostnames": ["api.example.com"], "token_endpoint": null, "max_stale": 10_000, "rules": [],
            "issuer": {
                "name": "SplitTokenRoute/shop/orders", "realm": "UEWN4nsXowtvS_X5xsO3ig", "url": "https://iam.example",
                "transport": "HttpsOnly", "discovery": "Auto",
                "endpoints": {"token": null, "jwks": null, "revocation": null}, "algorithms": ["HS256"],
                "verification": "Signature", "audiences": [], "token_types": [], "clock_skew": 0,
                "jwks_refresh": 1, "jwks_min_refresh": 1, "ca_certificates": [],
                "lifetime": {"max": 1, "fallback": 0}, "connect_timeout": 1, "request_timeout": 1,
            },
        });
        CompiledRoute {
            config: Arc::new(serde_json::from_value(config).unwrap()),
            secrets,
            revision: "r1".to_owned(),
        }
    }

    fn secrets() -> RouteSecrets {
        RouteSecrets {
            issuer: IssuerSecrets {
                hmac_key: Some(SecretBytes::new(b"a key of some bytes".to_vec())),
                client_certificate: None,
            },
            client_certificates: BTreeMap::default(),
        }
    }

    #[test]
    fn both_halves_make_the_route_again() {
        for secrets in [RouteSecrets::default(), secrets()] {
            let route = route(secrets);
            let written = write(&route).unwrap();
            let hidden = written.secrets.as_ref().map(|text| text.as_bytes());
            assert_eq!(
                Visible::read(&written.config).unwrap().join(hidden).unwrap(),
                route
            );
        }
    }

    /// A text that says nothing of it, as that of [`route`], is of the narrower kind.
    #[test]
    fn where_it_may_lead_travels_along_for_the_route_and_its_issuer() {
        let silent = route(RouteSecrets::default());
        assert_eq!(silent.config.reach, Reach::default());
        let mut config = RouteConfig::clone(&silent.config);
        config.reach = Reach::Beyond(Refused {
            addresses: vec!["10.96.0.1".parse().unwrap()],
            sockets: vec!["172.18.0.2:6443".parse().unwrap()],
        });
        config.issuer.reach = Reach::Anywhere;
        let route = CompiledRoute {
            config: Arc::new(config),
            ..silent
        };
        let written = write(&route).unwrap().config;
        assert_eq!(Visible::read(&written).unwrap().join(None).unwrap(), route);
        let json: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(json["config"]["reach"], json!({"Beyond": ["10.96.0.1"]}));
        assert_eq!(json["config"]["reach_sockets"], json!(["172.18.0.2:6443"]));
        assert_eq!(json["config"]["issuer"]["reach"], "Anywhere");
    }

    #[test]
    fn what_may_be_seen_shows_no_secret() {
        let written = write(&route(secrets())).unwrap();
        let hidden = written.secrets.unwrap();
        let key = hidden.split('"').find(|text| text.len() > 20).unwrap();
        assert!(!written.config.contains(key));
        assert!(write(&route(RouteSecrets::default())).unwrap().secrets.is_none());
    }

    /// Gateways and operators of two versions meet during an upgrade.
    #[test]
    fn what_an_older_version_says_nothing_of_is_plain_http_1() {
        let older = json!({"address": {"Ok": "10.96.0.7:80"}, "weight": 1});
        let backend: Backend = serde_json::from_value(older.clone()).unwrap();
        assert_eq!((backend.protocol, &backend.tls), (BackendProtocol::Http1, &None));
        assert_eq!(serde_json::to_value(&backend).unwrap(), older);
        assert_eq!(
            serde_json::from_str::<RouteSecrets>("{}").unwrap(),
            RouteSecrets::default()
        );
    }

    #[test]
    fn a_client_certificate_is_in_the_secret_half_alone() {
        let certificate = ClientCertificate {
            chain: vec!["a certificate".to_owned()],
            key: SecretBytes::new(b"a private key of some length".to_vec()),
        };
        let secrets = RouteSecrets {
            client_certificates: BTreeMap::from([("shop-client".to_owned(), certificate)]),
            ..RouteSecrets::default()
        };
        let backend = Backend {
            address: Err(UnusableBackend {
                reason: "TLS".to_owned(),
            }),
            weight: 1,
            protocol: BackendProtocol::Negotiated,
            tls: Some(BackendTls {
                address: "10.96.0.7:443".to_owned(),
                server_name: "orders.shop.svc".to_owned(),
                ca_certificates: Vec::new(),
                client_certificate: Some("shop-client".to_owned()),
            }),
        };
        let text = serde_json::to_string(&backend).unwrap();
        assert_eq!(serde_json::from_str::<Backend>(&text).unwrap(), backend);
        let route = route(secrets);
        let written = write(&route).unwrap();
        let hidden = written.secrets.unwrap();
        assert!(hidden.contains("a certificate") && !written.config.contains("a certificate"));
        let again = Visible::read(&written.config)
            .unwrap()
            .join(Some(hidden.as_bytes()));
        assert_eq!(again.unwrap(), route);
    }

    #[test]
    fn halves_of_two_revisions_do_not_join() {
        let first = write(&route(secrets())).unwrap();
        let second = write(&CompiledRoute {
            revision: "r2".to_owned(),
            ..route(secrets())
        });
        let hidden = first.secrets.unwrap();
        let visible = Visible::read(&second.unwrap().config).unwrap();
        let expected = WireError::NoSecrets("r2".to_owned());
        assert_eq!(
            visible.clone().join(Some(hidden.as_bytes())).unwrap_err(),
            expected
        );
        assert_eq!(visible.join(None).unwrap_err(), expected);
    }

    #[test]
    fn a_later_format_is_named_and_garbage_is_refused() {
        let later = r#"{"revision": 5, "config": {"format": 99, "something": "else"}}"#;
        assert_eq!(Visible::read(later).unwrap_err(), WireError::Format(99));
        for text in ["", "null", "{}", r#"{"config": {"format": 1}}"#] {
            assert_eq!(Visible::read(text).unwrap_err().reason(), "wire_json", "{text}");
        }
    }

    #[test]
    fn every_route_has_an_object_name_of_its_own() {
        let name = |namespace: &str, name: &str| {
            let route = RouteName {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            };
            object_name(&route)
        };
        assert_eq!(name("shop", "orders").len(), 26);
        assert_eq!(name("shop", "orders"), name("shop", "orders"));
        // A dot or a dash cannot be moved from one half to the other.
        assert_ne!(name("a", "b-c"), name("a-b", "c"));
        assert_eq!(name(&"n".repeat(63), &"x".repeat(253)).len(), 26);
    }
}
