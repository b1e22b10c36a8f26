//! How long a client may take. The defaults are tried in `attack`.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use splittoken_tests::hand::Peer;
use splittoken_tests::shop::metric;
use splittoken_tests::stand::request;
use splittoken_tests::wait;
use splittoken_tests::wire::{Step, answer};

use super::stand;

/// Ten times a limit of one second, which is looked at once a second.
const BOUND: Duration = Duration::from_secs(20);

#[test]
fn clients_have_the_time_that_is_set() -> Result<()> {
    let stand = stand(&[
        "--header-timeout",
        "1s",
        "--keep-alive-timeout",
        "2s",
        "--token-request-timeout",
        "1s",
    ])?;
    let (host, token) = (stand.gateway.host(), stand.token(&json!({}))?);
    let start = Instant::now();
    let mut slow = Peer::connect(stand.gateway.address())?;
    slow.send("GET /orders HTTP/1.1\r\nHost: ")?;
    assert!(slow.rest()?.is_empty());
    assert!(start.elapsed() > Duration::from_millis(900) && start.elapsed() < BOUND);

    let start = Instant::now();
    let mut idle = Peer::connect(stand.gateway.address())?;
    idle.send(request(&host, "GET /orders", &[&token.header()], ""))?;
    let served = idle.rest()?;
    assert!(served.starts_with(b"HTTP/1.1 200"));
    assert!(start.elapsed() > Duration::from_millis(1900) && start.elapsed() < BOUND);

    let start = Instant::now();
    let mut half = Peer::connect(stand.gateway.address())?;
    let form = [
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Length: 100",
    ];
    half.send(request(&host, "POST /oauth/token", &form, "grant_type="))?;
    half.until("HTTP/1.1 400")?;
    assert!(start.elapsed() > Duration::from_millis(900) && start.elapsed() < BOUND);
    Ok(())
}

#[test]
fn whoever_does_not_read_has_the_time_that_is_set() -> Result<()> {
    let stand = stand(&["--send-timeout", "1s"])?;
    let token = stand.token(&json!({}))?;
    let large = vec![b'a'; 64 * 1024 * 1024];
    stand
        .upstream
        .steps(vec![Step::Send(answer("200 OK", &[], &large))]);
    let mut deaf = Peer::connect(stand.gateway.address())?;
    deaf.send(request(
        &stand.gateway.host(),
        "GET /large",
        &[&token.header()],
        "",
    ))?;
    wait::until_true(BOUND, "the upstream to answer", || {
        stand.upstream.requests().len() == 1
    })?;
    wait::until_true(BOUND, "the connection to be gone", || {
        metric(&stand.gateway, "splittoken_gateway_connections").is_ok_and(|open| open == 0)
    })?;
    let received = deaf.rest()?;
    assert!(received.starts_with(b"HTTP/1.1 200"));
    assert!(received.len() < large.len(), "it was cut off");
    Ok(())
}
