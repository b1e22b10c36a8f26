//! What is promised for each phase.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::gateway::Gateway;
use splittoken_tests::hand::{Listener, Peer};
use splittoken_tests::raw::{self, Client};
use splittoken_tests::stand::request;
use splittoken_tests::upstream::Upstream;

use super::{LATE, closed_to_others, ended_well, logged, open_gateway, unready};

fn get(gateway: &Gateway) -> Result<raw::Answer> {
    let answer = gateway.exchange(request(&gateway.host(), "GET /orders", &[], ""))?;
    answer.context("closed without an answer")
}

#[test]
fn unready_at_once_and_serving_for_min_drain() -> Result<()> {
    const MIN_DRAIN: Duration = Duration::from_secs(5);
    let upstream = Upstream::start()?;
    let mut gateway = open_gateway(&upstream.url(), "5s", "20s")?;
    let mut kept = Client::connect(gateway.address())?;
    let ask = request(&gateway.host(), "GET /orders", &[], "");
    kept.send(&ask)?;
    let before = kept.read()?.context("no answer")?;
    ensure!(before.header("connection").is_none(), "sent away before SIGTERM");

    let start = Instant::now();
    gateway.terminate()?;
    let noticed = unready(&gateway)?;
    let ready = gateway.admin("/readyz")?;
    ensure!(ready.text().contains("shutting down"), "{}", ready.text());
    ensure!(noticed < MIN_DRAIN / 2, "unready after {noticed:?}");
    let mut served = 0;
    // Most of the time is left for a slow machine: after it, connections are refused.
    while served == 0 || start.elapsed() < MIN_DRAIN / 4 {
        let answer = get(&gateway)?;
        ensure!(answer.status == 200, "{}", answer.status);
        ensure!(
            answer.header("connection") == Some("close"),
            "a new client may stay"
        );
        ensure!(gateway.admin("/healthz")?.status == 200, "not alive");
        served += 1;
    }
    kept.send(&ask)?;
    let last = kept.read()?.context("the kept connection was closed")?;
    ensure!(
        (last.status, last.header("connection")) == (200, Some("close")),
        "an old client may stay"
    );
    ensure!(kept.closed()?, "not closed after Connection: close");
    let refused = closed_to_others(&gateway, start)?;
    let took = ended_well(&mut gateway, start, MIN_DRAIN + LATE)?;
    eprintln!(
        "unready after {noticed:?}; {served} new connections while leaving; refused after {refused:?}; ended after {took:?}"
    );
    ensure!(refused >= MIN_DRAIN, "refused after {refused:?}");
    Ok(())
}

#[test]
fn slow_answers_and_slow_uploads_finish() -> Result<()> {
    let by_hand = Listener::start()?;
    let mut gateway = open_gateway(&by_hand.url(), "100ms", "60s")?;
    let host = gateway.host();
    let peer = |line: &str, headers: &[&str], body: &str| -> Result<(Peer, Peer)> {
        let mut client = Peer::connect(gateway.address())?;
        client.send(request(&host, line, headers, body))?;
        let upstream = by_hand.accept()?;
        Ok((client, upstream))
    };
    // One whose answer has not begun, one whose answer is on its way, one that is still sending.
    let (mut waiting, mut for_waiting) = peer("GET /waiting", &[], "")?;
    for_waiting.until("\r\n\r\n")?;
    let (mut reading, mut for_reading) = peer("GET /reading", &[], "")?;
    for_reading.until("\r\n\r\n")?;
    for_reading.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
    reading.until("first")?;
    let (mut sending, mut for_sending) = peer("POST /sending", &["Content-Length: 10"], "first")?;
    for_sending.until("first")?;

    let start = Instant::now();
    gateway.terminate()?;
    closed_to_others(&gateway, start)?;
    // Nothing of this is in a hurry.
    sending.send("last!")?;
    for_sending.until("last!")?;
    for_sending.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsent")?;
    sending.until("sent")?;
    for_reading.send("4\r\nlast\r\n0\r\n\r\n")?;
    reading.until("last\r\n0\r\n\r\n")?;
    for_waiting.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")?;
    let text = String::from_utf8_lossy(&waiting.until("done")?).to_ascii_lowercase();
    ensure!(text.contains("connection: close"), "{text}");
    for client in [&mut sending, &mut reading, &mut waiting] {
        client.rest()?;
    }
    let took = ended_well(&mut gateway, start, LATE)?;
    eprintln!("three slow requests finished; ended {took:?} after SIGTERM");
    Ok(())
}

#[test]
fn what_takes_longer_is_cut_at_the_drain_limit() -> Result<()> {
    const DRAIN: Duration = Duration::from_secs(2);
    let by_hand = Listener::start()?;
    let mut gateway = open_gateway(&by_hand.url(), "0s", "2s")?;
    let mut client = Peer::connect(gateway.address())?;
    client.send(request(&gateway.host(), "GET /endless", &[], ""))?;
    let mut upstream = by_hand.accept()?;
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
    client.until("first")?;
    let start = Instant::now();
    gateway.terminate()?;
    let text = client.rest()?;
    let cut = start.elapsed();
    ensure!(
        !text.ends_with(b"0\r\n\r\n"),
        "a cut answer looks like a whole one"
    );
    let took = ended_well(&mut gateway, start, DRAIN + LATE)?;
    eprintln!("cut after {cut:?}, ended after {took:?}");
    ensure!(
        cut >= DRAIN && took < DRAIN * 10,
        "cut after {cut:?}, ended after {took:?}"
    );
    logged(|| gateway.output(), "closing with requests in flight")?;
    Ok(())
}

/// Clients that take their time to read must not keep it from ending, nor lose what they read.
#[test]
fn a_large_answer_to_a_slow_reader_is_whole() -> Result<()> {
    const LENGTH: usize = 24 * 1024 * 1024;
    let upstream = Upstream::start()?;
    upstream.answer(splittoken_tests::wire::answer("200 OK", &[], vec![b'x'; LENGTH]));
    let mut gateway = open_gateway(&upstream.url(), "0s", "60s")?;
    let mut client = Peer::connect(gateway.address())?;
    client.send(request(&gateway.host(), "GET /large", &[], ""))?;
    client.until("xxxx")?;
    let start = Instant::now();
    gateway.terminate()?;
    closed_to_others(&gateway, start)?;
    let whole = client.rest()?;
    let body = whole.len()
        - whole
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap_or_default()
        - 4;
    ensure!(body == LENGTH, "{body} of {LENGTH} bytes");
    ended_well(&mut gateway, start, LATE)?;
    Ok(())
}
