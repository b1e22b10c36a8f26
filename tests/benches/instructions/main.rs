//! What a request costs the gateway in instructions, allocations and system calls: `just instructions`.
//!
//! A fixed number of requests goes through the gateway under callgrind, in rounds: all connections send, then all read.
//! Such counts hold on a busy machine where CPU time does not. They lack all that the kernel does, which is about half
//! of a request's CPU time, and say nothing of caches: a call on `writev` counts here as the few instructions up to it.

mod counts;
#[path = "../stage/mod.rs"]
mod stage;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use counts::Counts;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::nginx::Nginx;
use splittoken_tests::process::Process;
use splittoken_tests::raw::Client;
use splittoken_tests::shop::connected;

const CONNECTIONS: usize = 32;
/// Enough for all to be in the near cache, and for every connection to have been used.
const WARM_UP: usize = 20;
const ROUNDS: usize = 100;
const TOKENS: usize = 100;
/// Under callgrind everything takes fifty times as long.
const PATIENCE: Duration = Duration::from_secs(300);

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("callgrind.out");
    let upstream = Nginx::answering(1, &"x".repeat(stage::ANSWER))?;
    let shop = stage::shop()?;
    let option = format!("--callgrind-out-file={}", out.display());
    let gateway = stage::gateway(&shop, upstream.address())
        .under(&["valgrind", "--tool=callgrind", "--instr-atstart=no", &option])
        .start()?;
    connected(&gateway, PATIENCE)?;
    let tokens = stage::issue(&gateway, TOKENS)?;
    let mut clients = (0..CONNECTIONS)
        .map(|_| Client::connect(gateway.address()))
        .collect::<Result<Vec<_>>>()?;
    rounds(&gateway, &mut clients, &tokens, WARM_UP)?;
    control(&gateway, "--instr=on")?;
    rounds(&gateway, &mut clients, &tokens, ROUNDS)?;
    control(&gateway, "--instr=off")?;
    control(&gateway, "--dump=measured")?;
    let (text, kept) = dumped(folder.path())?;
    Counts::read(&text)?.print(CONNECTIONS * ROUNDS);
    println!("\nFor callgrind_annotate: {kept}");
    Ok(())
}

fn rounds(gateway: &Gateway, clients: &mut [Client], tokens: &[String], number: usize) -> Result<()> {
    let host = gateway.host();
    let mut tokens = tokens.iter().cycle();
    for _ in 0..number {
        for client in &mut *clients {
            let token = tokens.next().context("no tokens")?;
            client.send(format!(
                "GET /orders HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
            ))?;
        }
        for client in &mut *clients {
            let answer = client.read()?.context("the gateway closed a connection")?;
            ensure!(
                answer.status == 200 && answer.body.len() == stage::ANSWER,
                "not the answer: {}",
                answer.status
            );
        }
    }
    Ok(())
}

fn control(gateway: &Gateway, what: &str) -> Result<()> {
    let mut command = Command::new("callgrind_control");
    command.arg(what).arg(gateway.pid().to_string());
    Process::start("callgrind_control", &command)?.finish(PATIENCE)?;
    Ok(())
}

/// The dump that has counts, and where it is kept.
fn dumped(folder: &Path) -> Result<(String, String)> {
    for entry in fs::read_dir(folder)? {
        let text = fs::read_to_string(entry?.path())?;
        if text.lines().any(|line| line == "desc: Trigger: dump measured") {
            let kept = std::env::temp_dir().join("splittoken-callgrind.out");
            fs::write(&kept, &text)?;
            return Ok((text, kept.display().to_string()));
        }
    }
    bail!("callgrind has written nothing")
}
