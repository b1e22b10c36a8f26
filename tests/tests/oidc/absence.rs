//! The provider is away: no new tokens, and nobody who has one notices.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::http::Answer;
use splittoken_tests::oidc::OidcProvider;
use splittoken_tests::redis::Redis;
use splittoken_tests::restored::restored;
use splittoken_tests::route::Route;
use splittoken_tests::shop::{connected, metric};
use splittoken_tests::upstream::Upstream;
use splittoken_tests::{gateway, jwt, wait};

use super::{Front, gone};

/// A refused connection is known at once. Generous: the machine may be busy.
const SOON: Duration = Duration::from_secs(5);

/// How long a provider may take on the route of the test that lets it hang.
const LIMIT: Duration = Duration::from_secs(2);

fn later(answer: &Answer) -> Result<()> {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.member("error")?, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    Ok(())
}

#[test]
fn with_the_provider_killed_tokens_go_on_from_cache_and_store() -> Result<()> {
    let (mut provider, upstream, redis) = (OidcProvider::start()?, Upstream::start()?, Redis::start()?);
    let keyring = gateway::Keyring::new()?;
    let route = Route::new(provider.issuer(), &upstream.url());
    let start = || -> Result<Gateway> {
        let builder = Gateway::builder(route.clone()).redis(&redis).keyring(&keyring);
        let gateway = builder.start()?;
        connected(&gateway, wait::START)?;
        Ok(gateway)
    };
    let (first, second) = (start()?, start()?);
    let service = provider.service().clone();
    let issue =
        |gateway: &Gateway| gateway.token(Some(service.basic()), &[("grant_type", "client_credentials")]);
    let opaque = issue(&first)?.member("access_token")?;
    let token = restored(&first, &upstream, &opaque)?;
    assert_eq!(jwt::signature(&token)?, opaque);
    // The second one has used its keys once, with a token of its own.
    let other = issue(&second)?.member("access_token")?;
    restored(&second, &upstream, &other)?;

    provider.kill()?;
    for gateway in [&first, &second] {
        gone(|| issue(gateway))?;
        let start = Instant::now();
        later(&issue(gateway)?)?;
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    }
    // From the first one's cache, and from the store for the second, which has not seen it.
    for gateway in [&first, &second] {
        for _ in 0..2 {
            assert_eq!(restored(gateway, &upstream, &opaque)?, token);
        }
    }
    let hits = metric(
        &second,
        "splittoken_gateway_token_lookups_total{outcome=\"cache\"}",
    )?;
    assert!(hits > 0, "the second gateway's cache did not serve");
    // A wrong token is wrong all the same.
    assert_eq!(first.call("/orders", &other[1..])?.status, 401);
    Ok(())
}

/// A gateway that finds the provider's keys nowhere cannot say whether a token is good: never 401.
#[test]
fn a_gateway_started_without_the_provider_says_that_it_cannot_tell() -> Result<()> {
    let redis = Redis::start()?;
    let keyring = gateway::Keyring::new()?;
    let mut front = Front::of(|route| route, |gateway| gateway.redis(&redis).keyring(&keyring))?;
    connected(&front.gateway, wait::START)?;
    let opaque = front.service(&[])?.member("access_token")?;
    front.restores(&opaque)?;
    wait::until_true(wait::START, "the keys to be put there", || {
        redis.key_sets().is_ok_and(|sets| sets.len() == 1)
    })?;
    front.provider.kill()?;
    for (key, _) in redis.key_sets()? {
        redis.command(&["DEL", std::str::from_utf8(&key)?])?;
    }
    let route = Route::new(front.provider.issuer(), &front.upstream.url());
    let late = Gateway::builder(route).redis(&redis).keyring(&keyring).start()?;
    connected(&late, wait::START)?;
    let answer = late.call("/orders", &opaque)?;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(front.gateway.call("/orders", &opaque)?.status, 200);
    Ok(())
}

#[test]
fn a_provider_that_hangs_is_504_in_time_and_works_when_it_goes_on() -> Result<()> {
    let limit = json!({"timeouts": {"request": format!("{}s", LIMIT.as_secs())}});
    let front = Front::with(|route| route.issuer(&limit))?;
    let opaque = front.service(&[])?.member("access_token")?;
    front.provider.pause()?;
    let start = Instant::now();
    let answer = front.service(&[])?;
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert_eq!(answer.member("error")?, "temporarily_unavailable");
    assert!(start.elapsed() >= LIMIT, "{:?}", start.elapsed());
    assert!(start.elapsed() < LIMIT * 10, "{:?}", start.elapsed());
    assert_eq!(front.gateway.call("/orders", &opaque)?.status, 200);
    front.provider.resume()?;
    // It answers what it was asked meanwhile first.
    let again = wait::until(wait::START, "the provider to answer", || {
        front.service(&[]).ok().filter(|answer| answer.status == 200)
    })?;
    front.restores(&again.member("access_token")?)?;
    Ok(())
}
