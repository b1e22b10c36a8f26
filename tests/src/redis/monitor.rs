//! What somebody sees who watches a Redis with MONITOR.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::Connection;
use crate::wait;

/// A thread writes this soon after a command what it was.
const LATE: Duration = Duration::from_secs(10);

/// A watcher of one Redis, until that Redis ends.
#[derive(Debug)]
pub struct Monitor {
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Monitor {
    pub(super) fn start(mut connection: Connection) -> Result<Self> {
        connection.command(&["MONITOR"])?;
        connection.wait_for_ever()?;
        let seen = Arc::<Mutex<Vec<u8>>>::default();
        let lines = Arc::clone(&seen);
        thread::spawn(move || {
            while let Some(line) = connection.receive() {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.extend_from_slice(&line.bytes());
                lines.push(b'\n');
            }
        });
        Ok(Self { seen })
    }

    /// The commands so far, one a line, as Redis spells them.
    pub fn seen(&self) -> Vec<u8> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `text` stands in it.
    pub fn has(&self, text: &str) -> Result<()> {
        wait::until_true(LATE, &format!("`{text}` in MONITOR"), || {
            memchr::memmem::find(&self.seen(), text.as_bytes()).is_some()
        })
    }
}
