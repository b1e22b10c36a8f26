//! Every algorithm that Keycloak signs with, and tokens at the edges: fat ones, short-lived ones, names in any script.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::http::Answer;
use splittoken_tests::keycloak::Keycloak;
use splittoken_tests::restored::restored;
use splittoken_tests::{jwt, secret, wait};

use super::Front;

/// Each with the number of bytes of its signature.
const PUBLIC: [(&str, usize); 10] = [
    ("RS256", 256),
    ("RS384", 256),
    ("RS512", 256),
    ("PS256", 256),
    ("PS384", 256),
    ("PS512", 256),
    ("ES256", 64),
    ("ES384", 96),
    ("ES512", 132),
    ("EdDSA", 64),
];
const HMAC: [(&str, usize); 2] = [("HS256", 32), ("HS512", 64)];

const CLIENT_CREDENTIALS: [(&str, &str); 1] = [("grant_type", "client_credentials")];

/// A client whose tokens are as `attributes` and `claim` say.
pub(super) fn client(name: &str, password: &str, attributes: &Value, claim: Option<(&str, &str)>) -> Value {
    let mappers = claim.map(|(name, value)| {
        json!({
            "name": name, "protocol": "openid-connect", "protocolMapper": "oidc-hardcoded-claim-mapper",
            "config": {
                "claim.name": name, "claim.value": value, "jsonType.label": "String", "access.token.claim": "true",
            },
        })
    });
    json!({
        "clientId": name, "secret": password, "enabled": true, "publicClient": false, "serviceAccountsEnabled": true,
        "standardFlowEnabled": false, "attributes": attributes, "protocolMappers": mappers.into_iter().collect::<Vec<_>>(),
    })
}

pub(super) fn realm(name: &str, clients: Vec<Value>, keys: Vec<Value>) -> Value {
    json!({
        "realm": name, "enabled": true, "sslRequired": "none", "accessTokenLifespan": 600, "clients": clients,
        "components": {"org.keycloak.keys.KeyProvider": keys},
    })
}

pub(super) fn key(name: &str, provider: &str, config: Value) -> Value {
    let mut config = config;
    config["priority"] = json!(["100"]);
    json!({"name": name, "providerId": provider, "subComponents": {}, "config": config})
}

/// A key for each public algorithm.
fn public_keys() -> Vec<Value> {
    let rsa = PUBLIC
        .iter()
        .filter(|(name, _)| name.starts_with('R') || name.starts_with('P'));
    let rsa = rsa.map(|(name, _)| {
        key(
            name,
            "rsa-generated",
            json!({"algorithm": [name], "keySize": ["2048"]}),
        )
    });
    let curves = [("ES256", "P-256"), ("ES384", "P-384"), ("ES512", "P-521")];
    let elliptic =
        curves.map(|(name, curve)| key(name, "ecdsa-generated", json!({"ecdsaEllipticCurveKey": [curve]})));
    let eddsa = key(
        "EdDSA",
        "eddsa-generated",
        json!({"eddsaEllipticCurveKey": ["Ed25519"]}),
    );
    rsa.chain(elliptic).chain([eddsa]).chain(for_itself()).collect()
}

/// What Keycloak signs and encrypts for itself.
fn for_itself() -> [Value; 2] {
    [
        key(
            "own",
            "hmac-generated",
            json!({"algorithm": ["HS512"], "secretSize": ["64"]}),
        ),
        key("aes", "aes-generated", json!({})),
    ]
}

fn signing(algorithm: &str) -> Value {
    json!({"access.token.signed.response.alg": algorithm})
}

/// Asks for a token as this client of the realm.
fn ask(front: &Front, client: &str, password: &str) -> Result<Answer> {
    front.gateway.token(Some((client, password)), &CLIENT_CREDENTIALS)
}

/// A token of this algorithm: its signature out, the token itself at the API.
fn works(front: &Front, algorithm: &str, length: usize, password: &str) -> Result<()> {
    let answer = ask(front, algorithm, password)?;
    ensure!(
        answer.status == 200,
        "{algorithm}: {} {}",
        answer.status,
        answer.text()
    );
    let opaque = answer.member("access_token")?;
    assert_eq!(secret::from_base64url(&opaque)?.len(), length, "{algorithm}");
    let token = front.restored(&opaque)?;
    assert_eq!(jwt::header(&token)?["alg"], algorithm);
    assert_eq!(jwt::signature(&token)?, opaque, "{algorithm}");
    Ok(())
}

#[test]
fn every_public_algorithm_works_where_it_is_allowed_and_nowhere_else() -> Result<()> {
    let keycloak = Keycloak::shared()?;
    let password = secret::text();
    let clients = PUBLIC.map(|(name, _)| client(name, &password, &signing(name), None));
    keycloak.add_realm(&realm("public", clients.to_vec(), public_keys()))?;
    let issuer = keycloak.issuer("public");
    let all = PUBLIC.map(|(name, _)| name);
    let front = Front::start(&issuer, |route| route.issuer(&json!({"algorithms": all})))?;
    for (name, length) in PUBLIC {
        works(&front, name, length, &password)?;
    }
    let by_default = Front::start(&issuer, |route| route)?;
    for (name, length) in PUBLIC {
        if ["RS256", "PS256", "ES256", "EdDSA"].contains(&name) {
            works(&by_default, name, length, &password)?;
        } else {
            let answer = ask(&by_default, name, &password)?;
            ensure!(
                answer.status == 502,
                "{name}: {} {}",
                answer.status,
                answer.text()
            );
            ensure!(!answer.text().contains("eyJ"), "{name}: a JWT got out");
        }
    }
    Ok(())
}

#[test]
fn every_hmac_algorithm_works_with_its_key() -> Result<()> {
    let keycloak = Keycloak::shared()?;
    let (password, secret) = (secret::text(), secret::bytes::<64>());
    for (name, length) in HMAC {
        let known = json!({
            "algorithm": [name], "kid": [name], "secret": [secret::base64url(&secret)], "secretSize": ["64"],
            "active": ["true"], "enabled": ["true"],
        });
        let mut keys = for_itself().to_vec();
        keys.push(key("rsa", "rsa-generated", json!({"algorithm": ["RS256"]})));
        let mut known = key(name, "hmac-generated", known);
        known["config"]["priority"] = json!(["200"]);
        keys.push(known);
        let realm_name = format!("with-{}", name.to_lowercase());
        let clients = vec![client(name, &password, &signing(name), None)];
        keycloak.add_realm(&realm(&realm_name, clients, keys))?;
        let front = Front::start(&keycloak.issuer(&realm_name), |route| {
            route
                .issuer(&json!({"algorithms": [name], "hmacSecretRef": {"name": "signing"}}))
                .secret("signing", "hmac", &secret)
        })?;
        works(&front, name, length, &password)?;
    }
    Ok(())
}

#[test]
fn a_token_that_no_header_would_hold_is_refused_when_it_is_issued() -> Result<()> {
    let keycloak = Keycloak::shared()?;
    let password = secret::text();
    let fat =
        |name: &str, bytes: usize| client(name, &password, &json!({}), Some(("more", &"x".repeat(bytes))));
    // In base64, 13,000 bytes are 17.4 kB; the limit is 16 KiB for the whole token.
    let clients = vec![fat("fat", 13_000), fat("stout", 8_000)];
    keycloak.add_realm(&realm("fat", clients, public_keys()))?;
    let front = Front::start(&keycloak.issuer("fat"), |route| route)?;
    let refused = ask(&front, "fat", &password)?;
    assert_eq!(refused.status, 502, "{}", refused.text());
    assert_eq!(refused.json()?["error"], "server_error");
    let said = refused.member("error_description")?;
    ensure!(said.contains("16 KiB"), "{said}");
    ensure!(!refused.text().contains("eyJ"), "a JWT got out");
    assert_eq!(front.redis.dump()?, [], "and nothing is kept of it");
    let reason = "splittoken_gateway_failures_total{reason=\"jwt_too_long\"} 1";
    let metrics = front.gateway.admin("/metrics")?.text();
    ensure!(metrics.contains(reason), "{reason} is not in {metrics}");
    let opaque = ask(&front, "stout", &password)?.member("access_token")?;
    ensure!(front.restored(&opaque)?.len() > 10_000, "not the whole token");
    Ok(())
}

/// How late a busy machine may notice the end of a token.
const LATE: Duration = Duration::from_secs(5);

#[test]
fn a_token_of_five_seconds_is_good_for_five_seconds() -> Result<()> {
    let keycloak = Keycloak::shared()?;
    let password = secret::text();
    let short = client("short", &password, &json!({"access.token.lifespan": "5"}), None);
    keycloak.add_realm(&realm("short", vec![short], public_keys()))?;
    let front = Front::start(&keycloak.issuer("short"), |route| route)?;
    let start = Instant::now();
    let answer = ask(&front, "short", &password)?;
    let answered = start.elapsed();
    let lives = answer.json()?["expires_in"].as_u64().context("no expires_in")?;
    ensure!((1..=5).contains(&lives), "expires_in {lives}");
    let opaque = answer.member("access_token")?;
    if answered < Duration::from_secs(3) {
        front.restored(&opaque)?;
    }
    // Keycloak may take its time to issue it, and a busy machine to notice its end.
    wait::until_true(Duration::from_secs(lives) + LATE, "the token's end", || {
        let answer = front.gateway.call("/orders", &opaque);
        answer.is_ok_and(|answer| answer.status == 401)
    })?;
    // Its end is a whole second.
    let good = start.elapsed();
    ensure!(good >= Duration::from_secs(4), "refused after {good:?}");
    wait::until_true(LATE, "it to be gone from the store by itself", || {
        front.redis.dump().is_ok_and(|records| records.is_empty())
    })
}

#[test]
fn names_in_any_script_reach_the_api() -> Result<()> {
    let keycloak = Keycloak::shared()?;
    let password = secret::text();
    let name = "Zoë Łukasz 佐藤 🦀";
    let client = client("names", &password, &json!({}), Some(("full_name", name)));
    keycloak.add_realm(&realm("names", vec![client], public_keys()))?;
    let front = Front::start(&keycloak.issuer("names"), |route| {
        route.rule(&json!({"claimsToHeaders": [{"claim": "full_name", "header": "X-Full-Name"}]}))
    })?;
    let opaque = ask(&front, "names", &password)?.member("access_token")?;
    let token = restored(&front.gateway, &front.upstream, &opaque)?;
    assert_eq!(jwt::claims(&token)?["full_name"], name);
    assert_eq!(
        front.upstream.last()?.header("x-full-name").as_deref(),
        Some(name)
    );
    Ok(())
}
