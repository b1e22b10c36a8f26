use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use splittoken_provider::{Observer, Provider, ProviderError};
use splittoken_store::{Epoch, Stamp};

use crate::{
    circuit::{Burden, Circuit},
    metrics::{CallLabels, Metrics},
};

/// A provider as the near cache sees it: whatever its keys have vouched for goes stale when one of them leaves.
#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) provider: Arc<Provider>,
    pub(crate) calls: Arc<Calls>,
    /// How its token endpoint does.
    pub(crate) circuit: Arc<Circuit>,
    epoch: Epoch,
    /// The provider's own count that `epoch` stands for.
    seen: AtomicU64,
    /// Whether another configuration has taken its place. Locked while the epoch is stepped.
    is_retired: Mutex<bool>,
}

/// What was asked of a provider, and how that ended. It goes with its issuer, and so do its series.
#[derive(Debug)]
pub(crate) struct Calls {
    ended: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    metrics: Arc<Metrics>,
}

impl Calls {
    fn new(metrics: &Arc<Metrics>) -> Self {
        Self {
            ended: Mutex::default(),
            metrics: Arc::clone(metrics),
        }
    }

    pub(crate) fn count(&self, call: &'static str, outcome: &'static str, took: Duration) {
        *self.ended.lock().entry((call, outcome)).or_default() += 1;
        let labels = CallLabels { call };
        self.metrics
            .provider_durations
            .get_or_create(&labels)
            .observe(took);
    }

    /// Calls with their outcomes and how many there were.
    pub(crate) fn counted(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.ended.lock().clone()
    }
}

impl Observer for Calls {
    fn fetched(&self, document: &'static str, outcome: &'static str, took: Duration) {
        self.count(document, outcome, took);
    }
}

impl Issuer {
    pub(crate) fn new(provider: Arc<Provider>, burden: &Burden, metrics: &Arc<Metrics>) -> Self {
        let calls = Arc::new(Calls::new(metrics));
        provider.observe(Arc::clone(&calls) as Arc<dyn Observer>);
        let seen = AtomicU64::new(provider.epoch().current());
        let circuit = Circuit::new(&provider.issuer().into(), burden);
        Self {
            provider,
            calls,
            circuit,
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

/// Why the newest settings of an issuer are not in force, and what is in their place.
#[derive(Debug)]
pub(crate) struct IssuerFailure {
    name: String,
    error: ProviderError,
    has_former: bool,
}

impl IssuerFailure {
    pub(crate) fn new(name: &str, error: ProviderError, has_former: bool) -> Self {
        Self {
            name: name.to_owned(),
            error,
            has_former,
        }
    }

    /// A closed set of words for metrics and logs.
    pub(crate) fn reason(&self) -> &'static str {
        self.error.reason()
    }

    /// Whether it is worth another try with the same settings.
    pub(crate) fn may_pass(&self) -> bool {
        self.error.may_pass()
    }
}

impl fmt::Display for IssuerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instead = if self.has_former {
            "its former settings stay in force"
        } else {
            "requests that need it are answered with 503"
        };
        write!(f, "issuer {}: {}; {instead}", self.name, self.error.with_causes())
    }
}
