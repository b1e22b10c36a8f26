//! Routes as the operator has rendered them: a `ConfigMap` each, with a Secret of the same name where one is needed.
//!
//! ```text
//!   API server ──watch──▶ objects ──▶ routes that can be served, the last good one of those that cannot ──▶ FeedState
//!   kept file ───────────▶    │
//!        ▲────────────────────┘ every set that was served, for a start while the API server is away
//! ```

mod kept;
mod objects;
mod watching;

use std::{path::PathBuf, sync::Arc};

use kube::Client;
use tokio::sync::watch;

use crate::{error::FeedError, state::FeedState};

/// Where a gateway pod's routes come from.
pub struct ClusterFeed {
    /// Where the rendered objects are: the release's own namespace, and `None` for the pod's.
    pub namespace: Option<String>,
    /// The installation that is served.
    pub class: String,
    /// A folder that outlives the container, for the last set of routes.
    pub keep: Option<PathBuf>,
}

impl ClusterFeed {
    /// Watches from now on, until nobody listens any more; to be called on a runtime. How the API server is reached is
    /// taken from the pod, or from a kubeconfig outside of one.
    ///
    /// The first state has generation 0 and no routes, and says nothing about the cluster. A kept set comes at once,
    /// the cluster's own as soon as both lists were read. A lost API server changes nothing and is tried again.
    pub async fn watch(self) -> Result<watch::Receiver<Arc<FeedState>>, FeedError> {
        let client = Client::try_default().await.map_err(FeedError::Cluster)?;
        let (sender, receiver) = watch::channel(Arc::default());
        tokio::spawn(watching::run(self, client, sender));
        Ok(receiver)
    }
}
