//! A keyring of two peppers: the one that is written and the one that goes.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use splittoken_tests::caller::Caller;
use splittoken_tests::hostile::now;
use splittoken_tests::shop::Shop;
use splittoken_tests::wait;
use splittoken_token::{Keyring, LookupId, Opaque, Realm, Use, derive_keys, tombstone};

use super::{in_time, read};

/// Ten times the two seconds between two looks at the file.
const TAKEN_OVER: Duration = Duration::from_secs(20);

/// The shop's keyring with a second pepper, and `write` to write with.
fn write_with(shop: &Shop, write: u8) -> Result<Keyring> {
    let path = shop.keyring.path();
    let mut file: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    if file["keys"].get("2").is_none() {
        let other: Value = serde_json::from_str(&Keyring::generate()?.to_file())?;
        file["keys"]["2"] = other["keys"]["1"].clone();
    }
    file["write"] = json!(write);
    fs::write(path, file.to_string())?;
    read(&shop.keyring)
}

fn name(keyring: &Keyring, kid: u8, token: &str) -> Result<LookupId> {
    let realm = Realm::of("SplitTokenRoute", "default", "shop");
    let keys = derive_keys(keyring, kid, &realm, Use::Access, &Opaque::parse(token)?);
    Ok(keys.context("no such pepper")?.lookup_id())
}

#[test]
fn tokens_of_both_peppers_are_served_and_new_ones_are_of_the_one_to_write_with() -> Result<()> {
    let shop = Shop::start()?;
    let old = {
        write_with(&shop, 1)?;
        Caller::of(&shop.gateway()?)?.issue()?
    };
    let keyring = write_with(&shop, 2)?;
    let gateway = shop.gateway()?;
    let mut caller = Caller::of(&gateway)?;
    let new = caller.issue()?;
    assert_eq!((caller.status(&old)?, caller.status(&new)?), (200, 200));
    let mut redis = shop.redis.connect()?;
    for (token, kid, there) in [(&old, 1, "1"), (&old, 2, "0"), (&new, 1, "0"), (&new, 2, "1")] {
        let key = name(&keyring, kid, token)?.redis_key();
        assert_eq!(redis.command(&["EXISTS", &key])?.text(), there, "{kid}");
    }
    Ok(())
}

/// As a mounted Secret changes: a key comes, is written, and nobody is logged out. What is no keyring changes nothing.
#[test]
fn a_keyring_that_changes_under_a_running_gateway_counts_from_then_on() -> Result<()> {
    let shop = Shop::start()?;
    let gateway = shop.gateway()?;
    let mut caller = Caller::of(&gateway)?;
    let old = caller.issue()?;
    let says = |write: u8, ids: Value| {
        wait::until_true(TAKEN_OVER, &format!("the keyring {ids} to be known"), || {
            let config = gateway.admin("/config").and_then(|answer| answer.json());
            config.is_ok_and(|config| config["keyring"] == json!({"write": write, "ids": ids}))
        })
    };
    write_with(&shop, 1)?;
    says(1, json!([1, 2]))?;
    let keyring = write_with(&shop, 2)?;
    says(2, json!([1, 2]))?;
    let new = caller.issue()?;
    let key = name(&keyring, 2, &new)?.redis_key();
    assert_eq!(shop.redis.command(&["EXISTS", &key])?.text(), "1");
    assert_eq!((caller.status(&old)?, caller.status(&new)?), (200, 200));

    fs::write(shop.keyring.path(), "no keyring")?;
    wait::until_true(TAKEN_OVER, "a word about the keyring", || {
        String::from_utf8_lossy(&gateway.output()).contains("the keyring stays as it was")
    })?;
    let newest = caller.issue()?;
    assert_eq!(caller.status(&newest)?, 200);
    says(2, json!([1, 2]))
}

/// Some providers give one token many times: revoked under the old pepper, it may be stored again under the new one.
#[test]
fn a_tombstone_of_either_pepper_counts() -> Result<()> {
    for (write, buried) in [(1, 2), (2, 1)] {
        let shop = Shop::start()?;
        let keyring = write_with(&shop, write)?;
        let gateway = shop.gateway()?;
        let mut caller = Caller::of(&gateway)?;
        let token = caller.issue()?;
        let id = name(&keyring, buried, &token)?;
        let grave = tombstone(&keyring, buried, id, now() + 600).context("no such pepper")?;
        let mut redis = shop.redis.connect()?;
        redis.command_bytes(&[b"SET", id.redis_key().as_bytes(), &grave, b"EX", b"600"])?;
        assert_eq!(
            in_time(&mut caller, &token)?,
            401,
            "live under {write}, buried under {buried}"
        );
    }
    Ok(())
}
