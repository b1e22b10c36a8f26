//! npm oidc-provider behind the gateway: every grant that it knows, its errors, its opaque tokens, its keys, its absence, and
//! client libraries of other languages that know nothing of a gateway.

mod absence;
mod clients;
mod errors;
mod grants;
mod policies;
mod rotation;
mod store;

use anyhow::{Result, ensure};
use splittoken_tests::gateway::{Builder, Gateway};
use splittoken_tests::http::{Answer, Client};
use splittoken_tests::jwt;
use splittoken_tests::oidc::{OidcProvider, Pkce, REDIRECT_URL};
use splittoken_tests::restored::{restored, signed_with_rs256};
use splittoken_tests::route::Route;
use splittoken_tests::upstream::Upstream;
use splittoken_tests::wait;

/// What the user of [`OidcProvider::web`] is asked to allow: everything that tests look at.
const SCOPE: &str = "openid offline_access orders:read";

/// A form to be sent to a token endpoint.
type Form<'f> = Vec<(&'f str, &'f str)>;

/// A provider, a gateway with the memory store, and an API.
struct Front {
    provider: OidcProvider,
    upstream: Upstream,
    gateway: Gateway,
    http: Client,
}

impl Front {
    fn start() -> Result<Self> {
        Self::with(|route| route)
    }

    /// With a changed route.
    fn with(change: impl FnOnce(Route) -> Route) -> Result<Self> {
        Self::of(change, |gateway| gateway)
    }

    /// With a changed route and a gateway that is started in another way.
    fn of(change: impl FnOnce(Route) -> Route, build: impl FnOnce(Builder) -> Builder) -> Result<Self> {
        let (provider, upstream) = (OidcProvider::start()?, Upstream::start()?);
        let route = change(Route::new(provider.issuer(), &upstream.url()));
        let gateway = build(Gateway::builder(route)).start()?;
        Ok(Self {
            provider,
            upstream,
            gateway,
            http: Client::new()?,
        })
    }

    /// `client_credentials` of the service, through the gateway; `more` is added to the form.
    fn service(&self, more: &[(&str, &str)]) -> Result<Answer> {
        let form = [&[("grant_type", "client_credentials")], more].concat();
        self.gateway.token(Some(self.provider.service().basic()), &form)
    }

    /// Asks through the gateway, as the web client.
    fn through(&self, form: &[(&str, &str)]) -> Result<Answer> {
        self.gateway.token(Some(self.provider.web().basic()), form)
    }

    /// Asks the provider itself, as the web client.
    fn directly(&self, form: &[(&str, &str)]) -> Result<Answer> {
        let basic = Some(self.provider.web().basic());
        self.http.post_form(&self.provider.token_url(), basic, form)
    }

    /// A user logs in; `ask` gets the form that turns the code into tokens.
    fn log_in(&self, ask: impl FnOnce(&[(&str, &str)]) -> Result<Answer>) -> Result<Answer> {
        let pkce = Pkce::new();
        let code = self.provider.login(&pkce, SCOPE)?;
        ask(&code_form(&code, &pkce.verifier))
    }

    /// The API gets a JWT for this opaque token: its signature is the token, and the provider signed it. Gives it.
    fn restores(&self, opaque: &str) -> Result<String> {
        let token = restored(&self.gateway, &self.upstream, opaque)?;
        ensure!(jwt::signature(&token)? == opaque, "another token's JWT");
        signed_with_rs256(&self.http, &self.jwks_url(), &token)?;
        let claims = jwt::claims(&token)?;
        ensure!(claims["iss"] == self.provider.issuer(), "{claims}");
        ensure!(claims["aud"] == "urn:shop", "{claims}");
        Ok(token)
    }

    fn jwks_url(&self) -> String {
        format!("{}/jwks", self.provider.issuer())
    }
}

/// Waits until a provider that was killed refuses connections: the gateway may try one that it had before.
fn gone(ask: impl Fn() -> Result<Answer>) -> Result<()> {
    wait::until_true(wait::START, "refused connections", || {
        ask().is_ok_and(|answer| answer.status == 503)
    })
}

fn code_form<'f>(code: &'f str, verifier: &'f str) -> Form<'f> {
    vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT_URL),
        ("code_verifier", verifier),
    ]
}

fn refresh_form(refresh_token: &str) -> Form<'_> {
    vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token)]
}
