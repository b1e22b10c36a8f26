//! The provider changes its key under load.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::caller::Caller;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::http::Client;
use splittoken_tests::jwt;
use splittoken_tests::oidc::OidcProvider;
use splittoken_tests::restored::{restored, signed_with_rs256};
use splittoken_tests::traffic::{Pair, Traffic, known_to_all};

/// How long a gateway serves a token from its cache without looking at it again.
const CACHED: Duration = Duration::from_secs(30);

const A_WHILE: Duration = Duration::from_secs(3);

/// Promised: 0 × 401.
#[test]
fn a_provider_that_signs_with_a_new_key_under_load_fails_nobody() -> Result<()> {
    let provider = OidcProvider::start()?;
    let pair = Pair::start(provider.issuer())?;
    let connect = |gateway: &Gateway| Ok(Caller::of(gateway)?.as_client(provider.service()));
    let old = known_to_all(&pair.both(), 20, connect)?;
    let old_key = key_of(&pair, &provider, &old[0])?;

    let traffic = Traffic::start(&pair.both(), &pair.both(), &old, connect)?;
    thread::sleep(A_WHILE);
    provider.rotate()?;
    // Until every cached token was looked at again.
    thread::sleep(CACHED + A_WHILE);
    traffic.untouched()?;
    let new = known_to_all(&pair.both(), 5, connect)?;
    ensure!(key_of(&pair, &provider, &new[0])? != old_key, "no new key");

    // The next new key is what a gateway asks for; that the others are gone it learns with it.
    provider.rotate()?;
    provider.withdraw_old_keys()?;
    for gateway in pair.both() {
        let mut caller = connect(gateway)?;
        let newest = caller.issue()?;
        ensure!(caller.status(&newest)? == 200);
        for token in old.iter().chain(&new) {
            let status = caller.status(token)?;
            ensure!(status == 401, "{status}");
        }
    }
    Ok(())
}

/// Which key a token was signed with, which the provider publishes.
fn key_of(pair: &Pair, provider: &OidcProvider, token: &str) -> Result<Value> {
    let token = restored(&pair.first, &pair.upstream, token)?;
    signed_with_rs256(&Client::new()?, &format!("{}/jwks", provider.issuer()), &token)?;
    let kid = jwt::header(&token)?["kid"].take();
    ensure!(kid != json!(null), "no kid");
    Ok(kid)
}
