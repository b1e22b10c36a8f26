//! A provider, an API and a Redis, for any number of gateways that share them.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::gateway::{Builder, Gateway, Keyring};
use crate::mint::Mint;
use crate::redis::Redis;
use crate::route::Route;
use crate::upstream::Upstream;
use crate::wait;

/// The parts that gateways share.
pub struct Shop {
    /// The provider.
    pub mint: Mint,
    /// The API.
    pub upstream: Upstream,
    /// The store.
    pub redis: Redis,
    /// What records are sealed with.
    pub keyring: Keyring,
}

impl Shop {
    /// With a plain Redis.
    pub fn start() -> Result<Self> {
        Self::with(Redis::start()?)
    }

    /// With this Redis.
    pub fn with(redis: Redis) -> Result<Self> {
        Ok(Self {
            mint: Mint::start()?,
            upstream: Upstream::start()?,
            redis,
            keyring: Keyring::new()?,
        })
    }

    /// The route of every gateway: [`Route::new`].
    pub fn route(&self) -> Route {
        Route::new(&self.mint.issuer(), &self.upstream.url())
    }

    /// A gateway that is about to start, with the shared Redis and keyring. It logs as it would in production: tests
    /// with thousands of requests are about something else.
    pub fn builder(&self, route: impl Into<String>) -> Builder {
        let builder = Gateway::builder(route).keyring(&self.keyring).log("info");
        builder.redis(&self.redis).arguments(&["--threads", "2"])
    }

    /// A gateway of this installation, connected to the Redis.
    pub fn gateway(&self) -> Result<Gateway> {
        self.gateway_of(self.route())
    }

    /// [`Self::gateway`] with another route.
    pub fn gateway_of(&self, route: impl Into<String>) -> Result<Gateway> {
        let gateway = self.builder(route).start()?;
        connected(&gateway, wait::START)?;
        Ok(gateway)
    }
}

/// Waits until all workers of the gateway reach their store; how long that took.
pub fn connected(gateway: &Gateway, limit: Duration) -> Result<Duration> {
    workers_up(gateway, limit, "all workers to reach the store", |up, all| {
        up == all
    })
}

/// Waits until no worker reaches its store; how long that took.
pub fn disconnected(gateway: &Gateway, limit: Duration) -> Result<Duration> {
    workers_up(gateway, limit, "all workers to lose the store", |up, _| up == 0)
}

fn workers_up(
    gateway: &Gateway,
    limit: Duration,
    what: &str,
    is_wanted: impl Fn(u64, u64) -> bool,
) -> Result<Duration> {
    let start = Instant::now();
    wait::until_true(limit, what, || {
        let config = gateway.admin("/config").and_then(|answer| answer.json());
        config.is_ok_and(|config| {
            let number = |name: &str| config["store"][name].as_u64();
            matches!((number("workers_up"), number("workers")), (Some(up), Some(all)) if is_wanted(up, all))
        })
    })?;
    Ok(start.elapsed())
}

/// The value of one metric line, by its name with labels; 0 where it is not there yet.
pub fn metric(gateway: &Gateway, line: &str) -> Result<u64> {
    let text = gateway.admin("/metrics")?.text();
    let value = text
        .lines()
        .find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    Ok(value.map(str::parse).transpose()?.unwrap_or(0))
}
