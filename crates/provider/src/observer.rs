use std::time::Duration;

/// Who is told of each fetch of a provider's documents: for metrics.
pub trait Observer: Send + Sync + 'static {
    /// `document` is `discovery` or `jwks`, `outcome` is `ok` or the reason of a failure: both are of closed sets. Called
    /// from the background task, which it must not block.
    fn fetched(&self, document: &'static str, outcome: &'static str, took: Duration);
}
