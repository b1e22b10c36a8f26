//! A routes file whose Secret is broken in every way that a person breaks YAML: the message names the place, and quotes
//! nothing.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use splittoken_tests::{gateway, wait};

use crate::routes::secret_document;
use crate::stage::Stage;

/// Each by `splittoken check`, and a few in the running gateway, which keeps what it has.
pub(super) fn all(stage: &Stage) -> Result<()> {
    let key = stage.hmac.hmac_secret().context("no secret")?;
    let (text, data) = (String::from_utf8(key.to_vec())?, STANDARD.encode(key));
    for (what, document) in broken(&text, &data) {
        checked(stage, what, &document)?;
    }
    for (what, document) in broken(&text, &data).into_iter().step_by(3) {
        live(stage, what, &document)?;
    }
    let good = stage.routes.clone() + &secret_document(&stage.hmac)?;
    stage.gateway.write_routes(&good)?;
    wait::until_true(wait::START, "the good routes", || {
        problem(stage).is_ok_and(|problem| problem.is_null())
    })
}

/// The end of a Secret document, as it should not be.
fn broken(text: &str, data: &str) -> Vec<(&'static str, String)> {
    vec![
        ("a quote that does not end", format!("data: {{hmac: \"{data}}}\n")),
        ("a comma for a colon", format!("data: {{hmac, {data}}}\n")),
        (
            "a key that is there twice",
            format!("data:\n  hmac: {data}\n  hmac: {data}\n"),
        ),
        ("a tab", format!("data:\n\thmac: {data}\n")),
        ("an alias of nothing", format!("data: {{hmac: *{text}}}\n")),
        ("a tag", format!("data: {{hmac: !!int {text}}}\n")),
        ("a tag that is the key", format!("data: {{hmac: !{text} x}}\n")),
        ("a directive", format!("data: {{hmac: %{text}}}\n")),
        ("a wrong indentation", format!("data:\n   hmac:\n  {data}\n")),
        ("a line without a name", format!("data:\n  hmac: x\n{data}\n")),
        ("no base64", format!("data: {{hmac: \"#{text}\"}}\n")),
        ("a list", format!("data: [{data}]\n")),
        ("a list inside", format!("stringData: {{hmac: [{text}]}}\n")),
        ("text alone", format!("data: {data}\n")),
        ("no name at all", format!("data: {{{data}}}\n")),
        ("a name that is the key", format!("data: {{{data}: hmac}}\n")),
        ("twice by that name", format!("data: {{{data}: a, {data}: b}}\n")),
        ("an unknown field", format!("dat: {{hmac: {data}}}\n")),
        ("outside of everything", format!("{data}:\n")),
        ("another kind", format!("---\napiVersion: v1\nkind: {text}\n")),
        (
            "a reference that is the key",
            format!("data: {{hmac: {data}}}\n---\n{}", by_value(text)),
        ),
    ]
}

/// A route that brings the key itself where it should name a Secret.
fn by_value(text: &str) -> String {
    format!(
        "apiVersion: splittoken.dev/v1alpha1\nkind: SplitTokenRoute\nmetadata: {{name: by-value, namespace: default}}\n\
         spec:\n  hostnames: [by-value.test]\n  issuer: {{url: https://issuer.test, algorithms: [HS256], \
         hmacSecretRef: {{value: {text}}}}}\n  rules: [{{name: api, backendRefs: [{{url: 'http://127.0.0.1:1'}}]}}]\n"
    )
}

fn with(stage: &Stage, document: &str) -> String {
    format!(
        "{}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: signing, namespace: default}}\n{document}",
        stage.routes
    )
}

fn checked(stage: &Stage, what: &str, document: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("routes.yaml");
    fs::write(&file, with(stage, document))?;
    let output = gateway::run(&["check", &file.display().to_string()])?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(
        output.status.code() == Some(1),
        "{what} is good: {}",
        String::from_utf8_lossy(&said)
    );
    stage.written.add(&format!("check: {what}"), said);
    Ok(())
}

fn live(stage: &Stage, what: &str, document: &str) -> Result<()> {
    let before = problem(stage)?;
    stage.gateway.write_routes(&with(stage, document))?;
    wait::until_true(wait::START, what, || {
        problem(stage).is_ok_and(|problem| !problem.is_null() && problem != before)
    })?;
    stage.admin_pages()
}

fn problem(stage: &Stage) -> Result<Value> {
    Ok(stage.gateway.admin("/config")?.json()?["problem"].take())
}
