//! Who can restore a token.

use std::collections::HashSet;
use std::sync::mpsc;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::caller::Caller;
use splittoken_tests::gateway::Keyring;
use splittoken_tests::jwt;
use splittoken_tests::load::{Sample, count, untouched};
use splittoken_tests::shop::{Shop, metric};

/// The promise is 0 × 401 in 10⁶; as many of them as a test has time for.
const TOKENS: usize = 4_000;
const CLIENTS: usize = 4;

#[test]
fn a_token_split_at_one_gateway_works_at_the_other_at_once() -> Result<()> {
    let shop = Shop::start()?;
    let (first, second) = (shop.gateway()?, shop.gateway()?);
    let samples = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (from, to) = if number % 2 == 0 {
                    (&first, &second)
                } else {
                    (&second, &first)
                };
                scope.spawn(|| -> Result<Vec<Sample>> {
                    let (mut from, mut to) = (Caller::of(from)?, Caller::of(to)?);
                    let call = |_| {
                        let answer = from.token()?;
                        if answer.status != 200 {
                            return Ok(Sample::of(|| Ok(answer.status)));
                        }
                        let json = answer.json()?;
                        let token = json["access_token"].as_str().context("no access_token")?;
                        Ok(Sample::of(|| to.status(token)))
                    };
                    (0..TOKENS / CLIENTS).map(call).collect()
                })
            })
            .collect();
        let joined = clients.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .map(|client| client.unwrap_or_else(|_| Err(anyhow::anyhow!("a client panicked"))))
            .collect::<Result<Vec<_>>>()
    })?;
    let samples: Vec<Sample> = samples.concat();
    assert_eq!(samples.len(), TOKENS);
    untouched(
        "tokens split at one gateway, used at the other",
        &[&first, &second],
        &samples,
    )?;
    // Each of them was another token, and arrived whole.
    let sent: HashSet<String> = shop.mint.issued().into_iter().collect();
    let arrived = shop.upstream.requests().into_iter();
    let arrived: HashSet<String> = arrived
        .filter_map(|request| {
            Some(
                request
                    .header("authorization")?
                    .strip_prefix("Bearer ")?
                    .to_owned(),
            )
        })
        .collect();
    assert_eq!(arrived.len(), count(&samples, 200));
    ensure!(arrived.is_subset(&sent), "another token arrived");
    Ok(())
}

#[test]
fn another_installation_on_the_same_redis_opens_nothing() -> Result<()> {
    let shop = Shop::start()?;
    let ours = shop.gateway()?;
    let theirs = Keyring::new()?;
    let theirs = shop.builder(shop.route()).keyring(&theirs).start()?;
    splittoken_tests::shop::connected(&theirs, splittoken_tests::wait::START)?;
    let token = Caller::of(&ours)?.issue()?;
    assert_eq!(Caller::of(&theirs)?.status(&token)?, 401);
    // Both were asked with the same token, which is good where it belongs.
    assert_eq!(Caller::of(&ours)?.status(&token)?, 200);
    assert_eq!(shop.upstream.requests().len(), 1);
    // With another pepper it has another name: nothing was found that could fail to open.
    assert_eq!(
        metric(
            &theirs,
            "splittoken_gateway_token_lookups_total{outcome=\"unknown_token\"}"
        )?,
        1
    );
    Ok(())
}

#[test]
fn another_realm_with_the_same_issuer_and_keyring_opens_nothing() -> Result<()> {
    let shop = Shop::start()?;
    let ours = shop.gateway()?;
    let named = |name: &str| String::from(shop.route()).replace("\"name\":\"shop\"", name);
    let other = named("\"name\":\"other\"");
    ensure!(other != String::from(shop.route()), "the route was not renamed");
    let theirs = shop.gateway_of(other)?;
    let token = Caller::of(&ours)?.issue()?;
    let foreign = Caller::of(&theirs)?.issue()?;
    let (mut ours, mut theirs) = (Caller::of(&ours)?, Caller::of(&theirs)?);
    assert_eq!((theirs.status(&token)?, ours.status(&foreign)?), (401, 401));
    assert_eq!((ours.status(&token)?, theirs.status(&foreign)?), (200, 200));
    assert_eq!(shop.upstream.requests().len(), 2);
    Ok(())
}

#[test]
fn many_clients_of_one_new_token_cost_one_read() -> Result<()> {
    const WAITERS: usize = 16;
    let shop = Shop::start()?;
    let first = shop.gateway()?;
    let second = shop
        .builder(shop.route())
        .arguments(&["--log-format", "json"])
        .start()?;
    splittoken_tests::shop::connected(&second, splittoken_tests::wait::START)?;
    let token = Caller::of(&first)?.issue()?;
    let callers = (0..WAITERS)
        .map(|_| Caller::of(&second))
        .collect::<Result<Vec<_>>>()?;
    let mut monitor = shop.redis.connect()?;
    monitor.command(&["MONITOR"])?;
    // Hung for a moment, so that they meet.
    shop.redis.pause()?;
    let (send, statuses) = mpsc::channel();
    for mut caller in callers {
        let (token, send) = (token.clone(), send.clone());
        thread::spawn(move || send.send(caller.status(&token)));
    }
    drop(send);
    shop.redis.resume()?;
    let statuses: Vec<u16> = statuses.into_iter().collect::<Result<_>>()?;
    let samples: Vec<Sample> = statuses
        .into_iter()
        .map(|status| Sample::of(|| Ok(status)))
        .collect();
    assert_eq!(samples.len(), WAITERS);
    untouched("many clients of one new token", &[&second], &samples)?;
    let late = WAITERS - count(&samples, 200);
    shop.redis.command(&["ECHO", "the end"])?;
    let mut reads = 0;
    while let Some(line) = monitor.receive() {
        let line = line.text();
        reads += usize::from(line.contains("\"GET\""));
        if line.contains("the end") {
            break;
        }
    }
    // A command that missed its deadline while Redis hung may be read once more. Whoever comes after one that missed both
    // asks anew.
    assert!(
        (1..=2 * (1 + late)).contains(&reads),
        "{reads} reads for {WAITERS} waiting clients, {late} of them in vain"
    );
    assert_eq!(jwt::signature(&shop.mint.jwt_of(&token)?)?, token);
    Ok(())
}
