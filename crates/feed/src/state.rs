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
    /// Routes that are there and cannot be served in their newest form. Their last good form, if any, is in `routes`.
    pub rejected: Arc<Vec<RejectedRoute>>,
}

/// A route that cannot be served in its newest form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RejectedRoute {
    /// The object that it came in.
    pub object: String,
    /// `namespace/name`, as far as it could be read.
    pub route: Option<String>,
    /// The revision, likewise.
    pub revision: Option<String>,
    /// One word of a closed set.
    pub reason: &'static str,
    /// For people. Quotes no secret.
    pub message: String,
}

impl RejectedRoute {
    pub(crate) fn because(&self, reason: &'static str, message: &dyn std::fmt::Display) -> Self {
        Self {
            reason,
            message: message.to_string(),
            ..self.clone()
        }
    }
}
