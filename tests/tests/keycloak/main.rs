//! Keycloak and a real Redis: a token in, its signature out, and the same token, byte for byte, at the API.
//!
//! One binary, so that all of these tests share one Keycloak.

mod hmac;
mod itself;
mod policies;
mod store;
mod tokens;

use std::fmt;

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::http::{Answer, Client};
use splittoken_tests::keycloak::Keycloak;
use splittoken_tests::redis::Redis;
use splittoken_tests::route::Route;
use splittoken_tests::shop::connected;
use splittoken_tests::upstream::Upstream;
use splittoken_tests::{jwt, secret, wait};

/// A gateway in front of one realm, with a Redis and an API of its own.
struct Front {
    keycloak: &'static Keycloak,
    issuer: String,
    upstream: Upstream,
    redis: Redis,
    gateway: Gateway,
}

impl Front {
    fn start(issuer: &str, change: impl FnOnce(Route) -> Route) -> Result<Self> {
        let (upstream, redis) = (Upstream::start()?, Redis::start()?);
        let route = change(Route::new(issuer, &upstream.url()));
        let gateway = Gateway::builder(route).redis(&redis).start()?;
        connected(&gateway, wait::START)?;
        let keycloak = Keycloak::shared()?;
        Ok(Self {
            keycloak,
            issuer: issuer.to_owned(),
            upstream,
            redis,
            gateway,
        })
    }

    /// Asks through the gateway, as the realm's client with HTTP Basic.
    fn through(&self, form: &[(&str, &str)]) -> Result<Answer> {
        self.gateway.token(Some(self.keycloak.client().basic()), form)
    }

    /// Asks Keycloak itself for the same.
    fn directly(&self, form: &[(&str, &str)]) -> Result<Answer> {
        let http = if self.issuer.starts_with("https:") {
            Client::trusting(self.keycloak.authority().pem())?
        } else {
            Client::new()?
        };
        let url = Keycloak::token_url(&self.issuer);
        http.post_form(&url, Some(self.keycloak.client().basic()), form)
    }

    /// Calls the API with an opaque token: the JWT that it got.
    fn restored(&self, opaque: &str) -> Result<String> {
        self.upstream.take();
        let answer = self.gateway.call("/orders?page=2", opaque)?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        let request = self.upstream.last()?;
        ensure!(request.target() == "/orders?page=2", "{}", request.target());
        let [authorization] = request
            .header_all("authorization")
            .try_into()
            .map_err(|all| anyhow::anyhow!("not one Authorization header: {all:?}"))?;
        let token = authorization.strip_prefix("Bearer ").context("not Bearer")?;
        Ok(token.to_owned())
    }

    /// Client credentials and password: what both tests of a realm ask for.
    fn grants(&self) -> Vec<Vec<(&'static str, &'static str)>> {
        let user = self.keycloak.user();
        vec![
            vec![("grant_type", "client_credentials")],
            vec![
                ("grant_type", "password"),
                ("username", &user.id),
                ("password", &user.secret),
            ],
        ]
    }
}

/// The members of a JSON object in their order, each value as it is spelled.
struct Members(Vec<(String, String)>);

impl Members {
    fn of(answer: &Answer) -> Result<Self> {
        serde_json::from_slice(&answer.body).with_context(|| answer.text())
    }

    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// All but those whose values differ from one token to the next.
    fn lasting(&self) -> Vec<&(String, String)> {
        let changes = |name: &str| name.ends_with("_token") || name == "session_state";
        self.0.iter().filter(|(name, _)| !changes(name)).collect()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    members.push((name, value.get().to_owned()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// What came through the gateway differs from what Keycloak itself says in nothing but the access token.
fn same_but_for_the_token(directly: &Answer, through: &Answer) -> Result<()> {
    assert_eq!(
        (directly.status, through.status),
        (200, 200),
        "{}",
        through.text()
    );
    let (expected, found) = (Members::of(directly)?, Members::of(through)?);
    assert_eq!(found.names(), expected.names(), "members or their order");
    assert_eq!(found.lasting(), expected.lasting(), "values, as they are spelled");
    assert!(
        expected.lasting().len() >= 4,
        "hardly anything was compared: {}",
        directly.text()
    );
    assert_eq!(through.header("content-type"), Some("application/json"));
    assert_eq!(through.header("cache-control"), Some("no-store"));
    assert_eq!(through.header("pragma"), Some("no-cache"));
    assert_eq!(through.header("set-cookie"), None);
    Ok(())
}

/// Whether Keycloak signed exactly these bytes, by the keys that it publishes.
fn signed_with_rs256(http: &Client, issuer: &str, token: &str) -> Result<()> {
    let url = format!("{issuer}/protocol/openid-connect/certs");
    let jwks = http.get(&url)?.json()?;
    let header = jwt::header(token)?;
    assert_eq!(header["alg"], "RS256");
    let key = jwks["keys"].as_array().into_iter().flatten();
    let key = key.clone().find(|key| key["kid"] == header["kid"]);
    let key = key.context("a kid that is not published")?;
    let number = |name: &str| secret::from_base64url(key[name].as_str().unwrap_or_default());
    let public = RsaPublicKeyComponents {
        n: number("n")?,
        e: number("e")?,
    };
    let (input, signature) = token.rsplit_once('.').context("not a JWT")?;
    let signature = secret::from_base64url(signature)?;
    let verified = public.verify(&RSA_PKCS1_2048_8192_SHA256, input.as_bytes(), &signature);
    verified.ok().context("not what Keycloak signed")
}
