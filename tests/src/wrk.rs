//! wrk: more requests a second than a client of ours could send beside what is measured.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tempfile::TempDir;

use crate::parts;
use crate::process::Process;

/// Requests with one of many tokens each, at random, to be sent to one server after the other.
#[derive(Debug)]
pub struct Wrk {
    tokens: TempDir,
    connections: usize,
}

/// What one run saw.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Run {
    /// Answers, whatever they were.
    pub requests: u64,
    /// Answers other than 200, and connections that broke.
    pub failures: u64,
    /// Microseconds that the run took.
    pub took: u64,
    /// Half of the answers came within so many microseconds.
    pub p50: u64,
    /// 99 of 100 did.
    pub p99: u64,
}

impl Run {
    /// Requests a second.
    pub fn rate(&self) -> f64 {
        exact(self.requests) / exact(self.took) * 1e6
    }
}

impl Wrk {
    /// Requests over so many keep-alive connections.
    pub fn new(connections: usize, tokens: &[String]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join(TOKENS), tokens.join("\n"))?;
        Ok(Self {
            tokens: folder,
            connections,
        })
    }

    /// `GET /orders` for so long.
    pub fn run(&self, server: SocketAddr, duration: Duration) -> Result<Run> {
        let script = parts::source("wrk").join("tokens.lua");
        let mut command = Command::new(parts::path("SPLITTOKEN_WRK")?);
        command.args(["--threads", "1", "--connections", &self.connections.to_string()]);
        command.args([
            "--duration",
            &format!("{}s", duration.as_secs().max(1)),
            "--timeout",
            "10s",
        ]);
        command
            .arg("--script")
            .arg(script)
            .arg(format!("http://{server}/orders"));
        command.env("TOKENS", self.tokens.path().join(TOKENS));
        let text = Process::start("wrk", &command)?.finish(duration + Duration::from_secs(60))?;
        let line = text.lines().rfind(|line| line.starts_with('{'));
        let run: Run = serde_json::from_str(line.with_context(|| format!("wrk gave no figures:\n{text}"))?)?;
        ensure!(run.requests > 0, "wrk got no answer from {server}:\n{text}");
        Ok(run)
    }
}

const TOKENS: &str = "tokens";

/// Figures of benchmarks are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts and microseconds of one run")]
pub fn exact(number: u64) -> f64 {
    number as f64
}
