//! Keycloak without a gateway: both realms give tokens, over HTTP and HTTPS, signed as they should be.

use anyhow::Result;
use aws_lc_rs::hmac;
use splittoken_tests::certs::Authority;
use splittoken_tests::http::Client;
use splittoken_tests::jwt;
use splittoken_tests::keycloak::Keycloak;
use splittoken_tests::secret;

#[test]
fn realm_shop_signs_with_rs256() -> Result<()> {
    let keycloak = Keycloak::shared()?;
    let issuer = keycloak.issuer("shop");
    for answer in [keycloak.client_credentials(&issuer)?, keycloak.password(&issuer)?] {
        let token = answer.member("access_token")?;
        assert_eq!(jwt::header(&token)?["alg"], "RS256");
        assert_eq!(jwt::claims(&token)?["iss"], issuer);
    }
    let given = keycloak.password(&issuer)?;
    assert_eq!(
        jwt::claims(&given.member("access_token")?)?["preferred_username"],
        "alice"
    );
    assert_eq!(jwt::header(&given.member("refresh_token")?)?["alg"], "HS512");
    Ok(())
}

#[test]
fn realm_hmac_signs_with_the_secret_that_was_given_to_it() -> Result<()> {
    let keycloak = Keycloak::shared()?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, keycloak.hmac_secret());
    let issuer = keycloak.issuer("hmac");
    for answer in [keycloak.client_credentials(&issuer)?, keycloak.password(&issuer)?] {
        let token = answer.member("access_token")?;
        assert_eq!(jwt::header(&token)?["alg"], "HS256");
        let signature = jwt::signature(&token)?;
        let input = token.trim_end_matches(signature).trim_end_matches('.');
        assert!(hmac::verify(&key, input.as_bytes(), &secret::from_base64url(signature)?).is_ok());
    }
    Ok(())
}

#[test]
fn https_is_for_those_who_know_the_authority() -> Result<()> {
    let keycloak = Keycloak::shared()?;
    let issuer = keycloak.issuer_tls("hmac");
    let token = keycloak.client_credentials(&issuer)?.member("access_token")?;
    assert_eq!(jwt::claims(&token)?["iss"], issuer);
    assert!(
        Client::trusting(Authority::new()?.pem())?.get(&issuer).is_err(),
        "a stranger's authority was good enough"
    );
    Ok(())
}
