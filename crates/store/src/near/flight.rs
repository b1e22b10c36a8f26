//! One read that many wait for.

use parking_lot::Mutex;
use splittoken_token::{LookupId, Realm};
use tokio::sync::Notify;

use super::CacheKey;

/// A read under way. One of those who wait for it leads, that is, does the read; when it gives up, another does.
pub(super) struct Flight<V, E> {
    pub(super) key: CacheKey,
    pub(super) realm: Realm,
    pub(super) ids: Box<[LookupId]>,
    state: Mutex<State<V, E>>,
    changed: Notify,
}

struct State<V, E> {
    /// Counts the changes that were told while we read.
    generation: u64,
    waiting: usize,
    phase: Phase<V, E>,
}

enum Phase<V, E> {
    Leaderless,
    Led,
    Landed {
        result: Result<Option<V>, E>,
        generation: u64,
    },
}

/// What someone who waits is to do.
pub(super) enum Turn<V, E> {
    /// Read, and land.
    Lead,
    /// Take this.
    Share(Result<Option<V>, E>),
    /// Begin anew: a change was told before you came, and the result is from before that.
    TooOld,
}

impl<V: Clone, E: Clone> Flight<V, E> {
    /// Waits for the result of the read, or for the duty to do it. `joined` is what [`Flight::board`] gave.
    pub(super) async fn turn(&self, joined: u64) -> Turn<V, E> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before looking, so that no change falls between looking and waiting.
            changed.as_mut().enable();
            match &mut self.state.lock().phase {
                phase @ Phase::Leaderless => {
                    *phase = Phase::Led;
                    return Turn::Lead;
                }
                Phase::Led => {}
                Phase::Landed { generation, .. } if *generation < joined => return Turn::TooOld,
                Phase::Landed { result, .. } => return Turn::Share(result.clone()),
            }
            changed.await;
        }
    }
}

impl<V, E> Flight<V, E> {
    pub(super) fn new(key: CacheKey, realm: Realm, ids: &[LookupId]) -> Self {
        Self {
            key,
            realm,
            ids: ids.into(),
            state: Mutex::new(State {
                generation: 0,
                waiting: 0,
                phase: Phase::Leaderless,
            }),
            changed: Notify::new(),
        }
    }

    /// One more waits. To be called under the book's lock.
    pub(super) fn board(&self) -> u64 {
        let mut state = self.state.lock();
        state.waiting += 1;
        state.generation
    }

    /// One less waits. `true` if nobody does any more and there is no result. To be called under the book's lock.
    pub(super) fn leave(&self) -> bool {
        let mut state = self.state.lock();
        state.waiting -= 1;
        state.waiting == 0 && !matches!(state.phase, Phase::Landed { .. })
    }

    pub(super) fn generation(&self) -> u64 {
        self.state.lock().generation
    }

    pub(super) fn outdate(&self) {
        self.state.lock().generation += 1;
    }

    /// The leader is done: `result` is what it read, having begun at `generation`.
    pub(super) fn land(&self, result: Result<Option<V>, E>, generation: u64) {
        self.state.lock().phase = Phase::Landed { result, generation };
        self.changed.notify_waiters();
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.state.lock().waiting
    }

    /// The leader gave up, unless it has landed: somebody else leads.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Led) {
            state.phase = Phase::Leaderless;
            drop(state);
            self.changed.notify_waiters();
        }
    }
}
