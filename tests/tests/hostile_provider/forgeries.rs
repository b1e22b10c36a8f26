//! Tokens that look good and do not verify.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use splittoken_tests::hostile::now;
use splittoken_tests::jwt::Key;
use splittoken_tests::secret::base64url;

use super::Court;

#[test]
fn a_token_that_does_not_verify_is_refused() -> Result<()> {
    let court = Court::open()?;
    let scene = &court.scene;
    let issuer = scene.provider.issuer();
    let honest = scene.provider.claims(&json!({"jti": "a"}));
    let claiming = |more: Value| scene.jwt(&more);
    let written = |payload: String| scene.key.token_of(&jwt_header(&scene.key), &payload);
    let kid = scene.key.kid();
    let good = scene.key.token(&honest)?;
    let (input, signature) = good.rsplit_once('.').context("no JWT")?;
    let other_claims = base64url(
        scene
            .provider
            .claims(&json!({"sub": "root"}))
            .to_string()
            .as_bytes(),
    );
    let header = input.split_once('.').context("no JWT")?.0;
    let flipped = format!(
        "{}{}",
        if signature.starts_with('A') { 'B' } else { 'A' },
        &signature[1..]
    );
    let without = |name: &str| {
        let mut claims = honest.clone();
        claims.as_object_mut().and_then(|claims| claims.remove(name));
        scene.key.token(&claims)
    };
    let now = now();
    for (lie, token, reason) in [
        ("another signature", format!("{input}.{flipped}"), "signature"),
        (
            "another payload",
            format!("{header}.{other_claims}.{signature}"),
            "signature",
        ),
        (
            "the same kid of another key",
            Key::es256()?.with_kid(kid).token(&honest)?,
            "signature",
        ),
        ("another kid", Key::es256()?.token(&honest)?, "unknown_key"),
        (
            "the kid of a key of another type",
            Key::rs256()?.with_kid(kid).token(&honest)?,
            "unknown_key",
        ),
        (
            "no kid and another key",
            Key::es256()?.token_of(r#"{"alg":"ES256"}"#, &honest.to_string())?,
            "signature",
        ),
        (
            "HS256 with the public key",
            confused(&scene.key, &honest)?,
            "alg_not_allowed",
        ),
        (
            "HS256 with a secret",
            Key::hs256().with_kid(kid).token(&honest)?,
            "alg_not_allowed",
        ),
        ("its own key in its header", self_signed(&honest)?, "signature"),
        (
            "another issuer",
            claiming(json!({"iss": "https://evil.example"}))?,
            "issuer",
        ),
        (
            "an issuer with a slash",
            claiming(json!({"iss": format!("{issuer}/")}))?,
            "issuer",
        ),
        ("a list of issuers", claiming(json!({"iss": [issuer]}))?, "issuer"),
        ("no issuer", without("iss")?, "issuer"),
        (
            "expired",
            claiming(json!({"iat": now - 20, "exp": now - 10}))?,
            "expired",
        ),
        (
            "expired just now",
            claiming(json!({"iat": now - 20, "exp": now}))?,
            "expired",
        ),
        (
            "not yet valid",
            claiming(json!({"nbf": now + 300}))?,
            "not_yet_valid",
        ),
        (
            "exp as text",
            claiming(json!({"exp": (now + 600).to_string()}))?,
            "claims_not_a_date",
        ),
        ("nbf as text", claiming(json!({"nbf": "0"}))?, "claims_not_a_date"),
        (
            "iat as text",
            claiming(json!({"iat": "now"}))?,
            "claims_not_a_date",
        ),
        ("exp null", claiming(json!({"exp": null}))?, "claims_not_a_date"),
        (
            "exp below zero",
            claiming(json!({"exp": -1}))?,
            "claims_not_a_date",
        ),
        (
            "exp in milliseconds",
            claiming(json!({"exp": (now + 600) * 1000}))?,
            "claims_not_a_date",
        ),
        (
            "exp beyond any date",
            written(honest.to_string().replace(&(honest["exp"].to_string()), "1e300"))?,
            "claims_not_a_date",
        ),
        (
            "exp beyond any number",
            written(honest.to_string().replace(&(honest["exp"].to_string()), "1e999"))?,
            "jwt_payload",
        ),
        (
            "exp before nbf",
            claiming(json!({"nbf": now + 20, "exp": now + 10}))?,
            "claims_dates_out_of_order",
        ),
        (
            "bound to a key",
            claiming(json!({"cnf": {"jkt": "x"}}))?,
            "bound_token",
        ),
        ("bound to nothing", claiming(json!({"cnf": null}))?, "bound_token"),
    ] {
        court.refuses_token(lie, &token, reason)?;
    }
    let endless = without("exp")?;
    scene.remember(&endless);
    court.refuses_json(
        "no end",
        json!({"access_token": endless}).to_string(),
        "no_lifetime",
    )?;
    court.refuses_json(
        "an end at once",
        json!({"access_token": good, "expires_in": 0}).to_string(),
        "no_lifetime",
    )
}

fn jwt_header(key: &Key) -> String {
    format!(r#"{{"alg":"{}","kid":"{}"}}"#, key.algorithm(), key.kid())
}

/// HS256 with the public key as its secret: what a verifier accepts that lets the header choose.
fn confused(key: &Key, claims: &Value) -> Result<String> {
    let public = key.public_der()?.context("no public key")?;
    Key::hmac(&public).with_kid(key.kid()).token(claims)
}

/// A key that vouches for itself: RFC 7515 `jwk`.
fn self_signed(claims: &Value) -> Result<String> {
    let key = Key::es256()?;
    let header = json!({"alg": "ES256", "jwk": key.jwk()?, "jku": "http://127.0.0.1:1/jwks"});
    key.token_of(&header.to_string(), &claims.to_string())
}
