//! What runs beside the loop, for as long as the process does: if one ends, so does the process. An operator that goes on
//! without one of its watches looks well and is not.

use std::collections::HashMap;

use tokio::task::{Id, JoinSet};

use crate::error::OperatorError;

/// Tasks that are not meant to end. They are aborted with this.
#[derive(Default)]
pub(crate) struct Tasks {
    set: JoinSet<()>,
    names: HashMap<Id, String>,
}

impl Tasks {
    /// Starts one. `name` says what is missing without it.
    pub(crate) fn spawn(&mut self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.set.spawn(task).id();
        self.names.insert(id, name.into());
    }

    /// Waits until one has ended, and says which.
    pub(crate) async fn ended(&mut self) -> OperatorError {
        let Some(ended) = self.set.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let (id, how) = match ended {
            Ok((id, ())) => (id, "has ended".to_owned()),
            Err(error) => (error.id(), error.to_string()),
        };
        OperatorError::Ended {
            task: self.names.remove(&id).unwrap_or_default(),
            how,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_or_panics_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("the watch", std::future::pending());
        tasks.spawn("the keeper", async { panic!("oh no") });
        let ended = tasks.ended().await;
        assert_eq!(ended.reason(), "task_ended");
        let text = ended.to_string();
        assert!(text.contains("the keeper") && text.contains("oh no"), "{text}");
        tasks.spawn("the asker", async {});
        assert_eq!(
            tasks.ended().await.to_string(),
            "the asker has stopped: has ended"
        );
    }
}
