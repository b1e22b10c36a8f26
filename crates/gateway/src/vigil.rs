//! A stream may outlive the token that opened it. Somebody has to look.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::HeaderValue;
use splittoken_routing::ServedRule;
use tokio::time::sleep;

use crate::{
    credential::{Credential, credential_in},
    failure::Failure,
    issuer::Issuer,
    tokens::epoch_seconds,
    worker::Worker,
};

/// Between two looks. Near caches hear of a revocation at once, so most looks ask nobody.
const EVERY: Duration = Duration::from_secs(2);

/// What it takes to look at a request's token again.
pub(crate) struct Vigil {
    worker: Arc<Worker>,
    rule: Arc<ServedRule>,
    issuer: Arc<Issuer>,
    /// `Authorization` as the client sent it.
    presented: HeaderValue,
    /// Its `exp`, if it has one.
    expires_at: Option<u64>,
}

impl fmt::Debug for Vigil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vigil({:?})", self.rule)
    }
}

impl Vigil {
    pub(crate) fn new(
        worker: &Arc<Worker>,
        rule: Arc<ServedRule>,
        issuer: &Arc<Issuer>,
        presented: HeaderValue,
        expires_at: Option<u64>,
    ) -> Self {
        Self {
            worker: Arc::clone(worker),
            rule,
            issuer: Arc::clone(issuer),
            presented,
            expires_at,
        }
    }

    /// Completes when the token is no good any more, and says why. That the store cannot say is no reason.
    pub(crate) async fn ended(self) -> &'static str {
        loop {
            sleep(EVERY).await;
            let now = SystemTime::now();
            if self.expires_at.is_some_and(|exp| exp <= epoch_seconds(now)) {
                return "expired";
            }
            let Credential::Bearer(token) = credential_in(&self.presented) else {
                return "scheme";
            };
            let tokens = &self.worker.tokens;
            let found = tokens
                .rehydrate(&self.rule.route, &self.issuer, token, now, || None)
                .await;
            if let Err(Failure::InvalidToken(reason)) = found {
                return reason;
            }
        }
    }
}
