use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Counts how often a key left an issuer's JWK Set. Cheap to clone; clones count together.
///
/// What was verified under an older epoch may rest on a key that is gone. Read the epoch *before* verifying:
/// the keys are swapped before it steps, so a reader who sees the new number also sees the new keys.
#[derive(Clone, Debug, Default)]
pub struct Epoch(Arc<AtomicU64>);

impl Epoch {
    /// The number now.
    pub fn current(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn step(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}
