//! `store_up` is true when it is read, whoever asked for what before.

use std::time::{Duration, Instant};

use anyhow::Result;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::shop::Shop;
use splittoken_tests::wait;

use crate::scrape;

/// Ten times what is promised of a Redis that comes back; noticing that it went takes less.
const LIMIT: Duration = Duration::from_secs(20);

/// Waits for the metric without a look at any other page.
fn becomes(gateway: &Gateway, wanted: u64) -> Result<Duration> {
    let start = Instant::now();
    wait::until_true(LIMIT, &format!("store_up {wanted}"), || {
        let exposition = scrape(gateway);
        exposition.is_ok_and(|exposition| {
            let found = exposition.families.get("splittoken_gateway_store_up");
            found.is_some_and(|family| family.samples.len() == 1 && family.samples[0].whole() == wanted)
        })
    })?;
    Ok(start.elapsed())
}

#[test]
fn store_up_is_as_of_the_scrape() -> Result<()> {
    let mut shop = Shop::start()?;
    let gateway = shop.builder(shop.route()).start()?;
    becomes(&gateway, 2)?;
    for round in 0..2 {
        shop.redis.kill()?;
        let lost = becomes(&gateway, 0)?;
        shop.redis.restart()?;
        let back = becomes(&gateway, 2)?;
        eprintln!(
            "round {round}: store_up was 0 {lost:?} after the kill, and 2 again {back:?} after the restart"
        );
    }
    Ok(())
}

#[test]
fn a_store_that_hangs_is_not_up() -> Result<()> {
    let shop = Shop::start()?;
    let gateway = shop.builder(shop.route()).start()?;
    becomes(&gateway, 2)?;
    shop.redis.pause()?;
    let lost = becomes(&gateway, 0);
    shop.redis.resume()?;
    eprintln!("store_up was 0 {:?} after the store stopped", lost?);
    becomes(&gateway, 2)?;
    Ok(())
}

#[test]
fn the_memory_of_the_process_is_always_up() -> Result<()> {
    let stand = splittoken_tests::stand::Stand::built(
        |to| splittoken_tests::gateway::smallest_route(&to.issuer, &to.upstream),
        |gateway| gateway.arguments(&["--threads", "3"]),
    )?;
    becomes(&stand.gateway, 3)?;
    Ok(())
}
