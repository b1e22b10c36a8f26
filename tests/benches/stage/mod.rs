//! What both benchmarks are played on: a shop whose tokens are of the usual size, and a gateway in front of an API.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::json;
use splittoken_tests::caller::Caller;
use splittoken_tests::gateway::{Builder, Gateway, Keyring};
use splittoken_tests::jwt::Key;
use splittoken_tests::mint::{Mint, Terms};
use splittoken_tests::redis::Redis;
use splittoken_tests::route::Route;
use splittoken_tests::shop::Shop;
use splittoken_tests::upstream::Upstream;

/// How much beside the usual claims makes a token of 1.2 KB.
const MORE_CLAIMS: usize = 560;

/// How many bytes the API answers with.
pub(crate) const ANSWER: usize = 1024;

pub(crate) fn shop() -> Result<Shop> {
    let shop = Shop {
        mint: Mint::with(Key::rs256()?)?,
        upstream: Upstream::start()?,
        redis: Redis::start()?,
        keyring: Keyring::new()?,
    };
    shop.mint.set(Terms {
        life: 3600,
        claims: json!({"scope": "orders:read", "aud": "urn:shop", "more": "x".repeat(MORE_CLAIMS)}),
        ..Terms::default()
    });
    Ok(shop)
}

pub(crate) fn gateway(shop: &Shop, upstream: SocketAddr) -> Builder {
    let route = Route::new(&shop.mint.issuer(), &format!("http://{upstream}"));
    shop.builder(route)
}

pub(crate) fn issue(gateway: &Gateway, number: usize) -> Result<Vec<String>> {
    let mut caller = Caller::of(gateway)?;
    (0..number).map(|_| caller.issue()).collect()
}
