//! The background task: the only writer of endpoints and keys.

mod archive;
mod endpoints;
mod keys;

use std::{
    future::pending,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
};

use tokio::join;

use crate::shared::Shared;

/// Goes on until dropped. Each looks after itself, so that none waits for what another one's URL does not answer.
pub(crate) async fn run(shared: Arc<Shared>) {
    join!(endpoints::run(&shared), keys::run(&shared), archive::run(&shared));
    // Nothing is to be fetched.
    pending::<()>().await;
}

/// Tells the waiting ones when the task ends, however it ends.
pub(crate) struct EndGuard(pub(crate) Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.progress.send_modify(|progress| progress.ended = true);
    }
}

/// A number in 0..1, other ones in other processes. It spreads load and guards nothing.
fn chance() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(bits >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}
