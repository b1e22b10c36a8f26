//! The keys that the provider publishes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use splittoken_token::{KeySetError, MAX_JWKS_BYTES};
use tokio::{task::spawn_blocking, time::timeout_at};
use tracing::{info, warn};
use url::Url;
use zeroize::Zeroizing;

use super::{archive, chance};
use crate::{
    error::{FetchError, with_causes},
    rotation::Change,
    schedule::Timer,
    shared::Shared,
};

/// Lower settings count as this.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// Fetches them again and again, and on demand, if any are needed.
pub(super) async fn run(shared: &Shared) {
    if !shared.settings.needs_jwks() {
        shared.progress.send_modify(|progress| progress.keys_tried = true);
        return;
    }
    archive::consult(shared).await;
    let mut fetcher = Fetcher {
        shared,
        timer: Timer::new(Instant::now()),
        source: None,
    };
    loop {
        fetcher.refresh().await;
        shared.jwks_health.lock().next = Some(fetcher.timer.due());
        // Early or late alike: what is due is looked at again.
        let _ = timeout_at(fetcher.timer.due().into(), shared.wake_keys.notified()).await;
    }
}

struct Fetcher<'s> {
    shared: &'s Shared,
    timer: Timer,
    /// Where they were looked for last.
    source: Option<Url>,
}

impl Fetcher<'_> {
    async fn refresh(&mut self) {
        let is_demanded = self.shared.cooldown.lock().is_fetch_due();
        self.find_source(is_demanded).await;
        let is_due = self.timer.is_due(Instant::now());
        let begun = {
            let mut cooldown = self.shared.cooldown.lock();
            (is_due || cooldown.is_fetch_due()).then(|| cooldown.begin())
        };
        let Some(fetches) = begun else { return };
        self.fetch().await;
        self.shared.progress.send_modify(|progress| {
            progress.fetches = fetches;
            progress.keys_tried = true;
        });
    }

    /// Waits for discovery where it has not said yet where the keys are, and hastens the fetch where they have moved.
    async fn find_source(&mut self, is_demanded: bool) {
        if self.shared.endpoints.load().jwks.is_none() {
            self.shared.discovered(is_demanded).await;
        }
        let jwks = self.shared.endpoints.load().jwks.clone();
        if jwks != self.source {
            self.timer.hasten(Instant::now());
            self.source = jwks;
        }
    }

    async fn fetch(&mut self) {
        let started = Instant::now();
        let outcome = fetch(self.shared, self.source.as_ref()).await;
        self.shared.tell("jwks", &outcome, started);
        let now = Instant::now();
        match outcome {
            Ok(()) => {
                let interval = self.shared.settings.jwks_refresh.max(SHORTEST_INTERVAL);
                self.timer.succeeded(now, interval, chance());
                if self.shared.jwks_health.lock().succeeded(now) {
                    info!(issuer = self.shared.settings.name, "the keys can be fetched");
                }
            }
            Err(error) => {
                self.timer.failed(now, chance());
                if error.says_gone() {
                    self.shared.suspect_endpoints();
                }
                archive::consult(self.shared).await;
                report_failure(self.shared, now, &error);
            }
        }
    }
}

async fn fetch(shared: &Shared, source: Option<&Url>) -> Result<(), FetchError> {
    let url = source.ok_or(FetchError::NoJwksUrl)?;
    let asked = Instant::now();
    let document = shared.http.get(url, MAX_JWKS_BYTES).await?;
    if !shared.rotation.load().is_older_than(asked) {
        // Another gateway has asked later and been answered sooner: a key that is new there has not left.
        return Ok(());
    }
    let change = take(shared, &document, asked)?;
    archive::put(shared, &document, change.is_news()).await;
    keep(shared, document).await;
    Ok(())
}

/// From now on these keys count, which the provider published at `published`.
pub(super) fn take(shared: &Shared, document: &[u8], published: Instant) -> Result<Change, KeySetError> {
    let before = shared.rotation.load_full();
    let (next, change) = before.replaced_by(document, &shared.settings.algorithms, published)?;
    // The keys first, then the epoch: see `Epoch`.
    shared.rotation.store(Arc::new(next));
    if change.some_key_left {
        shared.epoch.step();
    }
    // Those who wait for keys look at these. They need not wait for where else the keys are put.
    shared.progress.send_modify(|_| ());
    if change.is_news() {
        info!(issuer = shared.settings.name, came = ?change.came, left = ?change.left, "the keys changed");
    }
    Ok(change)
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
