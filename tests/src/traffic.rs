//! What goes through gateways that share a store: tokens that they have in their caches, tokens that they see for the
//! first time, and requests for more.

use std::sync::mpsc::{SyncSender, sync_channel};

use anyhow::{Result, ensure};

use crate::caller::Caller;
use crate::gateway::{Gateway, Keyring};
use crate::load::{Load, Sample, untouched};
use crate::redis::Redis;
use crate::route::Route;
use crate::shop::connected;
use crate::upstream::Upstream;
use crate::wait;

/// Clients that call a gateway with tokens of its cache, each on a connection of its own.
const CLIENTS: usize = 2;

/// Two gateways in front of somebody's provider, with one Redis and one keyring.
pub struct Pair {
    /// One.
    pub first: Gateway,
    /// And the other.
    pub second: Gateway,
    /// The API of both.
    pub upstream: Upstream,
    _redis: Redis,
    _keyring: Keyring,
}

impl Pair {
    /// In front of this issuer, with its keys and endpoints by discovery.
    pub fn start(issuer: &str) -> Result<Self> {
        let (upstream, redis, keyring) = (Upstream::start()?, Redis::start()?, Keyring::new()?);
        let start = || -> Result<Gateway> {
            let builder = Gateway::builder(Route::new(issuer, &upstream.url())).log("info");
            let gateway = builder.redis(&redis).keyring(&keyring).start()?;
            connected(&gateway, wait::START)?;
            Ok(gateway)
        };
        Ok(Self {
            first: start()?,
            second: start()?,
            upstream,
            _redis: redis,
            _keyring: keyring,
        })
    }

    /// Both.
    pub fn both(&self) -> [&Gateway; 2] {
        [&self.first, &self.second]
    }
}

/// Clients of all kinds at work, until it is dropped.
#[derive(Debug)]
pub struct Traffic {
    // The first to end: the clients with new tokens wait for theirs.
    issuing: Load,
    fresh: Load,
    cached: Load,
}

impl Traffic {
    /// [`CLIENTS`] with these tokens for each of the gateways, and for each of `issuing` one that asks for tokens, with one
    /// for each of the gateways that uses them at once. `connect` makes a client's connection.
    pub fn start(
        issuing: &[&Gateway],
        gateways: &[&Gateway],
        tokens: &[String],
        connect: impl Fn(&Gateway) -> Result<Caller>,
    ) -> Result<Self> {
        let (mut cached, mut fresh, mut asking) = (Load::default(), Load::default(), Load::default());
        for gateway in gateways {
            for _ in 0..CLIENTS {
                cached.add_client(connect(gateway)?, tokens.to_vec());
            }
        }
        for issuer in issuing {
            let users = gateways
                .iter()
                .map(|gateway| Ok(use_at_once(&mut fresh, connect(gateway)?)))
                .collect::<Result<_>>()?;
            issue(&mut asking, connect(issuer)?, users);
        }
        Ok(Self {
            issuing: asking,
            fresh,
            cached,
        })
    }

    /// Stops all, prints what they got, and fails unless every request was answered with 200.
    pub fn untouched(self) -> Result<()> {
        let issuing = self.issuing.finish();
        let fresh = self.fresh.finish();
        // All of them, so that a failure shows in what it shows.
        let outcomes = [
            untouched("token requests", &issuing),
            untouched("API requests, new tokens", &fresh),
            untouched("API requests, cached tokens", &self.cached.finish()),
        ];
        outcomes.into_iter().collect()
    }
}

/// A client that uses every token which it is sent once.
fn use_at_once(load: &mut Load, mut caller: Caller) -> SyncSender<String> {
    // No queue: a token is used before the next one is issued.
    let (sender, tokens) = sync_channel::<String>(0);
    load.add(move || {
        let token = tokens.recv().ok()?;
        Some(Sample::of(|| caller.status(&token)))
    });
    sender
}

/// A client that asks for tokens, and sends each to all of `users`.
fn issue(load: &mut Load, mut caller: Caller, users: Vec<SyncSender<String>>) {
    load.add(move || {
        let mut token = None;
        let sample = Sample::of(|| {
            let answer = caller.token()?;
            if answer.status == 200 {
                token = answer.json()?["access_token"].as_str().map(str::to_owned);
            }
            Ok(answer.status)
        });
        for (user, token) in users.iter().zip(token.iter().cycle()) {
            // One that has ended is in its samples.
            let _ = user.send(token.clone());
        }
        Some(sample)
    });
}

/// Some new tokens of the first gateway that all of them have in their caches.
pub fn known_to_all(
    gateways: &[&Gateway],
    number: usize,
    connect: impl Fn(&Gateway) -> Result<Caller>,
) -> Result<Vec<String>> {
    let mut callers = gateways
        .iter()
        .map(|gateway| connect(gateway))
        .collect::<Result<Vec<_>>>()?;
    let tokens = (0..number)
        .map(|_| callers[0].issue())
        .collect::<Result<Vec<_>>>()?;
    for token in &tokens {
        for caller in &mut callers {
            ensure!(caller.status(token)? == 200, "a new token is not served");
        }
    }
    Ok(tokens)
}
