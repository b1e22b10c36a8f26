use std::sync::Arc;

use splittoken_api::Verdict;
use splittoken_routing::CompiledRoute;

use crate::error::FeedError;

/// What a feed has to say at a time: the last good set, and what is wrong with a later one.
#[derive(Clone, Debug, Default)]
pub struct FeedState {
    /// The last good set, oldest route first.
    pub routes: Arc<Vec<CompiledRoute>>,
    /// The verdicts on that set: with files, warnings only.
    pub verdicts: Arc<Vec<Verdict>>,
    /// Counts the good sets, from 1. Unchanged while `routes` is the same set.
    pub generation: u64,
    /// Why the sources as they are now are not what is served; `None` if they are.
    pub last_error: Option<Arc<FeedError>>,
}
