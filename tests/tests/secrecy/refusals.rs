//! Token requests that the provider or the gateway refuses, with secrets wherever a client might put them.

use anyhow::Result;
use serde_json::json;
use splittoken_tests::stand::request;
use splittoken_tests::{raw, secret};

use crate::routes::LOST;
use crate::stage::{Stage, basic};
use crate::tokens::{code_form, encoded, refused};

/// By the provider, for what is wrong, and by the gateway, for where it is.
pub(super) fn all(stage: &Stage) -> Result<()> {
    let own = stage.gateway.host();
    let (service, web) = (stage.oidc.service(), stage.oidc.web());
    let grant = ("grant_type", "client_credentials");
    let wrong = secret::text();
    stage.secrets.add("a client's secret", &wrong);
    stage
        .secrets
        .add("Basic credentials", basic((&service.id, &wrong)));
    refused(
        stage,
        "a wrong secret",
        &own,
        Some((&service.id, &wrong)),
        &[grant],
        401,
    )?;
    let (code, verifier) = (secret::text(), secret::text());
    stage.secrets.add("an authorization code", &code);
    stage.secrets.add("a code verifier", &verifier);
    let form = code_form(&code, &verifier);
    refused(stage, "a wrong code", &own, Some(web.basic()), &form, 400)?;
    let form = [grant, grant, ("client_secret", &service.secret)];
    refused(stage, "two grants", &own, None, &form, 400)?;
    refused(
        stage,
        "a lost provider",
        LOST,
        Some(service.basic()),
        &[grant],
        503,
    )?;
    misplaced(stage, &own)
}

fn misplaced(stage: &Stage, own: &str) -> Result<()> {
    let service = stage.oidc.service();
    let grant = ("grant_type", "client_credentials");
    let form = encoded(&[
        grant,
        ("client_id", &service.id),
        ("client_secret", &service.secret),
    ])?;
    let typed = "Content-Type: application/x-www-form-urlencoded";
    let length = |body: &str| format!("Content-Length: {}", body.len());
    let query = format!("POST /oauth/token?{form}");
    let large = format!("{form}&padding={}{}", "x".repeat(70_000), service.secret);
    let json = json!({"grant_type": "client_credentials", "client_secret": service.secret}).to_string();
    let elsewhere = format!("POST /oauth/token/{}", service.secret);
    for (status, what, line, kind, body) in [
        (400, "a secret in the query", query.as_str(), typed, ""),
        (
            413,
            "a form that is too large",
            "POST /oauth/token",
            typed,
            large.as_str(),
        ),
        (
            400,
            "a form in JSON",
            "POST /oauth/token",
            "Content-Type: application/json",
            json.as_str(),
        ),
        (405, "another method", "PUT /oauth/token", typed, form.as_str()),
        (
            401,
            "a secret in the path",
            elsewhere.as_str(),
            typed,
            form.as_str(),
        ),
    ] {
        stage.expect(status, what, (own, line, &[kind, &length(body)], body))?;
    }
    // The client goes away in the middle of its form.
    let half = request(own, "POST /oauth/token", &[typed, "Content-Length: 5000"], &form);
    let mut client = raw::Client::connect(stage.gateway.address())?;
    client.send(half)?;
    client.finish()?;
    client.read()?;
    Ok(())
}
