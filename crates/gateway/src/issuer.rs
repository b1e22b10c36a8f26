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
    stepping: Mutex<()>,
}

impl Issuer {
    pub(crate) fn new(provider: Arc<Provider>) -> Self {
        let seen = AtomicU64::new(provider.epoch().current());
        Self {
            provider,
            epoch: Epoch::new(),
            seen,
            stepping: Mutex::default(),
        }
    }

    /// Makes what the provider knows count here. One comparison where nothing has changed.
    pub(crate) fn sync(&self) {
        let current = self.provider.epoch().current();
        if self.seen.load(Ordering::Acquire) != current {
            let _one_at_a_time = self.stepping.lock();
            if self.seen.swap(current, Ordering::AcqRel) != current {
                self.epoch.step();
            }
        }
    }

    /// The stamp for what is verified from now on.
    pub(crate) fn stamp(&self) -> Stamp {
        self.sync();
        self.epoch.stamp()
    }
}
