//! Secrets that an installation cannot be without: made when they are not there at a start. What they hold is never
//! changed here.

use std::collections::BTreeMap;

use aws_lc_rs::{digest, rand};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use splittoken_token::Keyring;
use zeroize::Zeroizing;

use crate::{
    anchor::Anchor,
    custody::Held,
    error::{OperatorError, in_time},
    settings::StoreSecret,
};

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const OPERATOR: &str = "splittoken-operator";
const REVISION_KEY_ENTRY: &str = "revision-key";
pub(crate) const KEYRING_ENTRY: &str = "keyring.json";
const PASSWORD_ENTRY: &str = "password";
/// A file for the option `--aclfile` of Redis and Valkey.
const USERS_ENTRY: &str = "users.acl";

/// The entries of a Secret.
pub(crate) type Entries = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// What a Secret holds.
pub(crate) fn entries_of(secret: Secret) -> Entries {
    let data = secret.data.unwrap_or_default().into_iter();
    data.map(|(entry, bytes)| (entry, Zeroizing::new(bytes.0)))
        .collect()
}

/// Where Secrets are made.
#[derive(Clone, Copy)]
pub(crate) struct Bootstrap<'a> {
    pub(crate) client: &'a Client,
    pub(crate) namespace: &'a str,
    /// What they go with; `None` keeps them.
    pub(crate) owner: Option<&'a Anchor>,
}

impl Bootstrap<'_> {
    /// The key of revisions: the same for every operator of an installation, now and later. With its Secret.
    pub(crate) async fn revision_key(self, class: &str) -> Result<([u8; 32], Held), OperatorError> {
        let name = format!("splittoken-revisions-{class}");
        loop {
            let entries = self
                .ensure(&name, || {
                    let mut key = Zeroizing::new(vec![0; 32]);
                    rand::fill(&mut key).map_err(|_| OperatorError::Random)?;
                    Ok(Entries::from([(REVISION_KEY_ENTRY.to_owned(), key)]))
                })
                .await?;
            let key = entries.get(REVISION_KEY_ENTRY).map(|key| key.as_slice());
            if let Ok(key) = <[u8; 32]>::try_from(key.unwrap_or_default()) {
                return Ok((key, self.held(&name, entries)));
            }
            tracing::error!(
                name,
                "the Secret with the key of revisions is malformed: delete it, and it is made anew"
            );
            tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        }
    }

    /// The keyring that the gateways seal records with.
    pub(crate) async fn keyring(self, name: &str) -> Result<Held, OperatorError> {
        let made = || {
            let keyring = Keyring::generate().map_err(|_| OperatorError::Random)?;
            let file = Zeroizing::new(keyring.to_file().as_bytes().to_vec());
            Ok(Entries::from([(KEYRING_ENTRY.to_owned(), file)]))
        };
        Ok(self.held(name, self.ensure(name, made).await?))
    }

    /// The password of the installation's own store, and the users file of that store, which knows only its hash.
    pub(crate) async fn store(self, secret: &StoreSecret) -> Result<Held, OperatorError> {
        let made = || {
            let mut bytes = Zeroizing::new([0; 32]);
            rand::fill(bytes.as_mut()).map_err(|_| OperatorError::Random)?;
            let password = Zeroizing::new(hex(bytes.as_ref()));
            let users = users_file(&secret.user, &secret.rules, &password);
            Ok(Entries::from([
                (
                    PASSWORD_ENTRY.to_owned(),
                    Zeroizing::new(password.as_bytes().to_vec()),
                ),
                (USERS_ENTRY.to_owned(), Zeroizing::new(users.into_bytes())),
            ]))
        };
        Ok(self.held(&secret.name, self.ensure(&secret.name, made).await?))
    }

    fn held(self, name: &str, entries: Entries) -> Held {
        Held::new(name, self.owner.is_some(), entries)
    }

    /// The entries of a Secret, which is made if there is none. Two who make it at once get the one that was first.
    async fn ensure(
        self,
        name: &str,
        make: impl Fn() -> Result<Entries, OperatorError>,
    ) -> Result<Entries, OperatorError> {
        loop {
            if let Some(secret) = self.find(name).await? {
                return Ok(entries_of(secret));
            }
            if self.create(name, &make()?, &BTreeMap::new()).await?.is_some() {
                tracing::info!(name, "made a Secret that was not there");
            }
        }
    }

    /// A Secret, if it is there; that it has the right owner is seen to.
    pub(crate) async fn find(self, name: &str) -> Result<Option<Secret>, OperatorError> {
        let found = self.read(name).await?;
        if let Some(secret) = &found {
            self.own(secret).await?;
        }
        Ok(found)
    }

    /// A Secret as it is, if it is there.
    pub(crate) async fn read(self, name: &str) -> Result<Option<Secret>, OperatorError> {
        in_time("get", self.what(name), self.api().get_opt(name)).await
    }

    fn api(self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    /// Makes a Secret; `None` where somebody else was faster.
    pub(crate) async fn create(
        self,
        name: &str,
        entries: &Entries,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Option<Secret>, OperatorError> {
        let entries = entries.iter();
        let data = entries.map(|(entry, bytes)| (entry.clone(), ByteString(bytes.to_vec())));
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(BTreeMap::from([(MANAGED_BY.to_owned(), OPERATOR.to_owned())])),
                annotations: (!annotations.is_empty()).then(|| annotations.clone()),
                owner_references: self.owner.map(|owner| vec![owner.reference()]),
                ..ObjectMeta::default()
            },
            data: Some(data.collect()),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        };
        let parameters = PostParams::default();
        match in_time("create", self.what(name), self.api().create(&parameters, &secret)).await {
            Ok(made) => Ok(Some(made)),
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn what(self, name: &str) -> String {
        format!("Secret {}/{name}", self.namespace)
    }

    /// Whether a Secret goes with the release may have been decided anew since it was made. One that somebody else made
    /// is theirs.
    async fn own(self, secret: &Secret) -> Result<(), OperatorError> {
        let ObjectMeta {
            name,
            labels,
            owner_references,
            ..
        } = &secret.metadata;
        let name = name.as_deref().unwrap_or_default();
        let is_ours = labels
            .as_ref()
            .is_some_and(|labels| labels.get(MANAGED_BY).is_some_and(|by| by == OPERATOR));
        let wanted: Vec<_> = self.owner.map(Anchor::reference).into_iter().collect();
        if !is_ours || owner_references.as_deref().unwrap_or_default() == wanted {
            return Ok(());
        }
        tracing::info!(
            name,
            goes_with_the_release = self.owner.is_some(),
            "a Secret has another owner now"
        );
        let patch = Patch::Merge(json!({"metadata": {"ownerReferences": wanted}}));
        let parameters = PatchParams::default();
        let api = self.api();
        let patching = api.patch_metadata(name, &parameters, &patch);
        in_time("patch", self.what(name), patching).await.map(drop)
    }
}

/// The user `default` may do nothing, and the gateways' user what its rules say.
fn users_file(user: &str, rules: &str, password: &str) -> String {
    let hash = hex(digest::digest(&digest::SHA256, password.as_bytes()).as_ref());
    format!(
        "user default reset off\n\
         user {user} reset on #{hash} {rules}\n"
    )
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_file_holds_the_hash_of_the_password_and_nobody_else_gets_in() {
        // sha256sum says the same of "secret".
        let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        assert_eq!(
            users_file("gateway", "-@all +get", "secret"),
            format!("user default reset off\nuser gateway reset on #{hash} -@all +get\n")
        );
    }
}
