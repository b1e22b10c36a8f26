//! Access tokens that do not pass the gateway's checks, and keys that are none.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::hostile::now;
use splittoken_tests::jwt::Key;
use splittoken_tests::secret;
use splittoken_tests::wire::{Step, answer};

use crate::lies::{JSON, ask, new, told};
use crate::routes::{LIAR, VAULT};
use crate::stage::Stage;

/// Every token that must not be trusted.
pub(super) fn all(stage: &Stage) -> Result<()> {
    not_to_be_trusted(stage)?;
    in_the_keys(stage)
}

/// Tokens that do not pass the gateway's checks.
fn not_to_be_trusted(stage: &Stage) -> Result<()> {
    let stranger = Key::es256()?;
    let hour = 3_600;
    let mut cases = Vec::new();
    for (what, claims) in [
        ("an expired token", json!({"exp": now() - hour})),
        ("an expiry that is text", json!({"exp": secret::text()})),
        ("another issuer", json!({"iss": secret::text()})),
        ("a token of the future", json!({"nbf": now() + hour})),
        ("a bound token", json!({"cnf": {"jkt": secret::text()}})),
    ] {
        cases.push((what, new(stage, &claims)?));
    }
    let honest = new(stage, &json!({}))?;
    let claims = stage.liar.claims(&json!({"jti": secret::text()}));
    let (input, signature) = honest.rsplit_once('.').context("not a JWT")?;
    let none = secret::base64url(br#"{"alg":"none","typ":"JWT"}"#);
    let payload = secret::base64url(claims.to_string().as_bytes());
    cases.extend([
        ("an unknown key", stranger.token(&claims)?),
        ("no signature", format!("{input}.")),
        ("alg none", format!("{none}.{payload}.")),
        ("a padded signature", format!("{honest}==")),
        ("another's signature", format!("{none}.{payload}.{signature}")),
        ("five parts", format!("{honest}.{payload}.{signature}")),
        ("a word", "short".to_owned()),
    ]);
    for (what, token) in cases {
        for part in token.split('.').filter(|part| part.len() > 20) {
            stage
                .secrets
                .add("an untrustworthy token", part.trim_end_matches('='));
        }
        let body = json!({"access_token": token, "expires_in": 600}).to_string();
        told(
            stage,
            LIAR,
            502,
            what,
            vec![Step::Send(answer("200 OK", &[JSON], body))],
        )?;
    }
    // HS256 with another key.
    let forged = Key::hs256().token(&stage.vault.claims(&json!({"jti": secret::text()})))?;
    stage.secrets.add_jwt("an untrustworthy token", &forged)?;
    stage.vault.answer_token(&forged);
    ask(stage, VAULT, 502, "another HMAC key")
}

/// The key set is asked for again for a key that is not known; what comes is a token.
fn in_the_keys(stage: &Stage) -> Result<()> {
    let token = new(stage, &json!({}))?;
    for (what, raw) in [
        ("keys that are a token", answer("200 OK", &[JSON], &token)),
        (
            "keys named by a token",
            answer("200 OK", &[JSON], json!({"keys": [{"kty": token}]}).to_string()),
        ),
        (
            "keys elsewhere",
            answer("302 Found", &[("Location", &format!("/x?t={token}"))], &token),
        ),
    ] {
        stage.liar.jwks_steps(vec![Step::Send(raw)]);
        // Its `kid` is a new one: for each they are asked for once in a while.
        let unknown = Key::es256()?.token(&stage.liar.claims(&json!({"jti": secret::text()})))?;
        stage.secrets.add_jwt("an untrustworthy token", &unknown)?;
        stage.liar.answer_token(&unknown);
        let before = stage.liar.requests("/jwks").len();
        // Not 502: while its keys cannot be fetched, nobody knows whether it lies.
        ask(stage, LIAR, 503, what)?;
        ensure!(
            stage.liar.requests("/jwks").len() > before,
            "{what}: nobody asked for keys"
        );
    }
    stage.liar.publish(&[&stage.key])
}
