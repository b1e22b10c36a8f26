//! What an API gets in place of an opaque token, and whether its provider really signed that.

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};

use crate::gateway::Gateway;
use crate::http::Client;
use crate::upstream::Upstream;
use crate::wire::Request;
use crate::{jwt, secret};

/// Calls the API with an opaque token: the JWT that it got, for the same target, in the one Authorization header.
pub fn restored(gateway: &Gateway, upstream: &Upstream, opaque: &str) -> Result<String> {
    upstream.take();
    let answer = gateway.call("/orders?page=2", opaque)?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    let request = upstream.last()?;
    ensure!(request.target() == "/orders?page=2", "{}", request.target());
    bearer_of(&request)
}

/// The bearer token of a request that has exactly one Authorization header.
pub fn bearer_of(request: &Request) -> Result<String> {
    let all = request.header_all("authorization");
    let [authorization] = all.as_slice() else {
        anyhow::bail!("not one Authorization header: {all:?}");
    };
    let token = authorization.strip_prefix("Bearer ").context("not Bearer")?;
    Ok(token.to_owned())
}

/// Whether the provider signed exactly these bytes with RS256, by the keys that it publishes. A path of its own: none
/// of the gateway's code takes part.
pub fn signed_with_rs256(http: &Client, jwks_url: &str, token: &str) -> Result<()> {
    let jwks = http.get(jwks_url)?.json()?;
    let header = jwt::header(token)?;
    ensure!(header["alg"] == "RS256", "{header}");
    let mut keys = jwks["keys"].as_array().into_iter().flatten();
    let key = keys.find(|key| key["kid"] == header["kid"]);
    let key = key.context("a kid that is not published")?;
    let number = |name: &str| secret::from_base64url(key[name].as_str().unwrap_or_default());
    let public = RsaPublicKeyComponents {
        n: number("n")?,
        e: number("e")?,
    };
    let (input, signature) = token.rsplit_once('.').context("not a JWT")?;
    let signature = secret::from_base64url(signature)?;
    let verified = public.verify(&RSA_PKCS1_2048_8192_SHA256, input.as_bytes(), &signature);
    verified.ok().context("not what the provider signed")
}
