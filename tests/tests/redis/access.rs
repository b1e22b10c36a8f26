//! How the gateway reaches its Redis: TLS, an ACL user that may do no more than it must, and a password that changes.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use splittoken_tests::caller::Caller;
use splittoken_tests::certs::Authority;
use splittoken_tests::gateway;
use splittoken_tests::load::{Load, count};
use splittoken_tests::redis::{Connection, DOCUMENTED_ACL, Redis, Reply};
use splittoken_tests::shop::{Shop, connected};
use splittoken_tests::{secret, wait};

/// Ten times the promise that everything works again within 2 s.
const RECOVERY: Duration = Duration::from_secs(20);

#[test]
fn the_minimal_user_is_enough_over_tls_with_a_private_authority() -> Result<()> {
    let shop = Shop::with(Redis::builder().tls().acl(&DOCUMENTED_ACL).start()?)?;
    let gateway = || -> Result<_> {
        let builder = gateway::Gateway::builder(shop.route()).keyring(&shop.keyring);
        let gateway = builder.redis_tls(&shop.redis)?.start()?;
        connected(&gateway, wait::START)?;
        Ok(gateway)
    };
    let (first, second) = (gateway()?, gateway()?);
    let token = Caller::of(&first)?.issue()?;
    let (mut first, mut second) = (Caller::of(&first)?, Caller::of(&second)?);
    assert_eq!((first.status(&token)?, second.status(&token)?), (200, 200));
    // Tracked invalidation works under these rules too: both have it in their caches now.
    let start = Instant::now();
    let keys = shop.redis.dump()?;
    assert_eq!(keys.len(), 1);
    shop.redis
        .command(&["DEL", std::str::from_utf8(&keys[0].0).context("an odd key")?])?;
    for caller in [&mut first, &mut second] {
        assert!(super::refused_after(caller, &token, start)? < super::REFUSED);
    }
    // Nothing that it asked for was denied.
    let log = shop.redis.command(&["ACL", "LOG"])?.items();
    assert_eq!(log, [], "the user was denied something");
    Ok(())
}

#[test]
fn a_redis_with_another_authority_s_certificate_is_not_spoken_to() -> Result<()> {
    let shop = Shop::with(Redis::builder().tls().start()?)?;
    let folder = tempfile::tempdir()?;
    let stranger = Authority::new()?.write(folder.path())?;
    let gateway = gateway::Gateway::builder(shop.route())
        .keyring(&shop.keyring)
        .redis_tls(&shop.redis)?;
    // The builder has named the right authority already; a file in its place is the simplest way to a wrong one.
    fs::copy(stranger, shop.redis.ca_file())?;
    let gateway = gateway.start()?;
    wait::until_true(wait::START, "the log to say why", || {
        String::from_utf8_lossy(&gateway.output()).contains("TLS handshake failed")
    })?;
    let answer = Caller::of(&gateway)?.token()?;
    assert_eq!((answer.status, shop.mint.asked()), (503, 0));
    Ok(())
}

/// Waits for one connection of each worker, and one for the keys of issuers.
fn all_logged_in(redis: &mut Connection) -> Result<()> {
    wait::until_true(RECOVERY, "all connections to be logged in", || {
        let list = redis.command(&["CLIENT", "LIST"]).map(Reply::text);
        list.is_ok_and(|list| list.lines().filter(|line| line.contains("user=gateway")).count() == 3)
    })
}

#[test]
fn a_password_can_be_changed_while_clients_are_served() -> Result<()> {
    let shop = Shop::with(Redis::builder().acl(&DOCUMENTED_ACL).start()?)?;
    let gateway = shop.gateway()?;
    let tokens = {
        let mut caller = Caller::of(&gateway)?;
        let tokens = (0..20).map(|_| caller.issue()).collect::<Result<Vec<_>>>()?;
        for token in &tokens {
            assert_eq!(caller.status(token)?, 200);
        }
        tokens
    };
    let load = Load::start(&gateway, vec![tokens.clone(), tokens])?;
    let mut redis = shop.redis.connect()?;
    let old = shop.redis.user().context("no user")?.password.clone();
    let new = secret::text();
    // As an administrator does it: allow the new one, hand it out, take the old one away.
    redis.command(&["ACL", "SETUSER", "gateway", &format!(">{new}")])?;
    fs::write(shop.redis.password_file(), format!("{new}\n"))?;
    redis.command(&["ACL", "SETUSER", "gateway", &format!("<{old}")])?;
    all_logged_in(&mut redis)?;
    let killed = redis.command(&["CLIENT", "KILL", "USER", "gateway"])?.text();
    assert_eq!(killed, "3");
    let start = Instant::now();
    all_logged_in(&mut redis)?;
    connected(&gateway, RECOVERY)?;
    eprintln!("logged in with the new password after {:?}", start.elapsed());
    Caller::of(&gateway)?.issue()?;
    let samples = load.finish();
    assert_eq!(
        count(&samples, 200),
        samples.len(),
        "a client noticed: {samples:?}"
    );
    Ok(())
}

#[test]
fn a_wrong_password_is_503_and_is_not_in_the_log() -> Result<()> {
    let shop = Shop::with(Redis::builder().acl(&DOCUMENTED_ACL).start()?)?;
    let wrong = secret::text();
    fs::write(shop.redis.password_file(), &wrong)?;
    let gateway = shop.builder(shop.route()).log("trace").start()?;
    wait::until_true(wait::START, "the log to say why", || {
        String::from_utf8_lossy(&gateway.output()).contains("the store denies access")
    })?;
    let answer = Caller::of(&gateway)?.token()?;
    assert_eq!((answer.status, shop.mint.asked()), (503, 0));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(
        !String::from_utf8_lossy(&gateway.output()).contains(&wrong),
        "the log holds the password"
    );
    Ok(())
}
