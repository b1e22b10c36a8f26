//! What the background task and the serving threads share.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use splittoken_token::KeySet;
use tokio::sync::{Notify, watch};
use url::Url;

use crate::{
    Epoch, Keepers, Kept, Observer, ProviderError, ProviderSettings,
    cooldown::{Cooldown, Decision},
    endpoint::{Endpoints, parse_endpoint, parse_issuer},
    error::FetchError,
    health::Health,
    http_client::HttpClient,
    rotation::Rotation,
};

pub(crate) struct Shared {
    pub(crate) settings: Arc<ProviderSettings>,
    pub(crate) http: HttpClient,
    /// Where discovery starts, if it is wanted.
    pub(crate) issuer: Option<Url>,
    pub(crate) given: Endpoints,
    pub(crate) hmac_keys: KeySet,
    pub(crate) endpoints: ArcSwap<Endpoints>,
    pub(crate) rotation: ArcSwap<Rotation>,
    pub(crate) epoch: Epoch,
    pub(crate) cooldown: Mutex<Cooldown>,
    pub(crate) discovery_health: Mutex<Health>,
    pub(crate) jwks_health: Mutex<Health>,
    /// Wakes the background task.
    pub(crate) wake: Notify,
    /// The provider said 404 or 410 where an endpoint was.
    pub(crate) endpoint_gone: AtomicBool,
    pub(crate) progress: watch::Sender<Progress>,
    /// Where keys outlive the process, if anywhere.
    pub(crate) kept: Keepers,
    pub(crate) observer: OnceLock<Arc<dyn Observer>>,
    /// When the keys were put into the archive last.
    pub(crate) archived_at: Mutex<Option<Instant>>,
}

/// How far the background task has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Everything was tried once.
    pub(crate) first_round: bool,
    /// All fetches on demand up to this number are over.
    pub(crate) fetches: u64,
    /// The task has ended: there is nothing to wait for.
    pub(crate) ended: bool,
}

impl Shared {
    pub(crate) fn new(settings: ProviderSettings, kept: Keepers) -> Result<Self, ProviderError> {
        let settings = Arc::new(settings);
        let issuer = settings
            .discovery
            .then(|| parse_issuer(&settings.url, settings.allowed()))
            .transpose();
        let issuer = issuer.map_err(|source| ProviderError::Url {
            what: "issuer",
            source,
        })?;
        let given = parse_given(&settings)?;
        let hmac_key = settings.hmac_key.as_ref();
        Ok(Self {
            http: HttpClient::new(Arc::clone(&settings))?,
            issuer,
            hmac_keys: hmac_key
                .map(|key| KeySet::hmac(key, &settings.algorithms))
                .unwrap_or_default(),
            endpoints: ArcSwap::from_pointee(given.clone()),
            given,
            rotation: ArcSwap::from_pointee(
                kept.folder
                    .as_ref()
                    .and_then(|kept| settings.needs_jwks().then(|| kept.read(&settings)).flatten())
                    .and_then(|kept| begin(&kept, &settings))
                    .unwrap_or_default(),
            ),
            epoch: Epoch::default(),
            cooldown: Mutex::new(Cooldown::new(settings.jwks_min_refresh)),
            discovery_health: Mutex::default(),
            jwks_health: Mutex::default(),
            wake: Notify::new(),
            endpoint_gone: AtomicBool::new(false),
            progress: watch::Sender::default(),
            kept,
            observer: OnceLock::new(),
            archived_at: Mutex::default(),
            settings,
        })
    }

    /// Begins with the keys and endpoints that `before` knows, which are fetched again all the same.
    pub(crate) fn adopt(&self, before: &Self) {
        self.endpoints.store(before.endpoints.load_full());
        self.rotation.store(before.rotation.load_full());
    }

    /// Tells the observer how the fetch of a document ended.
    pub(crate) fn tell<T>(&self, document: &'static str, outcome: &Result<T, FetchError>, started: Instant) {
        if let Some(observer) = self.observer.get() {
            let outcome = outcome.as_ref().map_or_else(FetchError::reason, |_| "ok");
            observer.fetched(document, outcome, started.elapsed());
        }
    }

    /// Waits until the keys were fetched for `id`, as far as the cool-down allows and as long as a request may
    /// take. Says nothing of the outcome: look at the keys.
    pub(crate) async fn fetch_for(&self, id: Option<&str>) {
        let decision = self.cooldown.lock().decide(Instant::now(), id);
        let fetch = match decision {
            Decision::Fetch(fetch) => {
                self.wake.notify_one();
                fetch
            }
            Decision::Wait(fetch) => fetch,
            Decision::Spent => return,
        };
        self.wait_until(|progress| progress.fetches >= fetch).await;
    }

    /// Waits until everything was tried once, as long as a request may take.
    pub(crate) async fn first_round(&self) {
        self.wait_until(|progress| progress.first_round).await;
    }

    /// Asks for discovery because an endpoint seems to have moved.
    pub(crate) fn suspect_endpoints(&self) {
        self.endpoint_gone.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    async fn wait_until(&self, reached: impl Fn(&Progress) -> bool) {
        let mut progress = self.progress.subscribe();
        let reached = progress.wait_for(|progress| reached(progress) || progress.ended);
        // Out of time is one of the outcomes; the sender cannot be gone, it is in `self`.
        let _ = tokio::time::timeout(self.settings.request_timeout, reached).await;
    }
}

/// The keys that another process kept, as old as they are. Fetching begins all the same.
pub(crate) fn begin(found: &Kept, settings: &ProviderSettings) -> Option<Rotation> {
    // A machine that started later than that has no such instant; the keys then count as just fetched.
    let fetched = Instant::now().checked_sub(found.age).unwrap_or_else(Instant::now);
    match Rotation::default().replaced_by(&found.document, &settings.algorithms, fetched) {
        Ok((rotation, _)) => {
            tracing::info!(
                issuer = settings.name,
                age_seconds = found.age.as_secs(),
                "beginning with kept keys"
            );
            Some(rotation)
        }
        Err(error) => {
            tracing::warn!(issuer = settings.name, %error, "the kept keys cannot be read");
            None
        }
    }
}

fn parse_given(settings: &ProviderSettings) -> Result<Endpoints, ProviderError> {
    let parse = |what, text: &Option<String>| {
        let url = text
            .as_deref()
            .map(|text| parse_endpoint(text, settings.allowed()));
        url.transpose()
            .map_err(|source| ProviderError::Url { what, source })
    };
    Ok(Endpoints {
        token: parse("token endpoint", &settings.endpoints.token)?,
        jwks: parse("JWKS", &settings.endpoints.jwks)?,
        revocation: parse("revocation endpoint", &settings.endpoints.revocation)?,
    })
}
