//! A provider that puts tokens where they do not belong.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::secret;
use splittoken_tests::wire::{Step, answer};

use crate::routes::LIAR;
use crate::stage::Stage;
use crate::tokens::post;

/// What an answer says it is.
pub(super) const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Every lie, each with a token of its own.
pub(super) fn all(stage: &Stage) -> Result<()> {
    in_the_body(stage)?;
    in_headers(stage)?;
    on_the_wire(stage)
}

fn in_the_body(stage: &Stage) -> Result<()> {
    let opaque = secret::text();
    stage.secrets.add("an opaque token of a provider", &opaque);
    let token = || new(stage, &json!({}));
    let with = |members: Value| -> Result<Vec<u8>> {
        let mut body = json!({"access_token": token()?, "token_type": "Bearer", "expires_in": 600});
        for (name, value) in members.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        Ok(answer("200 OK", &[JSON], body.to_string()))
    };
    let error = |status: &str, body: String| answer(status, &[JSON], body);
    let twice = format!(
        r#"{{"access_token":"{}","access_token":"{}"}}"#,
        token()?,
        token()?
    );
    for (status, what, raw) in [
        (502, "a JWT in another member", with(json!({"note": token()?}))?),
        (
            502,
            "a JWT deep inside",
            with(json!({"a": [{"b": format!("x {} y", token()?)}]}))?,
        ),
        (502, "a JWT for a name", with(json!({token()?: 1}))?),
        (502, "a JWT for a type", with(json!({"token_type": token()?}))?),
        (
            502,
            "an expires_in that is a JWT",
            with(json!({"expires_in": token()?}))?,
        ),
        (502, "an access token twice", error("200 OK", twice)),
        (502, "an opaque token", with(json!({"access_token": opaque}))?),
        (502, "a list", error("200 OK", json!([token()?]).to_string())),
        (502, "a bare token", error("200 OK", token()?)),
        (
            502,
            "broken JSON",
            error("200 OK", format!(r#"{{"access_token": "{}""#, token()?)),
        ),
        (
            502,
            "an error with a JWT",
            error("400 Bad Request", json!({"error": token()?}).to_string()),
        ),
        (
            502,
            "a description with a JWT",
            error(
                "401 Unauthorized",
                json!({"error": "x", "error_description": token()?}).to_string(),
            ),
        ),
        (
            502,
            "a page with a JWT",
            error("500 Broken", format!("<p>token {} expired</p>", token()?)),
        ),
    ] {
        told(stage, LIAR, status, what, vec![Step::Send(raw)])?;
    }
    Ok(())
}

fn in_headers(stage: &Stage) -> Result<()> {
    let (token, other) = (new(stage, &json!({}))?, new(stage, &json!({}))?);
    let location = format!("http://elsewhere.test/cb?code={token}#access_token={other}");
    let challenge = format!("Bearer realm=\"x\", error_description=\"{token}\"");
    let refusal = json!({"error": "invalid_client"}).to_string();
    let redirect = answer("302 Found", &[("Location", &location)], "");
    told(
        stage,
        LIAR,
        502,
        "a redirect to a token",
        vec![Step::Send(redirect)],
    )?;
    for name in [
        "WWW-Authenticate",
        "Set-Cookie",
        "DPoP-Nonce",
        "Retry-After",
        "X-Debug",
    ] {
        let raw = answer("401 Unauthorized", &[(name, &challenge), JSON], &refusal);
        told(
            stage,
            LIAR,
            401,
            &format!("a JWT in {name}"),
            vec![Step::Send(raw)],
        )?;
    }
    // A name, a value and a status line that HTTP does not know.
    for raw in [
        format!("HTTP/1.1 200 OK\r\n{token}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nX-Token: {token}\0\r\n\r\n"),
        format!("HTTP/1.1 {token}\r\n\r\n"),
        format!("{token}\r\n\r\n"),
    ] {
        let steps = vec![Step::send(raw), Step::Close];
        told(stage, LIAR, 502, "a head with a token in it", steps)?;
    }
    Ok(())
}

fn on_the_wire(stage: &Stage) -> Result<()> {
    let token = new(stage, &json!({}))?;
    let body = json!({"access_token": token, "expires_in": 600}).to_string();
    let zipped = answer("200 OK", &[("Content-Encoding", "gzip"), JSON], &body);
    told(
        stage,
        LIAR,
        502,
        "an answer that says gzip",
        vec![Step::Send(zipped)],
    )?;
    let whole = answer("200 OK", &[JSON], &body);
    let short = vec![Step::send(&whole[..whole.len() - 20]), Step::Close];
    told(stage, LIAR, 502, "an answer cut short", short)?;
    let chunk = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{token}\r\n");
    told(
        stage,
        LIAR,
        502,
        "a token for a chunk's size",
        vec![Step::send(chunk), Step::Close],
    )?;
    let huge = answer("200 OK", &[JSON], format!("{body}{}", " ".repeat(300_000)));
    told(
        stage,
        LIAR,
        502,
        "an answer beyond the limit",
        vec![Step::Send(huge)],
    )?;
    let close = vec![Step::Wait(Duration::from_millis(50)), Step::Close];
    told(stage, LIAR, 502, "no answer", close)
}

/// A JWT of the lying provider that no other is equal to.
pub(super) fn new(stage: &Stage, claims: &Value) -> Result<String> {
    let mut claims = stage.liar.claims(claims);
    claims["sub"] = json!(secret::text());
    claims["jti"] = json!(secret::text());
    let token = stage.key.token(&claims)?;
    stage.secrets.add_jwt("an untrustworthy token", &token)?;
    stage.secrets.add_claims(&token)?;
    Ok(token)
}

/// The provider plays these steps, and the client gets this status.
pub(super) fn told(stage: &Stage, host: &str, status: u16, what: &str, steps: Vec<Step>) -> Result<()> {
    stage.liar.answer_steps(steps);
    ask(stage, host, status, what)
}

/// A token request that gets this status.
pub(super) fn ask(stage: &Stage, host: &str, status: u16, what: &str) -> Result<()> {
    let client = Some(stage.oidc.service().basic());
    let bytes = post(host, client, &[("grant_type", "client_credentials")])?;
    let answer = stage.send(what, bytes)?.context(what.to_owned())?;
    ensure!(
        answer.status == status,
        "{what}: {} {}",
        answer.status,
        answer.text()
    );
    Ok(())
}
