//! The moment at which a gateway closes to others. Whoever has connected by then, or has begun to ask, is served.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::raw::{Answer, Client};
use splittoken_tests::stand::request;
use splittoken_tests::upstream::Upstream;
use splittoken_tests::wait;

use super::{LATE, closed_to_others, ended_well, open_gateway, unready};

/// How long a client has for a request's head.
const HEAD: Duration = Duration::from_secs(5);

/// Time to connect while the gateway leaves, and to ask after it has closed, for a slow machine: the sum is [`HEAD`].
const TO_CONNECT: &str = "2s";

fn answered(client: &mut Client) -> Result<Answer> {
    let answer = client.read()?.context("closed without an answer")?;
    ensure!(answer.status == 200, "{}", answer.status);
    ensure!(answer.header("connection") == Some("close"), "may stay");
    Ok(answer)
}

#[test]
fn who_has_connected_but_not_asked_yet_is_served() -> Result<()> {
    let upstream = Upstream::start()?;
    let mut gateway = open_gateway(&upstream.url(), TO_CONNECT, "60s")?;
    let start = Instant::now();
    gateway.terminate()?;
    unready(&gateway)?;
    let mut clients = (0..20)
        .map(|_| Client::connect(gateway.address()))
        .collect::<Result<Vec<_>>>()?;
    closed_to_others(&gateway, start)?;
    for client in &mut clients {
        client.send(request(&gateway.host(), "GET /orders", &[], ""))?;
        answered(client)?;
    }
    ended_well(&mut gateway, start, LATE)?;
    Ok(())
}

#[test]
fn who_has_sent_half_a_head_is_served() -> Result<()> {
    let upstream = Upstream::start()?;
    let mut gateway = open_gateway(&upstream.url(), "200ms", "60s")?;
    let ask = request(&gateway.host(), "GET /orders", &[], "");
    let mut clients = Vec::new();
    for number in 0..20 {
        let mut client = Client::connect(gateway.address())?;
        // Half of them have asked before.
        if number % 2 == 0 {
            client.send(&ask)?;
            client.read()?.context("no answer")?;
        }
        client.send(&ask[..20])?;
        clients.push(client);
    }
    let start = Instant::now();
    gateway.terminate()?;
    closed_to_others(&gateway, start)?;
    for client in &mut clients {
        client.send(&ask[20..])?;
        answered(client)?;
    }
    ended_well(&mut gateway, start, LATE)?;
    Ok(())
}

/// Who never asks does not keep it from ending for longer than a head may take.
#[test]
fn who_never_asks_is_closed() -> Result<()> {
    let upstream = Upstream::start()?;
    let mut gateway = open_gateway(&upstream.url(), TO_CONNECT, "300s")?;
    let start = Instant::now();
    gateway.terminate()?;
    unready(&gateway)?;
    let mut silent = Client::connect(gateway.address())?;
    let mut halting = Client::connect(gateway.address())?;
    halting.send("GET /orders HTTP/1.1\r\n")?;
    ensure!(silent.closed()? && halting.closed()?, "answered");
    let took = ended_well(&mut gateway, start, HEAD + LATE)?;
    eprintln!("clients that do not ask were closed, and it ended, after {took:?}");
    Ok(())
}

/// Connections that the system has completed and nobody has accepted yet: the gateway hangs while they come and goes
/// on when it is time to close.
#[test]
fn who_waits_to_be_accepted_is_served() -> Result<()> {
    const MIN_DRAIN: Duration = Duration::from_secs(2);
    for _ in 0..5 {
        let upstream = Upstream::start()?;
        let mut gateway = open_gateway(&upstream.url(), "2s", "60s")?;
        let start = Instant::now();
        gateway.terminate()?;
        unready(&gateway)?;
        gateway.pause()?;
        let ask = request(&gateway.host(), "GET /orders", &[], "");
        let mut clients = Vec::new();
        for _ in 0..50 {
            let mut client = Client::connect(gateway.address())?;
            client.send(&ask)?;
            clients.push(client);
        }
        wait::until_true(wait::START, "the time to close", || start.elapsed() > MIN_DRAIN)?;
        gateway.resume()?;
        for client in &mut clients {
            answered(client)?;
        }
        ended_well(&mut gateway, start, LATE)?;
    }
    Ok(())
}

/// Connections that have served and lie idle are closed when the time comes, and do not hold it up.
#[test]
fn idle_connections_are_closed_at_once() -> Result<()> {
    let upstream = Upstream::start()?;
    let mut gateway = open_gateway(&upstream.url(), "200ms", "300s")?;
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = Client::connect(gateway.address())?;
        client.send(request(&gateway.host(), "GET /orders", &[], ""))?;
        client.read()?.context("no answer")?;
        clients.push(client);
    }
    let start = Instant::now();
    gateway.terminate()?;
    closed_to_others(&gateway, start)?;
    for client in &mut clients {
        ensure!(client.closed()?, "something else than the close");
    }
    let took = ended_well(&mut gateway, start, LATE)?;
    eprintln!("50 idle connections closed, ended after {took:?}");
    // Less than the patience with those who have not asked yet.
    ensure!(took < HEAD, "{took:?}");
    Ok(())
}
