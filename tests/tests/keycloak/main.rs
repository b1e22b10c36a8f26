//! Keycloak and a real Redis: a token in, its signature out, and the same token, byte for byte, at the API.
//!
//! One binary, so that all of these tests share one Keycloak.

mod algorithms;
mod hmac;
mod itself;
mod policies;
mod rotation;
mod store;
mod tokens;

use anyhow::Result;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::http::{Answer, Client};
use splittoken_tests::keycloak::Keycloak;
use splittoken_tests::redis::Redis;
use splittoken_tests::restored::restored;
use splittoken_tests::route::Route;
use splittoken_tests::shop::connected;
use splittoken_tests::upstream::Upstream;
use splittoken_tests::wait;

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
        restored(&self.gateway, &self.upstream, opaque)
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

/// Where a realm publishes its keys.
fn jwks_url(issuer: &str) -> String {
    format!("{issuer}/protocol/openid-connect/certs")
}
