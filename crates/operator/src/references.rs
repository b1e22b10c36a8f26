//! The Secrets and `ConfigMap`s that routes and issuers refer to: read one by one, because outside the own namespace the
//! operator may get a Secret by its name and nothing more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;
use splittoken_api::{ObjectName, Resources};

use crate::{
    error::{OperatorError, in_time},
    settings::Settings,
};

/// How old what was read may be. A change of the object that refers to it is looked at at once.
pub(crate) const FRESH: Duration = Duration::from_secs(60);
/// How many are read at a time.
const AT_ONCE: usize = 16;

/// What will be too old this soon is read along with what is: so reads come together, and not one by one for ever.
const ALONG: Duration = Duration::from_secs(10);
/// How old it may be that there is none: a Secret often comes a little after the route that needs it.
const SOON: Duration = Duration::from_secs(10);
/// Until what could not be read is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// What was read, and when.
#[derive(Debug, Default)]
pub(crate) struct References {
    read: BTreeMap<ObjectName, Read>,
}

/// The last try for one object.
#[derive(Clone, Debug)]
struct Read {
    at: Instant,
    outcome: Outcome,
    said: Said,
}

/// What the last read that worked has found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    /// None did: it is not even known whether there is such an object.
    Unknown,
    Nothing,
    /// An object, of which this names the form.
    Object(String),
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    There,
    NotThere,
    Failed,
    /// Whatever came of it, it is too old.
    Expired,
}

impl Read {
    fn due(&self) -> Instant {
        match self.outcome {
            Outcome::There => self.at + FRESH,
            Outcome::NotThere => self.at + SOON,
            Outcome::Failed => self.at + AGAIN,
            Outcome::Expired => self.at,
        }
    }

    /// Whether it is read again, when anything is read.
    fn is_old(&self, now: Instant) -> bool {
        let along = match self.outcome {
            Outcome::There => ALONG,
            _ => Duration::ZERO,
        };
        self.due() <= now + along
    }
}

impl References {
    /// These count as old: an object that refers to them has changed.
    pub(crate) fn expire(&mut self, names: &[ObjectName]) {
        for name in names {
            if let Some(read) = self.read.get_mut(name) {
                read.outcome = Outcome::Expired;
            }
        }
    }

    /// When the first of what was read is too old; `None` if nothing was.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.read.values().map(Read::due).min()
    }

    /// What nothing is known of, because it could not be read: not even that it is not there.
    pub(crate) fn unknown(&self) -> BTreeSet<ObjectName> {
        let unknown = self.read.iter().filter(|(_, read)| read.said == Said::Unknown);
        unknown.map(|(name, _)| name.clone()).collect()
    }

    /// Reads what is referred to and was not read lately, and forgets what nobody refers to any more. What cannot be
    /// read, because the API server is away or does not allow it, stays as it was. Says whether anything may come out
    /// otherwise than before.
    pub(crate) async fn refresh(
        &mut self,
        client: &Client,
        settings: &Settings,
        resources: &mut Resources,
    ) -> bool {
        let wanted = resources.references(&settings.class, &settings.installation);
        let mut is_news = self.forget(&wanted, resources);
        let now = Instant::now();
        let is_old = |name: &&ObjectName| self.read.get(*name).is_none_or(|read| read.is_old(now));
        let old: Vec<ObjectName> = wanted.iter().filter(is_old).cloned().collect();
        let mut found = stream::iter(old)
            .map(|name| async move { (get(client, &name).await, name) })
            .buffer_unordered(AT_ONCE);
        while let Some((found, name)) = found.next().await {
            is_news |= self.settle(name, found, resources);
        }
        is_news
    }

    /// Forgets all but these. Says whether there were any.
    fn forget(&mut self, wanted: &BTreeSet<ObjectName>, resources: &mut Resources) -> bool {
        let known = self.read.keys();
        let gone: Vec<ObjectName> = known.filter(|name| !wanted.contains(*name)).cloned().collect();
        for name in &gone {
            self.read.remove(name);
            resources.remove(name);
        }
        !gone.is_empty()
    }

    /// Takes in what a read has found. Says whether that is another thing than before.
    fn settle(
        &mut self,
        name: ObjectName,
        found: Result<Option<Value>, OperatorError>,
        resources: &mut Resources,
    ) -> bool {
        let before = self.read.get(&name).map(|read| read.said.clone());
        let before = before.unwrap_or(Said::Unknown);
        let (outcome, said) = match &found {
            Ok(Some(object)) => (Outcome::There, Said::Object(form(object))),
            Ok(None) => (Outcome::NotThere, Said::Nothing),
            Err(_) => (Outcome::Failed, before.clone()),
        };
        let is_news = said != before;
        match found {
            Ok(Some(object)) if is_news => {
                if let Err(faults) = resources.put(&object) {
                    let fault = faults.first().map(ToString::to_string).unwrap_or_default();
                    tracing::warn!(%name, fault, "what a route refers to cannot be used");
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => {
                resources.remove(&name);
            }
            Err(error) => tracing::warn!(
                %name,
                error = error.chain(),
                "what a route refers to cannot be read"
            ),
        }
        let at = Instant::now();
        self.read.insert(name, Read { at, outcome, said });
        is_news
    }
}

/// Names one form of an object: another object of the same name has another uid, and an edit makes another version.
fn form(object: &Value) -> String {
    let metadata = &object["metadata"];
    format!("{} {}", metadata["uid"], metadata["resourceVersion"])
}

/// The object in its raw form; `None` where there is none.
async fn get(client: &Client, name: &ObjectName) -> Result<Option<Value>, OperatorError> {
    let plural = if name.kind == "Secret" {
        "secrets"
    } else {
        "configmaps"
    };
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", &name.kind), plural);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &name.namespace, &resource);
    let found = in_time("get", name, api.get_opt(&name.name)).await?;
    // Only maps with other keys than text could fail, and JSON has none.
    Ok(found.map(|object| serde_json::to_value(object).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(outcome: Outcome, said: Said) -> References {
        let name = ObjectName::new("Secret", "shop", "key");
        let read = Read {
            at: Instant::now(),
            outcome,
            said,
        };
        References {
            read: BTreeMap::from([(name, read)]),
        }
    }

    #[test]
    fn what_failed_is_due_first_and_what_is_there_last() {
        let due = |outcome| read(outcome, Said::Nothing).due().unwrap();
        let order = [
            Outcome::Expired,
            Outcome::Failed,
            Outcome::NotThere,
            Outcome::There,
        ]
        .map(due);
        assert!(order.is_sorted(), "{order:?}");
        assert!(References::default().due().is_none());
    }

    #[test]
    fn a_change_makes_what_it_refers_to_due_and_nothing_else() {
        let mut references = read(Outcome::There, Said::Nothing);
        references.expire(&[ObjectName::new("Secret", "shop", "other")]);
        assert!(references.due().unwrap() > Instant::now());
        references.expire(&[ObjectName::new("Secret", "shop", "key")]);
        assert!(references.due().unwrap() <= Instant::now());
        assert!(
            references.unknown().is_empty(),
            "what it said last is still known"
        );
    }

    #[test]
    fn nothing_is_known_of_what_was_never_read() {
        assert!(read(Outcome::NotThere, Said::Nothing).unknown().is_empty());
        assert_eq!(read(Outcome::Failed, Said::Unknown).unknown().len(), 1);
        assert!(
            read(Outcome::Failed, Said::Nothing).unknown().is_empty(),
            "it was read once"
        );
    }

    #[test]
    fn what_says_the_same_as_before_is_no_news() {
        let name = || ObjectName::new("Secret", "shop", "key");
        let object = |version: &str| {
            Ok(Some(json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"namespace": "shop", "name": "key", "uid": "u", "resourceVersion": version},
            })))
        };
        let silence = || {
            Err(OperatorError::Silence {
                verb: "get",
                what: "it".to_owned(),
            })
        };
        let (mut references, mut resources) = (References::default(), Resources::default());
        for (step, (found, expected)) in [
            (silence(), false),
            (Ok(None), true),
            (Ok(None), false),
            (object("1"), true),
            (object("1"), false),
            (silence(), false),
            (object("1"), false),
            (object("2"), true),
            (Ok(None), true),
        ]
        .into_iter()
        .enumerate()
        {
            let is_news = references.settle(name(), found, &mut resources);
            assert_eq!(is_news, expected, "step {step}");
        }
        assert!(references.forget(&BTreeSet::new(), &mut resources));
        assert!(!references.forget(&BTreeSet::new(), &mut resources));
    }

    #[test]
    fn what_is_old_soon_is_read_along() {
        let references = read(Outcome::There, Said::Nothing);
        let read = references.read.values().next().unwrap();
        let soon = read.at + FRESH.saturating_sub(ALONG);
        assert!(read.is_old(soon));
        assert!(!read.is_old(read.at));
    }
}
