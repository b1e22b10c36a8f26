//! What changes in Redis is known at every gateway at once, although all of them have it in their caches.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use splittoken_tests::caller::Caller;
use splittoken_tests::http2::Http2;
use splittoken_tests::load::quantile;
use splittoken_tests::raw::Client;
use splittoken_tests::redis::Connection;
use splittoken_tests::shop::{Shop, connected, disconnected, metric};
use splittoken_tests::stand::request;
use splittoken_tests::wait;
use splittoken_tests::websocket::{AGREED, Loud};
use splittoken_tests::wire::Step;
use splittoken_token::tombstone;

use super::{REFUSED, in_time, lookup_id, overwrite, read, refused_after};

const TOKENS: usize = 200;

/// Changes the records of many tokens, one by one, and measures until both gateways refuse.
fn measure(
    what: &str,
    shop: &Shop,
    mut change: impl FnMut(&mut Connection, &str) -> Result<()>,
) -> Result<()> {
    let (first, second) = (shop.gateway()?, shop.gateway()?);
    let mut callers = [Caller::of(&first)?, Caller::of(&second)?];
    let tokens = (0..TOKENS)
        .map(|_| callers[0].issue())
        .collect::<Result<Vec<_>>>()?;
    for caller in &mut callers {
        for token in &tokens {
            // Once to fill the cache, once from it.
            assert_eq!((in_time(caller, token)?, caller.status(token)?), (200, 200));
        }
    }
    let hits = "splittoken_gateway_token_lookups_total{outcome=\"cache\"}";
    for gateway in [&first, &second] {
        assert_eq!(
            metric(gateway, hits)?,
            TOKENS as u64,
            "they were not in the cache"
        );
    }
    let mut redis = shop.redis.connect()?;
    let mut times = Vec::new();
    for (number, token) in tokens.iter().enumerate() {
        change(&mut redis, token)?;
        let start = Instant::now();
        // In turn, so that neither always has the other's time besides.
        for index in [number % 2, (number + 1) % 2] {
            times.push(refused_after(&mut callers[index], token, start)?);
        }
    }
    report(what, &times);
    assert!(quantile(&times, 0.99) < REFUSED, "{:?}", quantile(&times, 1.0));
    // Those that nobody touched are served all the same.
    let untouched = callers[0].issue()?;
    assert_eq!(callers[1].status(&untouched)?, 200);
    Ok(())
}

fn report(what: &str, times: &[Duration]) {
    eprintln!(
        "{what}: refused on both gateways after p50 {:?}, p99 {:?}, max {:?} ({} times)",
        quantile(times, 0.5),
        quantile(times, 0.99),
        quantile(times, 1.0),
        times.len()
    );
}

#[test]
fn a_tombstone_is_obeyed_everywhere() -> Result<()> {
    let shop = Shop::start()?;
    let keyring = read(&shop.keyring)?;
    measure("a tombstone", &shop, |redis, token| {
        let id = lookup_id(&keyring, token)?;
        let end = splittoken_tests::hostile::now() + 600;
        let grave = tombstone(&keyring, keyring.write_kid(), id, end).context("no pepper")?;
        overwrite(redis, &id.redis_key(), &grave)
    })
}

#[test]
fn a_deleted_record_is_forgotten_everywhere() -> Result<()> {
    let shop = Shop::start()?;
    let keyring = read(&shop.keyring)?;
    measure("a deletion", &shop, |redis, token| {
        redis.command(&["DEL", &lookup_id(&keyring, token)?.redis_key()])?;
        Ok(())
    })
}

/// A cached token may serve while the store is away, but not one of which the store has said no before it went.
#[test]
fn what_was_found_to_be_revoked_does_not_come_back_in_an_outage() -> Result<()> {
    let mut shop = Shop::start()?;
    let gateway = shop.gateway()?;
    let mut caller = Caller::of(&gateway)?;
    let (revoked, other) = (caller.issue()?, caller.issue()?);
    assert_eq!((caller.status(&revoked)?, caller.status(&other)?), (200, 200));
    // Nobody is told of what changes now: the gateway has to ask, and finds the tombstone.
    let mut redis = shop.redis.connect()?;
    redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])?;
    let keyring = read(&shop.keyring)?;
    let id = lookup_id(&keyring, &revoked)?;
    let end = splittoken_tests::hostile::now() + 600;
    let grave = tombstone(&keyring, keyring.write_kid(), id, end).context("no pepper")?;
    overwrite(&mut redis, &id.redis_key(), &grave)?;
    refused_after(&mut caller, &revoked, Instant::now())?;
    shop.redis.kill()?;
    disconnected(&gateway, wait::START)?;
    assert_eq!(caller.status(&other)?, 200, "served stale");
    assert_eq!(caller.status(&revoked)?, 503);
    Ok(())
}

/// How long the stream of a good token lasts. Looks are two seconds apart.
const LASTS: Duration = Duration::from_secs(15);

/// Whoever is in the middle of a long answer is not there for ever.
#[test]
fn a_stream_ends_when_its_token_is_revoked() -> Result<()> {
    let shop = Shop::start()?;
    let gateway = shop.gateway()?;
    let mut caller = Caller::of(&gateway)?;
    let (revoked, other) = (caller.issue()?, caller.issue()?);
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    let end = [Step::Wait(LASTS), Step::send("0\r\n\r\n")];
    shop.upstream
        .steps([vec![Step::send(head)], end.to_vec()].concat());
    let listen = |token: &str| {
        let start = Instant::now();
        let mut client = Client::connect(gateway.address())?;
        let credential = format!("Authorization: Bearer {token}");
        client.send(request(&gateway.host(), "GET /events", &[&credential], ""))?;
        let is_whole = client.read().is_ok_and(|answer| answer.is_some());
        anyhow::Ok((start.elapsed(), is_whole))
    };
    let keyring = read(&shop.keyring)?;
    let id = lookup_id(&keyring, &revoked)?;
    let grave = tombstone(
        &keyring,
        keyring.write_kid(),
        id,
        splittoken_tests::hostile::now() + 600,
    );
    let grave = grave.context("no pepper")?;
    let mut redis = shop.redis.connect()?;
    let (ended, whole) = thread::scope(|scope| {
        let ended = scope.spawn(|| listen(&revoked));
        let whole = scope.spawn(|| listen(&other));
        // Both are in the middle of their answers.
        let begun = wait::until_true(wait::START, "both streams to begin", || {
            shop.upstream.requests().len() == 2
        });
        let buried = begun.and_then(|()| overwrite(&mut redis, &id.redis_key(), &grave));
        buried.map(|()| (ended.join(), whole.join()))
    })?;
    let (Ok(ended), Ok(whole)) = (ended, whole) else {
        anyhow::bail!("a client panicked");
    };
    let (took, is_whole) = ended?;
    eprintln!("a stream whose token was revoked ended after {took:?}");
    assert!(!is_whole && took < LASTS, "{took:?}");
    assert!(whole?.1, "the other one was cut");
    Ok(())
}

/// A tombstone stands for a token that is issued once more: with a deterministic signature that is the same token.
#[test]
fn what_is_revoked_is_not_issued_again() -> Result<()> {
    let mut shop = Shop::start()?;
    shop.mint = splittoken_tests::mint::Mint::with(splittoken_tests::jwt::Key::rs256()?)?;
    let now = splittoken_tests::hostile::now();
    shop.mint.set(splittoken_tests::mint::Terms {
        claims: serde_json::json!({"jti": "always", "sub": "always", "iat": now, "exp": now + 600}),
        ..Default::default()
    });
    let gateway = shop.gateway()?;
    let mut caller = Caller::of(&gateway)?;
    let token = caller.issue()?;
    assert_eq!(caller.issue()?, token, "the same claims are one token");
    assert_eq!(caller.status(&token)?, 200);
    let keyring = read(&shop.keyring)?;
    let id = lookup_id(&keyring, &token)?;
    let grave = tombstone(&keyring, keyring.write_kid(), id, now + 600).context("no pepper")?;
    overwrite(&mut shop.redis.connect()?, &id.redis_key(), &grave)?;
    refused_after(&mut caller, &token, Instant::now())?;
    let answer = caller.token()?;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(!answer.text().contains(&token) && !answer.text().contains("eyJ"));
    assert_eq!(caller.status(&token)?, 401);
    Ok(())
}

/// Nor on a stream that is a tunnel.
#[test]
fn a_tunnel_on_a_stream_ends_when_its_token_is_revoked() -> Result<()> {
    let (shop, loud) = (Shop::start()?, Loud::start(AGREED)?);
    let rule = json!({"upgrades": ["websocket"], "backendRefs": [{"url": loud.url()}]});
    let route = shop.route().rule(&rule);
    let gateway = shop.builder(route).arguments(&["--http2-cleartext"]).start()?;
    connected(&gateway, wait::START)?;
    let mut caller = Caller::of(&gateway)?;
    let (revoked, other) = (caller.issue()?, caller.issue()?);
    let mut client = Http2::connect(gateway.address())?;
    let target = format!("http://{}/ws", gateway.host());
    let (mut ending, mut staying) = (client.tunnel(&target, &revoked)?, client.tunnel(&target, &other)?);
    let keyring = read(&shop.keyring)?;
    let id = lookup_id(&keyring, &revoked)?;
    let end = splittoken_tests::hostile::now() + 600;
    let grave = tombstone(&keyring, keyring.write_kid(), id, end).context("no pepper")?;
    overwrite(&mut shop.redis.connect()?, &id.redis_key(), &grave)?;
    let start = Instant::now();
    ending.rest(Duration::from_secs(12))?;
    eprintln!(
        "a tunnel whose token was revoked ended after {:?}",
        start.elapsed()
    );
    staying.write(b"still here")?;
    assert_eq!(staying.read(10)?, b"STILL HERE");
    Ok(())
}
