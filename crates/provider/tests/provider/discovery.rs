use serde_json::json;
use splittoken_provider::{DocumentState, Provider};

use super::support::{
    eventually,
    server::{Reply, Server},
    settings,
    signer::{Signer, jwks},
    start,
};

const OPENID: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

fn document_state(provider: &Provider) -> DocumentState {
    provider.state().discovery.unwrap()
}

#[tokio::test]
async fn discovery_leads_to_the_keys() {
    let server = Server::start().await;
    server.reply(OPENID, Reply::ok(&server.document(&json!({})).to_string()));
    server.reply("/jwks", Reply::ok(&jwks(&[&Signer::new("a"), &Signer::new("b")])));
    let (provider, _task) = start(settings(&server.url));
    eventually("two keys", || provider.keys().len() == 2).await;
    let state = provider.state();
    assert_eq!(state.key_ids, ["a", "b"]);
    assert!(state.token_endpoint_known && state.discovery.unwrap().ok && state.jwks.unwrap().ok);
    assert_eq!(
        (server.count(OPENID), server.count(OAUTH), server.count("/jwks")),
        (1, 0, 1)
    );
}

#[tokio::test]
async fn rfc_8414_is_the_second_way() {
    let server = Server::start().await;
    let issuer = format!("{}/tenant", server.url);
    let document = server.document(&json!({ "issuer": issuer }));
    server.reply(
        "/.well-known/oauth-authorization-server/tenant",
        Reply::ok(&document.to_string()),
    );
    // Some servers have a web page for everything.
    server.reply(
        "/tenant/.well-known/openid-configuration",
        Reply::ok("<!doctype html>"),
    );
    let (provider, _task) = start(settings(&issuer));
    eventually("discovery", || document_state(&provider).ok).await;
}

#[tokio::test]
async fn documents_that_are_not_to_be_trusted() {
    let server = Server::start().await;
    let good = server.document(&json!({})).to_string();
    let huge = server
        .document(&json!({ "x": "y".repeat(256 * 1024) }))
        .to_string();
    let cases = [
        (
            Reply::ok(
                &server
                    .document(&json!({"issuer": "https://evil.example"}))
                    .to_string(),
            ),
            "discovery_issuer",
        ),
        (
            Reply::ok(&server.document(&json!({"token_endpoint": "/token"})).to_string()),
            "url_not_absolute",
        ),
        (
            Reply::ok(&server.document(&json!({"jwks_uri": null})).to_string()),
            "discovery_missing",
        ),
        (
            Reply::ok(&good.replacen('{', "{\"issuer\":\"x\",", 1)),
            "json_duplicate_member",
        ),
        (Reply::ok(&huge), "provider_too_large"),
        (
            Reply::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{good}")),
            "provider_truncated",
        ),
        (
            Reply::raw(format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n{good}",
                good.len()
            )),
            "provider_compressed",
        ),
        (
            Reply::raw("HTTP/1.1 301 Moved\r\nLocation: /good\r\nContent-Length: 0\r\n\r\n"),
            "provider_redirect",
        ),
        (Reply::status("201 Created", &good), "provider_status"),
        (Reply::status("503 Busy", &good), "provider_status"),
        (Reply::status("404 Not Found", &good), "provider_status"),
    ];
    server.reply("/good", Reply::ok(&good));
    for (reply, reason) in cases {
        server.reply(OPENID, reply);
        let (provider, _task) = start(settings(&server.url));
        eventually(reason, || document_state(&provider).reason.is_some()).await;
        let state = document_state(&provider);
        assert_eq!(
            (state.ok, state.reason),
            (false, Some(reason)),
            "{:?}",
            state.error
        );
        assert!(!provider.state().token_endpoint_known);
    }
    assert_eq!((server.count("/good"), server.count("/jwks")), (0, 0));
}

#[tokio::test]
async fn another_issuer_is_named_beside_the_expected_one() {
    let server = Server::start().await;
    server.reply(
        OPENID,
        Reply::ok(
            &server
                .document(&json!({"issuer": format!("{}/", server.url)}))
                .to_string(),
        ),
    );
    let (provider, _task) = start(settings(&server.url));
    eventually("an error", || document_state(&provider).error.is_some()).await;
    let error = document_state(&provider).error.unwrap();
    assert!(
        error.contains(&format!("expected {}, found {}/", server.url, server.url)),
        "{error}"
    );
}

#[tokio::test]
async fn discovery_is_tried_again_until_it_works() {
    let server = Server::start().await;
    server.reply("/jwks", Reply::ok(&jwks(&[&Signer::new("a")])));
    let (provider, _task) = start(settings(&server.url));
    eventually("a failure", || {
        document_state(&provider).reason == Some("provider_status")
    })
    .await;
    eventually("a failure of the keys", || {
        provider.state().jwks.unwrap().reason == Some("no_jwks_url")
    })
    .await;
    server.reply(OPENID, Reply::ok(&server.document(&json!({})).to_string()));
    eventually("discovery", || document_state(&provider).ok).await;
    eventually("the keys, at once", || provider.keys().len() == 1).await;
}

#[tokio::test]
async fn the_state_is_json_without_secrets() {
    let server = Server::start().await;
    let mut settings = settings(&server.url);
    settings.endpoints.token = Some(format!("{}/token?key=marked", server.url));
    settings.hmac_key = Some(splittoken_token::SecretBytes::new(b"marked".to_vec()));
    let provider = Provider::new(settings).unwrap();
    let text = serde_json::to_string(&provider.state()).unwrap();
    assert!(
        text.contains("\"issuer\":") && text.contains("\"EdDSA\"") && !text.contains("marked"),
        "{text}"
    );
}
