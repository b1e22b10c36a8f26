//! The keys as gateways on other machines find them.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use tracing::{info, warn};

use super::keys::take;
use crate::{rotation::KEEP, shared::Shared};

/// How long an archive is waited for. Keys must not be late for the sake of those who start later.
const PATIENCE: Duration = Duration::from_secs(1);
/// Keys that stay the same are put there again after this long.
const INTERVAL: Duration = Duration::from_secs(3600);

/// Looks there whenever a key is asked for: another gateway may have it, and the provider may be slow.
pub(super) async fn run(shared: &Shared) {
    while shared.kept.archive.is_some() {
        shared.wake_archive.notified().await;
        consult(shared).await;
    }
}

/// Takes the keys that another gateway has fetched, if that was after we did: the provider may be down.
pub(super) async fn consult(shared: &Shared) {
    let Some(archive) = &shared.kept.archive else {
        return;
    };
    let read = timeout(PATIENCE, archive.read(&shared.settings.source())).await;
    let Some(found) = read.ok().flatten().filter(|found| found.age < KEEP) else {
        return;
    };
    // Ages are in whole seconds; where that leaves a doubt, our own keys are the younger ones. A machine that started
    // later than that has no such instant; the keys then count as just fetched.
    let age = found.age + Duration::from_secs(1);
    let published = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
    if !shared.rotation.load().is_older_than(published) {
        return;
    }
    let issuer = &shared.settings.name;
    match take(shared, &found.document, published) {
        Ok(_) => {
            info!(
                issuer,
                age_seconds = found.age.as_secs(),
                "using the keys that another gateway has fetched"
            );
        }
        Err(error) => warn!(issuer, %error, "the keys that another gateway has fetched cannot be read"),
    }
}

/// Puts the keys there: when they have changed, and often enough to be young there.
pub(super) async fn put(shared: &Shared, document: &[u8], is_news: bool) {
    let Some(archive) = &shared.kept.archive else {
        return;
    };
    let last = *shared.archived_at.lock();
    if last.is_some_and(|at| at.elapsed() < INTERVAL) && !is_news {
        return;
    }
    let written = timeout(PATIENCE, archive.write(&shared.settings.source(), document)).await;
    // What has not worked is tried again after the next fetch.
    *shared.archived_at.lock() = (written == Ok(true)).then(Instant::now);
}
