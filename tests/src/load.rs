//! Clients that call an API all the time and note what they get: what a fault costs is counted, not guessed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::caller::Caller;
use crate::gateway::Gateway;

/// Between two calls of one client: often enough to see milliseconds, seldom enough to leave the machine to others.
const PAUSE: Duration = Duration::from_millis(2);

/// One call.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// When it was sent.
    pub at: Instant,
    /// Until the answer was read.
    pub took: Duration,
    /// The status; 0 where there was no answer.
    pub status: u16,
}

/// Clients at work. They stop when this is dropped.
#[derive(Debug)]
pub struct Load {
    stopped: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// As many clients as there are lists, each calling with its tokens in turn, on a connection of its own.
    pub fn start(gateway: &Gateway, clients: Vec<Vec<String>>) -> Result<Self> {
        let (stopped, samples) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut load = Self {
            stopped,
            samples,
            threads: Vec::new(),
        };
        for tokens in clients {
            let (stopped, samples) = (Arc::clone(&load.stopped), Arc::clone(&load.samples));
            let caller = Caller::of(gateway)?;
            load.threads
                .push(thread::spawn(move || work(caller, &tokens, &stopped, &samples)));
        }
        Ok(load)
    }

    /// All calls so far, by the time at which they were sent.
    pub fn samples(&self) -> Vec<Sample> {
        let mut samples = lock(&self.samples).clone();
        samples.sort_by_key(|sample| sample.at);
        samples
    }

    /// The calls sent at or after `start`.
    pub fn since(&self, start: Instant) -> Vec<Sample> {
        let mut samples = self.samples();
        samples.retain(|sample| sample.at >= start);
        samples
    }

    /// Stops, and gives all calls.
    pub fn finish(mut self) -> Vec<Sample> {
        self.stop();
        self.samples()
    }

    fn stop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // A client that panicked shows as missing samples, and its message is printed.
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How many of these calls got this status.
pub fn count(samples: &[Sample], status: u16) -> usize {
    samples.iter().filter(|sample| sample.status == status).count()
}

/// The `share` (0 to 1) quantile of durations.
pub fn quantile(durations: &[Duration], share: f64) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a list of some thousands"
    )]
    let index = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(index).copied().unwrap_or_default()
}

fn work(mut caller: Caller, tokens: &[String], stopped: &AtomicBool, samples: &Mutex<Vec<Sample>>) {
    for token in tokens.iter().cycle() {
        if stopped.load(Ordering::SeqCst) {
            return;
        }
        let at = Instant::now();
        let status = caller.status(token);
        let sample = Sample {
            at,
            took: at.elapsed(),
            status: *status.as_ref().unwrap_or(&0),
        };
        lock(samples).push(sample);
        if status.is_err() {
            // The connection is gone; the sample says so.
            return;
        }
        thread::sleep(PAUSE);
    }
}

fn lock(samples: &Mutex<Vec<Sample>>) -> MutexGuard<'_, Vec<Sample>> {
    samples.lock().unwrap_or_else(PoisonError::into_inner)
}
