//! What becomes of the other tokens in an answer: Keycloak's refresh token is an HS512 JWT, its ID token an RS256 one.

use anyhow::Result;
use serde_json::json;
use splittoken_tests::http::Client;
use splittoken_tests::jwt;
use splittoken_tests::keycloak::Keycloak;

use splittoken_tests::answers::{same_but_for_the_token, same_but_for_the_token_and_without};
use splittoken_tests::restored::signed_with_rs256;

use super::{Front, jwks_url};

#[test]
fn a_refresh_token_that_passes_through_is_good_for_a_refresh() -> Result<()> {
    let front = Front::start(&Keycloak::shared()?.issuer("shop"), |route| route)?;
    let login = front.grants().remove(1);
    let first = front.through(&login)?;
    let refresh_token = first.member("refresh_token")?;
    assert_eq!(jwt::header(&refresh_token)?["alg"], "HS512");
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token.as_str()),
    ];
    let (directly, second) = (front.directly(&form)?, front.through(&form)?);
    same_but_for_the_token(&directly, &second)?;
    let (old, new) = (first.member("access_token")?, second.member("access_token")?);
    assert_ne!(old, new);
    for opaque in [old, new] {
        assert_eq!(jwt::signature(&front.restored(&opaque)?)?, opaque);
    }
    // A refresh token is no access token, whole or in part.
    for token in [refresh_token.as_str(), jwt::signature(&refresh_token)?] {
        assert_eq!(front.gateway.call("/orders", token)?.status, 401);
    }
    Ok(())
}

#[test]
fn a_refresh_token_is_removed_where_the_route_says_so() -> Result<()> {
    let front = Front::start(&Keycloak::shared()?.issuer("shop"), |route| {
        route.token(&json!({"refreshToken": "Remove"}))
    })?;
    removed(&front, &front.grants().remove(1), "refresh_token")
}

#[test]
fn an_id_token_passes_through_unchanged() -> Result<()> {
    let keycloak = Keycloak::shared()?;
    let issuer = keycloak.issuer("shop");
    let front = Front::start(&issuer, |route| route)?;
    let form = [front.grants().remove(1), vec![("scope", "openid")]].concat();
    let (directly, through) = (front.directly(&form)?, front.through(&form)?);
    same_but_for_the_token(&directly, &through)?;
    let id_token = through.member("id_token")?;
    signed_with_rs256(&Client::new()?, &jwks_url(&issuer), &id_token)?;
    assert_eq!(jwt::claims(&id_token)?["aud"], keycloak.client().id);
    let opaque = through.member("access_token")?;
    assert_eq!(jwt::signature(&front.restored(&opaque)?)?, opaque);
    Ok(())
}

#[test]
fn an_id_token_is_removed_where_the_route_says_so() -> Result<()> {
    let front = Front::start(&Keycloak::shared()?.issuer("shop"), |route| {
        route.token(&json!({"idToken": "Remove"}))
    })?;
    let form = [front.grants().remove(1), vec![("scope", "openid")]].concat();
    removed(&front, &form, "id_token")
}

/// `name` is in Keycloak's answer and not in the gateway's, which is the same otherwise.
fn removed(front: &Front, form: &[(&str, &str)], name: &str) -> Result<()> {
    let (directly, through) = (front.directly(form)?, front.through(form)?);
    same_but_for_the_token_and_without(&directly, &through, name)?;
    let opaque = through.member("access_token")?;
    assert_eq!(jwt::signature(&front.restored(&opaque)?)?, opaque);
    Ok(())
}
