//! What a route says of opaque tokens, of grants, and of the other tokens in an answer.

use anyhow::Result;
use serde_json::{Value, json};
use splittoken_tests::answers::{same_but_for_the_token, same_but_for_the_token_and_without};
use splittoken_tests::jwt;
use splittoken_tests::redis::Redis;
use splittoken_tests::restored::signed_with_rs256;
use splittoken_tests::shop::connected;
use splittoken_tests::wait;

use super::{Front, gone, refresh_form};

/// Has the provider issue an access token that is no JWT.
const OPAQUE: (&str, &str) = ("resource", "urn:opaque");

fn with(members: &Value) -> Result<Front> {
    Front::with(|route| route.token(members))
}

#[test]
fn an_opaque_token_of_the_provider_is_not_released_by_default() -> Result<()> {
    let redis = Redis::start()?;
    let front = Front::of(|route| route, |gateway| gateway.redis(&redis))?;
    connected(&front.gateway, wait::START)?;
    let answer = front.service(&[OPAQUE])?;
    assert_eq!(answer.status, 502, "{}", answer.text());
    // All of it is our own words.
    let ours = json!({
        "error": "server_error", "error_description": "The identity provider's answer cannot be used.",
    });
    assert_eq!(answer.json()?, ours);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(redis.dump()?, []);
    // A JWT of the same client is released.
    front.restores(&front.service(&[])?.member("access_token")?)?;
    assert_eq!(redis.dump()?.len(), 1);
    Ok(())
}

#[test]
fn an_opaque_token_of_the_provider_passes_where_the_route_says_so() -> Result<()> {
    let front = with(&json!({"onNonJWT": "PassThrough"}))?;
    let service = front.provider.service().basic();
    let scope = ("scope", "orders:read");
    let form = [("grant_type", "client_credentials"), OPAQUE, scope];
    let directly = front
        .http
        .post_form(&front.provider.token_url(), Some(service), &form)?;
    let through = front.service(&[OPAQUE, scope])?;
    same_but_for_the_token(&directly, &through)?;
    let token = through.member("access_token")?;
    // Unchanged: the provider knows it, and would know no other.
    let known = |token: &str| -> Result<Value> {
        let url = format!("{}/token/introspection", front.provider.issuer());
        front
            .http
            .post_form(&url, Some(service), &[("token", token)])?
            .json()
    };
    assert_eq!(known(&token)?["active"], true);
    assert_eq!(known(&token[1..])?["active"], false, "it takes anything");
    // Nothing that the gateway could restore.
    assert_eq!(front.gateway.call("/orders", &token)?.status, 401);
    // JWTs are split on this route too.
    front.restores(&front.service(&[])?.member("access_token")?)?;
    Ok(())
}

/// That the provider is not asked shows when it cannot be asked.
#[test]
fn grants_that_the_route_does_not_allow_never_reach_the_provider() -> Result<()> {
    let mut front = with(&json!({"grantTypes": ["authorization_code", "refresh_token"]}))?;
    let answer = front.log_in(|form| front.through(form))?;
    let refreshed = front.through(&refresh_form(&answer.member("refresh_token")?))?;
    front.restores(&refreshed.member("access_token")?)?;
    front.provider.kill()?;
    let refused = front.service(&[])?;
    assert_eq!(
        (refused.status, refused.member("error")?.as_str()),
        (400, "unsupported_grant_type")
    );
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    // This one would have been asked for.
    gone(|| front.through(&refresh_form("nonsense")))
}

#[test]
fn an_id_token_passes_through_unchanged() -> Result<()> {
    let front = with(&json!({"idToken": "PassThrough"}))?;
    let answer = front.log_in(|form| front.through(form))?;
    let id_token = answer.member("id_token")?;
    signed_with_rs256(&front.http, &front.jwks_url(), &id_token)?;
    assert_eq!(jwt::claims(&id_token)?["aud"], front.provider.web().id);
    front.restores(&answer.member("access_token")?)?;
    Ok(())
}

#[test]
fn an_id_token_is_removed_where_the_route_says_so() -> Result<()> {
    removed(&json!({"idToken": "Remove"}), "id_token")
}

#[test]
fn a_refresh_token_is_removed_where_the_route_says_so() -> Result<()> {
    removed(&json!({"refreshToken": "Remove"}), "refresh_token")
}

/// `name` is in the provider's answer and not in the gateway's, which is the same otherwise.
fn removed(policy: &Value, name: &str) -> Result<()> {
    let front = with(policy)?;
    let directly = front.log_in(|form| front.directly(form))?;
    let through = front.log_in(|form| front.through(form))?;
    same_but_for_the_token_and_without(&directly, &through, name)?;
    front.restores(&through.member("access_token")?)?;
    Ok(())
}
