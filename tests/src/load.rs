//! Clients that call an API all the time and note what they get: what a fault costs is counted, not guessed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::caller::Caller;
use crate::gateway::Gateway;
use crate::shop::metric;

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

impl Sample {
    /// A call that is made now, and gives the status.
    pub fn of(call: impl FnOnce() -> Result<u16>) -> Self {
        let at = Instant::now();
        let status = call().unwrap_or(0);
        Self {
            at,
            took: at.elapsed(),
            status,
        }
    }
}

/// Clients at work. They stop when this is dropped.
#[derive(Debug, Default)]
pub struct Load {
    stopped: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// As many clients as there are lists, each calling with its tokens in turn, on a connection of its own.
    pub fn start(gateway: &Gateway, clients: Vec<Vec<String>>) -> Result<Self> {
        let mut load = Self::default();
        for tokens in clients {
            load.add_client(Caller::of(gateway)?, tokens);
        }
        Ok(load)
    }

    /// One more client, calling with these tokens in turn.
    pub fn add_client(&mut self, mut caller: Caller, tokens: Vec<String>) {
        let mut tokens = tokens.into_iter().cycle();
        self.add(move || {
            let token = tokens.next()?;
            Some(Sample::of(|| caller.status(&token)))
        });
    }

    /// One more client, which makes a call each time it is asked. It ends where it has none to make, or got no answer:
    /// the connection is gone, and the sample says so.
    pub fn add(&mut self, mut call: impl FnMut() -> Option<Sample> + Send + 'static) {
        let (stopped, samples) = (Arc::clone(&self.stopped), Arc::clone(&self.samples));
        self.threads.push(thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let Some(sample) = call() else { return };
                lock(&samples).push(sample);
                if sample.status == 0 {
                    return;
                }
                thread::sleep(PAUSE);
            }
        }));
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

/// Prints what clients got, and fails unless every one of these calls was answered with 200. Not counted against anybody
/// is a 503 that a gateway puts down to a Redis without an answer in 100 ms: on a busy machine that happens to the best.
pub fn untouched(what: &str, gateways: &[&Gateway], samples: &[Sample]) -> Result<()> {
    let served = count(samples, 200);
    let failed = samples.len() - served;
    let times: Vec<Duration> = samples.iter().map(|sample| sample.took).collect();
    eprintln!(
        "{what}: {} requests, {failed} failed, {} × 401; p50 {:.1?}, p99 {:.1?}, max {:.1?}",
        samples.len(),
        count(samples, 401),
        quantile(&times, 0.5),
        quantile(&times, 0.99),
        quantile(&times, 1.0),
    );
    ensure!(served > 0, "{what}: nobody was served");
    if failed == 0 {
        return Ok(());
    }
    let late = late(gateways)?;
    eprintln!("{what}: {late} × 503 because Redis was late");
    ensure!(
        count(samples, 503) == failed && failed as u64 <= late,
        "{what}: not 200 alone: {}",
        reasons(gateways)
    );
    Ok(())
}

/// How often these gateways have answered 503 because Redis did not answer them in time.
pub fn late(gateways: &[&Gateway]) -> Result<u64> {
    gateways.iter().map(|gateway| metric(gateway, LATE)).sum()
}

/// How a gateway counts that.
const LATE: &str = "splittoken_gateway_failures_total{reason=\"deadline\"}";

/// Why the gateways have answered requests themselves.
fn reasons(gateways: &[&Gateway]) -> String {
    let of_one = |gateway: &&Gateway| {
        let metrics = gateway.admin("/metrics").map(|answer| answer.text());
        let lines = metrics.unwrap_or_default();
        let lines = lines.lines().filter(|line| line.contains("failures_total{"));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    gateways.iter().map(of_one).collect()
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

fn lock(samples: &Mutex<Vec<Sample>>) -> MutexGuard<'_, Vec<Sample>> {
    samples.lock().unwrap_or_else(PoisonError::into_inner)
}
