use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// What still keeps the process from being ready. Ready when every [`ReadyGuard`] is gone and nobody leaves.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    missing: Mutex<Missing>,
    leaving: AtomicBool,
}

#[derive(Debug, Default)]
struct Missing {
    next: u64,
    what: BTreeMap<u64, String>,
}

/// Keeps the process unready until it is dropped.
#[derive(Debug)]
pub struct ReadyGuard {
    readiness: Readiness,
    id: u64,
}

impl Readiness {
    /// Adds something that must come before the process is ready; `what` is named by `/readyz`.
    pub fn guard(&self, what: impl Into<String>) -> ReadyGuard {
        let mut missing = self.missing();
        let id = missing.next;
        missing.next += 1;
        missing.what.insert(id, what.into());
        ReadyGuard {
            readiness: self.clone(),
            id,
        }
    }

    /// From now on the process is not ready, whatever else holds: it is about to end.
    pub fn leave(&self) {
        self.inner.leaving.store(true, Ordering::Release);
    }

    /// What is missing, in the order in which it was asked for; empty when ready.
    pub fn report(&self) -> Vec<String> {
        let mut report: Vec<String> = self.missing().what.values().cloned().collect();
        if self.inner.leaving.load(Ordering::Acquire) {
            report.push("shutting down".to_owned());
        }
        report
    }

    fn missing(&self) -> MutexGuard<'_, Missing> {
        self.inner.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadyGuard {
    /// Says in other words what is missing: why it has not come yet.
    pub fn explain(&self, what: impl Into<String>) {
        self.readiness.missing().what.insert(self.id, what.into());
    }
}

impl Drop for ReadyGuard {
    fn drop(&mut self) {
        self.readiness.missing().what.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_all_guards_are_gone_and_until_leaving() {
        let readiness = Readiness::default();
        let (config, listener) = (readiness.guard("config"), readiness.guard("listener"));
        assert_eq!(readiness.report(), ["config", "listener"]);
        drop(config);
        assert_eq!(readiness.report(), ["listener"]);
        listener.explain("listener: port in use");
        assert_eq!(readiness.report(), ["listener: port in use"]);
        drop(listener);
        assert!(readiness.report().is_empty());
        readiness.leave();
        assert_eq!(readiness.report(), ["shutting down"]);
    }
}
