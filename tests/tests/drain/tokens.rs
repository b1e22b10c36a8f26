//! A token request that is under way when the gateway is asked to end.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::caller::Caller;
use splittoken_tests::mint::Terms;
use splittoken_tests::shop::{Shop, connected};
use splittoken_tests::wait;

use super::{LATE, closed_to_others, ended_well, logged, timed};

/// How long the provider takes: until well after the gateway has closed to others.
const THINKING: Duration = Duration::from_secs(3);

#[test]
fn a_token_request_in_flight_finishes_and_its_token_works_elsewhere() -> Result<()> {
    let shop = Shop::start()?;
    let mut leaving = timed(shop.builder(shop.route()), "100ms", "30s").start()?;
    connected(&leaving, wait::START)?;
    let staying = shop.gateway()?;
    shop.mint.set(Terms {
        delay: THINKING,
        ..Terms::default()
    });
    let mut caller = Caller::of(&leaving)?;
    let asking = thread::spawn(move || caller.token());
    wait::until_true(wait::START, "the provider to be asked", || shop.mint.asked() > 0)?;

    let start = Instant::now();
    leaving.terminate()?;
    let refused = closed_to_others(&leaving, start)?;
    ensure!(!asking.is_finished(), "answered before the gateway closed");
    let answer = asking.join().ok().context("the client panicked")??;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    ensure!(
        answer.header("connection") == Some("close"),
        "the client may stay"
    );
    let json = answer.json()?;
    let token = json["access_token"].as_str().context("no access_token")?;
    ensure!(
        Caller::of(&staying)?.status(token)? == 200,
        "the token is not known elsewhere"
    );
    let took = ended_well(&mut leaving, start, THINKING + LATE)?;
    eprintln!("refused after {refused:?}, the token came, ended after {took:?}");
    Ok(())
}

/// The store fails while it is under way: the token is taken back at the provider, however slow that one is, before the
/// gateway ends.
#[test]
fn a_token_that_cannot_be_stored_is_taken_back_before_the_end() -> Result<()> {
    let mut shop = Shop::start()?;
    let mut leaving = timed(shop.builder(shop.route()), "100ms", "30s").start()?;
    connected(&leaving, wait::START)?;
    shop.mint.set(Terms {
        delay: THINKING,
        revocation_delay: Duration::from_secs(1),
        ..Terms::default()
    });
    let mut caller = Caller::of(&leaving)?;
    let asking = thread::spawn(move || caller.token());
    wait::until_true(wait::START, "the provider to be asked", || shop.mint.asked() > 0)?;
    let start = Instant::now();
    leaving.terminate()?;
    shop.redis.kill()?;
    let answer = asking.join().ok().context("the client panicked")??;
    ensure!(answer.status == 503, "{}: {}", answer.status, answer.text());
    ended_well(&mut leaving, start, THINKING + LATE)?;
    ensure!(shop.mint.revocations().len() == 1, "not taken back");
    let line =
        logged(|| leaving.output(), "was taken back").context("ended before the provider had answered")?;
    ensure!(line.contains("reason=\"revoked\""), "{line}");
    Ok(())
}
