//! A collector that is slow, wrong or gone: nobody notices but a metric.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use splittoken_tests::ports;
use splittoken_tests::raw::Client;
use splittoken_tests::shop::metric;
use splittoken_tests::stand::{Stand, request};
use splittoken_tests::wait;
use splittoken_tests::wire::{Step, answer};

use crate::{Traced, route};

/// Ten times the second that the end may take besides what it waits for.
const END: Duration = Duration::from_secs(10);

/// Requests on one connection, every one of which must work; the slowest.
pub fn many(stand: &Stand, number: usize) -> Result<Duration> {
    let mut client = Client::connect(stand.gateway.address())?;
    let bytes = request(&stand.gateway.host(), "GET /open", &[], "");
    let mut slowest = Duration::ZERO;
    for at in 0..number {
        let start = Instant::now();
        client.send(&bytes)?;
        let status = client.read()?.map(|answer| answer.status);
        ensure!(status == Some(200), "request {at}: {status:?}");
        slowest = slowest.max(start.elapsed());
    }
    Ok(slowest)
}

pub fn spans(stand: &Stand, outcome: &str) -> Result<u64> {
    let line = format!("splittoken_gateway_trace_spans_total{{outcome=\"{outcome}\"}}");
    metric(&stand.gateway, &line)
}

pub fn ends(stand: &mut Stand) -> Result<Duration> {
    let start = Instant::now();
    stand.gateway.terminate()?;
    let status = stand.gateway.wait(END)?;
    ensure!(status.success(), "{status}");
    Ok(start.elapsed())
}

pub const AT_ONCE: [&str; 4] = ["--min-drain", "0s", "--drain", "5s"];

#[test]
fn a_collector_that_hangs_delays_nobody_and_the_end_by_two_seconds() -> Result<()> {
    let arguments = [&["--trace-sampling", "1"], &AT_ONCE[..]].concat();
    let Traced { mut stand, collector } = Traced::with(&arguments)?;
    collector.steps(vec![Step::Hold]);
    // More than twice what the queue holds.
    let slowest = many(&stand, 5_000)?;
    ensure!(slowest < Duration::from_secs(1), "a request took {slowest:?}");
    let dropped = spans(&stand, "dropped")?;
    ensure!(dropped > 0, "nothing was dropped");
    wait::until_true(Duration::from_secs(60), "failed exports to be counted", || {
        spans(&stand, "failed").is_ok_and(|failed| failed > 0)
    })?;
    ensure!(spans(&stand, "exported")? == 0);
    many(&stand, 100)?;
    let took = ends(&mut stand)?;
    eprintln!("slowest request {slowest:?}, {dropped} spans dropped, ended in {took:?}");
    ensure!(took < Duration::from_secs(4), "the end took {took:?}");
    Ok(())
}

#[test]
fn a_collector_that_is_not_there_or_refuses_delays_nobody() -> Result<()> {
    let nobody = format!("http://127.0.0.1:{}", ports::free()?);
    let mut stand = Stand::built(route, |gateway| {
        gateway
            .arguments(&["--otlp-endpoint", &nobody, "--trace-sampling", "1"])
            .arguments(&AT_ONCE)
    })?;
    many(&stand, 500)?;
    wait::until_true(Duration::from_secs(20), "failed exports to be counted", || {
        spans(&stand, "failed").is_ok_and(|failed| failed > 0)
    })?;
    let took = ends(&mut stand)?;
    ensure!(took < Duration::from_secs(4), "the end took {took:?}");
    let arguments = [&["--trace-sampling", "1"], &AT_ONCE[..]].concat();
    let Traced { mut stand, collector } = Traced::with(&arguments)?;
    for status in ["400 Bad Request", "302 Found", "503 Later"] {
        let elsewhere = [("Location", "http://127.0.0.1:1/"), ("Retry-After", "3600")];
        collector.steps(vec![Step::Send(answer(status, &elsewhere, "no"))]);
        let before = spans(&stand, "failed")?;
        many(&stand, 10)?;
        wait::until_true(Duration::from_secs(60), status, || {
            spans(&stand, "failed").is_ok_and(|failed| failed >= before + 20)
        })?;
    }
    let took = ends(&mut stand)?;
    ensure!(took < Duration::from_secs(4), "the end took {took:?}");
    Ok(())
}

#[test]
fn what_has_ended_is_sent_before_the_process_ends() -> Result<()> {
    let arguments = [&["--trace-sampling", "1"], &AT_ONCE[..]].concat();
    let Traced { mut stand, collector } = Traced::with(&arguments)?;
    many(&stand, 50)?;
    let took = ends(&mut stand)?;
    ensure!(
        collector.spans()?.len() == 100,
        "{} spans",
        collector.spans()?.len()
    );
    eprintln!("ended in {took:?}");
    Ok(())
}
