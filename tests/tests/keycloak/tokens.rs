//! Realm `shop`: RS256.

use anyhow::Result;
use splittoken_tests::http::Client;
use splittoken_tests::keycloak::Keycloak;
use splittoken_tests::{jwt, secret};

use splittoken_tests::answers::{same_but_for_the_token, same_refusal};
use splittoken_tests::restored::signed_with_rs256;

use super::{Front, jwks_url};

#[test]
fn a_token_in_its_signature_out_and_the_same_token_at_the_api() -> Result<()> {
    let issuer = Keycloak::shared()?.issuer("shop");
    let front = Front::start(&issuer, |route| route)?;
    for form in front.grants() {
        let (directly, through) = (front.directly(&form)?, front.through(&form)?);
        same_but_for_the_token(&directly, &through)?;
        let opaque = through.member("access_token")?;
        // RS256 with 2048 bits: 256 bytes of signature and nothing else.
        assert_eq!(secret::from_base64url(&opaque)?.len(), 256);
        let token = front.restored(&opaque)?;
        assert_eq!(jwt::signature(&token)?, opaque);
        signed_with_rs256(&Client::new()?, &jwks_url(&issuer), &token)?;
        assert_eq!(jwt::claims(&token)?["iss"], issuer);
        assert_eq!(jwt::claims(&token)?["azp"], front.keycloak.client().id);
        if form[0].1 == "password" {
            assert_eq!(
                jwt::claims(&token)?["preferred_username"],
                front.keycloak.user().id
            );
        }
        // Again, from the cache: the same bytes.
        assert_eq!(front.restored(&opaque)?, token);
        // The JWT itself opens nothing here.
        assert_eq!(front.gateway.call("/orders", &token)?.status, 401);
    }
    Ok(())
}

#[test]
fn over_https_with_a_private_authority() -> Result<()> {
    let keycloak = Keycloak::shared()?;
    let issuer = keycloak.issuer_tls("shop");
    let front = Front::start(&issuer, |route| {
        let tls = serde_json::json!({
            "transport": null, "tls": {"caCertificateRefs": [{"kind": "ConfigMap", "name": "keycloak-ca"}]},
        });
        route
            .issuer(&tls)
            .config_map("keycloak-ca", "ca.crt", keycloak.authority().pem())
    })?;
    for form in front.grants() {
        let (directly, through) = (front.directly(&form)?, front.through(&form)?);
        same_but_for_the_token(&directly, &through)?;
        let opaque = through.member("access_token")?;
        let token = front.restored(&opaque)?;
        assert_eq!(jwt::signature(&token)?, opaque);
        signed_with_rs256(
            &Client::trusting(keycloak.authority().pem())?,
            &jwks_url(&issuer),
            &token,
        )?;
    }
    Ok(())
}

#[test]
fn with_another_authority_the_provider_is_not_spoken_to() -> Result<()> {
    let issuer = Keycloak::shared()?.issuer_tls("shop");
    let stranger = splittoken_tests::certs::Authority::new()?;
    let front = Front::start(&issuer, |route| {
        let tls = serde_json::json!({
            "transport": null, "tls": {"caCertificateRefs": [{"kind": "ConfigMap", "name": "keycloak-ca"}]},
        });
        route
            .issuer(&tls)
            .config_map("keycloak-ca", "ca.crt", stranger.pem())
    })?;
    let answer = front.through(&[("grant_type", "client_credentials")])?;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(front.redis.dump()?, []);
    Ok(())
}

#[test]
fn the_client_may_authenticate_in_the_body() -> Result<()> {
    let keycloak = Keycloak::shared()?;
    let front = Front::start(&keycloak.issuer("shop"), |route| route)?;
    let client = keycloak.client();
    let form = [
        ("client_id", client.id.as_str()),
        ("client_secret", client.secret.as_str()),
        ("grant_type", "client_credentials"),
    ];
    let answer = front.gateway.token(None, &form)?;
    let opaque = answer.member("access_token")?;
    assert_eq!(jwt::signature(&front.restored(&opaque)?)?, opaque);
    Ok(())
}

/// HTTP Basic, and the form.
type Case<'c> = (Option<(&'c str, &'c str)>, &'c [(&'c str, &'c str)]);

#[test]
fn keycloak_s_own_errors_come_back_as_they_are() -> Result<()> {
    let keycloak = Keycloak::shared()?;
    let issuer = keycloak.issuer("shop");
    let front = Front::start(&issuer, |route| route)?;
    let http = Client::new()?;
    let (client, user) = (keycloak.client(), keycloak.user());
    let cases: [Case<'_>; 4] = [
        // The wrong secret of a client.
        (
            Some((&client.id, "wrong")),
            &[("grant_type", "client_credentials")],
        ),
        // No client at all.
        (None, &[("grant_type", "client_credentials")]),
        // The wrong password of a user.
        (
            Some(client.basic()),
            &[
                ("grant_type", "password"),
                ("username", &user.id),
                ("password", "wrong"),
            ],
        ),
        (
            Some(client.basic()),
            &[("grant_type", "refresh_token"), ("refresh_token", "nonsense")],
        ),
    ];
    for (basic, form) in cases {
        let directly = http.post_form(&Keycloak::token_url(&issuer), basic, form)?;
        let through = front.gateway.token(basic, form)?;
        same_refusal(&directly, &through)?;
    }
    assert_eq!(front.redis.dump()?, []);
    Ok(())
}
