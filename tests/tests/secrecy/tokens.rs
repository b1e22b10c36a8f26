//! Token requests of all kinds.

use anyhow::{Context as _, Result, ensure};
use reqwest::Url;
use serde_json::json;
use splittoken_tests::oidc::{Pkce, REDIRECT_URL};
use splittoken_tests::raw::Answer;
use splittoken_tests::restored::bearer_of;
use splittoken_tests::stand::request;
use splittoken_tests::{jwt, secret};

use crate::routes::{LIAR, VAULT};
use crate::stage::{Stage, basic};

/// A token that a client holds.
pub(super) struct Held {
    pub(super) host: String,
    pub(super) opaque: String,
    pub(super) jwt: String,
}

/// A client's id and secret.
type Client<'c> = Option<(&'c str, &'c str)>;

/// One token of each grant, each used once.
pub(super) fn good(stage: &Stage) -> Result<Vec<Held>> {
    let own = stage.gateway.host();
    let (service, web) = (stage.oidc.service(), stage.oidc.web());
    let grant = ("grant_type", "client_credentials");
    let in_body = [
        grant,
        ("client_id", &service.id),
        ("client_secret", &service.secret),
    ];
    let mut held = vec![
        granted(stage, &own, Some(service.basic()), &[grant])?.0,
        granted(stage, &own, None, &in_body)?.0,
    ];
    let (logged_in, answer) = log_in(stage, &own)?;
    held.push(logged_in);
    let refresh_token = answer.json()?["refresh_token"].clone();
    let refresh = [
        ("grant_type", "refresh_token"),
        (
            "refresh_token",
            refresh_token.as_str().context("no refresh token")?,
        ),
    ];
    held.push(granted(stage, &own, Some(web.basic()), &refresh)?.0);
    // Used twice: the provider refuses, in its own words.
    refused(
        stage,
        "a refresh token used twice",
        &own,
        Some(web.basic()),
        &refresh,
        400,
    )?;
    held.push(password(stage)?);
    held.push(exchange(stage)?);
    held.push(with_hmac(stage)?);
    Ok(held)
}

fn log_in(stage: &Stage, host: &str) -> Result<(Held, Answer)> {
    let pkce = Pkce::new();
    let code = stage.oidc.login(&pkce, "openid offline_access orders:read")?;
    stage.secrets.add("an authorization code", &code);
    stage.secrets.add("a code verifier", &pkce.verifier);
    let client = Some(stage.oidc.web().basic());
    granted(stage, host, client, &code_form(&code, &pkce.verifier))
}

pub(super) fn code_form<'f>(code: &'f str, verifier: &'f str) -> [(&'f str, &'f str); 4] {
    [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT_URL),
        ("code_verifier", verifier),
    ]
}

/// The password grant, with another's refresh token and ID token in the answer.
fn password(stage: &Stage) -> Result<Held> {
    let password = secret::text();
    stage.secrets.add("a user's password", &password);
    answers_honestly(stage)?;
    let form = [
        ("grant_type", "password"),
        ("username", "alice"),
        ("password", &password),
    ];
    Ok(granted(stage, LIAR, Some(stage.oidc.service().basic()), &form)?.0)
}

/// Token exchange by a client that authenticates with a JWT.
fn exchange(stage: &Stage) -> Result<Held> {
    let claims = |subject: &str| json!({"sub": subject, "jti": secret::text(), "aud": "urn:shop"});
    let assertion = stage.key.token(&claims("service"))?;
    let subject = stage.key.token(&claims("alice"))?;
    stage.secrets.add_jwt("a client's assertion", &assertion)?;
    stage.secrets.add_jwt("a subject's token", &subject)?;
    answers_honestly(stage)?;
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", &subject),
        ("client_assertion", &assertion),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
    ];
    Ok(granted(stage, LIAR, None, &form)?.0)
}

fn with_hmac(stage: &Stage) -> Result<Held> {
    let claims = json!({"sub": secret::text(), "jti": secret::text()});
    stage
        .vault
        .answer_token(&stage.hmac.token(&stage.vault.claims(&claims))?);
    let form = [("grant_type", "client_credentials")];
    Ok(granted(stage, VAULT, Some(stage.oidc.service().basic()), &form)?.0)
}

/// From now on the provider of [`LIAR`] is honest, with every token that there can be.
pub(super) fn answers_honestly(stage: &Stage) -> Result<()> {
    let person = || json!({"sub": secret::text(), "email": secret::text(), "jti": secret::text()});
    let access_token = stage.key.token(&stage.liar.claims(&person()))?;
    let id_token = stage.key.token(&stage.liar.claims(&person()))?;
    let body = json!({
        "access_token": access_token, "id_token": id_token, "refresh_token": secret::text(),
        "token_type": "Bearer", "expires_in": 600,
    });
    stage.liar.answer_json(body.to_string());
    Ok(())
}

/// A token request that is granted, and a call that shows which JWT it was. All that came is remembered, less the
/// tokens that are the client's to get.
pub(super) fn granted(
    stage: &Stage,
    host: &str,
    client: Client,
    form: &[(&str, &str)],
) -> Result<(Held, Answer)> {
    let what = format!("{} at {host}", form[0].1);
    let answer = stage
        .gateway
        .exchange(post(host, client, form)?)?
        .context(what.clone())?;
    ensure!(
        answer.status == 200,
        "{what}: {} {}",
        answer.status,
        answer.text()
    );
    let json = answer.json()?;
    let mut rest = answer.text();
    for name in ["access_token", "refresh_token", "id_token"] {
        let Some(token) = json[name].as_str() else {
            continue;
        };
        rest = rest.replace(token, "");
        match name {
            "refresh_token" => stage.secrets.add("a refresh token", token),
            "id_token" => stage.secrets.add_jwt("an ID token", token)?,
            _ => stage.secrets.add("an access token", token),
        }
    }
    stage.written.add(&what, [&answer.head, rest.as_bytes()].concat());
    let opaque = json["access_token"].as_str().context("no token")?.to_owned();
    stage.upstream.take();
    let header = format!("Authorization: Bearer {opaque}");
    stage.expect(200, "the first call", (host, "GET /orders", &[&header], ""))?;
    let request = stage.upstream.last()?;
    let jwt = bearer_of(&request)?;
    let beside = String::from_utf8_lossy(request.head()).replace(&jwt, "");
    stage
        .written
        .add("what the upstream got beside the token", beside);
    ensure!(jwt::signature(&jwt)? == opaque, "another token's JWT");
    stage.secrets.add_jwt("an access token", &jwt)?;
    stage.secrets.add_claims(&jwt)?;
    let host = host.to_owned();
    Ok((Held { host, opaque, jwt }, answer))
}

/// A token request that is refused with this status.
pub(super) fn refused(
    stage: &Stage,
    what: &str,
    host: &str,
    client: Client,
    form: &[(&str, &str)],
    status: u16,
) -> Result<()> {
    let answer = stage
        .send(what, post(host, client, form)?)?
        .context(what.to_owned())?;
    ensure!(
        answer.status == status,
        "{what}: {} {}",
        answer.status,
        answer.text()
    );
    Ok(())
}

/// The bytes of a token request.
pub(super) fn post(host: &str, client: Client, form: &[(&str, &str)]) -> Result<Vec<u8>> {
    let body = encoded(form)?;
    let mut headers = vec![
        "Content-Type: application/x-www-form-urlencoded".to_owned(),
        format!("Content-Length: {}", body.len()),
    ];
    headers.extend(client.map(|client| format!("Authorization: Basic {}", basic(client))));
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    Ok(request(host, "POST /oauth/token", &headers, &body))
}

/// A form as it is sent.
pub(super) fn encoded(form: &[(&str, &str)]) -> Result<String> {
    let url = Url::parse_with_params("http://form.test", form)?;
    Ok(url.query().unwrap_or_default().to_owned())
}
