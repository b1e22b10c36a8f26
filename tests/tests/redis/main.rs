//! Gateways that share a real Redis: what one stores the other restores, and nobody else.

mod access;
mod invalidation;
mod keys;
mod peppers;
mod records;
mod sharing;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::caller::Caller;
use splittoken_tests::redis::Connection;
use splittoken_token::{Keyring, LookupId, Opaque, Realm, Use, derive_keys};

/// Ten times the promise that what is revoked on one gateway is refused on another within 50 ms.
const REFUSED: Duration = Duration::from_millis(500);

/// Where the record of a token lies, worked out as the gateway does: for the route `default/shop` with its own issuer.
fn lookup_id(keyring: &Keyring, token: &str) -> Result<LookupId> {
    let realm = Realm::of("SplitTokenRoute", "default", "shop");
    let keys = derive_keys(
        keyring,
        keyring.write_kid(),
        &realm,
        Use::Access,
        &Opaque::parse(token)?,
    );
    Ok(keys.context("no such pepper")?.lookup_id())
}

/// A test's keyring, read.
fn read(keyring: &splittoken_tests::gateway::Keyring) -> Result<Keyring> {
    Ok(Keyring::parse(&std::fs::read_to_string(keyring.path())?)?)
}

/// Overwrites a record, which keeps its time to live.
fn overwrite(redis: &mut Connection, key: &str, record: &[u8]) -> Result<()> {
    redis.command_bytes(&[b"SET", key.as_bytes(), record, b"XX", b"KEEPTTL"])?;
    Ok(())
}

/// Calls with `token` until it is refused; how long that took since `start`.
fn refused_after(caller: &mut Caller, token: &str, start: Instant) -> Result<Duration> {
    // Far beyond the bound, so that a test says by how much it was missed.
    let limit = REFUSED * 20;
    loop {
        let status = caller.status(token)?;
        let took = start.elapsed();
        match status {
            401 => return Ok(took),
            // The gateway has heard of it, and on a busy machine Redis may be late with what it is.
            200 | 503 => ensure!(took < limit, "not refused after {took:?}"),
            other => anyhow::bail!("neither served nor refused: {other}"),
        }
    }
}
