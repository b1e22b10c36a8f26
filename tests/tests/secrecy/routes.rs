//! Four routes with a provider each: a real one, one that lies, one with an HMAC key, and one that cannot be found.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use splittoken_tests::hostile::Hostile;
use splittoken_tests::jwt::Key;
use splittoken_tests::oidc::OidcProvider;
use splittoken_tests::route::Route;
use splittoken_tests::upstream::Upstream;
use splittoken_tests::wire::{Step, answer};
use splittoken_tests::{ports, secret};

use crate::secrets::Secrets;

/// The host of the route whose provider answers what a test wants.
pub(super) const LIAR: &str = "liar.test";
/// The host of the route with an HMAC key.
pub(super) const VAULT: &str = "vault.test";
/// The host of the route whose provider cannot be discovered.
pub(super) const LOST: &str = "lost.test";

/// The routes file without the Secret.
pub(super) fn of(
    oidc: &OidcProvider,
    [liar, vault, lost]: [&Hostile; 3],
    upstream: &Upstream,
) -> Result<String> {
    Ok([
        oidc_route(oidc, upstream)?,
        Route::new(&liar.issuer(), &upstream.url())
            .named("liar")
            .spec(&json!({"hostnames": [LIAR]})),
        vault_route(vault, upstream),
        Route::new(&lost.issuer(), &upstream.url())
            .named("lost")
            .spec(&json!({"hostnames": [LOST]})),
    ]
    .map(String::from)
    .concat())
}

/// The Secret with the key of [`VAULT`], as a document of a routes file.
pub(super) fn secret_document(hmac: &Key) -> Result<String> {
    let data = STANDARD.encode(hmac.hmac_secret().context("no secret")?);
    Ok(format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: signing, namespace: default}}\ndata: {{hmac: {data}}}\n"
    ))
}

/// The oidc-provider on the gateway's own address, with backends that fail beside the API.
fn oidc_route(oidc: &OidcProvider, upstream: &Upstream) -> Result<Route> {
    let nobody = format!("http://127.0.0.1:{}", ports::free()?);
    let rule = |name: &str, path: &str, url: &str| {
        json!({"name": name, "matches": [{"path": {"value": path}}], "backendRefs": [{"url": url}],
            "timeouts": {"request": "300ms"}})
    };
    let mut rules = vec![
        rule("dead", "/dead", &nobody),
        rule("slow", "/slow", &upstream.url()),
        json!({"name": "staff", "matches": [{"path": {"value": "/staff"}}],
            "authorization": {"scopes": ["staff"]}, "backendRefs": [{"url": upstream.url()}]}),
    ];
    rules.push(json!({"name": "api", "backendRefs": [{"url": upstream.url()}]}));
    Ok(Route::new(oidc.issuer(), &upstream.url()).spec(&json!({"rules": rules})))
}

fn vault_route(vault: &Hostile, upstream: &Upstream) -> Route {
    Route::new(&vault.issuer(), &upstream.url())
        .named("vault")
        .spec(&json!({"hostnames": [VAULT]}))
        .issuer(&json!({"algorithms": ["HS256"], "hmacSecretRef": {"name": "signing", "key": "hmac"}}))
}

/// A discovery document that is a token, in the answer to a redirect to a token.
pub(super) fn misled(secrets: &Secrets, key: &Key, lost: &Hostile) -> Result<Vec<Step>> {
    let token = key.token(&lost.claims(&json!({"jti": secret::text()})))?;
    secrets.add_jwt("an untrustworthy token", &token)?;
    let location = format!("{}/callback?access_token={token}#id_token={token}", lost.issuer());
    let raw = answer(
        "302 Found",
        &[("Location", &location)],
        format!("{{\"issuer\": \"{token}\"}}"),
    );
    Ok(vec![Step::Send(raw)])
}
