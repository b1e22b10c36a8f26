//! Another client: whatever somebody else does, it is served, and what it takes is bounded.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::cpu;
use splittoken_tests::gate::Gate;

/// The most memory that one attack may take for good, in bytes.
const MEMORY: u64 = 64 * 1024 * 1024;

/// Far more than an answer takes, even while somebody else does their worst.
const LONGEST: Duration = Duration::from_secs(5);

/// On a busy machine it is this many times what an answer took before that.
const SLOWER: u32 = 100;

/// Runs `attack` while another client makes requests, one after the other; each must be answered.
pub fn beside<T>(gate: &Gate, name: &str, attack: impl FnOnce() -> Result<T>) -> Result<T> {
    let pid = gate.stand.gateway.pid();
    let most = LONGEST.max(usual(gate)? * SLOWER);
    let before = cpu::memory(pid)?;
    let is_over = AtomicBool::new(false);
    let (outcome, seen) = thread::scope(|scope| {
        let witness = scope.spawn(|| watch(gate, &is_over));
        let outcome = attack();
        is_over.store(true, Ordering::Relaxed);
        (outcome, witness.join().expect("no panic"))
    });
    let Seen {
        served,
        longest,
        peak,
    } = seen.with_context(|| format!("another client, {name}"))?;
    let grown = peak.saturating_sub(before);
    println!(
        "{name}: {served} others served, the slowest in {longest:?}, {} KiB more at the most",
        grown / 1024
    );
    ensure!(
        longest < most,
        "{name}: somebody waited for {longest:?}, and not {most:?} at the most"
    );
    ensure!(grown < MEMORY, "{name}: {} MiB more", grown / 1024 / 1024);
    outcome.with_context(|| name.to_owned())
}

struct Seen {
    served: usize,
    longest: Duration,
    peak: u64,
}

/// What the slowest of some answers takes.
fn usual(gate: &Gate) -> Result<Duration> {
    let times = (0..10).map(|_| served(gate)).collect::<Result<Vec<_>>>()?;
    Ok(times.into_iter().max().unwrap_or_default())
}

/// What an answer takes, which must be a good one.
fn served(gate: &Gate) -> Result<Duration> {
    let start = Instant::now();
    let answer = gate.stand.get("/good", &gate.token)?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    Ok(start.elapsed())
}

fn watch(gate: &Gate, is_over: &AtomicBool) -> Result<Seen> {
    let mut seen = Seen {
        served: 0,
        longest: Duration::ZERO,
        peak: 0,
    };
    // Once more after the end.
    let mut is_last = false;
    while !is_last {
        is_last = is_over.load(Ordering::Relaxed);
        seen.longest = seen.longest.max(served(gate)?);
        seen.served += 1;
        seen.peak = seen.peak.max(cpu::memory(gate.stand.gateway.pid())?);
        thread::sleep(Duration::from_millis(20));
    }
    Ok(seen)
}
