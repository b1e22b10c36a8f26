//! Waiting on conditions.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a part may take to start, unless it says otherwise. Generous: a busy machine is not a failure.
pub const START: Duration = Duration::from_secs(60);

/// Calls `check` every 10 ms until it gives a value; after `limit`, fails with "waited 30s for `what`".
pub fn until<T>(limit: Duration, what: &str, mut check: impl FnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = check() {
            return Ok(value);
        }
        if start.elapsed() > limit {
            bail!("waited {limit:?} for {what}");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// [`until`] for a plain condition.
pub fn until_true(limit: Duration, what: &str, mut check: impl FnMut() -> bool) -> Result<()> {
    until(limit, what, || check().then_some(()))
}
