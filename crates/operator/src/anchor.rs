//! The `ConfigMap` of the chart that owns everything the operator makes, so that nothing is left when the release goes.

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Api, Client};

use crate::error::OperatorError;

/// Name and uid of that `ConfigMap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    name: String,
    uid: String,
}

impl Anchor {
    /// Asks the API server for its uid.
    pub(crate) async fn find(client: &Client, namespace: &str, name: &str) -> Result<Self, OperatorError> {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let found = api.get(name).await;
        let found = found.map_err(OperatorError::api("get", format!("ConfigMap {namespace}/{name}")))?;
        Ok(Self {
            name: name.to_owned(),
            uid: found.metadata.uid.unwrap_or_default(),
        })
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
