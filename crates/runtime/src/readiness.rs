use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// What still keeps the process from being ready. Ready when every [`ReadyGuard`] is gone and nobody leaves.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    missing: Mutex<Vec<&'static str>>,
    leaving: AtomicBool,
}

/// Keeps the process unready until it is dropped.
#[derive(Debug)]
pub struct ReadyGuard {
    readiness: Readiness,
    what: &'static str,
}

impl Readiness {
    /// Adds something that must come before the process is ready; `what` is named by `/readyz`.
    pub fn guard(&self, what: &'static str) -> ReadyGuard {
        self.missing().push(what);
        ReadyGuard {
            readiness: self.clone(),
            what,
        }
    }

    /// From now on the process is not ready, whatever else holds: it is about to end.
    pub fn leave(&self) {
        self.inner.leaving.store(true, Ordering::Release);
    }

    /// What is missing; empty when ready.
    pub fn report(&self) -> Vec<&'static str> {
        let mut report = self.missing().clone();
        if self.inner.leaving.load(Ordering::Acquire) {
            report.push("shutting down");
        }
        report
    }

    fn missing(&self) -> std::sync::MutexGuard<'_, Vec<&'static str>> {
        self.inner.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ReadyGuard {
    fn drop(&mut self) {
        let mut missing = self.readiness.missing();
        if let Some(at) = missing.iter().position(|what| *what == self.what) {
            missing.remove(at);
        }
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
        drop(listener);
        assert!(readiness.report().is_empty());
        readiness.leave();
        assert_eq!(readiness.report(), ["shutting down"]);
    }
}
