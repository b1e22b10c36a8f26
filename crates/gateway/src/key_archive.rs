//! The last keys of each issuer in the store: a pod that is added while a provider is down serves the tokens that there
//! are.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use splittoken_provider::{Archiving, KEYS_KEPT, Kept, KeyArchive};
use splittoken_store::StoreSession;
use splittoken_token::{LookupId, key_set_id, open_key_set, seal_key_set};

use crate::{gateway::SharedKeyring, tokens::epoch_seconds};

/// The store as an archive, for as long as its pepper is known.
pub(crate) struct StoredKeys {
    session: StoreSession,
    keyring: SharedKeyring,
}

impl fmt::Debug for StoredKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredKeys").finish_non_exhaustive()
    }
}

impl StoredKeys {
    pub(crate) fn new(session: StoreSession, keyring: SharedKeyring) -> Arc<Self> {
        Arc::new(Self { session, keyring })
    }

    async fn find(&self, source: &str) -> Option<Kept> {
        // At the start, the connection is on its way.
        self.session.up().await;
        let keyring = self.keyring.load_full();
        let ids: Vec<LookupId> = keyring
            .kids()
            .filter_map(|kid| key_set_id(&keyring, kid, source))
            .collect();
        let records = self.session.get(&ids).await.ok()?.records;
        let opened = records.iter().flatten().filter_map(|record| {
            let opened = open_key_set(&keyring, source, record);
            if let Err(error) = &opened {
                tracing::warn!(reason = error.reason(), "keys in the store cannot be used");
            }
            opened.ok()
        });
        let (saved_at, document) = opened.max_by_key(|(saved_at, _)| *saved_at)?;
        // What was saved in the future would stay young for ever: some clock is wrong by more than clocks are.
        let age = (epoch_seconds(SystemTime::now()) + CLOCK_SKEW).checked_sub(saved_at)?;
        let age = age.saturating_sub(CLOCK_SKEW);
        Some(Kept {
            document,
            age: Duration::from_secs(age),
        })
    }

    async fn put(&self, source: &str, document: &[u8]) -> bool {
        let keyring = self.keyring.load_full();
        let now = epoch_seconds(SystemTime::now());
        let sealed = seal_key_set(&keyring, keyring.write_kid(), source, now, document);
        let outcome = match sealed {
            Ok((id, record)) => {
                let until = UNIX_EPOCH + Duration::from_secs(now) + KEYS_KEPT;
                let replaced = self.session.replace(id, &record, until).await;
                replaced.map_err(|error| error.reason())
            }
            Err(error) => Err(error.reason()),
        };
        if let Err(reason) = outcome {
            tracing::debug!(reason, "keys were not put into the store");
        }
        outcome.is_ok()
    }
}

/// By how many seconds the clocks of two gateways may differ.
const CLOCK_SKEW: u64 = 60;

impl KeyArchive for StoredKeys {
    fn read<'a>(&'a self, source: &'a str) -> Archiving<'a, Option<Kept>> {
        Box::pin(self.find(source))
    }

    fn write<'a>(&'a self, source: &'a str, document: &'a [u8]) -> Archiving<'a, bool> {
        Box::pin(self.put(source, document))
    }
}
