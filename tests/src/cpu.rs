//! The CPU time of processes, which holds on a busy machine where elapsed time does not.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Ticks of `/proc/PID/stat` in a second, on every Linux that Rust supports (`getconf CLK_TCK`).
const TICKS: u64 = 100;

/// User and system time of these processes, all their threads included.
pub fn time(pids: &[u32]) -> Result<Duration> {
    pids.iter().map(|pid| of(*pid)).sum()
}

fn of(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    // The name in parentheses may hold anything; behind it the third field comes first (proc(5)).
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat is malformed")?;
    let mut numbers = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (numbers.next(), numbers.next());
    let ticks = user.context("no user time")?? + system.context("no system time")??;
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

/// The resident memory of a process, in bytes.
pub fn memory(pid: u32) -> Result<u64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid}"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn a_busy_loop_is_seen() -> Result<()> {
        let me = [std::process::id()];
        let before = time(&me)?;
        let mut number = 0_u64;
        while time(&me)? < before + Duration::from_millis(50) {
            number = black_box(number.wrapping_add(1));
        }
        assert!(memory(me[0])? > 1024 * 1024);
        Ok(())
    }
}
