//! The demo: the built binary `splittoken demo`, started as a new user starts it.

use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::gateway::binary;
use crate::http::{Answer, Client};
use crate::process::Process;
use crate::{ports, wait};

/// The line that the demo prints last, once everything runs.
const LAST_LINE: &str = "\nCtrl-C ends it.\n";

/// The line after which the lines to copy begin.
const INVITATION: &str = "copy these lines";

/// A running demo.
#[derive(Debug)]
pub struct Demo {
    process: Process,
    address: SocketAddr,
    http: Client,
}

impl Demo {
    /// Starts it on a free port of 127.0.0.1 with its own memory as the store.
    pub fn start() -> Result<Self> {
        Self::with(&[])
    }

    /// [`Self::start`] with more arguments, such as `["--store", "redis://…"]`.
    pub fn with(arguments: &[&str]) -> Result<Self> {
        Self::on(SocketAddr::from(([127, 0, 0, 1], ports::free()?)), arguments)
    }

    /// [`Self::with`] on this address. Waits until it has printed all that it prints.
    pub fn on(address: SocketAddr, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command
            .args(["demo", "--listen", &address.to_string()])
            .args(arguments);
        let mut process = Process::start("splittoken demo", &command)?;
        process.ready(wait::START, |text| text.contains(LAST_LINE).then_some(()))?;
        Ok(Self {
            process,
            address,
            http: Client::new()?,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://ADDRESS` and `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// GET of a path that needs no token.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.http.get(&self.url(path))
    }

    /// The JWT that its provider issued last, as the page shows it.
    pub fn issued(&self) -> Result<String> {
        self.get("/demo/issued")?.member("jwt")
    }

    /// Everything that it wrote so far.
    pub fn text(&self) -> String {
        self.process.text()
    }

    /// The lines that it invites to copy, each as it stands there, comments and empty lines included.
    pub fn lines(&self) -> Result<Vec<String>> {
        let text = self.text();
        let (_, after) = text.split_once(INVITATION).context("no invitation to copy")?;
        let (_, after) = after.split_once('\n').context("nothing to copy")?;
        let (lines, _) = after.split_once(LAST_LINE).context("no last line")?;
        Ok(lines.lines().map(str::to_owned).collect())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) -> Result<()> {
        self.process.terminate()
    }

    /// SIGINT, as Ctrl-C sends it, without waiting.
    pub fn interrupt(&self) -> Result<()> {
        self.process.interrupt()
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.wait(limit)
    }
}
