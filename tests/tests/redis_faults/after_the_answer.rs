//! The store fails when the provider has answered already: its token must neither be lost to the client's knowledge
//! nor stay good at the provider.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use splittoken_tests::caller::{BASIC, Caller};
use splittoken_tests::marks::Marks;
use splittoken_tests::mint::Terms;
use splittoken_tests::raw::Answer;
use splittoken_tests::shop::{Shop, connected};
use splittoken_tests::wait;

use super::{RECOVERY, gateway};

/// The budget is three tries of two deadlines of 100 ms, and 300 ms between them: 0.9 s. Ten times that.
const BUDGET: Duration = Duration::from_secs(9);
/// How long the provider takes: the store fails meanwhile, on a busy machine too.
const THINKING: Duration = Duration::from_secs(3);

/// Asks for a token whose provider is slow, and calls `fault` when the provider has been asked.
fn ask_and(
    shop: &mut Shop,
    (thinking, members): (Duration, Value),
    fault: impl FnOnce(&mut Shop) -> Result<()>,
) -> Result<(Answer, Duration)> {
    shop.mint.set(Terms {
        delay: thinking,
        members,
        ..Terms::default()
    });
    let gateway = gateway(shop)?;
    let asked = shop.mint.asked();
    let mut caller = Caller::of(&gateway)?;
    let request = thread::spawn(move || caller.token());
    wait::until_true(wait::START, "the provider to be asked", || {
        shop.mint.asked() > asked
    })?;
    let start = Instant::now();
    fault(shop)?;
    let answer = request.join().ok().context("the client panicked")??;
    let took = start.elapsed().saturating_sub(thinking);
    assert_eq!(shop.mint.asked(), asked + 1, "the provider was asked again");
    // The gateway must live until it has revoked.
    if answer.status != 200 {
        wait::until_true(wait::START, "the revocation", || {
            !shop.mint.revocations().is_empty()
        })?;
    }
    Ok((answer, took))
}

/// 503, and nothing of the JWT in the whole answer.
fn taken_back(shop: &Shop, answer: &Answer, took: Duration, revoked: &str, hint: &str) -> Result<()> {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    eprintln!("the store failed after the provider answered: 503 after {took:?}");
    assert!(took < BUDGET, "{took:?}");
    let issued = shop.mint.issued();
    let mut marks = Marks::new();
    for token in &issued {
        marks.add_jwt("the JWT", token);
    }
    let whole = [answer.head.as_slice(), &answer.body].concat();
    assert_eq!(marks.found_in(&whole), Vec::<String>::new());
    let revocations = shop.mint.revocations();
    assert_eq!(revocations.len(), 1);
    let form = String::from_utf8_lossy(revocations[0].body()).into_owned();
    assert_eq!(form, format!("token={revoked}&token_type_hint={hint}"));
    assert_eq!(
        revocations[0].header("authorization").as_deref(),
        Some(BASIC),
        "in the client's own name"
    );
    Ok(())
}

#[test]
fn killed_the_access_token_is_revoked() -> Result<()> {
    let mut shop = Shop::start()?;
    let (answer, took) = ask_and(&mut shop, (THINKING, json!({})), |shop| shop.redis.kill())?;
    let token = shop.mint.issued().pop().context("nothing was issued")?;
    taken_back(&shop, &answer, took, &token, "access_token")
}

#[test]
fn hung_the_refresh_token_is_revoked() -> Result<()> {
    let mut shop = Shop::start()?;
    let members = json!({"refresh_token": "an-opaque-refresh-token"});
    let (answer, took) = ask_and(&mut shop, (THINKING, members), |shop| shop.redis.pause())?;
    taken_back(&shop, &answer, took, "an-opaque-refresh-token", "refresh_token")?;
    assert!(!answer.text().contains("an-opaque-refresh-token"));
    Ok(())
}

/// A hiccup that is over in time costs no token: the provider cannot be asked twice.
#[test]
fn restarted_meanwhile_the_token_is_issued() -> Result<()> {
    let mut shop = Shop::start()?;
    // Long enough for a restart on a busy machine.
    let thinking = THINKING * 2;
    let (answer, _) = ask_and(&mut shop, (thinking, json!({})), |shop| shop.redis.restart())?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json()?;
    let token = json["access_token"].as_str().context("no access_token")?;
    let gateway = gateway(&shop)?;
    connected(&gateway, RECOVERY)?;
    assert_eq!(Caller::of(&gateway)?.status(token)?, 200);
    assert_eq!(shop.mint.revocations(), []);
    Ok(())
}
