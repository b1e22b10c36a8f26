//! Files that change by themselves, as mounted Secrets do: read again and again.

use std::{sync::Arc, time::Duration};

use tokio::{task::spawn_blocking, time::sleep};

/// Kubernetes itself takes up to a minute to bring a changed Secret here.
const POLL: Duration = Duration::from_secs(2);

/// Takes over what `read` gives whenever its text changes, the first one included. What cannot be read changes nothing,
/// and is said once.
pub(super) async fn follow<X, T>(
    what: &str,
    read: impl Fn() -> anyhow::Result<(X, T)> + Send + Sync + 'static,
    mut take_over: impl FnMut(T),
) where
    X: PartialEq + Send + 'static,
    T: Send + 'static,
{
    let read = Arc::new(read);
    let mut last = None;
    loop {
        let again = Arc::clone(&read);
        let found = spawn_blocking(move || again()).await;
        let (state, value) = match found {
            Ok(Ok((text, value))) => (Ok(text), Some(value)),
            Ok(Err(error)) => (Err(format!("{error:#}")), None),
            Err(panic) => (Err(panic.to_string()), None),
        };
        if last.as_ref() != Some(&state) {
            match (value, &state) {
                (Some(value), _) => take_over(value),
                (None, Err(error)) => tracing::error!(error, "{what} stays as it was"),
                (None, Ok(_)) => {}
            }
            last = Some(state);
        }
        sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use anyhow::ensure;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_changes_is_taken_over_and_what_is_broken_is_not() {
        let file = Arc::new(AtomicUsize::new(1));
        let (send, mut taken) = mpsc::unbounded_channel();
        let read = {
            let file = Arc::clone(&file);
            move || {
                let number = file.load(Ordering::Relaxed);
                ensure!(number > 0, "broken");
                Ok((number, number))
            }
        };
        let follow = tokio::spawn(follow("it", read, move |number| send.send(number).unwrap()));
        assert_eq!(taken.recv().await, Some(1));
        for unchanged in [1, 0, 1] {
            file.store(unchanged, Ordering::Relaxed);
            sleep(POLL * 3).await;
            if unchanged == 0 {
                assert!(taken.is_empty(), "taken over though it is broken");
            }
        }
        // What is whole again is taken over, even if nothing came of the edit.
        assert_eq!(taken.recv().await, Some(1));
        file.store(2, Ordering::Relaxed);
        assert_eq!(taken.recv().await, Some(2));
        follow.abort();
    }
}
