//! What a provider is burdened with.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use splittoken_tests::http::Answer;
use splittoken_tests::ports;
use splittoken_tests::raw::Client;
use splittoken_tests::route::Route;
use splittoken_tests::shop::metric;
use splittoken_tests::stand::{Stand, request};
use splittoken_tests::wait;
use splittoken_tests::wire::{Step, answer};

use super::come_late;

const BOUND: Duration = Duration::from_secs(30);
const AT_ONCE: Duration = Duration::from_secs(1);
const FORM: &str = "grant_type=client_credentials";

/// A stand whose provider has so long for an answer.
fn stand(arguments: &[&str], request: &str) -> Result<Stand> {
    Stand::built(
        |to| {
            let issuer = json!({"timeouts": {"request": request}});
            Route::new(&to.issuer, &to.upstream).issuer(&issuer).into()
        },
        |gateway| gateway.arguments(arguments),
    )
}

fn ask(stand: &Stand) -> Result<Answer> {
    stand.gateway.token(None, &[("grant_type", "client_credentials")])
}

fn failures(stand: &Stand, reason: &str) -> Result<u64> {
    let line = format!("splittoken_gateway_failures_total{{reason=\"{reason}\"}}");
    metric(&stand.gateway, &line)
}

#[test]
fn so_many_token_requests_wait_for_a_provider() -> Result<()> {
    const THINKING: Duration = Duration::from_secs(3);
    let stand = stand(&["--max-provider-requests", "1"], "30s")?;
    let token = stand.token(&json!({}))?;
    stand.provider.answer_steps(vec![
        Step::Wait(THINKING),
        Step::Send(answer("400 Bad Request", &[], r#"{"error":"invalid_grant"}"#)),
    ]);
    let before = stand.provider.requests("/token").len();
    let length = format!("Content-Length: {}", FORM.len());
    let headers = ["Content-Type: application/x-www-form-urlencoded", &length];
    let mut first = Client::connect(stand.gateway.address())?;
    first.send(request(
        &stand.gateway.host(),
        "POST /oauth/token",
        &headers,
        FORM,
    ))?;
    wait::until_true(BOUND, "the provider to hear of it", || {
        stand.provider.requests("/token").len() == before + 1
    })?;
    let start = Instant::now();
    let refused = ask(&stand)?;
    assert!(start.elapsed() < AT_ONCE);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(failures(&stand, "provider_busy")?, 1);
    assert_eq!(stand.get("/orders", &token)?.status, 200, "API traffic goes on");
    assert_eq!(first.read()?.context("no answer")?.status, 400);
    assert_eq!(ask(&stand)?.status, 400);
    Ok(())
}

#[test]
fn a_provider_that_cannot_be_reached_is_left_alone_and_comes_back() -> Result<()> {
    let port = ports::free()?;
    let endpoint = format!("http://127.0.0.1:{port}/token");
    let stand = Stand::built(
        |to| {
            let issuer = json!({"endpoints": {"token": endpoint}});
            Route::new(&to.issuer, &to.upstream).issuer(&issuer).into()
        },
        |gateway| gateway.arguments(&["--breaker-failures", "2"]),
    )?;
    let start = Instant::now();
    for _ in 0..2 {
        assert_eq!(ask(&stand)?.status, 503);
    }
    assert_eq!(failures(&stand, "provider_unreachable")?, 2);
    // On a busy machine its rest of a second may be over by now; then one more failure makes it longer.
    let (took, refused) = wait::until(BOUND, "the provider to be left alone", || {
        let start = Instant::now();
        let (answer, took) = (ask(&stand).ok()?, start.elapsed());
        let is_resting = failures(&stand, "provider_resting").is_ok_and(|number| number == 1);
        is_resting.then_some((took, answer))
    })?;
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(failures(&stand, "provider_resting")?, 1);
    let resting = "splittoken_gateway_resting{kind=\"provider\"}";
    assert_eq!(metric(&stand.gateway, resting)?, 1);
    assert_eq!(stand.ask("GET /orders", &[])?.status, 401, "API traffic goes on");
    come_late(
        port,
        answer("400 Bad Request", &[], r#"{"error":"invalid_grant"}"#),
    )?;
    wait::until_true(BOUND, "the provider to be asked again", || {
        ask(&stand).is_ok_and(|answer| answer.status == 400)
    })?;
    println!(
        "a provider that could not be reached is in use again after {:?}",
        start.elapsed()
    );
    assert_eq!(metric(&stand.gateway, resting)?, 0);
    Ok(())
}

#[test]
fn what_a_provider_does_with_a_request_is_no_failure() -> Result<()> {
    let stand = stand(&["--breaker-failures", "2"], "1s")?;
    let token = stand.token(&json!({}))?;
    stand.provider.answer_raw(answer(
        "503 Service Unavailable",
        &[],
        r#"{"error":"temporarily_unavailable"}"#,
    ));
    for _ in 0..4 {
        assert_eq!(ask(&stand)?.status, 503);
    }
    stand.provider.answer_json("nonsense");
    for _ in 0..4 {
        assert_eq!(ask(&stand)?.status, 502);
    }
    stand.provider.answer_steps(vec![Step::Close]);
    for _ in 0..4 {
        assert_eq!(ask(&stand)?.status, 502);
    }
    stand.provider.answer_steps(vec![Step::Hold]);
    for _ in 0..3 {
        assert_eq!(ask(&stand)?.status, 504);
    }
    assert_eq!(failures(&stand, "provider_resting")?, 0);
    stand.provider.answer_token(&token.jwt);
    assert_eq!(ask(&stand)?.status, 200);
    Ok(())
}
