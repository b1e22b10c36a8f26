//! Where the provider's endpoints are.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::time::timeout_at;
use tracing::{info, warn};
use url::Url;

use super::chance;
use crate::{
    discovery::{self, DiscoveryError, MAX_DOCUMENT_BYTES, Wanted},
    endpoint::Endpoints,
    error::{FetchError, with_causes},
    schedule::Timer,
    shared::Shared,
};

/// Endpoints seldom move, and a 404 hastens this.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(3600);

/// Looks for them again and again, if they are to be looked for at all.
pub(super) async fn run(shared: &Shared) {
    let Some(issuer) = &shared.issuer else {
        shared.progress.send_modify(|progress| progress.discoveries = 1);
        return;
    };
    let mut timer = Timer::new(Instant::now());
    loop {
        refresh(shared, issuer, &mut timer).await;
        shared.discovery_health.lock().next = Some(timer.due());
        // Early or late alike: what is due is looked at again.
        let _ = timeout_at(timer.due().into(), shared.wake_endpoints.notified()).await;
    }
}

async fn refresh(shared: &Shared, issuer: &Url, timer: &mut Timer) {
    let now = Instant::now();
    if shared.endpoint_gone.swap(false, Ordering::AcqRel) {
        timer.hasten_unless_recent(now);
    }
    // Keys on demand need to know where they are.
    let is_missed = shared.cooldown.lock().is_fetch_due() && shared.endpoints.load().jwks.is_none();
    if !(timer.is_due(now) || is_missed) {
        return;
    }
    let outcome = discover(shared, issuer).await;
    shared.tell("discovery", &outcome, now);
    let now = Instant::now();
    match outcome {
        Ok(endpoints) => {
            timer.succeeded(now, DISCOVERY_INTERVAL, chance());
            shared.endpoints.store(Arc::new(endpoints));
            // The keys may have moved.
            shared.wake_keys.notify_one();
            if shared.discovery_health.lock().succeeded(now) {
                info!(issuer = shared.settings.name, "discovery works");
            }
        }
        Err(error) => {
            timer.failed(now, chance());
            report_failure(shared, now, &error);
        }
    }
    shared.progress.send_modify(|progress| progress.discoveries += 1);
}

fn report_failure(shared: &Shared, now: Instant, error: &FetchError) {
    let (reason, message) = (error.reason(), with_causes(error));
    if shared
        .discovery_health
        .lock()
        .failed(now, reason, message.clone())
    {
        warn!(
            issuer = shared.settings.name,
            reason,
            error = message,
            "discovery fails"
        );
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
