//! The background task: the only writer of endpoints and keys.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use splittoken_token::MAX_JWKS_BYTES;
use tokio::{task::spawn_blocking, time::timeout};
use tracing::{info, warn};
use url::Url;
use zeroize::Zeroizing;

use crate::{
    discovery::{self, DiscoveryError, MAX_DOCUMENT_BYTES, Wanted},
    endpoint::Endpoints,
    error::{FetchError, with_causes},
    rotation::{Change, KEEP, Rotation},
    schedule::Timer,
    shared::{Shared, begin},
};

/// Endpoints seldom move, and a 404 hastens this.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(3600);
/// Lower settings count as this.
const JWKS_SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// How long an archive is waited for. Keys must not be late for the sake of those who start later.
const ARCHIVE: Duration = Duration::from_secs(1);
/// Keys that stay the same are put into the archive again after this long.
const ARCHIVE_INTERVAL: Duration = Duration::from_secs(3600);

pub(crate) struct Refresher {
    shared: Arc<Shared>,
    discovery: Option<Timer>,
    jwks: Option<Timer>,
}

impl Refresher {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        let discovery = shared.issuer.is_some().then(|| Timer::new(now));
        let jwks = shared.settings.needs_jwks().then(|| Timer::new(now));
        Self {
            shared,
            discovery,
            jwks,
        }
    }

    /// Goes on until dropped.
    pub(crate) async fn run(mut self) {
        if self.jwks.is_some() {
            begin_from_archive(&self.shared).await;
        }
        loop {
            self.refresh_endpoints().await;
            self.refresh_keys().await;
            self.shared
                .progress
                .send_modify(|progress| progress.first_round = true);
            let woken = self.shared.wake.notified();
            match self.next_due() {
                Some(due) => {
                    // Early or late alike: what is due is looked at again.
                    let _ = tokio::time::timeout_at(due.into(), woken).await;
                }
                None => woken.await,
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let next = |timer: &Option<Timer>| timer.as_ref().map(Timer::due);
        self.shared.discovery_health.lock().next = next(&self.discovery);
        self.shared.jwks_health.lock().next = next(&self.jwks);
        next(&self.discovery).into_iter().chain(next(&self.jwks)).min()
    }

    async fn refresh_endpoints(&mut self) {
        let now = Instant::now();
        let (Some(timer), Some(issuer)) = (&mut self.discovery, &self.shared.issuer) else {
            return;
        };
        if self.shared.endpoint_gone.swap(false, Ordering::AcqRel) {
            timer.hasten_unless_recent(now);
        }
        // Keys on demand need to know where they are.
        let is_missed =
            self.shared.cooldown.lock().is_fetch_due() && self.shared.endpoints.load().jwks.is_none();
        if !(timer.is_due(now) || is_missed) {
            return;
        }
        let outcome = discover(&self.shared, issuer).await;
        self.shared.tell("discovery", &outcome, now);
        let now = Instant::now();
        match outcome {
            Ok(endpoints) => {
                timer.succeeded(now, DISCOVERY_INTERVAL, chance());
                let before = self.shared.endpoints.swap(Arc::new(endpoints));
                let moved = before.jwks != self.shared.endpoints.load().jwks;
                if let Some(jwks) = self.jwks.as_mut().filter(|_| moved) {
                    jwks.hasten(now);
                }
                if self.shared.discovery_health.lock().succeeded(now) {
                    info!(issuer = self.shared.settings.name, "discovery works");
                }
            }
            Err(e) => {
                timer.failed(now, chance());
                let message = with_causes(&e);
                if self
                    .shared
                    .discovery_health
                    .lock()
                    .failed(now, e.reason(), message.clone())
                {
                    warn!(
                        issuer = self.shared.settings.name,
                        reason = e.reason(),
                        error = message,
                        "discovery fails"
                    );
                }
            }
        }
    }

    async fn refresh_keys(&mut self) {
        let now = Instant::now();
        let Some(timer) = &mut self.jwks else { return };
        let begun = {
            let mut cooldown = self.shared.cooldown.lock();
            (timer.is_due(now) || cooldown.is_fetch_due()).then(|| cooldown.begin())
        };
        let Some(fetches) = begun else { return };
        match fetch_keys(&self.shared).await {
            Ok(change) => {
                let now = Instant::now();
                let interval = self.shared.settings.jwks_refresh.max(JWKS_SHORTEST_INTERVAL);
                timer.succeeded(now, interval, chance());
                report_keys(&self.shared, now, &change);
            }
            Err(e) => {
                let now = Instant::now();
                timer.failed(now, chance());
                if e.says_gone() {
                    self.shared.suspect_endpoints();
                }
                report_failure(&self.shared, now, &e);
                begin_from_archive(&self.shared).await;
            }
        }
        self.shared
            .progress
            .send_modify(|progress| progress.fetches = fetches);
    }
}

/// Tells the waiting ones when the task ends, however it ends.
pub(crate) struct EndGuard(pub(crate) Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.progress.send_modify(|progress| progress.ended = true);
    }
}

/// OpenID Connect Discovery first; where there is no such document, RFC 8414.
async fn discover(shared: &Shared, issuer: &Url) -> Result<Endpoints, FetchError> {
    let [openid, oauth] = discovery::well_known_urls(issuer);
    let first = match read_metadata(shared, &openid).await {
        // Some servers answer 200 and a web page for what is not there.
        Err(e @ (FetchError::Status(400..500) | FetchError::Discovery(DiscoveryError::Json(_)))) => e,
        outcome => return outcome,
    };
    match read_metadata(shared, &oauth).await {
        Err(FetchError::Status(_)) => Err(first),
        outcome => outcome,
    }
}

async fn read_metadata(shared: &Shared, url: &Url) -> Result<Endpoints, FetchError> {
    let document = shared.http.get(url, MAX_DOCUMENT_BYTES).await?;
    let wanted = Wanted {
        issuer: &shared.settings.url,
        allowed: shared.settings.allowed(),
        given: &shared.given,
        jwks: shared.settings.needs_jwks(),
    };
    Ok(discovery::read_document(&document, wanted)?)
}

async fn fetch_keys(shared: &Shared) -> Result<Change, FetchError> {
    let url = shared
        .endpoints
        .load()
        .jwks
        .clone()
        .ok_or(FetchError::NoJwksUrl)?;
    let started = Instant::now();
    let fetched = read_keys(shared, &url).await;
    shared.tell("jwks", &fetched, started);
    let (document, next, change) = fetched?;
    // The keys first, then the epoch: see `Epoch`.
    shared.rotation.store(Arc::new(next));
    if change.some_key_left {
        shared.epoch.step();
    }
    archive(shared, &document, !change.came.is_empty() || change.some_key_left).await;
    keep(shared, document).await;
    Ok(change)
}

/// The JWK Set, and what it makes of the keys that there are.
async fn read_keys(shared: &Shared, url: &Url) -> Result<(Zeroizing<Vec<u8>>, Rotation, Change), FetchError> {
    let document = shared.http.get(url, MAX_JWKS_BYTES).await?;
    let before = shared.rotation.load_full();
    let (next, change) = before.replaced_by(&document, &shared.settings.algorithms, Instant::now())?;
    Ok((document, next, change))
}

/// Takes the keys that another gateway has fetched, where none are known: the provider may be down.
async fn begin_from_archive(shared: &Shared) {
    let Some(archive) = &shared.kept.archive else {
        return;
    };
    if !shared.rotation.load().is_unknown() {
        return;
    }
    let found = timeout(ARCHIVE, archive.read(&shared.settings.source())).await;
    let young = found.ok().flatten().filter(|found| found.age < KEEP);
    if let Some(rotation) = young.and_then(|found| begin(&found, &shared.settings)) {
        shared.rotation.store(Arc::new(rotation));
    }
}

/// Puts the keys where gateways on other machines find them: when they have changed, and often enough to be young there.
async fn archive(shared: &Shared, document: &[u8], is_news: bool) {
    let Some(archive) = &shared.kept.archive else {
        return;
    };
    let last = *shared.archived_at.lock();
    if last.is_some_and(|at| at.elapsed() < ARCHIVE_INTERVAL) && !is_news {
        return;
    }
    let written = timeout(ARCHIVE, archive.write(&shared.settings.source(), document)).await;
    // What has not worked is tried again after the next fetch.
    *shared.archived_at.lock() = (written == Ok(true)).then(Instant::now);
}

/// Keeps the keys for the next process. That this fails is no reason not to use them.
async fn keep(shared: &Shared, document: Zeroizing<Vec<u8>>) {
    let Some(kept) = shared.kept.folder.clone() else {
        return;
    };
    let settings = shared.settings.clone();
    let written = spawn_blocking(move || kept.write(&settings, &document)).await;
    if let Ok(Err(error)) = written {
        warn!(issuer = shared.settings.name, %error, "the keys cannot be kept for a restart");
    }
}

fn report_keys(shared: &Shared, now: Instant, change: &Change) {
    let issuer = &shared.settings.name;
    if shared.jwks_health.lock().succeeded(now) {
        info!(issuer, "the keys can be fetched");
    }
    if !change.came.is_empty() || change.some_key_left {
        info!(issuer, came = ?change.came, left = ?change.left, "the keys changed");
    }
}

fn report_failure(shared: &Shared, now: Instant, error: &FetchError) {
    let (issuer, reason) = (&shared.settings.name, error.reason());
    let message = with_causes(error);
    if shared.jwks_health.lock().failed(now, reason, message.clone()) {
        warn!(
            issuer,
            reason,
            error = message,
            "the keys cannot be fetched; the last ones stay in use"
        );
    }
    if let Some(without) = shared.rotation.load().after_failure(now) {
        shared.rotation.store(Arc::new(without));
        shared.epoch.step();
        warn!(
            issuer,
            reason, "the keys could not be fetched for a day and are dropped"
        );
    }
}

/// A number in 0..1, other ones in other processes. It spreads load and guards nothing.
fn chance() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(bits >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}
