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
use tokio::sync::{Notify, Semaphore, watch};
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

/// How many stored tokens may wait for their keys: three quarters of what a gateway looks up at the same time for one
/// issuer. The rest is for tokens whose keys are known.
const WAITING_FILLS: usize = 768;

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
    /// Wakes who looks for the endpoints.
    pub(crate) wake_endpoints: Notify,
    /// Wakes who fetches the keys.
    pub(crate) wake_keys: Notify,
    /// Wakes who looks into the archive.
    pub(crate) wake_archive: Notify,
    /// A seat for each stored token whose key may be waited for.
    waiting_room: Semaphore,
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
    /// How often discovery was tried; 1 where there is none.
    pub(crate) discoveries: u64,
    /// The keys were asked for once.
    pub(crate) keys_tried: bool,
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
            wake_endpoints: Notify::new(),
            wake_keys: Notify::new(),
            wake_archive: Notify::new(),
            waiting_room: Semaphore::new(WAITING_FILLS),
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

    /// Waits until the keys were fetched for `id` or `id` is known, as far as the cool-down allows and as long as a
    /// request may take. Says nothing of the outcome: look at the keys.
    pub(crate) async fn fetch_for(&self, id: Option<&str>) {
        let decision = self.cooldown.lock().decide(Instant::now(), id);
        let fetch = match decision {
            Decision::Fetch(fetch) => {
                self.wake_keys.notify_one();
                self.wake_archive.notify_one();
                fetch
            }
            Decision::Wait(fetch) => fetch,
            Decision::Spent => return,
        };
        let is_known = || id.is_some_and(|id| self.rotation.load().is_published(id));
        self.wait_until(|progress| progress.fetches >= fetch || is_known())
            .await;
    }

    /// [`Self::fetch_for`] a stored token, if there is room for one more to wait.
    pub(crate) async fn fetch_for_fill(&self, id: Option<&str>) {
        if let Ok(_seat) = self.waiting_room.try_acquire() {
            self.fetch_for(id).await;
        }
    }

    /// Waits until there are keys or they were asked for once, as long as a request may take.
    pub(crate) async fn first_keys(&self) {
        let has_keys = || !self.rotation.load().keys().is_empty();
        self.wait_until(|progress| progress.keys_tried || has_keys())
            .await;
    }

    /// Waits until the token endpoint is known or was looked for once, as long as a request may take.
    pub(crate) async fn first_endpoints(&self) {
        let is_known = || self.endpoints.load().token.is_some();
        self.wait_until(|progress| progress.discoveries > 0 || is_known())
            .await;
    }

    /// Waits until discovery was tried once, or once more where `again` asks for that, or has said where the keys are.
    /// At once where nothing is discovered.
    pub(crate) async fn discovered(&self, again: bool) {
        let again = again && self.issuer.is_some();
        let mut progress = self.progress.subscribe();
        let before = if again { progress.borrow().discoveries } else { 0 };
        if again {
            self.wake_endpoints.notify_one();
        }
        let is_known = || self.endpoints.load().jwks.is_some();
        // Each try has its deadline. The sender cannot be gone, it is in `self`.
        let _ = progress
            .wait_for(|progress| progress.discoveries > before || is_known())
            .await;
    }

    /// Asks for discovery because an endpoint seems to have moved.
    pub(crate) fn suspect_endpoints(&self) {
        self.endpoint_gone.store(true, Ordering::Release);
        self.wake_endpoints.notify_one();
    }

    async fn wait_until(&self, reached: impl Fn(&Progress) -> bool) {
        let mut progress = self.progress.subscribe();
        let reached = progress.wait_for(|progress| reached(progress) || progress.ended);
        // Out of time is one of the outcomes; the sender cannot be gone, it is in `self`.
        let _ = tokio::time::timeout(self.settings.request_timeout, reached).await;
    }
}

/// The keys that another process kept, as old as they are. Fetching begins all the same.
fn begin(found: &Kept, settings: &ProviderSettings) -> Option<Rotation> {
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
