//! A grant in, a signature out, and at the API exactly the JWT that the provider issued.

use anyhow::Result;
use splittoken_tests::answers::same_but_for_the_token;
use splittoken_tests::{jwt, secret};

use super::{Front, refresh_form};

/// RS256 with 2048 bits: that many bytes of signature, and nothing else.
const SIGNATURE: usize = 256;

#[test]
fn client_credentials_with_basic_authentication() -> Result<()> {
    let front = Front::start()?;
    let directly = front.provider.client_credentials("orders:read")?;
    let through = front.service(&[("scope", "orders:read")])?;
    same_but_for_the_token(&directly, &through)?;
    // This provider says how long its tokens live, not how long they have left.
    assert_eq!(through.json()?["expires_in"], 600);
    let opaque = through.member("access_token")?;
    assert_eq!(secret::from_base64url(&opaque)?.len(), SIGNATURE);
    let token = front.restores(&opaque)?;
    let claims = jwt::claims(&token)?;
    assert_eq!(claims["client_id"], front.provider.service().id);
    assert_eq!(claims["scope"], "orders:read");
    assert_eq!(claims["profile"]["level"], 3);
    // Again, from the cache: the same bytes.
    assert_eq!(front.restores(&opaque)?, token);
    // The JWT itself opens nothing here.
    assert_eq!(front.gateway.call("/orders", &token)?.status, 401);
    Ok(())
}

#[test]
fn client_credentials_with_the_secret_in_the_body() -> Result<()> {
    let front = Front::start()?;
    let service = front.provider.service();
    let form = [
        ("client_id", service.id.as_str()),
        ("client_secret", service.secret.as_str()),
        ("grant_type", "client_credentials"),
        ("scope", "orders:read"),
    ];
    let directly = front.http.post_form(&front.provider.token_url(), None, &form)?;
    let through = front.gateway.token(None, &form)?;
    same_but_for_the_token(&directly, &through)?;
    front.restores(&through.member("access_token")?)?;
    Ok(())
}

#[test]
fn authorization_code_with_pkce() -> Result<()> {
    let front = Front::start()?;
    // A code is good for one request: a login for each.
    let directly = front.log_in(|form| front.directly(form))?;
    let through = front.log_in(|form| front.through(form))?;
    same_but_for_the_token(&directly, &through)?;
    let token = front.restores(&through.member("access_token")?)?;
    assert_eq!(jwt::claims(&token)?["sub"], "alice");
    assert_eq!(jwt::claims(&token)?["client_id"], front.provider.web().id);
    Ok(())
}

#[test]
fn a_refresh_brings_new_tokens_and_the_old_one_goes_on_to_its_end() -> Result<()> {
    let front = Front::start()?;
    let first = front.log_in(|form| front.through(form))?;
    let directly = front.log_in(|form| front.directly(form))?;
    let directly = front.directly(&refresh_form(&directly.member("refresh_token")?))?;
    let second = front.through(&refresh_form(&first.member("refresh_token")?))?;
    same_but_for_the_token(&directly, &second)?;
    assert_ne!(second.member("refresh_token")?, first.member("refresh_token")?);
    let (old, new) = (first.member("access_token")?, second.member("access_token")?);
    assert_ne!(old, new);
    assert_ne!(front.restores(&old)?, front.restores(&new)?);
    // The rotated one is good for the next refresh.
    let third = front.through(&refresh_form(&second.member("refresh_token")?))?;
    front.restores(&third.member("access_token")?)?;
    Ok(())
}

#[test]
fn what_is_no_access_token_opens_nothing() -> Result<()> {
    let front = Front::start()?;
    let answer = front.log_in(|form| front.through(form))?;
    let id_token = answer.member("id_token")?;
    let refresh_token = answer.member("refresh_token")?;
    for token in [&id_token, jwt::signature(&id_token)?, &refresh_token] {
        assert_eq!(front.gateway.call("/orders", token)?.status, 401);
    }
    assert_eq!(front.upstream.requests(), []);
    front.restores(&answer.member("access_token")?)?;
    Ok(())
}
