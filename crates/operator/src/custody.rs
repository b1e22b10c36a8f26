//! The Secrets that an installation cannot be without, looked after while the operator runs: one that is deleted comes
//! back as it was. A new keyring in its place would end every session, and without any no gateway could start.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{sync::watch, time::sleep};

use crate::{
    anchor::Owner,
    bootstrap::{Bootstrap, Entries, entries_of},
    error::OperatorError,
    statuses::CONTROLLER,
    term::Leads,
};

/// Mounted Secrets take up to a minute to reach pods: there is no hurry.
const EVERY: Duration = Duration::from_secs(5);

/// A Secret as it was seen last.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    name: String,
    /// Whether it goes with the release.
    goes: bool,
    entries: Entries,
    annotations: BTreeMap<String, String>,
}

impl Held {
    pub(crate) fn new(name: &str, goes: bool, entries: Entries) -> Self {
        Self {
            name: name.to_owned(),
            goes,
            entries,
            annotations: BTreeMap::new(),
        }
    }

    /// Remembers what a Secret holds now, by a rotation or by hand. One that somebody emptied is not worth remembering.
    fn remember(&mut self, secret: Secret) {
        self.annotations = secret.metadata.annotations.clone().unwrap_or_default();
        let entries = entries_of(secret);
        let is_whole = |entry: &String| entries.get(entry).is_some_and(|bytes| !bytes.is_empty());
        if self.entries != entries && self.entries.keys().all(is_whole) {
            tracing::debug!(name = self.name, "a Secret holds something else now");
            self.entries = entries;
        }
    }
}

/// Looks after Secrets.
pub(crate) struct Custody {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) identity: String,
    pub(crate) leads: Leads,
    pub(crate) owner: watch::Receiver<Owner>,
    pub(crate) held: Vec<Held>,
}

impl Custody {
    /// Remembers, and puts back while this process leads. Whoever leads next has to know the newest form.
    pub(crate) async fn run(mut self) {
        let reporter = Reporter {
            controller: CONTROLLER.to_owned(),
            instance: Some(self.identity.clone()),
        };
        let recorder = Recorder::new(self.client.clone(), reporter);
        loop {
            sleep(EVERY).await;
            let owner = self.owner.borrow().clone();
            for held in &mut self.held {
                // Without the anchor the release is on its way out, and its Secrets with it.
                let writes = self.leads.now() && !owner.is_gone();
                let bootstrap = Bootstrap {
                    client: &self.client,
                    namespace: &self.namespace,
                    owner: owner.anchor().filter(|_| held.goes),
                };
                if let Err(error) = look(bootstrap, held, writes, &recorder).await {
                    let name = &held.name;
                    tracing::warn!(name, error = error.chain(), "a Secret is not looked after");
                }
            }
        }
    }
}

/// Remembers a Secret and, as one who writes, sees to its owner or puts it back.
async fn look(
    bootstrap: Bootstrap<'_>,
    held: &mut Held,
    writes: bool,
    recorder: &Recorder,
) -> Result<(), OperatorError> {
    if !writes {
        if let Some(secret) = bootstrap.read(&held.name).await? {
            held.remember(secret);
        }
        return Ok(());
    }
    if let Some(secret) = bootstrap.find(&held.name).await? {
        held.remember(secret);
        return Ok(());
    }
    let made = bootstrap
        .create(&held.name, &held.entries, &held.annotations)
        .await?;
    let Some(made) = made else { return Ok(()) };
    tracing::warn!(
        name = held.name,
        "a Secret was deleted, and is back as it was: to have another, stop the operator first"
    );
    let event = Event {
        type_: EventType::Warning,
        reason: "SecretRestored".to_owned(),
        note: Some("was deleted, and is back as it was; to have another, stop the operator first".to_owned()),
        action: "Restore".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, &reference(made)).await {
        // The log says the same.
        tracing::debug!(%error, "an Event could not be written");
    }
    Ok(())
}

fn reference(secret: Secret) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Secret".to_owned()),
        namespace: secret.metadata.namespace,
        name: secret.metadata.name,
        uid: secret.metadata.uid,
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::ObjectMeta};
    use zeroize::Zeroizing;

    use super::*;

    fn secret(entries: &[(&str, &str)]) -> Secret {
        let entries = entries
            .iter()
            .map(|(name, text)| ((*name).to_owned(), ByteString(text.as_bytes().to_vec())));
        Secret {
            metadata: ObjectMeta {
                annotations: Some(BTreeMap::from([("rotated".to_owned(), "yes".to_owned())])),
                ..ObjectMeta::default()
            },
            data: Some(entries.collect()),
            ..Secret::default()
        }
    }

    #[test]
    fn what_a_rotation_wrote_is_remembered_and_what_somebody_emptied_is_not() {
        let text = |held: &Held| String::from_utf8(held.entries["keyring.json"].to_vec()).unwrap();
        let first = Entries::from([("keyring.json".to_owned(), Zeroizing::new(b"one".to_vec()))]);
        let mut held = Held::new("keyring", true, first);
        held.remember(secret(&[("keyring.json", "two"), ("more", "")]));
        assert_eq!(text(&held), "two");
        assert_eq!(held.annotations["rotated"], "yes");
        for emptied in [secret(&[]), secret(&[("keyring.json", "")])] {
            held.remember(emptied);
            assert_eq!(text(&held), "two");
        }
    }
}
