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
    error::{OperatorError, in_time},
    rotation::{Key, State, Step, next},
    term::Leads,
};

/// Asks for a rotation; any value will do. Goes when the rotation begins.
const WANTED: &str = "splittoken.dev/rotate-keyring";
/// Since when the current key is written, where an older one is still there.
const WRITTEN_SINCE: &str = "splittoken.dev/keyring-written-since";
/// The longest life of a token that any route has had while two keys were there, in seconds.
const LONGEST: &str = "splittoken.dev/keyring-longest";
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
    let parameters = PatchParams::default();
    let what = format!("Secret {namespace}/{name}");
    in_time("annotate", what, api.patch(name, &parameters, &patch))
        .await
        .map(drop)
}

/// What a rotation depends on.
pub(crate) struct Keeper {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) leads: Leads,
    pub(crate) reports: watch::Receiver<Arc<Reports>>,
    /// The longest life of a token of any route; `None` while that is not known.
    pub(crate) longest: watch::Receiver<Option<Duration>>,
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
        let found = in_time("get", what(), api.get_opt(&self.name)).await?;
        let Some(secret) = found else { return Ok(()) };
        let Some(keyring) = read(&secret) else {
            tracing::error!(name = self.name, "the keyring cannot be read: no rotation");
            return Ok(());
        };
        let reports = Arc::clone(&self.reports.borrow());
        let step = next(&state(&secret, &keyring), &reports, *self.longest.borrow());
        let Some(changed) = taken(step, &keyring)? else {
            return Ok(());
        };
        if !self.leads.now() {
            return Ok(());
        }
        let written = written(secret, step, &changed);
        let parameters = PostParams::default();
        let replacing = api.replace(&self.name, &parameters, &written);
        match in_time("replace", what(), replacing).await {
            // Somebody else has changed it meanwhile: it is looked at again.
            Err(error) if error.is_conflict() => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}

/// The keyring after a step; `None` where nothing is to be written.
fn taken(step: Step, keyring: &Keyring) -> Result<Option<Keyring>, OperatorError> {
    let changed = match step {
        Step::Rest | Step::Wait => return Ok(None),
        Step::Remember(_) => keyring.clone(),
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
    Ok(Some(changed))
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
    let longest = annotations
        .get(LONGEST)
        .and_then(|seconds| seconds.parse().ok())
        .map(Duration::from_secs);
    let mut keys = keys(keyring);
    State {
        write: keys.next().unwrap_or_default(),
        other: keys.next(),
        is_wanted: annotations.contains_key(WANTED),
        written_for: age,
        longest,
    }
}

/// The keys of a keyring, the one that is written first.
fn keys(keyring: &Keyring) -> impl Iterator<Item = Key> {
    let mut marks = keyring.marks();
    keyring.kids().map(move |id| Key {
        id,
        mark: marks.remove(&id).unwrap_or_default(),
    })
}

/// The Secret with the keyring after a step, and what is to be remembered of that.
fn written(mut secret: Secret, step: Step, after: &Keyring) -> Secret {
    let annotations = secret.metadata.annotations.get_or_insert_default();
    match step {
        Step::Rest | Step::Wait => {}
        Step::Add => {
            // Here it begins. A request that comes later is for the next rotation.
            annotations.remove(WANTED);
            annotations.remove(WRITTEN_SINCE);
            annotations.remove(LONGEST);
        }
        Step::Switch => {
            annotations.insert(WRITTEN_SINCE.to_owned(), Timestamp::now().to_string());
        }
        Step::Remember(longest) => {
            annotations.insert(LONGEST.to_owned(), longest.as_secs().to_string());
        }
        Step::Drop => {
            annotations.remove(WRITTEN_SINCE);
            annotations.remove(LONGEST);
        }
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

    fn ask(secret: &mut Secret) {
        let annotations = secret.metadata.annotations.get_or_insert_default();
        annotations.insert(WANTED.to_owned(), "now".to_owned());
    }

    fn seen(secret: &Secret) -> State {
        state(secret, &read(secret).unwrap())
    }

    /// The Secret after one step.
    fn step(secret: Secret, step: Step) -> Secret {
        let keyring = read(&secret).unwrap();
        let after = taken(step, &keyring).unwrap().unwrap();
        written(secret, step, &after)
    }

    #[test]
    fn a_rotation_remembers_what_it_has_done() {
        let ids = |state: &State| (state.write.id, state.other.as_ref().map(|key| key.id));
        let mut secret = written(Secret::default(), Step::Rest, &Keyring::generate().unwrap());
        ask(&mut secret);
        assert!(seen(&secret).is_wanted);
        let first = seen(&secret).write;

        let secret = step(secret, Step::Add);
        let state = seen(&secret);
        assert_eq!(ids(&state), (1, Some(2)));
        assert!(!state.is_wanted && state.written_for.is_none());
        assert_eq!(state.write, first);

        let mut secret = step(secret, Step::Switch);
        let state = seen(&secret);
        assert_eq!(ids(&state), (2, Some(1)));
        assert!(state.written_for.is_some_and(|age| age < Duration::from_secs(60)));

        // A second request while the first one is carried out is the next one.
        ask(&mut secret);
        let two_days = Duration::from_secs(48 * 3600);
        let secret = step(secret, Step::Remember(two_days));
        let state = seen(&secret);
        assert_eq!((ids(&state), state.longest), ((2, Some(1)), Some(two_days)));
        assert!(state.written_for.is_some(), "since the switch, as before");

        let secret = step(secret, Step::Drop);
        let state = seen(&secret);
        assert_eq!(ids(&state), (2, None));
        assert_eq!((state.written_for, state.longest), (None, None));
        assert!(state.is_wanted, "the second request");
    }

    #[test]
    fn a_secret_without_a_keyring_is_left_alone() {
        assert!(read(&Secret::default()).is_none());
    }
}
