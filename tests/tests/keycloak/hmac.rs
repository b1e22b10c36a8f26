//! Realm `hmac`: HS256, as in older setups, with the key in a Secret or kept by Keycloak.

use anyhow::{Context as _, Result};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, verify};
use serde_json::{Value, json};
use splittoken_tests::answers::same_but_for_the_token;
use splittoken_tests::keycloak::Keycloak;
use splittoken_tests::route::Route;
use splittoken_tests::{jwt, secret};

use super::Front;

/// The route's issuer trusts the private authority, over HTTPS alone.
fn over_https(route: Route, keycloak: &Keycloak, members: Value) -> Route {
    let mut members = members;
    members["transport"] = json!("HTTPSOnly");
    members["tls"] = json!({"caCertificateRefs": [{"kind": "ConfigMap", "name": "keycloak-ca"}]});
    route
        .issuer(&members)
        .config_map("keycloak-ca", "ca.crt", keycloak.authority().pem())
}

fn both_grants(front: &Front) -> Result<()> {
    let key = Key::new(HMAC_SHA256, front.keycloak.hmac_secret());
    for form in front.grants() {
        let (directly, through) = (front.directly(&form)?, front.through(&form)?);
        same_but_for_the_token(&directly, &through)?;
        let opaque = through.member("access_token")?;
        // HMAC with SHA-256: 32 bytes.
        assert_eq!(secret::from_base64url(&opaque)?.len(), 32);
        let token = front.restored(&opaque)?;
        assert_eq!(jwt::signature(&token)?, opaque);
        assert_eq!(jwt::header(&token)?["alg"], "HS256");
        assert_eq!(jwt::claims(&token)?["iss"], front.issuer);
        let (input, _) = token.rsplit_once('.').context("not a JWT")?;
        let signed = verify(&key, input.as_bytes(), &secret::from_base64url(&opaque)?);
        assert!(signed.is_ok(), "not what Keycloak signed");
        assert_eq!(front.restored(&opaque)?, token, "from the cache");
    }
    Ok(())
}

#[test]
fn with_the_key_in_a_secret() -> Result<()> {
    let keycloak = Keycloak::shared()?;
    let members = json!({"algorithms": ["HS256"], "hmacSecretRef": {"name": "signing", "key": "hmac"}});
    both_grants(&Front::start(&keycloak.issuer("hmac"), |route| {
        route
            .issuer(&members)
            .secret("signing", "hmac", keycloak.hmac_secret())
    })?)?;
    both_grants(&Front::start(&keycloak.issuer_tls("hmac"), |route| {
        over_https(route, keycloak, members.clone()).secret("signing", "hmac", keycloak.hmac_secret())
    })?)
}

#[test]
fn with_the_key_kept_by_keycloak_and_its_tls_connection_trusted() -> Result<()> {
    let keycloak = Keycloak::shared()?;
    let members = json!({"algorithms": ["HS256"], "verification": "Transport"});
    both_grants(&Front::start(&keycloak.issuer_tls("hmac"), |route| {
        over_https(route, keycloak, members)
    })?)
}

#[test]
fn with_another_key_in_the_secret_nothing_is_issued() -> Result<()> {
    let keycloak = Keycloak::shared()?;
    let members = json!({"algorithms": ["HS256"], "hmacSecretRef": {"name": "signing", "key": "hmac"}});
    let front = Front::start(&keycloak.issuer("hmac"), |route| {
        route
            .issuer(&members)
            .secret("signing", "hmac", &secret::bytes::<64>())
    })?;
    let answer = front.through(&[("grant_type", "client_credentials")])?;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(!answer.text().contains("eyJ"));
    assert_eq!(front.redis.dump()?, []);
    Ok(())
}

#[test]
fn a_realm_of_the_wrong_algorithm_is_refused() -> Result<()> {
    let keycloak = Keycloak::shared()?;
    // The default list has no HMAC.
    let front = Front::start(&keycloak.issuer("hmac"), |route| route)?;
    let answer = front.through(&[("grant_type", "client_credentials")])?;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!(front.redis.dump()?, []);
    Ok(())
}
