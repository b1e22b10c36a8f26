//! A provider changes its keys under load.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::caller::Caller;
use splittoken_tests::http2::Http2;
use splittoken_tests::jwt::Key;
use splittoken_tests::mint::Terms;
use splittoken_tests::shop::{Shop, connected, metric};
use splittoken_tests::traffic::{Traffic, known_to_all};
use splittoken_tests::wait;
use splittoken_tests::websocket::{AGREED, Loud};

/// How long a gateway serves a token from its cache without looking at it again.
const CACHED: Duration = Duration::from_secs(30);

/// Between two rotations.
const APART: Duration = Duration::from_secs(4);

/// Ten times the keys' interval on the route of the test that waits for it.
const NOTICED: Duration = Duration::from_secs(10);

/// Promised: 0 × 401. The new key is used from the moment in which it is published.
#[test]
fn rotations_under_load_fail_nobody_while_the_old_keys_stay_published() -> Result<()> {
    let shop = Shop::start()?;
    // The last one issues nothing: it gets to know every new key by tokens of the others.
    let (first, second, third) = (shop.gateway()?, shop.gateway()?, shop.gateway()?);
    let gateways = [&first, &second, &third];
    let tokens = known_to_all(&gateways, 50, Caller::of)?;
    let traffic = Traffic::start(&gateways[..2], &gateways, &tokens, Caller::of)?;
    thread::sleep(APART);
    let begun = Instant::now();
    let keys = [
        Key::rs256()?,
        Key::eddsa()?,
        Key::ps256()?,
        Key::es256()?,
        Key::es256()?,
    ];
    let rotations = keys.len();
    for (number, key) in keys.into_iter().enumerate() {
        // The last ones while the provider takes its time.
        if number == rotations / 2 {
            shop.mint.set(Terms {
                keys_delay: Duration::from_millis(500),
                ..Terms::default()
            });
        }
        shop.mint.rotate(key);
        thread::sleep(APART);
    }
    // Until every cached token was looked at again.
    thread::sleep((CACHED + APART).saturating_sub(begun.elapsed()));
    let fetches = shop.mint.requests("/jwks").len();
    eprintln!("{rotations} rotations, 3 gateways: the keys were fetched {fetches} times");
    traffic.untouched(&gateways)?;
    // At its start, and once for each new key.
    ensure!(fetches <= 3 * (1 + rotations), "{fetches} fetches");
    Ok(())
}

/// Tokens of the key that is gone are void, on every gateway, cached or not. Nobody else notices.
#[test]
fn a_withdrawn_key_ends_its_tokens_and_no_others() -> Result<()> {
    let shop = Shop::start()?;
    let jwks = json!({"jwks": {"refreshInterval": "1s", "minRefreshInterval": "1s"}});
    let route = shop.route().issuer(&jwks);
    let (first, second) = (shop.gateway_of(route.clone())?, shop.gateway_of(route)?);
    let gateways = [&first, &second];
    let old = known_to_all(&gateways, 20, Caller::of)?;
    let old_uncached = Caller::of(&first)?.issue()?;
    shop.mint.rotate(Key::es256()?);
    let new = known_to_all(&gateways, 50, Caller::of)?;
    let traffic = Traffic::start(&gateways, &gateways, &new, Caller::of)?;
    thread::sleep(APART);

    shop.mint.withdraw_old_keys();
    let withdrawn = Instant::now();
    for gateway in gateways {
        let mut caller = Caller::of(gateway)?;
        wait::until_true(NOTICED, "the old key's tokens to be refused", || {
            caller.status(&old[0]).is_ok_and(|status| status == 401)
        })?;
        eprintln!("withdrawn: refused after {:?}", withdrawn.elapsed());
        for token in old.iter().chain([&old_uncached]) {
            let answer = caller.api(token)?;
            ensure!(answer.status == 401, "{}", answer.status);
            let challenge = answer.header("www-authenticate").context("no challenge")?;
            ensure!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        }
    }
    thread::sleep(APART);
    traffic.untouched(&gateways)
}

/// Whoever watches over a tunnel asks those who vouch for its token now, and not those who did when it began.
#[test]
fn a_tunnel_ends_with_its_token_s_key_although_its_issuer_was_edited() -> Result<()> {
    let (shop, loud) = (Shop::start()?, Loud::start(AGREED)?);
    let rule = json!({"upgrades": ["websocket"], "backendRefs": [{"url": loud.url()}]});
    let route = |interval: &str| {
        let jwks = json!({"jwks": {"refreshInterval": interval, "minRefreshInterval": "1s"}});
        shop.route().issuer(&jwks).rule(&rule)
    };
    let gateway = shop
        .builder(route("1s"))
        .arguments(&["--http2-cleartext"])
        .start()?;
    connected(&gateway, wait::START)?;
    let token = Caller::of(&gateway)?.issue()?;
    let mut client = Http2::connect(gateway.address())?;
    let mut tunnel = client.tunnel(&format!("http://{}/ws", gateway.host()), &token)?;
    let generation = metric(&gateway, "splittoken_gateway_config_generation")?;
    gateway.write_routes(&String::from(route("2s")))?;
    wait::until_true(NOTICED, "the edited issuer to be in force", || {
        let now = metric(&gateway, "splittoken_gateway_config_generation");
        now.is_ok_and(|now| now > generation)
    })?;
    // Two looks of its guard.
    thread::sleep(APART);
    tunnel.write(b"still here")?;
    assert_eq!(tunnel.read(10)?, b"STILL HERE");

    shop.mint.rotate(Key::es256()?);
    shop.mint.withdraw_old_keys();
    let withdrawn = Instant::now();
    tunnel.rest(NOTICED * 4)?;
    eprintln!("withdrawn: a tunnel ended after {:?}", withdrawn.elapsed());
    Ok(())
}

/// Looking for a key that is gone would be in vain: its tokens cost the provider nothing.
#[test]
fn tokens_of_a_withdrawn_key_make_nobody_look_for_it() -> Result<()> {
    let shop = Shop::start()?;
    let gateway = shop.gateway()?;
    let old = known_to_all(&[&gateway], 20, Caller::of)?;
    shop.mint.rotate(Key::es256()?);
    shop.mint.withdraw_old_keys();
    let mut caller = Caller::of(&gateway)?;
    let new = caller.issue()?;
    let fetches = shop.mint.requests("/jwks").len();
    for token in old.iter().cycle().take(1000) {
        ensure!(caller.status(token)? == 401);
    }
    ensure!(caller.status(&new)? == 200);
    ensure!(
        shop.mint.requests("/jwks").len() == fetches && fetches == 2,
        "{fetches}"
    );
    Ok(())
}
