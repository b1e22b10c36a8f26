//! From an opaque token to the JWT that the upstream gets, and the other way round when one is issued.

use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;
use splittoken_provider::FillError;
use splittoken_routing::ServedRoute;
use splittoken_store::{
    Health, PutOutcome, Store, StoreError, StoreSession,
    near::{CacheKey, Filled, Lookup, MayRefuse, NearCache, NearConfig, Now, Overloaded, Stale},
};
use splittoken_token::{
    Claims, Jws, Keyring, Keys, Live, LookupId, Meta, Opaque, Realm, RecordError, SealedRecord, Stored, Use,
    derive_keys, open, seal,
};
use tokio::time::sleep;
use zeroize::Zeroizing;

use crate::{
    failure::Failure, gateway::SharedKeyring, issuer::Issuer, metrics::Metrics, misses::Misses,
    store_health::StoreHealth,
};

/// A token that has been put together again.
pub(crate) struct Rehydrated {
    /// `Bearer` and the JWT, byte for byte as issued.
    pub(crate) authorization: HeaderValue,
    pub(crate) claims: Claims,
    /// The token's public name.
    pub(crate) lookup_id: LookupId,
}

impl Rehydrated {
    /// What the client has of it: the part behind the last dot.
    pub(crate) fn opaque(&self) -> &str {
        let jwt = self.authorization.to_str().unwrap_or_default();
        jwt.rsplit('.').next().unwrap_or_default()
    }
}

impl fmt::Debug for Rehydrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rehydrated({})", self.lookup_id)
    }
}

/// Why a token could not be had.
#[derive(Clone, Debug)]
pub(crate) enum LookupError {
    /// The store cannot say.
    Store(StoreError),
    /// Too many look-ups for this realm.
    Overloaded,
    /// The provider's keys cannot say.
    Keys(&'static str),
    /// It is no good.
    Refused(&'static str),
}

impl From<Overloaded> for LookupError {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded
    }
}

impl MayRefuse for LookupError {
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

impl LookupError {
    fn failure(&self) -> Failure {
        match self {
            Self::Store(error) => Failure::Unavailable(error.reason()),
            Self::Overloaded => Failure::Unavailable("overloaded"),
            Self::Keys(reason) => Failure::Unavailable(reason),
            Self::Refused(reason) => Failure::InvalidToken(reason),
        }
    }
}

/// The near cache that all workers share.
pub(crate) type Cache = Arc<NearCache<Arc<Rehydrated>, LookupError>>;

/// What became of a token that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is new.
    Stored,
    /// It was there already: the same claims in the same second are one token.
    Known {
        /// When the record that is there ends.
        expires_at: u64,
    },
    /// It was revoked before.
    Revoked,
    /// The same signature over something else, or a record that is not ours.
    Collision,
}

/// One worker's way from tokens to records.
pub(crate) struct Tokens {
    keyring: SharedKeyring,
    session: StoreSession,
    cache: Cache,
    metrics: Arc<Metrics>,
    misses: Arc<Misses>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({:?})", self.keyring.load())
    }
}

/// A token that has to be looked up.
struct Miss<'p> {
    text: &'p str,
    key: CacheKey,
    now: Now,
    /// What the cache has of it.
    stale: Option<Stale<Arc<Rehydrated>>>,
    /// Whose it is, where misses are limited and that is known.
    client: Option<IpAddr>,
}

/// How often a record is tried to be written. The client waits, and the provider cannot be asked again.
const WRITES: u32 = 3;
/// The wait before the second write; the third waits twice as long.
const WRITE_AGAIN: Duration = Duration::from_millis(100);

impl Tokens {
    /// An empty cache of `bytes` for all workers.
    pub(crate) fn cache(bytes: u64) -> Cache {
        Arc::new(NearCache::new(NearConfig {
            max_weight: bytes,
            ..NearConfig::default()
        }))
    }

    /// Connects to the store; to be called on the worker's own runtime.
    pub(crate) fn new(
        keyring: SharedKeyring,
        store: &Store,
        cache: Cache,
        metrics: Arc<Metrics>,
        misses: Arc<Misses>,
        health: &StoreHealth,
    ) -> Self {
        let session = store.connect();
        health.add(session.clone());
        Self {
            keyring,
            session,
            cache,
            metrics,
            misses,
        }
    }

    /// Whether a record could be written now, as far as is known.
    pub(crate) fn check_store(&self) -> Result<(), Failure> {
        match self.session.health() {
            Health::Up => Ok(()),
            Health::Down { reason, .. } => Err(Failure::Unavailable(reason)),
        }
    }

    /// The JWT of a presented token. A token that was seen lately costs a hash and a look-up; only for others is
    /// `client` asked whose address presents it, if that is known.
    pub(crate) async fn rehydrate(
        &self,
        route: &ServedRoute,
        issuer: &Issuer,
        text: &str,
        now: SystemTime,
        client: impl FnOnce() -> Option<IpAddr>,
    ) -> Result<Arc<Rehydrated>, Failure> {
        let config = &route.config.issuer;
        issuer.sync();
        let key = self.cache.key(&config.realm, Use::Access, text.as_bytes());
        let now = Now {
            instant: Instant::now(),
            unix: epoch_seconds(now),
        };
        let stale = match self.cache.lookup(&key, now) {
            Lookup::Fresh(token) => {
                self.metrics.cache_hits.inc();
                return Ok(token);
            }
            Lookup::Stale(stale) => Some(stale),
            Lookup::Miss => None,
        };
        let miss = Miss {
            text,
            key,
            now,
            stale,
            client: self.misses.are_limited().then(client).flatten(),
        };
        // In a place of its own: it is large, and seldom needed.
        Box::pin(self.look_up(route, issuer, miss)).await
    }

    /// The same for a token that is not in the cache, or not fresh there.
    async fn look_up(
        &self,
        route: &ServedRoute,
        issuer: &Issuer,
        miss: Miss<'_>,
    ) -> Result<Arc<Rehydrated>, Failure> {
        let config = &route.config.issuer;
        let Miss { now, client, .. } = miss;
        // Before any I/O: guessing must be cheap to refuse.
        let opaque = Opaque::parse_for(miss.text, &config.algorithms)
            .map_err(|e| Failure::InvalidToken(e.reason()))?;
        // One that was good a moment ago is no guess.
        let client = client.filter(|_| miss.stale.is_none());
        if client.is_some_and(|client| !self.misses.admit(client, now.instant)) {
            return Err(Failure::TooManyMisses);
        }
        // One keyring from the names to the records, however it changes meanwhile.
        let keyring = self.keyring.load_full();
        let keys = keys(&keyring, &config.realm, &opaque);
        let ids: Vec<LookupId> = keys.iter().map(Keys::lookup_id).collect();
        let read = || self.read(issuer, &keyring, &opaque, &keys, &ids);
        let outcome = self.cache.fill(miss.key, config.realm, &ids, read).await;
        let outcome = self.conclude(outcome, miss.stale, now, route.config.max_stale);
        let is_miss = matches!(outcome, Err(Failure::InvalidToken(_)));
        if let Some(client) = client.filter(|_| !is_miss) {
            self.misses.take_back(client);
        }
        outcome
    }

    /// Serves a stale token where the store cannot be reached, and only there.
    fn conclude(
        &self,
        outcome: Result<Option<Arc<Rehydrated>>, LookupError>,
        stale: Option<Stale<Arc<Rehydrated>>>,
        now: Now,
        max_stale: Duration,
    ) -> Result<Arc<Rehydrated>, Failure> {
        let error = match outcome {
            Ok(Some(token)) => {
                self.metrics.looked_up("store");
                return Ok(token);
            }
            Ok(None) => LookupError::Refused("unknown_token"),
            Err(error) => error,
        };
        let may_be_stale = matches!(&error, LookupError::Store(e) if e.is_transient());
        let served = stale
            .filter(|_| may_be_stale)
            .and_then(|stale| stale.serve(now, max_stale));
        if let Some(token) = served {
            self.metrics.looked_up("stale");
            return Ok(token);
        }
        let failure = error.failure();
        self.metrics.looked_up(failure.reason());
        Err(failure)
    }

    /// One read: all peppers in one round trip, open, verify.
    async fn read(
        &self,
        issuer: &Issuer,
        keyring: &Keyring,
        opaque: &Opaque,
        keys: &[Keys],
        ids: &[LookupId],
    ) -> Result<Option<Filled<Arc<Rehydrated>>>, LookupError> {
        let started = Instant::now();
        let fetched = self.session.get(ids).await;
        self.metrics.asked_store("get", &fetched, started.elapsed());
        let fetched = fetched.map_err(LookupError::Store)?;
        // Taken before the keys are looked at, so that what they vouch for goes when they go.
        let stamp = issuer.stamp();
        let Some((keys, live)) = self.live(keyring, keys, fetched.records)? else {
            return Ok(None);
        };
        let now = epoch_seconds(SystemTime::now());
        if live.expires_at <= now {
            return Err(LookupError::Refused("expired"));
        }
        let jwt = Zeroizing::new(format!("{}.{}", live.signing_input.as_str(), opaque.expose()));
        let jws = Jws::parse(&jwt).map_err(|error| LookupError::Refused(error.reason()))?;
        let claims = issuer
            .provider
            .verify_on_fill(&jws, now)
            .await
            .map_err(fill_error)?;
        let authorization = authorization(&jwt).ok_or(LookupError::Refused("jwt_characters"))?;
        let weight = jwt.len() + claims.weight() + size_of::<Rehydrated>();
        let exp = claims
            .expires_at()
            .map_or(live.expires_at, |exp| exp.min(live.expires_at));
        Ok(Some(Filled {
            value: Arc::new(Rehydrated {
                authorization,
                claims,
                lookup_id: keys.lookup_id(),
            }),
            weight: u32::try_from(weight).unwrap_or(u32::MAX),
            exp,
            connection: fetched.stamp,
            issuer: stamp,
        }))
    }

    /// The live record of a token among what lay under its names. A tombstone counts wherever it stands: the token may
    /// have been stored, revoked, and stored once more under a newer pepper.
    fn live<'k>(
        &self,
        keyring: &Keyring,
        keys: &'k [Keys],
        records: Vec<Option<SealedRecord>>,
    ) -> Result<Option<(&'k Keys, Live)>, LookupError> {
        let mut found = None;
        for (keys, record) in keys.iter().zip(records) {
            let Some(record) = record else { continue };
            match open(keyring, keys, &record) {
                Ok(Stored::Live(live)) => found = found.or(Some((keys, live))),
                Ok(Stored::Revoked) => return Err(LookupError::Refused("revoked")),
                Err(error) => return Err(self.broken(error)),
            }
        }
        Ok(found)
    }

    /// A record that does not open: somebody else wrote to our store, or the keyring is not the one it was.
    fn broken(&self, error: RecordError) -> LookupError {
        self.metrics.alarm(error.reason());
        LookupError::Refused(error.reason())
    }

    /// Stores what the client does not get, before it gets anything.
    pub(crate) async fn keep(
        &self,
        realm: &Realm,
        jws: &Jws<'_>,
        claims: &Claims,
        expires_at: u64,
    ) -> Result<Kept, Failure> {
        let keyring = self.keyring.load_full();
        let kid = keyring.write_kid();
        let keys = derive_keys(&keyring, kid, realm, Use::Access, jws.opaque());
        let keys = keys.ok_or(Failure::Unavailable("crypto"))?;
        let live = Live {
            stored_at_ms: epoch_millis(SystemTime::now()),
            expires_at,
            meta: meta(claims),
            signing_input: Zeroizing::new(jws.signing_input().to_owned()),
        };
        let record = seal(&keys, &live).map_err(|error| Failure::Unavailable(error.reason()))?;
        match self
            .write(&keys, &record, expires_at)
            .await
            .map_err(|e| Failure::Unavailable(e.reason()))?
        {
            PutOutcome::Stored => Ok(Kept::Stored),
            PutOutcome::Exists(other) => Ok(compare(&keyring, &keys, &other, jws)),
        }
    }

    async fn write(
        &self,
        keys: &Keys,
        record: &SealedRecord,
        expires_at: u64,
    ) -> Result<PutOutcome, StoreError> {
        let until = UNIX_EPOCH + Duration::from_secs(expires_at);
        let mut tries = 0;
        loop {
            tries += 1;
            let started = Instant::now();
            let outcome = self.session.put_new(keys.lookup_id(), record, until).await;
            self.metrics.asked_store("put", &outcome, started.elapsed());
            match outcome {
                Err(error) if tries < WRITES && error.is_transient() => sleep(WRITE_AGAIN * tries).await,
                outcome => return outcome,
            }
        }
    }
}

/// Another record stands where ours should. Signatures may be deterministic, so it can be the same token.
fn compare(keyring: &Keyring, keys: &Keys, record: &[u8], jws: &Jws<'_>) -> Kept {
    match open(keyring, keys, record) {
        Ok(Stored::Live(live)) if live.signing_input.as_str() == jws.signing_input() => Kept::Known {
            expires_at: live.expires_at,
        },
        Ok(Stored::Revoked) => Kept::Revoked,
        Ok(Stored::Live(_)) | Err(_) => Kept::Collision,
    }
}

/// A token's keys under each pepper.
fn keys(keyring: &Keyring, realm: &Realm, opaque: &Opaque) -> Vec<Keys> {
    keyring
        .kids()
        .filter_map(|kid| derive_keys(keyring, kid, realm, Use::Access, opaque))
        .collect()
}

fn fill_error(error: FillError) -> LookupError {
    let reason = error.reason();
    if error.is_transient() {
        LookupError::Keys(reason)
    } else {
        LookupError::Refused(reason)
    }
}

/// The finished header value, marked so that nothing prints it.
fn authorization(jwt: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {jwt}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn meta(claims: &Claims) -> Meta {
    Meta {
        client_id: claims.client_id().map(str::to_owned),
        sub: claims.text("sub").map(str::to_owned),
        sid: claims.text("sid").map(str::to_owned),
    }
}

/// Seconds since the epoch; 0 before it.
pub(crate) fn epoch_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn epoch_millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
