use http::HeaderValue;
use splittoken_provider::{ClientCredentials, Provider, TokenTypeHint};

use super::support::{
    given,
    server::{Reply, Server},
};

fn credentials() -> ClientCredentials {
    ClientCredentials {
        authorization: Some(HeaderValue::from_static("Basic YTpi")),
        ..ClientCredentials::default()
    }
}

async fn revoke(provider: &Provider) -> Result<(), &'static str> {
    let outcome = provider
        .revoke("aa.bb.cc", TokenTypeHint::AccessToken, &credentials())
        .await;
    outcome.map_err(|e| e.reason())
}

#[tokio::test]
async fn a_token_is_taken_back_in_the_clients_name() {
    let server = Server::start().await;
    let provider = Provider::new(given(&server.url)).unwrap();
    server.reply("/revoke", Reply::ok(""));
    assert_eq!(revoke(&provider).await, Ok(()));
    let seen = server.seen("/revoke").pop().unwrap();
    assert_eq!(seen.body, b"token=aa.bb.cc&token_type_hint=access_token");
    assert_eq!(seen.header("authorization"), Some("Basic YTpi"));
    assert_eq!(
        seen.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
}

#[tokio::test]
async fn what_goes_wrong_is_told_and_not_repeated() {
    let server = Server::start().await;
    let provider = Provider::new(given(&server.url)).unwrap();
    server.reply(
        "/revoke",
        Reply::status("400 Bad Request", r#"{"error":"unsupported_token_type"}"#),
    );
    assert_eq!(revoke(&provider).await, Err("revocation_refused"));
    server.reply("/revoke", Reply::raw(""));
    assert_eq!(revoke(&provider).await, Err("provider_truncated"));
    assert_eq!(server.count("/revoke"), 2);
}

#[tokio::test]
async fn without_an_endpoint_there_is_nothing_to_do() {
    let server = Server::start().await;
    let mut settings = given(&server.url);
    settings.endpoints.revocation = None;
    assert_eq!(
        revoke(&Provider::new(settings).unwrap()).await,
        Err("no_revocation_endpoint")
    );
    assert_eq!(server.connections(), 0);
}
