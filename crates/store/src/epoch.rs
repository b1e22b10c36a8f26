//! How long something that was read may be believed.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;

/// A source of truth that can lose its voice: a tracked connection, or an issuer's set of keys.
///
/// It hands out a [`Stamp`] for what is read now. When it can no longer vouch for that, it ends the stamp, and
/// everything that carries it is seen as old at once, wherever it lies. Clones are the same epoch.
#[derive(Clone, Debug, Default)]
pub struct Epoch(Arc<Mutex<Stamp>>);

impl Epoch {
    /// A new epoch, with a live stamp.
    pub fn new() -> Self {
        Self::default()
    }

    /// The stamp for what is read from now on. Take it *before* reading.
    pub fn stamp(&self) -> Stamp {
        self.0.lock().clone()
    }

    /// What was read so far is stale from now on; what is read next is not.
    pub fn step(&self) {
        std::mem::take(&mut *self.0.lock()).end(End::Stale(Instant::now()));
    }

    /// What was read so far is void from now on; what is read next is not.
    pub fn void(&self) {
        std::mem::take(&mut *self.0.lock()).end(End::Void);
    }

    /// What was read so far, and whatever still comes from here, is stale from now on. Only the first call counts.
    pub fn end(&self) {
        self.0.lock().end(End::Stale(Instant::now()));
    }
}

/// A mark of when and from whom something was read: (connection, epoch) or (issuer, epoch). Cheap to clone.
#[derive(Clone)]
pub struct Stamp(Arc<Span>);

struct Span {
    number: u64,
    end: OnceLock<End>,
}

/// What became of a [`Stamp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nobody vouches for it since this moment.
    Stale(Instant),
    /// It is known to be wrong.
    Void,
}

impl Stamp {
    /// How the stamp ended; `None` while it is live. One atomic load.
    pub fn ended(&self) -> Option<End> {
        self.0.end.get().copied()
    }

    fn end(&self, end: End) {
        // A stamp ends once: the first reason stands.
        let _ = self.0.end.set(end);
    }
}

impl Default for Stamp {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(Arc::new(Span {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            end: OnceLock::new(),
        }))
    }
}

impl PartialEq for Stamp {
    fn eq(&self, other: &Self) -> bool {
        self.0.number == other.0.number
    }
}

impl Eq for Stamp {}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stamp({}, {:?})", self.0.number, self.ended())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_ends_what_was_read_and_not_what_is_read_next() {
        let epoch = Epoch::new();
        let before = epoch.stamp();
        assert_eq!((before.ended(), epoch.stamp()), (None, before.clone()));
        epoch.step();
        assert!(matches!(before.ended(), Some(End::Stale(_))));
        assert_eq!(epoch.stamp().ended(), None);
        let second = epoch.stamp();
        epoch.void();
        assert_eq!(second.ended(), Some(End::Void));
    }

    #[test]
    fn the_first_end_stands() {
        let epoch = Epoch::new();
        let stamp = epoch.stamp();
        epoch.end();
        let first = stamp.ended();
        epoch.end();
        assert_eq!(stamp.ended(), first);
        assert!(
            epoch.stamp().ended().is_some(),
            "nothing is vouched for after the end"
        );
    }
}
