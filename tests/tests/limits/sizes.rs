//! How much may be sent.

use anyhow::{Context as _, Result};
use serde_json::json;
use splittoken_tests::hand::Peer;
use splittoken_tests::http2_upstream::Http2Upstream;
use splittoken_tests::raw::Answer;
use splittoken_tests::route::Route;
use splittoken_tests::stand::{Stand, Token, request};

use super::stand;

fn post(stand: &Stand, token: &Token, length: &str, body: &str) -> Result<Answer> {
    let headers = [&token.header(), length];
    let bytes = request(&stand.gateway.host(), "POST /orders", &headers, body);
    stand.gateway.exchange(bytes)?.context("no answer")
}

#[test]
fn heads_have_a_size_and_a_number_of_fields() -> Result<()> {
    let stand = stand(&[
        "--max-header-bytes",
        "4KiB",
        "--max-headers",
        "20",
        "--http2-cleartext",
    ])?;
    let header = stand.token(&json!({}))?.header();
    let (fits, large) = ("a".repeat(3 * 1024), "a".repeat(5 * 1024));
    assert_eq!(
        stand.ask("GET /", &[&header, &format!("X-Pad: {fits}")])?.status,
        200
    );
    assert_eq!(
        stand.ask("GET /", &[&header, &format!("X-Pad: {large}")])?.status,
        431
    );
    let fields: Vec<String> = (0..20).map(|number| format!("X-{number}: 1")).collect();
    let many: Vec<&str> = fields
        .iter()
        .map(String::as_str)
        .chain([header.as_str()])
        .collect();
    assert_eq!(stand.ask("GET /", &many[3..])?.status, 200);
    assert_eq!(stand.ask("GET /", &many)?.status, 431);
    Ok(())
}

#[test]
fn a_larger_head_may_be_let_in() -> Result<()> {
    let stand = stand(&["--max-header-bytes", "256KiB", "--max-headers", "500"])?;
    let header = stand.token(&json!({}))?.header();
    let pad = format!("X-Pad: {}", "a".repeat(200 * 1024));
    assert_eq!(stand.ask("GET /", &[&header, &pad])?.status, 200);
    let fields: Vec<String> = (0..400).map(|number| format!("X-{number}: 1")).collect();
    let many: Vec<&str> = fields
        .iter()
        .map(String::as_str)
        .chain([header.as_str()])
        .collect();
    assert_eq!(stand.ask("GET /", &many)?.status, 200);
    Ok(())
}

#[test]
fn bodies_have_a_size_where_that_is_set() -> Result<()> {
    let stand = stand(&["--max-body-bytes", "1KiB"])?;
    let token = stand.token(&json!({}))?;
    let (fits, large) = ("a".repeat(1024), "a".repeat(1025));
    assert_eq!(post(&stand, &token, "Content-Length: 1024", &fits)?.status, 200);
    stand.upstream.take();
    let announced = post(&stand, &token, "Content-Length: 1025", &large)?;
    assert_eq!((announced.status, stand.upstream.take().len()), (413, 0));
    assert_eq!(announced.json()?["error"], "invalid_request");
    let chunked = |body: &str| format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let grows = post(&stand, &token, "Transfer-Encoding: chunked", &chunked(&large))?;
    assert_eq!(grows.status, 413, "{}", grows.text());
    let whole = |body: &[u8]| body.len() > 1024;
    assert!(!stand.upstream.take().iter().any(|request| whole(request.body())));
    let fits = post(&stand, &token, "Transfer-Encoding: chunked", &chunked(&fits))?;
    assert_eq!(fits.status, 200, "{}", fits.text());
    Ok(())
}

#[test]
fn bodies_for_upstreams_by_http_2_have_one_too() -> Result<()> {
    let upstream = Http2Upstream::start()?;
    let stand = Stand::built(
        |to| {
            let rule = json!({"backendRefs": [{"url": upstream.url(), "protocol": "HTTP2"}]});
            Route::new(&to.issuer, &to.upstream).rule(&rule).into()
        },
        |gateway| gateway.arguments(&["--max-body-bytes", "1KiB"]),
    )?;
    let token = stand.token(&json!({}))?;
    let body = format!("401\r\n{}\r\n0\r\n\r\n", "a".repeat(1025));
    let grows = post(&stand, &token, "Transfer-Encoding: chunked", &body)?;
    assert_eq!(grows.status, 413, "{}", grows.text());
    assert_eq!(stand.get("/orders", &token)?.status, 200);
    Ok(())
}

#[test]
fn token_requests_have_a_size() -> Result<()> {
    let stand = stand(&["--max-token-request-bytes", "1KiB"])?;
    stand.token(&json!({}))?;
    let form = format!("grant_type=client_credentials&pad={}", "a".repeat(1024));
    let answer = stand
        .gateway
        .token(None, &[("grant_type", "client_credentials"), ("pad", &form)])?;
    assert_eq!(answer.status, 413);
    assert_eq!(stand.provider.requests("/token").len(), 1);
    Ok(())
}

#[test]
fn http_2_clients_hear_how_many_streams_they_may_have() -> Result<()> {
    let stand = stand(&["--max-streams", "7", "--http2-cleartext"])?;
    let mut peer = Peer::connect(stand.gateway.address())?;
    // The preface, and SETTINGS that say nothing (RFC 9113 §3.4).
    peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")?;
    // SETTINGS_MAX_CONCURRENT_STREAMS.
    peer.until([0, 3, 0, 0, 0, 7])?;
    Ok(())
}
