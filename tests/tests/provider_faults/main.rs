//! A provider that changes its keys, names keys that nobody knows, is slow, down, or lies, while clients count what
//! they get.
//!
//! What was measured is printed (`cargo test -- --nocapture`).

mod lies;
mod outages;
mod rotation;
mod storms;

use std::thread;
use std::time::Duration;

use anyhow::Result;
use splittoken_tests::caller::Caller;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::load::{Load, Sample, untouched};
use splittoken_tests::route::Route;
use splittoken_tests::shop::Shop;
use splittoken_tests::traffic::known_to_all;

/// Honest clients: of cached tokens, and of tokens that are new to the gateway.
struct Honest {
    cached: Load,
    fresh: Load,
}

impl Honest {
    /// `fresh` are used once each.
    fn start(gateway: &Gateway, cached: &[String], fresh: Vec<String>) -> Result<Self> {
        let clients = Load::start(gateway, vec![cached.to_vec(), cached.to_vec()])?;
        let (mut once, mut caller) = (Load::default(), Caller::of(gateway)?);
        let mut fresh = fresh.into_iter();
        once.add(move || {
            let token = fresh.next()?;
            let sample = Sample::of(|| caller.status(&token));
            thread::sleep(Duration::from_millis(20));
            Some(sample)
        });
        Ok(Self {
            cached: clients,
            fresh: once,
        })
    }

    fn untouched(self) -> Result<()> {
        untouched("meanwhile, cached tokens", &self.cached.finish())?;
        untouched("meanwhile, new tokens", &self.fresh.finish())
    }
}

/// A gateway, tokens in its cache, and others that only another gateway has seen.
fn with_tokens(shop: &Shop, route: Route) -> Result<(Gateway, Vec<String>, Vec<String>)> {
    let (gateway, other) = (shop.gateway_of(route)?, shop.gateway()?);
    let cached = known_to_all(&[&gateway], 50, Caller::of)?;
    let fresh = known_to_all(&[&other], 500, Caller::of)?;
    Ok((gateway, cached, fresh))
}
