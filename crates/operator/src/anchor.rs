//! The `ConfigMap` of the chart that owns everything the operator makes, so that nothing is left when the release goes.
//!
//! It may be another one later (deleted by hand and made again by `helm upgrade`): what refers to one that is gone is
//! deleted by the cluster, so everything has to refer to the new one. While there is none, the release is taken to be on
//! its way out, and nothing is made: it would be deleted at once, or be left for ever.

use std::time::Duration;

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Api, Client};
use splittoken_runtime::Readiness;
use tokio::{sync::watch, time::sleep};

use crate::error::{OperatorError, in_time};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);

/// Name and uid of that `ConfigMap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    name: String,
    uid: String,
}

/// What everything goes with that is made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nothing: it stays.
    Nobody,
    /// The anchor.
    Anchor(Anchor),
    /// An anchor that is not there any more.
    Gone(Anchor),
}

impl Owner {
    /// The anchor, there or not.
    pub(crate) fn anchor(&self) -> Option<&Anchor> {
        match self {
            Self::Nobody => None,
            Self::Anchor(anchor) | Self::Gone(anchor) => Some(anchor),
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }

    /// The owner after a look at the cluster that found this anchor, or none.
    fn after(&self, found: Option<Anchor>) -> Self {
        match (found, self) {
            (Some(found), _) => Self::Anchor(found),
            (None, Self::Anchor(last) | Self::Gone(last)) => Self::Gone(last.clone()),
            (None, Self::Nobody) => Self::Nobody,
        }
    }
}

impl Anchor {
    /// Asks the API server for its uid.
    pub(crate) async fn find(client: &Client, namespace: &str, name: &str) -> Result<Self, OperatorError> {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let found = in_time("get", format!("ConfigMap {namespace}/{name}"), api.get(name)).await?;
        Ok(Self {
            name: name.to_owned(),
            uid: found.metadata.uid.unwrap_or_default(),
        })
    }

    /// One that is known without asking.
    #[cfg(test)]
    pub(crate) fn known(name: &str, uid: &str) -> Self {
        Self {
            name: name.to_owned(),
            uid: uid.to_owned(),
        }
    }

    /// What an owned object says. It does not block the deletion of its owner, which would need a permission of its own.
    pub(crate) fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            ..OwnerReference::default()
        }
    }
}

/// Follows the anchor, if there is one, until nobody listens. While it is gone the process is not ready.
pub(crate) async fn follow(
    client: Client,
    namespace: String,
    readiness: Readiness,
    owner: watch::Sender<Owner>,
) {
    let name = owner.borrow().anchor().map(|anchor| anchor.name.clone());
    let Some(name) = name else {
        return std::future::pending().await;
    };
    let mut guard = None;
    while !owner.is_closed() {
        sleep(EVERY).await;
        let found = match Anchor::find(&client, &namespace, &name).await {
            Ok(anchor) => Some(anchor),
            Err(error) if error.is_not_found() => None,
            // Nothing is known of it.
            Err(_) => continue,
        };
        let next = owner.borrow().after(found);
        if *owner.borrow() == next {
            continue;
        }
        guard = next.is_gone().then(|| {
            let what = format!("the ConfigMap {name}, which owns what is made here, is gone");
            tracing::error!("{what}: nothing is written until it is back (helm upgrade makes it)");
            readiness.guard(what)
        });
        if guard.is_none() {
            tracing::warn!(
                name,
                "there is another anchor now: everything is written anew to go with it"
            );
        }
        owner.send_replace(next);
    }
    drop(guard);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_that_goes_is_remembered_until_there_is_another() {
        let (old, new) = (Anchor::known("a", "1"), Anchor::known("a", "2"));
        let owner = Owner::Anchor(old.clone());
        assert_eq!(owner.after(Some(old.clone())), owner);
        let gone = owner.after(None);
        assert_eq!(gone, Owner::Gone(old));
        assert_eq!(gone.after(None), gone);
        assert_eq!(gone.after(Some(new.clone())), Owner::Anchor(new.clone()));
        assert_eq!(
            owner.after(Some(new.clone())),
            Owner::Anchor(new),
            "between two looks"
        );
        assert_eq!(Owner::Nobody.after(None), Owner::Nobody);
    }
}
