//! Secrets that an installation cannot be without: made when they are not there, and never changed here.

use std::collections::BTreeMap;

use aws_lc_rs::rand;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use splittoken_token::Keyring;
use zeroize::Zeroizing;

use crate::error::{OperatorError, in_time};

const REVISION_KEY_ENTRY: &str = "revision-key";
const KEYRING_ENTRY: &str = "keyring.json";

/// The key of revisions: the same for every operator of an installation, now and later.
pub(crate) async fn revision_key(
    client: &Client,
    namespace: &str,
    class: &str,
) -> Result<[u8; 32], OperatorError> {
    let name = format!("splittoken-revisions-{class}");
    loop {
        let secret = ensure(client, namespace, &name, REVISION_KEY_ENTRY, || {
            let mut key = Zeroizing::new(vec![0; 32]);
            rand::fill(&mut key).map_err(|_| OperatorError::Random)?;
            Ok(key)
        })
        .await?;
        if let Ok(key) = <[u8; 32]>::try_from(secret.as_slice()) {
            return Ok(key);
        }
        tracing::error!(
            name,
            "the Secret with the key of revisions is malformed: delete it, and it is made anew"
        );
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    }
}

/// The keyring that the gateways seal records with.
pub(crate) async fn keyring(client: &Client, namespace: &str, name: &str) -> Result<(), OperatorError> {
    let made = || {
        let keyring = Keyring::generate().map_err(|_| OperatorError::Random)?;
        Ok(Zeroizing::new(keyring.to_file().as_bytes().to_vec()))
    };
    ensure(client, namespace, name, KEYRING_ENTRY, made)
        .await
        .map(drop)
}

/// An entry of a Secret, which is made if there is none. Two who make it at once get the one that was first.
async fn ensure(
    client: &Client,
    namespace: &str,
    name: &str,
    entry: &str,
    make: impl Fn() -> Result<Zeroizing<Vec<u8>>, OperatorError>,
) -> Result<Zeroizing<Vec<u8>>, OperatorError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let what = format!("Secret {namespace}/{name}");
    loop {
        let found = in_time("get", &what, api.get_opt(name)).await?;
        if let Some(secret) = found {
            let bytes = secret.data.unwrap_or_default().remove(entry).unwrap_or_default();
            return Ok(Zeroizing::new(bytes.0));
        }
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(BTreeMap::from([(
                    "app.kubernetes.io/managed-by".to_owned(),
                    "splittoken-operator".to_owned(),
                )])),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(entry.to_owned(), ByteString(make()?.to_vec()))])),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        };
        match api.create(&PostParams::default(), &secret).await {
            Ok(_) => tracing::info!(name, "made a Secret that was not there"),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(OperatorError::api("create", what)(error)),
        }
    }
}
