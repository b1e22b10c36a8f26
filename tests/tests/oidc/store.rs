//! With a real Redis: what one gateway issued another restores, and nothing of it can be read in between.

use anyhow::{Result, ensure};
use splittoken_tests::gateway::{Gateway, Keyring};
use splittoken_tests::jwt;
use splittoken_tests::marks::Marks;
use splittoken_tests::redis::Redis;
use splittoken_tests::restored::restored;
use splittoken_tests::route::Route;
use splittoken_tests::shop::connected;
use splittoken_tests::wait;

use super::{Front, refresh_form};

#[test]
fn a_login_on_one_gateway_is_good_on_another_and_redis_shows_nothing_of_it() -> Result<()> {
    let (redis, keyring) = (Redis::start()?, Keyring::new()?);
    let front = Front::of(|route| route, |gateway| gateway.redis(&redis).keyring(&keyring))?;
    let route = Route::new(front.provider.issuer(), &front.upstream.url());
    let other = Gateway::builder(route).redis(&redis).keyring(&keyring).start()?;
    for gateway in [&front.gateway, &other] {
        connected(gateway, wait::START)?;
    }
    let first = front.log_in(|form| front.through(form))?;
    let refreshed = other.token(
        Some(front.provider.web().basic()),
        &refresh_form(&first.member("refresh_token")?),
    )?;
    let mut marks = Marks::new();
    for answer in [&first, &refreshed] {
        let opaque = answer.member("access_token")?;
        let token = front.restores(&opaque)?;
        assert_eq!(restored(&other, &front.upstream, &opaque)?, token);
        marks.add_jwt("an access token", &token);
        marks.add_jwt("an ID token", &answer.member("id_token")?);
        marks.add("a refresh token", answer.member("refresh_token")?);
        marks.add("claims", jwt::claims(&token)?.to_string());
    }
    let dump = redis.dump()?;
    assert_eq!(dump.len(), 2, "a record for each access token and nothing else");
    assert_eq!(found(&marks, &redis)?, Vec::<String>::new());
    // The search is not blind.
    redis.command(&["SET", "control", &refreshed.member("refresh_token")?])?;
    ensure!(!found(&marks, &redis)?.is_empty(), "the search is blind");
    Ok(())
}

fn found(marks: &Marks, redis: &Redis) -> Result<Vec<String>> {
    let dump = redis.dump()?.into_iter().flat_map(|(key, value)| [key, value]);
    Ok(marks.found_in(&dump.collect::<Vec<_>>().join(&b'\n')))
}
