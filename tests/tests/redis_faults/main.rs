//! A Redis that dies, hangs, comes back, forgets or is full, while clients count what they get.
//!
//! Bounds are ten times what is promised; what was measured is printed (`cargo test -- --nocapture`).

mod after_the_answer;
mod outages;
mod state;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use splittoken_tests::caller::Caller;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::load::{Load, Sample, count, quantile};
use splittoken_tests::shop::Shop;
use splittoken_tests::wait;

/// Promised: a token request is answered within 50 ms while Redis is down.
const REFUSAL: Duration = Duration::from_millis(500);
/// Promised: everything works again 2 s after Redis is back.
const RECOVERY: Duration = Duration::from_secs(20);
/// Promised: a change is known everywhere within 50 ms.
const EVERYWHERE: Duration = Duration::from_millis(500);
/// How long cached tokens are served without a store, on the routes here.
const MAX_STALE: Duration = Duration::from_secs(3);
/// How late a loaded machine may see a connection's end or a clock's.
const LATE: Duration = Duration::from_secs(1);

/// A gateway whose route serves cached tokens for [`MAX_STALE`].
fn gateway(shop: &Shop) -> Result<Gateway> {
    let stale = json!({"policies": {"storeUnavailable": {"maxStale": "3s"}}});
    shop.gateway_of(shop.route().spec(&stale))
}

/// Some tokens that are in the gateway's cache.
fn cached(gateway: &Gateway, number: usize) -> Result<Vec<String>> {
    let mut caller = Caller::of(gateway)?;
    let tokens = (0..number).map(|_| caller.issue()).collect::<Result<Vec<_>>>()?;
    for token in &tokens {
        ensure!(caller.status(token)? == 200, "a new token is not served");
    }
    Ok(tokens)
}

/// Two clients that call with these tokens all the time.
fn load(gateway: &Gateway, tokens: &[String]) -> Result<Load> {
    Load::start(gateway, vec![tokens.to_vec(), tokens.to_vec()])
}

/// Asks for tokens while the store is known to be down: 503 at once, with `Retry-After`, nobody at the provider asked.
fn no_tokens(shop: &Shop, gateway: &Gateway) -> Result<()> {
    const TIMES: usize = 50;
    let asked = shop.mint.asked();
    let mut caller = Caller::of(gateway)?;
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let start = Instant::now();
        let answer = caller.token()?;
        times.push(start.elapsed());
        ensure!(answer.status == 503, "{}: {}", answer.status, answer.text());
        ensure!(answer.header("retry-after").is_some(), "503 without Retry-After");
        ensure!(
            answer.header("cache-control") == Some("no-store"),
            "503 that may be cached"
        );
    }
    eprintln!(
        "{TIMES} token requests without a store: 503 after p50 {:?}, max {:?}",
        quantile(&times, 0.5),
        quantile(&times, 1.0)
    );
    // Not of the slowest: on a busy machine one or the other waits for the machine.
    ensure!(quantile(&times, 0.5) < REFUSAL, "{:?}", quantile(&times, 0.5));
    ensure!(
        shop.mint.asked() == asked,
        "the provider was asked {} times",
        shop.mint.asked() - asked
    );
    Ok(())
}

/// For how long clients of cached tokens may be served without a store that was `noticed` to be away then.
fn longest(noticed: Duration) -> Duration {
    noticed + MAX_STALE + LATE
}

/// Waits for calls from a time in which nobody may be served any more.
fn nobody_served(load: &Load, lost: Instant, noticed: Duration) -> Result<()> {
    let end = longest(noticed);
    wait::until_true(end + wait::START, "a while without 200", || {
        load.since(lost + end).len() > 300
    })
}

/// Checks what clients of cached tokens got while the store was away from `lost` until that `ended`, and prints it:
/// served until the gateway noticed and `MAX_STALE` passed, then 503 and nothing else, then served again.
fn served_then_503(samples: &[Sample], lost: Instant, noticed: Duration, ended: Instant) -> Result<()> {
    let during = |sample: &&Sample| sample.at >= lost && sample.at + sample.took < ended;
    let during: Vec<Sample> = samples.iter().filter(during).copied().collect();
    // When it was there: it was decided on before, and after it was asked for.
    let answers = during.iter().filter(|sample| sample.status == 503);
    let first_503 = answers.map(|sample| sample.at + sample.took - lost).min();
    let last_200 = during
        .iter()
        .rfind(|sample| sample.status == 200)
        .map(|sample| sample.at - lost);
    eprintln!(
        "{} calls without a store: {} × 200, {} × 503; first 503 after {first_503:?}, last 200 after {last_200:?}, \
         slowest {:?}",
        during.len(),
        count(&during, 200),
        count(&during, 503),
        during.iter().map(|sample| sample.took).max().unwrap_or_default(),
    );
    let other = samples.iter().find(|sample| !matches!(sample.status, 200 | 503));
    ensure!(
        other.is_none(),
        "neither 200 nor 503: {:?}",
        other.map(|sample| sample.status)
    );
    ensure!(
        first_503.is_some_and(|first| first >= MAX_STALE),
        "503 too early: {first_503:?}"
    );
    ensure!(
        last_200.is_some_and(|last| last <= longest(noticed)),
        "served for too long: {last_200:?}"
    );
    let before: Vec<Sample> = samples
        .iter()
        .filter(|sample| sample.at < lost)
        .copied()
        .collect();
    ensure!(
        count(&before, 200) == before.len() && !before.is_empty(),
        "not all was well before"
    );
    Ok(())
}

/// When the clients were served again, after `back`.
fn served_again(load: &Load, back: Instant) -> Result<Duration> {
    wait::until(RECOVERY * 2, "clients to be served again", || {
        let sample = load
            .since(back)
            .into_iter()
            .rev()
            .take_while(|sample| sample.status == 200);
        // A run of them, not one that slipped through.
        let run: Vec<Sample> = sample.collect();
        (run.len() >= 50).then(|| run.last().map_or(Duration::ZERO, |first| first.at - back))
    })
}
