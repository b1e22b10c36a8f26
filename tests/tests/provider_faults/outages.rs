//! The provider is away, in every way in which it can be.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use splittoken_tests::caller::Caller;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::jwt::Key;
use splittoken_tests::load::{Load, Sample, count, quantile};
use splittoken_tests::shop::Shop;
use splittoken_tests::traffic::known_to_all;
use splittoken_tests::wait;
use splittoken_tests::wire::Step;

use super::{Honest, with_tokens};

/// How long it is away in one way.
const AWAY: Duration = Duration::from_secs(4);

/// Everything that a gateway asks it.
const PATHS: [&str; 3] = ["/.well-known/openid-configuration", "/jwks", "/token"];

fn hangs(shop: &Shop) {
    for path in PATHS {
        shop.mint.play(path, vec![Step::Hold]);
    }
}

/// Asks for tokens in vain, and prints how long that took.
fn no_tokens(gateway: &Gateway, what: &str, status: u16) -> Result<()> {
    let mut asking = Load::default();
    for _ in 0..4 {
        let mut caller = Caller::of(gateway)?;
        asking.add(move || {
            Some(Sample::of(|| {
                let answer = caller.token()?;
                ensure!(answer.status != 503 || answer.header("retry-after").is_some());
                Ok(answer.status)
            }))
        });
    }
    thread::sleep(AWAY);
    let samples = asking.finish();
    let times: Vec<Duration> = samples.iter().map(|sample| sample.took).collect();
    eprintln!(
        "{what}: {} token requests, {} × {status}; p50 {:.1?}, max {:.1?}",
        samples.len(),
        count(&samples, status),
        quantile(&times, 0.5),
        quantile(&times, 1.0),
    );
    ensure!(
        count(&samples, status) == samples.len() && !samples.is_empty(),
        "{what}: {:?}",
        samples.iter().find(|sample| sample.status != status)
    );
    Ok(())
}

/// Promised: API traffic untouched; token endpoint 503 or 504.
#[test]
fn those_who_ask_for_tokens_notice_alone() -> Result<()> {
    let shop = Shop::start()?;
    let route = shop.route().issuer(&json!({
        "jwks": {"refreshInterval": "1s", "minRefreshInterval": "1s"}, "timeouts": {"request": "1s"},
    }));
    let (gateway, cached, fresh) = with_tokens(&shop, route)?;
    let honest = Honest::start(&gateway, &cached, fresh)?;
    hangs(&shop);
    no_tokens(&gateway, "it hangs", 504)?;
    for path in PATHS {
        shop.mint.answer_honestly(path);
    }
    wait::until_true(wait::START, "tokens again", || {
        Caller::of(&gateway).and_then(|mut caller| caller.issue()).is_ok()
    })?;
    // The rest of the shop goes on.
    let Shop {
        mint,
        upstream: _upstream,
        redis: _redis,
        keyring: _keyring,
    } = shop;
    drop(mint);
    // Its last connections end.
    wait::until_true(wait::START, "refused connections", || {
        let answer = Caller::of(&gateway).and_then(|mut caller| caller.token());
        answer.is_ok_and(|answer| answer.status == 503)
    })?;
    no_tokens(&gateway, "it is gone", 503)?;
    honest.untouched(&gateway)
}

/// One gateway has seen a rotation before the provider went away, another one has not: it learns of the new key all the
/// same, and its clients do not wait for a provider that hangs.
fn a_key_that_one_gateway_knows_is_known_to_all(go_away: impl Fn(&Shop)) -> Result<()> {
    /// Far less than the provider may take on this route, which is 10 s.
    const SOON: Duration = Duration::from_secs(5);
    let shop = Shop::start()?;
    let (first, second) = (shop.gateway()?, shop.gateway()?);
    known_to_all(&[&first, &second], 1, Caller::of)?;
    // What is written within the same second counts as written before.
    thread::sleep(Duration::from_secs(2));
    let before = shop.redis.key_sets()?;
    shop.mint.rotate(Key::es256()?);
    let new = known_to_all(&[&first], 20, Caller::of)?;
    // They are used before they are put there.
    wait::until_true(wait::START, "the new key to be put there", || {
        shop.redis.key_sets().is_ok_and(|sets| sets != before)
    })?;
    go_away(&shop);
    let (mut caller, began) = (Caller::of(&second)?, Instant::now());
    for token in &new {
        let status = caller.status(token)?;
        ensure!(status == 200, "{status}");
    }
    eprintln!(
        "20 tokens of a key that another gateway knew: {:.1?}",
        began.elapsed()
    );
    ensure!(began.elapsed() < SOON, "{:?}", began.elapsed());
    Ok(())
}

#[test]
fn a_key_that_one_gateway_knows_is_known_to_all_while_the_provider_hangs() -> Result<()> {
    a_key_that_one_gateway_knows_is_known_to_all(hangs)
}

#[test]
fn a_key_that_one_gateway_knows_is_known_to_all_while_the_provider_is_down() -> Result<()> {
    a_key_that_one_gateway_knows_is_known_to_all(|shop| shop.mint.fail())
}

/// A new key, and nobody to say what it is: whoever asks for a token is told to come back, and need not wait for the end
/// of a cool-down.
#[test]
fn a_new_key_that_cannot_be_fetched_is_a_503_until_it_can() -> Result<()> {
    /// Failed fetches are tried again after one second, two, four; a cool-down is 30 s.
    const SOON: Duration = Duration::from_secs(20);
    let shop = Shop::start()?;
    let gateway = shop.gateway()?;
    let old = known_to_all(&[&gateway], 1, Caller::of)?;
    shop.mint.play("/jwks", vec![Step::Close]);
    shop.mint.rotate(Key::es256()?);
    let mut caller = Caller::of(&gateway)?;
    let answer = caller.token()?;
    ensure!(answer.status == 503, "{}: {}", answer.status, answer.text());
    ensure!(answer.header("retry-after").is_some(), "503 without Retry-After");
    ensure!(
        answer.json()?["error"] == "temporarily_unavailable",
        "{}",
        answer.text()
    );
    ensure!(caller.status(&old[0])? == 200);
    shop.mint.answer_honestly("/jwks");
    let back = Instant::now();
    let token = wait::until(SOON, "tokens again", || caller.issue().ok())?;
    eprintln!("keys are back: tokens after {:.1?}", back.elapsed());
    ensure!(caller.status(&token)? == 200);
    Ok(())
}
