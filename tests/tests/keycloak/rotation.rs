//! A realm changes its key under load.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::caller::Caller;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::jwt;
use splittoken_tests::keycloak::Keycloak;
use splittoken_tests::restored::restored;
use splittoken_tests::traffic::{Pair, Traffic, known_to_all};

use super::algorithms;

const REALM: &str = "rotating";

/// How long a gateway serves a token from its cache without looking at it again.
const CACHED: Duration = Duration::from_secs(30);

const A_WHILE: Duration = Duration::from_secs(3);

/// Promised: 0 × 401.
#[test]
fn a_realm_that_signs_with_a_new_key_under_load_fails_nobody() -> Result<()> {
    let keycloak = Keycloak::shared()?;
    let client = keycloak.client();
    let key = algorithms::key("first", "rsa-generated", json!({"algorithm": ["RS256"]}));
    let clients = vec![algorithms::client(&client.id, &client.secret, &json!({}), None)];
    keycloak.add_realm(&algorithms::realm(REALM, clients, vec![key]))?;
    let pair = Pair::start(&keycloak.issuer(REALM))?;
    let connect = |gateway: &Gateway| Ok(Caller::of(gateway)?.as_client(client));
    let old = known_to_all(&pair.both(), 20, connect)?;
    let old_key = key_of(&pair, &old[0])?;

    let traffic = Traffic::start(&pair.both(), &pair.both(), &old, connect)?;
    thread::sleep(A_WHILE);
    keycloak.add_key(REALM, "second", 200)?;
    // Until every cached token was looked at again.
    thread::sleep(CACHED + A_WHILE);
    traffic.untouched()?;
    let new = known_to_all(&pair.both(), 5, connect)?;
    ensure!(key_of(&pair, &new[0])? != old_key, "no new key");

    // The next new key is what a gateway asks for; that the first one is gone it learns with it.
    keycloak.add_key(REALM, "third", 300)?;
    keycloak.remove_key(REALM, "first")?;
    for gateway in pair.both() {
        let mut caller = connect(gateway)?;
        let newest = caller.issue()?;
        ensure!(caller.status(&newest)? == 200);
        for (tokens, expected) in [(&old, 401), (&new, 200)] {
            for token in tokens {
                let status = caller.status(token)?;
                ensure!(status == expected, "{status} for {expected}");
            }
        }
    }
    Ok(())
}

/// Which key a token was signed with.
fn key_of(pair: &Pair, token: &str) -> Result<Value> {
    Ok(jwt::header(&restored(&pair.first, &pair.upstream, token)?)?["kid"].take())
}
