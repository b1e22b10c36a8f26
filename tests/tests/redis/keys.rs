//! A gateway that starts while the provider is down finds its keys in Redis, where another one has put them.

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::caller::Caller;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::hostile;
use splittoken_tests::shop::{Shop, connected};
use splittoken_tests::wait;
use splittoken_token::{Keyring, seal_key_set};

/// A token of a gateway that has put its keys there, and the shop without its provider.
fn deserted() -> Result<(Shop, String)> {
    let shop = Shop::start()?;
    let gateway = shop.gateway()?;
    let mut caller = Caller::of(&gateway)?;
    let token = caller.issue()?;
    ensure!(caller.status(&token)? == 200, "not served");
    wait::until_true(wait::START, "the keys to be put there", || {
        shop.redis.key_sets().is_ok_and(|sets| sets.len() == 1)
    })?;
    shop.mint.fail();
    Ok((shop, token))
}

/// A gateway that has never seen the provider, and what it says to a token.
fn newcomer(shop: &Shop, token: &str) -> Result<(Gateway, u16)> {
    let gateway = shop.gateway()?;
    connected(&gateway, wait::START)?;
    let status = Caller::of(&gateway)?.status(token)?;
    Ok((gateway, status))
}

/// The one key set that lies there.
fn only(shop: &Shop) -> Result<(String, Vec<u8>)> {
    let (key, value) = shop.redis.key_sets()?.pop().context("no keys there")?;
    Ok((String::from_utf8(key)?, value))
}

#[test]
fn a_gateway_that_starts_while_the_provider_is_down_serves_the_tokens_that_there_are() -> Result<()> {
    let (shop, token) = deserted()?;
    let (gateway, status) = newcomer(&shop, &token)?;
    assert_eq!(status, 200);
    let config = gateway.admin("/config")?.text();
    ensure!(
        config.contains("\"ok\": false"),
        "the provider is not said to be away: {config}"
    );
    // Without them, nothing can be said of the token: that is no reason to refuse it.
    shop.redis.command(&["DEL", &only(&shop)?.0])?;
    assert_eq!(newcomer(&shop, &token)?.1, 503);
    Ok(())
}

/// Whoever can write to Redis cannot vouch for tokens.
#[test]
fn keys_that_somebody_else_put_there_are_worth_nothing() -> Result<()> {
    let (shop, token) = deserted()?;
    let (key, value) = only(&shop)?;
    let mut redis = shop.redis.connect()?;
    let mut put = |value: &[u8]| redis.command_bytes(&[b"SET", key.as_bytes(), value]).map(drop);
    let mut changed = value.clone();
    *changed.last_mut().context("empty")? ^= 1;
    let stranger = Keyring::generate()?;
    let (_, foreign) = seal_key_set(&stranger, stranger.write_kid(), "a source", hostile::now(), b"{}")?;
    for (what, record) in [
        ("a changed one", &changed[..]),
        ("a stranger's", &foreign),
        ("half of one", &value[..40]),
    ] {
        put(record)?;
        let (gateway, status) = newcomer(&shop, &token)?;
        assert_eq!(status, 503, "{what}");
        wait::until_true(wait::START, &format!("a word about {what}"), || {
            String::from_utf8_lossy(&gateway.output()).contains("keys in the store cannot be used")
        })?;
    }
    put(&value)?;
    assert_eq!(newcomer(&shop, &token)?.1, 200);
    Ok(())
}
