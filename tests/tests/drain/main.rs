//! A gateway is asked to end, alone or as one of several, while clients are at work: nobody's request fails.
//!
//! Bounds are ten times what is promised; what was measured is printed (`cargo test -- --nocapture`).

mod closing;
mod lines;
mod phases;
mod race;
mod roamers;
mod rolling;
mod signals;
mod tokens;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use splittoken_tests::gateway::{Builder, Gateway};
use splittoken_tests::route::Route;
use splittoken_tests::wait;

/// How late a loaded machine may be, beyond what is promised.
const LATE: Duration = Duration::from_secs(10);

/// A gateway with these times, which logs as it would in production.
fn timed(builder: Builder, min_drain: &str, drain: &str) -> Builder {
    builder
        .log("info")
        .arguments(&["--min-drain", min_drain, "--drain", drain])
}

/// A gateway before `upstream` that asks for no token. Its provider is never asked.
fn open_gateway(upstream: &str, min_drain: &str, drain: &str) -> Result<Gateway> {
    timed(open(upstream, "2"), min_drain, drain).start()
}

/// The same with this number of threads, before its times are set.
fn open(upstream: &str, threads: &str) -> Builder {
    let rule = json!({"name": "api", "authentication": "Disabled", "backendRefs": [{"url": upstream}]});
    let route = Route::new("http://127.0.0.1:1", upstream).spec(&json!({"rules": [rule]}));
    Gateway::builder(route).arguments(&["--threads", threads])
}

/// Waits until nobody can connect any more; how long that took from `since`.
fn closed_to_others(gateway: &Gateway, since: Instant) -> Result<Duration> {
    wait::until_true(wait::START, "connections to be refused", || {
        TcpStream::connect(gateway.address()).is_err()
    })?;
    Ok(since.elapsed())
}

/// Waits until `/readyz` says no; how long that took.
fn unready(gateway: &Gateway) -> Result<Duration> {
    let start = Instant::now();
    wait::until_true(LATE, "/readyz to say no", || {
        gateway.admin("/readyz").is_ok_and(|answer| answer.status == 503)
    })?;
    Ok(start.elapsed())
}

/// Waits for the end, which must be a good one; how long after `since` it came.
fn ended_well(gateway: &mut Gateway, since: Instant, limit: Duration) -> Result<Duration> {
    let status = gateway.wait(limit)?;
    let took = since.elapsed();
    ensure!(
        status.code() == Some(0),
        "ended with {status}:\n{}",
        String::from_utf8_lossy(&gateway.output())
    );
    Ok(took)
}

/// Waits until `text` stands in the log, and gives its line. Lines come through a pipe, a little late.
fn logged(output: impl Fn() -> Vec<u8>, text: &str) -> Result<String> {
    wait::until(LATE, &format!("`{text}` in the log"), || {
        let log = String::from_utf8_lossy(&output()).into_owned();
        log.lines().find(|line| line.contains(text)).map(str::to_owned)
    })
}
