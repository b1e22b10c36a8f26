//! The keyring's Secret: carries out the steps of a rotation, and asks for one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::Secret, jiff::Timestamp};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use splittoken_token::Keyring;
use tokio::{sync::watch, time::sleep};
use zeroize::Zeroizing;

use crate::{
    asking::Reports,
    bootstrap::KEYRING_ENTRY,
    error::OperatorError,
    rotation::{State, Step, next},
    term::Leads,
};

/// Asks for a rotation; any value will do. Goes when the rotation begins.
const WANTED: &str = "splittoken.dev/rotate-keyring";
/// Since when the current key is written, where an older one is still there.
const WRITTEN_SINCE: &str = "splittoken.dev/keyring-written-since";
/// Mounted Secrets take up to a minute to reach pods: there is no hurry.
const EVERY: Duration = Duration::from_secs(5);

/// Asks the operator of an installation to rotate its keyring. How the API server is reached is taken from the pod, or
/// from a kubeconfig outside of one.
pub async fn request_rotation(namespace: Option<&str>, name: &str) -> Result<(), OperatorError> {
    let client = Client::try_default().await.map_err(OperatorError::Client)?;
    let namespace = namespace.unwrap_or(client.default_namespace()).to_owned();
    let api: Api<Secret> = Api::namespaced(client, &namespace);
    let now = Timestamp::now().to_string();
    let patch = Patch::Merge(json!({"metadata": {"annotations": {WANTED: now}}}));
    let patched = api.patch(name, &PatchParams::default(), &patch).await;
    patched.map(drop).map_err(OperatorError::api(
        "annotate",
        format!("Secret {namespace}/{name}"),
    ))
}

/// What a rotation depends on.
pub(crate) struct Keeper {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) leads: Leads,
    pub(crate) reports: watch::Receiver<Arc<Reports>>,
    /// The longest life of a token of any route.
    pub(crate) longest: watch::Receiver<Duration>,
}

impl Keeper {
    /// Looks after the keyring while this process leads.
    pub(crate) async fn run(self) {
        loop {
            sleep(EVERY).await;
            if !self.leads.now() {
                continue;
            }
            if let Err(error) = self.step().await {
                tracing::warn!(error = error.chain(), "the keyring is not looked after");
            }
        }
    }

    /// One look, and at most one step.
    async fn step(&self) -> Result<(), OperatorError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let what = || format!("Secret {}/{}", self.namespace, self.name);
        let found = api
            .get_opt(&self.name)
            .await
            .map_err(OperatorError::api("get", what()))?;
        let Some(secret) = found else { return Ok(()) };
        let Some(keyring) = read(&secret) else {
            tracing::error!(name = self.name, "the keyring cannot be read: no rotation");
            return Ok(());
        };
        let reports = Arc::clone(&self.reports.borrow());
        let changed = match next(state(&secret, &keyring), &reports, *self.longest.borrow()) {
            Step::Rest | Step::Wait => return Ok(()),
            Step::Add => {
                tracing::info!("keyring: a key is added, for every gateway to know before it is written");
                keyring.with_new_key().map_err(|_| OperatorError::Random)?
            }
            Step::Switch => {
                tracing::info!("keyring: every gateway knows the new key: it is written from now on");
                keyring.switched()
            }
            Step::Drop => {
                tracing::info!("keyring: no token of the old key lives any more: it goes");
                keyring.without_old_keys()
            }
        };
        let written = written(secret, &keyring, &changed);
        match api.replace(&self.name, &PostParams::default(), &written).await {
            Ok(_) => Ok(()),
            // Somebody else has changed it meanwhile: it is looked at again.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(OperatorError::api("replace", what())(error)),
        }
    }
}

fn read(secret: &Secret) -> Option<Keyring> {
    let bytes = secret.data.as_ref()?.get(KEYRING_ENTRY)?;
    let text = Zeroizing::new(String::from_utf8(bytes.0.clone()).ok()?);
    Keyring::parse(&text).ok()
}

fn state(secret: &Secret, keyring: &Keyring) -> State {
    let annotations = secret.metadata.annotations.clone().unwrap_or_default();
    let since = annotations
        .get(WRITTEN_SINCE)
        .and_then(|since| since.parse::<Timestamp>().ok());
    let age = since.map(|since| Timestamp::now().duration_since(since).unsigned_abs());
    State {
        write: keyring.write_kid(),
        other: keyring.kids().nth(1),
        is_wanted: annotations.contains_key(WANTED),
        written_for: age,
    }
}

/// The Secret with another keyring, and what is to be remembered of the step.
fn written(mut secret: Secret, before: &Keyring, after: &Keyring) -> Secret {
    let annotations = secret.metadata.annotations.get_or_insert_default();
    annotations.remove(WANTED);
    if before.write_kid() == after.write_kid() {
        annotations.remove(WRITTEN_SINCE);
    } else {
        annotations.insert(WRITTEN_SINCE.to_owned(), Timestamp::now().to_string());
    }
    let data: &mut BTreeMap<String, ByteString> = secret.data.get_or_insert_default();
    data.insert(
        KEYRING_ENTRY.to_owned(),
        ByteString(after.to_file().as_bytes().to_vec()),
    );
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(keyring: &Keyring) -> Secret {
        written(Secret::default(), keyring, keyring)
    }

    #[test]
    fn a_rotation_remembers_what_it_has_done() {
        let old = Keyring::generate().unwrap();
        let mut asked = secret(&old);
        asked
            .metadata
            .annotations
            .get_or_insert_default()
            .insert(WANTED.to_owned(), "now".to_owned());
        assert!(state(&asked, &read(&asked).unwrap()).is_wanted);

        let both = old.with_new_key().unwrap();
        let added = written(asked, &old, &both);
        let seen = state(&added, &read(&added).unwrap());
        assert_eq!(
            (seen.write, seen.other, seen.is_wanted, seen.written_for),
            (1, Some(2), false, None)
        );

        let switched = written(added, &both, &both.switched());
        let seen = state(&switched, &read(&switched).unwrap());
        assert_eq!((seen.write, seen.other), (2, Some(1)));
        assert!(seen.written_for.is_some_and(|age| age < Duration::from_secs(60)));

        let done = written(switched, &both.switched(), &both.switched().without_old_keys());
        let seen = state(&done, &read(&done).unwrap());
        assert_eq!((seen.write, seen.other, seen.written_for), (2, None, None));
    }

    #[test]
    fn a_secret_without_a_keyring_is_left_alone() {
        assert!(read(&Secret::default()).is_none());
    }
}
