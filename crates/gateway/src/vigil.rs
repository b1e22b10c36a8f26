//! A stream may outlive the token that opened it. Somebody has to look.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use splittoken_routing::ServedRule;
use tokio::time::sleep;

use crate::{
    failure::Failure,
    issuer::Issuer,
    tokens::{Rehydrated, epoch_seconds},
    worker::Worker,
};

/// Between two looks. Near caches hear of a revocation at once, so most looks ask nobody.
const EVERY: Duration = Duration::from_secs(2);

/// What it takes to look at a request's token again.
pub(crate) struct Vigil {
    worker: Arc<Worker>,
    rule: Arc<ServedRule>,
    issuer: Arc<Issuer>,
    token: Arc<Rehydrated>,
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
        token: Arc<Rehydrated>,
    ) -> Self {
        Self {
            worker: Arc::clone(worker),
            rule,
            issuer: Arc::clone(issuer),
            token,
        }
    }

    /// Completes when the token is no good any more, and says why. That the store cannot say is no reason.
    pub(crate) async fn ended(self) -> &'static str {
        loop {
            sleep(EVERY).await;
            let now = SystemTime::now();
            let expires_at = self.token.claims.expires_at();
            if expires_at.is_some_and(|exp| exp <= epoch_seconds(now)) {
                return "expired";
            }
            let tokens = &self.worker.tokens;
            let text = self.token.opaque();
            let found = tokens
                .rehydrate(&self.rule.route, &self.issuer, text, now, || None)
                .await;
            if let Err(Failure::InvalidToken(reason)) = found {
                return reason;
            }
        }
    }
}
