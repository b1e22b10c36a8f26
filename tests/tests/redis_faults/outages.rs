//! Redis is away for a while.

use std::time::{Duration, Instant};

use anyhow::Result;
use splittoken_tests::caller::Caller;
use splittoken_tests::redis::Redis;
use splittoken_tests::shop::{Shop, connected, disconnected, metric};
use splittoken_tests::wait;

use super::{RECOVERY, cached, gateway, load, no_tokens, nobody_served, served_again, served_then_503};

/// Promised for a hung Redis: a heartbeat each second that may take a second.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// The end of a connection is known at once; this is for a busy machine.
const NOTICED: Duration = Duration::from_secs(10);
/// Two tries of a command, each with its deadline.
const DEADLINES: Duration = Duration::from_millis(200);

#[test]
fn redis_killed_and_restarted_with_its_data() -> Result<()> {
    let mut shop = Shop::start()?;
    let gateway = gateway(&shop)?;
    let tokens = cached(&gateway, 20)?;
    shop.redis.command(&["SAVE"])?;
    let load = load(&gateway, &tokens)?;
    wait::until_true(wait::START, "some calls", || load.samples().len() > 100)?;

    let lost = Instant::now();
    shop.redis.kill()?;
    let noticed = disconnected(&gateway, NOTICED)?;
    eprintln!("killed: noticed after {noticed:?}");
    no_tokens(&shop, &gateway)?;
    nobody_served(&load, lost, noticed)?;

    let ended = Instant::now();
    shop.redis.restart()?;
    let back = Instant::now();
    let recovered = served_again(&load, back)?;
    connected(&gateway, RECOVERY)?;
    let mut caller = Caller::of(&gateway)?;
    let token = caller.issue()?;
    eprintln!(
        "restarted: served again after {recovered:?}, tokens after {:?}",
        back.elapsed()
    );
    assert_eq!(caller.status(&token)?, 200);
    assert!(recovered < RECOVERY && back.elapsed() < RECOVERY);
    served_then_503(&load.finish(), lost, noticed, ended)?;
    assert!(
        metric(
            &gateway,
            "splittoken_gateway_token_lookups_total{outcome=\"stale\"}"
        )? > 0
    );
    Ok(())
}

#[test]
fn redis_hung_and_going_on() -> Result<()> {
    let shop = Shop::start()?;
    let gateway = gateway(&shop)?;
    let tokens = cached(&gateway, 20)?;
    let load = load(&gateway, &tokens)?;
    wait::until_true(wait::START, "some calls", || load.samples().len() > 100)?;

    let lost = Instant::now();
    shop.redis.pause()?;
    let noticed = disconnected(&gateway, HEARTBEAT * 10)?;
    eprintln!("hung: noticed after {noticed:?}");
    no_tokens(&shop, &gateway)?;
    nobody_served(&load, lost, noticed)?;

    let ended = Instant::now();
    shop.redis.resume()?;
    let back = Instant::now();
    let recovered = served_again(&load, back)?;
    connected(&gateway, RECOVERY)?;
    Caller::of(&gateway)?.issue()?;
    eprintln!(
        "going on: served again after {recovered:?}, tokens after {:?}",
        back.elapsed()
    );
    assert!(recovered < RECOVERY && back.elapsed() < RECOVERY);
    served_then_503(&load.finish(), lost, noticed, ended)
}

/// The first token request of a hang is one that nobody could know of: it waits for its deadlines, and no longer.
#[test]
fn an_uncached_token_in_a_hang_is_503_after_the_command_deadline() -> Result<()> {
    let shop = Shop::start()?;
    let (first, second) = (gateway(&shop)?, gateway(&shop)?);
    let tokens = cached(&first, 20)?;
    let mut caller = Caller::of(&second)?;
    assert_eq!(caller.status(&tokens[0])?, 200);
    shop.redis.pause()?;
    let start = Instant::now();
    let answer = caller.api(&tokens[1])?;
    eprintln!(
        "the first uncached token of a hang: 503 after {:?}",
        start.elapsed()
    );
    assert_eq!(
        (answer.status, answer.header("retry-after").is_some()),
        (503, true)
    );
    assert!(start.elapsed() < DEADLINES * 10);
    // What is cached goes on.
    assert_eq!(caller.status(&tokens[0])?, 200);
    shop.redis.resume()?;
    connected(&second, RECOVERY)?;
    wait::until_true(RECOVERY, "the token to be served", || {
        caller.status(&tokens[1]).is_ok_and(|status| status == 200)
    })
}

#[test]
fn a_gateway_started_while_redis_is_down_becomes_ready_and_recovers() -> Result<()> {
    let mut shop = Shop::with(Redis::start()?)?;
    let token = {
        let gateway = gateway(&shop)?;
        cached(&gateway, 1)?.remove(0)
    };
    shop.redis.command(&["SAVE"])?;
    shop.redis.kill()?;
    // `start` waits for `/readyz`.
    let gateway = shop.builder(shop.route()).start()?;
    no_tokens(&shop, &gateway)?;
    let mut caller = Caller::of(&gateway)?;
    let answer = caller.api(&token)?;
    assert_eq!(
        (answer.status, answer.header("retry-after").is_some()),
        (503, true),
        "{}",
        answer.text()
    );
    // Guesses that cannot be tokens need no store.
    assert_eq!(caller.status("too-short")?, 401);
    shop.redis.restart()?;
    let back = Instant::now();
    connected(&gateway, RECOVERY)?;
    let other = caller.issue()?;
    assert_eq!((caller.status(&token)?, caller.status(&other)?), (200, 200));
    eprintln!(
        "started without a store: all well {:?} after it came",
        back.elapsed()
    );
    Ok(())
}

/// `maxStale: 0s` is for routes that would rather refuse than believe.
#[test]
fn a_strict_route_serves_nothing_that_the_store_cannot_vouch_for() -> Result<()> {
    let mut shop = Shop::start()?;
    let strict = serde_json::json!({"policies": {"storeUnavailable": {"maxStale": "0s"}}});
    let gateway = shop.gateway_of(shop.route().spec(&strict))?;
    let tokens = cached(&gateway, 5)?;
    shop.redis.kill()?;
    disconnected(&gateway, NOTICED)?;
    let mut caller = Caller::of(&gateway)?;
    for token in &tokens {
        assert_eq!(caller.status(token)?, 503);
    }
    Ok(())
}
