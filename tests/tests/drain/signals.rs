//! Signals that come twice, or before anything is served.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::gateway::{self, Gateway};
use splittoken_tests::hand::{Listener, Peer};
use splittoken_tests::process::Process;
use splittoken_tests::route::Route;
use splittoken_tests::stand::request;
use splittoken_tests::{ports, wait};

use super::{LATE, ended_well, logged, open_gateway, unready};

/// "At once", on a loaded machine.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Two signals to a gateway that would otherwise wait for a minute; its exit code.
fn twice(first: fn(&Gateway) -> Result<()>, second: fn(&Gateway) -> Result<()>) -> Result<Option<i32>> {
    let by_hand = Listener::start()?;
    let mut gateway = open_gateway(&by_hand.url(), "60s", "60s")?;
    let mut client = Peer::connect(gateway.address())?;
    client.send(request(&gateway.host(), "GET /endless", &[], ""))?;
    by_hand.accept()?.until("\r\n\r\n")?;
    first(&gateway)?;
    unready(&gateway)?;
    ensure!(gateway.is_running(), "the first signal did not wait");
    let start = Instant::now();
    second(&gateway)?;
    let status = gateway.wait(AT_ONCE)?;
    eprintln!("a second signal: {status} after {:?}", start.elapsed());
    logged(|| gateway.output(), "asked to end again")?;
    Ok(status.code())
}

#[test]
fn a_second_signal_ends_it_at_once() -> Result<()> {
    ensure!(twice(Gateway::terminate, Gateway::terminate)? == Some(143));
    ensure!(twice(Gateway::interrupt, Gateway::interrupt)? == Some(130));
    ensure!(twice(Gateway::terminate, Gateway::interrupt)? == Some(130));
    Ok(())
}

#[test]
fn sigint_drains_as_sigterm_does() -> Result<()> {
    let by_hand = Listener::start()?;
    let mut gateway = open_gateway(&by_hand.url(), "1s", "20s")?;
    let start = Instant::now();
    gateway.interrupt()?;
    unready(&gateway)?;
    let took = ended_well(&mut gateway, start, LATE)?;
    ensure!(took >= Duration::from_secs(1), "not drained: {took:?}");
    Ok(())
}

#[test]
fn the_help_says_so() -> Result<()> {
    let help = gateway::run(&["gateway", "--help"])?;
    let text = String::from_utf8_lossy(&help.stdout)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    ensure!(text.contains("A second one ends the process at once"), "{text}");
    Ok(())
}

/// Many routes take a while to read, in which nothing is served: it ends at once, and well.
#[test]
fn sigterm_during_startup_ends_it_at_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for file in 0..20 {
        let rules: Vec<_> = (0..16)
            .map(|rule| {
                json!({"name": format!("rule-{rule}"), "backendRefs": [{"url": "http://127.0.0.1:1"}],
                               "matches": [{"path": {"value": format!("/{rule}")}}]})
            })
            .collect();
        let text: String = (0..100)
            .map(|number| {
                let name = format!("route-{file}-{number}");
                let spec = json!({"hostnames": [format!("{name}.example")], "rules": rules});
                String::from(Route::new("http://127.0.0.1:1", "http://127.0.0.1:1").spec(&spec))
                    .replace("\"shop\"", &format!("\"{name}\""))
            })
            .collect();
        fs::write(folder.path().join(format!("{file}.yaml")), text)?;
    }
    let (listen, admin) = (ports::free()?, ports::free()?);
    let mut command = Command::new(gateway::binary()?);
    command.args(["gateway", "--routes"]).arg(folder.path());
    command.args([
        "--listen",
        &format!("127.0.0.1:{listen}"),
        "--admin",
        &format!("127.0.0.1:{admin}"),
    ]);
    let mut process = Process::start("splittoken gateway", &command)?;
    catches_sigterm(&process)?;
    let start = Instant::now();
    process.terminate()?;
    let status = process.wait(AT_ONCE)?;
    eprintln!("SIGTERM during startup: {status} after {:?}", start.elapsed());
    ensure!(status.code() == Some(0), "{status}: {}", process.text());
    // Otherwise it came too late for this test.
    logged(|| process.output(), "before anything was served")?;
    Ok(())
}

/// Waits until the process has a handler of its own for SIGTERM, as its status says: bit 14 of the caught signals.
fn catches_sigterm(process: &Process) -> Result<()> {
    let status = format!("/proc/{}/status", process.pid());
    wait::until_true(wait::START, "SIGTERM to be caught", || {
        let caught = || -> Result<u64> {
            let text = fs::read_to_string(&status)?;
            let line = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            Ok(u64::from_str_radix(line.context("no SigCgt")?.trim(), 16)?)
        };
        caught().is_ok_and(|caught| caught & (1 << 14) != 0)
    })
}
