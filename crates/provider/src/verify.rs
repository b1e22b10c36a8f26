//! Verifying with keys that may have to be fetched first.

use splittoken_token::{Claims, Family, Jws, Verifier, VerifyError, verify};

use crate::{FillError, IssueError, Provider, shared::Shared};

impl Provider {
    /// Verifies a token that the provider has just issued, at the time `now` (seconds since the epoch).
    ///
    /// An unknown `kid` is worth one fetch of the keys, shared by all who wait, within the cool-down.
    pub async fn verify_at_issue(&self, jws: &Jws<'_>, now: u64) -> Result<Claims, IssueError> {
        let outcome = self.shared().verify(jws, now, Occasion::Issue).await;
        Ok(outcome.map_err(|error| match error {
            // What it publishes is not known.
            FillError::UnknownKey if self.shared().is_failing() => FillError::NoKeys,
            error => error,
        })?)
    }

    /// Verifies a token that lay sealed in the store, at the time `now` (seconds since the epoch).
    ///
    /// As at issue, but a key that the provider has removed is not looked for again.
    pub async fn verify_on_fill(&self, jws: &Jws<'_>, now: u64) -> Result<Claims, FillError> {
        self.shared().verify(jws, now, Occasion::Fill).await
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    Issue,
    Fill,
}

impl Shared {
    async fn verify(&self, jws: &Jws<'_>, now: u64, occasion: Occasion) -> Result<Claims, FillError> {
        match self.verify_now(jws, now) {
            Err(e) if self.may_fetch_help(jws, e) => {}
            outcome => return outcome.map_err(FillError::Refused),
        }
        let is_retired = |id| self.rotation.load().is_retired(id);
        if occasion == Occasion::Fill && jws.key_id().is_some_and(is_retired) {
            return Err(FillError::RetiredKey);
        }
        // Just started: the first keys may be on their way.
        if self.rotation.load().keys().is_empty() {
            self.first_keys().await;
        }
        let still = match self.verify_now(jws, now) {
            Err(e) if self.may_fetch_help(jws, e) => {
                match occasion {
                    Occasion::Issue => self.fetch_for(jws.key_id()).await,
                    Occasion::Fill => self.fetch_for_fill(jws.key_id()).await,
                }
                self.verify_now(jws, now)
            }
            outcome => outcome,
        };
        still.map_err(|e| {
            if self.may_fetch_help(jws, e) {
                self.explain(jws, e)
            } else {
                FillError::Refused(e)
            }
        })
    }

    /// With what is known now.
    fn verify_now(&self, jws: &Jws<'_>, now: u64) -> Result<Claims, VerifyError> {
        let rotation = self.rotation.load();
        let verifier = if self.settings.trusted_transport {
            Verifier::Trusted
        } else if jws.algorithm().family() == Family::Hmac {
            Verifier::Keys(&self.hmac_keys)
        } else {
            Verifier::Keys(rotation.keys())
        };
        verify(jws, verifier, &self.settings.policy(), now)
    }

    /// Whether the keys could not be fetched lately.
    fn is_failing(&self) -> bool {
        self.jwks_health.lock().failing.is_some()
    }

    /// Whether other keys could make the token good: its key is missing, or it names none and none fits.
    fn may_fetch_help(&self, jws: &Jws<'_>, error: VerifyError) -> bool {
        let is_keyed = !self.settings.trusted_transport && jws.algorithm().family() != Family::Hmac;
        let lacks_key = match error {
            VerifyError::UnknownKey => true,
            VerifyError::Signature => jws.key_id().is_none(),
            _ => false,
        };
        is_keyed && lacks_key
    }

    /// What it means that no key was found, after all that could be done.
    fn explain(&self, jws: &Jws<'_>, error: VerifyError) -> FillError {
        let rotation = self.rotation.load();
        match jws.key_id() {
            _ if rotation.keys().is_empty() => FillError::NoKeys,
            Some(id) if rotation.is_retired(id) => FillError::RetiredKey,
            // Published, but for another algorithm.
            Some(id) if rotation.is_published(id) => FillError::Refused(error),
            None if error == VerifyError::Signature => FillError::Refused(error),
            _ => FillError::UnknownKey,
        }
    }
}
