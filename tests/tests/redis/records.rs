//! What lies in Redis, for how long, and what happens to a gateway that finds something else there.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::caller::Caller;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::hostile::now;
use splittoken_tests::jwt;
use splittoken_tests::mint::Terms;
use splittoken_tests::redis::Connection;
use splittoken_tests::shop::{Shop, metric};
use splittoken_tests::wait;
use splittoken_token::{Live, Meta, Opaque, Realm, Use, derive_keys, open, seal};

use super::{lookup_id, overwrite, read};

/// A token that is live at a gateway, and where its record lies.
struct Live1 {
    token: String,
    key: String,
    record: Vec<u8>,
}

fn live(shop: &Shop, redis: &mut Connection, caller: &mut Caller) -> Result<Live1> {
    let token = caller.issue()?;
    ensure!(caller.status(&token)? == 200, "a new token is not served");
    let key = lookup_id(&read(&shop.keyring)?, &token)?.redis_key();
    let record = redis.command(&["GET", &key])?.bytes();
    ensure!(!record.is_empty(), "no record at {key}");
    Ok(Live1 { token, key, record })
}

fn alarms(gateway: &Gateway, reason: &str) -> Result<u64> {
    metric(
        gateway,
        &format!("splittoken_gateway_alarms_total{{reason=\"{reason}\"}}"),
    )
}

/// Waits until the gateway has heard of the change and refuses.
fn refused(caller: &mut Caller, token: &str, what: &str) -> Result<()> {
    wait::until_true(wait::START, what, || {
        caller.status(token).is_ok_and(|status| status == 401)
    })
}

/// Waits until the gateway has heard of the change and serves.
fn served(caller: &mut Caller, token: &str, what: &str) -> Result<()> {
    wait::until_true(wait::START, what, || {
        caller.status(token).is_ok_and(|status| status == 200)
    })
}

#[test]
fn a_record_lives_exactly_as_long_as_its_token() -> Result<()> {
    let shop = Shop::start()?;
    let gateway = shop.gateway()?;
    let capped = shop.gateway_of(shop.route().issuer(&json!({"lifetime": {"max": "90s"}})))?;
    let (mut redis, keyring) = (shop.redis.connect()?, read(&shop.keyring)?);
    let ends = |redis: &mut Connection, token: &str| -> Result<u64> {
        let key = lookup_id(&keyring, token)?.redis_key();
        let milliseconds: u64 = redis.command(&["PEXPIRETIME", &key])?.text().parse()?;
        ensure!(
            milliseconds.is_multiple_of(1000),
            "not a whole second: {milliseconds}"
        );
        Ok(milliseconds / 1000)
    };
    let exp = |token: &str| -> Result<u64> {
        let claims = jwt::claims(&shop.mint.jwt_of(token)?)?;
        claims["exp"].as_u64().context("no exp")
    };
    // As long as `exp` and `expires_in` say, which is the same here; a second may begin in between.
    let token = Caller::of(&gateway)?.issue()?;
    let (end, exp_claim) = (ends(&mut redis, &token)?, exp(&token)?);
    assert!(
        (exp_claim..=exp_claim + 1).contains(&end),
        "{end} for exp {exp_claim}"
    );
    let left: u64 = redis
        .command(&["PTTL", &lookup_id(&keyring, &token)?.redis_key()])?
        .text()
        .parse()?;
    assert!(
        (540_000..=601_000).contains(&left),
        "{left} ms left of ten minutes"
    );
    // A shorter `expires_in` wins.
    shop.mint.set(Terms {
        members: json!({"expires_in": 60}),
        ..Terms::default()
    });
    let before = now();
    let token = Caller::of(&gateway)?.issue()?;
    let end = ends(&mut redis, &token)?;
    assert!((before + 60..=now() + 60).contains(&end), "{end}, at {before}");
    assert!(end < exp(&token)?);
    // So does the cap, and the client hears of it.
    shop.mint.set(Terms::default());
    let before = now();
    let answer = Caller::of(&capped)?.token()?.json()?;
    assert_eq!(answer["expires_in"], 90);
    let token = answer["access_token"].as_str().context("no token")?;
    let end = ends(&mut redis, token)?;
    assert!((before + 90..=now() + 90).contains(&end), "{end}, at {before}");
    Ok(())
}

/// Time passes while an answer travels; a client that gets other numbers than its provider's gets another answer.
#[test]
fn expires_in_is_the_provider_s_own_unless_the_cap_is_shorter() -> Result<()> {
    let shop = Shop::start()?;
    let gateway = shop.gateway()?;
    shop.mint.set(Terms {
        delay: Duration::from_millis(1200),
        ..Terms::default()
    });
    let answer = Caller::of(&gateway)?.token()?.json()?;
    assert_eq!(answer["expires_in"], 600);
    // The record ends with the token all the same.
    let token = answer["access_token"].as_str().context("no token")?;
    let key = lookup_id(&read(&shop.keyring)?, token)?.redis_key();
    let end = shop.redis.command(&["PEXPIRETIME", &key])?.text();
    let exp = &jwt::claims(&shop.mint.jwt_of(token)?)?["exp"];
    assert_eq!(end, format!("{exp}000"));
    Ok(())
}

#[test]
fn an_expired_token_is_refused_although_it_was_cached_and_leaves_nothing() -> Result<()> {
    let shop = Shop::start()?;
    let gateway = shop.gateway()?;
    // Long enough for a busy machine to use it once.
    shop.mint.set(Terms {
        life: 8,
        ..Terms::default()
    });
    let mut caller = Caller::of(&gateway)?;
    let token = caller.issue()?;
    assert_eq!(caller.status(&token)?, 200);
    refused(&mut caller, &token, "an expired token to be refused")?;
    let exp = jwt::claims(&shop.mint.jwt_of(&token)?)?["exp"].as_u64();
    assert!(exp.is_some_and(|exp| now() >= exp), "refused before its end");
    // The record may end a moment after its token.
    wait::until_true(wait::START, "nothing to be left", || {
        shop.redis.dump().is_ok_and(|keys| keys.is_empty())
    })
}

#[test]
fn a_record_altered_in_any_part_is_refused_and_alarms() -> Result<()> {
    let shop = Shop::start()?;
    let gateway = shop.gateway()?;
    let (mut redis, mut caller) = (shop.redis.connect()?, Caller::of(&gateway)?);
    let Live1 { token, key, record } = live(&shop, &mut redis, &mut caller)?;
    let last = record.len() - 1;
    // Version, pepper, kind, flags; nonce; ciphertext; tag.
    let parts = [
        (0, "record_unknown"),
        (1, "record_other_pepper"),
        (2, "record_unknown"),
        (3, "record_unknown"),
        (4, "record_seal"),
        (15, "record_seal"),
        (16, "record_seal"),
        (last / 2, "record_seal"),
        (last - 15, "record_seal"),
        (last, "record_seal"),
    ];
    for (position, reason) in parts {
        let before = alarms(&gateway, reason)?;
        let mut altered = record.clone();
        altered[position] ^= 0x80;
        overwrite(&mut redis, &key, &altered)?;
        refused(&mut caller, &token, &format!("a change of byte {position}"))?;
        assert!(
            alarms(&gateway, reason)? > before,
            "no alarm {reason} for byte {position}"
        );
        overwrite(&mut redis, &key, &record)?;
        served(&mut caller, &token, "the record as it was")?;
    }
    for length in [0, 3, 4, 19, 31, 32, last] {
        overwrite(&mut redis, &key, &record[..length])?;
        refused(&mut caller, &token, &format!("a record cut at {length}"))?;
    }
    overwrite(&mut redis, &key, &[record.as_slice(), b"\0"].concat())?;
    refused(&mut caller, &token, "a record with one byte more")?;
    Ok(())
}

#[test]
fn a_record_moved_to_another_token_s_place_is_refused_and_alarms() -> Result<()> {
    let shop = Shop::start()?;
    let gateway = shop.gateway()?;
    let (mut redis, mut caller) = (shop.redis.connect()?, Caller::of(&gateway)?);
    let (mallory, admin) = (
        live(&shop, &mut redis, &mut caller)?,
        live(&shop, &mut redis, &mut caller)?,
    );
    shop.upstream.take();
    overwrite(&mut redis, &mallory.key, &admin.record)?;
    refused(&mut caller, &mallory.token, "a moved record")?;
    assert!(alarms(&gateway, "record_seal")? > 0);
    let admin_jwt = format!("Bearer {}", shop.mint.jwt_of(&admin.token)?);
    let seen = shop.upstream.take();
    assert!(
        seen.iter()
            .all(|request| request.header("authorization").as_ref() != Some(&admin_jwt)),
        "the upstream saw another identity"
    );
    Ok(())
}

/// Whoever writes to Redis, and even knows how records are made, lacks the pepper.
#[test]
fn a_record_planted_without_the_pepper_is_refused_and_alarms() -> Result<()> {
    let shop = Shop::start()?;
    let gateway = shop.gateway()?;
    let (mut redis, mut caller) = (shop.redis.connect()?, Caller::of(&gateway)?);
    let target = live(&shop, &mut redis, &mut caller)?;
    let jwt = shop.mint.jwt_of(&target.token)?;
    let signing_input = jwt.rsplit_once('.').context("not a JWT")?.0.to_owned();
    let stranger = splittoken_token::Keyring::generate()?;
    let realm = Realm::of("SplitTokenRoute", "default", "shop");
    let opaque = Opaque::parse(&target.token)?;
    let content = Live {
        stored_at_ms: 0,
        expires_at: now() + 600,
        meta: Meta::default(),
        signing_input: signing_input.into(),
    };
    let planted = |keyring| -> Result<Vec<u8>> {
        let keys = derive_keys(keyring, 1, &realm, Use::Access, &opaque).context("no pepper 1")?;
        Ok(seal(&keys, &content)?)
    };
    overwrite(&mut redis, &target.key, &planted(&stranger)?)?;
    refused(&mut caller, &target.token, "a planted record")?;
    assert!(alarms(&gateway, "record_seal")? > 0);
    // With the pepper the same record opens: it was refused for that reason and no other.
    let ours = read(&shop.keyring)?;
    let keys = derive_keys(&ours, 1, &realm, Use::Access, &opaque).context("no pepper 1")?;
    assert!(open(&ours, &keys, &planted(&ours)?).is_ok());
    overwrite(&mut redis, &target.key, &planted(&ours)?)?;
    served(&mut caller, &target.token, "a record of our own making")
}
