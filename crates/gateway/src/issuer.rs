use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use splittoken_provider::Provider;
use splittoken_store::{Epoch, Stamp};

/// A provider as the near cache sees it: whatever its keys have vouched for goes stale when one of them leaves.
#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) provider: Arc<Provider>,
    epoch: Epoch,
    /// The provider's own count that `epoch` stands for.
    seen: AtomicU64,
    /// Whether another configuration has taken its place. Locked while the epoch is stepped.
    is_retired: Mutex<bool>,
}

impl Issuer {
    pub(crate) fn new(provider: Arc<Provider>) -> Self {
        let seen = AtomicU64::new(provider.epoch().current());
        Self {
            provider,
            epoch: Epoch::new(),
            seen,
            is_retired: Mutex::default(),
        }
    }

    /// Makes what the provider knows count here. One comparison where nothing has changed.
    pub(crate) fn sync(&self) {
        let current = self.provider.epoch().current();
        if self.seen.load(Ordering::Acquire) != current {
            let is_retired = self.is_retired.lock();
            if self.seen.swap(current, Ordering::AcqRel) != current && !*is_retired {
                self.epoch.step();
            }
        }
    }

    /// Its settings are no longer in force: whatever it has vouched for is to be verified anew, and so is what
    /// requests that began before still verify by it.
    pub(crate) fn retire(&self) {
        let mut is_retired = self.is_retired.lock();
        *is_retired = true;
        self.epoch.end();
    }

    /// The stamp for what is verified from now on.
    pub(crate) fn stamp(&self) -> Stamp {
        self.sync();
        self.epoch.stamp()
    }
}
