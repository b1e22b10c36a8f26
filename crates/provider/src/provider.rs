use std::{future::Future, sync::Arc};

use http::StatusCode;
use splittoken_token::KeySet;
use tokio::sync::watch;

use crate::{
    Epoch, Keepers, Observer, ProviderAnswer, ProviderError, ProviderSettings, ProviderState, TokenCall,
    TokenCallError,
    refresh::{self, EndGuard},
    shared::Shared,
    state,
};

/// An identity provider: its endpoints, its keys, the connections to it. Shared by all threads.
pub struct Provider {
    shared: Arc<Shared>,
    /// Its receivers notice when the provider is dropped.
    alive: watch::Sender<()>,
}

impl Provider {
    /// Checks the settings and makes the HTTP client. Nothing is fetched before [`run`](Self::run).
    ///
    /// The process must have installed a default `rustls` crypto provider.
    pub fn new(settings: ProviderSettings) -> Result<Arc<Self>, ProviderError> {
        Self::keeping(settings, Keepers::default())
    }

    /// One that keeps its keys for the next process, and begins with those that the last one kept.
    pub fn keeping(settings: ProviderSettings, kept: Keepers) -> Result<Arc<Self>, ProviderError> {
        Ok(Arc::new(Self {
            shared: Arc::new(Shared::new(settings, kept)?),
            alive: watch::Sender::new(()),
        }))
    }

    /// One with other settings that takes the place of `before`. Where keys and endpoints come from the same place as
    /// before, they are known from the start: an edit must not need a provider that is down.
    pub fn following(settings: ProviderSettings, before: &Self) -> Result<Arc<Self>, ProviderError> {
        let next = Self::keeping(settings, before.shared.kept.clone())?;
        if next.settings().has_source_of(before.settings()) {
            next.shared.adopt(&before.shared);
        }
        Ok(next)
    }

    /// The background task, to be spawned once: fetches endpoints and keys at once, then again and again, and on
    /// demand. Ends when `shutdown` does or when the provider is dropped, whatever is under way.
    pub fn run<S>(&self, shutdown: S) -> impl Future<Output = ()> + Send + use<S>
    where
        S: Future<Output = ()> + Send,
    {
        let refreshing = refresh::run(Arc::clone(&self.shared));
        let end = EndGuard(Arc::clone(&self.shared));
        let mut alive = self.alive.subscribe();
        async move {
            let _end = end;
            tokio::select! {
                () = refreshing => {}
                () = shutdown => {}
                _ = alive.changed() => {}
            }
        }
    }

    /// Sends a token request to the provider, byte for byte, and gives its answer, whatever the status.
    ///
    /// Never repeated once it may have been received. Takes at most the request timeout, and once more that
    /// while discovery runs for the first time.
    pub async fn token_call(&self, call: TokenCall) -> Result<ProviderAnswer, TokenCallError> {
        if self.shared.endpoints.load().token.is_none() {
            self.shared.first_endpoints().await;
        }
        let endpoints = self.shared.endpoints.load_full();
        let url = endpoints.token.as_ref().ok_or(TokenCallError::NoTokenEndpoint)?;
        let answer = self.shared.http.post(url, call.headers, call.body).await?;
        if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::GONE) {
            self.shared.suspect_endpoints();
        }
        Ok(answer)
    }

    /// Tells `observer` of all fetches from now on. The first one stays; those before it are not made up for.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        // A second one is of no use to anybody.
        let _ = self.shared.observer.set(observer);
    }

    /// The keys that the provider publishes now; empty before the first fetch.
    pub fn keys(&self) -> Arc<KeySet> {
        Arc::clone(self.shared.rotation.load().keys())
    }

    /// Steps whenever a key has left the JWK Set.
    pub fn epoch(&self) -> &Epoch {
        &self.shared.epoch
    }

    /// The `iss` of its tokens.
    pub fn issuer(&self) -> &str {
        &self.shared.settings.url
    }

    /// What it is made of.
    pub fn settings(&self) -> &ProviderSettings {
        &self.shared.settings
    }

    /// How it fares, for `/config` and metrics. Holds no secret.
    pub fn state(&self) -> ProviderState {
        state::of(&self.shared)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Provider({})", self.shared.settings.name)
    }
}
